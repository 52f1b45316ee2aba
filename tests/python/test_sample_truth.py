"""The sample company, from its vendors' files to the publication: the marts equal what its generator knows.

The truth files are written from the generator's own state; nothing here reads the landing files.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from pertask.checks import check_batches, check_marts
from pertask.config import Config
from pertask.home import Home

MONEY = "decimal(38, 12)"
# metered dollars are the generator's to the last digit; allocated ones to a millionth, as fractions are rounded twice
ALLOCATED = "if(cast(expected.allocated_cost_usd as decimal(38, 12)) = 0, 0, 0.000001)"


@pytest.fixture(scope="module")
def marts(sample_home: Path) -> duckdb.DuckDBPyConnection:
    """The published marts, with the truth as views ``truth_<name>``."""
    connection = duckdb.connect(str(sample_home / "published" / "pertask.duckdb"), read_only=True)
    for path in (sample_home / "truth").glob("*.csv"):
        connection.execute(
            f"create temp view truth_{path.stem} as select * from read_csv('{path}', all_varchar = true)"
        )
    return connection


@pytest.fixture(scope="module")
def truth(sample_home: Path) -> dict:
    return json.loads((sample_home / "truth.json").read_text(encoding="utf-8"))


def differences(
    marts: duckdb.DuckDBPyConnection,
    expected: str,
    found: str,
    keys: dict[str, str],
    exact: dict[str, str],
    near: dict[str, float | str] | None = None,
) -> list[tuple]:
    """Rows of the truth and of a mart that do not agree; a truth's 0 may be null where nothing was priced.

    Args:
        marts: the connection.
        expected: the truth's rows, text.
        found: SQL of the mart's rows.
        keys: column -> type, what identifies a row.
        exact: column -> type, what must be equal.
        near: money column -> how far apart it may be, a number or SQL over ``expected``.
    """
    on = " and ".join(f"cast(expected.{key} as {kind}) is not distinct from found.{key}" for key, kind in keys.items())
    wrong = [
        f"coalesce(cast(expected.{column} as {kind}), {'0' if kind == MONEY else 'null'}) is distinct from "
        f"coalesce(found.{column}, {'0' if kind == MONEY else 'null'})"
        for column, kind in exact.items()
    ]
    wrong += [
        f"abs(coalesce(cast(expected.{column} as {MONEY}), 0) - coalesce(found.{column}, 0)) > {tolerance}"
        for column, tolerance in (near or {}).items()
    ]
    key = next(iter(keys))
    return marts.execute(
        f"""
        select * from {expected} as expected full outer join ({found}) as found on {on}
        where expected.{key} is null or found.{key} is null or {" or ".join(wrong)}
        limit 5
        """
    ).fetchall()


def test_every_task_costs_what_the_generator_spent_on_it(marts: duckdb.DuckDBPyConnection, truth: dict) -> None:
    found = differences(
        marts,
        "truth_tasks",
        "select * from core.fct_tasks",
        {"task_id": "varchar"},
        {
            **dict.fromkeys(("task_id_origin", "task_type", "team", "outcome", "complexity"), "varchar"),
            **dict.fromkeys(("call_count", "attempt_count"), "bigint"),
            "started_date": "date",
            "is_fully_priced": "boolean",
        },
        dict.fromkeys(("cost_usd", "fully_loaded_cost_usd", "failed_attempt_cost_usd"), ALLOCATED),
    )
    assert found == []
    (count,) = marts.execute("select count(*) from core.fct_tasks").fetchone()
    assert count == truth["totals"]["tasks"] > 40_000


def test_a_task_that_nobody_priced_costs_null_and_not_zero(marts: duckdb.DuckDBPyConnection) -> None:
    (wrong, unpriced) = marts.execute(
        """
        select count(*) filter (where (truth.cost_usd is null) != (tasks.cost_usd is null)),
            count(*) filter (where tasks.cost_usd is null)
        from core.fct_tasks as tasks inner join truth_tasks as truth on tasks.task_id = truth.task_id
        """
    ).fetchone()
    assert wrong == 0
    assert unpriced > 0


def test_what_each_day_team_and_task_type_cost(marts: duckdb.DuckDBPyConnection) -> None:
    found = differences(
        marts,
        "truth_cost_by_day",
        """
        select usage_date, team, task_type, count(*) as attempts, count(cost_usd) as priced_attempts,
            sum(input_tokens) as input_tokens, sum(output_tokens) as output_tokens, sum(cost_usd) as cost_usd,
            sum(fully_loaded_cost_usd) as fully_loaded_cost_usd
        from core.fct_call_attempts group by all
        """,
        {"usage_date": "date", "team": "varchar", "task_type": "varchar"},
        {
            **dict.fromkeys(("attempts", "priced_attempts"), "bigint"),
            # a log that reports no output tokens has none in the truth
            **dict.fromkeys(("input_tokens", "output_tokens"), MONEY),
        },
        dict.fromkeys(("cost_usd", "fully_loaded_cost_usd"), ALLOCATED),
    )
    assert found == []


def test_what_each_call_to_an_own_server_cost(marts: duckdb.DuckDBPyConnection, truth: dict) -> None:
    found = differences(
        marts,
        "truth_allocations",
        "select * from core.fct_call_attempts where cost_basis = 'allocated'",
        {"source": "varchar", "call_id": "varchar", "attempt_number": "bigint"},
        {"usage_date": "date", "replica_id": "varchar"},
        dict.fromkeys(("cost_usd", "fully_loaded_cost_usd"), 0.000001),
    )
    assert found == []
    (count, nothing) = marts.execute(
        """
        select count(*), count(*) filter (where cost_usd = 0)
        from core.fct_call_attempts where cost_basis = 'allocated'
        """
    ).fetchone()
    assert count > 10_000
    assert nothing == 0
    unpriced = dict(
        marts.execute(
            "select unpriced_reason, count(*) from core.fct_call_attempts where cost_usd is null group by 1"
        ).fetchall()
    )
    assert unpriced == {"no_price_for_model": truth["totals"]["unpriced_attempts"]["no_price"]}


def test_cost_per_task_daily(marts: duckdb.DuckDBPyConnection) -> None:
    found = differences(
        marts,
        "truth_tasks_by_day",
        """
        select * exclude (cost_usd, fully_loaded_cost_usd), cost_usd - untagged_call_cost_usd as cost_usd,
            -- what no task holds is metered
            fully_loaded_cost_usd - untagged_call_cost_usd as fully_loaded_cost_usd
        from unit_economics.cost_per_task_daily where tasks > 0
        """,
        {"started_date": "date", "team": "varchar", "task_type": "varchar"},
        {
            **dict.fromkeys(
                (
                    "tasks",
                    "successful_tasks",
                    "failed_tasks",
                    "escalated_tasks",
                    "unknown_outcome_tasks",
                    "fully_priced_tasks",
                ),
                "bigint",
            )
        },
        dict.fromkeys(("cost_usd", "fully_loaded_cost_usd"), ALLOCATED),
    )
    assert found == []


def test_every_dollar_is_in_cost_per_task_once(marts: duckdb.DuckDBPyConnection, truth: dict) -> None:
    (daily, attempts, metered, allocated, loaded) = marts.execute(
        """
        select (select sum(cost_usd) from unit_economics.cost_per_task_daily), sum(cost_usd),
            sum(cost_usd) filter (where cost_basis = 'metered'),
            sum(cost_usd) filter (where cost_basis = 'allocated'),
            sum(fully_loaded_cost_usd) filter (where cost_basis = 'allocated')
        from core.fct_call_attempts
        """
    ).fetchone()
    total, of_allocated, idle = (
        Decimal(truth["totals"][name]) for name in ("cost_usd", "allocated_cost_usd", "idle_share_usd")
    )
    assert daily == attempts
    assert metered == total - of_allocated
    assert abs(allocated - of_allocated) < Decimal("0.000001")
    assert abs(loaded - of_allocated - idle) < Decimal("0.000001")


RETRY_MONEY = ("failed_cost_usd", "recovered_cost_usd", "abandoned_cost_usd", "unresolved_cost_usd")


def test_retry_overhead_daily(marts: duckdb.DuckDBPyConnection) -> None:
    found = differences(
        marts,
        "truth_retries",
        "select * from unit_economics.retry_overhead_daily",
        {"usage_date": "date", "team": "varchar", "task_type": "varchar", "model": "varchar"},
        {
            "attempts": "bigint",
            "failed_attempts": "bigint",
        },
        dict.fromkeys((*RETRY_MONEY, "superseded_cost_usd", "final_success_cost_usd", "total_cost_usd"), ALLOCATED),
    )
    assert found == []


def test_retry_causes_daily(marts: duckdb.DuckDBPyConnection) -> None:
    found = differences(
        marts,
        "truth_retry_causes",
        "select * from unit_economics.retry_causes_daily",
        {"usage_date": "date", "team": "varchar", "task_type": "varchar", "model": "varchar", "cause": "varchar"},
        {
            **dict.fromkeys(
                ("failed_attempts", "recovered_attempts", "abandoned_attempts", "unresolved_attempts"), "bigint"
            )
        },
        dict.fromkeys(RETRY_MONEY, ALLOCATED),
    )
    assert found == []


GPU_STATES = ("active", "loaded_idle", "unallocated", "unknown")


def test_where_every_gpu_second_and_dollar_went(marts: duckdb.DuckDBPyConnection) -> None:
    measures = [
        "billed_seconds",
        *(f"{state}_seconds" for state in GPU_STATES),
        "effective_cost_usd",
        "billed_cost_usd",
        *(f"{state}_usd" for state in GPU_STATES),
        "active_without_calls_usd",
    ]
    sums = ", ".join(f"sum({name}) as {name}" for name in measures)
    found = differences(
        marts,
        "truth_gpu_days",
        f"""
        select usage_date, resource_id, region, purchase_mode, {sums}
        from core.fct_gpu_hours where not is_provisional and resource_id is not null group by all
        """,
        {"usage_date": "date", "resource_id": "varchar", "region": "varchar", "purchase_mode": "varchar"},
        {},
        dict.fromkeys(measures, 0.000001),
    )
    assert found == []


def test_idle_dollars_daily_holds_every_gpu_dollar(marts: duckdb.DuckDBPyConnection, truth: dict) -> None:
    found = marts.execute(
        """
        select sum(effective_cost_usd), sum(active_usd), sum(idle_usd), sum(unknown_usd)
        from capacity.idle_dollars_daily where not is_provisional
        """
    ).fetchone()
    machines = truth["gpu"]
    expected = [
        sum(float(machine[name]) for machine in machines for name in names)
        for names in (
            ("effective_cost_usd",),
            ("active_usd",),
            ("loaded_idle_usd", "unallocated_usd"),
            ("unknown_usd",),
        )
    ]
    assert [float(value) for value in found] == pytest.approx(expected, abs=1e-5)
    assert expected[2] > 0.5 * expected[0], "the sample's fleets mostly wait"


WALK = {
    # kind of the truth: (column of the walk, which cost it holds)
    "unused_commitment": ("unused_commitment_usd", "effective"),
    "model_charges": ("model_charges_usd", "billed"),
    "other": ("other_usd", "billed"),
    "tax": ("tax_usd", "billed"),
    "credit": ("credits_usd", "billed"),
    "adjustment": ("refunds_usd", "billed"),
    "total": ("invoice_usd", "billed"),
}


def test_the_walk_from_gpu_states_to_the_invoice(marts: duckdb.DuckDBPyConnection, truth: dict) -> None:
    cursor = marts.execute(
        "select strftime(billing_period_start, '%Y-%m-%d') as period, * from quality.invoice_walk_monthly"
    )
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    walks = {(row["period"], row["billing_account_id"]): row for row in rows}
    assert len({(row["billing_month"], row["billing_account_id"]) for row in truth["invoices"]}) == len(walks) == 9
    for row in truth["invoices"]:
        walk = walks[row["billing_month"], row["billing_account_id"]]
        if row["kind"] in WALK:
            column, cost = WALK[row["kind"]]
            assert float(walk[column]) == pytest.approx(float(row[f"{cost}_cost_usd"]), abs=1e-6), (row, column)
        if row["kind"] == "gpu_usage":
            states = sum(walk[f"{state}_usd"] for state in GPU_STATES)
            assert float(states) == pytest.approx(float(row["effective_cost_usd"]), abs=1e-6)
    assert all(walk["unexplained_usd"] == 0 for walk in walks.values())


def test_every_delivered_row_is_accounted_for(marts: duckdb.DuckDBPyConnection, truth: dict) -> None:
    found = {
        source: (read, loaded, quarantined, skipped)
        for source, read, loaded, quarantined, skipped in marts.execute(
            """
            select source, sum(rows_read), sum(rows_loaded), sum(rows_quarantined), sum(rows_skipped)
            from quality.ingest_batches group by source
            """
        ).fetchall()
    }
    expected = {
        source: tuple(of[name] for name in ("rows_read", "rows_loaded", "rows_quarantined", "rows_skipped"))
        for source, of in truth["sources"].items()
    }
    assert found == expected
    reasons = dict(marts.execute("select reason, count(*) from quality.quarantined_rows group by reason").fetchall())
    assert reasons == truth["sources"]["gateway"]["quarantine_reasons"]


def test_the_planted_oddities_are_found(marts: duckdb.DuckDBPyConnection, truth: dict) -> None:
    found = {
        (kind, subject)
        for kind, subject in marts.execute("select distinct kind, subject from quality.findings").fetchall()
    }
    assert ("unpriced_calls", "openai/acme-experimental-1") in found
    for resource in truth["planted"]["never_sampled"]:
        assert ("billed_without_samples", resource) in found


def test_no_check_fails_on_the_sample(sample_home, tmp_path):
    """All of the sample is new to a home that has not been built; nothing in it is off."""
    (tmp_path / "warehouse").mkdir()
    for name in ("lake", "published", "warehouse/snapshot", "warehouse/target", "warehouse/pertask.duckdb"):
        (tmp_path / name).symlink_to(sample_home / name)
    results = [*check_batches(Home(tmp_path), Config()), *check_marts(Home(tmp_path), Config())]

    assert [result.message for result in results if not result.passed] == []
    checked = {result.asset[1] for result in results if result.observed.get("days_checked")}
    assert checked >= {"llm_calls", "tasks", "bill_lines", "gpu_samples", "fx_rates"}
