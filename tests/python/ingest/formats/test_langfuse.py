"""Langfuse exports: what their fields mean, in every spelling and shape that real exports have."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest import reading
from ingest.contracts import TOKEN_BUCKETS
from ingest.formats.langfuse import _KEYS
from ingest.runner import IngestRequest, ingest
from tests.python.conftest import write_json_lines
from tests.python.ingest.helpers import MARKER, assert_nowhere, bring, write_csv, write_lines

INPUT = "uncached_input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens"
OUTPUT = "output_text_tokens, reasoning_tokens"


def observation(id_: str | None = "o1", **changes: object) -> dict:
    """A generation of the enriched export (``observations_v2``), whose columns of trace context are empty."""
    return {
        "id": id_,
        "trace_id": "t1",
        "project_id": "p1",
        "environment": "production",
        "type": "GENERATION",
        "parent_observation_id": "",
        "start_time": "2026-08-01 10:00:00.250000",
        "end_time": "2026-08-01 10:00:02.500000",
        "name": "chat",
        "metadata": {},
        "level": "DEFAULT",
        "status_message": "",
        "version": "",
        "input": "",
        "output": "",
        "provided_model_name": "gpt-5",
        "model_parameters": '{"temperature":0.5}',
        "usage_details": {"input": 600, "output": 100, "total": 700},
        "cost_details": {"input": 0.001, "output": 0.002, "total": 0.003},
        "completion_start_time": None,
        "prompt_name": "",
        "prompt_version": None,
        "total_cost": 0.003,
        "latency": 2250,
        "time_to_first_token": None,
        "model_id": "",
        "created_at": "2026-08-01 10:00:03.000000",
        "updated_at": "2026-08-01 10:00:03.000000",
        "prompt_id": "",
        "tool_calls": [],
        "tool_call_names": [],
        "tool_definitions": {},
        "usage_pricing_tier_id": None,
        "usage_pricing_tier_name": None,
        "input_price": "0.00000125",
        "output_price": None,
        "total_price": None,
        "user_id": "",
        "session_id": "",
        "trace_name": "answer a ticket",
        "tags": [],
        "release": "",
        "bookmarked": False,
        "public": False,
        **changes,
    }


def legacy(id_: str = "o1", **changes: object) -> dict:
    """A generation of the legacy export: no trace context, and null where nothing is said."""
    enriched = ("user_id", "session_id", "trace_name", "tags", "release", "bookmarked", "public")
    row = {name: value for name, value in observation(id_).items() if name not in (*enriched, "usage_pricing_tier_id")}
    return {name: None if value == "" else value for name, value in row.items()} | changes


def trace(id_: str = "t1", **changes: object) -> dict:
    return {
        "id": id_,
        "timestamp": "2026-08-01 10:00:00.000000",
        "name": "answer a ticket",
        "environment": "default",
        "project_id": "p1",
        "metadata": {},
        "user_id": None,
        "session_id": None,
        "release": None,
        "version": None,
        "public": False,
        "bookmarked": False,
        "tags": [],
        "input": None,
        "output": None,
        "created_at": "2026-08-01 10:00:03.000000",
        "updated_at": "2026-08-01 10:00:03.000000",
        **changes,
    }


def score(id_: str = "s1", **changes: object) -> dict:
    return {
        "id": id_,
        "timestamp": "2026-08-01 11:00:00.000000",
        "project_id": "p1",
        "environment": "production",
        "trace_id": "t1",
        "observation_id": None,
        "session_id": None,
        "dataset_run_id": None,
        "name": "outcome",
        "value": 0,
        "source": "API",
        "comment": None,
        "data_type": "CATEGORICAL",
        "string_value": "success",
        "created_at": "2026-08-01 11:00:00.000000",
        "updated_at": "2026-08-01 11:00:00.000000",
        **changes,
    }


@pytest.fixture(params=["small", "large"])
def file_size(request, monkeypatch):
    """Small files are read with care from the start, large ones only when the fast reader gives up: test both."""
    if request.param == "large":
        monkeypatch.setattr(reading, "_SMALL_BYTES", 0)


both_sizes = pytest.mark.usefixtures("file_size")


@pytest.fixture
def one_call(tmp_path, lake_rows):
    """Ingest one observation and return the named columns of its call."""

    def columns(names: str, **changes: object) -> tuple:
        result = bring(tmp_path, write_json_lines(tmp_path / "in" / "calls.jsonl", [observation(**changes)]))
        assert result.format == "langfuse"
        assert result.message == ""
        assert result.rows_loaded == 1, lake_rows("quarantined_rows", "column_name, reason")
        return lake_rows("llm_calls", names)[0]

    return columns


@pytest.fixture
def quarantined(tmp_path, lake_rows):
    """Ingest a wrong observation beside a good one and return what is said of it."""

    def places(**changes: object) -> tuple:
        rows = [observation("good"), observation("wrong", **changes)]
        result = bring(tmp_path, write_json_lines(tmp_path / "in" / "calls.jsonl", rows))
        assert (result.rows_loaded, result.rows_quarantined) == (1, 1)
        [(line, *found)] = lake_rows("quarantined_rows", "line_number, column_name, reason")
        assert line == 2
        return tuple(found)

    return places


def skipped(tmp_path: Path) -> dict[str, int]:
    """The reasons of skipped rows of the test's lake, over all contracts."""
    from ingest.lake import Lake

    found: dict[str, int] = {}
    for batch in Lake(tmp_path / "lake").batches().values():
        for count in batch.counts.values():
            for reason, number in count.skip_reasons.items():
                found[reason] = found.get(reason, 0) + number
    return found


