"""Copilot's traces: sessions of turns become model calls and tool calls, and their sums stay what the trace says."""

from __future__ import annotations

import gzip
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingest import reading
from tests.python.conftest import write_json_lines
from tests.python.ingest.helpers import MARKER, assert_nowhere, bring, write_lines

START = datetime(2026, 8, 1, 10, 0, 0, tzinfo=UTC)


def at(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def when(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def model_call(message_id: str | None, seconds: float = 0, **changes: object) -> dict:
    return {
        "message_id": message_id,
        "timestamp": at(seconds),
        "duration_ms": 1500,
        "initiator_type": "agent",
        "model": "claude-sonnet-4",
        "result": "Success",
        "status_code": 200,
        "tokens": {"total": 1100, "prompt": 1000, "completion": 100, "cached": 850, "cached_pct": 85.0},
        **changes,
    }


def tool_batch(request_id: str | None, *durations: int, took: int | None = None) -> dict:
    return {
        "duration_ms": sum(durations) if took is None else took,
        "request_id": request_id,
        "function_calls": [
            {"name": f"tool{number}", "status": 1, "duration_ms": duration} for number, duration in enumerate(durations)
        ],
    }


def turn(number: int, calls: list[dict], batches: list[dict] | None = None) -> dict:
    return {"turn_id": f"turn-{number}", "llm_calls": calls, "tool_batches": batches or []}


def session(name: str, *turns: dict, **changes: object) -> dict:
    return {"session_id": name, "turns": list(turns), **changes}


@pytest.fixture
def rows_of(tmp_path, lake_rows):
    """Ingest sessions and return the named columns of their rows."""

    def rows(names: str, *sessions: dict) -> list[tuple]:
        result = bring(tmp_path, write_json_lines(tmp_path / "traces.jsonl", list(sessions)))
        assert (result.format, result.rows_quarantined) == ("copilot_traces", 0)
        assert result.rows_loaded, lake_rows("quarantined_rows", "column_name, reason")
        return lake_rows("llm_calls", names)

    return rows


def test_a_session_of_two_turns(rows_of):
    found = rows_of(
        "call_kind, call_id, response_id, parent_call_id, tool_name, tool_call_count, step_name, status, tags",
        session(
            "s1",
            turn(1, [model_call("m1", initiator_type="user"), model_call("m2", 3)], [tool_batch("m1", 200, 300)]),
            turn(2, [model_call("m3", 60)]),
        ),
    )
    agent = '"initiator_type":"agent"'
    assert found == [
        ("llm", "s1/m1", "m1", None, None, 2, "turn", "success", '{"turn":1,"initiator_type":"user"}'),
        ("llm", "s1/m2", "m2", None, None, 0, "turn", "success", f'{{"turn":1,{agent}}}'),
        ("llm", "s1/m3", "m3", None, None, 0, "turn", "success", f'{{"turn":2,{agent}}}'),
        ("tool", "s1/turn-1/tool/1/1", None, "s1/m1", "tool0", None, None, "success", '{"turn":1}'),
        ("tool", "s1/turn-1/tool/1/2", None, "s1/m1", "tool1", None, None, "success", '{"turn":1}'),
    ]


def test_the_calls_of_a_turn_are_not_retries_of_each_other(rows_of):
    """Attempts with one step index are one step: all but the last would count as superseded."""
    found = rows_of(
        "call_id, attempt_number, step_name, step_index, task_id, task_id_origin",
        session("s1", turn(1, [model_call("m1"), model_call("m2", 5)])),
    )
    assert found == [
        ("s1/m1", 1, "turn", None, "s1", "session"),
        ("s1/m2", 1, "turn", None, "s1", "session"),
    ]


def test_prompts_include_what_was_cached(rows_of):
    names = "uncached_input_tokens, cache_read_tokens, output_text_tokens, provider, model, started_at, ended_at"
    assert rows_of(names, session("s1", turn(1, [model_call("m1", 0.25)]))) == [
        (150, 850, 100, "github_copilot", "claude-sonnet-4", when(0.25), when(1.75))
    ]


def test_what_is_not_reported_is_null_and_not_zero(rows_of):
    call = {"message_id": "m1", "timestamp": at(0), "tokens": {"prompt": 10, "completion": None}}
    names = "uncached_input_tokens, cache_read_tokens, output_text_tokens, ended_at, model, tool_call_count, tags"
    found = rows_of(names, {"session_id": "s1", "turns": [{"llm_calls": [call]}]})
    assert found == [(10, None, None, None, None, None, '{"turn":1}')]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"result": "Success"}, ("success", None)),
        ({"result": "UserCancel"}, ("failed", "cancelled")),
        ({"result": "UserCancel", "status_code": 499}, ("failed", "cancelled")),
        ({"result": "Error", "status_code": 429}, ("failed", "429")),
        ({"result": "Timeout", "status_code": None}, ("failed", "timeout")),
        ({"result": None, "status_code": 500}, ("failed", "500")),
        ({"result": None}, ("success", None)),
    ],
)
def test_the_result_of_a_call(rows_of, changes, expected):
    found = rows_of("status, error_type, cache_read_tokens", session("s1", turn(1, [model_call("m1", **changes)])))
    assert found == [(*expected, 850)]


