"""OpenTelemetry spans: three families of names, two spellings of JSON, and who repeats whom."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ingest import reading
from ingest.formats import sniff
from ingest.reading import read_head
from ingest.runner import IngestRequest, ingest
from tests.python.conftest import write_json_lines
from tests.python.ingest.helpers import MARKER, assert_nowhere, bring, write_lines

TRACE = "5b8efff798038103d269b633813fc60c"
START = 1785578400123456789
BUCKETS = "uncached_input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens"
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
USAGE = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}
AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "desk"}
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}


def value(of: object) -> dict:
    """An attribute's value, as the collector writes it: whole numbers as text."""
    if isinstance(of, bool):
        return {"boolValue": of}
    if isinstance(of, int):
        return {"intValue": str(of)}
    if isinstance(of, float):
        return {"doubleValue": of}
    if isinstance(of, list):
        return {"arrayValue": {"values": [value(item) for item in of]}}
    return {"stringValue": of}


def attributes(of: dict) -> list[dict]:
    return [{"key": key, "value": value(one)} for key, one in of.items()]


def span_id(number: int) -> str:
    return f"{number:016x}"


def span(number: int = 1, of: dict | None = None, parent: int | None = None, **changes: object) -> dict:
    """A span of two seconds; ``of`` are its attributes."""
    return {
        "traceId": TRACE,
        "spanId": span_id(number),
        "parentSpanId": span_id(parent) if parent else "",
        "name": "chat gpt-4o",
        "kind": 3,
        "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(START + 2 * 10**9),
        "attributes": attributes(CHAT | USAGE if of is None else of),
        "status": {},
        **changes,
    }


def request(*spans: dict, resource: dict | None = None) -> dict:
    """An export request with the spans of one resource."""
    scope = {"scope": {"name": "instrumentation"}, "spans": list(spans)}
    return {"resourceSpans": [{"resource": {"attributes": attributes(resource or {})}, "scopeSpans": [scope]}]}


def flat_request(row: dict) -> dict:
    """A request of one span, given as its fields; any other field is the request's."""
    fields = span().keys()
    outer = {name: one for name, one in row.items() if name not in fields}
    return request({name: row[name] for name in fields}) | outer


def counted(result) -> tuple[int, int, int, int]:
    return result.rows_read, result.rows_loaded, result.rows_quarantined, result.rows_skipped


@pytest.fixture
def ingested(tmp_path):
    """Ingest spans as one request and return the result."""

    def bring_spans(*spans: dict, resource: dict | None = None, **changes: object):
        path = write_json_lines(tmp_path / "spans.jsonl", [request(*spans, resource=resource)])
        result = bring(tmp_path, path, **changes)
        assert result.format == "otlp"
        return result

    return bring_spans


@pytest.fixture
def one_call(ingested, lake_rows):
    """Ingest one span and return the named columns of its call."""

    def columns(names: str, of: dict | None = None, resource: dict | None = None, **changes: object) -> tuple:
        result = ingested(span(1, of, **changes), resource=resource)
        assert counted(result) == (1, 1, 0, 0), (result, lake_rows("quarantined_rows", "column_name, reason"))
        return lake_rows("llm_calls", names)[0]

    return columns


@pytest.fixture
def skip_reasons(tmp_path):
    """Why spans were skipped, with how many of each, from the ledger."""
    from ingest.lake import Lake

    def reasons() -> dict[str, int]:
        [batch] = Lake(tmp_path / "lake").batches().values()
        return batch.counts["llm_calls"].skip_reasons

    return reasons


def test_a_call_by_the_current_conventions(one_call):
    of = CHAT | {
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.conversation.id": "conversation-1",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 400,
        "gen_ai.usage.cache_creation.input_tokens": 50,
        "gen_ai.usage.reasoning.output_tokens": 60,
        "gen_ai.request.temperature": 0.2,
        "gen_ai.response.time_to_first_chunk": 0.345,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.prompt.name": "answer-v3",
        "openai.request.service_tier": "auto",
        "openai.response.service_tier": "flex",
        "server.address": "api.openai.com",
        "enduser.id": "acme",
    }
    names = (
        f"call_id, attempt_number, trace_id, span_id, response_id, task_id, task_id_origin, call_kind, provider, model,"
        f"{BUCKETS}, output_text_tokens, reasoning_tokens, temperature, prompt_version, service_tier, api_base, "
        "customer, status, error_type, tool_name, unmapped_usage, reported_cost, reported_currency"
    )
    assert one_call(names, of) == (
        *(f"{TRACE}:{span_id(1)}", 1, TRACE, span_id(1), "chatcmpl-1", TRACE, "trace", "llm", "openai"),
        *("gpt-4o-2024-08-06", 550, 400, 50, None, 40, 60, 0.2, "answer-v3", "flex", "api.openai.com", "acme"),
        *("success", None, None, None, None, None),
    )


def test_nanoseconds_become_microseconds_exactly(one_call):
    of = CHAT | USAGE | {"gen_ai.response.time_to_first_chunk": 0.000007}
    names = "started_at, first_token_at, ended_at"
    started = datetime(2026, 8, 1, 10, 0, 0, 123456, tzinfo=UTC)
    assert one_call(names, of) == (started, started.replace(microsecond=123463), started.replace(second=2))