# Usage


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        # Langfuse's own keys are buckets apart
        ({"input": 600, "input_cached_tokens": 400, "output": 100, "total": 1100}, (600, 400, None, None, 100, None)),
        ({"input": 600, "input_cached_tokens": 400, "output": 100}, (600, 400, None, None, 100, None)),
        # cached may well be more than what is not cached
        ({"input": 5, "input_cache_read": 128955, "output": 9, "total": 128969}, (5, 128955, None, None, 9, None)),
        ({"input": 5, "cache_read_input_tokens": 900, "output": 9, "total": 14}, (5, 900, None, None, 9, None)),
        # the total shows that input contains the cached tokens
        ({"input": 1000, "input_cached_tokens": 400, "output": 100, "total": 1100}, (600, 400, None, None, 100, None)),
        (
            {
                "input": 1000,
                "cache_read_input_tokens": 400,
                "cache_creation_input_tokens": 100,
                "output": 90,
                "total": 1090,
            },
            (500, 400, 100, None, 90, None),
        ),
        # the total shows that output contains the reasoning, with cached tokens apart and not
        (
            {"input": 600, "input_cached_tokens": 400, "output": 100, "output_reasoning_tokens": 60, "total": 1100},
            (600, 400, None, None, 40, 60),
        ),
        (
            {"input": 1000, "input_cached_tokens": 400, "output": 100, "reasoning_tokens": 60, "total": 1100},
            (600, 400, None, None, 40, 60),
        ),
        (
            {"input": 1000, "input_cached_tokens": 400, "output": 40, "reasoning_tokens": 60, "total": 1100},
            (600, 400, None, None, 40, 60),
        ),
        ({"input": 600, "output": 40, "output_reasoning_tokens": 60, "total": 700}, (600, None, None, None, 40, 60)),
        ({"input": 600, "output": 40, "reasoning_tokens": 60}, (600, None, None, None, 40, 60)),
        # a total that fits nothing decides nothing
        ({"input": 600, "input_cached_tokens": 400, "output": 100, "total": 7}, (600, 400, None, None, 100, None)),
        # OpenAI's keys: parts are inside. A total that is the sum of all keys is Langfuse's own
        (
            {"prompt_tokens": 1000, "cached_tokens": 400, "completion_tokens": 100, "reasoningTokens": 60},
            (600, 400, None, None, 40, 60),
        ),
        ({"prompt_tokens": 1000, "cached_tokens": 400, "completion_tokens": 100, "total": 1500}, (600, 400, 100)),
        (
            {"prompt_tokens": 1000, "cached_tokens": 400, "completion_tokens": 100, "total_tokens": 1100},
            (600, 400, None, None, 100, None),
        ),
        ({"prompt_tokens": 1000, "cache_read_input_tokens": 400, "completion_tokens": 100}, (600, 400, 100)),
        ({"input_tokens": 1000, "cached_tokens": 400, "output_tokens": 100, "reasoning_tokens": 60}, (600, 400, 40)),
        ({"inputTokens": 1000, "cachedInputTokens": 400, "outputTokens": 100, "totalTokens": 1100}, (600, 400, 100)),
        # a total that the application sent goes before the vendor's convention
        ({"prompt_tokens": 600, "cached_tokens": 400, "completion_tokens": 100, "total_tokens": 1100}, (600, 400, 100)),
        # Anthropic's and Bedrock's: cached beside, reasoning inside
        (
            {
                "input_tokens": 600,
                "cache_read_input_tokens": 400,
                "cache_creation_input_tokens": 50,
                "output_tokens": 100,
            },
            (600, 400, 50, None, 100, None),
        ),
        ({"inputTokens": 600, "cacheReadInputTokens": 400, "outputTokens": 100}, (600, 400, 100)),
        # Gemini's: cached inside, thoughts beside, what tools put into the prompt beside
        (
            {
                "promptTokenCount": 1000,
                "cachedContentTokenCount": 400,
                "toolUsePromptTokenCount": 30,
                "candidatesTokenCount": 100,
                "thoughtsTokenCount": 60,
                "totalTokenCount": 1190,
            },
            (630, 400, None, None, 100, 60),
        ),
        (
            {
                "prompt_token_count": 1000,
                "cached_content_token_count": 400,
                "candidates_token_count": 100,
                "thoughts_token_count": 60,
            },
            (600, 400, None, None, 100, 60),
        ),
        ({"input": 1000, "output": 100, "thoughts_token_count": 60}, (1000, None, None, None, 100, 60)),
        # OpenTelemetry's names, as older versions stored them: parts inside
        (
            {"input": 1000, "cache_read.input_tokens": 400, "output": 100, "reasoning.output_tokens": 60},
            (600, 400, None, None, 40, 60),
        ),
        # text as a part of its own: Langfuse takes all details off the input, and the cached ones twice
        (
            {"input": 0, "input_text_tokens": 1000, "input_cached_tokens": 400, "output": 100, "total": 1100},
            (600, 400, None, None, 100, None),
        ),
        ({"input": 10, "input_modality_TEXT": 590, "output": 0, "output_modality_TEXT": 100}, (600, None, 100)),
        (
            {
                "input": 600,
                "output": 70,
                "output_accepted_prediction_tokens": 20,
                "output_rejected_prediction_tokens": 10,
            },
            (600, None, 100),
        ),
        # lifetimes of writes: Langfuse's are apart, Anthropic's count is their sum
        ({"input": 1, "input_cache_creation": 100, "output": 1}, (1, None, 100, None, 1, None)),
        (
            {"input": 1, "input_cache_creation": 0, "input_cache_creation_1h": 76, "output": 1},
            (1, None, 0, 76, 1, None),
        ),
        (
            {
                "input": 1,
                "input_cache_creation": 10,
                "input_cache_creation_5m": 5,
                "input_cache_creation_1h": 7,
                "output": 1,
            },
            (1, None, 15, 7, 1, None),
        ),
        (
            {
                "input": 1,
                "cache_creation_input_tokens": 100,
                "ephemeral_5m_input_tokens": 40,
                "ephemeral_1h_input_tokens": 60,
                "output": 1,
            },
            (1, None, 40, 60, 1, None),
        ),
        (
            {"input": 1, "cache_creation_input_tokens": 100, "ephemeral_1h_input_tokens": 60, "output": 1},
            (1, None, 40, 60, 1, None),
        ),
        ({"input": 1, "cache_write_tokens": 100, "output": 1}, (1, None, 100, None, 1, None)),
        # one fact in two spellings counts once
        (
            {"input": 600, "input_cached_tokens": 400, "cache_read_input_tokens": 400, "output": 100},
            (600, 400, None, None, 100, None),
        ),
        ({"input": 600, "prompt_tokens": 1000, "input_cached_tokens": 400, "output": 100}, (600, 400, 100)),
        ({"input": 600, "input_cached_tokens": 0, "input_cache_read": 400, "output": 100}, (600, 400, 100)),
        # numbers as text, whole numbers with a point, null
        ({"input": "600", "input_cached_tokens": 400.0, "output": 100, "reasoning": None}, (600, 400, 100)),
        # nothing said is null
        ({}, (None, None, None, None, None, None)),
        ({"input": 600}, (600, None, None, None, None, None)),
        ({"input": 0, "output": 0, "total": 0}, (0, None, None, None, 0, None)),
    ],
)
def test_usage_in_every_spelling(one_call, usage, expected):
    """Expected are all six counts, or only fresh, cached and answer."""
    if len(expected) == 6:
        assert one_call(f"{INPUT}, {OUTPUT}", usage_details=usage) == expected
    else:
        assert one_call("uncached_input_tokens, cache_read_tokens, output_text_tokens", usage_details=usage) == expected


def test_audio_images_and_searches(one_call):
    usage = {
        "input": 500,
        "input_audio_tokens": 60,
        "input_image": 40,
        "output": 80,
        "output_audio": 20,
        "web_search_requests": 3,
    }
    names = "audio_input_tokens, image_input_tokens, audio_output_tokens, web_search_count, unmapped_usage"
    found = one_call(f"uncached_input_tokens, output_text_tokens, {names}", usage_details=usage)
    assert found == (500, 80, 60, 40, 20, 3, None)


def test_a_vendors_total_contains_its_audio(one_call):
    usage = {"prompt_tokens": 600, "input_audio_tokens": 60, "completion_tokens": 100, "output_audio_tokens": 20}
    names = "uncached_input_tokens, audio_input_tokens, output_text_tokens, audio_output_tokens"
    assert one_call(names, usage_details=usage) == (540, 60, 80, 20)


def test_unknown_keys_stay_as_unmapped_usage(one_call):
    usage = {"input": 600, "output": 100, "video_seconds": 4, "gpu_ms": 12.5, "nothing": 0, "unit": "TOKENS"}
    found = one_call("uncached_input_tokens, output_text_tokens, unmapped_usage", usage_details=usage)
    assert found[:2] == (600, 100)
    assert json.loads(found[2]) == {"video_seconds": 4, "gpu_ms": 12.5}


def test_a_total_without_parts_belongs_to_no_bucket(one_call):
    found = one_call("uncached_input_tokens, output_text_tokens, unmapped_usage", usage_details={"total": 700})
    assert (found[:2], json.loads(found[2])) == ((None, None), {"total": 700})