def test_the_status_of_a_tool_call(rows_of):
    batch = tool_batch("m1", 10, 20)
    batch["function_calls"][1]["status"] = 2
    found = rows_of(
        "tool_name, status, error_type, model, provider, uncached_input_tokens",
        session("s1", turn(1, [model_call("m1")], [batch])),
    )
    assert found[:2] == [
        ("tool0", "success", None, None, None, None),
        ("tool1", "failed", "tool_error", None, None, None),
    ]


def tool_times(rows_of, *turns: dict) -> list[tuple]:
    found = rows_of("call_kind, tool_name, started_at, ended_at, call_id", session("s1", *turns))
    return [row[1:4] for row in sorted(found, key=lambda row: row[2]) if row[0] == "tool"]


def test_tools_run_one_after_the_other_where_the_batch_lasts_as_long(rows_of):
    found = tool_times(
        rows_of, turn(1, [model_call("m1"), model_call("m2", 9)], [tool_batch("m1", 200, 300, took=510)])
    )
    assert found == [("tool0", when(1.5), when(1.7)), ("tool1", when(1.7), when(2.0))]


def test_tools_run_at_once_where_the_batch_is_shorter_and_keep_their_order(rows_of):
    found = tool_times(rows_of, turn(1, [model_call("m1")], [tool_batch("m1", 200, 300, took=300)]))
    assert found == [("tool0", when(1.5), when(1.7)), ("tool1", when(1.500001), when(1.800001))]


def test_batches_without_ids_follow_the_calls_in_their_order(rows_of, lake_rows):
    calls = [model_call("m1"), model_call("m2", 10)]
    batches = [tool_batch(None, 100), tool_batch(None, 200), tool_batch(None, 300)]
    found = tool_times(rows_of, turn(1, calls, batches))

    # the third batch has no call of its own: it comes after the second
    assert [row[1] for row in found] == [when(1.5), when(11.5), when(11.7)]
    assert set(lake_rows("llm_calls", "parent_call_id, tool_call_count")) == {(None, None)}


def test_some_batches_name_their_call(rows_of):
    calls = [model_call("m1"), model_call("m2", 10)]
    batches = [tool_batch("m2", 100, 100), tool_batch("unknown", 200)]
    found = rows_of("call_id, tool_call_count, parent_call_id", session("s1", turn(1, calls, batches)))

    # that m1 asked for none cannot be told: the other batch may be its own
    assert found[:2] == [("s1/m1", None, None), ("s1/m2", 2, None)]
    assert [row[2] for row in found[2:]] == ["s1/m2", "s1/m2", None]


def test_the_session_and_the_turn_in_other_spellings(rows_of):
    found = rows_of(
        "call_id, task_id",
        {"id": "s1", "turns": [{"id": "a", "llm_calls": [model_call(None)]}]},
        {"sessionId": "s2", "turns": [{"index": 0, "llm_calls": [model_call(None)]}, {"index": 1, "llm_calls": []}]},
        {"session_id": "s3", "turns": [{"llm_calls": [model_call(None), model_call(None, 5)]}]},
        # ids that are not all different name no turn
        {"session_id": "s4", "turns": [{"turn_id": "x", "llm_calls": [model_call(None)]}] * 2},
    )
    assert found == [
        ("s1/a/1", "s1"),
        ("s2/0/1", "s2"),
        ("s3/1/1", "s3"),
        ("s3/1/2", "s3"),
        ("s4/1/1", "s4"),
        ("s4/2/1", "s4"),
    ]


def test_a_message_that_comes_again_is_another_attempt(rows_of):
    found = rows_of(
        "call_id, attempt_number, started_at",
        session("s1", turn(1, [model_call("m1"), model_call("m1", 5)])),
        session("s2", turn(1, [model_call("m1", 9)])),
    )
    assert found == [("s1/m1", 1, when(0)), ("s1/m1", 2, when(5)), ("s2/m1", 1, when(9))]


