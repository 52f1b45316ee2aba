"""Bad input: a clear message or a quarantined row with file, line, column and reason; the other rows load."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest import reading
from ingest.formats import FORMATS
from ingest.lake import Lake
from ingest.runner import IngestRequest, ingest
from tests.python.conftest import spend_log_row, write_json_lines
from tests.python.ingest.formats import (
    test_anthropic_costs,
    test_anthropic_usage,
    test_aws_cur,
    test_gcp_billing,
    test_helicone,
    test_kubernetes_nodes,
    test_langfuse,
    test_litellm_payload,
    test_nvidia_smi,
    test_openai_usage,
    test_otlp,
)
from tests.python.ingest.helpers import (
    MARKER,
    assert_nowhere,
    bill_line,
    bring,
    gpu_answer,
    gpu_series,
    write_answer,
    write_csv,
    write_lines,
)

QUARANTINE = "file_name, line_number, column_name, reason"


def lines_of(*rows: dict) -> list[str]:
    return [json.dumps(row) for row in rows]


@pytest.fixture(params=["small", "large"])
def file_size(request, monkeypatch):
    """Small files are read with care from the start, large ones only when the fast reader gives up: test both."""
    if request.param == "large":
        monkeypatch.setattr(reading, "_SMALL_BYTES", 0)


both_sizes = pytest.mark.usefixtures("file_size")


@both_sizes
def test_a_half_written_json_line(tmp_path, lake_rows):
    first, second, third = lines_of(spend_log_row("r1"), spend_log_row("r2"), spend_log_row("r3"))
    path = write_lines(tmp_path / "calls.jsonl", [first, second[:90], third])

    result = bring(tmp_path, path, "litellm_spend_logs")

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


@both_sizes
def test_json_that_is_not_an_object(tmp_path, lake_rows):
    path = write_lines(tmp_path / "calls.jsonl", [*lines_of(spend_log_row("r1")), "[1, 2]", "", "17"])

    result = bring(tmp_path, path, "litellm_spend_logs")

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
        # numbers beyond what a column holds cost their row, never the file
        ({"prompt_tokens": 9223372036854775807}, "input_tokens", "not a whole number"),
        ({"prompt_tokens": 10**30}, "input_tokens", "not a whole number"),
        ({"spend": 1e30}, "reported_cost", "not a number"),
    ],
)
@both_sizes
def test_a_wrong_value_costs_its_row_only(tmp_path, lake_rows, changes, column, reason):
    path = write_json_lines(
        tmp_path / "calls.jsonl", [spend_log_row("r1"), spend_log_row("r2", **changes), spend_log_row("r3")]
    )

    result = bring(tmp_path, path, "litellm_spend_logs")

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (3, 2, 1)
    assert lake_rows("llm_calls", "call_id") == [("r1",), ("r3",)]
    assert lake_rows("quarantined_rows", QUARANTINE) == [("calls.jsonl", 2, column, reason)]


def test_cached_above_input_is_right_where_the_source_says_so(tmp_path, lake_rows):
    row = spend_log_row("r1", prompt_tokens=100, usage={"prompt_tokens_details": {"cached_tokens": 900}})
    path = write_json_lines(tmp_path / "calls.jsonl", [row])

    result = bring(tmp_path, path, "litellm_spend_logs", token_convention=(False, None))

    assert result.rows_loaded == 1
    assert lake_rows("llm_calls", "uncached_input_tokens, cache_read_tokens") == [(100, 900)]


@both_sizes
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


@both_sizes
def test_bytes_that_are_not_utf_8(tmp_path, lake_rows):
    lines = lines_of(spend_log_row("r1"), spend_log_row("r2", team_id="caf\u00e9"), spend_log_row("r3"))
    lines[1] = lines[1].replace("\\u00e9", "\u00e9")
    path = tmp_path / "calls.jsonl"
    path.write_bytes("\n".join(lines).encode("latin-1") + b"\n")

    result = bring(tmp_path, path, "litellm_spend_logs")

    assert result.rows_loaded == 3
    assert "not UTF-8" in result.message
    assert lake_rows("llm_calls", "call_id, team")[1] == ("r2", "caf\ufffd")


@both_sizes
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


@both_sizes
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_csv_that_mixes_line_ends(tmp_path, lake_rows, pack):
    text = b'task_id,outcome\r\nt1,success\nt2,failure\r\nt3\nt4,exploded\r\nt5,"success" x\n"t,\r\n6",success\r\n'
    path = tmp_path / "tasks.csv"
    path.write_bytes(pack(text))

    result = bring(tmp_path, path, "tasks")

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (6, 3, 3)
    assert lake_rows("tasks", "task_id, outcome") == [("t,\n6", "success"), ("t1", "success"), ("t2", "failure")]
    found = lake_rows("quarantined_rows", QUARANTINE)
    assert sorted((line, column) for _, line, column, _ in found) == [(4, None), (5, "outcome"), (6, None)]


@both_sizes
@pytest.mark.parametrize(
    ("header_end", "first_end", "last_end"),
    [("\r\n", "\r\n", "\n"), ("\n", "\n", "\r\n"), ("\r\n", "\n", "\n")],
)
def test_csv_that_mixes_line_ends_after_a_quoted_column(tmp_path, lake_rows, header_end, first_end, last_end):
    lines = [f"task_id,outcome{header_end}"]
    lines += [f't{number},"success"{first_end}' for number in range(1, 4)]
    lines += [f't{number},"failure"{last_end}' for number in range(4, 7)]
    path = tmp_path / "tasks.csv"
    path.write_bytes("".join(lines).encode())

    result = bring(tmp_path, path, "tasks")

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (6, 6, 0)
    assert lake_rows("tasks", "task_id") == [(f"t{number}",) for number in range(1, 7)]


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


@pytest.mark.parametrize("format_name", FORMATS)
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


SECRETS = {
    "api_key": MARKER,
    "requester_ip_address": MARKER,
    "messages": [{"role": "user", "content": MARKER}],
    "response": {"choices": [{"message": {"content": MARKER}}]},
    "proxy_server_request": {"body": MARKER},
    "cache_key": MARKER,
    "user": MARKER,
    "somebody_elses_column": MARKER,
}
"""What a spend log may hold that must not leave it."""


def secret_spend_logs(folder: Path) -> None:
    rows = [
        spend_log_row("r1", **SECRETS),
        spend_log_row("r2", prompt_tokens=-1, **SECRETS),
        spend_log_row("r3", startTime=MARKER, **SECRETS),
        spend_log_row(None, **SECRETS, api_base=f"https://user:{MARKER}@host/v1?key={MARKER}"),
        spend_log_row("r5", **{**SECRETS, "metadata": MARKER}),
    ]
    rows[0]["metadata"] |= {"requester_ip_address": MARKER, "user_api_key": MARKER, "usage_object": {"x": MARKER}}
    half = json.dumps(spend_log_row("r4", **SECRETS))[:-20]
    write_lines(folder / "calls.jsonl", [*lines_of(*rows), half, f'"{MARKER}"'])
    write_csv(folder / "calls.csv", rows)
    with open(folder / "calls.csv", "a", encoding="utf-8") as file:
        file.write(f"{MARKER},too,few\n")
    names = dict.fromkeys(name for row in rows for name in row)
    texts = [{name: json.dumps(row.get(name)) for name in names} for row in rows]
    pq.write_table(pa.Table.from_pylist(texts), folder / "calls.parquet")


def secret_bills(folder: Path) -> None:
    rows = [bill_line(note=MARKER), bill_line(BilledCost=MARKER), bill_line(ChargePeriodStart=MARKER, note=MARKER)]
    write_csv(folder / "bill" / "part.csv", rows)
    record = test_gcp_billing.record
    records = [record(note=MARKER), record(cost=MARKER, credits=[MARKER]), record(invoice={"month": MARKER})]
    write_lines(folder / "export" / "part.jsonl", [*lines_of(*records), json.dumps(records[0])[:-20]])
    texts = [{name: str(row.get(name, "")) for name in rows[2]} for row in rows]
    (folder / "other").mkdir()
    pq.write_table(pa.Table.from_pylist(texts), folder / "other" / "part.parquet")
    secrets = {"line_item_iam_principal": MARKER, "identity_line_item_id": MARKER, "note": MARKER}
    reports = [test_aws_cur.aws_line(**secrets), test_aws_cur.aws_line(line_item_unblended_cost=MARKER)]
    write_csv(folder / "aws" / "part.csv", reports)


def secret_answers(folder: Path) -> None:
    good = gpu_series([[1785585600, "1"], [1785585660, MARKER], [MARKER, "1"]], container=MARKER, job=MARKER)
    write_answer(folder / "good.json", good)
    text = json.dumps(gpu_answer(gpu_series([[1785585600, "1"]], container=MARKER)))
    write_lines(folder / "half.json", [text[:-20]])
    write_lines(folder / "none.json", [text.replace('"values": [[', f'"values": ["{MARKER}", [')])


def secret_telemetry(folder: Path) -> None:
    good = 'DCGM_FI_DEV_GPU_UTIL{UUID="GPU-1",container="MARKER"} 5 1785585600000 # {trace_id="MARKER"} 1'
    lines = [
        "# HELP DCGM_FI_DEV_GPU_UTIL MARKER",
        good,
        good.replace(" 5 ", " MARKER "),
        good.replace("1785585600000", "MARKER"),
        'DCGM_FI_DEV_GPU_UTIL{job="MARKER"} 5 1785585600000',
        'MARKER said hello="',
    ]
    write_lines(folder / "scrape.prom", [line.replace("MARKER", MARKER) for line in lines])
    header, row = test_nvidia_smi.HEADER, test_nvidia_smi.row
    logged = [f"{row(0)}, {MARKER}", f"{row(1, util=MARKER)}, {MARKER}", row(2), f"{row(3)}, {MARKER}, {MARKER}"]
    write_lines(folder / "smi.csv", [f"{header}, note", *logged])
    node = test_kubernetes_nodes.node
    metadata = {"name": "n", "creationTimestamp": MARKER, "labels": {"token": MARKER}, "annotations": {"x": MARKER}}
    status = {"addresses": [{"type": "InternalIP", "address": MARKER}], "nodeInfo": {"machineID": MARKER}}
    document = {"apiVersion": "v1", "items": [node("m", status=status), node(metadata=metadata)], "kind": "List"}
    write_lines(folder / "nodes.json", [json.dumps(document)])


def secret_requests(folder: Path) -> None:
    secrets = {"request_body": {"content": MARKER}, "response_body": MARKER, "proxy_key_id": MARKER, "x": MARKER}
    rows = [
        test_helicone.request_row("q1", **secrets),
        test_helicone.request_row("q2", **secrets, cost=MARKER),
        test_helicone.request_row("q3", **secrets, target_url=f"https://user:{MARKER}@host/v1?key={MARKER}"),
        test_helicone.request_row("q4", **secrets, status=MARKER),
    ]
    write_lines(folder / "calls.jsonl", [*lines_of(*rows), json.dumps(rows[0])[:-20]])
    write_csv(folder / "calls.csv", rows)
    pq.write_table(
        pa.Table.from_pylist([{n: json.dumps(v) for n, v in row.items()} for row in rows]), folder / "c.parquet"
    )


def secret_reports(folder: Path) -> None:
    keys = {"api_key_id": MARKER, "user_id": MARKER, "note": {"deep": MARKER}}
    openai, anthropic, costs = test_openai_usage, test_anthropic_usage, test_anthropic_costs
    pages = {
        "openai": openai.page(openai.bucket(openai.usage(**keys), openai.usage(input_tokens=MARKER), MARKER)),
        "anthropic": anthropic.page(anthropic.bucket(anthropic.usage(**keys), anthropic.usage(output_tokens=MARKER))),
        "costs": anthropic.page(anthropic.bucket(costs.cost(**keys), costs.cost(MARKER))),
    }
    for name, page in pages.items():
        write_lines(folder / f"{name}.json", [json.dumps(page, indent=2)])
        write_lines(folder / f"{name}.jsonl", [*lines_of(page, {"error": MARKER}), json.dumps(page)[:-20]])
        write_lines(folder / f"{name}_half.json", [json.dumps(page)[:-20]])


def secret_tables(folder: Path) -> None:
    write_csv(
        folder / "tasks.csv",
        [
            {"task_id": "t1", "outcome": MARKER, "subject": MARKER},
            {"task_id": "t2", "outcome": "success", "subject": MARKER},
            {"task_id": "t3", "outcome": "success", "subject": MARKER, "closed_at": MARKER},
        ],
    )
    write_csv(
        folder / "links.csv",
        [
            {"hostname": "n1", "resource_id": "", "note": MARKER},
            {"hostname": "n1", "resource_id": "i", "note": "", "valid_from": MARKER},
        ],
    )
    write_lines(folder / "no_header.txt", [f"{MARKER} said hello", "and something else"])
    write_lines(folder / "log.jsonl", [f'"{MARKER}"', f"[{MARKER}"])


@both_sizes
@pytest.mark.parametrize(
    "write",
    [secret_spend_logs, secret_bills, secret_answers, secret_telemetry, secret_requests, secret_reports, secret_tables],
)
def test_no_text_of_a_record_reaches_the_lake_or_a_message(tmp_path, lake_rows, write):
    """Keys, addresses and message text stay out of every file of the lake and every message, from bad rows too."""
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder)

    results = ingest(tmp_path / "lake", [IngestRequest("gateway", folder, "auto")])

    assert lake_rows("quarantined_rows", "count(*) > 0") == [(True,)]
    for result in results:
        assert MARKER not in result.message, result
        assert result.rows_read == result.rows_loaded + result.rows_quarantined + result.rows_skipped
    assert_nowhere(tmp_path / "lake")


# The same faults in every format


@dataclass(frozen=True)
class Kind:
    """A kind of file: its format, its suffix, a good row, the column that says when, and how the contract calls it."""

    format: str
    suffix: str
    contract: str
    row: Callable[[int], dict]
    time: str
    time_column: str
    end: str | None = None
    end_column: str | None = None

    def write(self, folder: Path, rows: list[dict]) -> Path:
        """Write rows as this kind of file, in a folder of its own as bills are."""
        path = folder / f"file{self.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.format == "otlp":
            rows = [test_otlp.flat_request(row) for row in rows]
        if self.suffix == ".jsonl":
            return write_json_lines(path, rows)
        if self.suffix == ".csv":
            return write_csv(path, rows)
        names = dict.fromkeys(name for row in rows for name in row)
        as_text = [
            {n: json.dumps(row.get(n)) if isinstance(row.get(n), dict) else _text(row.get(n)) for n in names}
            for row in rows
        ]
        pq.write_table(pa.Table.from_pylist(as_text), path)
        return path

    def options(self, folder: Path) -> dict:
        """What else to say to ingest."""
        if self.format != "mapping":
            return {}
        path = folder / "mapping.yml"
        path.write_text(MAPPING.replace("FORMAT", self.suffix[1:]), encoding="utf-8")
        return {"mapping_path": path}


MAPPING = """\
contract: llm_calls
format: FORMAT
token_convention: {input_includes_cached: true}
columns:
  call_id: id
  started_at: begun
  ended_at: done
  input_tokens: i
  cache_read_tokens: r