@pytest.mark.parametrize("key", sorted(_KEYS))
def test_no_key_is_dropped(one_call, key):
    """Each key gives its count to its column, and to no other than the total that contains it."""
    column = {"input_tokens": "uncached_input_tokens", "output_tokens": "output_text_tokens"}.get(
        _KEYS[key], _KEYS[key]
    )
    totals = ("uncached_input_tokens", "output_text_tokens")
    is_alone = column in (*totals, "unmapped_usage")
    usage = {key: 7} if is_alone else {"input": 1000, "output": 1000, key: 7}
    names = [column, *totals, *(name for name in TOKEN_BUCKETS if name not in (column, *totals))]
    found = dict(zip(names, one_call(", ".join(names), usage_details=usage), strict=True))

    value = found.pop(column)
    assert value == (7 if column != "unmapped_usage" else '{"total": 7}')
    if not is_alone:
        assert sorted(found[name] for name in totals) in ([1000, 1000], [993, 1000])
    assert not any(value for name, value in found.items() if name not in totals)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {"prompt_tokens": 1000, "cached_tokens": 1001, "completion_tokens": 1},
            ("cache_read_tokens", "cached above input"),
        ),
        (
            {"prompt_tokens": 1000, "cached_tokens": 900, "input_audio_tokens": 101},
            ("input_tokens", "parts add up to more than the whole"),
        ),
        (
            {"prompt_tokens": 1000, "completion_tokens": 10, "reasoningTokens": 11},
            ("output_tokens", "parts add up to more than the whole"),
        ),
        ({"input": -9, "output": 1}, ("input_tokens", "negative")),
        ({"input": 9, "input_cached_tokens": "few"}, ("cache_read_tokens", "not a whole number")),
        ({"input": 9, "output": 1.5}, ("output_tokens", "not a whole number")),
        ({"input": 10**18, "input_cached_tokens": 10**18}, ("input_tokens", "not a whole number")),
        ({"input": {"text": 5}}, ("input_tokens", "not a whole number")),
        ("600 tokens", (None, "the usage is not a JSON object")),
    ],
)
def test_usage_that_cannot_be(quarantined, usage, expected):
    assert quarantined(usage_details=usage) == expected


def test_the_sources_configuration_goes_before_the_spelling(tmp_path, lake_rows):
    usage = {"input": 1000, "input_cached_tokens": 400, "output": 100, "output_reasoning_tokens": 60}
    path = write_json_lines(tmp_path / "in" / "calls.jsonl", [observation(usage_details=usage)])
    bring(tmp_path, path, token_convention=(True, True))
    assert lake_rows("llm_calls", f"uncached_input_tokens, cache_read_tokens, {OUTPUT}") == [(600, 400, 40, 60)]


def test_the_configuration_can_say_that_a_vendors_total_leaves_cached_out(tmp_path, lake_rows):
    usage = {"prompt_tokens": 100, "cached_tokens": 400, "completion_tokens": 100}
    path = write_json_lines(tmp_path / "in" / "calls.jsonl", [observation(usage_details=usage)])
    bring(tmp_path, path, token_convention=(False, None))
    assert lake_rows("llm_calls", "uncached_input_tokens, cache_read_tokens") == [(100, 400)]


# Cost


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"total_cost": 1.3e-7, "cost_details": {"total": 1.3e-7}}, Decimal("1.3e-7")),
        ({"total_cost": "0.000000000001", "cost_details": {}}, Decimal("1e-12")),
        ({"total_cost": None, "cost_details": {"input": 1, "total": 2.5}}, Decimal("2.5")),
        # a 0 that nobody computed is no cost; one that was computed is
        ({"total_cost": 0, "cost_details": {}}, None),
        ({"total_cost": 0, "cost_details": {"input": 0, "output": 0, "total": 0}}, Decimal(0)),
        ({"total_cost": None, "cost_details": {"input": 1}}, None),
        # Langfuse's sum over the keys with "input" and "output" forgets the others
        ({"total_cost": None, "cost_details": {}, "calculated_total_cost": 9}, None),
    ],
)
def test_the_reported_cost(one_call, changes, expected):
    assert one_call("reported_cost, reported_currency", **changes) == (expected, None if expected is None else "USD")


# What was called, and when


def test_times_are_utc_and_latency_is_not_believed(one_call):
    found = one_call(
        "started_at, first_token_at, ended_at",
        start_time="2026-08-01 23:59:59.250000",
        completion_start_time="2026-08-01T23:59:59.900Z",
        end_time="2026-08-02 00:00:01.000001",
        latency=1750,
    )
    assert found == (
        datetime(2026, 8, 1, 23, 59, 59, 250_000, UTC),
        datetime(2026, 8, 1, 23, 59, 59, 900_000, UTC),
        datetime(2026, 8, 2, 0, 0, 1, 1, UTC),
    )


def test_no_end_and_no_first_token_stay_open(one_call):
    assert one_call("first_token_at, ended_at", end_time=None, time_to_first_token=3, latency=9) == (None, None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (None, "gpt-5")),
        ({"provided_model_name": "openai/gpt-5"}, ("openai", "gpt-5")),
        ({"provided_model_name": "openrouter/openai/gpt-5"}, ("openrouter", "openai/gpt-5")),
        # an owner of weights is no provider
        ({"provided_model_name": "meta-llama/Llama-3.3-70B"}, (None, "meta-llama/Llama-3.3-70B")),
        ({"provided_model_name": "openai"}, (None, "openai")),
        ({"metadata": {"ls_provider": "anthropic"}}, ("anthropic", "gpt-5")),
        ({"metadata": {"provider": "azure", "ls_provider": "openai"}}, ("azure", "gpt-5")),
        ({"metadata": {"provider": "openai"}, "provided_model_name": "openai/gpt-5"}, ("openai", "gpt-5")),
        ({"metadata": {"attributes": {"gen_ai.system": "openai"}}}, ("openai", "gpt-5")),
        ({"metadata": {"attributes": '{"gen_ai.provider.name": "aws.bedrock"}'}}, ("aws.bedrock", "gpt-5")),
    ],
)
def test_who_was_called(one_call, changes, expected):
    assert one_call("provider, model", **changes) == expected


@pytest.mark.parametrize(
    ("type_", "kind", "model", "tool"),
    [
        ("GENERATION", "llm", "gpt-5", None),
        ("generation", "llm", "gpt-5", None),
        ("EMBEDDING", "embedding", "gpt-5", None),
        ("TOOL", "tool", "", "chat"),
        ("RETRIEVER", "retrieval", "", "chat"),
        ("EVALUATOR", "judge", "", None),
        ("GUARDRAIL", "guardrail", "", "chat"),
        # usage that nothing repeats is a call's, wherever it stands
        ("SPAN", "llm", "gpt-5", None),
        ("AGENT", "llm", "gpt-5", None),
    ],
)
def test_the_kind_of_a_call(one_call, type_, kind, model, tool):
    assert one_call("call_kind, model, tool_name", type=type_, provided_model_name=model) == (kind, model or None, tool)


def test_calls_without_usage(one_call):
    found = one_call("call_kind, tool_name, model", type="TOOL", usage_details={}, total_cost=0, cost_details={})
    assert found == ("tool", "chat", "gpt-5")


@pytest.mark.parametrize("type_", ["AGENT", "CHAIN", "SPAN", "EVENT", "SOMETHING_NEW"])
def test_what_is_no_call(tmp_path, type_):
    nothing = {"type": type_, "usage_details": {}, "cost_details": {}, "total_cost": 0}
    rows = [observation("a"), observation("b", **nothing), observation("c", **nothing, usage_details_={})]
    rows[2].pop("usage_details_")
    result = bring(tmp_path, write_json_lines(tmp_path / "in" / "calls.jsonl", rows))

    assert (result.rows_loaded, result.rows_skipped, skipped(tmp_path)) == (1, 2, {"no call": 2})