def test_rows_without_any_id_get_one_by_their_content(rows_of):
    unnamed = {"turns": [turn(1, [model_call(None), model_call(None)], [tool_batch(None, 100), tool_batch(None, 100)])]}
    found = rows_of("call_id, call_kind", {"session_id": "", **unnamed})

    assert len({call_id for call_id, _ in found}) == 4
    assert all(call_id.startswith("h_") for call_id, _ in found)


@pytest.mark.parametrize("place", ["top", "metadata"])
def test_labels_of_the_task(rows_of, place):
    labels = {"task_id": "PR-7", "task_type": "pull request", "team": "search", "environment": "ci"}
    record = session("s1", turn(1, [model_call("m1")]), **(labels if place == "top" else {"metadata": labels}))
    found = rows_of("task_id, task_type, team, environment, task_id_origin", record)
    assert found == [(*labels.values(), "task")]


@pytest.mark.parametrize(
    "timestamp",
    ["2026-08-01T12:00:00.250+02:00", "2026-08-01 10:00:00.25", 1785578400.25, 1785578400250, "1785578400250"],
)
def test_times_in_every_spelling(rows_of, timestamp):
    call = model_call("m1", timestamp=timestamp)
    assert rows_of("started_at, ended_at", session("s1", turn(1, [call]))) == [(when(0.25), when(1.75))]


# Bad input


@pytest.fixture(params=["small", "large"])
def file_size(request, monkeypatch):
    """Small files are read with care from the start, large ones only when the fast reader gives up."""
    if request.param == "large":
        monkeypatch.setattr(reading, "_SMALL_BYTES", 0)


@pytest.mark.usefixtures("file_size")
@pytest.mark.parametrize(
    ("changes", "column", "reason"),
    [
        ({"timestamp": "yesterday"}, "started_at", "not a time"),
        ({"timestamp": None}, "started_at", "missing"),
        ({"duration_ms": "long"}, "ended_at", "not a number of milliseconds"),
        ({"duration_ms": -1}, "ended_at", "before started_at"),
        ({"result": "Exploded"}, "status", "not one of the known values"),
        ({"tokens": {"prompt": 100, "cached": 101}}, "cache_read_tokens", "cached above input"),
        ({"tokens": {"prompt": "many"}}, "input_tokens", "not a whole number"),
        ({"tokens": {"prompt": -1}}, "input_tokens", "negative"),
    ],
)
def test_a_wrong_value_costs_its_call_only(tmp_path, lake_rows, changes, column, reason):
    calls = [model_call("m1"), model_call("m2", 5, **changes), model_call("m3", 9)]
    rows = [session("s0", turn(1, [model_call("m0")])), session("s1", turn(1, calls, [tool_batch("m1", 10)]))]
    result = bring(tmp_path, write_json_lines(tmp_path / "traces.jsonl", rows))

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (5, 4, 1)
    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [(2, column, reason)]
    assert lake_rows("llm_calls", "response_id") == [("m0",), ("m1",), ("m3",), (None,)]


@pytest.mark.usefixtures("file_size")
def test_records_that_are_no_sessions(tmp_path, lake_rows):
    good = [session("s1", turn(1, [model_call("m1")])), session("s2", turn(1, [model_call("m2")]))]
    lines = [
        json.dumps(good[0]),
        json.dumps(good[1])[:90],
        json.dumps({"session_id": "s3", "turns": None}),
        json.dumps({"session_id": "s4"}),
        json.dumps({"session_id": "s5", "turns": [{"turn_id": 1, "llm_calls": "none", "tool_batches": []}]}),
        json.dumps({"session_id": "s6", "turns": []}),
        json.dumps({"session_id": "s7", "turns": [{"turn_id": 1, "llm_calls": [], "tool_batches": None}]}),
        json.dumps({"session_id": "s8", "turns": [None, turn(2, [model_call("m8")])]}),
        "[1]",
        "",
        json.dumps(good[1]),
    ]
    result = bring(tmp_path, write_lines(tmp_path / "traces.jsonl", lines))

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined, result.rows_skipped) == (11, 3, 6, 2)
    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [
        (2, None, "not valid JSON"),
        (3, None, "not turns of calls"),
        (4, None, "not turns of calls"),
        (5, None, "not turns of calls"),
        (8, None, "not turns of calls"),
        (9, None, "not a JSON object"),
    ]


