"""The first gate: each expectation catches the fault that is seeded for it, and nothing else does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from pertask.checks import CheckResult, batches, suites
from pertask.checks.batches import check_batches, specs
from pertask.checks.profiles import PROFILED, refresh
from pertask.config import DATA_CHECKS, Config, Limits
from pertask.home import Home
from tests.python.pertask.checks.deliveries import (
    NEW_DAY,
    ROWS,
    SECRET,
    Deliveries,
    Row,
    even_day,
    known_home,
)

FUTURE = "2098-01-01T00:00:00+00:00"
NULLED = ROWS * 3 // 10


def without(column: str) -> Callable[[str], list[Row]]:
    """Three rows of ten have no value."""

    def make(contract: str) -> list[Row]:
        return [{**row, column: "" if n < NULLED else row[column]} for n, row in enumerate(even_day(contract))]

    return make


def with_values(**values: object) -> Callable[[str], list[Row]]:
    """The first row has other values."""

    def make(contract: str) -> list[Row]:
        first, *others = even_day(contract)
        return [{**first, **values}, *others]

    return make


def with_share(column: str, value: str, share: float) -> Callable[[str], list[Row]]:
    """A share of the rows has a value; the rest stays as it is."""

    def make(contract: str) -> list[Row]:
        rows = even_day(contract)
        return [{**row, column: value if n < ROWS * share else row[column]} for n, row in enumerate(rows)]

    return make


def all_with(column: str, value: str) -> Callable[[str], list[Row]]:
    return with_share(column, value, 1)


def mostly_seldom(column: str, often: str, seldom: str) -> Callable[[str], list[Row]]:
    """The value of one row in five is that of four, and the other way round."""

    def make(contract: str) -> list[Row]:
        return [{**row, column: often if n % 5 == 0 else seldom} for n, row in enumerate(even_day(contract))]

    return make


RANGES = {
    "llm_calls": {
        "started_at_in_future": with_values(started_at=FUTURE, first_token_at="", ended_at=FUTURE),
        "first_token_after_end": with_values(first_token_at=f"{NEW_DAY}T23:00:00Z"),
        "longer_than_a_day": with_values(ended_at=f"{NEW_DAY + timedelta(days=3)}T00:00:00Z"),
        "tokens_beyond_belief": with_values(output_text_tokens=10**9),
    },
    "tasks": {"closed_at_in_future": with_values(closed_at=FUTURE)},
    "bill_lines": {
        "charge_period_start_in_future": with_values(charge_period_start=FUTURE, charge_period_end=FUTURE),
    },
    "gpu_samples": {
        "sampled_at_in_future": with_values(sampled_at=FUTURE),
        "power_beyond_belief": with_values(power_watts="300000"),
    },
    "serving_samples": {"sampled_at_in_future": with_values(sampled_at=FUTURE)},
    "vendor_costs": {"cost_date_in_future": with_values(cost_date=FUTURE[:10])},
    "vendor_usage": {
        "started_at_in_future": with_values(started_at=FUTURE, ended_at=FUTURE),
        "tokens_beyond_belief": with_values(uncached_input_tokens=10**9),
    },
    "fx_rates": {
        "rate_is_zero": with_values(rate="0"),
        "rate_date_in_future": with_values(rate_date=FUTURE[:10]),
    },
}
CATEGORIES = {
    # column: the frequent value, the seldom one, and one that the history does not have
    ("llm_calls", "provider"): ("openai", "anthropic", "gemini"),
    ("llm_calls", "model"): ("gpt-4o", "claude", "gemini-9"),
    ("llm_calls", "status"): ("success", "failed", "rejected"),
    ("llm_calls", "reported_currency"): ("USD", "INR", "GBP"),
    ("tasks", "outcome"): ("success", "failure", "escalated"),
    ("bill_lines", "provider_name"): ("AWS", "Azure", "Lambda"),
    ("bill_lines", "billing_currency"): ("USD", "INR", "GBP"),
    ("gpu_samples", "gpu_model"): ("NVIDIA L4", "NVIDIA L40S", "NVIDIA H100"),
    ("serving_samples", "model"): ("llama", "qwen", "phi"),
    ("vendor_costs", "provider"): ("openai", "anthropic", "gemini"),
    ("vendor_costs", "currency"): ("USD", "INR", "GBP"),
    ("vendor_usage", "provider"): ("openai", "anthropic", "gemini"),
    ("vendor_usage", "model"): ("gpt-4o", "claude", "gemini-9"),
}


def faults() -> dict[tuple[str, str], Callable[[str], list[Row]]]:
    """By contract and the rule that must fail: how to make the day that is wrong."""
    found: dict[tuple[str, str], Callable[[str], list[Row]]] = {}
    for contract, profiled in PROFILED.items():
        if profiled.counts_rows:
            found[contract, "row_count >= row_count_at_least"] = lambda name: even_day(name, rows=ROWS // 10)
            found[contract, "row_count <= row_count_at_most"] = lambda name: even_day(name, rows=ROWS * 4)
        for column in profiled.nulls:
            found[contract, f"{column}_null_ratio <= {column}_null_ratio_at_most"] = without(column)
        for name, make in RANGES[contract].items():
            found[contract, f"{name} <= 0"] = make
    for (contract, column), (often, seldom, other) in CATEGORIES.items():
        found[contract, f"{column}_new_values <= 0"] = with_share(column, other, 0.1)
        found[contract, f"{column}_vanished_values <= 0"] = all_with(column, often)
        found[contract, f"{column}_share_moved <= 0.3"] = mostly_seldom(column, often, seldom)
    return found


FAULTS = faults()


def name_of(rule: suites.Rule) -> str:
    return f"{rule.column} {'>=' if rule.is_floor else '<='} {rule.bound}"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> tuple[Home, list, list[suites.Failure]]:
    """One run over a home in which each fault is that of a source of its own, beside a good source of each contract."""
    deliveries = Deliveries(Home(tmp_path_factory.mktemp("home")))
    sources = {f"fault-{number}": fault for number, fault in enumerate(FAULTS)}
    for source, (contract, _) in sources.items():
        deliveries.add_history(contract, source)
    for contract in PROFILED:
        deliveries.add_history(contract, f"good-{contract}")
    deliveries.bring()
    deliveries.accept()
    for source, (contract, rule) in sources.items():
        deliveries.add_day(contract, source, FAULTS[contract, rule](contract))
    for contract in PROFILED:
        deliveries.add_day(contract, f"good-{contract}", even_day(contract))
    deliveries.bring()
    failures = []

    def spy(*arguments):
        failures.extend(suites.run(*arguments))
        return failures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "run", spy)
        results = check_batches(deliveries.home, Config())
    return deliveries.home, results, failures


def test_every_expectation_has_a_fault():
    rules = {
        (contract, name_of(rule))
        for contract, profiled in PROFILED.items()
        for rule in batches._rules(profiled, Limits())
    }
    assert rules == set(FAULTS)


@pytest.mark.parametrize(("contract", "rule"), FAULTS)
def test_a_fault_breaks_its_expectation_and_no_other(outcome, contract, rule):
    source = f"fault-{list(FAULTS).index((contract, rule))}"
    broken = [failure for failure in outcome[2] if failure.place.split(" ")[0] == source]

    assert {(failure.suite, name_of(failure.rule)) for failure in broken} == {(contract, rule)}
    assert {failure.rule.severity for failure in broken} == {"warn"}


def test_good_sources_break_nothing(outcome):
    assert [failure for failure in outcome[2] if failure.place.startswith("good-")] == []


def test_there_is_a_result_for_every_check(outcome):
    assert [(result.asset, result.check) for result in outcome[1]] == [(spec.asset, spec.check) for spec in specs()]


def test_nothing_of_the_rows_stands_in_results_or_pages(outcome):
    home, results, _ = outcome
    assert SECRET not in repr(results)
    for result in results:
        json.dumps(result.observed)
        assert not any(isinstance(value, str) for value in result.observed.values())
    pages = [path for path in home.data_docs.rglob("*") if path.is_file()]
    assert {path.stem for path in pages} >= {"index", *PROFILED}
    for path in [*pages, *(home.warehouse / "checks").rglob("*.parquet")]:
        assert SECRET.encode() not in path.read_bytes(), path


def test_pages_load_nothing(outcome):
    for path in outcome[0].data_docs.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert "http://" not in text, path
        assert "https://" not in text, path
        assert "<script" not in text, path
        assert "@import" not in text, path


@pytest.fixture
def known(tmp_path) -> Deliveries:
    return known_home(tmp_path / "home", "llm_calls")


def found(home: Home, config: Config | None = None) -> dict[str, object]:
    return {
        result.check: result for result in check_batches(home, config or Config()) if result.asset[1] == "llm_calls"
    }


def test_the_message_says_what_where_and_how_much(known):
    rows = [{**row, "reported_currency": "USD"} for row in even_day("llm_calls", rows=10)]
    known.add_day("llm_calls", "llm_calls", rows)
    known.bring()

    result = found(known.home)["row_count"]
    assert not result.passed
    assert result.severity == "warn"
    assert f"llm_calls {NEW_DAY}: 10 rows, on a Wednesday usually 100 (-90%)" in result.message
    assert f"from read_parquet('{known.home.lake}/llm_calls/usage_date={NEW_DAY}/*.parquet')" in result.message
    assert result.observed == {"days_checked": 1, "days_failed": 1, "days_without_history": 0}


def test_what_a_fault_is_worth_is_told(known):
    rows = [{**row, "reported_currency": "USD"} for row in without("team")("llm_calls")]
    known.add_day("llm_calls", "llm_calls", rows)
    known.bring()

    assert (
        "team is null in 30.0% of 100 rows, usually in 0.0%, worth 7.50 USD" in found(known.home)["null_ratio"].message
    )


def test_a_check_blocks_where_the_limits_say_so(known):
    known.add_day("llm_calls", "llm_calls", even_day("llm_calls", rows=10))
    known.bring()

    blocking = Config(limits=Limits(blocking=("row_count",)))
    results = found(known.home, blocking)
    assert results["row_count"].severity == "error"
    assert not results["row_count"].passed
    assert results["null_ratio"].severity == "warn"


def test_limits_say_how_much_is_too_much(known):
    known.add_day("llm_calls", "llm_calls", even_day("llm_calls", rows=10))
    known.bring()

    assert found(known.home, Config(limits=Limits(row_count_change_ratio=0.95)))["row_count"].passed


def test_without_history_a_day_passes_and_says_so(tmp_path):
    deliveries = Deliveries(Home(tmp_path / "home"))
    deliveries.add_day("llm_calls", "llm_calls", even_day("llm_calls", rows=10))
    deliveries.bring()

    result = found(deliveries.home)["row_count"]
    assert result.passed
    assert "Not enough history for 1" in result.message


def test_a_day_that_is_not_over_is_compared_once_it_is(known):
    rows = even_day("llm_calls", rows=10)
    known.add("llm_calls", "llm_calls", rows, datetime.combine(NEW_DAY, time(12), UTC))
    known.bring()
    assert found(known.home)["row_count"].passed
    known.accept()

    known.add_day("llm_calls", "llm_calls", even_day("llm_calls", NEW_DAY + timedelta(days=1)), NEW_DAY + timedelta(1))
    known.bring()
    assert f"llm_calls {NEW_DAY}: 10 rows" in found(known.home)["row_count"].message


def test_a_bill_is_compared_once_it_has_settled(tmp_path):
    bill = known_home(tmp_path / "home", "bill_lines")

    def row_count() -> CheckResult:
        bill.bring()
        results = check_batches(bill.home, Config())
        bill.accept()
        return next(result for result in results if result.check == "row_count" and result.asset[1] == "bill_lines")

    first, second = NEW_DAY + timedelta(days=1), NEW_DAY + timedelta(days=3)
    bill.add("bill_lines", "bill_lines", even_day("bill_lines", rows=10), datetime.combine(first, time(8), UTC))
    assert row_count().passed
    later = even_day("bill_lines", first, rows=10)
    bill.add("bill_lines", "bill_lines", later, datetime.combine(second, time(8), UTC))
    assert f"bill_lines {NEW_DAY}: 10 rows" in row_count().message
    # what has been told is not told again
    bill.add("bill_lines", "bill_lines", later[:1], datetime.combine(second, time(9), UTC))
    assert str(NEW_DAY) not in row_count().message


def test_the_rows_of_a_file_that_has_grown_count_once(known):
    known.add_day("llm_calls", "llm_calls", even_day("llm_calls", rows=99))
    known.add_day("llm_calls", "llm_calls", even_day("llm_calls"))
    known.add_day("llm_calls", "llm_calls", even_day("llm_calls", rows=98))
    known.bring()

    assert found(known.home)["row_count"].passed


def test_lost_profiles_are_counted_again(known):
    first = refresh(known.home)
    shutil.rmtree(known.home.warehouse / "checks")
    again = refresh(known.home)
    assert all(first[contract].equals(again[contract]) for contract in PROFILED)
    assert first["llm_calls"].height > 0


def test_a_profile_that_was_cut_off_is_counted_again(known):
    first = refresh(known.home)
    path = known.home.warehouse / "checks" / "profiles" / "llm_calls.parquet"
    for content in (b"", path.read_bytes()[:-40]):
        path.write_bytes(content)
        assert refresh(known.home)["llm_calls"].equals(first["llm_calls"])


def test_only_new_days_are_counted(known):
    known.add_day("llm_calls", "llm_calls", even_day("llm_calls"))
    known.bring()
    check_batches(known.home, Config())
    profile = known.home.warehouse / "checks" / "profiles" / "llm_calls.parquet"
    first = profile.read_bytes()
    # an old day's file is not read again
    for path in (known.home.lake / "llm_calls" / "usage_date=2025-07-16").glob("*"):
        path.write_bytes(b"not parquet")
    known.add_day("llm_calls", "llm_calls", even_day("llm_calls", NEW_DAY + timedelta(1)), NEW_DAY + timedelta(1))
    known.bring()
    check_batches(known.home, Config())
    assert len(profile.read_bytes()) > len(first)


def test_nothing_new_is_checked_without_great_expectations(known):
    script = (
        "import sys; from pathlib import Path; from pertask.home import Home; from pertask.config import Config;"
        "from pertask.checks import check_batches;"
        f"results = check_batches(Home(Path({str(known.home.root)!r})), Config());"
        "assert all(result.passed for result in results);"
        "assert 'great_expectations' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert not known.home.data_docs.exists()


def test_what_ingest_refuses_is_missed_here(tmp_path):
    """Utilisation of 500 % and calls that end before they start are quarantined: here rows are missing."""
    deliveries = known_home(tmp_path / "home", "gpu_samples", "llm_calls")
    samples = [{**row, "gpu_util": "5.0" if n >= 10 else "0.5"} for n, row in enumerate(even_day("gpu_samples"))]
    calls = [{**row, "ended_at": "2025-08-19T00:00:00Z"} for row in even_day("llm_calls")[10:]]
    deliveries.add_day("gpu_samples", "gpu_samples", samples)
    deliveries.add_day("llm_calls", "llm_calls", [*even_day("llm_calls", rows=10), *calls])
    deliveries.bring()

    failed = {
        (result.asset[1], result.check) for result in check_batches(deliveries.home, Config()) if not result.passed
    }
    assert failed == {("gpu_samples", "row_count"), ("llm_calls", "row_count")}


def test_the_page_on_checks_names_every_check_and_limit():
    page = (Path(__file__).parents[4] / "docs" / "checks.md").read_text(encoding="utf-8")
    checks = {*DATA_CHECKS, "shape", "sums"}
    assert {spec.check for spec in specs()} < checks
    assert [name for name in (*checks, *Limits.model_fields) if name not in page] == []
