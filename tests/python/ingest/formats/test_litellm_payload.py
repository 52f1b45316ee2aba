"""LiteLLM's logging payload: what its fields mean, which attempts belong together, and what must not be kept."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ingest import reading
from ingest.formats import litellm_spend_logs
from ingest.formats.litellm_payload import sniff
from ingest.reading import read_head
from ingest.runner import IngestRequest, ingest
from tests.python.conftest import spend_log_row, write_json_lines
from tests.python.ingest.helpers import MARKER, assert_nowhere, bring, write_lines

BUCKETS = "uncached_input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens"
START = 1785578400.25  # 2026-08-01 10:00:00.25 UTC


def payload_row(response_id: str | None, **changes: object) -> dict:
    """One payload; ``labels`` go to spend_logs_metadata, ``usage`` to usage_object, ``metadata`` beside them."""
    labels = changes.pop("labels", None)
    usage = changes.pop("usage", None)
    metadata = {
        "user_api_key_hash": None,
        "user_api_key_team_alias": "support",
        "requester_metadata": None,
        "spend_logs_metadata": labels,
        "usage_object": usage,
        **changes.pop("metadata", {}),
    }
    row = {
        "id": response_id,
        "trace_id": f"trace-of-{response_id}",
        "litellm_call_id": f"call-of-{response_id}",
        "call_type": "acompletion",
        "cache_hit": None,
        "stream": True,
        "status": "success",
        "status_fields": {"llm_api_status": "success", "guardrail_status": "not_run"},
        "custom_llm_provider": "openai",
        "saved_cache_cost": 0.0,
        "startTime": START,
        "endTime": START + 2.5,
        "completionStartTime": START + 0.5,
        "response_time": 0.5,
        "model": "gpt-4o",
        "metadata": metadata,
        "cache_key": None,
        "response_cost": 0.0035,
        "cost_breakdown": {"input_cost": 0.002, "cache_read_cost": 0.001, "output_cost": 0.0015, "total_cost": 0.0035},
        "total_tokens": 1100,
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "request_tags": [],
        "end_user": "",
        "api_base": "https://api.openai.com/v1",
        "model_group": "gpt-4o",
        "model_id": "deployment-1",
        "requester_ip_address": None,
        "messages": [{"role": "user", "content": "hello"}],
        "response": {"id": response_id, "choices": []},
        "model_parameters": {"stream": True},
        "hidden_params": {"model_id": "deployment-1", "usage_object": None},
        "model_map_information": {"model_map_key": "gpt-4o", "model_map_value": None},
        "error_str": None,
        "error_information": None,
        "response_cost_failure_debug_info": None,
        "guardrail_information": None,
        "standard_built_in_tools_params": {"web_search_options": None, "file_search": None},
    }
    return {**row, **changes}


@pytest.fixture
def one_call(tmp_path, lake_rows):
    """Ingest one payload and return the named columns of its call."""

    def columns(names: str, **changes: object) -> tuple:
        result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", [payload_row("r1", **changes)]))
        assert result.format == "litellm_payload"
        assert result.rows_loaded == 1, lake_rows("quarantined_rows", "column_name, reason")
        assert result.message == ""
        return lake_rows("llm_calls", names)[0]

    return columns


# Tokens


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, (1000, None, None, None)),
        ({}, (1000, None, None, None)),
        ({"prompt_tokens_details": {"cached_tokens": 400}}, (600, 400, None, None)),
        ({"cache_read_input_tokens": 400, "cache_creation_input_tokens": 100}, (500, 400, 100, 0)),
        # one fact in two spellings, one of which may be a mere 0
        ({"prompt_tokens_details": {"cached_tokens": 400}, "cache_read_input_tokens": 400}, (600, 400, None, None)),
        ({"prompt_tokens_details": {"cached_tokens": 0}, "cache_read_input_tokens": 400}, (600, 400, None, None)),
        ({"prompt_tokens_details": {"cached_tokens": 400}, "cache_read_input_tokens": 0}, (600, 400, None, None)),
        # OpenAI's own spelling of a cache write
        ({"prompt_tokens_details": {"cached_tokens": 50, "cache_write_tokens": 100}}, (850, 50, 100, 0)),
        (
            {"prompt_tokens_details": {"cache_creation_tokens": 100, "cache_write_tokens": 100}},
            (900, None, 100, 0),
        ),
        # lifetimes of writes, in both places
        (
            {
                "cache_creation_input_tokens": 300,
                "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
            },
            (700, None, 100, 200),
        ),
        (
            {
                "prompt_tokens_details": {
                    "cached_tokens": 50,
                    "cache_creation_tokens": 300,
                    "cache_creation_token_details": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 300},
                }
            },
            (650, 50, 0, 300),
        ),
        # the breakdown covers only a part of the writes: what it leaves out is five minutes
        (
            {
                "cache_creation_input_tokens": 300,
                "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 200},
            },
            (700, None, 100, 200),
        ),
    ],
)
def test_the_prompt_cache_in_every_spelling(one_call, usage, expected):
    found = one_call(BUCKETS, usage=usage)
    assert [value or 0 for value in found] == [value or 0 for value in expected]
    assert [value is None for value in found[:3]] == [value is None for value in expected[:3]]


_CACHED = {"prompt_tokens_details": {"cached_tokens": 400}}


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"usage_object": _CACHED}},
        {"metadata": {"usage_object": {}}, "hidden_params": {"usage_object": _CACHED}},
        {"hidden_params": {"usage_object": _CACHED}},
        {"response": {"usage": _CACHED, "choices": [{"message": {"content": "hello"}}]}},
        {"response": json.dumps({"usage": _CACHED})},
        {"response": {"usage": {"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 400}}}},
        # the first place that has one counts, not the sum of them
        {"metadata": {"usage_object": _CACHED}, "response": {"usage": {"cache_read_input_tokens": 900}}},
    ],
)
def test_the_usage_in_each_of_its_places(one_call, changes):
    assert one_call(BUCKETS, **changes) == (600, 400, None, None)


@pytest.mark.parametrize("response", [None, "redacted-by-litellm", "", {}, [], [{"usage": {}}], {"usage": "none"}])
def test_an_answer_without_usage(one_call, response):
    assert one_call(BUCKETS, response=response) == (1000, None, None, None)


def test_reasoning_audio_and_images_are_parts_of_the_totals(one_call):
    usage = {
        "prompt_tokens_details": {"cached_tokens": 400, "audio_tokens": 50, "image_tokens": 150},
        "completion_tokens_details": {"reasoning_tokens": 60, "audio_tokens": 10, "image_tokens": 5},
    }
    names = "uncached_input_tokens, cache_read_tokens, audio_input_tokens, image_input_tokens, output_text_tokens"
    names += ", reasoning_tokens, audio_output_tokens, image_output_tokens"
    assert one_call(names, usage=usage) == (400, 400, 50, 150, 25, 60, 10, 5)


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        # as xAI counts: 80 images, of which 70 are among the 90 cached
        ({"cached_tokens": 90, "image_tokens": 80}, (0, 90, None, 10)),
        ({"cached_tokens": 90, "audio_tokens": 80}, (0, 90, 10, None)),
        ({"cached_tokens": 60, "audio_tokens": 30, "image_tokens": 30}, (0, 60, 30, 10)),
        ({"cached_tokens": 60, "audio_tokens": 50, "image_tokens": 30}, (0, 60, 40, 0)),
        ({"cached_tokens": 100, "image_tokens": 100}, (0, 100, None, 0)),
        # these fit beside the cached ones, and stay
        ({"cached_tokens": 60, "audio_tokens": 10, "image_tokens": 30}, (0, 60, 10, 30)),
        ({"cached_tokens": 60, "image_tokens": 10}, (30, 60, None, 10)),
        ({"cache_creation_tokens": 90, "image_tokens": 80}, (0, None, None, 10)),
    ],
)
def test_images_and_audio_that_overlap_with_the_cache(one_call, details, expected):
    names = "uncached_input_tokens, cache_read_tokens, audio_input_tokens, image_input_tokens"
    assert one_call(names, prompt_tokens=100, usage={"prompt_tokens_details": details}) == expected


@pytest.mark.parametrize(
    "details", [{"image_tokens": 101}, {"cached_tokens": 90, "audio_tokens": 60, "image_tokens": 60}]
)
def test_more_images_than_the_whole_prompt_are_no_overlap(tmp_path, lake_rows, details):
    row = payload_row("r1", prompt_tokens=100, usage={"prompt_tokens_details": details})
    result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", [row]))

    assert result.rows_quarantined == 1
    assert lake_rows("quarantined_rows", "column_name, reason") == [
        ("input_tokens", "parts add up to more than the whole")
    ]


def test_audio_that_overlaps_with_the_cache_in_a_spend_log(tmp_path, lake_rows):
    usage = {"prompt_tokens_details": {"cached_tokens": 90, "audio_tokens": 80}}
    bring(tmp_path, write_json_lines(tmp_path / "a.jsonl", [spend_log_row("r1", prompt_tokens=100, usage=usage)]))

    assert lake_rows("llm_calls", "uncached_input_tokens, cache_read_tokens, audio_input_tokens") == [(0, 90, 10)]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"server_tool_use": {"web_search_requests": 3}}, 3),
        ({"prompt_tokens_details": {"web_search_requests": 2}}, 2),
        ({"server_tool_use": {"web_search_requests": 0}, "prompt_tokens_details": {"web_search_requests": 2}}, 2),
        ({"server_tool_use": None}, None),
    ],
)
def test_web_searches(one_call, usage, expected):
    assert one_call("web_search_count", usage=usage) == (expected,)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100, **_CACHED}, None),
        (
            {"num_search_queries": 4, "speed": "fast", "cost": 0.01, "is_byok": False, "later": None},
            '{"num_search_queries":4}',
        ),
        (
            {
                "prompt_tokens_details": {"cached_tokens": 1, "video_tokens": 7, "text_tokens": 999},
                "completion_tokens_details": {"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 12},
            },
            '{"prompt_tokens_details.video_tokens":7,"completion_tokens_details.rejected_prediction_tokens":12}',
        ),
        ({"prompt_tokens_details": "none", "note": MARKER, "seconds": 1.5}, '{"seconds":1.5}'),
    ],
)
def test_usage_that_no_column_takes(one_call, usage, expected):
    assert one_call("unmapped_usage", usage=usage) == (expected,)


def test_a_source_may_say_that_its_prompts_exclude_the_cache(tmp_path, lake_rows):
    usage = {"prompt_tokens_details": {"cached_tokens": 90, "image_tokens": 80}}
    path = write_json_lines(tmp_path / "calls.jsonl", [payload_row("r1", prompt_tokens=100, usage=usage)])
    bring(tmp_path, path, token_convention=(False, None))

    assert lake_rows("llm_calls", "uncached_input_tokens, cache_read_tokens, image_input_tokens") == [(20, 90, 80)]


# Attempts


def attempts(tmp_path: Path, lake_rows, *rows: dict) -> list[tuple]:
    result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", list(rows)))
    assert result.rows_loaded == len(rows)
    return lake_rows("llm_calls", "call_id, attempt_number, response_id, status")


def attempt(response_id: str, retries: int | None, fallbacks: int | None = 0, **changes: object) -> dict:
    told = {"attempted_retries": retries, "max_retries": 2, "attempted_fallbacks": fallbacks}
    metadata = {name: value for name, value in told.items() if value is not None} | changes.pop("metadata", {})
    return payload_row(response_id, metadata=metadata, **changes)


def test_retries_of_a_request_are_grouped_by_its_trace(tmp_path, lake_rows):
    found = attempts(
        tmp_path,
        lake_rows,
        attempt("f1", 0, trace_id="t1", status="failure"),
        attempt("f2", 1, trace_id="t1", status="failure"),
        attempt("r3", 2, trace_id="t1"),
        attempt("r4", 0, trace_id="t4"),
    )
    assert found == [
        ("r4", 1, "r4", "success"),
        ("t1", 1, "f1", "failed"),
        ("t1", 2, "f2", "failed"),
        ("t1", 3, "r3", "success"),
    ]


def test_a_fallback_starts_its_retries_again_and_hides_no_attempt(tmp_path, lake_rows):
    found = attempts(
        tmp_path,
        lake_rows,
        attempt("f1", 0, 0, trace_id="t1", status="failure"),
        attempt("f2", 1, 0, trace_id="t1", status="failure"),
        attempt("f3", 0, 1, trace_id="t1", status="failure", model_group="claude"),
        attempt("f4", 1, 1, trace_id="t1", status="failure", model_group="claude"),
        attempt("r5", 0, 2, trace_id="t1", model_group="gemini"),
    )
    assert [row[:3] for row in found] == [
        ("t1", 1, "f1"),
        ("t1", 2, "f2"),
        ("t1", 101, "f3"),
        ("t1", 102, "f4"),
        ("t1", 201, "r5"),
    ]


def test_a_log_from_before_fallbacks_were_counted_keeps_the_groups_of_a_request_apart(tmp_path, lake_rows):
    found = attempts(
        tmp_path,
        lake_rows,
        attempt("f1", 0, None, trace_id="t1", status="failure", model_group="gpt"),
        attempt("f2", 1, None, trace_id="t1", status="failure", model_group="gpt"),
        attempt("f3", 0, None, trace_id="t1", status="failure", model_group="claude"),
        attempt("r4", 1, None, trace_id="t1", model_group="claude"),
    )
    assert [row[:3] for row in found] == [
        ("t1/claude", 1, "f3"),
        ("t1/claude", 2, "r4"),
        ("t1/gpt", 1, "f1"),
        ("t1/gpt", 2, "f2"),
    ]


def test_requests_of_one_session_share_a_trace_and_stay_apart(tmp_path, lake_rows):
    """A caller that names its session gives all its requests one trace id."""
    proxy = {"user_api_key_hash": "hash"}
    found = attempts(
        tmp_path,
        lake_rows,
        attempt("r1", 0, trace_id="session"),
        attempt("r2", 0, trace_id="session"),
        attempt("f3", 0, trace_id="session", status="failure", litellm_call_id="q3", metadata=proxy),
        attempt("r3", 1, trace_id="session", litellm_call_id="q3", metadata=proxy),
        attempt("f4", 0, trace_id="session", status="failure", litellm_call_id="q4", metadata=proxy),
        attempt("r4", 0, 1, trace_id="session", litellm_call_id="q4", metadata=proxy),
    )
    assert [row[:3] for row in found] == [
        ("q3", 1, "f3"),
        ("q3", 2, "r3"),
        ("q4", 1, "f4"),
        ("q4", 101, "r4"),
        ("r1", 1, "r1"),
        ("r2", 1, "r2"),
    ]
    assert set(lake_rows("llm_calls", "task_id, task_id_origin, trace_id")) == {("session", "trace", "session")}


def test_without_any_count_each_record_is_a_call(tmp_path, lake_rows):
    found = attempts(
        tmp_path,
        lake_rows,
        attempt("f1", None, None, trace_id="t1", status="failure", labels={"call_id": "c1"}),
        attempt("r2", None, None, trace_id="t1", labels={"call_id": "c1"}),
    )
    assert [row[:3] for row in found] == [("f1", 1, "f1"), ("r2", 1, "r2")]


def test_labels_say_the_call_and_the_attempt(tmp_path, lake_rows):
    found = attempts(
        tmp_path,
        lake_rows,
        attempt("r1", None, None, labels={"call_id": "c1", "attempt_number": 1}),
        attempt("r2", 0, labels={"call_id": "c1", "attempt_number": "2"}),
        attempt("r3", None, None, labels={"attempt_number": 2}),
    )
    assert [row[:3] for row in found] == [("c1", 1, "r1"), ("c1", 2, "r2"), ("r3", 2, "r3")]


def test_a_record_without_ids_gets_one_by_its_content(tmp_path, lake_rows):
    rows = [payload_row(None, trace_id=None, litellm_call_id=None)] * 2
    bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", rows))

    found = lake_rows("llm_calls", "call_id, task_id_origin")
    assert len(set(found)) == 2
    assert all(call_id.startswith("h_") for call_id, _ in found)


def test_the_spend_logs_number_fallbacks_alike(tmp_path, lake_rows):
    rows = [spend_log_row(f"r{number}", labels={"call_id": "c1"}) for number in range(3)]
    for row, (retries, fallbacks) in zip(rows, [(0, 0), (0, 1), (1, 1)], strict=True):
        row["metadata"] |= {"attempted_retries": retries, "attempted_fallbacks": fallbacks}
    bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", rows))

    assert lake_rows("llm_calls", "call_id, attempt_number") == [("c1", 1), ("c1", 101), ("c1", 102)]


# Times


def test_times_are_seconds_with_exact_microseconds(tmp_path, lake_rows):
    line = json.dumps(payload_row("r1", startTime=0, completionStartTime=1, endTime=2))
    for name, text in [
        ("startTime", "1785578400.123457"),
        ("completionStartTime", '"1785578400.25"'),
        ("endTime", "1785578401"),
    ]:
        line = line.replace(
            f'"{name}": {({"startTime": 0, "completionStartTime": 1, "endTime": 2})[name]}', f'"{name}": {text}'
        )
    bring(tmp_path, write_lines(tmp_path / "calls.jsonl", [line]))

    assert lake_rows("llm_calls", "started_at, first_token_at, ended_at") == [
        (
            datetime(2026, 8, 1, 10, 0, 0, 123_457, UTC),
            datetime(2026, 8, 1, 10, 0, 0, 250_000, UTC),
            datetime(2026, 8, 1, 10, 0, 1, 0, UTC),
        )
    ]


def test_seconds_are_utc_whatever_the_zone_of_the_source(tmp_path, lake_rows):
    rows = [payload_row("r1"), payload_row("r2", startTime="2026-08-01T15:30:00.25", endTime=None, stream=False)]
    bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", rows), time_zone="Asia/Kolkata")

    assert lake_rows("llm_calls", "call_id, started_at") == [
        ("r1", datetime(2026, 8, 1, 10, 0, 0, 250_000, UTC)),
        ("r2", datetime(2026, 8, 1, 10, 0, 0, 250_000, UTC)),
    ]


@pytest.mark.parametrize(
    ("changes", "is_told"),
    [
        ({"stream": True}, True),
        ({"stream": False}, False),
        ({"stream": False, "completionStartTime": START + 2.5}, False),
        ({"stream": None, "completionStartTime": START + 2.5}, False),
        ({"stream": None}, True),
    ],
)
def test_only_a_stream_tells_its_first_token(one_call, changes, is_told):
    assert one_call("first_token_at is not null", **changes) == (is_told,)


@pytest.mark.parametrize("time", [1785578400000, "yesterday", "8/1/26", 1e300, -1e17])
def test_what_is_no_time(tmp_path, lake_rows, time):
    path = write_json_lines(tmp_path / "calls.jsonl", [payload_row("r1", startTime=time), payload_row("r2")])
    result = bring(tmp_path, path)

    assert (result.rows_loaded, result.rows_quarantined) == (1, 1)
    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [(1, "started_at", "not a time")]


# Outcome, money and labels


def test_a_failure_keeps_its_tokens_and_says_its_error(one_call):
    found = one_call(
        "status, error_type, provider, uncached_input_tokens, output_text_tokens, reported_cost",
        status="failure",
        custom_llm_provider=None,
        response_cost=0,
        completion_tokens=0,
        response=None,
        error_str=MARKER,
        error_information={
            "error_class": "RateLimitError",
            "error_code": "429",
            "error_rate_limit_category": "tokens",
            "llm_provider": "anthropic",
            "error_message": MARKER,
        },
    )
    assert found == ("failed", "RateLimitError 429 tokens", "anthropic", 1000, 0, Decimal(0))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": None}, ("success", None)),
        ({"status": "", "error_information": {"error_class": "Timeout", "error_code": ""}}, ("failed", "Timeout")),
        ({"status": "failure", "error_information": {"error_class": "", "error_code": ""}}, ("failed", None)),
        ({"error_information": {"error_class": "", "error_code": ""}}, ("success", None)),
        ({"status": "failure", "labels": {"error_type": "schema_invalid"}}, ("failed", "schema_invalid")),
    ],
)
def test_the_status_with_and_without_its_column(one_call, changes, expected):
    assert one_call("status, error_type", **changes) == expected


def test_the_cost_is_exact_and_never_put_together_from_its_parts(one_call):
    found = one_call("reported_cost, reported_currency", response_cost=3.5e-05, saved_cache_cost=0.7)
    assert found == (Decimal("0.000035"), "USD")


@pytest.mark.parametrize(("value", "expected"), [(True, True), (False, False), (None, None), ("True", True)])
def test_cache_hit_is_litellms_own_response_cache(one_call, value, expected):
    assert one_call("response_cache_hit, cache_read_tokens", cache_hit=value) == (expected, None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"call_type": "aembedding"}, ("embedding", None, "gpt-4o")),
        ({"call_type": "embeddings"}, ("embedding", None, "gpt-4o")),
        ({"call_type": "arerank"}, ("rerank", None, "gpt-4o")),
        ({"call_type": "acompletion", "labels": {"call_kind": "judge"}}, ("judge", None, "gpt-4o")),
        ({"guardrail_information": [{"guardrail_name": "pii"}]}, ("llm", None, "gpt-4o")),
        (
            {
                "call_type": "call_mcp_tool",
                "model": "MCP: search",
                "metadata": {"mcp_tool_call_metadata": {"name": "search", "arguments": {"q": MARKER}}},
            },
            ("tool", "search", None),
        ),
    ],
)
def test_the_kind_of_a_call(one_call, changes, expected):
    assert one_call("call_kind, tool_name, model", **changes) == expected


def test_the_service_tier_from_each_of_its_places(tmp_path, lake_rows):
    rows = [
        payload_row("r1", usage={"service_tier": "flex"}, model_parameters={"service_tier": "auto"}),
        payload_row("r2", model_parameters={"service_tier": "priority", "temperature": 0.2, "tools": [MARKER]}),
        payload_row("r3", labels={"service_tier": "batch"}, usage={"service_tier": "default"}),
        payload_row("r4", response={"service_tier": "scale"}, model_parameters={"service_tier": "auto"}),
        payload_row("r5", model_parameters=None),
    ]
    bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", rows))

    assert lake_rows("llm_calls", "call_id, service_tier, temperature") == [
        ("r1", "flex", None),
        ("r2", "priority", 0.2),
        ("r3", "batch", None),
        ("r4", "scale", None),
        ("r5", None, None),
    ]


@pytest.mark.parametrize("place", ["spend_logs_metadata", "requester_metadata"])
def test_labels_become_columns(one_call, place):
    labels = {
        "task_id": "t1",
        "task_type": "ticket",
        "step_name": "answer",
        "step_index": 2,
        "workload_kind": "eval",
        "team": "fraud",
        "application": "desk",
        "customer": "acme",
        "environment": "production",
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
        "deployment_id": "d7",
    }
    found = one_call(", ".join(labels) + ", task_id_origin", metadata={place: labels}, end_user="somebody")
    assert found == (*labels.values(), "task")


def test_the_logs_own_label_goes_before_the_requests(one_call):
    found = one_call(
        "task_id, team", labels={"task_id": "t1"}, metadata={"requester_metadata": {"task_id": "t2", "team": "fraud"}}
    )
    assert found == ("t1", "fraud")


@pytest.mark.parametrize(
    ("metadata", "team"),
    [
        ({"user_api_key_team_alias": "alias", "user_api_key_team_id": "id"}, "alias"),
        ({"user_api_key_team_alias": "", "user_api_key_team_id": "id"}, "id"),
        ({"user_api_key_team_alias": None}, None),
    ],
)
def test_the_team_is_the_keys_alias_else_its_id(one_call, metadata, team):
    assert one_call("team, customer", metadata=metadata, end_user="acme") == (team, "acme")


def test_what_was_called(one_call):
    found = one_call(
        "provider, model, deployment_id, api_base",
        custom_llm_provider="azure",
        model="azure/gpt-4o",
        model_id=None,
        hidden_params={"model_id": "d9", "api_base": None},
        api_base="https://user:SECRET@example.com/v1?key=SECRET",
    )
    assert found == ("azure", "gpt-4o", "d9", "https://example.com/v1")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        ([], None),
        (None, None),
        (["a", f"User-Agent: {MARKER}"], ["a"]),
        ([f"User-Agent: {MARKER}/1.5"], None),
    ],
)
def test_tags_without_the_callers_user_agent(tmp_path, lake_rows, tags, expected):
    bring(tmp_path, write_json_lines(tmp_path / "a.jsonl", [payload_row("r1", request_tags=tags)]))
    bring(tmp_path, write_json_lines(tmp_path / "b.jsonl", [spend_log_row("r2", request_tags=tags)]))

    found = [tags for (tags,) in lake_rows("llm_calls", "tags")]
    assert [json.loads(tags) if tags else None for tags in found] == [expected, expected]
    assert_nowhere(tmp_path / "lake")


# Files


def secret_row(response_id: str | None, **changes: object) -> dict:
    """A payload that holds a marker wherever something stands that must not be kept."""
    row = payload_row(
        response_id,
        metadata={
            "user_api_key_hash": MARKER,
            "user_api_key_alias": MARKER,
            "user_api_key_user_email": MARKER,
            "requester_ip_address": MARKER,
            "user_agent": MARKER,
            "requester_custom_headers": {"x-key": MARKER},
            "requester_metadata": {"note": MARKER},
            "usage_object": {"note": MARKER, MARKER: "text"},
        },
        requester_ip_address=MARKER,
        user_agent=MARKER,
        cache_key=MARKER,
        messages=[{"role": "user", "content": MARKER}],
        response={"choices": [{"message": {"content": MARKER}}], "usage": {"note": MARKER}},
        model_parameters={"tools": [MARKER], "user": MARKER, "extra_headers": {"key": MARKER}},
        hidden_params={"additional_headers": {"key": MARKER}},
        guardrail_information=[{"guardrail_response": MARKER}],
        error_str=MARKER,
        error_information={"error_message": MARKER, "traceback": MARKER, "error_class": "Timeout"},
        standard_built_in_tools_params={"web_search_options": {"note": MARKER}},
        cost_breakdown={"note": MARKER},
        api_base=f"https://user:{MARKER}@host/v1?key={MARKER}",
    )
    return {**row, **changes}


@pytest.fixture(params=["small", "large"])
def file_size(request, monkeypatch):
    """Small files are read with care from the start, large ones only when the fast reader gives up."""
    if request.param == "large":
        monkeypatch.setattr(reading, "_SMALL_BYTES", 0)


@pytest.mark.usefixtures("file_size")
def test_no_text_of_a_record_reaches_the_lake_or_a_message(tmp_path, lake_rows):
    rows = [
        secret_row("r1"),
        secret_row(None, trace_id=None, litellm_call_id=None),
        secret_row("r3", prompt_tokens=MARKER),
        secret_row("r4", startTime=MARKER),
        secret_row("r5", status=MARKER),
        secret_row("r6", response=MARKER),
        secret_row("r7", metadata=MARKER),
    ]
    lines = [json.dumps(row) for row in rows]
    result = bring(tmp_path, write_lines(tmp_path / "calls.jsonl", [*lines, lines[0][:-20]]), "litellm_payload")

    assert (result.rows_loaded, result.rows_quarantined) == (4, 4)
    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [
        (3, "input_tokens", "not a whole number"),
        (4, "started_at", "not a time"),
        (5, "status", "not one of the known values"),
        (8, None, "not valid JSON"),
    ]
    assert_nowhere(tmp_path / "lake")


@pytest.mark.usefixtures("file_size")
@pytest.mark.parametrize(
    ("changes", "column", "reason"),
    [
        ({"usage": {"prompt_tokens_details": {"cached_tokens": 1001}}}, "cache_read_tokens", "cached above input"),
        ({"usage": {"cache_read_input_tokens": -5}}, "cache_read_tokens", "negative"),
        ({"usage": {"prompt_tokens_details": {"image_tokens": "few"}}}, "image_input_tokens", "not a whole number"),
        ({"usage": {"prompt_tokens_details": {"image_tokens": -1}}}, "image_input_tokens", "negative"),
        ({"usage": {"server_tool_use": {"web_search_requests": 1.5}}}, "web_search_count", "not a whole number"),
        ({"response_cost": -0.01}, "reported_cost", "negative"),
        ({"endTime": START - 1}, "ended_at", "before started_at"),
        ({"startTime": None}, "started_at", "missing"),
        ({"prompt_tokens": 10**30}, "input_tokens", "not a whole number"),
    ],
)
def test_a_wrong_value_costs_its_row_only(tmp_path, lake_rows, changes, column, reason):
    rows = [payload_row("r1"), payload_row("r2", **changes), payload_row("r3")]
    result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", rows))

    assert (result.rows_loaded, result.rows_quarantined) == (2, 1)
    assert lake_rows("llm_calls", "call_id") == [("r1",), ("r3",)]
    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [(2, column, reason)]


def test_one_object_a_file_as_the_object_stores_have_it(tmp_path, lake_rows):
    folder = tmp_path / "bucket" / "2026-08-01"
    folder.mkdir(parents=True)
    for number in range(3):
        text = json.dumps(payload_row(f"r{number}", usage=_CACHED), indent=number)
        (folder / f"time-10-00-0{number}_r{number}.json").write_text(text)
    (folder / "time-10-00-04_r4.json.gz").write_bytes(
        gzip.compress(json.dumps(payload_row("r4", usage=_CACHED)).encode())
    )
    (folder / "time-10-00-05_r5.json").write_text(json.dumps(payload_row("r5"))[:-30])
    results = ingest(tmp_path / "lake", [IngestRequest("gateway", tmp_path / "bucket", "litellm_payload")])

    assert [result.state for result in results].count("committed") >= 4
    assert sum(result.rows_loaded for result in results) == 4
    assert lake_rows("llm_calls", "call_id, cache_read_tokens") == [(f"r{n}", 400) for n in (0, 1, 2, 4)]


def test_a_list_of_payloads(tmp_path, lake_rows):
    path = tmp_path / "calls.json"
    path.write_text(json.dumps([payload_row("r1"), payload_row("r2", prompt_tokens=-1), payload_row("r3"), 17]))
    result = bring(tmp_path, path)

    assert (result.format, result.rows_loaded, result.rows_quarantined) == ("litellm_payload", 2, 2)
    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [
        (2, "input_tokens", "negative"),
        (4, None, "not a JSON object"),
    ]


@pytest.mark.parametrize("name", ["long.json", "long.jsonl"])
def test_a_record_longer_than_the_head_of_a_file(tmp_path, lake_rows, name):
    row = payload_row("r1", messages=[{"role": "user", "content": "x" * 400_000}], usage=_CACHED)
    row = {**{key: row[key] for key in row if key not in ("messages", "response")}, "messages": row["messages"]}
    (tmp_path / name).write_text(json.dumps(row))
    result = bring(tmp_path, tmp_path / name)

    assert (result.format, result.rows_loaded) == ("litellm_payload", 1)
    assert lake_rows("llm_calls", "call_id, cache_read_tokens") == [("r1", 400)]


def test_a_payload_of_an_older_version(tmp_path, lake_rows):
    """Late in 2024 the payload had no trace, no stream flag, no usage object, and no error information."""
    old = payload_row("r1")
    for name in ("trace_id", "litellm_call_id", "stream", "status_fields", "custom_llm_provider", "error_information"):
        del old[name]
    for name in ("cost_breakdown", "guardrail_information", "standard_built_in_tools_params"):
        del old[name]
    old["metadata"] = {"user_api_key_team_id": "support", "spend_logs_metadata": None}
    old["model"] = "openai/gpt-4o"
    result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", [old]))

    assert (result.format, result.rows_loaded, result.message) == ("litellm_payload", 1, "")
    names = "call_id, attempt_number, task_id_origin, provider, model, team, uncached_input_tokens, cache_read_tokens"
    assert lake_rows("llm_calls", names) == [("r1", 1, "call", None, "openai/gpt-4o", "support", 1000, None)]


def test_a_payload_of_a_newer_version_names_what_is_not_read(tmp_path, lake_rows):
    row = {**payload_row("r1"), "carbon_grams": 3}
    row["metadata"]["new_key"] = {"a": [1]}
    result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", [row]))

    assert (result.rows_loaded, result.message) == (1, "calls.jsonl: columns not read: carbon_grams")


def test_the_two_files_of_litellm_are_told_apart(tmp_path):
    spend = read_head(write_json_lines(tmp_path / "spend.jsonl", [spend_log_row("r1")]))
    payload = read_head(write_json_lines(tmp_path / "payload.jsonl", [payload_row("r1")]))

    assert (sniff(spend), litellm_spend_logs.sniff(spend)) == (False, True)
    assert (sniff(payload), litellm_spend_logs.sniff(payload)) == (True, False)


def test_the_same_call_in_both_files_has_the_same_response_id(tmp_path, lake_rows):
    usage = {**_CACHED, "completion_tokens_details": {"reasoning_tokens": 60}}
    bring(tmp_path, write_json_lines(tmp_path / "a.jsonl", [payload_row("r1", usage=usage)]))
    bring(tmp_path, write_json_lines(tmp_path / "b.jsonl", [spend_log_row("r1", usage=usage)]))

    names = f"response_id, {BUCKETS}, output_text_tokens, reasoning_tokens, provider, model, reported_cost"
    assert len(set(lake_rows("llm_calls", names))) == 1
