"""The shipped seeds: keys, ranges, periods and agreement between seeds. Needs only the repository."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

SEEDS = Path(__file__).resolve().parents[2] / "seeds"
NAMES = (
    "price_book",
    "price_fallbacks",
    "model_name_rules",
    "failure_causes",
    "cost_report_gaps",
    "providers",
    "error_causes",
    "gpu_models",
    "gpu_instances",
)
TIERS = {"standard", "batch", "flex", "priority"}
UNITS = {
    **dict.fromkeys(
        (
            "input",
            "cache_read",
            "cache_write_5m",
            "cache_write_1h",
            "output",
            "reasoning",
            "audio_input",
            "audio_output",
            "image_input",
            "image_output",
        ),
        "token",
    ),
    "web_search": "call",
    "call": "call",
    "image": "image",
}
CAUSES = {
    "schema_invalid",
    "rate_limited",
    "timeout",
    "tool_error",
    "content_filter",
    "server_error",
    "evicted",
    "cancelled",
    "unknown",
}
OPEN_START, OPEN_END = "0000", "9999"


def read(name: str) -> list[dict[str, str]]:
    with (SEEDS / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def duplicates(rows: list[dict[str, str]], *key: str) -> list[tuple[str, ...]]:
    return [value for value, count in Counter(tuple(row[part] for part in key) for row in rows).items() if count > 1]


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_whole_and_has_an_origin(name: str) -> None:
    rows = read(name)
    assert rows
    for row in rows:
        assert None not in row and None not in row.values(), row
        assert row["origin"].strip(), row
        assert all(value == value.strip() for value in row.values()), row


@pytest.mark.parametrize("name", NAMES)
def test_every_column_is_described(name: str) -> None:
    text = (SEEDS / f"{name}.yml").read_text(encoding="utf-8")
    described = set(re.findall(r"^      - name: (\w+)$", text, flags=re.MULTILINE))
    typed = set(
        re.findall(r"^        (\w+): (?:string|bigint|boolean|date|timestamp|decimal)", text, flags=re.MULTILINE)
    )
    columns = set(read(name)[0])
    assert described == columns
    assert typed == columns


def test_prices_are_known_kinds_and_not_negative() -> None:
    for row in read("price_book"):
        assert row["service_tier"] in TIERS, row
        assert UNITS[row["component"]] == row["unit"], row
        assert int(row["context_above_tokens"]) >= 0, row
        price = Decimal(row["usd_per_million"])
        assert price >= 0 and price == price.quantize(Decimal("0.000001")), row
        assert row["model"] and not row["model"].startswith(f"{row['provider']}/"), row


def test_prices_of_zero_are_only_where_nothing_is_billed() -> None:
    """0 means free, and only embedding and rerank models give a component away."""
    for row in read("price_book"):
        if Decimal(row["usd_per_million"]) == 0:
            assert row["component"] in ("input", "output"), row
            assert "embed" in row["model"] or "rerank" in row["model"] or row["provider"] == "voyage", row


def test_periods_of_a_price_follow_each_other_without_overlap() -> None:
    periods = defaultdict(list)
    moment = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|")
    for row in read("price_book"):
        assert moment.fullmatch(row["valid_from"]) and moment.fullmatch(row["valid_to"]), row
        start, end = row["valid_from"] or OPEN_START, row["valid_to"] or OPEN_END
        assert start < end, row
        parts = ("provider", "model", "region", "service_tier", "context_above_tokens", "context_counts", "daily_from")
        key = tuple(row[part] for part in (*parts, "component"))
        periods[key].append((start, end))
    for key, spans in periods.items():
        for (_, end), (start, _) in pairwise(sorted(spans)):
            assert end <= start, (key, spans)


def test_the_first_standard_period_of_a_model_is_open() -> None:
    first: dict[tuple[str, str], str] = {}
    for row in read("price_book"):
        if row["service_tier"] == "standard":
            key = (row["provider"], row["model"])
            first[key] = min(first.get(key, OPEN_END), row["valid_from"])
    assert {key for key, start in first.items() if start} == set()


def test_a_model_with_an_output_price_has_an_input_price_for_the_same_time() -> None:
    starts = defaultdict(dict)
    for row in read("price_book"):
        key = (row["provider"], row["model"], row["service_tier"], row["context_above_tokens"])
        starts[key].setdefault(row["component"], set()).update({row["valid_from"], row["valid_to"]})
    for key, components in starts.items():
        if "output" in components:
            assert "input" in components, key


def test_gemini_models_cost_the_same_at_both_google_endpoints() -> None:
    """A log that says only `google` is priced as the Gemini API; for text that must not matter."""
    prices = defaultdict(dict)
    for row in read("price_book"):
        is_text = row["component"] in ("input", "cache_read", "output") and row["service_tier"] == "standard"
        if is_text and row["provider"] in ("gemini", "vertex_ai"):
            key = (row["model"], row["context_above_tokens"], row["component"], row["valid_from"])
            prices[key][row["provider"]] = row["usd_per_million"]
    shared = {key: value for key, value in prices.items() if len(value) == 2}
    assert len(shared) >= 30
    assert {key: value for key, value in shared.items() if value["gemini"] != value["vertex_ai"]} == {}


@pytest.mark.parametrize("provider", ["gemini", "vertex_ai"])
def test_gemini_3_pro_preview_prices(provider: str) -> None:
    prices = {
        (row["context_above_tokens"], row["component"]): Decimal(row["usd_per_million"])
        for row in read("price_book")
        if (row["provider"], row["model"], row["service_tier"]) == (provider, "gemini-3-pro-preview", "standard")
    }
    for context, expected in {"0": ("2", "0.2", "12"), "200000": ("4", "0.4", "18")}.items():
        found = tuple(prices[context, component] for component in ("input", "cache_read", "output"))
        assert found == tuple(map(Decimal, expected))


def test_the_sol_cut_is_dated() -> None:
    periods = {
        (row["component"], row["valid_from"], row["valid_to"]): Decimal(row["usd_per_million"])
        for row in read("price_book")
        if (row["model"], row["service_tier"], row["context_above_tokens"]) == ("gpt-5.6-sol", "standard", "0")
    }
    cut = "2026-08-21 00:00:00"
    for component, before, after in (
        ("input", "5", "4"),
        ("cache_read", "0.5", "0.4"),
        ("cache_write_5m", "6.25", "5"),
        ("output", "30", "20"),
    ):
        assert periods[component, "", cut] == Decimal(before)
        assert periods[component, cut, ""] == Decimal(after)


def test_every_priced_provider_is_a_metered_provider_under_its_own_name() -> None:
    rows = read("providers")
    assert duplicates(rows, "provider_alias") == []
    assert all(row["provider_alias"] == row["provider_alias"].lower() for row in rows)
    assert {row["billing"] for row in rows} <= {"metered", "self_hosted"}
    billing = defaultdict(set)
    for row in rows:
        billing[row["provider"]].add(row["billing"])
    assert all(len(kinds) == 1 for kinds in billing.values())
    own = {row["provider_alias"] for row in rows if row["provider_alias"] == row["provider"]}
    assert own == set(billing)
    assert {row["provider"] for row in read("price_book")} <= {
        provider for provider, kinds in billing.items() if kinds == {"metered"}
    }


def cause_of(error_type: str) -> str:
    """What the seed says of an error: the lowest priority that matches, `unknown` when nothing does."""
    error = error_type.strip().lower()
    matches = [
        (int(row["priority"]), row["cause"])
        for row in read("error_causes")
        if (error == row["pattern"] if row["match_kind"] == "exact" else row["pattern"] in error)
    ]
    return min(matches)[1] if matches else "unknown"


def test_error_patterns_are_well_formed_and_never_ambiguous() -> None:
    rows = read("error_causes")
    assert duplicates(rows, "match_kind", "pattern") == []
    assert {row["match_on"] for row in rows} == {"error_type"}
    assert {row["match_kind"] for row in rows} == {"exact", "contains"}
    assert {row["cause"] for row in rows} == CAUSES
    assert all(row["pattern"] == row["pattern"].lower() and int(row["priority"]) > 0 for row in rows)
    one_cause = defaultdict(set)
    for row in rows:
        if row["match_kind"] == "contains":
            one_cause[row["priority"]].add(row["cause"])
    # One priority of substrings names one cause, save where patterns are status numbers or whole terms.
    several = {priority for priority, causes in one_cause.items() if len(causes) > 1}
    assert several <= {"20", "110"}


@pytest.mark.parametrize(
    ("error_type", "cause"),
    [
        ("RateLimitError", "rate_limited"),
        ("RateLimitError:429", "rate_limited"),
        ("litellm.RateLimitError: AnthropicException", "rate_limited"),
        ("429", "rate_limited"),
        ("ThrottlingException", "rate_limited"),
        ("Timeout", "timeout"),
        ("APITimeoutError", "timeout"),
        ("ReadTimeout", "timeout"),
        ("408", "timeout"),
        ("504", "timeout"),
        ("ContentPolicyViolationError", "content_filter"),
        ("ContentPolicyViolationError 400", "content_filter"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
        ("InternalServerError", "server_error"),
        ("InternalServerError:500", "server_error"),
        ("ServiceUnavailableError", "server_error"),
        ("APIConnectionError", "server_error"),
        ("overloaded_error", "server_error"),
        ("503", "server_error"),
        ("529", "server_error"),
        ("CUDA out of memory", "server_error"),
        ("JSONSchemaValidationError", "schema_invalid"),
        ("format_error", "schema_invalid"),
        ("invalid_json", "schema_invalid"),
        ("schema_validation", "schema_invalid"),
        ("schema_invalid", "schema_invalid"),
        ("parse_error", "schema_invalid"),
        ("json.decoder.JSONDecodeError", "schema_invalid"),
        ("tool_failed", "tool_error"),
        ("tool_error", "tool_error"),
        ("preempted", "evicted"),
        ("interrupted", "evicted"),
        ("spot_eviction", "evicted"),
        ("evicted", "evicted"),
        ("KeyboardInterrupt", "cancelled"),
        ("499", "cancelled"),
        ("client_closed_request", "cancelled"),
        ("asyncio.CancelledError", "cancelled"),
        ("cancelled", "cancelled"),
        ("rate_limited", "rate_limited"),
        ("timeout", "timeout"),
        ("server_error", "server_error"),
        ("unknown", "unknown"),
        ("BadRequestError", "unknown"),
        ("ContextWindowExceededError:400", "unknown"),
        ("AuthenticationError", "unknown"),
        ("_OTHER", "unknown"),
        ("no idea", "unknown"),
    ],
)
def test_errors_map_to_causes(error_type: str, cause: str) -> None:
    assert cause_of(error_type) == cause


def test_gpu_names_do_not_conflict() -> None:
    models, instances = read("gpu_models"), read("gpu_instances")
    assert duplicates(models, "gpu_model_alias") == []
    assert all(row["gpu_model_alias"] == row["gpu_model_alias"].lower() for row in models)
    memory = defaultdict(set)
    for row in models:
        memory[row["gpu_model"]].add(row["memory_gib"])
    assert all(len(sizes) == 1 for sizes in memory.values())
    assert {row["gpu_model"].lower() for row in models} <= {row["gpu_model_alias"] for row in models}
    assert all(name.endswith(f"-{next(iter(sizes))}GB") for name, sizes in memory.items())
    assert duplicates(instances, "instance_type") == []
    for row in instances:
        assert row["instance_type"] == row["instance_type"].lower()
        assert 1 <= int(row["gpu_count"]) <= 16
        assert memory[row["gpu_model"]] == {row["gpu_memory_gib"]}, row