def test_times_are_utc_whatever_the_sources_zone(ingested, lake_rows):
    of = CHAT | USAGE | {"gen_ai.response.time_to_first_chunk": 1.5}
    ingested(span(1, of), time_zone="Asia/Kolkata")
    [(started, first)] = lake_rows("llm_calls", "started_at, first_token_at")
    assert (started.astimezone(UTC).hour, (first - started).total_seconds()) == (10, 1.5)


def test_times_as_numbers_and_an_unknown_end(one_call):
    found = one_call("epoch_us(started_at), ended_at", startTimeUnixNano=START, endTimeUnixNano="0")
    assert found == (START // 1000, None)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        # older GenAI names
        ({"gen_ai.usage.prompt_tokens": 1000, "gen_ai.usage.completion_tokens": 90}, (1000, None, None, None, 90)),
        # both at once count once
        (USAGE | {"gen_ai.usage.prompt_tokens": 1000, "gen_ai.usage.completion_tokens": 100}, (1000, *[None] * 3, 100)),
        # OpenLLMetry, with the total that says nothing new
        (
            {"llm.usage.prompt_tokens": 10, "llm.usage.completion_tokens": 5, "llm.usage.total_tokens": 15},
            (10, None, None, None, 5),
        ),
        (USAGE | {"gen_ai.usage.cache_read_input_tokens": 300}, (700, 300, None, None, 100)),
        (USAGE | {"gen_ai.usage.cache_creation_input_tokens": 300}, (700, None, 300, None, 100)),
        # OpenInference
        (
            {
                "llm.token_count.prompt": 1000,
                "llm.token_count.completion": 100,
                "llm.token_count.total": 1100,
                "llm.token_count.prompt_details.cache_read": 200,
                "llm.token_count.prompt_details.cache_write": 100,
            },
            (700, 200, 100, None, 100),
        ),
        # lifetimes of writes: what the breakdown leaves out lives five minutes
        (
            USAGE
            | {
                "gen_ai.usage.cache_creation.input_tokens": 300,
                "gen_ai.usage.cache_creation.ephemeral_5m_input_tokens": 60,
                "gen_ai.usage.cache_creation.ephemeral_1h_input_tokens": 200,
            },
            (700, None, 100, 200, 100),
        ),
        (
            USAGE
            | {
                "gen_ai.usage.cache_creation.input_tokens": 300,
                "gen_ai.usage.cache_creation.ephemeral_1h_input_tokens": 300,
            },
            (700, None, 0, 300, 100),
        ),
        # a number written as a decimal
        ({"gen_ai.usage.input_tokens": 1000.0}, (1000, None, None, None, None)),
    ],
)
def test_usage_in_every_spelling(one_call, usage, expected):
    assert one_call(f"{BUCKETS}, output_text_tokens", CHAT | usage) == expected
    assert one_call("unmapped_usage", CHAT | usage) == (None,)


def test_details_are_parts_of_the_totals(one_call):
    of = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-4o-audio",
        "llm.token_count.prompt": 1000,
        "llm.token_count.completion": 100,
        "llm.token_count.prompt_details.cache_read": 400,
        "llm.token_count.prompt_details.audio": 50,
        "llm.token_count.completion_details.reasoning": 60,
        "llm.token_count.completion_details.audio": 10,
    }
    names = f"{BUCKETS}, audio_input_tokens, output_text_tokens, reasoning_tokens, audio_output_tokens"
    assert one_call(names, of) == (550, 400, None, None, 50, 30, 60, 10)


def test_what_is_not_reported_is_null_and_not_zero(one_call):
    of = CHAT | {"gen_ai.usage.input_tokens": 0}
    names = f"{BUCKETS}, output_text_tokens, reasoning_tokens, reported_cost, first_token_at"
    assert one_call(names, of) == (0, *[None] * 7)


def test_anthropics_own_count_is_quarantined(ingested, lake_rows):
    liar = span(1, CHAT | USAGE | {"gen_ai.usage.cache_read.input_tokens": 5000})
    result = ingested(liar, span(2))
    assert counted(result) == (2, 1, 1, 0)
    assert lake_rows("quarantined_rows", "column_name, reason") == [("cache_read_tokens", "cached above input")]


def test_anthropics_own_count_is_right_where_it_is_declared(ingested, lake_rows):
    liar = span(1, CHAT | USAGE | {"gen_ai.usage.cache_read.input_tokens": 5000})
    result = ingested(liar, token_convention=(False, None))
    assert counted(result) == (1, 1, 0, 0)
    assert lake_rows("llm_calls", BUCKETS) == [(1000, 5000, None, None)]


def test_unknown_usage_is_kept_and_named(one_call):
    of = CHAT | USAGE
    of |= {"gen_ai.usage.image_tokens": 7, "llm.token_count.video": 1.5, "gen_ai.usage.note": MARKER}
    of |= {"gen_ai.usage.input_cost": 0.5, "llm.token_count.total": 1100}
    [text] = one_call("unmapped_usage", of)
    assert json.loads(text) == {"gen_ai.usage.image_tokens": 7, "llm.token_count.video": 1.5}


def test_a_total_alone_is_not_split_but_kept(one_call):
    names = "uncached_input_tokens, output_text_tokens, unmapped_usage"
    found = one_call(names, CHAT | {"llm.usage.total_tokens": 1100})
    assert found == (None, None, '{"total_tokens": 1100}')


