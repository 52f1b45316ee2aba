"""29 agents' runs on five benchmarks: the cost of 34,758 tasks, and no usage (openhands_index), by mapping files."""

from __future__ import annotations

import csv
import gzip
import math

import pytest

from tests.realdata.conftest import Home
from tests.realdata.ties import dearest_share, ingest

# Benchmark: tasks, dollars, resolved.
BENCHMARKS = {
    "commit0": (464, 1337.2662, 140),
    "gaia": (4785, 2207.7529, 2818),
    "swe-bench": (14500, 12564.6438, 10529),
    "swe-bench-multimodal": (2585, 4322.4416, 655),
    "swt-bench": (12424, 8451.5006, 8045),
}
UNTRACKED = ("alternative_agents/acp-codex/GPT-5.4", "alternative_agents/acp-codex/GPT-5.5")
# Run on swe-bench: resolved of 500, dollars per resolved.
PER_RESOLVED = {
    "results/DeepSeek-V4-Pro": (366, 0.0540),
    "results/MiniMax-M2.7": (378, 0.2374),
    "results/GPT-5.4": (378, 0.8355),
    "results/claude-opus-4-7": (408, 1.5616),
    "alternative_agents/acp-claude/claude-opus-4-6": (372, 1.5283),
    "alternative_agents/openhands_subagents/claude-sonnet-4-5": (369, 2.0757),
    "results/Qwen3.5-Flash": (310, 3.4832),
}


@pytest.fixture(scope="module", autouse=True)
def built(home: Home, real_data) -> None:
    """The runs in the marts."""
    file = real_data / "openhands_index" / "instance_results.csv.gz"
    ingest(home, file, "openhands_runs", "agents")
    ingest(home, file, "openhands_tasks", "outcomes")
    home.publish()


def test_reported_cost_by_benchmark(home: Home):
    rows = home.query(
        """
        select task_type, count(*) as tasks, round(sum(reported_cost_usd), 4) as cost_usd,
            count(*) filter (where task_outcome = 'success') as resolved
        from core.fct_call_attempts group by task_type
        """
    )
    found = {row["task_type"]: (row["tasks"], float(row["cost_usd"]), row["resolved"]) for row in rows}
    assert found == BENCHMARKS


def test_outcomes(home: Home):
    rows = home.query(
        """
        select sum(successful_tasks) as success, sum(failed_tasks) as failure, sum(unknown_outcome_tasks) as unknown
        from unit_economics.cost_per_task_daily
        """
    )
    assert {name: int(value) for name, value in rows[0].items()} == {"success": 22187, "failure": 12509, "unknown": 62}


def test_cost_zero_is_a_cost_that_nobody_tracked(home: Home):
    (row,) = home.query(
        """
        select count(*) as tasks, count(reported_cost_usd) as tracked, count(cost_usd) as priced,
            count(*) filter (where reported_cost_usd = 0) as free
        from core.fct_call_attempts
        """
    )
    assert row == {"tasks": 34758, "tracked": 34758 - 390 - 2809, "priced": 0, "free": 0}
    rows = home.query(
        f"""
        select application, count(*) as tasks, sum(reported_cost_usd) as cost_usd,
            sum(reported_cost_usd) / count(*) filter (where task_outcome = 'success') as cost_per_success_usd
        from core.fct_call_attempts where application in {UNTRACKED} group by application order by application
        """
    )
    assert [row["tasks"] for row in rows] == [1216, 1182]
    assert all(row["cost_usd"] is None and row["cost_per_success_usd"] is None for row in rows)


def test_cost_per_resolved_task(home: Home):
    rows = home.query(
        """
        select application, count(*) filter (where task_outcome = 'success') as resolved,
            round(sum(reported_cost_usd) / count(*) filter (where task_outcome = 'success'), 4) as cost_usd
        from core.fct_call_attempts where task_type = 'swe-bench' group by application
        """
    )
    found = {row["application"]: (row["resolved"], row["cost_usd"]) for row in rows}
    for run, (resolved, cost_usd) in PER_RESOLVED.items():
        assert found[run] == (resolved, pytest.approx(cost_usd, abs=0.00005)), run


def test_share_of_the_dearest_fifth(home: Home, real_data):
    with gzip.open(real_data / "openhands_index" / "instance_results.csv.gz", "rt", encoding="utf-8") as lines:
        texts = [row["cost_usd"] for row in csv.DictReader(lines)]
    costs = sorted((float(text) for text in texts if text), reverse=True)
    tracked = [cost for cost in costs if cost > 0]
    share = 100 * sum(tracked[: math.ceil(0.2 * len(tracked))]) / sum(tracked)
    assert dearest_share(home, "reported_cost_usd is not null") == pytest.approx(share, abs=1e-6)
    # with what was not tracked counted as free, the published figure
    (row,) = home.query(
        f"""
        select 100 * sum(reported_cost_usd) filter (where place <= {math.ceil(0.2 * len(costs))})
            / sum(reported_cost_usd) as share
        from (
            select reported_cost_usd, row_number() over (order by reported_cost_usd desc nulls last) as place
            from core.fct_call_attempts
        )
        """
    )
    assert len(costs) == 34368
    assert float(row["share"]) == pytest.approx(60.44, abs=0.005)