"""


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _task(number: int) -> dict:
    return {"task_id": f"t{number}", "outcome": "success", "closed_at": "2026-08-01T10:00:00Z"}


def _link(number: int) -> dict:
    return {"hostname": f"n{number}", "resource_id": "i", "valid_from": "2026-08-01", "valid_to": "2026-08-02"}


def _smi_row(number: int) -> dict:
    return {
        "timestamp": f"2026/08/01 10:{number // 60:02}:{number % 60:02}.000",
        "uuid": "GPU-1",
        "utilization.gpu [%]": "37 %",
    }


def _mapped(number: int) -> dict:
    return {"id": f"c{number}", "begun": "2026-08-01T10:00:00Z", "done": "2026-08-01T10:00:05Z", "i": 9, "r": 4}


def _call(number: int) -> dict:
    return spend_log_row(f"r{number}")


def _payload(number: int) -> dict:
    return test_litellm_payload.payload_row(f"r{number}", startTime="2026-08-01T10:00:00Z")


def _bill(number: int) -> dict:
    return bill_line(ResourceId=f"i-{number}")


def _aws_line(number: int) -> dict:
    return test_aws_cur.aws_line(line_item_resource_id=f"i-{number}")


def _billing_record(number: int) -> dict:
    return test_gcp_billing.record(cost=number, labels={}, system_labels={}, project={"id": "p"}, credits=None, tags={})


def _price(number: int) -> dict:
    at = "2026-08-01T10:00:00Z"
    return {"observed_at": at, "model": f"gpt-{number}", "field": "input_cost_per_token", "new": "1e-06"}


def _request(number: int) -> dict:
    return test_helicone.request_row(f"q{number}")


def _usage_bucket(number: int) -> dict:
    return test_anthropic_usage.bucket(test_anthropic_usage.usage(model=f"m{number}"))


def _observation(number: int) -> dict:
    return test_langfuse.observation(f"o{number}")


_CALL_TIMES = ("startTime", "started_at", "endTime", "ended_at")
_BILL_TIMES = ("ChargePeriodStart", "charge_period_start", "ChargePeriodEnd", "charge_period_end")
_AWS_TIMES = (
    "line_item_usage_start_date",
    "charge_period_start",
    "line_item_usage_end_date",
    "charge_period_end",
)
_RECORD_TIMES = ("usage_start_time", "charge_period_start", "usage_end_time", "charge_period_end")
_LINK_TIMES = ("valid_from", "valid_from", "valid_to", "valid_to")
_OBSERVATION_TIMES = ("start_time", "started_at", "end_time", "ended_at")
_REQUEST_TIMES = ("request_created_at", "started_at", "response_created_at", "ended_at")
_BUCKET_TIMES = ("starting_at", "started_at", "ending_at", "ended_at")
_SPAN_TIMES = ("startTimeUnixNano", "started_at", "endTimeUnixNano", "ended_at")
_MAPPED_TIMES = ("begun", "started_at", "done", "ended_at")
KINDS = [
    *(
        Kind("litellm_spend_logs", suffix, "llm_calls", _call, *_CALL_TIMES)
        for suffix in (".jsonl", ".csv", ".parquet")
    ),
    Kind("litellm_payload", ".jsonl", "llm_calls", _payload, *_CALL_TIMES),
    *(Kind("helicone", suffix, "llm_calls", _request, *_REQUEST_TIMES) for suffix in (".jsonl", ".csv", ".parquet")),
    *(
        Kind("langfuse", suffix, "llm_calls", _observation, *_OBSERVATION_TIMES)
        for suffix in (".jsonl", ".csv", ".parquet")
    ),
    Kind("anthropic_usage", ".jsonl", "vendor_usage", _usage_bucket, *_BUCKET_TIMES),
    Kind("otlp", ".jsonl", "llm_calls", test_otlp.span, *_SPAN_TIMES),
    *(Kind("focus", suffix, "bill_lines", _bill, *_BILL_TIMES) for suffix in (".csv", ".parquet")),
    *(Kind("aws_cur", suffix, "bill_lines", _aws_line, *_AWS_TIMES) for suffix in (".csv", ".parquet")),
    *(Kind("gcp_billing", suffix, "bill_lines", _billing_record, *_RECORD_TIMES) for suffix in (".jsonl", ".parquet")),
    *(Kind("resource_links", suffix, "resource_links", _link, *_LINK_TIMES) for suffix in (".csv", ".jsonl")),
    Kind("nvidia_smi", ".csv", "gpu_samples", _smi_row, "timestamp", "sampled_at"),
    *(Kind("tasks", suffix, "tasks", _task, "closed_at", "closed_at") for suffix in (".csv", ".jsonl", ".parquet")),
    *(
        Kind("litellm_prices", suffix, "model_prices", _price, "observed_at", "observed_at")
        for suffix in (".csv", ".jsonl", ".parquet")
    ),
    *(Kind("mapping", suffix, "llm_calls", _mapped, *_MAPPED_TIMES) for suffix in (".csv", ".jsonl", ".parquet")),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.format + kind.suffix)
TEXT_KINDS = [kind for kind in KINDS if kind.suffix != ".parquet"]


def bring_kind(tmp_path: Path, kind: Kind, rows: list[dict]):
    return bring(tmp_path, kind.write(tmp_path / "in", rows), kind.format, **kind.options(tmp_path))


def line_of(kind: Kind, record: int) -> int:
    """The line of a record, counted from 1; a CSV file has a header, and Parquet has row numbers."""
    return record + (kind.suffix == ".csv")


# LiteLLM's payload counts seconds.
UNCOUNTED_KINDS = [kind for kind in KINDS if kind.format != "litellm_payload"]


@pytest.mark.parametrize("kind", UNCOUNTED_KINDS, ids=lambda kind: kind.format + kind.suffix)
def test_a_number_where_a_time_should_be(tmp_path, lake_rows, kind):
    rows = [kind.row(1), {**kind.row(2), kind.time: "1785578400"}, kind.row(3)]
    result = bring_kind(tmp_path, kind, rows)

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (3, 2, 1)
    assert lake_rows(kind.contract, "count(*)") == [(2,)]
    name = f"file{kind.suffix}"
    assert lake_rows("quarantined_rows", QUARANTINE) == [(name, line_of(kind, 2), kind.time_column, "not a time")]


@pytest.mark.parametrize("kind", [k for k in KINDS if k.end], ids=lambda kind: kind.format + kind.suffix)
def test_an_end_before_its_start(tmp_path, lake_rows, kind):
    rows = [kind.row(1), kind.row(2), {**kind.row(3), kind.end: "2026-07-01T00:00:00Z"}]
    result = bring_kind(tmp_path, kind, rows)

    assert (result.rows_loaded, result.rows_quarantined) == (2, 1)
    name = f"file{kind.suffix}"
    assert lake_rows("quarantined_rows", QUARANTINE) == [
        (name, line_of(kind, 3), kind.end_column, f"before {kind.time_column}")
    ]


# Helicone's cache is beside its prompts: it cannot be above them.
INCLUSIVE_KINDS = [kind for kind in KINDS if kind.contract == "llm_calls" and kind.format != "helicone"]


@pytest.mark.parametrize("kind", INCLUSIVE_KINDS, ids=lambda kind: kind.format + kind.suffix)
def test_token_counts_that_cannot_be(tmp_path, lake_rows, kind):
    if kind.format == "mapping":
        wrong = [{"i": -9}, {"i": 9, "r": 10}, {"r": "few"}]
    elif kind.format == "langfuse":
        usage = ({"input": -9}, {"prompt_tokens": 1000, "cached_tokens": 1001}, {"input_cached_tokens": "few"})
        wrong = [{"usage_details": one} for one in usage]
    elif kind.format == "otlp":
        usage = ({"input_tokens": -9}, {"cache_read.input_tokens": 1001}, {"cache_read.input_tokens": "few"})
        wrong = [{f"gen_ai.usage.{key}": count for key, count in one.items()} for one in usage]
        wrong = [{"attributes": test_otlp.attributes(test_otlp.CHAT | test_otlp.USAGE | one)} for one in wrong]
    else:
        wrong = [{"prompt_tokens": -9}, {"metadata": {"usage_object": {"cache_read_input_tokens": 1001}}}]
        wrong.append({"metadata": {"usage_object": {"prompt_tokens_details": {"cached_tokens": "few"}}}})
    rows = [kind.row(0), *({**kind.row(number), **changes} for number, changes in enumerate(wrong, 1))]
    result = bring_kind(tmp_path, kind, rows)

    assert (result.rows_loaded, result.rows_quarantined) == (1, 3)
    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [
        (line_of(kind, 2), "input_tokens", "negative"),
        (line_of(kind, 3), "cache_read_tokens", "cached above input"),
        (line_of(kind, 4), "cache_read_tokens", "not a whole number"),
    ]


@pytest.mark.parametrize("kind", [k for k in KINDS if k.suffix == ".jsonl"], ids=lambda kind: kind.format)
@both_sizes
def test_a_half_written_line_in_every_format(tmp_path, lake_rows, kind):
    lines = kind.write(tmp_path / "whole", [kind.row(1), kind.row(2), kind.row(3)]).read_text().splitlines()
    path = write_lines(tmp_path / "file.jsonl", [lines[0], lines[1][:25], lines[2]])
    result = bring(tmp_path, path, kind.format, **kind.options(tmp_path))

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (3, 2, 1)
    assert lake_rows("quarantined_rows", QUARANTINE) == [("file.jsonl", 2, None, "not valid JSON")]


@pytest.mark.parametrize("kind", [k for k in KINDS if k.suffix == ".csv"], ids=lambda kind: kind.format)
def test_a_half_written_csv_row_in_every_format(tmp_path, lake_rows, kind):
    path = kind.write(tmp_path / "in", [kind.row(1), kind.row(2), {**kind.row(3), kind.time: "soon"}])
    lines = path.read_text(encoding="utf-8").splitlines()
    write_lines(path, [*lines[:2], lines[2].split(",")[0], lines[3]])
    result = bring(tmp_path, path, kind.format, **kind.options(tmp_path))

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (3, 1, 2)
    [half, late] = lake_rows("quarantined_rows", QUARANTINE)
    assert half == ("file.csv", 3, None, "not a row of this table (missing columns)")
    assert late == ("file.csv", 4, kind.time_column, "not a time")


@pytest.mark.parametrize("kind", TEXT_KINDS, ids=lambda kind: kind.format + kind.suffix)
@both_sizes
def test_a_gzip_cut_off_in_the_middle_in_every_format(tmp_path, lake_rows, kind):
    # Rows that differ in a hash do not compress away, so that the cut lies well within them.
    rows = [kind.row(number) | {"x_noise": hashlib.md5(str(number).encode()).hexdigest() * 4} for number in range(900)]
    path = kind.write(tmp_path / "in", rows)
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    path = path.with_suffix(f"{kind.suffix}.gz")
    path.write_bytes(packed[: len(packed) // 2])
    result = bring(tmp_path, path, kind.format, **kind.options(tmp_path))

    name = f"file{kind.suffix}.gz"
    if kind.contract == "bill_lines" and kind.format != "gcp_billing":  # which adds to a period, and replaces none
        assert result.state == "failed"
        assert f"{name}: the compressed file is cut off after line" in result.message
        assert "have it delivered again" in result.message
        assert lake_rows("bill_lines", "line_id") == []
        return
    assert result.state == "committed"
    assert 50 < result.rows_loaded < 850
    assert result.rows_quarantined == 1
    assert lake_rows("quarantined_rows", QUARANTINE) == [
        (name, line_of(kind, result.rows_loaded), None, "the compressed file is cut off after this line")
    ]


def test_half_an_answer_of_prometheus_has_no_meaning(tmp_path, lake_rows):
    values = [[1785585600 + 60 * number, str(number % 7 / 10)] for number in range(3000)]
    packed = gzip.compress(json.dumps(gpu_answer(gpu_series(values))).encode())
    path = tmp_path / "file.json.gz"
    path.write_bytes(packed[: len(packed) // 2])
    result = bring(tmp_path, path, "prometheus")

    assert result.state == "failed"
    assert "file.json.gz: the compressed file is cut off. Have it delivered again." in result.message
    assert lake_rows("gpu_samples", "gpu_uuid") == []


@pytest.mark.parametrize(
    ("point", "column", "reason"),
    [
        (["noon", "1"], "sampled_at", "missing"),
        # milliseconds where seconds are expected
        ([1785585600000, "1"], "sampled_at", "not a time"),
        ([None, "1"], "sampled_at", "missing"),
        ([1785585660, "-3"], "gpu_util", "not a ratio from 0 to 1"),
        ([1785585660, None], "gpu_util", "not a number"),
        ([], "gpu_util", "not a number"),
    ],
)
def test_a_wrong_point_of_prometheus(tmp_path, lake_rows, point, column, reason):
    series = gpu_series([[1785585600, "1"], point, *([1785585660 + 60 * number, "1"] for number in (1, 2, 3))])
    result = bring(tmp_path, write_answer(tmp_path / "file.json", series), "prometheus")

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (5, 4, 1)
    assert lake_rows("quarantined_rows", QUARANTINE) == [("file.json", 2, column, reason)]


@pytest.mark.parametrize("kind", [k for k in KINDS if k.format != "mapping"], ids=lambda k: k.format + k.suffix)
def test_a_column_that_no_format_knows_is_named(tmp_path, kind):
    result = bring_kind(tmp_path, kind, [kind.row(1) | {"colour": "red"}])

    assert (result.rows_loaded, result.message) == (1, f"file{kind.suffix}: columns not read: colour")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.format + kind.suffix)
def test_a_file_of_another_format_than_the_one_named(tmp_path, lake_rows, kind):
    path = kind.write(tmp_path / "in", [kind.row(1)])
    for name in FORMATS:
        if name == kind.format:
            continue
        result = bring(tmp_path, path, name)
        assert result.state == "failed", name
        assert f"{path}: this is not {name} (a " in result.message
        assert "Name another format, or use --format auto." in result.message
    assert Lake(tmp_path / "lake").batches() == {}


@pytest.mark.parametrize("kind", [k for k in KINDS if k.suffix == ".parquet"], ids=lambda kind: kind.format)
def test_a_parquet_file_without_rows(tmp_path, kind):
    path = kind.write(tmp_path / "in", [kind.row(1)])
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    result = bring(tmp_path, path, kind.format, **kind.options(tmp_path))

    assert (result.state, result.rows_read) == ("committed", 0)


def test_an_empty_file_for_a_mapping(tmp_path):
    kind = next(kind for kind in KINDS if kind.format == "mapping")
    result = bring(tmp_path, write_lines(tmp_path / "nothing.csv", [""]), "mapping", **kind.options(tmp_path))

    assert (result.state, result.rows_read) == ("committed", 0)
    assert result.message == "nothing.csv: the file is empty"


def test_a_folder_where_a_mapping_file_should_be(tmp_path):
    path = write_json_lines(tmp_path / "calls.jsonl", [_mapped(1)])
    result = bring(tmp_path, path, "mapping", mapping_path=tmp_path)

    assert result.state == "failed"
    assert f"{tmp_path}: the mapping file cannot be read (Is a directory)." in result.message


def test_a_line_in_a_csv_file_with_line_breaks_in_its_cells(tmp_path, lake_rows):
    rows = [
        {"task_id": "t1", "note": "one\ntwo\nthree", "outcome": "success"},
        {"task_id": "t2", "note": "", "outcome": "exploded"},
        {"task_id": "t3", "note": "four\nfive", "outcome": "exploded"},
        {"task_id": "t4", "note": "", "outcome": "exploded"},
    ]
    bring(tmp_path, write_csv(tmp_path / "tasks.csv", rows), "tasks")

    assert lake_rows("quarantined_rows", "line_number") == [(5,), (6,), (8,)]


def test_a_quarantined_row_is_told_by_length_and_hash(tmp_path, lake_rows):
    line = json.dumps(spend_log_row("r1", prompt_tokens=-1))
    path = write_lines(tmp_path / "calls.jsonl", [line])
    bring(tmp_path, path, "litellm_spend_logs")

    assert lake_rows("quarantined_rows", "row_length, row_hash, source, format, contract") == [
        (len(line), hashlib.md5(line.encode()).hexdigest(), "gateway", "litellm_spend_logs", "llm_calls")
    ]


def test_a_packed_file_with_a_very_long_line(tmp_path, lake_rows):
    rows = [spend_log_row("r1"), spend_log_row("r2", messages=[{"content": "x" * 20_000_000}])]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path = tmp_path / "calls.jsonl.gz"
    path.write_bytes(gzip.compress(text.encode(), 1))
    result = bring(tmp_path, path, "litellm_spend_logs")

    assert (result.state, result.rows_loaded) == ("committed", 2), result.message
