"""The lake: identity, commit, replacement, sweeping, accounting."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ingest import runner
from ingest.contracts import CONTRACTS
from ingest.errors import LakeError
from ingest.lake import Lake
from ingest.ledger import Part
from ingest.runner import IngestRequest, ingest
from ingest.snapshot import superseded_keys
from tests.python.conftest import spend_log_row, write_json_lines
from tests.python.ingest.helpers import bill_line, write_csv


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


# Deliveries that come again


def deliver_bill(folder: Path, delivered: int, **changes: object) -> Path:
    """A bill of one line in a folder of its own, delivered on a day of September."""
    path = write_csv(folder / "part.csv", [bill_line(**changes)])
    moment = datetime(2026, 9, delivered, tzinfo=UTC).timestamp()
    os.utime(path, (moment, moment))
    return folder


def newest_cost(lake: Path) -> str:
    """What the one line of the bill costs, in the delivery that counts."""
    batches = Lake(lake).batches()
    lost = {batch.batch_id for batch, _ in superseded_keys(batches)}
    (winner,) = [batch for name, batch in batches.items() if name not in lost]
    return str(pq.read_table(lake / winner.parts[0].path)["billed_cost"][0].as_py().normalize())


def test_a_bill_that_comes_again_is_the_newest_of_its_periods(tmp_path):
    lake = tmp_path / "lake"
    first = deliver_bill(tmp_path / "first", 1, BilledCost="1")
    second = deliver_bill(tmp_path / "second", 2, BilledCost="2")
    assert [result.state for result in ingest(lake, [request(first), request(second)])] == ["committed", "committed"]
    assert newest_cost(lake) == "2"

    again = deliver_bill(tmp_path / "again", 3, BilledCost="1")
    (result,) = ingest(lake, [request(again)])
    assert (result.state, result.message) == ("redelivered", "the same bill again: it is now the newest of its periods")
    assert newest_cost(lake) == "1"
    # and the path of the first delivery is not older again
    assert [result.state for result in ingest(lake, [request(first)])] == ["unchanged"]
    assert newest_cost(lake) == "1"


def test_a_bill_file_that_was_merely_touched_is_not_newer(tmp_path):
    lake = tmp_path / "lake"
    ingest(lake, [request(deliver_bill(tmp_path / "first", 1, BilledCost="1"))])
    ingest(lake, [request(deliver_bill(tmp_path / "second", 2, BilledCost="2"))])
    (result,) = ingest(lake, [request(deliver_bill(tmp_path / "first", 5, BilledCost="1"))])

    assert result.state == "unchanged"
    assert newest_cost(lake) == "2"


def test_a_home_that_was_moved_keeps_the_order_of_its_bills(tmp_path):
    home, moved = tmp_path / "home", tmp_path / "moved"
    for folder, day in (("first", 1), ("second", 2)):
        ingest(home / "lake", [request(deliver_bill(home / "landing" / folder, day, BilledCost=str(day)))])
    shutil.copytree(home, moved)
    # the copy has lost the files' times: all are new, the first bill's the newest
    for number, path in enumerate(sorted(moved.glob("landing/*/*"), reverse=True)):
        os.utime(path, (2_000_000_000 + number,) * 2)

    results = ingest(moved / "lake", [request(moved / "landing" / name) for name in ("first", "second")])
    assert [result.state for result in results] == ["unchanged", "unchanged"]
    assert newest_cost(moved / "lake") == "2"


def test_of_two_bills_within_a_second_the_later_one_is_newer(tmp_path):
    for number, cost in enumerate(("2", "1")):
        path = deliver_bill(tmp_path / cost, 1, BilledCost=cost)
        for file in [path] if path.is_file() else path.iterdir():
            os.utime(file, ns=(1_790_000_000_000_000_000 + number * 5_000_000,) * 2)
    ingest(tmp_path / "lake", [request(tmp_path / "2"), request(tmp_path / "1")])
    assert newest_cost(tmp_path / "lake") == "1"


def test_the_same_bill_with_a_later_time_of_delivery_given_is_newer(tmp_path):
    lake = tmp_path / "lake"
    first = deliver_bill(tmp_path / "first", 1, BilledCost="1")
    ingest(lake, [request(first), request(deliver_bill(tmp_path / "second", 2, BilledCost="2"))])
    (result,) = ingest(lake, [request(first, delivered_at=datetime(2026, 9, 9, tzinfo=UTC))])

    assert result.state == "redelivered"
    assert newest_cost(lake) == "1"


def test_a_log_that_comes_again_stays_as_it_is(tmp_path):
    lake = tmp_path / "lake"
    path = write_json_lines(tmp_path / "a.jsonl", [spend_log_row("r1")])
    ingest(lake, [request(path)])
    before = Lake(lake).batches()
    (result,) = ingest(lake, [request(path, delivered_at=datetime(2027, 1, 1, tzinfo=UTC))])

    assert result.state == "unchanged"
    assert Lake(lake).batches() == before


def test_the_same_file_for_another_source_is_another_batch(tmp_path):
    path = write_json_lines(tmp_path / "a.jsonl", [spend_log_row("r1")])
    results = ingest(tmp_path / "lake", [IngestRequest("one", path), IngestRequest("two", path)])

    assert [result.state for result in results] == ["committed", "committed"]
    assert sorted(batch.source for batch in Lake(tmp_path / "lake").batches().values()) == ["one", "two"]


def parts_on_disk(lake: Path) -> set[str]:
    return {
        path.relative_to(lake).as_posix()
        for path in lake.rglob("*.parquet")
        if path.name != "00-no-rows.parquet" and "_incoming" not in path.parts
    }


def assert_lake_holds_what_its_ledger_lists(lake: Path) -> None:
    batches = Lake(lake).batches()
    assert parts_on_disk(lake) == {part.path for batch in batches.values() for part in batch.parts}
    assert list((lake / "_incoming").iterdir()) == []


def test_two_deliveries_of_one_content_in_one_run_are_one_batch(tmp_path, lake_rows):
    for number in range(8):
        write_json_lines(tmp_path / "in" / f"{number}.jsonl", [spend_log_row("r1"), spend_log_row("r2")])
    results = ingest(tmp_path / "lake", [request(tmp_path / "in")], workers=4)

    assert sorted(result.state for result in results) == ["committed", *["unchanged"] * 7]
    assert lake_rows("llm_calls", "call_id") == [("r1",), ("r2",)]
    assert_lake_holds_what_its_ledger_lists(tmp_path / "lake")


def test_two_deliveries_of_one_broken_content_both_say_so(tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"\x1f\x8b\x08\x00" + b"\xff" * 200)
    results = ingest(tmp_path / "lake", [request(tmp_path / "in", format="litellm_spend_logs")])

    assert [result.state for result in results] == ["failed", "failed"]
    assert ["a.jsonl.gz" in results[0].message, "b.jsonl.gz" in results[1].message] == [True, True]


def test_small_deliveries_that_are_read_together_stay_apart(tmp_path, lake_rows):
    """Each has its own batch, parts, quarantine and notices, whatever its neighbours hold."""
    folder = tmp_path / "in"
    write_json_lines(folder / "a.jsonl", [spend_log_row("a1"), spend_log_row("a2", prompt_tokens=-1)])
    write_json_lines(folder / "b.jsonl", [spend_log_row("b1", "2026-08-02T00:00:00", colour="red")])
    write_json_lines(folder / "c.jsonl", [spend_log_row("")])
    write_json_lines(folder / "d.jsonl", [spend_log_row(""), spend_log_row("", spend=7)])
    (folder / "e.jsonl").write_text(json.dumps(spend_log_row("e1")) + "\n{half\n")
    (folder / "f.jsonl").write_text("")
    results = {Path(result.name).name: result for result in ingest(tmp_path / "lake", [request(folder)])}

    assert {name: (r.state, r.rows_loaded, r.rows_quarantined, r.message) for name, r in results.items()} == {
        "a.jsonl": ("committed", 1, 1, ""),
        "b.jsonl": ("committed", 1, 0, "b.jsonl: columns not read: colour"),
        "c.jsonl": ("committed", 1, 0, ""),
        "d.jsonl": ("committed", 2, 0, ""),
        "e.jsonl": ("committed", 1, 1, ""),
        "f.jsonl": ("failed", 0, 0, results["f.jsonl"].message),
    }
    batches = Lake(tmp_path / "lake").batches()
    for name, result in results.items():
        if result.batch_id:
            assert [file.name for file in batches[result.batch_id].files] == [name]
            [(count,)] = lake_rows("llm_calls", f"count(*) filter (batch_id = '{result.batch_id}')")
            assert count == result.rows_loaded
    assert lake_rows("quarantined_rows", "file_name, line_number, reason") == [
        ("a.jsonl", 2, "negative"),
        ("e.jsonl", 2, "not valid JSON"),
    ]
    # the same row without an id has the same id in every file
    assert lake_rows("llm_calls", "count(*), count(distinct call_id)") == [(6, 5)]
    assert_lake_holds_what_its_ledger_lists(tmp_path / "lake")


def test_a_delivery_gives_the_same_parts_alone_and_among_others(tmp_path):
    rows = [spend_log_row(f"r{number}", f"2026-08-0{1 + number % 3}T10:00:00") for number in range(30)]
    for number in range(5):
        write_json_lines(tmp_path / "in" / f"{number}.jsonl", rows[number * 6 : number * 6 + 6])
    ingest(tmp_path / "together", [request(tmp_path / "in")])
    for number in range(5):
        ingest(tmp_path / "alone", [request(tmp_path / "in" / f"{number}.jsonl")])

    def content(lake: Path) -> dict[str, list]:
        return {
            name: sorted(
                (str(part.usage_date), part.row_count, str(pq.read_table(lake / part.path).to_pylist()))
                for part in batch.parts
            )
            for name, batch in Lake(lake).batches().items()
        }

    assert content(tmp_path / "together") == content(tmp_path / "alone")


def test_a_batch_that_another_process_committed_meanwhile_counts_and_ours_is_removed(tmp_path, monkeypatch, lake_rows):
    path = write_json_lines(tmp_path / "a.jsonl", [spend_log_row("r1")])
    place_parts = Lake.place_parts

    def be_overtaken(self: Lake, *arguments: object) -> object:
        monkeypatch.setattr(Lake, "place_parts", place_parts)
        assert [result.state for result in ingest(tmp_path / "lake", [request(path)])] == ["committed"]
        return place_parts(self, *arguments)

    monkeypatch.setattr(Lake, "place_parts", be_overtaken)
    (result,) = ingest(tmp_path / "lake", [request(path)])

    assert (result.state, result.rows_loaded) == ("unchanged", 1)
    assert "another process" in result.message
    assert lake_rows("llm_calls", "call_id") == [("r1",)]
    assert_lake_holds_what_its_ledger_lists(tmp_path / "lake")


INGEST = """
import sys
from pathlib import Path
from ingest.runner import IngestRequest, ingest
results = ingest(Path(sys.argv[1]), [IngestRequest("gateway", Path(sys.argv[2]))])
print(*(result.state for result in results))
"""


def test_processes_that_ingest_at_once_commit_each_delivery_once(tmp_path, lake_rows):
    for number in range(12):
        write_json_lines(tmp_path / "in" / f"{number}.jsonl", [spend_log_row(f"r{number}-{row}") for row in range(50)])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", INGEST, str(tmp_path / "lake"), str(tmp_path / "in")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    states = [process.communicate(timeout=60)[0].split() for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(state for of_process in states for state in of_process).count("committed") == 12
    assert {state for of_process in states for state in of_process} <= {"committed", "unchanged"}
    assert lake_rows("llm_calls", "count(*), count(distinct call_id)") == [(600, 600)]
    assert_lake_holds_what_its_ledger_lists(tmp_path / "lake")


# Attempts that fail or die


def test_an_attempt_that_fails_leaves_nothing(tmp_path, monkeypatch):
    path = write_json_lines(tmp_path / "a.jsonl", [spend_log_row("r1")])

    def fail(self: Lake, *_arguments: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "lake"))

    monkeypatch.setattr(Lake, "record", fail)
    (result,) = ingest(tmp_path / "lake", [request(path)])
    assert result.state == "failed"
    assert "No space left on device" in result.message
    monkeypatch.undo()

    assert Lake(tmp_path / "lake").batches() == {}
    assert list((tmp_path / "lake" / "_incoming").iterdir()) == []
    assert parts_on_disk(tmp_path / "lake") == set()


@pytest.mark.parametrize("moment", ["place_parts", "record"])
def test_a_killed_process_leaves_nothing_visible_and_the_next_run_mends_it(tmp_path, lake_rows, moment):
    write_json_lines(tmp_path / "in" / "a.jsonl", [spend_log_row("r1"), spend_log_row("r2", "2026-08-02T00:00:00")])
    kill = f"""
