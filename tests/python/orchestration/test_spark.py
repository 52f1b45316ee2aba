"""Spark as a target: what it needs is asked for before anything is touched, and its state is apart from DuckDB's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingest.lake import Lake
from orchestration.lib import builds, spark
from pertask.cli import cli
from pertask.home import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("PERTASK_HOME", str(tmp_path))
    return Home(tmp_path)


def _java(folder: Path, version: str) -> Path:
    java = folder / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-01' >&2\n", encoding="utf-8")
    java.chmod(0o755)
    return java.parents[1]


def test_without_java_the_command_says_what_to_install(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "_is_importable", lambda name: True)
    monkeypatch.setenv("JAVA_HOME", str(home.root / "nowhere"))
    done = CliRunner().invoke(cli, ["build", "--target", "spark"])
    assert done.exit_code == 2
    assert "needs Java 17 or newer, and no java is on PATH or at JAVA_HOME" in done.output
    assert not home.warehouse.exists()


def test_an_old_java_is_told_by_its_version(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "_is_importable", lambda name: True)
    monkeypatch.setenv("JAVA_HOME", str(_java(home.root, "1.8.0_402")))
    with pytest.raises(spark.SparkMissing, match="the java found is version 8"):
        spark.check_installed(home.on("spark"))


def test_a_new_java_will_do(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "_is_importable", lambda name: True)
    monkeypatch.setenv("JAVA_HOME", str(_java(home.root, "21.0.2")))
    assert spark.java_version() == 21
    spark.check_installed(home.on("spark"))


def test_without_the_extra_the_command_names_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "_is_importable", lambda name: name != "pyspark")
    done = CliRunner().invoke(cli, ["build", "--target", "spark"])
    assert done.exit_code == 2
    assert "needs pyspark, which the extra `spark` brings" in done.output


def test_what_spark_builds_is_apart_from_what_duckdb_does(home: Home) -> None:
    other = home.on("spark")
    assert other.lake == home.lake
    assert other.published_file == home.published_file
    for place in ("warehouse", "snapshot", "last_snapshot", "target", "logs"):
        assert getattr(other, place) != getattr(home, place)
    assert builds.environment(other)["PERTASK_SNAPSHOT"] == str(other.snapshot)


def test_a_session_has_the_products_settings_unless_the_user_has_others(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SPARK_CONF_DIR", "PERTASK_SPARK_MASTER"):
        monkeypatch.delenv(name, raising=False)
    settings = builds.environment(home.on("spark"))["SPARK_CONF_DIR"]
    assert (Path(settings) / "spark-defaults.conf").exists()
    assert "SPARK_CONF_DIR" not in builds.environment(home)
    monkeypatch.setenv("PERTASK_SPARK_MASTER", "spark://master:7077")
    assert "SPARK_CONF_DIR" not in builds.environment(home.on("spark"))


def test_a_profile_in_the_home_is_sparks_alone(home: Home) -> None:
    home.own_profiles.write_text("pertask: {}\n", encoding="utf-8")
    assert builds.environment(home.on("spark"))["DBT_PROFILES_DIR"] == str(home.root)
    assert builds.environment(home)["DBT_PROFILES_DIR"] == str(builds.PROJECT)


def test_a_full_refresh_that_fails_is_followed_by_another(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables are half of what they were: a build that added to them would stand on days that are gone."""
    ran = _run_dbt(monkeypatch, home)
    assert spark.build(home).succeeded
    assert spark.build(home).succeeded
    assert [full for full, _ in ran] == [True]
    assert not spark.build(home, full_refresh=True, say=_fail_next(ran)).succeeded
    assert spark.build(home).succeeded
    assert [full for full, _ in ran] == [True, True, True]


def test_what_a_failed_build_made_does_not_count(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = _run_dbt(monkeypatch, home)
    assert spark.build(home).succeeded
    days = date(2026, 8, 1), date(2026, 8, 2)
    outcome = spark.build(home, dates=days, say=_fail_next(ran))
    assert (outcome.succeeded, outcome.message) == (False, "dbt failed: as asked")
    assert builds.last_build_id(home.on("spark")) == ran[0][1]
    said: list[str] = []
    assert spark.build(home, say=said.append).succeeded
    assert said == ["build: the last build did not finish"]
    assert builds.last_build_id(home.on("spark")) == ran[-1][1]


def test_a_path_that_spark_takes_for_a_pattern_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "check_installed", lambda home: None)
    with pytest.raises(spark.SparkMissing, match=r"Spark reads \[ \] in a path as a pattern"):
        spark.build(Home(tmp_path / "[prod]"))


def _run_dbt(monkeypatch: pytest.MonkeyPatch, home: Home) -> list:
    """Stand in for dbt: notes whether everything was to be recomputed and the build's name, and makes the tables."""
    ran: list = []
    Lake(home.lake)
    monkeypatch.setattr(spark, "check_installed", lambda home: None)

    def run(home: Home, arguments: list[str]) -> bool:
        is_to_fail = bool(ran) and ran[-1] is None
        if is_to_fail:
            ran.pop()
        ran.append(("--full-refresh" in arguments, builds.prepared(home).build_id))
        home.spark_tables.mkdir(parents=True, exist_ok=True)
        return not is_to_fail

    monkeypatch.setattr(spark.dbt, "run", run)
    monkeypatch.setattr(spark.dbt, "reason", lambda home: "dbt failed: as asked")
    return ran


def _fail_next(ran: list) -> Callable[[str], None]:
    return lambda line: ran.append(None)
