"""Bad input: a clear message or a quarantined row with file, line, column and reason; the other rows load."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.lake import Lake
from ingest.runner import BatchResult, IngestRequest, ingest
from tests.python.conftest import spend_log_row, write_json_lines

QUARANTINE = "file_name, line_number, column_name, reason"


def bring(tmp_path: Path, path: Path, format_name: str = "litellm_spend_logs", **changes: object) -> BatchResult:
    """Ingest one path into the test's lake and check that every row is accounted for."""
    [result] = ingest(tmp_path / "lake", [IngestRequest("gateway", path, format_name, **changes)])
    assert result.rows_read == result.rows_loaded + result.rows_quarantined + result.rows_skipped
    return result


def lines_of(*rows: dict) -> list[str]:
    return [json.dumps(row) for row in rows]


def write_lines(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.write_text(end.join(lines) + end, encoding="utf-8", newline="")
    return path


def test_a_half_written_json_line(tmp_path, lake_rows):
    first, second, third = lines_of(spend_log_row("r1"), spend_log_row("r2"), spend_log_row("r3"))
    path = write_lines(tmp_path / "calls.jsonl", [first, second[:90], third])

    result = bring(tmp_path, path)

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (3, 2, 1)
    assert lake_rows("llm_calls", "call_id") == [("r1",), ("r3",)]
    [(name, line, column, reason, length, digest)] = lake_rows(
        "quarantined_rows", f"{QUARANTINE}, row_length, row_hash"
    )
    assert (name, line, column, reason) == ("calls.jsonl", 2, None, "not valid JSON")
    assert length == 90
    assert len(digest) == 32


@pytest.mark.parametrize("number", [0, 2])
def test_a_half_written_first_or_last_line_does_not_hide_the_format(tmp_path, lake_rows, number):
    lines = lines_of(spend_log_row("r1"), spend_log_row("r2"), spend_log_row("r3"))
    lines[number] = lines[number][40:] if number == 0 else lines[number][:40]
    path = tmp_path / "calls.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")

    result = bring(tmp_path, path, "auto")

    assert (result.state, result.format, result.rows_loaded) == ("committed", "litellm_spend_logs", 2)
    assert lake_rows("quarantined_rows", QUARANTINE) == [("calls.jsonl", number + 1, None, "not valid JSON")]


def test_json_that_is_not_an_object(tmp_path, lake_rows):
    path = write_lines(tmp_path / "calls.jsonl", [*lines_of(spend_log_row("r1")), "[1, 2]", "", "17"])

    result = bring(tmp_path, path)

    assert (result.rows_read, result.rows_loaded) == (3, 1)
    assert lake_rows("quarantined_rows", QUARANTINE) == [
        ("calls.jsonl", 2, None, "not a JSON object"),
        ("calls.jsonl", 4, None, "not a JSON object"),
    ]


@pytest.mark.parametrize(
    ("changes", "column", "reason"),
    [
        ({"startTime": 1785578400}, "started_at", "not a time"),
        ({"startTime": "1785578400"}, "started_at", "not a time"),
        ({"startTime": "yesterday"}, "started_at", "not a time"),
        ({"startTime": "8/1/26"}, "started_at", "not a time"),
        ({"startTime": None}, "started_at", "missing"),
        ({"endTime": "infinity"}, "ended_at", "not a time"),
        ({"endTime": "2026-08-01T09:59:59"}, "ended_at", "before started_at"),
        ({"completionStartTime": "2026-08-01T09:59:59"}, "first_token_at", "before started_at"),
        ({"prompt_tokens": -1}, "input_tokens", "negative"),
        ({"completion_tokens": -1}, "output_tokens", "negative"),
        ({"prompt_tokens": 12.5}, "input_tokens", "not a whole number"),
        ({"prompt_tokens": "many"}, "input_tokens", "not a whole number"),
        ({"usage": {"prompt_tokens_details": {"cached_tokens": -5}}}, "cache_read_tokens", "negative"),
        ({"usage": {"prompt_tokens_details": {"cached_tokens": 1001}}}, "cache_read_tokens", "cached above input"),
        (
            {"usage": {"prompt_tokens_details": {"cached_tokens": 600}, "cache_creation_input_tokens": 401}},
            "cache_read_tokens",
            "cached above input",
        ),
        (
            {"usage": {"completion_tokens_details": {"reasoning_tokens": 101}}},
            "output_tokens",
            "parts add up to more than the whole",
        ),
        ({"status": "exploded"}, "status", "not one of the known values"),
        ({"spend": "1.2.3"}, "reported_cost", "not a number"),
        ({"spend": -0.01}, "reported_cost", "negative"),
        ({"labels": {"step_index": "third"}}, "step_index", "not a whole number"),
        ({"labels": {"router_confidence": "NaN"}}, "router_confidence", "not a number"),
    ],
)
def test_a_wrong_value_costs_its_row_only(tmp_path, lake_rows, changes, column, reason):
    path = write_json_lines(
        tmp_path / "calls.jsonl", [spend_log_row("r1"), spend_log_row("r2", **changes), spend_log_row("r3")]
    )

    result = bring(tmp_path, path)

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (3, 2, 1)
    assert lake_rows("llm_calls", "call_id") == [("r1",), ("r3",)]
    assert lake_rows("quarantined_rows", QUARANTINE) == [("calls.jsonl", 2, column, reason)]


