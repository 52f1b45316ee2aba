"""Publication: what the file holds, and that readers see the old file or the new one and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import datetime

import duckdb
import pytest

from pertask.home import Home
from publish import publication
from publish.publication import PublishError, publish
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
