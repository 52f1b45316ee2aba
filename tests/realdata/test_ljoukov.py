"""An agent benchmark of ten models, 4,113 calls on 417 cases with a judge (ljoukov_agent_bench), by mapping files."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal

import pytest

from tests.realdata.conftest import Home
from tests.realdata.ties import company_prices, dearest_share, ingest

# The harness's own prices of models that the price book does not have, USD per million: fresh, cached, answer.
HARNESS_PRICES = {
    ("openai", "gpt-5.3-codex"): ("1.25", "0.125", "10"),
    ("openai", "gpt-5.3-codex-spark"): ("0.25", "0.025", "2"),
    ("fireworks_ai", "accounts/fireworks/models/glm-5"): ("1", "0.2", "3.2"),
    ("fireworks_ai", "accounts/fireworks/models/minimax-m2p1"): ("0.3", "0.15", "1.2"),
}
# Known to the price book: model, the harness's cost of all its answers.
BOOK_MODELS = {
    "gemini-2.5-pro": 4.740544375,
    "gemini-3-pro-preview": 7.6818744,
    "accounts/fireworks/models/kimi-k2p5": 1.0825645,
    # asked for by its own name, and in place of gpt-5.3-codex
    "gpt-5.2-2025-12-11": 5.88116725 + 1.8202261,
}
# Contestant: cases, successes, dollars with the judge's.
BY_CONTESTANT = {
    "chatgpt-gpt-5.3-codex": (19, 17, 2.7448),
    "chatgpt-gpt-5.3-codex-spark": (39, 5, 1.2973),
    "gemini-2.5-pro": (46, 7, 5.3644),
    "gemini-3-flash-preview": (46, 12, 0.6167),
    "gemini-3-pro-preview": (46, 15, 8.3424),
    "gemini-flash-latest": (46, 3, 0.6821),
    "glm-5": (44, 14, 4.2685),
    "gpt-5.2": (45, 23, 6.3845),
    "kimi-k2.5": (44, 1, 1.6325),
    "minimax-m2.1": (42, 0, 1.2811),
}


@pytest.fixture(scope="module", autouse=True)
def built(home: Home, real_data) -> None:
    """The benchmark in the marts."""
    folder = real_data / "ljoukov_agent_bench"
    company_prices(
        home,
        [
            (*model, component, price)
            for model, prices in HARNESS_PRICES.items()
            for component, price in zip(("input", "cache_read", "output"), prices, strict=True)
        ],
    )
    # the judge is named without its date, the price book has it with
    aliases = "kind,alias,name\nmodel,gpt-5.2,gpt-5.2-2025-12-11\n"
    (home.folder / "company" / "aliases.csv").write_text(aliases, encoding="utf-8")
    ingest(home, folder / "llm_calls.jsonl.gz", "ljoukov_steps", "agent")
    ingest(home, folder / "cases.jsonl.gz", "ljoukov_graders", "judge")
    ingest(home, folder / "cases.jsonl.gz", "ljoukov_crashes", "crashes")
    ingest(home, folder / "cases.jsonl.gz", "ljoukov_cases", "outcomes")
    home.publish()


def test_every_case_is_a_task(home: Home):
    (row,) = home.query(
        """
        select sum(tasks) as tasks, sum(successful_tasks) as successes, sum(failed_tasks) as failures
        from unit_economics.cost_per_task_daily
        """
    )
    assert {name: int(value) for name, value in row.items()} == {"tasks": 417, "successes": 97, "failures": 320}


def test_reported_cost_of_agent_and_judge(home: Home):
    rows = home.query(
        "select call_kind, sum(reported_cost_usd) as cost_usd from core.fct_call_attempts group by call_kind"
    )
    cost = {row["call_kind"]: float(row["cost_usd"]) for row in rows}
    assert cost["llm"] == pytest.approx(27.047483, abs=1e-6)
    assert cost["judge"] == pytest.approx(5.566795, abs=1e-6)


def test_reported_cost_by_contestant(home: Home):
    rows = home.query(
        """
        select
            application,
            count(distinct task_id) as tasks,
            count(distinct case when task_outcome = 'success' then task_id end) as successes,
            sum(reported_cost_usd) as cost_usd
        from core.fct_call_attempts group by application
        """
    )
    found = {row["application"]: (row["tasks"], row["successes"], float(row["cost_usd"])) for row in rows}
    assert found.keys() == BY_CONTESTANT.keys()
    for name, (tasks, successes, cost_usd) in BY_CONTESTANT.items():
        assert found[name] == (tasks, successes, pytest.approx(cost_usd, abs=0.00005)), name


def test_spend_on_failures_and_cost_per_success(home: Home):
    (row,) = home.query(
        """
        select
            sum(reported_cost_usd) as cost_usd,
            sum(reported_cost_usd) filter (where task_outcome = 'failure') as failed_usd
        from core.fct_call_attempts
        """
    )
    assert float(row["failed_usd"]) == pytest.approx(19.9176, abs=0.00005)
    assert float(row["cost_usd"]) / 97 == pytest.approx(32.614279 / 97, abs=1e-6)


def test_share_of_the_dearest_fifth(home: Home):
    assert dearest_share(home) == pytest.approx(48.92, abs=0.005)


def test_an_unknown_price_was_no_price_of_nothing(home: Home):
    rows = home.query(
        """
        select model, count(*) as answers, count(reported_cost_usd) as reported, sum(cost_usd) as cost_usd,
            min(unpriced_reason) as reason
        from core.fct_call_attempts
        where call_kind = 'llm' and status = 'success' and application like '%flash%' group by model order by model
        """
    )
    preview, latest = rows
    assert (preview["model"], preview["answers"], preview["reported"]) == ("gemini-3-flash-preview", 580, 0)
    assert float(preview["cost_usd"]) > 0
    assert (latest["model"], latest["answers"], latest["reported"]) == ("gemini-flash-latest", 522, 0)
    assert (latest["cost_usd"], latest["reason"]) == (None, "no_price_for_model")


def test_what_the_price_book_computes_is_what_was_reported(home: Home):
    rows = home.query(
        """
        select model, sum(cost_usd) as computed, sum(reported_cost_usd) as reported
        from core.fct_call_attempts
        where call_kind = 'llm' and reported_cost_usd is not null group by model
        """
    )
    found = {row["model"]: row for row in rows}
    for model, cost_usd in BOOK_MODELS.items():
        assert float(found[model]["computed"]) == pytest.approx(cost_usd, abs=1e-6), model
    for row in rows:
        assert float(row["computed"]) == pytest.approx(float(row["reported"]), abs=1e-6), row["model"]


def test_cost_of_every_answer_computed_apart_from_the_marts(home: Home, real_data):
    prices = {model: [Decimal(price) for price in row] for (_, model), row in HARNESS_PRICES.items()}
    prices |= {
        "gemini-2.5-pro": [Decimal("1.25"), Decimal("0.125"), Decimal(10)],
        "gemini-3-pro-preview": [Decimal(2), Decimal("0.2"), Decimal(12)],
        "gemini-3-flash-preview": [Decimal("0.5"), Decimal("0.05"), Decimal(3)],
        "accounts/fireworks/models/kimi-k2p5": [Decimal("0.6"), Decimal("0.1"), Decimal(3)],
        "gpt-5.2-2025-12-11": [Decimal("1.75"), Decimal("0.175"), Decimal(14)],
    }
    expected = Decimal(0)
    with gzip.open(real_data / "ljoukov_agent_bench" / "llm_calls.jsonl.gz", "rt", encoding="utf-8") as lines:
        for call in map(json.loads, lines):
            model = call["model_version"].removeprefix("chatgpt-")
            if model in prices:
                usage = {name: count or 0 for name, count in call["usage"].items()}
                cached = usage.get("cachedTokens", 0)
                fresh, read, out = prices[model]
                answer = usage.get("responseTokens", 0) + usage.get("thinkingTokens", 0)
                expected += (usage["promptTokens"] - cached) * fresh + cached * read + answer * out
    (row,) = home.query("select sum(cost_usd) as cost_usd from core.fct_call_attempts where call_kind = 'llm'")
    assert Decimal(str(row["cost_usd"])) == pytest.approx(expected / 10**6, abs=Decimal("0.000001"))


def test_the_judge(home: Home):
    (row,) = home.query(
        """
        select count(*) as calls, sum(cost_usd) as computed,
            sum(reported_cost_usd) filter (where unpriced_reason is null) as reported,
            count(*) filter (where unpriced_reason = 'usage_missing') as without_usage,
            sum(reported_cost_usd) filter (where unpriced_reason = 'usage_missing') as reported_without_usage
        from core.fct_call_attempts where call_kind = 'judge'
        """
    )
    assert (row["calls"], row["without_usage"]) == (333, 5)
    assert float(row["computed"]) == pytest.approx(5.4783886, abs=1e-6)
    assert float(row["reported"]) == pytest.approx(5.4783886, abs=1e-6)
    assert float(row["reported_without_usage"]) == pytest.approx(0.0884065, abs=1e-7)


def test_crashed_runs_are_failed_attempts(home: Home):
    rows = home.query(
        """
        select failure_cause, count(*) as attempts, count(cost_usd) as priced
        from core.fct_call_attempts where status = 'failed' group by failure_cause order by failure_cause
        """
    )
    assert sum(row["attempts"] for row in rows) == 27
    assert sum(row["priced"] for row in rows) == 0
    causes = {row["failure_cause"]: row["attempts"] for row in rows}
    assert causes["rate_limited"] == 2
    assert causes["timeout"] == 1


def test_tokens(home: Home):
    (row,) = home.query(
        """
        select count(*) as attempts, sum(input_tokens) as input_tokens, sum(cache_read_tokens) as cached,
            sum(output_tokens) as output_tokens, sum(reasoning_tokens) as reasoning,
            sum(case when cache_read_tokens is null then 1 else 0 end) as without_cached,
            sum(tool_call_count) as tool_calls
        from core.fct_call_attempts where call_kind = 'llm' and status = 'success'
        """
    )
    assert row["attempts"] == 4113
    # the cases say 23,176,952: five of them lost the usage that their answers have
    assert int(row["input_tokens"]) == 23_388_979
    assert int(row["cached"]) == 12_893_709
    assert int(row["output_tokens"]) == 1_597_028 + 1_445_937
    assert int(row["reasoning"]) == 1_445_937
    assert int(row["without_cached"]) == 1118
    assert int(row["tool_calls"]) == 5978
