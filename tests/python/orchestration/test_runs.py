"""Runs of the whole graph: what a failed check leaves alone, and that there is one writer at a time."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from orchestration.lib.runs import HomeInUse, _only_one
from pertask.home import Home
from tests.python.homes import SmallHome

REPOSITORY = Path(__file__).parents[3]
PARTS = ("analysis", "ingest", "macros", "models", "orchestration", "pertask", "publish", "seeds", "tests/sql")


def test_a_home_has_one_writer_at_a_time(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with _only_one(home), pytest.raises(HomeInUse, match=f"process {os.getpid()} is running"), _only_one(home):
        pass
    with _only_one(home):
        assert (home.warehouse / "lock").read_text() == str(os.getpid())


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


def test_a_failed_check_leaves_the_last_publication_and_says_why(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path / "project")
    small = SmallHome(tmp_path / "home")
    small.calls_of_day(0)()
    home = Home(small.folder)
    done = pertask(project, home.root, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    published = hashlib.sha256(home.published_file.read_bytes()).hexdigest()
    reader = duckdb.connect(str(home.published_file), read_only=True)

    check = project / "tests" / "sql" / "assert_nothing_costs_anything.sql"
    check.write_text("select * from {{ ref('cost_per_task_daily') }} where cost_usd > 0\n", encoding="utf-8")
    small.calls_of_day(1)()
    done = pertask(project, home.root, "run")
    assert done.returncode == 1
    assert "assert_nothing_costs_anything" in done.stderr
    assert "The last publication stays" in done.stderr
    assert hashlib.sha256(home.published_file.read_bytes()).hexdigest() == published

    done = pertask(project, home.root, "publish")
    assert done.returncode == 1
    assert "the last build did not succeed" in done.stderr
    assert hashlib.sha256(home.published_file.read_bytes()).hexdigest() == published

    check.unlink()
    done = pertask(project, home.root, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    days = "select count(distinct usage_date) as days from core.fct_call_attempts"
    # another process: this one's DuckDB would hand out the file that it has open already
    assert pertask(project, home.root, "query", days, "--format", "csv").stdout.split() == ["days", "2"]
    # who held the old file open still reads the old rows
    assert reader.execute(days).fetchone() == (1,)
    reader.close()
