"""Publication: what the file holds, and that readers see the old file or the new one and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.snapshot import META
from pertask.home import Home
from publish import publication
from publish.publication import PublishError, history, is_current, publish, roll_back, withdrawn_builds
from tests.python.publish.warehouses import BUILD_ID, MARTS, make_warehouse, read_manifest, write_manifest


@pytest.fixture
def home(tmp_path) -> Home:
    return make_warehouse(tmp_path / "it's a home")


def rows(home: Home, sql: str) -> list[tuple]:
    with duckdb.connect(str(home.published_file), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def change_warehouse(home: Home, sql: str) -> None:
    with duckdb.connect(str(home.warehouse_file)) as connection:
        connection.execute(sql)


def test_the_file_holds_the_public_marts_as_tables_and_nothing_else(home):
    publish(home)

    tables = rows(
        home, "select table_schema || '.' || table_name, table_type from information_schema.tables order by 1"
    )
    assert tables == sorted([(name, "BASE TABLE") for name in MARTS] + [("main.publication", "BASE TABLE")])
    with duckdb.connect(str(home.warehouse_file), read_only=True) as warehouse:
        for name in MARTS:
            expected = warehouse.execute(f"from {name} order by all").fetchall()
            assert rows(home, f"from {name} order by all") == expected
            kinds = warehouse.execute(f"describe {name}").fetchall()
            assert [row[:2] for row in rows(home, f"describe {name}")] == [row[:2] for row in kinds]


def test_rows_come_by_date_and_then_by_the_other_columns(home):
    publish(home)
    assert rows(home, "select call_id from core.fct_call_attempts") == [("a",), ("c",), ("d",), ("b",)]


def test_tables_and_columns_carry_their_descriptions(home):
    publish(home)

    [(table,)] = rows(home, "select comment from duckdb_tables() where table_name = 'fct_call_attempts'")
    assert table == "One row per attempt of a call; it's what the rest is made of."
    columns = rows(
        home, "select column_name, comment from duckdb_columns() where table_name = 'fct_call_attempts' order by all"
    )
    assert dict(columns) == {
        "usage_date": "day of the call (UTC)",
        "call_id": "id of the call",
        "cost_usd": "what it cost, USD; null when unpriced",
        "cost_basis": None,
    }
    undescribed = "select column_name from duckdb_columns() where table_name = 'publication' and comment is null"
    assert rows(home, undescribed) == []


def test_the_file_tells_which_build_and_deliveries_it_comes_from(home):
    done = publish(home)

    [row] = rows(home, "from publication")
    assert row == (
        done.published_at,
        BUILD_ID,
        datetime(2026, 8, 20, 2),
        2,
        datetime(2026, 8, 20, 1),
        len(MARTS),
        done.row_count,
    )
    assert done.row_count == sum(rows(home, f"select count(*) from {name}")[0][0] for name in MARTS) == 12


def test_older_drivers_can_open_the_file(home):
    publish(home)

    tags = "select tags['storage_version'] from duckdb_databases() where database_name = 'pertask'"
    assert rows(home, tags) == [("v1.0.0+",)]
    # Bytes 12 to 19 of the header are the storage format: 64 is what DuckDB 1.0 wrote; 2.0 writes another by default.
    assert int.from_bytes(home.published_file.read_bytes()[12:20], "little") == 64
    assert int.from_bytes(home.warehouse_file.read_bytes()[12:20], "little") != 64


def test_a_reader_of_the_old_file_keeps_the_old_rows(home):
    publish(home)
    with duckdb.connect(str(home.published_file), read_only=True) as reader:
        before = reader.execute("from core.fct_call_attempts").fetchall()
        reader.execute("begin")
        change_warehouse(home, "delete from core.fct_call_attempts where call_id != 'b'")

        other = "import sys, pathlib; from pertask.home import Home; from publish.publication import publish; "
        other += "publish(Home(pathlib.Path(sys.argv[1])))"
        subprocess.run([sys.executable, "-c", other, str(home.root)], check=True)

        assert reader.execute("from core.fct_call_attempts").fetchall() == before
    assert rows(home, "select call_id from core.fct_call_attempts") == [("b",)]


def test_a_failure_leaves_the_old_file_as_it_was(home, monkeypatch):
    publish(home)
    before = home.published_file.read_bytes()
    change_warehouse(home, "delete from core.fct_call_attempts")

    def refuse(source, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(publication.os, "replace", refuse)
        with pytest.raises(PublishError, match=r"nothing was published.*No space left"):
            publish(home)

    assert home.published_file.read_bytes() == before
    assert [path.name for path in home.published.iterdir() if path.name != ".lock"] == ["pertask.duckdb"]


def test_a_missing_mart_is_named_and_nothing_is_published(home):
    publish(home)
    before = home.published_file.read_bytes()
    change_warehouse(home, "drop table capacity.idle_dollars_daily")

    with pytest.raises(PublishError, match=r"lacks capacity\.idle_dollars_daily.*pertask build"):
        publish(home)
    assert home.published_file.read_bytes() == before


def test_a_description_of_a_column_that_is_not_there_publishes_nothing(home):
    nodes = read_manifest(home)
    nodes["model.pertask.fct_call_attempts"]["columns"]["no_such"] = {"description": "an old column"}
    write_manifest(home, nodes)

    with pytest.raises(PublishError, match="no_such"):
        publish(home)
    assert not home.published_file.exists()


def test_what_killed_publications_left_is_swept(home):
    home.published.mkdir()
    for name in (".publishing-0123456789ab.duckdb", ".publishing-0123456789ab.duckdb.wal"):
        (home.published / name).write_bytes(b"half")
    (home.published / "notes.txt").write_text("a reader's own")

    publish(home)

    assert sorted(path.name for path in home.published.iterdir()) == [".lock", "notes.txt", "pertask.duckdb"]


def test_a_publication_waits_for_another_and_does_not_sweep_its_file(home, monkeypatch):
    is_inside, may_go_on = threading.Event(), threading.Event()
    replace = os.replace
    second = threading.Thread(target=publish, args=(home,))

    def pause(source, target):
        if not is_inside.is_set():
            is_inside.set()
            assert may_go_on.wait(20)
        replace(source, target)

    monkeypatch.setattr(publication.os, "replace", pause)
    first = threading.Thread(target=publish, args=(home,))
    first.start()
    assert is_inside.wait(20)
    second.start()
    second.join(0.3)
    assert second.is_alive(), "the second publication did not wait"
    assert len(list(home.published.glob(".publishing-*"))) == 1
    may_go_on.set()
    first.join(20)
    second.join(20)
    assert rows(home, "select build_id from publication") == [(BUILD_ID,)]


@pytest.mark.parametrize("absent", ["target/manifest.json", "pertask.duckdb", "last_snapshot/meta.parquet"])
def test_without_a_build_there_is_nothing_to_publish(home, absent):
    (home.warehouse / absent).unlink()
    with pytest.raises(PublishError, match="nothing has been built yet"):
        publish(home)
    assert not home.published_file.exists()


def test_a_warehouse_that_a_build_holds_is_not_published(home):
    holder = "import duckdb, sys; connection = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(home.warehouse_file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(PublishError, match="lock"):
            publish(home)
        process.stdin.close()
    assert not home.published_file.exists()


def rebuild(home: Home, build_id: str, sql: str) -> None:
    """Leave the warehouse as another build would."""
    change_warehouse(home, sql)
    meta = home.last_snapshot / "meta.parquet"
    [row] = pq.read_table(meta).to_pylist()
    pq.write_table(pa.Table.from_pylist([{**row, "build_id": build_id}], schema=META), meta)


def costs(home: Home) -> int:
    [(count,)] = rows(home, "select count(*) from core.fct_call_attempts")
    return count


def test_the_publications_before_it_are_kept_as_many_as_asked(home):
    for number in range(5):
        rebuild(home, f"build-{number}", f"insert into core.fct_call_attempts (call_id) values ('{number}')")
        publish(home, keep=3)
    assert [path.stem.split("-", 1)[1] for path in history(home)] == ["build-3", "build-2"]
    publish(home, keep=1)
    assert history(home) == []


def test_the_same_build_again_takes_no_place_in_the_history(home):
    publish(home, keep=3)
    rebuild(home, "second", "delete from core.fct_call_attempts")
    for _ in range(3):
        publish(home, keep=3)
    assert [path.stem.split("-", 1)[1] for path in history(home)] == [BUILD_ID]


def test_a_rollback_puts_the_one_before_back_whole(home):
    publish(home, keep=3)
    first = home.published_file.read_bytes()
    rebuild(home, "second", "delete from core.fct_call_attempts where call_id = 'a'")
    publish(home, keep=3)
    rebuild(home, "third", "delete from core.fct_call_attempts where call_id = 'b'")
    publish(home, keep=3)
    assert costs(home) == 2

    assert roll_back(home).build_id == "second"
    assert costs(home) == 3
    assert withdrawn_builds(home) == ["third"]
    assert roll_back(home).build_id == BUILD_ID
    assert home.published_file.read_bytes() == first
    with pytest.raises(PublishError, match="no earlier publication"):
        roll_back(home)
    assert home.published_file.read_bytes() == first


def test_a_withdrawn_build_is_not_published_by_itself_and_the_next_one_is(home):
    publish(home, keep=3)
    assert is_current(home, BUILD_ID)
    rebuild(home, "second", "delete from core.fct_call_attempts")
    assert not is_current(home, "second")
    publish(home, keep=3)
    roll_back(home)
    assert is_current(home, "second"), "the withdrawn build would be published again"
    assert not is_current(home, "third")

    rebuild(home, "third", "insert into core.fct_call_attempts (call_id) values ('z')")
    publish(home, keep=3)
    assert withdrawn_builds(home) == []
    assert [path.stem.split("-", 1)[1] for path in history(home)] == [BUILD_ID]


def test_a_withdrawn_build_can_be_taken_back(home):
    publish(home, keep=3)
    rebuild(home, "second", "delete from core.fct_call_attempts")
    publish(home, keep=3)
    roll_back(home)
    publish(home, keep=3)
    assert costs(home) == 0
    assert withdrawn_builds(home) == []
    assert roll_back(home).build_id == BUILD_ID


def test_a_rollback_that_fails_leaves_the_publication(home, monkeypatch):
    publish(home, keep=3)
    rebuild(home, "second", "delete from core.fct_call_attempts")
    publish(home, keep=3)
    before = home.published_file.read_bytes()
    [kept] = history(home)
    kept.write_bytes(b"damaged")
    with pytest.raises(PublishError, match=r"cannot be read\. Delete it"):
        roll_back(home)
    assert home.published_file.read_bytes() == before
    assert withdrawn_builds(home) == []


def test_without_second_names_the_history_is_a_copy(home, monkeypatch):
    def refuse(source, target):
        raise OSError(1, "Operation not permitted")

    publish(home, keep=3)
    first = home.published_file.read_bytes()
    rebuild(home, "second", "delete from core.fct_call_attempts")
    monkeypatch.setattr(publication.os, "link", refuse)
    publish(home, keep=3)
    assert [path.read_bytes() for path in history(home)] == [first]


def test_each_build_that_was_withdrawn_stays_so(home):
    publish(home, keep=4)
    for number in (2, 3):
        rebuild(home, f"build-{number}", f"insert into core.fct_call_attempts (call_id) values ('{number}')")
        publish(home, keep=4)
    roll_back(home)
    assert roll_back(home).build_id == BUILD_ID
    assert withdrawn_builds(home) == ["build-3", "build-2"]
    assert is_current(home, "build-3"), "the build that was withdrawn first would be published again"
    assert is_current(home, "build-2")
    assert not is_current(home, "build-4")


def test_a_publication_that_was_cut_short_does_not_keep_a_rollback_from_moving(home, monkeypatch):
    publish(home, keep=3)
    rebuild(home, "second", "delete from core.fct_call_attempts where call_id = 'a'")
    publish(home, keep=3)
    rebuild(home, "third", "delete from core.fct_call_attempts")

    def die(source, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(publication.os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            publish(home, keep=3)
    assert len(history(home)) == 2, "the current publication was kept before it was to be replaced"
    assert roll_back(home).build_id == BUILD_ID
    assert costs(home) == 4