def test_the_total_of_an_embedding_is_its_input(one_call):
    of = {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "e", "gen_ai.usage.total_tokens": 12}
    names = "call_kind, uncached_input_tokens, output_text_tokens, unmapped_usage"
    assert one_call(names, of) == ("embedding", 12, None, None)


@pytest.mark.parametrize("key", ["gen_ai.usage.cost", "llm.cost.total"])
def test_costs_are_exact_dollars(one_call, key):
    found = one_call("reported_cost, reported_currency, unmapped_usage", CHAT | USAGE | {key: 0.000012})
    assert found == (Decimal("0.000012"), "USD", None)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ({"gen_ai.operation.name": "chat"}, ("llm", None)),
        ({"gen_ai.operation.name": "text_completion"}, ("llm", None)),
        ({"gen_ai.operation.name": "generate_content"}, ("llm", None)),
        ({"gen_ai.operation.name": "embeddings"}, ("embedding", None)),
        ({"gen_ai.operation.name": "retrieval", "gen_ai.data_source.id": "kb"}, ("retrieval", "kb")),
        ({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}, ("tool", "search")),
        ({"openinference.span.kind": "LLM"}, ("llm", None)),
        ({"openinference.span.kind": "EMBEDDING"}, ("embedding", None)),
        ({"openinference.span.kind": "TOOL", "tool.name": "search"}, ("tool", "search")),
        ({"openinference.span.kind": "RETRIEVER"}, ("retrieval", "documents")),
        ({"openinference.span.kind": "RERANKER"}, ("rerank", None)),
        ({"openinference.span.kind": "GUARDRAIL"}, ("guardrail", "documents")),
        ({"openinference.span.kind": "EVALUATOR", "llm.token_count.prompt": 9}, ("judge", None)),
        ({"traceloop.span.kind": "tool", "traceloop.entity.name": "search"}, ("tool", "search")),
        ({"llm.request.type": "chat"}, ("llm", None)),
        # older instrumentations without an operation
        ({"gen_ai.system": "openai", "gen_ai.usage.prompt_tokens": 9}, ("llm", None)),
        ({"gen_ai.operation.name": "chat", "pertask.call_kind": "judge"}, ("judge", None)),
    ],
)
def test_the_kind_of_a_call(one_call, of, expected):
    assert one_call("call_kind, tool_name", of, name="retrieval documents") == expected


@pytest.mark.parametrize(
    "of",
    [
        {"http.request.method": "POST", "url.full": "https://api.openai.com/v1"},
        {"db.system.name": "postgresql"},
        {"gen_ai.operation.name": "create_agent"},
        {"gen_ai.operation.name": "invoke_workflow"},
        {"openinference.span.kind": "CHAIN"},
        {"openinference.span.kind": "EVALUATOR"},
        {"traceloop.span.kind": "workflow"},
        {},
    ],
)
def test_spans_that_are_no_call(ingested, skip_reasons, of):
    assert counted(ingested(span(1, of))) == (1, 0, 0, 1)
    assert skip_reasons() == {"no call": 1}


def test_a_tool_has_no_model_and_no_provider(one_call):
    names = "call_kind, tool_name, provider, model, uncached_input_tokens"
    assert one_call(names, TOOL | {"gen_ai.system": "openai"}) == ("tool", "search", None, None, None)


def test_a_tool_without_a_name_is_called_like_its_span(one_call):
    assert one_call("tool_name", {"gen_ai.operation.name": "execute_tool"}, name="execute_tool find") == ("find",)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ({"gen_ai.provider.name": "aws.bedrock", "gen_ai.system": "x"}, ("aws.bedrock", "asked")),
        ({"gen_ai.system": "anthropic", "gen_ai.response.model": "got"}, ("anthropic", "got")),
        ({"llm.provider": "azure", "llm.system": "openai", "gen_ai.response.model": ""}, ("azure", "asked")),
        ({"llm.system": "openai"}, ("openai", "asked")),
    ],
)
def test_provider_and_model(one_call, of, expected):
    of = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "asked"} | USAGE | of
    assert one_call("provider, model", of) == expected


# Outcome


@pytest.mark.parametrize(
    ("changes", "extra", "expected"),
    [
        ({"status": {}}, {}, ("success", None)),
        ({"status": {"code": 1}}, {}, ("success", None)),
        ({"status": {"code": 2, "message": MARKER}}, {}, ("failed", None)),
        ({"status": {"code": "STATUS_CODE_ERROR"}}, {}, ("failed", None)),
        ({}, {"error.type": "RateLimitError"}, ("failed", "RateLimitError")),
        ({}, {"error.type": "openai.error:429"}, ("failed", "openai.error:429")),
        # a text is no code
        ({}, {"error.type": f"the prompt {MARKER} is too long"}, ("failed", "_OTHER")),
        # a content filter's answer is an answer, and is billed
        ({}, {"gen_ai.response.finish_reasons": ["content_filter"]}, ("success", None)),
    ],
)
def test_outcomes(tmp_path, one_call, changes, extra, expected):
    assert one_call("status, error_type", CHAT | USAGE | extra, **changes) == expected
    assert_nowhere(tmp_path / "lake")