def test_an_older_sdk_says_by_a_label_that_a_span_is_a_tool(one_call):
    found = one_call("call_kind, tool_name", type="SPAN", usage_details={}, metadata={"call_kind": "tool"})
    assert found == ("tool", "chat")


def test_a_judge_that_langfuse_runs(one_call):
    found = one_call("call_kind, workload_kind, environment", environment="langfuse-llm-as-a-judge")
    assert found == ("judge", "eval", "langfuse-llm-as-a-judge")


# Outcome


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("success", None)),
        ({"level": "WARNING", "status_message": "TimeoutError: slow"}, ("success", None)),
        ({"level": "ERROR"}, ("failed", None)),
        ({"level": "ERROR", "status_message": "RateLimitError: slow down"}, ("failed", "RateLimitError")),
        ({"level": "ERROR", "status_message": "openai.BadRequestError('x')"}, ("failed", "BadRequestError")),
        ({"level": "ERROR", "status_message": "java.io.IOException"}, ("failed", "IOException")),
        ({"level": "ERROR", "status_message": "Error code: 429 - {'error': 1}"}, ("failed", "429")),
        ({"level": "ERROR", "status_message": f"the patient {MARKER} ValueError"}, ("failed", None)),
        ({"level": "ERROR", "status_message": f"{MARKER}Error"}, ("failed", None)),
        ({"level": "ERROR", "status_message": "ValueErrors"}, ("failed", None)),
        ({"level": "ERROR", "metadata": {"error_type": "timeout"}, "status_message": "OSError"}, ("failed", "timeout")),
    ],
)
def test_failures(tmp_path, one_call, changes, expected):
    assert one_call("status, error_type", **changes) == expected
    assert_nowhere(tmp_path / "lake")


def test_a_failure_keeps_what_it_used(one_call):
    assert one_call("status, uncached_input_tokens, reported_cost", level="ERROR") == ("failed", 600, Decimal("0.003"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tool_call_names": ["a", "b", "a"]}, 3),
        ({"tool_call_names": None, "tool_calls": ['{"id": 1}']}, 1),
        # empty where nothing was looked for
        ({}, None),
        ({"metadata": {"tool_call_count": "0"}}, 0),
    ],
)
def test_tool_calls_are_counted(one_call, changes, expected):
    assert one_call("tool_call_count", **changes) == (expected,)


# Labels

LABELS = {
    "task_id": "T-1",
    "task_type": "ticket",
    "step_name": "answer",
    "step_index": 2,
    "call_kind": "judge",
    "workload_kind": "batch",
    "team": "fraud",
    "application": "desk",
    "customer": "acme",
    "environment": "staging",
    "prompt_version": "v3",
    "release": "2026.8",
    "experiment": "short-prompt",
    "retry_reason": "schema_invalid",
    "prefix_hash": "p9",
    "prefix_tokens": 800,
    "context_tokens": 300,
    "temperature": 0.2,
    "router_confidence": 0.93,
    "tool_call_count": 3,
    "replica_id": "replica-1",
    "region": "ap-south-1",
    "service_tier": "flex",
    "deployment_id": "d1",
    "parent_call_id": "c0",
    "response_id": "chatcmpl-1",
    "response_cache_hit": True,
    "api_base": "https://example.com/v1",
}


@pytest.mark.parametrize("prefix", ["", "pertask."])
@pytest.mark.parametrize("place", ["metadata", "text", "attributes", "pairs"])
def test_labels_become_columns(one_call, prefix, place):
    metadata: object = {prefix + name: value for name, value in LABELS.items()}
    if place == "attributes":
        if not prefix:
            return
        metadata = {"attributes": json.dumps(metadata), "resourceAttributes": "{}"}
    if place == "text":
        # as ClickHouse keeps it: a map of text
        metadata = {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
    if place == "pairs":
        metadata = [{"key": name, "value": value} for name, value in metadata.items()]
    assert one_call(", ".join(LABELS), metadata=metadata) == tuple(LABELS.values())


def test_columns_that_langfuse_itself_has(one_call):
    found = one_call(
        "customer, application, task_type, environment, prompt_version, release, temperature, tags, trace_id, span_id",
        user_id="u1",
        environment="production",
        prompt_name="triage",
        prompt_version=7,
        release="",
        version="1.4",
        tags=["a", "b"],
    )
    assert found[:7] == ("u1", None, None, "production", "triage:7", "1.4", 0.5)
    assert json.loads(found[7]) == ["a", "b"]
    assert found[8:] == ("t1", "o1")


def test_the_default_environment_is_none(one_call):
    assert one_call("environment, tags, customer", environment="default") == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"metadata": {"task_id": "T-1"}, "session_id": "s1"}, ("T-1", "task")),
        ({"session_id": "s1"}, ("t1", "trace")),
        ({"session_id": "s1", "trace_id": ""}, ("s1", "session")),
        ({"trace_id": ""}, ("o1", "call")),
    ],
)
def test_what_stands_for_the_task(one_call, changes, expected):
    assert one_call("task_id, task_id_origin", **changes) == expected


def test_attempts_of_one_call(tmp_path, lake_rows):
    rows = [
        observation("o1", metadata={"call_id": "c1", "attempt_number": 1}, level="ERROR"),
        observation("o2", metadata={"call_id": "c1", "attempt_number": "2"}),
        # without numbers the attempts cannot be told apart, so each is a call
        observation("o3", metadata={"call_id": "c2"}),
        observation("o4", metadata={"call_id": "c2"}),
    ]
    bring(tmp_path, write_json_lines(tmp_path / "in" / "calls.jsonl", rows))

    assert lake_rows("llm_calls", "call_id, attempt_number, span_id, status") == [
        ("c1", 1, "o1", "failed"),
        ("c1", 2, "o2", "success"),
        ("o3", 1, "o3", "success"),
        ("o4", 1, "o4", "success"),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"id_": "time-10-30-00-123456_chatcmpl-9x"}, "chatcmpl-9x"),
        ({"metadata": {"attributes": {"gen_ai.response.id": "msg_1"}}}, "msg_1"),
    ],
)
def test_the_vendors_response_id(one_call, changes, expected):
    assert one_call("response_id", **changes) == (expected,)


def test_what_the_one_root_of_a_trace_says_holds_for_its_calls(tmp_path, lake_rows):
    agent = {"type": "AGENT", "usage_details": {}, "cost_details": {}, "total_cost": 0}
    labels = {"task_id": "T-1", "team": "fraud", "step_name": "root"}
    rows = [
        observation("a", **agent, metadata=labels),
        observation("b", parent_observation_id="a", metadata={"team": "own"}),
        observation("c", parent_observation_id="a"),
        # two roots: which of them would speak for the third?
        observation("d", trace_id="t2", metadata={"task_id": "T-2"}),
        observation("e", trace_id="t2"),
        observation("f", trace_id="t3"),
    ]
    bring(tmp_path, write_json_lines(tmp_path / "in" / "calls.jsonl", rows))

    assert lake_rows("llm_calls", "call_id, task_id, task_id_origin, team, step_name") == [
        ("b", "T-1", "task", "own", None),
        ("c", "T-1", "task", "fraud", None),
        ("d", "T-2", "task", None, None),
        ("e", "t2", "trace", None, None),
        ("f", "t3", "trace", None, None),
    ]


# Versions of a row


