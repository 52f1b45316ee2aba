"""Large JSON lines are read by what a sample of them has; what the sample lacks is not lost."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import duckdb
import pytest

from ingest import reading
from ingest.reading import UNSEEN, Options, Reader
from tests.python.conftest import spend_log_row, write_json_lines
from tests.python.ingest.helpers import bring, write_lines

ROWS = 400
LATE = 150
"""A row that no slice of the sample reaches."""


@pytest.fixture(autouse=True)
def short_samples(monkeypatch):
    """Samples of the first and the last 4 KB of a file, and no file so small that it is read with care."""
    monkeypatch.setattr(reading, "_SMALL_BYTES", 0)
    monkeypatch.setattr(reading, "_SAMPLE_SLICES", 2)
    monkeypatch.setattr(reading, "_SLICE_BYTES", 1 << 12)


def rows_with_a_late(**changes: object) -> list[dict]:
    rows = [spend_log_row(f"r{number:03}") for number in range(ROWS)]
    rows[LATE] = spend_log_row(f"r{LATE:03}", **changes)
    return rows


def gzipped(path: Path) -> Path:
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


@pytest.mark.parametrize("deliver", [Path, gzipped], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("changes", "column", "value"),
    [
        ({"model_id": "deployment-7"}, "deployment_id", "deployment-7"),
        ({"metadata": {"spend_logs_metadata": {"experiment": "b"}}}, "experiment", "b"),
        ({"metadata": {"error_information": {"error_class": "Timeout"}}}, "error_type", "Timeout"),
        ({"metadata": {"usage_object": {"prompt_tokens_details": {"cached_tokens": 4}}}}, "cache_read_tokens", 4),
    ],
)
def test_a_field_that_only_one_row_has(tmp_path, lake_rows, deliver, changes, column, value):
    path = deliver(write_json_lines(tmp_path / "calls.jsonl", rows_with_a_late(**changes)))

    result = bring(tmp_path, path)

    assert (result.state, result.rows_loaded) == ("committed", ROWS)
    filled = [row for row in lake_rows("llm_calls", f"call_id, {column}") if row[1] is not None]
    assert filled == [(f"r{LATE:03}", value)]


def test_a_bad_value_in_a_field_that_only_one_row_has(tmp_path, lake_rows):
    rows = rows_with_a_late(completionStartTime="noon")
    path = write_json_lines(tmp_path / "calls.jsonl", rows)

    result = bring(tmp_path, path)

    assert (result.rows_loaded, result.rows_quarantined) == (ROWS - 1, 1)
    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [
        (LATE + 1, "first_token_at", "not a time")
    ]


@pytest.mark.parametrize("deliver", [Path, gzipped], ids=["plain", "gzip"])
def test_lines_that_are_longer_than_the_slices(tmp_path, lake_rows, deliver):
    path = write_json_lines(tmp_path / "calls.jsonl", [spend_log_row(f"r{n}", messages="x" * 10_000) for n in range(3)])

    assert bring(tmp_path, deliver(path)).rows_loaded == 3
    assert lake_rows("llm_calls", "call_id") == [("r0",), ("r1",), ("r2",)]


def reader_of(path: Path) -> Reader:
    connection = duckdb.connect()
    return Reader(connection, (path,), path.parent, Options(), 1, "memory")


def test_a_wrong_sample_fails_instead_of_losing_a_value(tmp_path):
    lines = [json.dumps({"id": number, "more": {"note": "n"}}) for number in range(ROWS)]
    lines[LATE] = json.dumps({"id": LATE, "more": {"note": "n", "label": "late"}})
    reader = reader_of(write_lines(tmp_path / "log.jsonl", lines))
    rows = reader.rows(["id"], nested={"more": {"note": "VARCHAR", "label": "VARCHAR"}})

    with pytest.raises(duckdb.InvalidInputException, match=UNSEEN):
        reader.connection.execute(reader.without_unseen(f"select count(more.label) from ({rows})")).fetchall()


def test_a_query_is_left_without_what_no_file_has(tmp_path):
    lines = [json.dumps({"id": number, "more": {"note": "n"}}) for number in range(ROWS)]
    reader = reader_of(write_lines(tmp_path / "log.jsonl", lines))
    rows = reader.rows(["id"], nested={"more": {"note": "VARCHAR", "label": "VARCHAR", "deep": {"er": "VARCHAR"}}})
    query = reader.without_unseen(f"select id, more.note, more.label, more.deep.er as er from ({rows}) order by id")

    found = reader.connection.execute(query)

    assert "more.label" not in query.replace("lines.more.label", "")
    assert [name for name, *_ in found.description] == ["id", "note", "label", "er"]
    assert found.fetchone() == ("0", "n", None, None)


def test_an_absent_column_is_not_taken_for_what_is_made_under_its_name(tmp_path, lake_rows):
    """Rows from before the column ``status`` say it in their metadata."""
    rows = [spend_log_row(f"r{number:03}", metadata={"status": "failure"}) for number in range(ROWS)]
    for row in rows:
        row.pop("status", None)

    bring(tmp_path, write_json_lines(tmp_path / "calls.jsonl", rows))

    assert set(lake_rows("llm_calls", "status")) == {("failed",)}


MAPPING = """\
contract: llm_calls
format: jsonl
columns:
  call_id: id
  started_at: begun
  provider: "coalesce(lines.vendor, 'openai')"
  model: "case when lower(kind) = 'big' then 'gpt-4o' else split_part(name, ':', 1) end"
  task_id: '"task id"'
  input_tokens: lines.amount
  output_tokens: amount
  team: "lines.\\"the team\\""
"""


@pytest.mark.parametrize("late", [{"lines": {"amount": 7}}, {"amount": 9}, {"lines": {"the team": "support"}}, {}])
def test_a_mapping_reads_a_large_file_as_it_does_a_small_one(tmp_path, lake_rows, monkeypatch, late):
    """Expressions, quoted names, an object whose fields have the names of columns; the sample lacks some of them."""
    mapping = tmp_path / "mapping.yml"
    mapping.write_text(MAPPING, encoding="utf-8")
    rows = [
        {
            "id": f"r{number:03}",
            "begun": "2026-08-01T10:00:00Z",
            "name": "gpt-5:x",
            "kind": "BIG" if number % 2 else "s",
        }
        for number in range(ROWS)
    ]
    rows[0]["lines"] = {"vendor": "azure", "other": 1}
    rows[3]["task id"] = "t"
    rows[LATE] |= late
    path = write_json_lines(tmp_path / "calls.jsonl", rows)
    names = "call_id, provider, model, task_id, uncached_input_tokens, output_text_tokens, team"

    fast = bring(tmp_path / "fast", path, "mapping", mapping_path=mapping)
    monkeypatch.setattr(reading, "_SMALL_BYTES", 1 << 30)
    careful = bring(tmp_path / "careful", path, "mapping", mapping_path=mapping)

    assert (fast.rows_loaded, fast.rows_quarantined) == (careful.rows_loaded, careful.rows_quarantined) == (ROWS, 0)
    read = lake_rows("llm_calls", names, lake=tmp_path / "fast" / "lake")
    assert read == lake_rows("llm_calls", names, lake=tmp_path / "careful" / "lake")
    assert {row[2] for row in read} == {"gpt-4o", "gpt-5"}
    assert [row[4:] for row in read if row[0] == f"r{LATE:03}"] == [
        (late.get("lines", {}).get("amount"), late.get("amount"), late.get("lines", {}).get("the team"))
    ]