def test_a_failed_call_without_usage_is_a_call(one_call):
    names = "status, error_type, uncached_input_tokens, output_text_tokens"
    found = one_call(names, CHAT | {"error.type": "timeout"}, status={"code": 2})
    assert found == ("failed", "timeout", None, None)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, (f"{TRACE}:{span_id(1)}", 1)),
        ({"http.request.resend_count": 2}, (f"{TRACE}:{span_id(1)}", 3)),
        ({"pertask.attempt_number": 2, "pertask.call_id": "c1"}, ("c1", 2)),
        # two requests are not one call where nothing tells them apart
        ({"call_id": "c1"}, (f"{TRACE}:{span_id(1)}", 1)),
    ],
)
def test_attempts(one_call, extra, expected):
    assert one_call("call_id, attempt_number", CHAT | USAGE | extra) == expected


# Labels and resources

LABELS = {
    "task_id": "t1",
    "task_type": "ticket",
    "step_name": "answer",
    "step_index": 2,
    "call_kind": "judge",
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
    "router_confidence": 0.93,
    "tool_call_count": 3,
    "replica_id": "replica-1",
    "deployment_id": "d1",
    "region": "ap-south-1",
    "service_tier": "batch",
    "parent_call_id": "c0",
}


@pytest.mark.parametrize("prefix", ["", "pertask.", "traceloop.association.properties."])
def test_labels_become_columns(one_call, prefix):
    of = CHAT | USAGE | {prefix + key: one for key, one in LABELS.items()}
    assert one_call(", ".join(LABELS), of) == tuple(LABELS.values())


def test_labels_in_openinferences_metadata(one_call):
    metadata = json.dumps(LABELS | {"secret": MARKER, "task_id": {"odd": 1}})
    of = CHAT | USAGE | {"metadata": metadata, "team": "span"}
    expected = [one for name, one in (LABELS | {"team": "span"}).items() if name != "task_id"]
    assert one_call(", ".join(name for name in LABELS if name != "task_id"), of) == tuple(expected)


def test_metadata_that_is_no_json_costs_nothing(one_call):
    assert one_call("task_id_origin, team", CHAT | USAGE | {"metadata": "{half", "team": "t"}) == ("trace", "t")


def test_the_span_goes_before_its_resource(tmp_path, ingested, lake_rows):
    resource = {
        "service.name": "desk",
        "deployment.environment": "old-name",
        "deployment.environment.name": "production",
        "service.version": "1.2",
        "cloud.region": "eu-west-1",
        "pertask.task_type": "ticket",
        "team": "support",
        "call_id": "never from a process",
    }
    own = {"application": "span", "pertask.task_type": "chat", "team": "", "deployment.environment": "test"}
    ingested(span(1), span(2, CHAT | USAGE | own), resource=resource)
    names = "span_id, application, environment, release, region, task_type, team, call_id"
    assert lake_rows("llm_calls", names) == [
        (span_id(1), "desk", "production", "1.2", None, "ticket", "support", f"{TRACE}:{span_id(1)}"),
        (span_id(2), "span", "test", "1.2", None, "chat", "support", f"{TRACE}:{span_id(2)}"),
    ]


@pytest.mark.parametrize(
    ("of", "changes", "expected"),
    [
        ({"task_id": "t1", "session.id": "s1"}, {}, ("t1", "task")),
        ({"session.id": "s1"}, {}, (TRACE, "trace")),
    ],
)
def test_what_stands_for_the_task(one_call, of, changes, expected):
    assert one_call("task_id, task_id_origin", CHAT | USAGE | of, **changes) == expected


@pytest.mark.parametrize("key", ["gen_ai.conversation.id", "session.id", "session_id"])
def test_the_session_stands_in_without_a_trace(one_call, key):
    found = one_call("task_id, task_id_origin, trace_id", CHAT | USAGE | {key: "s1"}, traceId="")
    assert found == ("s1", "session", None)


@pytest.mark.parametrize(("key", "value"), [("user.id", "u1"), ("enduser.id", "u1"), ("customer", "u1")])
def test_the_customer(one_call, key, value):
    assert one_call("customer", CHAT | USAGE | {key: value}) == (value,)


@pytest.mark.parametrize(("asked", "expected"), [("flex", "flex"), ("auto", None)])
def test_an_asked_tier_counts_where_the_response_does_not_say(one_call, asked, expected):
    assert one_call("service_tier", CHAT | USAGE | {"openai.request.service_tier": asked}) == (expected,)


def test_tags_of_openinference(one_call):
    [tags] = one_call("tags", CHAT | USAGE | {"tag.tags": ["a", 'quoted "b"']})
    assert json.loads(tags) == ["a", 'quoted "b"']


# Ids


@pytest.mark.parametrize(
    ("trace", "own", "parent"),
    [
        (TRACE, "00f067aa0ba902b7", "00f067aa0ba902b8"),
        (TRACE.upper(), "00F067AA0BA902B7", "00F067AA0BA902B8"),
        *(
            tuple(encode(bytes.fromhex(one)).decode() for one in (TRACE, "00f067aa0ba902b7", "00f067aa0ba902b8"))
            for encode in (
                base64.b64encode,
                base64.urlsafe_b64encode,
                lambda raw: base64.b64encode(raw).rstrip(b"="),
            )
        ),
    ],
)
def test_ids_are_lower_case_hexadecimal(ingested, lake_rows, skip_reasons, trace, own, parent):
    ids = {"traceId": trace}
    ingested(span(1, **ids, spanId=parent), span(2, **ids, spanId=own, parentSpanId=parent))
    assert lake_rows("llm_calls", "trace_id, span_id") == [(TRACE, "00f067aa0ba902b7")]
    assert skip_reasons() == {"repeats its children": 1}


