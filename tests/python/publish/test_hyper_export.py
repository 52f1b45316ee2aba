"""The Tableau extract, read back by Tableau's own library; and what is said without it."""

from __future__ import annotations

import importlib.util
import sys
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pertask.errors import ExportError
from pertask.home import Home
from publish.exports.hyper import export_hyper
from tests.python.publish.published_files import make_published, rows_of

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("tableauhyperapi") is None,
    reason="Tableau's library is not installed (the extra tableau): the extract is not tested",
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_published(tmp_path / "it's a home")


def read(path: str, sql: str) -> list[list[Any]]:
    import tableauhyperapi as api

    with (
        api.HyperProcess(api.Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU, parameters={"log_config": ""}) as process,
        api.Connection(process.endpoint, path) as connection,
    ):
        return connection.execute_list_query(sql)


def plain(value: Any) -> Any:
    """Tableau's dates and moments as Python's."""
    if hasattr(value, "to_datetime"):
        return value.to_datetime()
    return value.to_date() if hasattr(value, "to_date") else value


@needs_library
def test_the_extract_holds_the_published_rows_exactly(home):
    done = export_hyper(home)
    path = home.published / "exports" / "pertask.hyper"
    assert (done.place, done.mart_count, done.row_count) == (str(path), 3, 20)
    found = [tuple(map(plain, row)) for row in read(done.place, "select * from core.fct_tasks")]
    assert sorted(found) == sorted(rows_of(home, "core.fct_tasks"))
    assert read(done.place, "select max(cost_usd) from core.fct_tasks") == [
        [Decimal("12345678901234567890.123456789012")]
    ]
    assert read(done.place, "select count(*) from quality.findings") == [[0]]
    assert all(row[3] is None or row[3].tzinfo is not UTC for row in found)
    assert [entry.name for entry in path.parent.iterdir()] == ["pertask.hyper"]
    assert path.stat().st_mode & 0o044 == 0o044


@needs_library
def test_the_extract_is_replaced_whole(home):
    export_hyper(home)
    done = export_hyper(home, names=["core.dim_teams"])
    assert read(done.place, "select * from core.dim_teams order by team") == [["fraud", None], ["support", "Ann"]]
    assert read(done.place, "select count(*) from pg_catalog.pg_tables where tablename = 'fct_tasks'") == [[0]]


def test_without_the_library_it_says_how_to_install_it(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "tableauhyperapi", None)
    with pytest.raises(ExportError, match=r"not installed.*uv sync --extra tableau"):
        export_hyper(home)
    assert not (home.published / "exports").exists()
