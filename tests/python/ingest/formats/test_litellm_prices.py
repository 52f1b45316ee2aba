"""LiteLLM's price table and lists of changes to it: what each price is the price of, exact, and when it was seen."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ingest import reading
from ingest.lake import Lake
from tests.python.ingest.helpers import MARKER, assert_nowhere, bring, write_csv, write_lines

SEEN = datetime(2026, 8, 1, 6, tzinfo=UTC)
PRICES = "service_tier, context_above_tokens, component, unit, cast(usd_per_million as varchar)"


def write_table(path: Path, models: dict | str, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(models if isinstance(models, str) else json.dumps(models, **options), encoding="utf-8")
    return path


def model(**prices: object) -> dict:
    return {"litellm_provider": "openai", "mode": "chat", "max_tokens": 128000, **prices}


def bring_table(tmp_path: Path, models: dict | str, **options: object):
    path = write_table(tmp_path / "in" / "prices.json", models, **{"indent": 1, **options})
    return bring(tmp_path, path, delivered_at=SEEN)


def reasons(tmp_path: Path) -> dict[str, int]:
    [batch] = Lake(tmp_path / "lake").batches().values()
    return batch.counts["model_prices"].skip_reasons


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("input_cost_per_token", 1.5e-07, ("standard", 0, "input", "token", "0.150000000000")),
        ("output_cost_per_token", 1e-05, ("standard", 0, "output", "token", "10.000000000000")),
        ("cache_read_input_token_cost", 2.5e-08, ("standard", 0, "cache_read", "token", "0.025000000000")),
        ("input_cost_per_token_cache_hit", 2.8e-08, ("standard", 0, "cache_read", "token", "0.028000000000")),
        ("cache_creation_input_token_cost", 3.75e-06, ("standard", 0, "cache_write_5m", "token", "3.750000000000")),
        (
            "cache_creation_input_token_cost_above_1hr",
            6e-06,
            ("standard", 0, "cache_write_1h", "token", "6.000000000000"),
        ),
        (
            "cache_creation_input_token_cost_above_1hr_above_200k_tokens",
            1.2e-05,
            ("standard", 200000, "cache_write_1h", "token", "12.000000000000"),
        ),
        ("input_cost_per_token_above_128k_tokens", 1e-07, ("standard", 128000, "input", "token", "0.100000000000")),
        (
            "input_cost_per_token_above_272k_tokens_priority",
            2e-05,
            ("priority", 272000, "input", "token", "20.000000000000"),
        ),
        ("output_cost_per_token_batches", 2e-06, ("batch", 0, "output", "token", "2.000000000000")),
        ("cache_read_input_token_cost_flex", 1e-08, ("flex", 0, "cache_read", "token", "0.010000000000")),
        ("output_cost_per_reasoning_token", 3e-06, ("standard", 0, "reasoning", "token", "3.000000000000")),
        ("input_cost_per_audio_token", 1e-06, ("standard", 0, "audio_input", "token", "1.000000000000")),
        ("output_cost_per_audio_token", 2e-05, ("standard", 0, "audio_output", "token", "20.000000000000")),
        ("input_cost_per_image_token", 1e-05, ("standard", 0, "image_input", "token", "10.000000000000")),
        ("output_cost_per_image_token", 4e-05, ("standard", 0, "image_output", "token", "40.000000000000")),
        ("output_cost_per_image", 0.04, ("standard", 0, "image", "image", "40000.000000000000")),
        ("input_cost_per_query", 0.002, ("standard", 0, "call", "call", "2000.000000000000")),
        ("input_cost_per_request", 0.005, ("standard", 0, "call", "call", "5000.000000000000")),
        (
            "search_context_cost_per_query",
            dict.fromkeys([f"search_context_size_{size}" for size in ("low", "medium", "high")], 0.01),
            ("standard", 0, "web_search", "call", "10000.000000000000"),
        ),
        # free and unknown are both 0 there: it is read as it stands
        ("input_cost_per_token", 0, ("standard", 0, "input", "token", "0.000000000000")),
        ("input_cost_per_token", 0.0, ("standard", 0, "input", "token", "0.000000000000")),
        ("input_cost_per_token", 3.3000000000000003e-07, ("standard", 0, "input", "token", "0.330000000000")),
        ("input_cost_per_token", "1E-6", ("standard", 0, "input", "token", "1.000000000000")),
    ],
)
def test_what_a_field_is_the_price_of(tmp_path, lake_rows, field, value, expected):
    result = bring_table(tmp_path, {"gpt-x": model(**{field: value})})

    assert (result.state, result.format, result.message) == ("committed", "litellm_prices", "")
    assert lake_rows("model_prices", PRICES) == [expected]


def test_a_price_keeps_its_digits_where_a_float_would_not(tmp_path, lake_rows):
    table = json.dumps({"gpt-x": model(input_cost_per_token=1)}).replace(": 1}", ": 0.0000001100000000000001}")
    bring_table(tmp_path, table)
    [(price,)] = lake_rows("model_prices", "usd_per_million")
    assert price == Decimal("0.110000000000")


def test_the_whole_row(tmp_path, lake_rows):
    bring_table(tmp_path, {"azure/gpt-x": model(litellm_provider="azure", input_cost_per_token=1e-06)})
    columns = "source, provider, model, region, effective_from, observed_at, origin"
    assert lake_rows("model_prices", columns) == [
        ("gateway", "azure", "gpt-x", None, None, SEEN, "litellm azure/gpt-x input_cost_per_token")
    ]


@pytest.mark.parametrize(
    ("key", "provider", "expected"),
    [
        ("gpt-4o", "openai", ("openai", "gpt-4o", None)),
        ("azure/eu/gpt-4o", "azure", ("azure", "eu/gpt-4o", None)),
        ("openrouter/openai/gpt-4o", "openrouter", ("openrouter", "openai/gpt-4o", None)),
        ("vertex_ai/claude-x@1", "vertex_ai-anthropic_models", ("vertex_ai-anthropic_models", "claude-x@1", None)),
        (
            "bedrock/us-gov-west-1/anthropic.c-v1:0",
            "bedrock_converse",
            ("bedrock_converse", "anthropic.c-v1:0", "us-gov-west-1"),
        ),
        ("us.anthropic.claude", "bedrock_converse", ("bedrock_converse", "us.anthropic.claude", None)),
        ("low/1024-x-1024/gpt-image-1", "openai", ("openai", "low/1024-x-1024/gpt-image-1", None)),
        # without litellm_provider: the prefix, or whom LiteLLM takes for granted
        ("groq/qwen/qwen3", None, ("groq", "qwen/qwen3", None)),
        ("o3-mini", None, ("openai", "o3-mini", None)),
        ("ft:gpt-4o", None, ("openai", "ft:gpt-4o", None)),
        ("text-embedding-3-small", None, ("openai", "text-embedding-3-small", None)),
        ("text-embedding-005", None, ("vertex_ai", "text-embedding-005", None)),
        ("claude-x", None, ("anthropic", "claude-x", None)),
        ("apac.anthropic.claude-x-v1:0", None, ("bedrock", "apac.anthropic.claude-x-v1:0", None)),
        ("gemini-2.5-pro", None, ("vertex_ai", "gemini-2.5-pro", None)),
        ("command-r", None, ("cohere", "command-r", None)),
        ("my-model", None, (None, "my-model", None)),
        ('a "quoted" naïve', None, (None, 'a "quoted" naïve', None)),
    ],
)
def test_whose_model_it_is(tmp_path, lake_rows, key, provider, expected):
    prices = {"input_cost_per_token": 1e-06} | ({"litellm_provider": provider} if provider else {})
    result = bring_table(tmp_path, {key: prices}, ensure_ascii=True)
    assert result.rows_loaded == 1
    assert lake_rows("model_prices", "provider, model, region") == [expected]


def test_steps_of_the_context_begin_where_their_range_does(tmp_path, lake_rows):
    steps = [
        {"range": [0, 256000.0], "input_cost_per_token": 5e-08},
        {"range": [256000.0, 1000000.0], "input_cost_per_token": 2.5e-07, "output_cost_per_reasoning_token": 4e-06},
    ]
    searches = [{"max_results_range": [0, 25], "input_cost_per_query": 0.005}]
    bring_table(tmp_path, {"q": model(tiered_pricing=steps), "s": model(tiered_pricing=searches)})
    assert lake_rows("model_prices", f"model, {PRICES}, origin") == [
        ("q", "standard", 0, "input", "token", "0.050000000000", "litellm q tiered_pricing[0].input_cost_per_token"),
        (
            "q",
            "standard",
            256000,
            "input",
            "token",
            "0.250000000000",
            "litellm q tiered_pricing[1].input_cost_per_token",
        ),
        (
            "q",
            "standard",
            256000,
            "reasoning",
            "token",
            "4.000000000000",
            "litellm q tiered_pricing[1].output_cost_per_reasoning_token",
        ),
    ]
    assert reasons(tmp_path) == {"a step of something else than tokens": 1}


def test_what_is_no_price_to_use_is_counted(tmp_path, lake_rows):
    sizes = {"search_context_size_low": 0.005, "search_context_size_medium": 0.008, "search_context_size_high": 0.012}
    result = bring_table(
        tmp_path,
        {
            "sample_spec": {"litellm_provider": "one of ...", "input_cost_per_token": 0.0},
            "free": model(),
            "null": model(input_cost_per_token=None),
            "seconds": model(input_cost_per_second=1, input_dbu_cost_per_token=1, cache_read_input_audio_token_cost=1),
            "vision": model(input_cost_per_image=0.001),
            "search": model(search_context_cost_per_query=sizes),
            "painter": model(mode="image_generation", input_cost_per_image=0.01),
        },
    )
    assert (result.rows_loaded, result.rows_quarantined) == (1, 0)
    assert lake_rows("model_prices", f"model, {PRICES}") == [
        ("painter", "standard", 0, "image", "image", "10000.000000000000")
    ]
    assert reasons(tmp_path) == {
        "an example, no model": 1,
        "no price": 2,
        "a price of another unit": 4,
        "a price that depends on the size of the search": 1,
    }


def test_a_price_key_that_is_not_known_is_named(tmp_path):
    prices = {"thought_cost_per_token": 1, f"{MARKER} cost": 1, "input_cost_per_token": 1e-06}
    result = bring_table(tmp_path, {"a": model(**prices), "b": model(thought_cost_per_token=2)})
    assert result.message == "prices.json: price keys not read: thought_cost_per_token"
    assert reasons(tmp_path) == {"a price key that is not known": 3}
    assert_nowhere(tmp_path / "lake")


def test_of_two_keys_of_one_model_the_one_with_the_provider_counts(tmp_path, lake_rows):
    result = bring_table(
        tmp_path,
        {
            "deepseek-chat": {
                "litellm_provider": "deepseek",
                "input_cost_per_token": 1e-06,
                "output_cost_per_token": 2e-06,
            },
            "deepseek/deepseek-chat": {
                "litellm_provider": "deepseek",
                "input_cost_per_token": 3e-06,
                "output_cost_per_token": 2e-06,
                "cache_read_input_token_cost": 1e-08,
                "input_cost_per_token_cache_hit": 2e-08,
            },
        },
    )
    assert lake_rows("model_prices", "component, cast(usd_per_million as varchar)") == [
        ("cache_read", "0.010000000000"),
        ("input", "3.000000000000"),
        ("output", "2.000000000000"),
    ]
    assert reasons(tmp_path) == {"the price stands there twice": 3}
    assert result.message == ("prices.json: 2 prices differ from those under another key of the model, which count")


def test_broken_entries_cost_only_themselves(tmp_path, lake_rows):
    bring_table(
        tmp_path,
        """\
{
 "good": {"litellm_provider": "openai", "input_cost_per_token": 1e-06},
 "text": {"litellm_provider": "openai",
  "input_cost_per_token": "cheap", "output_cost_per_token": 1e-06},
 "list": [1, 2],
 "number": 7,
 "negative": {"output_cost_per_token": -1e-06},
 "true": {"output_cost_per_token": true},
 "huge": {"cache_read_input_token_cost": 1e40, "input_cost_per_token": 1000000.0},
 "object": {"input_cost_per_token": {"a": 1}},
 "steps": {"tiered_pricing": [7, {"range": [0], "input_cost_per_token": 2e-06}]}
}
""",
    )
    assert lake_rows("model_prices", "model, component") == [
        ("good", "input"),
        ("steps", "input"),
        ("text", "output"),
    ]
    assert sorted(lake_rows("quarantined_rows", "line_number, coalesce(column_name, ''), reason, file_name")) == [
        (3, "input_cost_per_token", "not a number", "prices.json"),
        (5, "", "not a JSON object", "prices.json"),
        (6, "", "not a JSON object", "prices.json"),
        (7, "output_cost_per_token", "negative", "prices.json"),
        (8, "output_cost_per_token", "not a number", "prices.json"),
        (9, "cache_read_input_token_cost", "too large for a price", "prices.json"),
        (9, "input_cost_per_token", "too large for a price", "prices.json"),
        (10, "input_cost_per_token", "not a number", "prices.json"),
        (11, "tiered_pricing", "not a list of steps", "prices.json"),
    ]


def test_half_a_table_is_told(tmp_path, lake_rows):
    text = json.dumps({f"m{number}": model(input_cost_per_token=1e-06) for number in range(20)}, indent=1)
    result = bring_table(tmp_path, text[: len(text) // 2])
    assert (result.rows_loaded, result.rows_quarantined) == (0, 1)
    assert lake_rows("quarantined_rows", "line_number, reason") == [(1, "not valid JSON")]


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize(
    ("name", "indent"),
    [
        *((name, indent) for name in ("prices.json", "prices.json.gz", "prices") for indent in (None, 4)),
        ("prices.jsonl", None),
    ],
)
def test_a_table_in_each_shape(tmp_path, lake_rows, monkeypatch, name, indent, is_large):
    if is_large:
        monkeypatch.setattr(reading, "_SMALL_BYTES", 0)
    path = tmp_path / name
    text = json.dumps({"a": model(input_cost_per_token=1e-06), "b": model(output_cost_per_token=2e-06)}, indent=indent)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else b"\xef\xbb\xbf" + text.encode())
    result = bring(tmp_path, path, delivered_at=SEEN)
    assert (result.state, result.format, result.rows_loaded) == ("committed", "litellm_prices", 2)


def test_nothing_but_prices_and_names_is_stored(tmp_path):
    bring_table(tmp_path, {"gpt-x": model(input_cost_per_token=1e-06, source=MARKER, metadata={"notes": MARKER})})
    assert_nowhere(tmp_path / "lake")


@pytest.mark.parametrize(
    "text",
    [
        {"data": [{"model_name": "x", "model_info": model(input_cost_per_token=1e-06)}]},
        {"cost_breakdown": {"input_cost": 1, "output_cost": 2}, "id": "x"},
        {"model_map_information": {"model_map_value": model(input_cost_per_token=1)}, "id": "x"},
        {"a": 1, "litellm_provider": "openai", "input_cost_per_token": 1},
    ],
)
def test_what_is_no_price_table(tmp_path, text):
    result = bring(tmp_path, write_table(tmp_path / "x.json", text), "litellm_prices")
    assert result.state == "failed"
    assert "this is not litellm_prices" in result.message


# When it was seen


def test_the_same_table_seen_again_is_another_observation(tmp_path, lake_rows):
    path = write_table(tmp_path / "prices.json", {"gpt-x": model(input_cost_per_token=1e-06)})
    later = datetime(2026, 8, 5, tzinfo=UTC)
    states = [bring(tmp_path, path, delivered_at=at).state for at in (SEEN, later, SEEN)]
    assert states == ["committed", "committed", "unchanged"]
    assert lake_rows("model_prices", "observed_at") == [(SEEN,), (later,)]


def test_without_a_time_the_file_says_when_and_files_of_one_folder_each_their_own(tmp_path, lake_rows):
    import os

    from ingest.runner import IngestRequest, ingest

    times = [datetime(2026, 8, day, tzinfo=UTC) for day in (1, 2, 3)]
    for number, at in enumerate(times):
        path = write_table(tmp_path / "in" / f"{number}.json", {"gpt-x": model(input_cost_per_token=number)})
        os.utime(path, (at.timestamp(), at.timestamp()))
    ingest(tmp_path / "lake", [IngestRequest("prices", tmp_path / "in")])
    assert lake_rows("model_prices", "observed_at, cast(usd_per_million as bigint)") == [
        (at, number * 1_000_000) for number, at in enumerate(times)
    ]


# Lists of changes


def change(**values: object) -> dict:
    return {
        "observed_at": "2026-02-07T00:30:08+00:00",
        "commit": "9810af3f7f",
        "model": "gemini/gemini-x",
        "field": "input_cost_per_token",
        "old": "0.00015",
        "new": "1.5e-07",
        **values,
    }


def test_a_change_is_two_observations(tmp_path, lake_rows):
    result = bring(tmp_path, write_csv(tmp_path / "changes.csv", [change()]), delivered_at=SEEN)
    assert (result.format, result.message) == ("litellm_prices", "")
    origin = "litellm gemini/gemini-x input_cost_per_token 9810af3f7f"
    assert lake_rows("model_prices", "provider, model, cast(usd_per_million as varchar), observed_at, origin") == [
        ("gemini", "gemini-x", "0.150000000000", datetime(2026, 2, 7, 0, 30, 8, tzinfo=UTC), origin),
        ("gemini", "gemini-x", "150.000000000000", datetime(2026, 2, 7, 0, 30, 7, 999999, tzinfo=UTC), origin),
    ]


def test_what_was_added_and_what_was_dropped(tmp_path, lake_rows):
    rows = [change(old=""), change(model="a/b", new="", field="output_cost_per_token_batches")]
    bring(tmp_path, write_csv(tmp_path / "changes.csv", rows), delivered_at=SEEN)
    assert lake_rows("model_prices", f"provider, model, {PRICES}") == [
        ("a", "b", "batch", 0, "output", "token", "150.000000000000"),
        ("gemini", "gemini-x", "standard", 0, "input", "token", "0.150000000000"),
    ]
    assert reasons(tmp_path) == {"the price was dropped": 1}


def test_a_list_with_the_needed_columns_only_and_one_that_names_providers(tmp_path, lake_rows):
    needed = {name: change()[name] for name in ("observed_at", "model", "field", "new")}
    bring(tmp_path, write_csv(tmp_path / "needed.csv", [{**needed, "model": "my-model"}]))
    bring(tmp_path, write_csv(tmp_path / "named.csv", [{**needed, "model": "openai/x", "provider": "azure"}]))
    assert lake_rows("model_prices", "provider, model, origin") == [
        ("azure", "openai/x", "litellm openai/x input_cost_per_token"),
        (None, "my-model", "litellm my-model input_cost_per_token"),
    ]


def test_bad_rows_of_a_list_cost_only_themselves(tmp_path, lake_rows):
    rows = [
        change(old=""),
        change(old="", new="free"),
        change(old="dear", model="gpt-x"),
        change(old="", model=""),
        change(old="", field=""),
        change(observed_at="soon"),
        change(field="colour", old=""),
    ]
    result = bring(tmp_path, write_csv(tmp_path / "changes.csv", rows))
    assert (result.rows_loaded, reasons(tmp_path)) == (2, {"a price key that is not known": 1})
    assert sorted(lake_rows("quarantined_rows", "line_number, column_name, reason")) == [
        (3, "input_cost_per_token", "not a number"),
        (4, "input_cost_per_token", "not a number"),
        (5, "model", "missing"),
        (6, "field", "missing"),
        (7, "observed_at", "not a time"),
        (7, "observed_at", "not a time"),
    ]


def test_a_table_and_a_list_in_one_folder(tmp_path, lake_rows):
    from ingest.runner import IngestRequest, ingest

    write_table(tmp_path / "in" / "prices.json", {"gpt-x": model(input_cost_per_token=1e-06)})
    write_csv(tmp_path / "in" / "changes.csv", [change()])
    write_lines(tmp_path / "in" / "empty.csv", [""])
    results = ingest(tmp_path / "lake", [IngestRequest("prices", tmp_path / "in", "litellm_prices", delivered_at=SEEN)])
    assert [result.state for result in results] == ["committed"] * 3
    assert lake_rows("model_prices", "count(*)") == [(3,)]