@pytest.mark.parametrize("zero", ["", "0" * 16, "AAAAAAAAAAA=", None])
def test_a_zero_parent_is_none(ingested, zero):
    # Spans without a proper id of their own have no children.
    result = ingested(span(1, spanId=zero), span(2, parentSpanId=zero))
    assert counted(result) == (2, 2, 0, 0)


def test_spans_without_ids_get_a_hash_and_twins_survive(ingested, lake_rows):
    bare = {"traceId": "", "spanId": ""}
    result = ingested(span(1, **bare), span(1, **bare), span(1, CHAT | {"gen_ai.usage.input_tokens": 5}, **bare))
    assert counted(result) == (3, 3, 0, 0)
    assert lake_rows("llm_calls", "count(distinct call_id), bool_and(starts_with(call_id, 'h_'))") == [(3, True)]


# Who repeats whom


def loaded(lake_rows) -> list[int]:
    return [int(own, 16) for (own,) in lake_rows("llm_calls", "span_id")]


def test_agents_and_wrappers_repeat_their_children(ingested, lake_rows, skip_reasons):
    summed = {"gen_ai.usage.input_tokens": 2000, "gen_ai.usage.output_tokens": 200}
    result = ingested(
        span(1, AGENT | summed),
        # a framework's span around the vendor library's, with an HTTP span between
        span(2, CHAT | USAGE, parent=1),
        span(3, {"http.request.method": "POST"}, parent=2),
        span(4, CHAT | USAGE, parent=3),
        span(5, CHAT | USAGE, parent=1),
        span(6, TOOL, parent=1),
    )
    assert counted(result) == (6, 3, 0, 3)
    assert loaded(lake_rows) == [4, 5, 6]
    assert skip_reasons() == {"repeats its children": 2, "no call": 1}
    assert result.message == ""


def test_children_may_stand_before_their_parents_and_in_other_requests(tmp_path, lake_rows):
    path = write_json_lines(tmp_path / "a.jsonl", [request(span(2, parent=1)), request(span(1))])
    bring(tmp_path, path)
    assert loaded(lake_rows) == [2]


def test_equal_span_ids_of_two_traces_or_two_files_are_not_related(tmp_path, lake_rows):
    write_json_lines(tmp_path / "in" / "a.jsonl", [request(span(1), span(2, parent=1, traceId="f" * 32))])
    write_json_lines(tmp_path / "in" / "b.jsonl", [request(span(3, parent=1))])
    results = ingest(tmp_path / "lake", [IngestRequest("gateway", tmp_path / "in", "auto")])
    assert [(one.rows_loaded, one.rows_skipped) for one in results] == [(2, 0), (1, 0)]
    assert loaded(lake_rows) == [1, 2, 3]


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 8, 9, 31])
def test_a_descendant_at_any_depth(ingested, lake_rows, depth):
    middle = [span(number, {}, parent=number - 1) for number in range(2, depth + 1)]
    result = ingested(span(1), *middle, span(depth + 1, parent=depth))
    assert loaded(lake_rows) == [depth + 1]
    assert result.message == ""


def test_a_chain_of_calls_leaves_the_last(ingested, lake_rows):
    result = ingested(*[span(number, parent=number - 1) for number in range(1, 301)])
    assert counted(result) == (300, 1, 0, 299)
    assert loaded(lake_rows) == [300]


def test_a_span_that_is_its_own_parent_is_a_leaf(ingested):
    assert counted(ingested(span(1, parent=1))) == (1, 1, 0, 0)


def test_a_parent_that_came_twice_is_skipped_twice(ingested, lake_rows):
    result = ingested(span(1), span(1), span(2, parent=1), span(2, parent=1))
    assert counted(result) == (4, 2, 0, 2)
    assert lake_rows("llm_calls", "distinct span_id") == [(span_id(2),)]


def test_a_zero_is_no_usage(ingested, lake_rows):
    # The inner span's stream ended without its usage.
    zero = {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0}
    ingested(span(1), span(2, CHAT | zero, parent=1), span(3, CHAT | zero), span(4, parent=3))
    assert loaded(lake_rows) == [1, 4]


def test_a_wrapper_without_usage_is_the_same_call(ingested, lake_rows, skip_reasons):
    ingested(span(1, CHAT), span(2, parent=1), span(3), span(4, CHAT, parent=3))
    assert loaded(lake_rows) == [2, 3]
    assert skip_reasons() == {"repeats its children": 1, "repeats its parent": 1}


def test_a_failed_attempt_inside_a_call_is_an_attempt(ingested, lake_rows):
    failed = CHAT | {"error.type": "429"}
    ingested(span(1), span(2, failed, parent=1), span(3, failed), span(4, failed, parent=3))
    assert lake_rows("llm_calls", "span_id, status") == [
        (span_id(1), "success"),
        (span_id(2), "failed"),
        (span_id(4), "failed"),
    ]


