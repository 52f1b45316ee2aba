"""The lake: identity, commit, replacement, sweeping, accounting."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest import runner
from ingest.errors import LakeError
from ingest.lake import Lake
from ingest.runner import IngestRequest, ingest
from tests.python.conftest import spend_log_row, write_json_lines


def request(path: Path, **changes: object) -> IngestRequest:
    return IngestRequest("gateway", path, **changes)


def test_a_second_delivery_of_the_same_content_is_a_no_op_whatever_its_name(tmp_path, lake_rows):
    first = write_json_lines(tmp_path / "a.jsonl", [spend_log_row("r1"), spend_log_row("r2")])
    second = tmp_path / "b.jsonl"
    second.write_bytes(first.read_bytes())

    assert [result.state for result in ingest(tmp_path / "lake", [request(first)])] == ["committed"]
    assert [result.state for result in ingest(tmp_path / "lake", [request(first)])] == ["unchanged"]
    assert [result.state for result in ingest(tmp_path / "lake", [request(second)])] == ["unchanged"]
    assert lake_rows("llm_calls", "call_id") == [("r1",), ("r2",)]


def test_an_unchanged_file_is_not_hashed_again(tmp_path, monkeypatch):
    path = write_json_lines(tmp_path / "a.jsonl", [spend_log_row("r1")])
    ingest(tmp_path / "lake", [request(path)])

    def refuse(_path: Path) -> str:
        raise AssertionError("hashed again")

    monkeypatch.setattr(runner, "hash_file", refuse)
    assert ingest(tmp_path / "lake", [request(path)])[0].state == "unchanged"
    os.utime(path, (1, 1))
    with pytest.raises(AssertionError, match="hashed again"):
        ingest(tmp_path / "lake", [request(path)])


def test_the_same_content_read_another_way_replaces_the_batch_and_says_so(tmp_path):
    path = write_json_lines(tmp_path / "a.jsonl", [spend_log_row("r1", "2026-08-01T01:00:00")])
    ingest(tmp_path / "lake", [request(path)])
    result = ingest(tmp_path / "lake", [request(path, time_zone="Asia/Kolkata")])[0]

    assert result.state == "replaced"
    assert "another way" in result.message
    (batch,) = Lake(tmp_path / "lake").batches().values()
    # 01:00 in Kolkata is 19:30 UTC of the day before
    assert [part.usage_date.isoformat() for part in batch.parts] == ["2026-07-31"]


def test_every_candidate_row_is_accounted_for(tmp_path):
    path = write_json_lines(tmp_path / "a.jsonl", [spend_log_row("r1"), spend_log_row("r2", prompt_tokens=-1)])
    path.write_text(path.read_text() + "\n{broken\n")
    result = ingest(tmp_path / "lake", [request(path)])[0]

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined, result.rows_skipped) == (3, 1, 2, 0)


def test_rows_without_an_id_survive_as_twins_and_deduplicate_when_the_file_grows(tmp_path, lake_rows):
    twins = [spend_log_row(""), spend_log_row("")]
    small = write_json_lines(tmp_path / "small.jsonl", twins)
    grown = write_json_lines(tmp_path / "grown.jsonl", [*twins, spend_log_row("", prompt_tokens=7)])
    ingest(tmp_path / "lake", [request(small), request(grown)])

    ids = [call_id for (call_id,) in lake_rows("llm_calls", "call_id")]
    assert len(ids) == 5
    assert len(set(ids)) == 3


def test_a_ledger_that_lists_a_missing_part_is_an_error(tmp_path):
    path = write_json_lines(tmp_path / "a.jsonl", [spend_log_row("r1")])
    ingest(tmp_path / "lake", [request(path)])
    lake = Lake(tmp_path / "lake")
    (batch,) = lake.batches().values()
    (lake.root / batch.parts[0].path).unlink()

    with pytest.raises(LakeError, match="missing"):
        lake.check_parts(lake.batches())


def test_a_damaged_ledger_record_names_its_file(tmp_path):
    lake = Lake(tmp_path / "lake")
    (tmp_path / "lake" / "_ledger" / "abc.json").write_text("{")
    with pytest.raises(LakeError, match=r"abc\.json"):
        lake.batches()


def test_the_sweeper_removes_dead_attempts_with_their_parts_and_leaves_live_ones(tmp_path):
    lake = Lake(tmp_path / "lake")
    orphan = lake.root / "llm_calls" / "usage_date=2026-08-01" / "x-dead-0.parquet"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"part of a killed attempt")
    dead = lake.root / "_incoming" / "dead"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "placed.json").write_text(json.dumps([orphan.relative_to(lake.root).as_posix()]))
    live = lake.root / "_incoming" / "live"
    live.mkdir()
    with open(live / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert lake.sweep() == 1
        assert live.exists()
    assert not dead.exists()
    assert not orphan.exists()


def test_delivered_at_is_the_given_time_else_the_files_time(tmp_path):
    path = write_json_lines(tmp_path / "a.jsonl", [spend_log_row("r1")])
    os.utime(path, (1_785_000_000, 1_785_000_000))
    ingest(tmp_path / "lake", [request(path)])
    (batch,) = Lake(tmp_path / "lake").batches().values()
    assert batch.delivered_at == datetime.fromtimestamp(1_785_000_000, UTC)

    given = datetime(2026, 9, 1, tzinfo=UTC)
    ingest(tmp_path / "other", [request(path, delivered_at=given)])
    (batch,) = Lake(tmp_path / "other").batches().values()
    assert batch.delivered_at == given


def test_a_failing_delivery_does_not_cost_the_others(tmp_path, lake_rows):
    good = write_json_lines(tmp_path / "in" / "good.jsonl", [spend_log_row("r1")])
    (good.parent / "other.csv").write_text("a,b\n1,2\n")
    results = {Path(result.name).name: result for result in ingest(tmp_path / "lake", [request(good.parent)])}

    assert results["good.jsonl"].state == "committed"
    assert results["other.csv"].state == "failed"
    assert "no known format" in results["other.csv"].message
    assert lake_rows("llm_calls", "call_id") == [("r1",)]


def test_a_path_that_does_not_exist_fails_with_its_source(tmp_path):
    (result,) = ingest(tmp_path / "lake", [request(tmp_path / "nowhere")])
    assert result.state == "failed"
    assert "nowhere" in result.message
    assert "gateway" in result.message