import os, signal
from ingest.lake import Lake
work = Lake.{moment}
def work_then_die(*arguments):
    if "{moment}" == "place_parts":
        work(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
Lake.{moment} = work_then_die
"""
    done = subprocess.run(
        [sys.executable, "-c", kill + INGEST, str(tmp_path / "lake"), str(tmp_path / "in")], check=False
    )
    assert done.returncode == -9
    assert Lake(tmp_path / "lake").batches() == {}
    assert len(parts_on_disk(tmp_path / "lake")) == 2

    assert [result.state for result in ingest(tmp_path / "lake", [request(tmp_path / "in")])] == ["committed"]
    assert lake_rows("llm_calls", "call_id") == [("r1",), ("r2",)]
    assert_lake_holds_what_its_ledger_lists(tmp_path / "lake")


def test_the_sweeper_keeps_the_parts_of_an_attempt_that_died_after_its_commit(tmp_path):
    path = write_json_lines(tmp_path / "a.jsonl", [spend_log_row("r1")])
    ingest(tmp_path / "lake", [request(path)])
    lake = Lake(tmp_path / "lake")
    (batch,) = lake.batches().values()
    dead = lake.root / "_incoming" / batch.attempt
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "placed.json").write_text(json.dumps([part.path for part in batch.parts]))

    assert lake.sweep() == 1
    lake.check_parts(lake.batches())
    assert not dead.exists()


def test_the_sweeper_leaves_the_parts_of_a_live_attempt(tmp_path):
    lake = Lake(tmp_path / "lake")
    with lake.attempt() as attempt:
        scratch = attempt.folder / "a.parquet"
        scratch.write_bytes(b"a part")
        (part,) = lake.place_parts(attempt, "batch", [Part("tasks", "a.parquet", 1)])
        assert Lake(tmp_path / "lake").sweep() == 0
        assert (lake.root / part.path).exists()
        assert attempt.folder.exists()


def test_every_contract_has_a_zero_row_file_with_its_full_schema(tmp_path):
    Lake(tmp_path / "lake")
    for contract in CONTRACTS.values():
        table = pq.read_table(tmp_path / "lake" / contract.name / "00-no-rows.parquet", partitioning=None)
        assert table.num_rows == 0
        assert table.schema.equals(contract.schema)


def test_a_lake_of_before_gets_the_columns_that_a_contract_gained(tmp_path):
    Lake(tmp_path / "lake")
    path = tmp_path / "lake" / "tasks" / "00-no-rows.parquet"
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["complexity"]), path)
    Lake(tmp_path / "lake")
    assert pq.read_schema(path).equals(CONTRACTS["tasks"].schema)


def test_an_interval_says_every_date_that_it_overlaps(tmp_path):
    bill = deliver_bill(
        tmp_path / "bill",
        1,
        ChargePeriodStart="2026-07-31T22:00:00Z",
        ChargePeriodEnd="2026-08-02T00:00:00Z",
    )
    ingest(tmp_path / "lake", [request(bill)])
    (batch,) = Lake(tmp_path / "lake").batches().values()

    spans = {(str(part.min_date), str(part.max_date)) for part in batch.parts}
    assert spans == {("2026-07-31", "2026-08-01")}
    assert str(batch.counts["bill_lines"].max_date) == "2026-08-01"