def test_a_tool_that_calls_a_model_stays_a_tool_without_tokens(ingested, lake_rows):
    ingested(span(1, TOOL | USAGE), span(2, parent=1), span(3, TOOL | USAGE))
    assert lake_rows("llm_calls", "span_id, call_kind, uncached_input_tokens, output_text_tokens") == [
        (span_id(1), "tool", None, None),
        (span_id(2), "llm", 1000, 100),
        (span_id(3), "tool", 1000, 100),
    ]


def test_a_retriever_and_its_embedding_are_two_calls(ingested, lake_rows):
    embedding = {"openinference.span.kind": "EMBEDDING", "embedding.model_name": "e", "llm.token_count.prompt": 5}
    ingested(span(1, {"openinference.span.kind": "RETRIEVER"}, name="kb"), span(2, embedding, parent=1))
    assert lake_rows("llm_calls", "call_kind, tool_name, model, uncached_input_tokens") == [
        ("embedding", None, "e", 5),
        ("retrieval", "kb", None, None),
    ]


def test_a_call_around_a_tool_that_calls_a_model_is_a_call_of_its_own(ingested, lake_rows):
    ingested(span(1), span(2, TOOL, parent=1), span(3, parent=2))
    assert loaded(lake_rows) == [1, 2, 3]


@pytest.mark.parametrize(("depth", "tool"), [(3, 2), (4, 2), (4, 3), (5, 2), (5, 3), (5, 4), (9, 2), (9, 5), (9, 8)])
def test_it_is_one_at_any_depth(ingested, lake_rows, depth, tool):
    middle = [span(number, TOOL if number == tool else AGENT, parent=number - 1) for number in range(2, depth)]
    ingested(span(1), *middle, span(depth, parent=depth - 1))
    assert loaded(lake_rows) == [1, tool, depth]


def test_what_one_span_says_of_the_task_holds_for_its_trace(ingested, lake_rows):
    root = AGENT | {"pertask.task_id": "T-1", "pertask.team": "support", "pertask.task_type": "ticket"}
    other = CHAT | USAGE | {"pertask.task_type": "chat"}
    ingested(span(1, root), span(2, parent=1), span(3, other, parent=1))
    assert lake_rows("llm_calls", "span_id, task_id, task_id_origin, team, task_type") == [
        (span_id(2), "T-1", "task", "support", None),
        (span_id(3), "T-1", "task", "support", "chat"),
    ]


def test_an_agent_with_usage_and_no_call_below_is_the_call(ingested, lake_rows, skip_reasons):
    ingested(span(1, AGENT | USAGE), span(2, AGENT | USAGE, parent=1), span(3, TOOL, parent=2))
    assert skip_reasons() == {"repeats its children": 1}
    assert lake_rows("llm_calls", "span_id, call_kind, uncached_input_tokens") == [
        (span_id(2), "llm", 1000),
        (span_id(3), "tool", None),
    ]


def test_a_call_around_an_embedding_keeps_its_own_usage(ingested, lake_rows):
    embedding = {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "e", "gen_ai.usage.input_tokens": 5}
    ingested(span(1), span(2, embedding, parent=1), span(3, embedding), span(4, embedding, parent=3))
    assert lake_rows("llm_calls", "span_id, call_kind, uncached_input_tokens") == [
        (span_id(1), "llm", 1000),
        (span_id(2), "embedding", 5),
        (span_id(4), "embedding", 5),
    ]


# Files

FLAT = "call_id, task_id, started_at, provider, model, uncached_input_tokens, cache_read_tokens, application, status"


def snake_case(of: object) -> object:
    """A request with protobuf's own names."""
    if isinstance(of, list):
        return [snake_case(one) for one in of]
    if isinstance(of, dict):
        return {"".join(f"_{c.lower()}" if c.isupper() else c for c in key): snake_case(v) for key, v in of.items()}
    return of


def renamed(of: dict, name: str, scopes: str) -> dict:
    [part] = of["resourceSpans"]
    return {name: [{"resource": part["resource"], scopes: part["scopeSpans"]}]}


def sample() -> dict:
    """A request with a call whose columns do not depend on how it is written."""
    of = CHAT | USAGE | {"gen_ai.usage.cache_read.input_tokens": 400, "task_id": "t1"}
    return request(span(1, AGENT), span(2, of, parent=1), resource={"service.name": "desk"})


def write_text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", json.dumps(sample())),
        ("a.json", json.dumps(sample())),
        ("a.json", json.dumps(sample(), indent=2)),
        ("a.json", json.dumps([sample()])),
        ("a.json", json.dumps(sample()) + "\n" + json.dumps({"resourceSpans": []}) + "\n"),
        ("a.jsonl", json.dumps(snake_case(sample()))),
        ("a.json", json.dumps(snake_case(sample()), indent=1)),
        ("a.jsonl", json.dumps(renamed(sample(), "resourceSpans", "instrumentationLibrarySpans"))),
        ("a.jsonl", json.dumps(renamed(sample(), "resource_spans", "instrumentation_library_spans"))),
        ("a.json", json.dumps(renamed(sample(), "batches", "scopeSpans"))),
        ("a.jsonl", json.dumps(sample()).replace('"1000"', "1000").replace('"400"', "400")),
    ],
)
@pytest.mark.parametrize("is_large", [False, True])
def test_every_way_of_writing_it(tmp_path, lake_rows, monkeypatch, name, text, is_large):
    if is_large:
        monkeypatch.setattr(reading, "_SMALL_BYTES", 0)
    result = bring(tmp_path, write_text(tmp_path / name, text))

    assert (result.format, *counted(result), result.message) == ("otlp", 2, 1, 0, 1, "")
    started = datetime(2026, 8, 1, 10, 0, 0, 123456, tzinfo=UTC)
    found = (f"{TRACE}:{span_id(2)}", "t1", started, "openai", "gpt-4o", 600, 400, "desk", "success")
    assert lake_rows("llm_calls", FLAT) == [found]