def test_cached_above_input_is_right_where_the_source_says_so(tmp_path, lake_rows):
    row = spend_log_row("r1", prompt_tokens=100, usage={"prompt_tokens_details": {"cached_tokens": 900}})
    path = write_json_lines(tmp_path / "calls.jsonl", [row])

    result = bring(tmp_path, path, token_convention=(False, None))

    assert result.rows_loaded == 1
    assert lake_rows("llm_calls", "uncached_input_tokens, cache_read_tokens") == [(100, 900)]


def test_a_truncated_gzip_keeps_the_lines_before_the_break(tmp_path, lake_rows):
    rows = [spend_log_row(f"r{number:05}", labels={"prompt_hash": f"{number * 7919:x}"}) for number in range(5000)]
    whole = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    path = tmp_path / "calls.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])

    result = bring(tmp_path, path, "auto")

    assert result.state == "committed"
    assert 100 < result.rows_loaded < 4900
    assert result.rows_quarantined == 1
    last = result.rows_loaded
    assert lake_rows("quarantined_rows", QUARANTINE) == [
        ("calls.jsonl.gz", last, None, "the compressed file is cut off after this line")
    ]
    assert lake_rows("llm_calls", "max(call_id)") == [(f"r{last - 1:05}",)]


def test_a_gzip_damaged_from_its_first_byte(tmp_path):
    path = tmp_path / "calls.jsonl.gz"
    path.write_bytes(b"\x1f\x8b\x08\x00" + b"\xff" * 200)

    result = bring(tmp_path, path, "auto")

    assert result.state == "failed"
    assert "calls.jsonl.gz" in result.message
    assert "damaged" in result.message


def test_a_gzip_without_the_usual_ending_and_a_plain_file_with_it(tmp_path, lake_rows):
    packed = tmp_path / "packed.jsonl"
    packed.write_bytes(gzip.compress((json.dumps(spend_log_row("r1")) + "\n").encode()))
    plain = write_json_lines(tmp_path / "plain.jsonl.gz", [spend_log_row("r2")])

    assert bring(tmp_path, packed, "auto").rows_loaded == 1
    assert bring(tmp_path, plain, "auto").rows_loaded == 1
    assert lake_rows("llm_calls", "call_id") == [("r1",), ("r2",)]


def test_bytes_that_are_not_utf_8(tmp_path, lake_rows):
    lines = lines_of(spend_log_row("r1"), spend_log_row("r2", team_id="caf\u00e9"), spend_log_row("r3"))
    lines[1] = lines[1].replace("\\u00e9", "\u00e9")
    path = tmp_path / "calls.jsonl"
    path.write_bytes("\n".join(lines).encode("latin-1") + b"\n")

    result = bring(tmp_path, path)

    assert result.rows_loaded == 3
    assert "not UTF-8" in result.message
    assert lake_rows("llm_calls", "call_id, team")[1] == ("r2", "caf\ufffd")


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("broken", [False, True])
def test_byte_order_marks_and_windows_line_ends_in_json_lines(tmp_path, lake_rows, start, end, broken):
    lines = lines_of(spend_log_row("r1"), spend_log_row("r2"))
    text = end.join([*lines, "{half", ""] if broken else [*lines, ""])
    path = tmp_path / "calls.jsonl"
    path.write_bytes(start + text.encode())

    result = bring(tmp_path, path, "auto")

    assert result.rows_loaded == 2
    assert lake_rows("llm_calls", "call_id") == [("r1",), ("r2",)]
    expected = [("calls.jsonl", 3, None, "not valid JSON")] if broken else []
    assert lake_rows("quarantined_rows", QUARANTINE) == expected


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_marks_and_windows_line_ends_in_csv(tmp_path, lake_rows, start, end):
    path = tmp_path / "tasks.csv"
    path.write_bytes(start + end.join(["task_id,outcome", "t1,success", "t2,failure", ""]).encode())

    assert bring(tmp_path, path, "auto").rows_loaded == 2
    assert lake_rows("tasks", "task_id, outcome") == [("t1", "success"), ("t2", "failure")]