@both_sizes
def test_the_latest_version_of_an_observation_counts(tmp_path, lake_rows):
    folder = tmp_path / "in"
    old = {"updated_at": "2026-08-01 10:00:03.000000"}
    new = {"updated_at": "2026-08-01 10:00:05.000000", "usage_details": {"input": 999}}
    write_json_lines(folder / "1.jsonl", [observation("a", **new), observation("b", **old), observation("c")])
    write_json_lines(
        folder / "2.jsonl",
        [
            observation("a", **old),
            observation("b", **new),
            # the same id in another project is another observation
            observation("c", project_id="p2", trace_id="t9", metadata={"call_id": "c-p2", "attempt_number": 1}),
            observation("d"),
            observation("d", is_deleted=1, event_ts="2026-08-01 11:00:00"),
            observation("e", is_deleted=0),
        ],
    )
    result = bring(tmp_path, folder)

    assert (result.rows_read, result.rows_loaded) == (9, 5)
    assert skipped(tmp_path) == {"an older version of the same observation": 3, "deleted": 1}
    assert lake_rows("llm_calls", "call_id, uncached_input_tokens") == [
        ("a", 999),
        ("b", 999),
        ("c", 600),
        ("c-p2", 600),
        ("e", 600),
    ]


def test_equal_versions_and_rows_without_ids(tmp_path, lake_rows):
    rows = [observation("a"), observation("a"), observation(None), observation(None)]
    path = write_json_lines(tmp_path / "in" / "calls.jsonl", rows)
    result = bring(tmp_path, path)

    # two rows without an id are two calls, with ids of their own
    assert (result.rows_loaded, result.rows_skipped) == (3, 1)
    assert len({call_id for (call_id,) in lake_rows("llm_calls", "call_id")}) == 3


# Parents that repeat their children

NO_USAGE = {"usage_details": {}, "cost_details": {}, "total_cost": 0}


def tree(tmp_path: Path, *rows: dict) -> list[str]:
    """Ingest observations and return the ids that became calls."""
    import duckdb

    bring(tmp_path, write_json_lines(tmp_path / "in" / "calls.jsonl", list(rows)))
    found = duckdb.sql(f"select call_id from read_parquet('{tmp_path}/lake/llm_calls/**/*.parquet') order by 1")
    return [call_id for (call_id,) in found.fetchall()]


def child(id_: str, parent: str, input_: int = 100, output: int = 10, **changes: object) -> dict:
    usage = {"input": input_, "output": output, "total": input_ + output}
    return observation(id_, parent_observation_id=parent, **{"usage_details": usage, **changes})


@both_sizes
@pytest.mark.parametrize("type_", ["AGENT", "CHAIN", "SPAN"])
def test_an_agent_repeats_its_calls(tmp_path, type_):
    rows = [
        child("a", "", 300, 30, type=type_),
        child("b", "a", **NO_USAGE, type="SPAN"),
        child("c", "b", 100, 10),
        child("d", "a", 200, 20),
    ]
    assert tree(tmp_path, *rows) == ["c", "d"]
    assert skipped(tmp_path) == {"repeats its children": 1, "no call": 1}


def test_an_agent_repeats_agents_that_repeat_their_calls(tmp_path):
    rows = [
        child("a", "", 300, 30, type="AGENT"),
        child("b", "a", 100, 10, type="AGENT"),
        child("c", "b", 100, 10),
        child("d", "a", 200, 20, type="CHAIN"),
        child("e", "d", 200, 20),
    ]
    assert tree(tmp_path, *rows) == ["c", "e"]
    assert skipped(tmp_path) == {"repeats its children": 3}


def test_an_agent_that_repeats_only_the_cost(tmp_path):
    rows = [child("a", "", **{**NO_USAGE, "total_cost": 0.003, "cost_details": {"total": 0.003}}, type="AGENT")]
    assert tree(tmp_path, *rows, child("b", "a")) == ["b"]
    assert skipped(tmp_path) == {"repeats its children": 1}


@pytest.mark.parametrize(
    ("sums", "expected"),
    [
        # the sum of its children, or more
        ((300, 30), ["b", "c"]),
        ((310, 31), ["b", "c"]),
        # less: it is a call of its own, and what it called are others
        ((50, 5), ["a", "b", "c"]),
        ((500, 5), ["a", "b", "c"]),
    ],
)
def test_a_generation_around_generations(tmp_path, sums, expected):
    assert tree(tmp_path, child("a", "", *sums), child("b", "a", 100, 10), child("c", "a", 200, 20)) == expected


def test_generations_around_each_other(tmp_path):
    assert tree(tmp_path, child("a", ""), child("b", "a"), child("c", "b")) == ["c"]
    assert skipped(tmp_path) == {"repeats its children": 2}


def test_cached_tokens_count_when_usage_is_compared(tmp_path):
    cached = {"usage_details": {"input": 20, "input_cached_tokens": 80, "output": 10, "total": 110}}
    assert tree(tmp_path, child("a", "", 100, 10), child("b", "a", **cached)) == ["b"]


def test_a_generation_with_tools_below_it_is_a_call(tmp_path):
    rows = [child("a", ""), child("b", "a", **NO_USAGE, type="TOOL"), child("c", "b", **NO_USAGE, type="SPAN")]
    assert tree(tmp_path, *rows) == ["a", "b"]


def test_a_tool_that_calls_a_model_is_a_call_without_cost(tmp_path):
    assert tree(tmp_path, child("a", "", **NO_USAGE, type="TOOL"), child("b", "a")) == ["a", "b"]


def test_children_of_other_traces_and_taken_away_ones_do_not_count(tmp_path):
    rows = [
        child("a", "", type="AGENT"),
        child("b", "a", trace_id="t2"),
        child("c", "a", is_deleted="true"),
        child("d", "x", type="AGENT", updated_at="2026-08-02 00:00:00"),
        child("e", "d", **NO_USAGE, updated_at="2026-08-02 00:00:00"),
        child("e", "d"),
    ]
    assert tree(tmp_path, *rows) == ["a", "b", "d", "e"]


def test_rows_that_are_their_own_parents_end(tmp_path):
    rows = [
        child("a", "a", type="AGENT"),
        child("b", "c", **NO_USAGE, type="TOOL"),
        child("c", "b", **NO_USAGE, type="TOOL"),
        child("d", "e"),
        child("e", "d", **NO_USAGE, type="TOOL"),
    ]
    assert tree(tmp_path, *rows) == ["a", "b", "c", "d", "e"]


# Traces and scores


@both_sizes
def test_what_a_trace_says_holds_for_its_calls_and_its_task(tmp_path, lake_rows):
    labels = {"task_id": "T-1", "task_type": "ticket", "team": "fraud", "outcome": "resolved", "value": "12.5"}
    labels |= {"value_currency": "inr", "complexity": "hard", "step_name": "trace"}
    said = {"user_id": "u1", "session_id": "s1", "tags": ["x"], "release": "r1", "metadata": labels}
    write_json_lines(tmp_path / "in" / "observations.jsonl", [legacy("a"), legacy("b", trace_id="t2")])
    write_json_lines(tmp_path / "in" / "traces.jsonl", [trace(**said), trace("t2")])
    result = bring(tmp_path, tmp_path / "in")

    assert (result.rows_read, result.rows_loaded, skipped(tmp_path)) == (4, 3, {"no label": 1})
    names = "call_id, task_id, task_id_origin, task_type, team, customer, release, tags, step_name"
    assert lake_rows("llm_calls", names) == [
        ("a", "T-1", "task", "ticket", "fraud", "u1", "r1", '["x"]', None),
        ("b", "t2", "trace", None, None, None, None, None, None),
    ]
    names = "task_id, task_type, team, customer, outcome, complexity, value, value_currency"
    assert lake_rows("tasks", names) == [("T-1", "ticket", "fraud", "u1", "success", "hard", Decimal("12.5"), "INR")]