def test_lines_longer_than_the_head_in_a_file_named_json(tmp_path, lake_rows):
    text = "x" * reading._HEAD_BYTES
    lines = [json.dumps(request(span(n, CHAT | USAGE | {"gen_ai.input.messages": text}))) for n in (1, 2)]
    result = bring(tmp_path, write_lines(tmp_path / "traces.json", lines))
    assert (result.format, *counted(result)) == ("otlp", 2, 2, 0, 0)

    result = bring(tmp_path, write_text(tmp_path / "document.json", lines[0].replace(TRACE, "e" * 32)))
    assert (result.format, *counted(result)) == ("otlp", 1, 1, 0, 0)


def test_gzip(tmp_path):
    path = tmp_path / "spans.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(sample()).encode()))
    assert counted(bring(tmp_path, path)) == (2, 1, 0, 1)


def test_one_file_for_all_signals(tmp_path, skip_reasons):
    rows = [{"resourceMetrics": [{"scopeMetrics": []}]}, sample(), {"resourceLogs": []}]
    result = bring(tmp_path, write_json_lines(tmp_path / "all.jsonl", rows))
    assert (result.format, *counted(result)) == ("otlp", 4, 1, 0, 3)
    assert skip_reasons() == {"metrics or logs": 2, "no call": 1}


@pytest.mark.parametrize("text", ['{"resourceMetrics": []}', '{"batches": [1]}', '{"spans": []}', '{"data": {}}'])
def test_other_json_is_not_mine(tmp_path, text):
    from ingest.formats import otlp

    assert not otlp.sniff(read_head(write_text(tmp_path / "a.jsonl", text)))


def test_a_request_is_sniffed_as_mine(tmp_path):
    assert sniff(read_head(write_json_lines(tmp_path / "a.jsonl", [sample()]))) == "otlp"


# Bad rows

QUARANTINE = "line_number, column_name, reason"


@pytest.mark.parametrize(
    ("changes", "column", "reason"),
    [
        ({"startTimeUnixNano": "1785578400"}, "started_at", "not a time"),
        ({"startTimeUnixNano": 1785578400123}, "started_at", "not a time"),
        ({"startTimeUnixNano": "1785578400123456"}, "started_at", "not a time"),
        ({"startTimeUnixNano": "soon"}, "started_at", "not a time"),
        ({"startTimeUnixNano": "0"}, "started_at", "missing"),
        ({"startTimeUnixNano": None}, "started_at", "missing"),
        ({"endTimeUnixNano": str(START - 10**9)}, "ended_at", "before started_at"),
        ({"of": {"gen_ai.usage.input_tokens": -1}}, "input_tokens", "negative"),
        ({"of": {"gen_ai.usage.input_tokens": "many"}}, "input_tokens", "not a whole number"),
        ({"of": {"gen_ai.usage.input_tokens": 12.5}}, "input_tokens", "not a whole number"),
        ({"of": {"gen_ai.usage.input_tokens": 10**30}}, "input_tokens", "not a whole number"),
        ({"of": {"gen_ai.usage.cache_read.input_tokens": 1001}}, "cache_read_tokens", "cached above input"),
        (
            {"of": {"gen_ai.usage.reasoning.output_tokens": 101}},
            "output_tokens",
            "parts add up to more than the whole",
        ),
        ({"of": {"gen_ai.usage.cost": "1.2.3"}}, "reported_cost", "not a number"),
        ({"of": {"step_index": "third"}}, "step_index", "not a whole number"),
        ({"of": {"call_kind": "dance"}}, "call_kind", "not one of the known values"),
    ],
)
@pytest.mark.parametrize("is_large", [False, True])
def test_a_wrong_value_costs_its_span_only(tmp_path, lake_rows, monkeypatch, changes, column, reason, is_large):
    if is_large:
        monkeypatch.setattr(reading, "_SMALL_BYTES", 0)
    changes = dict(changes)
    bad = span(2, CHAT | USAGE | changes.pop("of", {}), **changes)
    path = write_json_lines(tmp_path / "a.jsonl", [request(span(1)), request(span(3), bad, span(4))])
    result = bring(tmp_path, path)

    assert counted(result) == (4, 3, 1, 0)
    assert lake_rows("quarantined_rows", QUARANTINE) == [(2, column, reason)]


