"""Spark builds the marts that DuckDB builds, row by row: once whole, and again for the days that a morning touched."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import duckdb
import pytest

from orchestration.lib import builds, dbt
from pertask.home import Home
from tests.python import two_engines
from tests.python.engines import require_spark

ONLY_AFTER_A_PUBLICATION = {"quality.restatements", "quality.provisional_true_ups"}


@pytest.fixture(scope="module")
def parity() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "bench"))
        import parity

        return parity


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The first state, built by both engines."""
    require_spark()
    home = two_engines.before(tmp_path_factory.mktemp("parity"))
    _build_on_spark(home)
    return home


def test_a_full_build_gives_the_same_marts(home: Home, parity: ModuleType) -> None:
    _assert_same(parity, home, without_rows=ONLY_AFTER_A_PUBLICATION)
    assert _dates(home) >= {two_engines.LONE_DATE}


def test_an_incremental_build_gives_the_same_marts_and_a_day_whose_rows_vanished_is_gone(
    home: Home, parity: ModuleType
) -> None:
    two_engines.after(home)
    prepared = _build_on_spark(home)
    assert not prepared.full_refresh
    _assert_same(parity, home, without_rows=set())
    assert two_engines.LONE_DATE not in _dates(home)
    assert two_engines.MOVED_DATE in _dates(home)


def _build_on_spark(home: Home) -> builds.Build:
    """Build the models; dbt's tests are DuckDB's to run, as equal rows pass them alike."""
    home = home.on("spark")
    prepared = builds.prepare(home)
    arguments = builds.arguments(home, full_refresh=prepared.full_refresh)
    succeeded = dbt.run(home, [*arguments, "--exclude-resource-type", "test"])
    assert succeeded, builds.audit(home).failures or dbt.reason(home)
    builds.accept(home)
    return prepared


def _assert_same(parity: ModuleType, home: Home, *, without_rows: set[str]) -> None:
    compared = parity.compare(home)
    print(parity.table(compared))
    assert [(mart.mart, mart.differences, mart.example) for mart in compared if mart.differences] == []
    assert {mart.mart for mart in compared if not mart.duckdb_rows} == without_rows
    assert len(compared) >= 33


def _dates(home: Home) -> set[str]:
    """The days of the calls that Spark has."""
    files = home.spark_tables / "core.db" / "fct_call_attempts" / "**" / "*.parquet"
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"select distinct cast(usage_date as varchar) from read_parquet('{files}', hive_partitioning = true)"
        ).fetchall()
    return {day for (day,) in rows}