def test_a_calls_own_labels_go_before_its_traces(tmp_path, lake_rows):
    own = {"team": "own", "task_id": "T-own"}
    write_json_lines(tmp_path / "in" / "observations.jsonl", [legacy(metadata=own, version="v-own")])
    said = {"metadata": {"team": "trace", "task_id": "T-1", "application": "desk"}, "release": "r1", "version": "v1"}
    write_json_lines(tmp_path / "in" / "traces.jsonl", [trace(**said)])
    bring(tmp_path, tmp_path / "in")

    assert lake_rows("llm_calls", "task_id, team, application, release") == [("T-own", "own", "desk", "r1")]


def test_each_task_comes_once_with_the_newest_of_each_value(tmp_path, lake_rows):
    rows = [
        trace("t1", metadata={"task_id": "T", "team": "old", "task_type": "ticket"}),
        trace("t2", metadata={"task_id": "T", "team": "new"}, timestamp="2026-08-03 00:00:00"),
        trace("t3", metadata={"task_id": "T", "outcome": "failed"}, timestamp="2026-08-02 00:00:00"),
        trace("t4", metadata={"team": "late"}, updated_at="2026-08-09 00:00:00"),
        trace("t4", metadata={"team": "early"}),
        trace("t5", metadata={"team": "gone"}, is_deleted=1),
    ]
    result = bring(tmp_path, write_json_lines(tmp_path / "in" / "traces.jsonl", rows))

    assert (result.rows_read, result.rows_loaded) == (6, 2)
    assert skipped(tmp_path) == {
        "merged into the newest row of its task": 2,
        "an older version of the same trace": 1,
        "deleted": 1,
    }
    assert lake_rows("tasks", "task_id, task_type, team, outcome") == [
        ("T", "ticket", "new", "failure"),
        ("t4", None, "late", None),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "success"),
        ({"string_value": "handed over"}, "escalated"),
        ({"name": "success", "data_type": "BOOLEAN", "value": 1, "string_value": "True"}, "success"),
        ({"name": "outcome", "data_type": "BOOLEAN", "value": 0, "string_value": "False"}, "failure"),
        ({"name": "success", "data_type": "NUMERIC", "value": 1.0, "string_value": None}, "success"),
        # what does not clearly say it
        ({"name": "success", "data_type": "NUMERIC", "value": 0.7, "string_value": None}, None),
        ({"name": "outcome", "data_type": "NUMERIC", "value": 1, "string_value": None}, None),
        ({"string_value": f"the patient {MARKER}"}, None),
        ({"name": "helpfulness"}, None),
        ({"observation_id": "o1"}, None),
        ({"trace_id": None}, None),
    ],
)
def test_scores_that_say_the_outcome(tmp_path, lake_rows, changes, expected):
    bring(tmp_path, write_json_lines(tmp_path / "in" / "scores.jsonl", [score(**changes)]))

    assert lake_rows("tasks", "task_id, outcome") == ([("t1", expected)] if expected else [])
    assert skipped(tmp_path) == ({} if expected else {"not the outcome of a task": 1})
    assert_nowhere(tmp_path / "lake")


def test_a_score_finds_its_traces_task(tmp_path, lake_rows):
    write_json_lines(tmp_path / "in" / "observations.jsonl", [legacy()])
    write_json_lines(tmp_path / "in" / "scores.jsonl", [score(), score("s2", trace_id="t2", string_value="failure")])
    traces = [trace(metadata={"task_id": "T-1", "team": "fraud", "outcome": "unknown"}), trace("t2")]
    write_json_lines(tmp_path / "in" / "traces.jsonl", traces)
    bring(tmp_path, tmp_path / "in")

    assert lake_rows("tasks", "task_id, team, outcome") == [("T-1", "fraud", "success"), ("t2", None, "failure")]


def test_a_word_of_a_trace_that_is_no_outcome(tmp_path, lake_rows):
    rows = [trace("t1", metadata={"outcome": "exploded"}), trace("t2", metadata={"outcome": "solved"})]
    result = bring(tmp_path, write_json_lines(tmp_path / "in" / "traces.jsonl", rows))

    assert (result.rows_loaded, result.rows_quarantined) == (1, 1)
    assert lake_rows("quarantined_rows", "contract, line_number, column_name, reason") == [
        ("tasks", 1, "outcome", "not one of the known values")
    ]


# Folders


def export(folder: Path) -> None:
    """An export as it lies in the bucket: one folder a table, a manifest last."""
    write_json_lines(folder / "observations" / "2026-08-01T11-00-00.jsonl", [legacy(), legacy("o2", trace_id="t2")])
    write_json_lines(folder / "traces" / "2026-08-01T11-00-00.jsonl", [trace(metadata={"team": "fraud"}), trace("t2")])
    write_json_lines(folder / "scores" / "2026-08-01T11-00-00.jsonl", [score()])
    manifest = {"version": 1, "projectId": "p1", "exportSource": "TRACES_OBSERVATIONS", "tables": [], "files": []}
    write_lines(folder / "manifests" / "2026-08-01T11-00-00.json", [json.dumps(manifest, indent=2)])


@pytest.mark.parametrize("format_name", ["auto", "langfuse"])
def test_tables_in_folders_beside_each_other(tmp_path, lake_rows, format_name):
    """The files of one run are one delivery, whatever folder their table has."""
    export(tmp_path / "in")
    results = ingest(tmp_path / "lake", [IngestRequest("lf", tmp_path / "in", format_name)])

    assert {result.state for result in results} == {"committed"}
    assert {result.message for result in results} == {""}
    assert [(result.rows_read, result.rows_loaded) for result in results] == [(5, 3)]
    assert lake_rows("llm_calls", "call_id, task_id, team") == [("o1", "t1", "fraud"), ("o2", "t2", None)]
    assert lake_rows("tasks", "task_id, team, outcome") == [("t1", "fraud", "success")]


def test_small_deliveries_that_are_read_together_stay_apart(tmp_path, lake_rows):
    """Two folders of one file each are read with one query: neither dates, labels nor parents cross over."""
    write_json_lines(tmp_path / "in" / "1" / "o.jsonl", [child("a", "", 100, 10, type="AGENT"), observation("x")])
    write_json_lines(tmp_path / "in" / "2" / "o.jsonl", [child("b", "a", 100, 10), observation("x")])
    ingest(tmp_path / "lake", [IngestRequest("lf", tmp_path / "in")])

    assert lake_rows("llm_calls", "call_id") == [("a",), ("b",), ("x",), ("x",)]


def test_a_single_file_and_an_empty_one(tmp_path, lake_rows):
    write_lines(tmp_path / "in" / "empty.jsonl", [""])
    write_json_lines(tmp_path / "in" / "calls.jsonl", [observation()])
    assert bring(tmp_path, tmp_path / "in" / "calls.jsonl").rows_loaded == 1
    assert bring(tmp_path, tmp_path / "in" / "empty.jsonl", "langfuse").rows_read == 0


# Kinds of file and schemas


def rows_of_every_kind() -> list[dict]:
    usage = {"input": 600, "input_cached_tokens": 400, "output": 100, "total": 1100}
    return [
        observation("o1", usage_details=usage, metadata={"task_id": "T-1", "step_index": 1}, tags=["a"]),
        observation(
            "o2", level="ERROR", status_message="TimeoutError", usage_details={}, total_cost=0, cost_details={}
        ),
        observation("o3", type="SPAN", usage_details={}, total_cost=0, cost_details={}),
    ]


