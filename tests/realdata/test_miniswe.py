"""A coding agent's 12,184 calls on 296 tasks (miniswe_gemini3), by mapping files, through ingest and build."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.realdata.conftest import MAPPINGS, Home


@pytest.fixture(scope="module", autouse=True)
def built(home: Home, real_data) -> None:
    """The trace in the marts."""
    folder = real_data / "miniswe_gemini3"
    home.run(
        "ingest",
        folder / "llm_calls.jsonl.gz",
        *("--format", "mapping", "--mapping", MAPPINGS / "miniswe_calls.yml", "--source", "agent"),
    )
    home.run(
        "ingest",
        folder / "tasks.jsonl",
        *("--format", "mapping", "--mapping", MAPPINGS / "miniswe_tasks.yml", "--source", "outcomes"),
    )
    home.publish()


def test_the_recomputed_cost_is_the_sum_of_every_call(home: Home):
    (row,) = home.query("select count(*) as attempts, sum(cost_usd) as cost_usd from core.fct_call_attempts")
    assert row["attempts"] == 12184
    assert Decimal(str(row["cost_usd"])) == pytest.approx(Decimal("138.738031"), abs=Decimal("0.000001"))


def test_a_call_without_a_reported_cost_is_priced_from_its_tokens(home: Home):
    (row,) = home.query(
        """
        select count(*) as attempts, min(cost_usd) as least, sum(input_tokens) as input_tokens
        from core.fct_call_attempts where reported_cost_usd is null
        """
    )
    assert row["attempts"] == 374
    assert Decimal(str(row["least"])) > 0
    assert int(row["input_tokens"]) == 5_289_295


def test_what_was_reported_agrees_with_what_is_computed(home: Home):
    (row,) = home.query(
        """
        select sum(reported_cost_usd) as reported, sum(cost_usd) as computed
        from core.fct_call_attempts where reported_cost_usd is not null
        """
    )
    assert float(row["reported"]) == pytest.approx(134.808769, abs=1e-6)
    assert float(row["computed"]) == pytest.approx(134.808769, abs=1e-6)


def test_cached_input_is_part_of_the_input(home: Home):
    (row,) = home.query(
        """
        select sum(input_tokens) as input_tokens, sum(cache_read_tokens) as cached, sum(output_tokens) as output_tokens
        from core.fct_call_attempts
        """
    )
    assert int(row["input_tokens"]) == 200_251_960
    assert int(row["output_tokens"]) == 3_361_814
    assert 100 * int(row["cached"]) / int(row["input_tokens"]) == pytest.approx(83.813, abs=0.0005)


def test_cost_per_resolved_task_is_all_spend_over_the_resolved(home: Home):
    (row,) = home.query(
        """
        select sum(tasks) as tasks, sum(successful_tasks) as resolved,
            sum(cost_usd) as cost_usd,
            sum(cost_per_successful_task_usd * successful_tasks) as spend_on_known
        from unit_economics.cost_per_task_daily
        """
    )
    assert (int(row["tasks"]), int(row["resolved"])) == (296, 224)
    assert float(row["cost_usd"]) / 224 == pytest.approx(138.738031 / 224, abs=1e-6)
    assert float(row["spend_on_known"]) == pytest.approx(138.738031, abs=1e-4)


def test_retries_by_cause(home: Home):
    rows = home.query(
        """
        select cause, sum(failed_attempts) as attempts, sum(failed_cost_usd) as cost_usd
        from unit_economics.retry_causes_daily group by cause order by cause
        """
    )
    causes = {row["cause"]: (int(row["attempts"]), float(row["cost_usd"])) for row in rows}
    assert causes["schema_invalid"][0] == 388
    # 17 of the 388 have no reported cost: they are priced from their tokens like any other
    assert causes["schema_invalid"][1] == pytest.approx(9.5369 + 0.3668, abs=0.0001)
    assert causes["timeout"][0] == 6
    assert causes["timeout"][1] == pytest.approx(0.0524, abs=0.00005)


def test_format_errors_whose_cost_was_reported(home: Home):
    (row,) = home.query(
        """
        select count(*) as attempts, sum(reported_cost_usd) as reported, sum(cost_usd) as computed
        from core.fct_call_attempts
        where failure_cause = 'schema_invalid' and reported_cost_usd is not null
        """
    )
    assert row["attempts"] == 371
    assert float(row["reported"]) == pytest.approx(9.5369, abs=0.00005)
    assert float(row["computed"]) == pytest.approx(9.5369, abs=0.00005)
