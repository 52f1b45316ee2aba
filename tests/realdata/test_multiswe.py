"""Three models' runs on Java tasks under a budget of some dollars a task (multiswe_sweagent), by mapping files."""

from __future__ import annotations

import pytest

from tests.realdata.conftest import Home
from tests.realdata.ties import dearest_share, ingest

DEEPSEEK = "20240825_SWE-agent_deepseek-coder-v2"
DOUBAO = "20240825_SWE-agent_doubao-pro-128k"
GPT = "20240825_SWE-agent_gpt-4o-2024-05-13"


@pytest.fixture(scope="module", autouse=True)
def built(home: Home, real_data) -> None:
    """The runs in the marts."""
    file = real_data / "multiswe_sweagent" / "tasks.jsonl.gz"
    ingest(home, file, "multiswe_runs", "agent")
    ingest(home, file, "multiswe_tasks", "outcomes")
    home.publish()


def test_reported_cost_by_run(home: Home):
    rows = home.query(
        """
        select
            application,
            count(distinct task_id) as tasks,
            round(sum(reported_cost_usd), 4) as cost_usd,
            round(sum(reported_cost_usd) filter (where task_outcome = 'success'), 4) as resolved_usd
        from core.fct_call_attempts group by application
        """
    )
    found = {row["application"]: (row["tasks"], float(row["cost_usd"]), float(row["resolved_usd"])) for row in rows}
    assert found == {
        DEEPSEEK: (91, 105.0733, 3.0172),
        DOUBAO: (91, 244.9287, 0.3972),
        GPT: (89, 131.2556, 8.6253),
    }


def test_outcomes_by_run(home: Home):
    rows = home.query(
        "select application, outcome, count(*) as tasks from core.fct_tasks group by application, outcome"
    )
    assert {(row["application"], row["outcome"]): row["tasks"] for row in rows} == {
        (DEEPSEEK, "success"): 7,
        (DEEPSEEK, "failure"): 78 + 6,
        (DOUBAO, "success"): 1,
        (DOUBAO, "failure"): 68 + 22,
        (GPT, "success"): 6,
        (GPT, "failure"): 76 + 3,
        (GPT, "unknown"): 4,
    }


@pytest.mark.parametrize(("run", "share"), [(DEEPSEEK, 55.16), (DOUBAO, 24.89), (GPT, 22.30)])
def test_share_of_the_dearest_fifth(home: Home, run: str, share: float):
    assert dearest_share(home, f"application = '{run}'") == pytest.approx(share, abs=0.005)


def test_the_harness_charged_twice_the_list_price(home: Home):
    rows = home.query(
        """
        select application, sum(input_tokens) as input_tokens, sum(output_tokens) as output_tokens,
            sum(cost_usd) as cost_usd, min(unpriced_reason) as reason
        from core.fct_call_attempts group by application
        """
    )
    found = {row["application"]: row for row in rows}
    assert (int(found[GPT]["input_tokens"]), int(found[GPT]["output_tokens"])) == (12_775_403, 116_719)
    # $5 and $15 a million
    assert float(found[GPT]["cost_usd"]) == pytest.approx((12_775_403 * 5 + 116_719 * 15) / 1e6, abs=1e-9)
    assert float(found[GPT]["cost_usd"]) == pytest.approx(131.2556 / 2, abs=0.00005)
    # nobody lists these two: null, whatever the harness wrote
    for run in (DEEPSEEK, DOUBAO):
        assert (found[run]["cost_usd"], found[run]["reason"]) == (None, "no_price_for_model")


def test_runs_without_an_answer_are_failed_attempts(home: Home):
    rows = home.query(
        """
        select application, count(*) as attempts, sum(reported_cost_usd) as cost_usd
        from core.fct_call_attempts where status = 'failed' group by application
        """
    )
    assert {row["application"]: (row["attempts"], round(float(row["cost_usd"]), 4)) for row in rows} == {
        DEEPSEEK: (5 + 1, round(15.16104 + 0.466605, 4)),
        DOUBAO: (17, 52.2578),
        GPT: (3 + 4, round(4.63881 + 3.36528, 4)),
    }
    (row,) = home.query("select sum(failed_attempts) as attempts from unit_economics.retry_overhead_daily")
    assert int(row["attempts"]) == 6 + 17 + 7
