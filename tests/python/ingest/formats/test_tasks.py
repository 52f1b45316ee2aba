"""Tasks: outcomes in their usual spellings, common column names, and what quarantines a row."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.python.conftest import write_json_lines
from tests.python.ingest.helpers import bring, write_csv, write_lines


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("success", "success"),
        ("Resolved", "success"),
        ("COMPLETED", "success"),
        ("true", "success"),
        ("escalated", "escalated"),
        ("handed-over", "escalated"),
        ("Handed_Over", "escalated"),
        ("failed", "failure"),
        ("abandoned", "failure"),
        ("false", "failure"),
        ("in progress", "unknown"),
        ("In_Progress", "unknown"),
        ("pending", "unknown"),
        ("", None),
    ],
)
def test_an_outcome_in_its_usual_spellings(tmp_path, lake_rows, text, outcome):
    result = bring(tmp_path, write_csv(tmp_path / "tasks.csv", [{"task_id": "t1", "outcome": text, "team": "a"}]))

    assert (result.format, result.rows_loaded) == ("tasks", 1)
    assert lake_rows("tasks", "task_id, outcome") == [("t1", outcome)]


def test_outcomes_as_json_booleans(tmp_path, lake_rows):
    bring(
        tmp_path,
        write_json_lines(tmp_path / "t.jsonl", [{"task_id": "t1", "result": True}, {"task_id": "t2", "result": False}]),
    )

    assert lake_rows("tasks", "task_id, outcome") == [("t1", "success"), ("t2", "failure")]


def test_every_column_under_its_own_name(tmp_path, lake_rows):
    row = {
        "task_id": "t1",
        "task_type": "ticket",
        "team": "support",
        "application": "desk",
        "customer": "acme",
        "environment": "production",
        "outcome": "success",
        "closed_at": "2026-08-01T10:00:00+05:30",
        "complexity": "hard",
        "quality_score": 0.875,
        "value": "12.50",
        "value_currency": "inr",
    }
    bring(tmp_path, write_json_lines(tmp_path / "tasks.jsonl", [row]))

    expected = {
        **row,
        "closed_at": datetime(2026, 8, 1, 4, 30, tzinfo=UTC),
        "value": Decimal("12.5"),
        "value_currency": "INR",
    }
    assert lake_rows("tasks", ", ".join(row)) == [tuple(expected.values())]


@pytest.mark.parametrize(
    ("row", "columns", "expected"),
    [
        ({"ticket_id": "t1", "status": "solved"}, "task_id, outcome", ("t1", "success")),
        ({"case_id": "t1", "result": "failed"}, "task_id, outcome", ("t1", "failure")),
        ({"task_id": "t1", "app": "desk", "env": "test"}, "application, environment", ("desk", "test")),
        ({"task_id": "t1", "difficulty": "easy", "score": "0.5"}, "complexity, quality_score", ("easy", 0.5)),
        ({"task_id": "t1", "customer_id": "acme", "task_value": "3"}, "customer, value", ("acme", Decimal(3))),
        # the contract's own name goes first, the next one where it is empty
        ({"task_id": "", "ticket_id": "t2", "outcome": "failed"}, "task_id, outcome", ("t2", "failure")),
    ],
)
def test_the_common_names_of_the_columns(tmp_path, lake_rows, row, columns, expected):
    bring(tmp_path, write_csv(tmp_path / "tasks.csv", [row]))

    assert lake_rows("tasks", columns) == [expected]


@pytest.mark.parametrize("name", ["resolved_at", "completed_at", "closed_at"])
def test_a_time_without_an_offset_is_in_the_sources_zone(tmp_path, lake_rows, name):
    path = write_csv(tmp_path / "tasks.csv", [{"task_id": "t1", name: "2026-08-01 10:00:00"}])
    bring(tmp_path, path, "tasks", time_zone="Asia/Kolkata")

    assert lake_rows("tasks", "closed_at") == [(datetime(2026, 8, 1, 4, 30, tzinfo=UTC),)]


@pytest.mark.parametrize(
    ("changes", "column", "reason"),
    [
        ({"outcome": "exploded"}, "outcome", "not one of the known values"),
        ({"task_id": ""}, "task_id", "missing"),
        ({"closed_at": "1785578400"}, "closed_at", "not a time"),
        ({"quality_score": "good"}, "quality_score", "not a number"),
        ({"value": "$12"}, "value", "not a number"),
    ],
)
def test_a_wrong_value_costs_its_row_only(tmp_path, lake_rows, changes, column, reason):
    names = ("task_id", "outcome", "closed_at", "quality_score", "value")
    rows = [{**dict.fromkeys(names, ""), "task_id": f"t{number}"} for number in range(3)]
    rows[1].update(changes)
    result = bring(tmp_path, write_csv(tmp_path / "tasks.csv", rows))

    assert (result.rows_loaded, result.rows_quarantined) == (2, 1)
    assert lake_rows("quarantined_rows", "file_name, line_number, column_name, reason") == [
        ("tasks.csv", 3, column, reason)
    ]


def test_a_parquet_file_with_real_types(tmp_path, lake_rows):
    table = pa.table(
        {
            "task_id": ["t1", "t2"],
            "outcome": [True, False],
            "closed_at": [datetime(2026, 8, 1, 10, tzinfo=UTC), None],
            "value": pa.array([Decimal("1.10"), None], pa.decimal128(10, 2)),
        }
    )
    pq.write_table(table, tmp_path / "tasks.parquet")
    bring(tmp_path, tmp_path / "tasks.parquet")

    assert lake_rows("tasks", "task_id, outcome, closed_at, value") == [
        ("t1", "success", datetime(2026, 8, 1, 10, tzinfo=UTC), Decimal("1.1")),
        ("t2", "failure", None, None),
    ]


@pytest.mark.parametrize("extra", ["model", "prompt_tokens", "call_id", "item_id"])
def test_a_log_of_calls_is_not_taken_for_tasks(tmp_path, extra):
    result = bring(
        tmp_path, write_lines(tmp_path / "x.jsonl", [json.dumps({"task_id": "t1", "outcome": "x", extra: 1})])
    )

    assert result.state == "failed"
    assert "no known format" in result.message