def test_csv_rows_with_too_many_and_too_few_columns(tmp_path, lake_rows):
    path = write_lines(
        tmp_path / "tasks.csv",
        ["task_id,outcome,team", "t1,success,a", "t2,success", "t3,success,a,extra", "t4,exploded,a", "t5,success,a"],
    )

    result = bring(tmp_path, path, "tasks")

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (5, 2, 3)
    assert lake_rows("tasks", "task_id") == [("t1",), ("t5",)]
    found = lake_rows("quarantined_rows", QUARANTINE)
    assert [(line, column) for _, line, column, _ in found] == [(3, None), (4, None), (5, "outcome")]
    assert "missing columns" in found[0][3]
    assert "too many columns" in found[1][3]


def test_an_unknown_column_is_named_and_the_rest_loads(tmp_path, lake_rows):
    path = write_lines(tmp_path / "tasks.csv", ["task_id,outcome,colour", "t1,success,red"])

    result = bring(tmp_path, path, "auto")

    assert result.rows_loaded == 1
    assert result.message == "tasks.csv: columns not read: colour"
    assert lake_rows("tasks", "task_id, outcome") == [("t1", "success")]


@pytest.mark.parametrize("format_name", ["litellm_spend_logs", "focus", "prometheus", "resource_links", "tasks"])
@pytest.mark.parametrize("text", ["", "\n  \n"])
def test_an_empty_file(tmp_path, format_name, text):
    path = tmp_path / "nothing.csv"
    path.write_text(text)

    result = bring(tmp_path, path, format_name)

    assert (result.state, result.rows_read) == ("committed", 0)
    assert result.message == "nothing.csv: the file is empty"


def test_an_empty_file_whose_format_is_not_named(tmp_path):
    path = tmp_path / "nothing.csv"
    path.touch()

    result = bring(tmp_path, path, "auto")

    assert result.state == "failed"
    assert "nothing.csv" in result.message
    assert "empty" in result.message


def test_a_file_with_a_header_only(tmp_path):
    path = write_lines(tmp_path / "tasks.csv", ["task_id,outcome"])

    result = bring(tmp_path, path, "auto")

    assert (result.state, result.rows_read) == ("committed", 0)


def test_a_folder_is_read_whole(tmp_path, lake_rows):
    write_json_lines(tmp_path / "logs" / "a.jsonl", [spend_log_row("r1")])
    write_json_lines(tmp_path / "logs" / "deep" / "b.jsonl", [spend_log_row("r2")])
    write_lines(tmp_path / "logs" / "notes.txt", ["not a log"])

    results = ingest(tmp_path / "lake", [IngestRequest("gateway", tmp_path / "logs", "auto")])

    assert sorted(result.state for result in results) == ["committed", "committed", "failed"]
    [failed] = [result for result in results if result.state == "failed"]
    assert "notes.txt: no known format" in failed.message
    assert lake_rows("llm_calls", "call_id") == [("r1",), ("r2",)]


def test_a_path_that_is_not_there(tmp_path):
    result = bring(tmp_path, tmp_path / "nowhere.jsonl")

    assert result.state == "failed"
    assert "there is no such file or folder" in result.message


def test_a_file_that_is_not_the_format_named(tmp_path, lake_rows):
    path = write_lines(tmp_path / "tasks.csv", ["task_id,outcome", "t1,success"])

    result = bring(tmp_path, path, "litellm_spend_logs")

    assert result.state == "failed"
    assert "tasks.csv: this is not litellm_spend_logs (a csv file with: task_id, outcome)" in result.message
    assert "Name another format" in result.message
    assert lake_rows("llm_calls", "call_id") == []
    assert Lake(tmp_path / "lake").batches() == {}