@pytest.mark.parametrize(
    ("record", "column"),
    [
        ({}, "resourceSpans"),
        ({"resourceSpans": None}, "resourceSpans"),
        ({"resourceSpans": "text"}, "resourceSpans"),
        ({"resourceSpans": [None]}, "scopeSpans"),
        ({"resourceSpans": [{"resource": {}}]}, "scopeSpans"),
        ({"resourceSpans": [{"scopeSpans": [{"scope": {}}]}]}, "spans"),
        ({"resourceSpans": [{"scopeSpans": [{"spans": [None]}]}]}, "span"),
        ({"resourceSpans": [{"scopeSpans": [{"spans": ["text"]}]}]}, "span"),
    ],
)
@pytest.mark.parametrize("is_large", [False, True])
def test_what_cannot_be_taken_apart_is_not_lost(tmp_path, lake_rows, monkeypatch, record, column, is_large):
    if is_large:
        monkeypatch.setattr(reading, "_SMALL_BYTES", 0)
    path = write_json_lines(tmp_path / "a.jsonl", [request(span(1)), record, request(span(2))])
    result = bring(tmp_path, path)

    assert counted(result) == (3, 2, 1, 0)
    assert lake_rows("quarantined_rows", QUARANTINE) == [(2, column, "missing")]


def test_empty_lists_are_no_rows(tmp_path):
    rows = [{"resourceSpans": []}, {"resourceSpans": [{"scopeSpans": []}]}, request(), request(span(1))]
    assert counted(bring(tmp_path, write_json_lines(tmp_path / "a.jsonl", rows))) == (1, 1, 0, 0)


@pytest.mark.parametrize("is_large", [False, True])
def test_attributes_of_odd_shapes_cost_nothing(tmp_path, lake_rows, monkeypatch, is_large):
    if is_large:
        monkeypatch.setattr(reading, "_SMALL_BYTES", 0)
    odd = span(1)
    odd["attributes"] += [
        {"key": "gen_ai.request.model", "value": {"stringValue": "a second model"}},
        {"key": "team"},
        {"key": "customer", "value": {}},
        {"key": "region", "value": "bare text"},
        {"key": None, "value": {"stringValue": "x"}},
        {"value": {"stringValue": "x"}},
        {"key": "metadata", "value": {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}]}}},
        None,
    ]
    path = write_json_lines(tmp_path / "a.jsonl", [request(odd), request({**span(2), "attributes": None})])
    assert counted(bring(tmp_path, path)) == (2, 1, 0, 1)
    assert lake_rows("llm_calls", "model, team, customer, region") == [("gpt-4o", None, None, None)]


def test_spans_of_a_document_are_numbered(tmp_path, lake_rows):
    bad = [span(n, CHAT | {"gen_ai.usage.input_tokens": -1}) if n % 3 == 0 else span(n) for n in range(1, 10)]
    documents = [request(*bad[:4]), request(*bad[4:])]
    result = bring(tmp_path, write_text(tmp_path / "a.json", json.dumps(documents)))
    assert counted(result) == (9, 6, 3, 0)
    assert lake_rows("quarantined_rows", "line_number") == [(3,), (6,), (9,)]


@pytest.mark.parametrize("is_large", [False, True])
def test_no_text_of_a_span_reaches_the_lake_or_a_message(tmp_path, lake_rows, monkeypatch, is_large):
    if is_large:
        monkeypatch.setattr(reading, "_SMALL_BYTES", 0)
    secret = {
        "gen_ai.input.messages": MARKER,
        "gen_ai.output.messages": MARKER,
        "gen_ai.system_instructions": MARKER,
        "gen_ai.prompt.0.content": MARKER,
        "gen_ai.completion.0.content": MARKER,
        "gen_ai.tool.call.arguments": MARKER,
        "llm.input_messages.0.message.content": MARKER,
        "input.value": MARKER,
        "output.value": MARKER,
        "client.address": MARKER,
        "user_agent.original": MARKER,
        "exception.message": MARKER,
        "metadata": json.dumps({"note": MARKER}),
    }
    around = {
        "events": [{"name": MARKER, "attributes": attributes(secret)}],
        "links": [{"attributes": attributes(secret)}],
        "status": {"code": 2, "message": MARKER},
        "traceState": MARKER,
    }
    good = [
        span(1, CHAT | USAGE | secret, **around),
        span(2, TOOL | secret, **around),
        span(3, AGENT | USAGE | secret, **around),
        span(4, CHAT | USAGE | secret, traceId="", **around),
    ]
    bad = [
        span(5, CHAT | USAGE | secret | {"gen_ai.usage.input_tokens": MARKER}, **around),
        span(6, CHAT | USAGE | secret, **(around | {"startTimeUnixNano": MARKER})),
        MARKER,
    ]
    lines = [
        json.dumps(request(*good, *bad, resource=secret)),
        json.dumps({"resourceSpans": MARKER}),
        f'{{"half": "{MARKER}',
    ]
    result = bring(tmp_path, write_lines(tmp_path / "a.jsonl", lines))

    assert counted(result) == (9, 4, 5, 0)
    assert MARKER not in result.message
    assert_nowhere(tmp_path / "lake")


@pytest.mark.parametrize("is_large", [False, True])
def test_a_half_written_line(tmp_path, lake_rows, monkeypatch, is_large):
    if is_large:
        monkeypatch.setattr(reading, "_SMALL_BYTES", 0)
    lines = [json.dumps(request(span(1))), json.dumps(request(span(2)))[:-9], "", json.dumps(request(span(3)))]
    result = bring(tmp_path, write_lines(tmp_path / "a.jsonl", lines))
    assert counted(result) == (3, 2, 1, 0)
    assert lake_rows("quarantined_rows", QUARANTINE) == [(2, None, "not valid JSON")]