def as_json_lines(path: Path) -> Path:
    return write_json_lines(path / "o.jsonl", rows_of_every_kind())


def as_packed_json_lines(path: Path) -> Path:
    path.mkdir()
    text = "".join(json.dumps(row) + "\n" for row in rows_of_every_kind())
    (path / "o.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return path / "o.jsonl.gz"


def as_json_list(path: Path) -> Path:
    return write_lines(path / "o.json", [json.dumps(rows_of_every_kind(), indent=1)])


def as_csv(path: Path) -> Path:
    return write_csv(path / "o.csv", rows_of_every_kind())


def as_json_with_text_inside(path: Path) -> Path:
    rows = [{n: json.dumps(v) if isinstance(v, dict | list) else v for n, v in r.items()} for r in rows_of_every_kind()]
    return write_json_lines(path / "o.jsonl", rows)


def as_parquet_of_maps(path: Path) -> Path:
    """As ClickHouse writes it: maps, lists, decimals and times."""
    rows = rows_of_every_kind()
    for row in rows:
        row["metadata"] = {name: str(value) for name, value in row["metadata"].items()}
        row["total_cost"] = Decimal(str(row["total_cost"]))
        for name in ("start_time", "end_time", "created_at", "updated_at"):
            row[name] = datetime.fromisoformat(row[name]).replace(tzinfo=UTC)
    types = {
        "metadata": pa.map_(pa.string(), pa.string()),
        "usage_details": pa.map_(pa.string(), pa.uint64()),
        "cost_details": pa.map_(pa.string(), pa.float64()),
        "tool_definitions": pa.map_(pa.string(), pa.string()),
        "tags": pa.list_(pa.string()),
        "tool_calls": pa.list_(pa.string()),
        "tool_call_names": pa.list_(pa.string()),
        "total_cost": pa.decimal128(18, 12),
    }
    columns = {}
    for name in rows[0]:
        values = [list(row[name].items()) if isinstance(row[name], dict) else row[name] for row in rows]
        columns[name] = pa.array(values, types.get(name))
    path.mkdir()
    pq.write_table(pa.table(columns), path / "o.parquet")
    return path / "o.parquet"


def as_parquet_of_pairs(path: Path) -> Path:
    rows = rows_of_every_kind()
    for row in rows:
        for name in ("metadata", "usage_details", "cost_details"):
            row[name] = [{"key": key, "value": str(value)} for key, value in row[name].items()]
        del row["tool_definitions"]
    path.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), path / "o.parquet")
    return path / "o.parquet"


def as_camel_case(path: Path) -> Path:
    """As the interface and the API name it."""
    names = {"provided_model_name": "model", "total_cost": "totalCost"}
    rows = []
    for row in rows_of_every_kind():
        kept = {n: v for n, v in row.items() if n not in ("usage_pricing_tier_id", "model_id")}
        rows.append({names.get(n) or _camel(n): v for n, v in kept.items()})
    return write_json_lines(path / "o.jsonl", rows)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def as_events(path: Path) -> Path:
    """As version 4 keeps it: spans, and metadata in two lists."""
    rows = []
    for row in rows_of_every_kind():
        row["span_id"], row["parent_span_id"] = row.pop("id"), row.pop("parent_observation_id")
        metadata = row.pop("metadata")
        row["metadata_names"] = list(metadata)
        row["metadata_values"] = [str(value) for value in metadata.values()]
        rows.append(
            {**row, "is_app_root": False, "event_bytes": 100, "event_ts": "2026-08-01 10:00:04", "is_deleted": 0}
        )
    return write_json_lines(path / "o.jsonl", rows)


KINDS_OF_FILE = [
    *(as_json_lines, as_packed_json_lines, as_json_list, as_csv, as_json_with_text_inside),
    *(as_parquet_of_maps, as_parquet_of_pairs, as_camel_case, as_events),
]


@both_sizes
@pytest.mark.parametrize("write", KINDS_OF_FILE)
def test_the_same_table_in_every_kind_of_file(tmp_path, lake_rows, write):
    result = bring(tmp_path, write(tmp_path / "in"))

    assert (result.format, result.message) == ("langfuse", "")
    assert (result.rows_read, result.rows_loaded, result.rows_skipped) == (3, 2, 1)
    names = f"call_id, task_id, step_index, model, {INPUT}, output_text_tokens, status, error_type, reported_cost, tags"
    assert lake_rows("llm_calls", names) == [
        ("o1", "T-1", 1, "gpt-5", 600, 400, None, None, 100, "success", None, Decimal("0.003"), '["a"]'),
        ("o2", "t1", None, "gpt-5", None, None, None, None, None, "failed", "TimeoutError", None, None),
    ]
    assert lake_rows("llm_calls", "started_at, ended_at, customer, temperature")[0] == (
        datetime(2026, 8, 1, 10, 0, 0, 250_000, UTC),
        datetime(2026, 8, 1, 10, 0, 2, 500_000, UTC),
        None,
        0.5,
    )


@pytest.mark.parametrize("write", [write_json_lines, write_csv])
def test_only_the_columns_that_every_export_has(tmp_path, lake_rows, write):
    core = ("id", "trace_id", "start_time", "end_time", "project_id", "parent_observation_id", "type")
    rows = [{name: observation("o1")[name] for name in core}]
    path = tmp_path / "in" / ("o.csv" if write is write_csv else "o.jsonl")
    result = bring(tmp_path, write(path, rows))

    assert (result.format, result.rows_loaded, result.message) == ("langfuse", 1, "")
    assert lake_rows("llm_calls", "call_kind, model, uncached_input_tokens, reported_cost") == [
        ("llm", None, None, None)
    ]


def test_usage_as_older_versions_of_the_api_give_it(tmp_path, lake_rows):
    row = {
        "id": "o1",
        "traceId": "t1",
        "projectId": "p1",
        "type": "GENERATION",
        "startTime": "2026-08-01T10:00:00.000Z",
    }
    usage = {"input": 600, "output": 100, "total": 700, "unit": "TOKENS", "inputCost": 0.5, "totalCost": 0.7}
    rows = [{**row, "usage": usage}, {**row, "id": "o2", "promptTokens": 60, "completionTokens": 10, "totalTokens": 70}]
    bring(tmp_path, write_json_lines(tmp_path / "in" / "o.jsonl", rows))

    assert lake_rows("llm_calls", "call_id, uncached_input_tokens, output_text_tokens, unmapped_usage") == [
        ("o1", 600, 100, None),
        ("o2", 60, 10, None),
    ]


def test_a_new_column_is_named(tmp_path):
    write_json_lines(tmp_path / "in" / "o.jsonl", [observation(colour="red")])
    write_json_lines(tmp_path / "in" / "t.jsonl", [trace(shape="round")])
    result = bring(tmp_path, tmp_path / "in")

    assert result.message == "t.jsonl: columns not read: shape; o.jsonl: columns not read: colour"


# Bad rows and privacy


@both_sizes
def test_broken_lines_in_observations_and_traces(tmp_path, lake_rows):
    lines = [json.dumps(observation(f"o{number}")) for number in (1, 2, 3)]
    write_lines(tmp_path / "in" / "o.jsonl", [lines[0], lines[1][:40], lines[2], '{"id": "o4", "trace_id": "t1"}'])
    lines = [json.dumps(trace(f"t{number}", metadata={"team": "fraud"})) for number in (1, 2)]
    write_lines(tmp_path / "in" / "t.jsonl", [lines[0], lines[1][:40]])
    result = bring(tmp_path, tmp_path / "in")

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (6, 3, 3)
    assert lake_rows("quarantined_rows", "contract, file_name, line_number, column_name, reason") == [
        ("llm_calls", "o.jsonl", 2, None, "not valid JSON"),
        ("llm_calls", "o.jsonl", 4, "call_kind", "missing"),
        ("tasks", "t.jsonl", 2, None, "not valid JSON"),
    ]
    assert lake_rows("llm_calls", "call_id, team") == [("o1", "fraud"), ("o3", "fraud")]


