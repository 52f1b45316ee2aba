"""A coding agent's 59 tasks, each with the usage of its whole run (vexp_claude_code), by mapping files."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from tests.realdata.conftest import Home
from tests.realdata.ties import company_prices, dearest_share, ingest

FILE = "swebench-2026-03-22.dev.jsonl"
# List prices, USD per million.
LIST = {"input": "5", "output": "25", "cache_read": "0.5", "cache_write_5m": "6.25"}


@pytest.fixture(scope="module", autouse=True)
def built(home: Home, real_data) -> None:
    """The runs in the marts."""
    file = real_data / "vexp_claude_code" / FILE
    company_prices(home, [("anthropic", "claude-opus-4-5-20251101", name, price) for name, price in LIST.items()])
    ingest(home, file, "vexp_runs", "agent")
    ingest(home, file, "vexp_tasks", "outcomes")
    home.publish()


def test_reported_cost_by_outcome(home: Home):
    rows = home.query(
        """
        select task_outcome, count(*) as tasks, sum(reported_cost_usd) as cost_usd
        from core.fct_call_attempts group by task_outcome
        """
    )
    found = {row["task_outcome"]: (row["tasks"], float(row["cost_usd"])) for row in rows}
    assert found == {
        "success": (40, pytest.approx(43.2710 - 14.1892, abs=0.0001)),
        "failure": (19, pytest.approx(14.1892, abs=0.00005)),
    }


def test_reported_cost_per_task(home: Home):
    (row,) = home.query(
        """
        select sum(cost_usd) as total, min(cost_usd) as least, median(cost_usd) as middle, avg(cost_usd) as mean,
            quantile_cont(cost_usd, 0.9) as p90, max(cost_usd) as most
        from (
            select cast(sum(reported_cost_usd) as double) as cost_usd from core.fct_call_attempts group by task_id
        )
        """
    )
    assert {name: round(value, 4) for name, value in row.items()} == {
        "total": 43.2710,
        "least": 0.0796,
        "middle": 0.4402,
        "mean": 0.7334,
        "p90": 2.0256,
        "most": 3.0941,
    }
    assert dearest_share(home) == pytest.approx(58.05, abs=0.005)


def test_tokens_are_counted_beside_each_other(home: Home):
    (row,) = home.query(
        """
        select sum(input_tokens) as input_tokens, sum(cache_read_tokens) as cache_read,
            sum(cache_write_5m_tokens) as cache_write, sum(output_tokens) as output_tokens
        from core.fct_call_attempts
        """
    )
    assert {name: int(value) for name, value in row.items()} == {
        "input_tokens": 3523 + 71_794_912 + 2_703_293,
        "cache_read": 71_794_912,
        "cache_write": 2_703_293,
        "output_tokens": 11_196,
    }


def test_the_tokens_at_list_price_are_more_than_was_reported(home: Home, real_data):
    fields = {
        "inputTokens": "input",
        "outputTokens": "output",
        "cacheReadTokens": "cache_read",
        "cacheCreationTokens": "cache_write_5m",
    }
    lines = (real_data / "vexp_claude_code" / FILE).read_text(encoding="utf-8").splitlines()
    expected = sum(
        run[field] * Decimal(LIST[component]) for run in map(json.loads, lines) for field, component in fields.items()
    )
    (row,) = home.query("select sum(cost_usd) as cost_usd from core.fct_call_attempts")
    assert Decimal(str(row["cost_usd"])) == expected / 10**6
    assert float(row["cost_usd"]) == pytest.approx(53.0906, abs=0.00005)


def test_cost_per_success_is_all_spend(home: Home):
    (row,) = home.query(
        """
        select sum(tasks) as tasks, sum(successful_tasks) as successes, sum(cost_usd) as cost_usd,
            sum(cost_per_successful_task_usd * successful_tasks) as spend_on_known
        from unit_economics.cost_per_task_daily where successful_tasks > 0
        """
    )
    (spend,) = home.query(
        """
        select sum(reported_cost_usd) / count(distinct task_id) filter (where task_outcome = 'success') as per_success
        from core.fct_call_attempts
        """
    )
    assert int(row["successes"]) == 40
    assert float(row["spend_on_known"]) == pytest.approx(float(row["cost_usd"]), abs=1e-6)
    assert float(spend["per_success"]) == pytest.approx(43.2710 / 40, abs=0.00001)
