"""Helicone's requests: what its fields mean, in the table's spelling and in the API's."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest import reading
from tests.python.conftest import write_json_lines
from tests.python.ingest.helpers import MARKER, assert_nowhere, bring, write_csv, write_lines

NO_ID = "00000000-0000-0000-0000-000000000000"
RESPONSE_ID = "3f0e2a44-1111-4222-8333-444455556666"
INPUT = "uncached_input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, audio_input_tokens"
OUTPUT = "output_text_tokens, reasoning_tokens, audio_output_tokens"
QUARANTINE = "line_number, column_name, reason"


def request_row(request_id: str | None = "q1", **changes: object) -> dict:
    """A row of the table ``request_response_rmt``, as ClickHouse exports it."""
    return {
        "response_id": RESPONSE_ID,
        "response_created_at": "2026-08-01 10:00:02.500",
        "latency": 2500,
        "status": 200,
        "completion_tokens": 100,
        "prompt_tokens": 600,
        "prompt_cache_write_tokens": 50,
        "prompt_cache_read_tokens": 300,
        "prompt_audio_tokens": 0,
        "completion_audio_tokens": 0,
        "reasoning_tokens": 40,
        "model": "gpt-4o",
        "request_id": request_id,
        "request_created_at": "2026-08-01 10:00:00.000",
        "user_id": "",
        "organization_id": NO_ID,
        "proxy_key_id": NO_ID,
        "threat": False,
        "time_to_first_token": 300,
        "provider": "OPENAI",
        "country_code": "DE",
        "target_url": "https://api.openai.com/v1/chat/completions",
        "properties": {},
        "scores": {},
        "request_body": "{}",
        "response_body": "{}",
        "assets": [],
        "updated_at": "2026-08-01 10:00:03.000",
        "cache_reference_id": NO_ID,
        "cache_enabled": False,
        "cost": 3_500_123,
        "prompt_version": "",
        **changes,
    }


def api_row(request_id: str = "q1", **changes: object) -> dict:
    """The same request as the API and its export tool spell it."""
    return {
        "response_id": RESPONSE_ID,
        "response_body": {},
        "response_created_at": "2026-08-01T10:00:02.500Z",
        "response_status": 200,
        "request_id": request_id,
        "request_body": {},
        "request_created_at": "2026-08-01T10:00:00.000Z",
        "request_user_id": "acme",
        "request_properties": {"team": "fraud"},
        "provider": "OPENAI",
        "delay_ms": 2500,
        "request_model": "gpt-4o",
        "time_to_first_token": 300,
        "total_tokens": 700,
        "completion_tokens": 100,
        "prompt_tokens": 600,
        "prompt_cache_read_tokens": 300,
        "prompt_cache_write_tokens": 50,
        "properties": {"team": "fraud"},
        "target_url": "https://api.openai.com/v1/chat/completions",
        "cache_reference_id": NO_ID,
        "cost": 0.003500123,
        "updated_at": "2026-08-01T10:00:03.000Z",
        **changes,
    }


@pytest.fixture
def one_call(tmp_path, lake_rows):
    """Ingest one row of the table and return the named columns of its call."""

    def columns(names: str, make=request_row, **changes: object) -> tuple:
        result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", [make(**changes)]))
        assert result.format == "helicone"
        assert result.rows_loaded == 1, lake_rows("quarantined_rows", "column_name, reason")
        return lake_rows("llm_calls", names)[0]

    return columns


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (3_500_123, Decimal("0.003500123")),
        ("3500123", Decimal("0.003500123")),
        (1, Decimal("0.000000001")),
        (0, Decimal(0)),
        ("9007199254740993", Decimal("9007199.254740993")),
        # a whole number that went through a float
        (3_500_123.0, Decimal("0.003500123")),
        ("350000.000", Decimal("0.00035")),
    ],
)
def test_the_tables_cost_is_in_billionths_of_a_dollar(one_call, cost, expected):
    assert one_call("reported_cost, reported_currency", cost=cost) == (expected, "USD")


@pytest.mark.parametrize(
    ("cost", "expected"),
    [(0.003500123, Decimal("0.003500123")), (3.5e-7, Decimal("0.00000035")), (2, Decimal(2)), (0, Decimal(0))],
)
def test_the_apis_cost_is_in_dollars(one_call, cost, expected):
    assert one_call("reported_cost, reported_currency", api_row, cost=cost) == (expected, "USD")


def test_a_cost_that_is_not_there_is_null(one_call):
    assert one_call("reported_cost, reported_currency", cost=None) == (None, None)


@pytest.mark.parametrize(
    ("cost", "column", "reason"),
    [
        (0.0035, "reported_cost", "has a fraction, so it is not in billionths of a dollar"),
        ("3500123.5", "reported_cost", "has a fraction, so it is not in billionths of a dollar"),
        ("free", "reported_cost", "not a number"),
        (1e30, "reported_cost", "not a number"),
        (-5, "reported_cost", "negative"),
    ],
)
def test_a_cost_in_another_unit_is_no_guess(tmp_path, lake_rows, cost, column, reason):
    rows = [request_row("q1"), request_row("q2", cost=cost), request_row("q3")]
    result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", rows))

    assert (result.rows_loaded, result.rows_quarantined) == (2, 1)
    assert lake_rows("quarantined_rows", QUARANTINE) == [(2, column, reason)]


def test_prompt_tokens_are_fresh_and_the_cache_is_beside_them(one_call):
    assert one_call(INPUT) == (600, 300, 50, None, 0)


def test_more_from_the_cache_than_fresh_is_normal(one_call):
    assert one_call(INPUT, prompt_tokens=10, prompt_cache_read_tokens=9000)[:2] == (10, 9000)


@pytest.mark.parametrize(
    ("prompt", "audio", "expected"),
    [
        # audio is in the total
        (600, 200, (400, 200)),
        (600, 600, (0, 600)),
        # an older row has it beside
        (10, 200, (10, 200)),
        (0, 200, (0, 200)),
    ],
)
def test_audio_is_in_the_prompt_unless_it_cannot_be(one_call, prompt, audio, expected):
    names = "uncached_input_tokens, audio_input_tokens"
    assert one_call(names, prompt_tokens=prompt, prompt_audio_tokens=audio) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (100, 40, 0)),
        ({"reasoning_tokens": 5000}, (100, 5000, 0)),
        ({"completion_audio_tokens": 30}, (70, 40, 30)),
        ({"completion_tokens": 5, "completion_audio_tokens": 30}, (5, 40, 30)),
        # an older row has no such column: reasoning is in the total
        ({"reasoning_tokens": None, "completion_audio_tokens": None}, (100, None, None)),
    ],
)
def test_reasoning_is_beside_the_completion(one_call, changes, expected):
    assert one_call(OUTPUT, **changes) == expected


def test_a_source_may_say_that_its_prompts_include_the_cache(tmp_path, lake_rows):
    path = write_json_lines(tmp_path / "calls.jsonl", [request_row()])
    bring(tmp_path, path, token_convention=(True, None))

    assert lake_rows("llm_calls", "uncached_input_tokens, cache_read_tokens") == [(250, 300)]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, ("success", None)),
        ("201", ("success", None)),
        (299, ("success", None)),
        (300, ("failed", "http_300")),
        (400, ("failed", "http_400")),
        (429, ("failed", "http_429")),
        (503, ("failed", "http_503")),
        (-1, ("failed", "timeout")),
        (-3, ("failed", "cancelled")),
        (-4, ("failed", "threat")),
        (0, ("failed", "no_answer")),
    ],
)
@pytest.mark.parametrize(("make", "column"), [(request_row, "status"), (api_row, "response_status")])
def test_what_the_status_says(one_call, status, expected, make, column):
    assert one_call("status, error_type", make, **{column: status}) == expected


def test_a_failure_keeps_its_tokens(one_call):
    assert one_call("uncached_input_tokens, reported_cost", status=500) == (600, Decimal("0.003500123"))


def test_a_pending_request_is_skipped_and_counted(tmp_path, lake_rows):
    rows = [request_row("q1", status=-2), request_row("q2")]
    result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", rows))

    assert (result.rows_loaded, result.rows_skipped) == (1, 1)
    assert lake_rows("llm_calls", "call_id") == [("q2",)]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [(NO_ID, False), ("8d3a2f10-aaaa-4bbb-8ccc-ddddeeeeffff", True), ("", None), (None, None)],
)
def test_an_answer_of_helicones_own_cache(one_call, reference, expected):
    found = one_call("response_cache_hit, cache_read_tokens", cache_reference_id=reference)
    assert found == (expected, 300)


@pytest.mark.parametrize(
    ("response_id", "expected"),
    [(RESPONSE_ID, None), (RESPONSE_ID.upper(), None), ("chatcmpl-A1", "chatcmpl-A1"), ("", None), (None, None)],
)
def test_only_the_vendors_response_id_is_one(one_call, response_id, expected):
    assert one_call("call_id, response_id", response_id=response_id) == ("q1", expected)


def test_properties_are_labels_in_any_spelling_and_the_others_tags(one_call):
    properties = {
        "Task-Id": "t1",
        "task_type": "ticket",
        "STEP-NAME": "answer",
        "Step-Index": "2",
        "team": "fraud",
        "application": "desk",
        "Customer": "acme",
        "environment": "production",
        "call-kind": "judge",
        "retry_reason": "schema_invalid",
        "Feature": "chat",
        "Helicone-Session-Id": "s1",
        "Helicone-Session-Name": "support",
        "Helicone-Session-Path": "/answer/check",
    }
    names = (
        "task_id, task_id_origin, task_type, step_name, step_index, team, application, customer, environment, "
        "call_kind, retry_reason, tags"
    )
    assert one_call(names, properties=properties, user_id="u1") == (
        "t1",
        "task",
        "ticket",
        "answer",
        2,
        "fraud",
        "desk",
        "acme",
        "production",
        "judge",
        "schema_invalid",
        '{"Feature":"chat"}',
    )


def test_a_session_stands_in_for_what_is_not_labelled(one_call):
    properties = {"Helicone-Session-Id": "s1", "Helicone-Session-Name": "support", "Helicone-Session-Path": "/check"}
    found = one_call("task_id, task_id_origin, task_type, step_name, tags", properties=properties)
    assert found == ("s1", "session", "support", "/check", None)


@pytest.mark.parametrize(
    "properties", [{}, None, "", "not json", '{"a": "1", "a": "2"}', '{"task_id": null}', '{"task_id": ""}', "[]"]
)
def test_properties_that_say_nothing(one_call, properties):
    assert one_call("task_id, task_id_origin, task_type", properties=properties) == ("q1", "call", None)


@pytest.mark.parametrize(
    ("user", "expected"), [("acme", "acme"), ("", None), ("undefined", None), ("null", None), (None, None)]
)
def test_the_user_is_the_customer(one_call, user, expected):
    assert one_call("customer", user_id=user) == (expected,)


def test_a_labelled_attempt_is_of_its_call(tmp_path, lake_rows):
    rows = [
        request_row("q1", properties={"call_id": "c1", "attempt_number": "1"}, status=500),
        request_row("q2", properties={"call_id": "c1", "attempt_number": "2"}),
        request_row("q3", properties={"call_id": "c3"}),
        request_row("q4", properties={"call_id": "c3"}),
    ]
    bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", rows))

    assert lake_rows("llm_calls", "call_id, attempt_number, status") == [
        ("c1", 1, "failed"),
        ("c1", 2, "success"),
        ("q3", 1, "success"),
        ("q4", 1, "success"),
    ]


def test_times_are_utc_and_milliseconds(one_call):
    assert one_call("started_at, first_token_at, ended_at") == (
        datetime(2026, 8, 1, 10, tzinfo=UTC),
        datetime(2026, 8, 1, 10, 0, 0, 300_000, UTC),
        datetime(2026, 8, 1, 10, 0, 2, 500_000, UTC),
    )


@pytest.mark.parametrize("ended", [None, "", "1970-01-01 00:00:00.000"])
def test_without_an_end_the_latency_tells(one_call, ended):
    found = one_call("ended_at", response_created_at=ended, latency=1250)
    assert found == (datetime(2026, 8, 1, 10, 0, 1, 250_000, UTC),)


def test_nothing_measured_is_null(one_call):
    found = one_call("first_token_at, ended_at", response_created_at=None, latency=0, time_to_first_token=0)
    assert found == (None, None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("openai", "gpt-4o", "llm", None)),
        ({"provider": "CUSTOM"}, (None, "gpt-4o", "llm", None)),
        ({"provider": "bedrock", "model": "claude-sonnet-4-5"}, ("bedrock", "claude-sonnet-4-5", "llm", None)),
        ({"provider": "CUSTOM", "model": "tool:weather"}, (None, None, "tool", "weather")),
        ({"provider": "CUSTOM", "model": "vector_db"}, (None, None, "retrieval", "vector_db")),
        (
            {"target_url": "https://api.openai.com/v1/embeddings", "model": "text-embedding-3-small"},
            ("openai", "text-embedding-3-small", "embedding", None),
        ),
        (
            {"target_url": "https://api.cohere.com/v2/rerank?x=1", "model": "rerank-v3.5"},
            ("openai", "rerank-v3.5", "rerank", None),
        ),
    ],
)
def test_what_was_called(one_call, changes, expected):
    assert one_call("provider, model, call_kind, tool_name", **changes) == expected


def test_an_address_loses_its_key(one_call):
    address = f"https://user:{MARKER}@example.com/v1?key={MARKER}"
    assert one_call("api_base", target_url=address) == ("https://example.com/v1",)


def test_the_apis_spelling_is_the_same_call(one_call):
    names = f"call_id, started_at, ended_at, first_token_at, model, team, customer, status, {INPUT}, reported_cost"
    assert one_call(names, api_row) == (
        "q1",
        datetime(2026, 8, 1, 10, tzinfo=UTC),
        datetime(2026, 8, 1, 10, 0, 2, 500_000, UTC),
        datetime(2026, 8, 1, 10, 0, 0, 300_000, UTC),
        "gpt-4o",
        "fraud",
        "acme",
        "success",
        600,
        300,
        50,
        None,
        None,
        Decimal("0.003500123"),
    )


def test_the_newest_version_of_a_request_counts(tmp_path, lake_rows):
    versions = [
        request_row("q1", updated_at="2026-08-01 10:00:05.000", properties={"team": "newest"}),
        request_row("q1", updated_at="2026-08-01 10:00:03.000", properties={"team": "older"}),
        request_row("q2", properties={"team": "twin"}),
        request_row("q2", properties={"team": "later twin"}),
        request_row("q3", updated_at="soon", properties={"team": "unknown time"}),
        request_row("q3", properties={"team": "known time"}),
        request_row("q4", cost=0.5),
    ]
    result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", versions))

    assert (result.rows_loaded, result.rows_skipped, result.rows_quarantined) == (3, 3, 1)
    assert lake_rows("llm_calls", "call_id, team") == [("q1", "newest"), ("q2", "later twin"), ("q3", "known time")]
    assert lake_rows("quarantined_rows", "line_number") == [(7,)]


def test_a_quarantined_row_is_found_among_versions_in_a_large_file(tmp_path, lake_rows, monkeypatch):
    monkeypatch.setattr(reading, "_SMALL_BYTES", 0)
    rows = [request_row(f"q{number // 2}") for number in range(4000)]
    rows[2500] = request_row("wrong", prompt_tokens=-1)
    result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", rows))

    assert (result.rows_quarantined, result.rows_skipped) == (1, 1999)
    assert lake_rows("quarantined_rows", QUARANTINE) == [(2501, "input_tokens", "negative")]


def rows_of_every_kind() -> list[dict]:
    properties = {"task_id": "t1", "Step-Index": "1"}
    return [
        request_row("q1", properties=properties),
        request_row("q2", status=429, completion_tokens=0, reasoning_tokens=0, cost=0),
        request_row("q3", properties={"Helicone-Session-Id": "s3"}),
    ]


def as_json_lines(path: Path) -> Path:
    return write_json_lines(path.with_suffix(".jsonl"), rows_of_every_kind())


def as_json_list(path: Path) -> Path:
    path = path.with_suffix(".json")
    path.write_text(json.dumps(rows_of_every_kind(), indent=2), encoding="utf-8")
    return path


def as_json_with_text_inside(path: Path) -> Path:
    rows = [{**row, "properties": json.dumps(row["properties"])} for row in rows_of_every_kind()]
    return write_json_lines(path.with_suffix(".jsonl"), rows)


def as_csv(path: Path) -> Path:
    return write_csv(path.with_suffix(".csv"), rows_of_every_kind())


def as_parquet(path: Path) -> Path:
    columns = {name: [row[name] for row in rows_of_every_kind()] for name in request_row()}
    columns["properties"] = pa.array([list(one.items()) for one in columns["properties"]], pa.map_("string", "string"))
    columns["scores"] = pa.array([[], [], []], pa.map_("string", "int64"))
    for name in ("request_created_at", "response_created_at", "updated_at"):
        columns[name] = [datetime.fromisoformat(text) for text in columns[name]]
    pq.write_table(pa.table(columns), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


@pytest.mark.parametrize("write", [as_json_lines, as_json_list, as_json_with_text_inside, as_csv, as_parquet])
@pytest.mark.parametrize("small_bytes", [0, 1 << 23])
def test_the_same_table_in_every_kind_of_file(tmp_path, lake_rows, monkeypatch, write, small_bytes):
    monkeypatch.setattr(reading, "_SMALL_BYTES", small_bytes)
    result = bring(tmp_path, write(tmp_path / "calls"))

    assert (result.format, result.rows_loaded, result.message) == ("helicone", 3, "")
    names = f"call_id, task_id, task_id_origin, step_index, {INPUT}, {OUTPUT}, status, reported_cost"
    assert lake_rows("llm_calls", names) == [
        ("q1", "t1", "task", 1, 600, 300, 50, None, 0, 100, 40, 0, "success", Decimal("0.003500123")),
        ("q2", "q2", "call", None, 600, 300, 50, None, 0, 0, 0, 0, "failed", Decimal(0)),
        ("q3", "s3", "session", None, 600, 300, 50, None, 0, 100, 40, 0, "success", Decimal("0.003500123")),
    ]


def test_the_export_tools_csv(tmp_path, lake_rows):
    """It has no request id, and doubles the quotes of objects twice."""
    names = [
        "response_id",
        "response_created_at",
        "response_status",
        "request_created_at",
        "request_body",
        "request_properties",
        "request_user_id",
        "model",
        "prompt_tokens",
        "completion_tokens",
        "latency",
        "cost_usd",
    ]
    path = tmp_path / "output.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(names)
        row = api_row(latency=1200, cost_usd="0.0042", model="gpt-4o", request_body={"content": MARKER})
        for response_id in ("r1", "r2"):
            row |= {"response_id": response_id, "request_properties": {"task_id": "t1", "empty": "", "team": "a b"}}
            objects = ("request_body", "request_properties")
            cells = {**row, **{name: json.dumps(row[name]).replace('"', '""') for name in objects}}
            writer.writerow([cells[name] for name in names])
    result = bring(tmp_path, path)

    assert (result.format, result.rows_loaded, result.message) == ("helicone", 2, "")
    names = "call_id, task_id, team, customer, uncached_input_tokens, cache_read_tokens, status, reported_cost"
    assert lake_rows("llm_calls", names) == [
        ("r1", "t1", "a b", "acme", 600, None, "success", Decimal("0.0042")),
        ("r2", "t1", "a b", "acme", 600, None, "success", Decimal("0.0042")),
    ]
    assert_nowhere(tmp_path / "lake")


def test_an_older_table_lacks_columns(tmp_path, lake_rows):
    older = (
        "response_id",
        "response_created_at",
        "latency",
        "status",
        "completion_tokens",
        "prompt_tokens",
        "model",
        "request_id",
        "request_created_at",
        "user_id",
        "organization_id",
        "proxy_key_id",
        "threat",
    )
    result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", [{n: request_row()[n] for n in older}]))

    assert (result.format, result.rows_loaded) == ("helicone", 1)
    names = f"{INPUT}, {OUTPUT}, response_cache_hit, reported_cost, provider, first_token_at"
    assert lake_rows("llm_calls", names) == [(600, *[None] * 4, 100, *[None] * 6)]


def test_a_newer_column_is_named(tmp_path):
    result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", [request_row(prompt_video_tokens=3)]))
    assert (result.rows_loaded, result.message) == (1, "calls.jsonl: columns not read: prompt_video_tokens")


def test_a_first_record_longer_than_what_is_looked_at(tmp_path):
    row = api_row(response_body={"text": "x" * 10}, request_body={"text": "y" * 400_000})
    result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", [row, api_row("q2")]))
    assert (result.format, result.rows_loaded) == ("helicone", 2)


@pytest.mark.parametrize(
    ("changes", "column", "reason"),
    [
        ({"prompt_tokens": -1}, "input_tokens", "negative"),
        ({"completion_tokens": "many"}, "output_tokens", "not a whole number"),
        ({"prompt_cache_read_tokens": -1}, "cache_read_tokens", "negative"),
        ({"reasoning_tokens": 1.5}, "reasoning_tokens", "not a whole number"),
        ({"prompt_audio_tokens": 10**30}, "audio_input_tokens", "not a whole number"),
        ({"status": "fine"}, "status", "not one of the known values"),
        ({"request_created_at": "yesterday"}, "started_at", "not a time"),
        ({"request_created_at": None}, "started_at", "missing"),
        ({"response_created_at": "2026-08-01 09:00:00"}, "ended_at", "before started_at"),
        ({"properties": {"step_index": "third"}}, "step_index", "not a whole number"),
        ({"properties": {"call_kind": "chat"}}, "call_kind", "not one of the known values"),
    ],
)
def test_a_wrong_value_costs_its_row_only(tmp_path, lake_rows, changes, column, reason):
    rows = [request_row("q1"), request_row("q2", **changes), request_row("q3")]
    result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", rows))

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (3, 2, 1)
    assert lake_rows("llm_calls", "call_id") == [("q1",), ("q3",)]
    assert lake_rows("quarantined_rows", QUARANTINE) == [(2, column, reason)]


def test_a_half_written_line(tmp_path, lake_rows):
    lines = [json.dumps(request_row(request_id)) for request_id in ("q1", "q2", "q3")]
    result = bring(tmp_path, write_lines(tmp_path / "calls.jsonl", [lines[0], lines[1][:200], lines[2]]))

    assert (result.rows_loaded, result.rows_quarantined) == (2, 1)
    assert lake_rows("quarantined_rows", QUARANTINE) == [(2, None, "not valid JSON")]


@pytest.mark.parametrize("make", [request_row, api_row])
def test_bodies_keys_and_addresses_are_never_stored(tmp_path, make):
    secrets = {
        "request_body": {"messages": [{"role": "user", "content": MARKER}]},
        "response_body": {"choices": [{"message": {"content": MARKER}}]},
        "signed_body_url": f"https://example.com/?sig={MARKER}",
        "proxy_key_id": MARKER,
        "auth_hash": MARKER,
        "country_code": MARKER,
        "request_referrer": MARKER,
        "organization_id": MARKER,
        "scores": {MARKER: 1},
        "assets": [MARKER],
        "somebody_elses_column": MARKER,
    }
    rows = [make("q1", **secrets), make("q2", prompt_tokens=MARKER, **secrets), make("q3", cost=MARKER, **secrets)]
    half = json.dumps(make("q4", **secrets))[:-20]
    result = bring(tmp_path, write_lines(tmp_path / "calls.jsonl", [*map(json.dumps, rows), half]))

    assert (result.rows_loaded, result.rows_quarantined) == (1, 3)
    assert_nowhere(tmp_path / "lake")