def test_a_call_that_is_null_is_not_lost(tmp_path, lake_rows):
    result = bring(
        tmp_path, write_json_lines(tmp_path / "traces.jsonl", [session("s1", turn(1, [model_call("m1"), None]))])
    )

    assert (result.rows_loaded, result.rows_quarantined) == (1, 1)
    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [(1, "started_at", "missing")]


def test_a_gzip_cut_off_in_the_middle(tmp_path, lake_rows):
    noise = random.Random(7)
    rows = [session(f"s{n}", turn(1, [model_call(f"{noise.random()}", n)])) for n in range(900)]
    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    path = tmp_path / "traces.jsonl.gz"
    path.write_bytes(packed[: len(packed) // 2])
    result = bring(tmp_path, path)

    assert result.state == "committed"
    assert 50 < result.rows_loaded < 850
    assert lake_rows("quarantined_rows", "line_number, reason") == [
        (result.rows_loaded, "the compressed file is cut off after this line")
    ]


@pytest.mark.parametrize("content", ["one", "list"])
def test_a_document_of_one_session_and_a_list_of_them(tmp_path, lake_rows, content):
    record = session("s1", turn(1, [model_call("m1"), model_call("m2", 5)], [tool_batch("m1", 10)]))
    bad = session("s2", turn(1, [model_call("m3", timestamp="soon")]))
    path = tmp_path / "traces.json"
    path.write_text(json.dumps(record if content == "one" else [record, bad], indent=2))
    result = bring(tmp_path, path)

    assert (result.format, result.rows_loaded) == ("copilot_traces", 3)
    assert result.rows_quarantined == (content == "list")
    assert lake_rows("llm_calls", "call_id") == [("s1/m1",), ("s1/m2",), ("s1/turn-1/tool/1/1",)]


@pytest.mark.usefixtures("file_size")
def test_no_text_of_a_session_reaches_the_lake_or_a_message(tmp_path, lake_rows):
    batch = tool_batch("m1", 10)
    batch["function_calls"][0] |= {"arguments": {"path": MARKER}, "output": MARKER}
    calls = [
        model_call("m1", prompt=MARKER, request={"messages": [MARKER]}, ip_address=MARKER),
        model_call("m2", 5, timestamp=MARKER),
        model_call("m3", 6, result=MARKER),
        model_call("m4", 7, duration_ms=MARKER),
        model_call("m5", 8, tokens={"prompt": MARKER, MARKER: 1}),
    ]
    rows = [
        session("s1", {**turn(1, calls, [batch]), "user_message": MARKER}, title=MARKER, metadata={"note": MARKER}),
        session("s2", MARKER, turn(2, [model_call("m6")])),
    ]
    result = bring(tmp_path, write_json_lines(tmp_path / "traces.jsonl", rows), "copilot_traces")

    assert (result.rows_loaded, result.rows_quarantined) == (3, 5)
    assert_nowhere(tmp_path / "lake")


def test_what_a_newer_version_adds_is_named(tmp_path):
    rows = [session("s1", turn(1, [model_call("m1")]), repository="x")]
    result = bring(tmp_path, write_json_lines(tmp_path / "traces.jsonl", rows))

    assert (result.rows_loaded, result.message) == (1, "traces.jsonl: columns not read: repository")


# Plausibility


def generated(sessions: int) -> list[dict]:
    """Sessions as the published ratios have them: about four turns, eight calls a turn, most of a prompt cached."""
    dice = random.Random(20260601)
    records = []
    for number in range(sessions):
        clock, turns = number * 3600.0, []
        for turn_number in range(dice.randint(1, 7)):
            calls, batches = [], []
            for call_number in range(dice.randint(1, 15)):
                name = f"m-{number}-{turn_number}-{call_number}"
                prompt, duration = dice.randint(2_000, 120_000), dice.randint(300, 20_000)
                cached, completion = round(prompt * dice.uniform(0.75, 0.95)), dice.randint(20, 2_000)
                tokens = {"total": prompt + completion, "prompt": prompt, "completion": completion, "cached": cached}
                who = "agent" if call_number else "user"
                result = "UserCancel" if dice.random() < 0.02 else "Success"
                calls.append(
                    model_call(name, clock, duration_ms=duration, tokens=tokens, initiator_type=who, result=result)
                )
                clock += duration / 1000
                if dice.random() < 0.7:
                    batches.append(tool_batch(name, *(dice.randint(5, 900) for _ in range(dice.randint(1, 3)))))
                    clock += batches[-1]["duration_ms"] / 1000
            turns.append(turn(turn_number, calls, batches))
        records.append(session(f"s{number}", *turns))
    return records


def test_a_generated_trace_adds_up(tmp_path, lake_rows):
    records = generated(60)
    path = tmp_path / "traces.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(record) + "\n" for record in records).encode()))
    result = bring(tmp_path, path)

    calls = [call for record in records for one in record["turns"] for call in one["llm_calls"]]
    tools = [tool for r in records for one in r["turns"] for b in one["tool_batches"] for tool in b["function_calls"]]
    assert (result.rows_loaded, result.rows_quarantined, result.rows_skipped) == (len(calls) + len(tools), 0, 0)

    def tokens(name: str) -> int:
        return sum(call["tokens"][name] for call in calls)

    sums = (
        "sum(uncached_input_tokens + cache_read_tokens), sum(cache_read_tokens), sum(output_text_tokens), "
        "sum(tool_call_count), count(*) filter (call_kind = 'tool'), count(*) filter (status = 'failed'), "
        "count(distinct call_id), count(distinct task_id)"
    )
    cancelled = sum(call["result"] == "UserCancel" for call in calls)
    assert lake_rows("llm_calls", sums) == [
        (
            tokens("prompt"),
            tokens("cached"),
            tokens("completion"),
            len(tools),
            len(tools),
            cancelled,
            len(calls) + len(tools),
            len(records),
        )
    ]
    [(cached_ratio, calls_a_turn, turns_a_session)] = lake_rows(
        "llm_calls",
        "cast(sum(cache_read_tokens) / sum(uncached_input_tokens + cache_read_tokens) as double), "
        "count(*) filter (call_kind = 'llm') / count(distinct (task_id, tags ->> 'turn')), "
        "count(distinct (task_id, tags ->> 'turn')) / count(distinct task_id)",
    )
    turns = sum(len(record["turns"]) for record in records)
    assert cached_ratio == pytest.approx(tokens("cached") / tokens("prompt"))
    assert (calls_a_turn, turns_a_session) == (pytest.approx(len(calls) / turns), pytest.approx(turns / len(records)))
    # published: 85.67 % of prompts cached, 7.83 calls a turn, 3.95 turns a session
    assert 0.7 < cached_ratio < 0.95
    assert 5 < calls_a_turn < 11
    assert 2.5 < turns_a_session < 5.5


def test_tool_calls_of_a_generated_trace_lie_between_their_model_calls(tmp_path, lake_rows):
    records = generated(20)
    bring(tmp_path, write_json_lines(tmp_path / "traces.jsonl", records))

    rows = lake_rows("llm_calls", "call_id, call_kind, parent_call_id, started_at, ended_at")
    ends = {call_id: ended for call_id, kind, _, _, ended in rows if kind == "llm"}
    starts = sorted(started for _, kind, _, started, _ in rows if kind == "llm")
    for _, kind, parent, started, ended in rows:
        if kind == "tool":
            assert started >= ends[parent]
            following = next((start for start in starts if start >= ends[parent]), None)
            assert following is None or ended <= following


def test_a_session_that_grew_keeps_the_ids_of_its_calls(tmp_path, lake_rows):
    first = turn(1, [model_call("m1"), model_call(None, 5)], [tool_batch("m1", 10)])
    bring(tmp_path, write_json_lines(tmp_path / "a.jsonl", [session("s1", first)]))
    bring(tmp_path, write_json_lines(tmp_path / "b.jsonl", [session("s1", first, turn(2, [model_call("m9", 60)]))]))

    assert lake_rows("llm_calls", "call_id") == sorted(
        [("s1/m1",), ("s1/turn-1/2",), ("s1/turn-1/tool/1/1",)] * 2 + [("s1/m9",)]
    )


def test_the_file_says_what_it_is(tmp_path):
    """A file of another kind that happens to have turns is not taken."""
    path = tmp_path / "other.jsonl"
    write_json_lines(path, [{"session_id": "s1", "turns": [{"messages": []}]}])
    result = bring(tmp_path, path)

    assert result.state == "failed"
    assert "no known format" in result.message


def test_a_session_longer_than_the_head_of_a_file(tmp_path):
    record = session("s1", *(turn(n, [model_call(f"m{n}-{c}", 100 * n + c) for c in range(10)]) for n in range(200)))
    path = Path(tmp_path / "traces.json")
    path.write_text(json.dumps(record))
    result = bring(tmp_path, path)

    assert (result.format, result.rows_loaded) == ("copilot_traces", 2000)
