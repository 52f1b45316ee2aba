"""Runs of the whole graph: failed checks, runs with nothing new, partitions, rollback, a run that dies."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from ingest.lake import Lake
from orchestration.definitions import graph
from orchestration.lib import builds
from orchestration.lib.instance import open_instance
from orchestration.lib.outcome import outcome_of
from orchestration.lib.progress import PROGRESS
from pertask.checks import CheckResult, check_marts
from pertask.home import Home
from publish.publication import read_publication
from tests.python.homes import SmallHome

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).parents[3]
PARTS = ("analysis", "ingest", "macros", "models", "orchestration", "pertask", "publish", "seeds", "tests/sql")


def copy_of_the_project(folder: Path) -> Path:
    for part in PARTS:
        if (REPOSITORY / part).is_dir():
            shutil.copytree(REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


def pertask(project: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "pertask", *arguments],
        cwd=project,
        env={**os.environ, "PERTASK_HOME": str(home), "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_failed_check_leaves_the_last_publication_and_says_why(published: SmallHome, tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path / "project")
    home = Home(published.folder)
    before = home.published_file.read_bytes()
    reader = duckdb.connect(str(home.published_file), read_only=True)

    check = project / "tests" / "sql" / "assert_nothing_costs_anything.sql"
    check.write_text("select * from {{ ref('cost_per_task_daily') }} where cost_usd > 0\n", encoding="utf-8")
    published.calls_of_day(1)()
    done = pertask(project, home.root, "run")
    assert done.returncode == 1
    assert "assert_nothing_costs_anything" in done.stderr
    assert "The last publication stays" in done.stderr
    assert home.published_file.read_bytes() == before

    status = pertask(project, home.root, "status").stdout
    assert "FAILED, so it published nothing" in status
    assert "check failed: assert_nothing_costs_anything" in status

    done = pertask(project, home.root, "publish")
    assert done.returncode == 1
    assert "the last build did not succeed" in done.stderr
    assert home.published_file.read_bytes() == before

    check.unlink()
    done = pertask(project, home.root, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    days = "select count(distinct usage_date) as days from core.fct_call_attempts"
    # another process: this one's DuckDB would hand out the file that it has open already
    assert pertask(project, home.root, "query", days, "--format", "csv").stdout.split() == ["days", "3"]
    # who held the old file open still reads the old rows
    assert reader.execute(days).fetchone() == (2,)
    reader.close()


def test_what_did_not_change_is_not_published_again_and_what_was_withdrawn_stays_so(published: SmallHome) -> None:
    home = Home(published.folder)
    before = home.published_file.read_bytes()
    assert "published already" in published.run("run")
    assert home.published_file.read_bytes() == before

    published.calls_of_day(1)()
    published.run("run")
    second = home.published_file.read_bytes()
    assert second != before
    said = published.run("publish", "--rollback")
    assert home.published_file.read_bytes() == before
    assert "published again: build" in said
    assert "withdrawn: build" in said
    assert "stays withdrawn" in published.run("run")
    assert home.published_file.read_bytes() == before
    assert "pertask publish takes the last build back" in published.run("status")

    home.published_file.unlink()
    assert "published 33 marts" in published.run("publish")


def test_a_range_of_partitions_is_one_run_that_adds_its_days(published: SmallHome, monkeypatch) -> None:
    home = Home(published.folder)
    for name, value in builds.environment(home).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DAGSTER_HOME", str(home.dagster))
    instance = open_instance(home)
    published.calls_of_day(2)()
    tags = {
        "dagster/asset_partition_range_start": "2026-08-19",
        "dagster/asset_partition_range_end": "2026-08-20",
    }
    done = graph(home).resolve_job_def("run").execute_in_process(instance=instance, tags=tags)
    assert done.success
    # the two that were asked for, the one whose calls came, and the one whose calls are of the same tasks
    recomputed = {
        event.partition
        for event in done.all_events
        if event.is_step_materialization and event.asset_key == dg.AssetKey(["warehouse", "days"])
    }
    assert recomputed == {"2026-08-19", "2026-08-20", "2026-08-21", "2026-08-22"}
    assert instance.get_materialized_partitions(dg.AssetKey(["warehouse", "days"])) >= recomputed
    with duckdb.connect(str(home.published_file), read_only=True) as connection:
        days = connection.execute("select distinct usage_date from core.fct_call_attempts order by 1").fetchall()
    assert [str(day) for (day,) in days] == ["2026-08-19", "2026-08-21", "2026-08-22"]
    checks = [event for event in done.all_events if event.event_type_value == "ASSET_CHECK_EVALUATION"]
    assert len(checks) > 200
    assert all(check.asset_check_evaluation_data.passed for check in checks)


def test_the_weekly_run_tests_every_date_and_passes(published: SmallHome, monkeypatch) -> None:
    home = Home(published.folder)
    for name, value in builds.environment(home).items():
        monkeypatch.setenv(name, value)
    # the 19th is a day that it tests and does not recompute
    asked = {"first_date": "2026-08-21", "last_date": "2026-08-22", "tests_everything": True}
    done = (
        graph(home)
        .resolve_job_def("run")
        .execute_in_process(
            instance=open_instance(home), run_config={"ops": {"snapshot": {"config": asked}}}, raise_on_error=False
        )
    )
    assert done.success, builds.audit(home).failures
    assert builds.last_build_id(home) == builds.prepared(home).build_id


def test_marts_that_a_gate_blocks_are_neither_published_nor_forgotten(published: SmallHome, monkeypatch) -> None:
    home = Home(published.folder)
    for name, value in builds.environment(home).items():
        monkeypatch.setenv(name, value)
    before, standing = home.published_file.read_bytes(), builds.last_build_id(home)
    # as after dbt: everything built and tested, the marts not looked at
    build = builds.prepare(home, dates=(date(2026, 8, 19), date(2026, 8, 19)))
    builds.mark_tested(home)

    def publish() -> dg.ExecuteInProcessResult:
        job = graph(home).resolve_job_def("run_publish")
        return job.execute_in_process(instance=open_instance(home), raise_on_error=False)

    def block(home: Home, config: object) -> list[CheckResult]:
        results = check_marts(home, config)
        return [replace(results[0], passed=False, severity="error", message="half of it is gone"), *results[1:]]

    PROGRESS.clear()
    with monkeypatch.context() as patch:
        patch.setattr("orchestration.defs.checks.checks.check_marts", block)
        done = publish()
    assert not done.success
    assert outcome_of(home, done.all_events).failed_checks[0].message == "half of it is gone"
    assert home.published_file.read_bytes() == before
    assert builds.last_build_id(home) == standing
    with pytest.raises(builds.BuildError, match="did not succeed"):
        builds.check_finished(home)

    PROGRESS.clear()
    assert publish().success
    assert builds.last_build_id(home) == build.build_id
    assert read_publication(home.published_file).build_id == build.build_id


def test_a_build_stands_where_what_dbt_said_of_it_is_gone(published: SmallHome) -> None:
    home = Home(published.folder)
    shutil.rmtree(home.target)
    home.published_file.unlink()
    assert "published 33 marts" in published.run("run")


def test_a_run_that_died_does_not_hold_the_next_one(published: SmallHome) -> None:
    home = Home(published.folder)
    published.calls_of_day(1)()
    process = subprocess.Popen(
        [sys.executable, "-m", "pertask", "run"],
        env={**os.environ, "PERTASK_HOME": str(home.root)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (home.warehouse / "unfinished_build").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)

    assert "the last build did not finish" in published.run("run")
    instance = open_instance(home)
    statuses = [record.dagster_run.status for record in instance.get_run_records(limit=2)]
    assert statuses == [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]


def test_a_warehouse_that_is_open_elsewhere_is_named_and_nothing_is_lost(published: SmallHome) -> None:
    home = Home(published.folder)
    before = home.published_file.read_bytes()
    published.calls_of_day(1)()
    holder = "import duckdb, sys; connection = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(home.warehouse_file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"open\n"
        done = pertask(REPOSITORY, home.root, "run")
        process.stdin.close()
    assert done.returncode == 1
    assert f"{home.warehouse_file}: cannot be opened for writing" in done.stderr
    assert f"PID {process.pid}" in done.stderr
    assert "The last publication stays" in done.stderr
    assert home.published_file.read_bytes() == before
    # what came is in the lake, and due
    assert "the last build did not finish" in builds.prepare(home).causes


def test_a_full_disk_is_said_and_nothing_is_lost(published: SmallHome, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=500m", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here: it takes root, and a machine that lets it")
    try:
        small = SmallHome(shutil.copytree(published.folder, disk / "home"))
        home = Home(small.folder)
        before = home.published_file.read_bytes()
        small.calls_of_day(1)()
        full = shutil.disk_usage(disk).used + (128 << 10)
        subprocess.run(["mount", "-o", f"remount,size={full}", str(disk)], check=True)

        done = pertask(REPOSITORY, home.root, "run")
        assert done.returncode == 1, done.stdout + done.stderr
        assert re.search(r"disk (is )?full|No space left", done.stderr), done.stderr
        assert "Traceback" not in done.stderr
        assert home.published_file.read_bytes() == before

        subprocess.run(["mount", "-o", "remount,size=500m", str(disk)], check=True)
        small.run("ingest")
        assert len(Lake(home.lake).batches()) == 3
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_home_without_sources_is_told_so(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert pertask(REPOSITORY, tmp_path, "init", str(home.root)).returncode == 0
    done = pertask(REPOSITORY, home.root, "ingest")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"ingest: no sources in {home.config_file}" in done.stdout


@pytest.fixture(scope="module")
def published_once(tmp_path_factory: pytest.TempPathFactory) -> SmallHome:
    small = SmallHome(tmp_path_factory.mktemp("runs") / "home")
    small.calls_of_day(0)()
    small.calls_of_day(3)()
    small.run("run")
    return small


@pytest.fixture
def published(published_once: SmallHome, tmp_path: Path) -> SmallHome:
    """A home with two days of calls, ingested, built and published."""
    shutil.copytree(published_once.folder, tmp_path / "home")
    return SmallHome(tmp_path / "home")
