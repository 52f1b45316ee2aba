"""Two agents' runs on 472 tasks: the cost of each run, and no usage (swebenchpro_costs), by mapping files."""

from __future__ import annotations

import pytest

from tests.realdata.conftest import Home
from tests.realdata.ties import dearest_share, ingest

# Source: runs, dollars, resolved, dollars on unresolved, share of the dearest fifth in percent.
RUNS = {
    "gpt5_paired_submitted": (384, 750.1833, 171, 468.8501, 38.53),
    "claude_paired_submitted": (384, 4340.7978, 173, 2461.0003, 32.56),
    "gpt5_unsubmitted": (88, 67.6315, 3, 58.4973, 58.61),
    "claude_unsubmitted": (88, 1054.4538, 35, 628.1700, 34.69),
}


@pytest.fixture(scope="module", autouse=True)
def built(home: Home, real_data) -> None:
    """The runs in the marts."""
    for part in ("paired_submitted", "unsubmitted"):
        file = real_data / "swebenchpro_costs" / f"{part}.jsonl.gz"
        for agent in ("gpt5", "claude"):
            ingest(home, file, f"swebenchpro_{agent}_runs", f"{agent}_{part}")
            ingest(home, file, f"swebenchpro_{agent}_tasks", f"{agent}_{part}_outcomes")
    home.publish()


def test_reported_cost_by_agent(home: Home):
    rows = home.query(
        """
        select
            source,
            count(distinct task_id) as tasks,
            round(sum(reported_cost_usd), 4) as cost_usd,
            count(distinct task_id) filter (where task_outcome = 'success') as resolved,
            round(sum(reported_cost_usd) filter (where task_outcome = 'failure'), 4) as unresolved_usd
        from core.fct_call_attempts group by source
        """
    )
    found = {
        row["source"]: (row["tasks"], float(row["cost_usd"]), row["resolved"], float(row["unresolved_usd"]))
        for row in rows
    }
    assert found == {source: run[:4] for source, run in RUNS.items()}


@pytest.mark.parametrize("source", RUNS)
def test_share_of_the_dearest_fifth(home: Home, source: str):
    assert dearest_share(home, f"source = '{source}'") == pytest.approx(RUNS[source][4], abs=0.005)


def test_cost_per_success(home: Home):
    rows = home.query(
        """
        select application, sum(reported_cost_usd) / count(distinct task_id) filter (where task_outcome = 'success')
            as cost_usd
        from core.fct_call_attempts where source like '%_paired_submitted' group by application
        """
    )
    assert {row["application"]: float(row["cost_usd"]) for row in rows} == {
        "gpt5": pytest.approx(750.1833 / 171, abs=1e-6),
        "claude": pytest.approx(4340.7978 / 173, abs=1e-6),
    }


def test_a_cost_that_was_only_reported_is_not_the_computed_one(home: Home):
    (row,) = home.query(
        """
        select count(cost_usd) as priced, count(reported_cost_usd) as reported,
            count(*) filter (where unpriced_reason = 'usage_missing') as without_usage
        from core.fct_call_attempts
        """
    )
    assert row == {"priced": 0, "reported": 944, "without_usage": 944}
    (day,) = home.query(
        """
        select sum(tasks) as tasks, sum(successful_tasks) as successes, sum(fully_priced_tasks) as priced,
            sum(cost_usd) as cost_usd
        from unit_economics.cost_per_task_daily
        """
    )
    assert (int(day["tasks"]), int(day["successes"]), int(day["priced"])) == (944, 171 + 173 + 3 + 35, 0)
    assert day["cost_usd"] is None
