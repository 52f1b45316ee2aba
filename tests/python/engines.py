"""Both engines for the tests: whether Spark can run here, and dbt on either of them within the test's process."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest

from orchestration.lib import builds
from orchestration.lib.spark import SparkMissing, check_installed
from pertask.home import Home
from tests.python.building import manifest


def require_spark() -> None:
    """Skip the test, saying what is missing, where Spark cannot run."""
    try:
        check_installed(Home.current().on("spark"))
    except SparkMissing as error:
        pytest.skip(str(error))


def answer(home: Home, query: str) -> Any:
    """The rows (an agate table) that the home's engine answers to a query with this project's macros in it."""
    from dbt.cli.main import dbtRunner

    os.environ.update(builds.environment(home))
    home.logs.mkdir(parents=True, exist_ok=True)
    # the manifest is of one engine: macros are chosen when a query is compiled, and configurations when it is parsed
    known = manifest() if home.engine == "duckdb" else None
    command = ["--quiet", "show", "--target", home.engine, "--limit", "-1", "--output", "json", "--inline", query]
    # Derby drops its log into the current folder
    with contextlib.chdir(home.logs):
        done = dbtRunner(manifest=known).invoke(command)
    assert done.success, done.exception or done.result.results[0].message
    return done.result.results[0].agate_table
