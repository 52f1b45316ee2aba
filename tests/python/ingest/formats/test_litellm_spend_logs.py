"""LiteLLM spend logs: what its fields mean, in every spelling that real rows have."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.python.conftest import spend_log_row, write_json_lines
from tests.python.ingest.helpers import bring, write_csv

BUCKETS = "uncached_input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens"


@pytest.fixture
def one_call(tmp_path, lake_rows):
    """Ingest one row and return the named columns of its call."""

    def columns(names: str, **changes: object) -> tuple:
        result = bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", [spend_log_row("r1", **changes)]))
        assert result.format == "litellm_spend_logs"
        assert result.rows_loaded == 1, lake_rows("quarantined_rows", "column_name, reason")
        return lake_rows("llm_calls", names)[0]

    return columns


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({}, (1000, None, None, None)),
        # OpenAI and everything in LiteLLM's own spelling
        ({"prompt_tokens_details": {"cached_tokens": 400}}, (600, 400, None, None)),
        # Anthropic's spelling at the top
        ({"cache_read_input_tokens": 400, "cache_creation_input_tokens": 100}, (500, 400, 100, 0)),
        # both spellings of one fact count once
        (
            {
                "prompt_tokens_details": {"cached_tokens": 400, "cache_creation_tokens": 100},
                "cache_read_input_tokens": 400,
                "cache_creation_input_tokens": 100,
            },
            (500, 400, 100, 0),
        ),
        # one of the two is a mere default
        ({"prompt_tokens_details": {"cached_tokens": 0}, "cache_read_input_tokens": 400}, (600, 400, None, None)),
        ({"prompt_tokens_details": {"cached_tokens": 400}, "cache_read_input_tokens": 0}, (600, 400, None, None)),
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
        # only the one-hour part is told: the rest is five minutes
        (
            {"cache_creation_input_tokens": 300, "cache_creation": {"ephemeral_1h_input_tokens": 200}},
            (700, None, 100, 200),
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


def test_older_rows_keep_the_usage_in_another_place(one_call):
    metadata = {"additional_usage_values": {"prompt_tokens_details": {"cached_tokens": 640}}}
    assert one_call(BUCKETS, metadata=metadata) == (360, 640, None, None)


def test_reasoning_and_audio_are_parts_of_the_totals(one_call):
    usage = {
        "prompt_tokens_details": {"cached_tokens": 400, "audio_tokens": 50},
        "completion_tokens_details": {"reasoning_tokens": 60, "audio_tokens": 10},
    }
    names = f"{BUCKETS}, audio_input_tokens, output_text_tokens, reasoning_tokens, audio_output_tokens"
    assert one_call(names, usage=usage) == (550, 400, None, None, 50, 30, 60, 10)


def test_what_is_not_reported_is_null_and_not_zero(one_call):
    assert one_call("cache_read_tokens, reasoning_tokens, task_id_origin", metadata={}) == (None, None, "call")


def test_a_retry_is_told_by_attempted_retries(tmp_path, lake_rows):
    rows = [
        spend_log_row("r1", labels={"call_id": "c1"}, status="failure", completion_tokens=0),
        spend_log_row("r2", labels={"call_id": "c1"}),
        spend_log_row("r3"),
    ]
    for number, row in enumerate(rows[:2]):
        row["metadata"]["attempted_retries"] = number
    bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", rows))

    assert lake_rows("llm_calls", "call_id, attempt_number, response_id, status") == [
        ("c1", 1, "r1", "failed"),
        ("c1", 2, "r2", "success"),
        ("r3", 1, "r3", "success"),
    ]


def test_a_call_label_without_attempt_numbers_does_not_fold_two_requests_into_one(tmp_path, lake_rows):
    rows = [spend_log_row("r1", labels={"call_id": "c1"}), spend_log_row("r2", labels={"call_id": "c1"})]
    bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", rows))

    assert lake_rows("llm_calls", "call_id, attempt_number") == [("r1", 1), ("r2", 1)]


def test_labels_become_columns(one_call):
    labels = {
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
        "temperature": 0.2,
        "router_confidence": "0.93",
        "tool_call_count": 3,
        "replica_id": "replica-1",
        "region": "ap-south-1",
    }
    assert one_call(", ".join(labels), labels=labels) == (
        *[value for name, value in labels.items() if name in ("task_id", "task_type", "step_name", "step_index")],
        "judge",
        "eval",
        "fraud",
        "desk",
        "acme",
        "production",
        "v3",
        "2026.8",
        "short-prompt",
        "schema_invalid",
        "p9",
        800,
        300,
        0.2,
        0.93,
        3,
        "replica-1",
        "ap-south-1",
    )


def test_the_team_is_the_label_else_the_keys_alias_else_its_id(tmp_path, lake_rows):
    rows = [
        spend_log_row("r1", labels={"team": "label"}),
        spend_log_row("r2", labels={"team": ""}),
        spend_log_row("r3"),
    ]
    rows[0]["metadata"]["user_api_key_team_alias"] = "alias"
    rows[1]["metadata"]["user_api_key_team_alias"] = "alias"
    bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", rows))

    assert lake_rows("llm_calls", "call_id, team") == [("r1", "label"), ("r2", "alias"), ("r3", "support")]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"labels": {"task_id": "t1"}, "session_id": "s1"}, ("t1", "task")),
        ({"session_id": "s1"}, ("s1", "session")),
        ({}, ("r1", "call")),
        ({"labels": {"task_id": ""}, "session_id": ""}, ("r1", "call")),
    ],
)
def test_what_stands_for_the_task(one_call, changes, expected):
    assert one_call("task_id, task_id_origin", **changes) == expected


def test_a_failure_keeps_its_tokens_and_says_its_error(one_call):
    metadata = {"error_information": {"error_class": "RateLimitError", "error_code": "429"}, "status": "failure"}
    found = one_call(
        "status, error_type, uncached_input_tokens, reported_cost",
        status="failure",
        spend=0.0,
        completion_tokens=0,
        metadata=metadata,
    )
    assert found == ("failed", "RateLimitError 429", 1000, Decimal(0))


def test_rows_from_before_the_status_column(tmp_path, lake_rows):
    rows = [spend_log_row("r1", metadata={"status": "failure"}), spend_log_row("r2", metadata={"status": "success"})]
    rows.append(spend_log_row("r3", metadata={}))
    for row in rows:
        del row["status"]
    bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", rows))

    assert lake_rows("llm_calls", "call_id, status") == [("r1", "failed"), ("r2", "success"), ("r3", "success")]


@pytest.mark.parametrize(("text", "expected"), [("True", True), ("False", False), ("", None), ("None", None)])
def test_cache_hit_is_litellms_own_response_cache(one_call, text, expected):
    assert one_call("response_cache_hit, cache_read_tokens", cache_hit=text) == (expected, None)


@pytest.mark.parametrize(
    ("call_type", "kind"), [("acompletion", "llm"), ("aembedding", "embedding"), ("arerank", "rerank"), ("", "llm")]
)
def test_the_kind_of_a_call_by_its_type(one_call, call_type, kind):
    assert one_call("call_kind", call_type=call_type) == (kind,)


def test_an_embedding_has_no_output(one_call):
    names = "call_kind, model, provider, uncached_input_tokens, output_text_tokens, reported_cost, reported_currency"
    found = one_call(
        names,
        call_type="aembedding",
        model="openai/text-embedding-3-large",
        completion_tokens=0,
        spend=1.3e-7,
    )
    assert found == ("embedding", "text-embedding-3-large", "openai", 1000, 0, Decimal("1.3e-7"), "USD")


def test_times_without_a_zone_are_utc_and_keep_their_fractions(one_call):
    found = one_call(
        "started_at, first_token_at, ended_at",
        startTime="2026-08-01T23:59:59.250",
        completionStartTime="2026-08-01 23:59:59.900",
        endTime="2026-08-02T02:00:01+02:00",
    )
    assert found == (
        datetime(2026, 8, 1, 23, 59, 59, 250_000, UTC),
        datetime(2026, 8, 1, 23, 59, 59, 900_000, UTC),
        datetime(2026, 8, 2, 0, 0, 1, 0, UTC),
    )


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://api.openai.com/v1/", "https://api.openai.com/v1/"),
        (
            "https://example.com/v1beta/models/gemini:generateContent?key=SECRET",
            "https://example.com/v1beta/models/gemini:generateContent",
        ),
        ("https://user:SECRET@example.com/v1", "https://example.com/v1"),
        ("http://node-1:8000/v1#SECRET", "http://node-1:8000/v1"),
    ],
)
def test_an_address_loses_its_keys_and_passwords(one_call, address, kept):
    assert one_call("api_base", api_base=address) == (kept,)


def rows_of_every_kind() -> list[dict]:
    usage = {"prompt_tokens_details": {"cached_tokens": 400}}
    return [
        spend_log_row("r1", labels={"task_id": "t1", "step_index": 1}, usage=usage, request_tags=["a", "b"]),
        spend_log_row("r2", labels={"task_id": "t1"}, status="failure", completion_tokens=0),
        spend_log_row("r3", metadata={}, session_id="s3", request_tags=[]),
    ]


def as_csv(path: Path) -> Path:
    return write_csv(path.with_suffix(".csv"), rows_of_every_kind())


def as_parquet_of_text(path: Path) -> Path:
    rows = [{**row, "metadata": json.dumps(row["metadata"])} for row in rows_of_every_kind()]
    rows = [{**row, "request_tags": json.dumps(row.get("request_tags", []))} for row in rows]
    names = dict.fromkeys(name for row in rows for name in row)
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def as_parquet_of_structs(path: Path) -> Path:
    rows = rows_of_every_kind()
    names = dict.fromkeys(name for row in rows for name in row)
    pq.write_table(
        pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows]), path.with_suffix(".parquet")
    )
    return path.with_suffix(".parquet")


def as_json_with_text_inside(path: Path) -> Path:
    rows = [{**row, "metadata": json.dumps(row["metadata"])} for row in rows_of_every_kind()]
    return write_json_lines(path.with_suffix(".jsonl"), rows)


def as_json(path: Path) -> Path:
    return write_json_lines(path.with_suffix(".jsonl"), rows_of_every_kind())


@pytest.mark.parametrize(
    "write", [as_json, as_json_with_text_inside, as_csv, as_parquet_of_text, as_parquet_of_structs]
)
def test_the_same_table_in_every_kind_of_file(tmp_path, lake_rows, write):
    result = bring(tmp_path, write(tmp_path / "calls"))

    assert (result.format, result.rows_loaded) == ("litellm_spend_logs", 3)
    names = f"call_id, task_id, task_id_origin, step_index, {BUCKETS}, output_text_tokens, status, tags"
    assert [(*row[:-1], json.loads(row[-1]) if row[-1] else None) for row in lake_rows("llm_calls", names)] == [
        ("r1", "t1", "task", 1, 600, 400, None, None, 100, "success", ["a", "b"]),
        ("r2", "t1", "task", None, 1000, None, None, None, 0, "failed", None),
        ("r3", "s3", "session", None, 1000, None, None, None, 100, "success", None),
    ]