def test_half_a_row_of_csv_is_counted_once(tmp_path, lake_rows):
    for name, rows in {
        "o.csv": [observation("o1"), observation("o2"), observation("o3", start_time="soon")],
        "t.csv": [trace("t1", metadata={"team": "fraud"}), trace("t2"), trace("t3", metadata={"team": "x"})],
        "s.csv": [score("s1"), score("s2", name="speed"), score("s3", trace_id="t3")],
    }.items():
        path = write_csv(tmp_path / "in" / name, rows)
        lines = path.read_text(encoding="utf-8").splitlines()
        write_lines(path, [*lines[:2], lines[2].split(",")[0], *lines[3:]])
    result = bring(tmp_path, tmp_path / "in")

    assert (result.rows_read, result.rows_quarantined) == (9, 4)
    half = "not a row of this table (missing columns)"
    assert lake_rows("quarantined_rows", "file_name, line_number, column_name, reason") == [
        ("o.csv", 3, None, half),
        ("o.csv", 4, "started_at", "not a time"),
        ("s.csv", 3, None, half),
        ("t.csv", 3, None, half),
    ]
    assert lake_rows("tasks", "task_id, team, outcome") == [("t1", "fraud", "success"), ("t3", "x", "success")]


@pytest.mark.parametrize(
    ("changes", "column", "reason"),
    [
        ({"start_time": None}, "started_at", "missing"),
        ({"start_time": "1785578400"}, "started_at", "not a time"),
        ({"end_time": "2026-08-01 09:00:00"}, "ended_at", "before started_at"),
        ({"completion_start_time": "2026-08-01 09:00:00"}, "first_token_at", "before started_at"),
        ({"total_cost": "free"}, "reported_cost", "not a number"),
        ({"total_cost": -1}, "reported_cost", "negative"),
        ({"metadata": {"call_kind": "magic"}}, "call_kind", "not one of the known values"),
        ({"metadata": {"attempt_number": "first"}}, "attempt_number", "not a whole number"),
        ({"type": None}, "call_kind", "missing"),
    ],
)
def test_wrong_values(quarantined, changes, column, reason):
    assert quarantined(**changes) == (column, reason)


@both_sizes
def test_the_lines_of_wrong_rows_among_versions_and_parents(tmp_path, lake_rows):
    """Rows are compared with each other, yet each keeps its line."""
    rows = [
        observation("a", updated_at="2026-08-05 00:00:00"),
        child("p", "", type="AGENT"),
        observation("a"),
        child("q", "p", total_cost="free"),
        child("r", "p"),
        observation("s", usage_details={"input": -1}),
    ]
    result = bring(tmp_path, write_json_lines(tmp_path / "in" / "o.jsonl", rows))

    assert (result.rows_loaded, result.rows_skipped, result.rows_quarantined) == (2, 2, 2)
    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [
        (4, "reported_cost", "not a number"),
        (6, "input_tokens", "negative"),
    ]


@both_sizes
def test_no_text_of_a_record_reaches_the_lake(tmp_path, lake_rows):
    secret = {
        "input": MARKER,
        "output": f'{{"content": "{MARKER}"}}',
        "status_message": f"{MARKER} failed",
        "level": "ERROR",
        "tool_calls": [f'{{"arguments": "{MARKER}"}}'],
        "tool_definitions": {"lookup": MARKER},
        "metadata": {"ip": MARKER, "attributes": {"gen_ai.prompt": MARKER}, "user_api_key": MARKER},
        "model_parameters": json.dumps({"stop": MARKER, "temperature": MARKER}),
        "trace_name": MARKER,
        "prompt_id": MARKER,
    }
    rows = [
        observation("a", **secret),
        observation("b", **secret, total_cost="free"),
        observation("c", type="TOOL", **secret),
    ]
    write_json_lines(tmp_path / "in" / "o.jsonl", rows)
    said = {"input": MARKER, "output": MARKER, "name": MARKER, "metadata": {"note": MARKER, "team": "fraud"}}
    write_json_lines(tmp_path / "in" / "t.jsonl", [trace(**said), trace("t2", **said)])
    scores = [score(comment=MARKER), score("s2", data_type="TEXT", string_value=MARKER)]
    write_json_lines(tmp_path / "in" / "s.jsonl", scores)
    result = bring(tmp_path, tmp_path / "in")

    assert (result.rows_loaded, result.rows_quarantined) == (4, 1)
    assert lake_rows("llm_calls", "count(temperature)") == [(0,)]
    assert_nowhere(tmp_path / "lake")


@pytest.mark.parametrize(
    "row",
    [
        # tasks, spans of other tools, and calls of other gateways are not Langfuse's
        {"task_id": "t1", "outcome": "success", "closed_at": "2026-08-01"},
        {"trace_id": "t", "span_id": "s", "start_time": "2026-08-01", "name": "x", "attributes": {}},
        {"id": "1", "timestamp": "2026-08-01", "user_id": "u"},
        {"id": "1", "trace_id": "t", "name": "n", "value": 3},
        {"id": "1", "trace_id": "t", "startTime": 1.0, "call_type": "acompletion", "model": "m"},
    ],
)
def test_what_is_not_langfuses(tmp_path, row):
    result = bring(tmp_path, write_json_lines(tmp_path / "in" / "x.jsonl", [row]), "langfuse")
    assert result.state == "failed"
    assert "this is not langfuse" in result.message


def test_the_files_of_one_run_of_the_export_are_one_delivery(tmp_path, lake_rows):
    """A folder for each table, a file for each run: labels of a trace reach the calls of its run."""
    root = tmp_path / "export" / "project"
    for run in ("2026-08-01T10_00_00Z", "2026-08-01T11_00_00Z"):
        call = observation(f"call-{run[11:13]}", trace_id=f"trace-{run[11:13]}")
        labels = {"task_id": f"T-{run[11:13]}"}
        write_json_lines(root / "observations" / f"{run}.jsonl", [call])
        write_json_lines(root / "traces" / f"{run}.jsonl", [trace(f"trace-{run[11:13]}", metadata=labels)])
    results = ingest(tmp_path / "lake", [IngestRequest("langfuse", tmp_path / "export", "langfuse")])

    assert [(result.state, result.rows_loaded) for result in results] == [("committed", 1), ("committed", 1)]
    assert lake_rows("llm_calls", "task_id, task_id_origin") == [("T-10", "task"), ("T-11", "task")]
    # the next run is a delivery of its own, and what is in the lake stays
    later = root / "observations" / "2026-08-01T12_00_00Z.jsonl"
    write_json_lines(later, [observation("call-12", trace_id="trace-12")])
    again = ingest(tmp_path / "lake", [IngestRequest("langfuse", tmp_path / "export", "langfuse")])
    assert [result.state for result in again] == ["unchanged", "unchanged", "committed"]


def test_labels_as_the_sdk_propagates_them(tmp_path, lake_rows):
    labels = {"taskId": "T-1", "taskType": "ticket", "stepName": "answer", "team": "support"}
    bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", [observation(metadata=labels)]))
    names = "task_id, task_id_origin, task_type, step_name, team"
    assert lake_rows("llm_calls", names) == [("T-1", "task", "ticket", "answer", "support")]
