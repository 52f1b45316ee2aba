"""Spark builds the marts that DuckDB builds, row by row: once whole, and again for the days that a morning touched.

The latter are compared with DuckDB's build of the same days, and with its whole one.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from types import ModuleType

import duckdb
import pytest

from orchestration.lib import builds, spark
from pertask.home import Home
from tests.python import two_engines
from tests.python.building import build
from tests.python.engines import require_spark

pytestmark = pytest.mark.long

BRIEF_JAVA = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=512m -XX:+UseParallelGC"
"""A virtual machine of minutes gains nothing from its second compiler, which takes a quarter of its time."""

TELLS_WHAT_WAS_RECOMPUTED = {"quality.restatements"}
"""The cause of a restatement is why its dates were recomputed; a whole build recomputes them because it is whole."""

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
    kept = _files(home, two_engines.KEPT_DATE)
    on_duckdb = two_engines.after(home)
    assert _build_on_spark(home) == [on_duckdb.description]
    _assert_same(parity, home, without_rows=set())
    assert two_engines.LONE_DATE not in _dates(home)
    assert two_engines.MOVED_DATE in _dates(home)
    assert _files(home, two_engines.KEPT_DATE) == kept != []
    # and no build by dates leaves what a whole one would not have
    assert build(home, full_refresh=True, is_tested=False).full_refresh
    _assert_same(parity, home, without_rows=set(), apart_from=TELLS_WHAT_WAS_RECOMPUTED)


def _build_on_spark(home: Home) -> list[str]:
    """Build the models as the command does; returns what it said. dbt's tests are DuckDB's to run here."""
    said: list[str] = []
    arguments = builds.arguments
    with pytest.MonkeyPatch.context() as patch:
        untested = ["--exclude-resource-type", "test"]
        patch.setattr(builds, "arguments", lambda home, **options: [*arguments(home, **options), *untested])
        patch.setenv("JDK_JAVA_OPTIONS", BRIEF_JAVA, prepend=" ")
        patch.setenv("DBT_LOG_LEVEL_FILE", "none")
        outcome = spark.build(home, say=said.append)
    assert outcome.succeeded, (outcome.message, outcome.failed_checks)
    return said


def _assert_same(parity: ModuleType, home: Home, *, without_rows: set[str], apart_from: Collection[str] = ()) -> None:
    compared = parity.compare(home)
    print(parity.table(compared))
    different = [mart for mart in compared if mart.differences and mart.mart not in apart_from]
    assert [(mart.mart, mart.differences, mart.example) for mart in different] == []
    assert {mart.mart for mart in compared if not mart.duckdb_rows} == without_rows
    assert len(compared) >= 33


def _files(home: Home, day: str) -> list[str]:
    """The files that Spark wrote of a day's calls; each writing gives them new names."""
    folder = home.spark_tables / "core.db" / "fct_call_attempts" / f"usage_date={day}"
    return sorted(path.name for path in folder.glob("*.parquet"))


def _dates(home: Home) -> set[str]:
    """The days of the calls that Spark has."""
    files = home.spark_tables / "core.db" / "fct_call_attempts" / "**" / "*.parquet"
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"select distinct cast(usage_date as varchar) from read_parquet('{files}', hive_partitioning = true)"
        ).fetchall()
    return {day for (day,) in rows}