def test_a_format_that_is_not_known(tmp_path):
    path = write_json_lines(tmp_path / "calls.jsonl", [spend_log_row("r1")])

    result = bring(tmp_path, path, "litellm")

    assert result.state == "failed"
    assert "format 'litellm' is not known. Known formats: auto, litellm_spend_logs" in result.message


def test_binary_rubbish(tmp_path):
    path = tmp_path / "picture.jsonl"
    path.write_bytes(bytes(range(256)) * 40)

    result = bring(tmp_path, path, "auto")

    assert result.state == "failed"
    assert "picture.jsonl" in result.message


def test_a_damaged_parquet_file(tmp_path):
    path = tmp_path / "calls.parquet"
    pq.write_table(pa.table({"task_id": ["t1"] * 5000, "outcome": ["success"] * 5000}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    result = bring(tmp_path, path, "tasks")

    assert result.state == "failed"
    assert "calls.parquet: this Parquet file is damaged" in result.message


def test_a_parquet_file_damaged_inside(tmp_path):
    path = tmp_path / "tasks.parquet"
    table = pa.table({"task_id": [f"t{number}" for number in range(20_000)], "outcome": ["success"] * 20_000})
    pq.write_table(table, path)
    whole = bytearray(path.read_bytes())
    whole[50:20_000] = b"\x00" * 19_950
    path.write_bytes(bytes(whole))

    result = bring(tmp_path, path, "tasks")

    assert result.state == "failed"
    assert "tasks.parquet" in result.message


def test_one_bad_delivery_loses_nothing_of_the_others(tmp_path, lake_rows):
    write_json_lines(tmp_path / "logs" / "a.jsonl", [spend_log_row("r1")])
    (tmp_path / "logs" / "b.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00" + b"\xff" * 200)
    (tmp_path / "logs" / "c.zst").write_bytes(b"\x28\xb5\x2f\xfd" + b"\xff" * 200)
    write_json_lines(tmp_path / "logs" / "d.jsonl", [spend_log_row("r2")])

    results = ingest(tmp_path / "lake", [IngestRequest("gateway", tmp_path / "logs", "auto")])

    assert [result.state for result in results] == ["committed", "failed", "failed", "committed"]
    assert lake_rows("llm_calls", "call_id") == [("r1",), ("r2",)]


CANARY = "CANARY-7f3a"


def test_nothing_sensitive_reaches_the_lake(tmp_path):
    """Keys, addresses and message text stay out of every file of the lake, from good rows and from bad ones."""
    secrets = {
        "api_key": CANARY,
        "requester_ip_address": CANARY,
        "messages": [{"role": "user", "content": CANARY}],
        "response": {"choices": [{"message": {"content": CANARY}}]},
        "proxy_server_request": {"body": CANARY},
        "cache_key": CANARY,
        "user": CANARY,
    }
    rows = [
        spend_log_row("r1", **secrets),
        spend_log_row("r2", prompt_tokens=-1, **secrets),
        spend_log_row("r3", startTime=CANARY, **secrets),
        spend_log_row(None, **secrets),
    ]
    rows[0]["metadata"]["requester_ip_address"] = CANARY
    rows[0]["metadata"]["user_api_key"] = CANARY
    half = json.dumps(spend_log_row("r4", **secrets))[:-20]
    lines = write_lines(tmp_path / "logs" / "calls.jsonl", [*lines_of(*rows), half]) if _folder(tmp_path) else None
    table = tmp_path / "logs" / "calls.csv"
    names = [*rows[0]]
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    text = "\n".join([",".join(names), *(",".join(row) for row in cells), f"{CANARY},too,few"])
    table.write_text(text + "\n", encoding="utf-8")

    results = ingest(tmp_path / "lake", [IngestRequest("gateway", tmp_path / "logs", "litellm_spend_logs")])

    assert lines is not None
    assert [result.rows_loaded for result in results] == [2, 2]
    assert [result.rows_quarantined for result in results] == [3, 3]
    for path in sorted((tmp_path / "lake").rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".parquet":
                content += repr(pq.read_table(path).to_pylist()).encode()
            assert CANARY.encode() not in content, path
    assert all(CANARY not in result.message for result in results)


def _folder(tmp_path: Path) -> bool:
    (tmp_path / "logs").mkdir(exist_ok=True)
    return True


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = json.dumps(value) if isinstance(value, dict | list) else str(value)
    return '"' + text.replace('"', '""') + '"'
