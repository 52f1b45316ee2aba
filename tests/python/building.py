"""Builds within the test's own process: what the graph's steps do, without Dagster around them."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any

from ingest.runner import ingest
from orchestration.lib import builds
from pertask.config import load_config
from pertask.home import Home


def ingest_sources(home: Home) -> None:
    """Bring every source of the home's pertask.yml into its lake."""
    results = ingest(home.lake, load_config(home).requests(home))
    failed = [result.message for result in results if result.state == "failed"]
    assert not failed, failed


def build(
    home: Home, *, full_refresh: bool = False, is_tested: bool = True, calls_per_date_slice: int | None = None
) -> builds.Build:
    """Prepare, run dbt, accept; fails the test when dbt or one of its tests does.

    Without ``is_tested`` the models are built and not tested: for states that a later build of the test goes over.
    ``calls_per_date_slice`` is the project's variable; its own value is far above what a test has.
    """
    prepared = builds.prepare(home, full_refresh=full_refresh)
    if prepared.is_needed:
        arguments = builds.arguments(home, full_refresh=prepared.full_refresh)
        if calls_per_date_slice is not None:
            place = arguments.index("--vars") + 1
            arguments[place] = json.dumps(json.loads(arguments[place]) | {"calls_per_date_slice": calls_per_date_slice})
        untested = [] if is_tested else ["--exclude-resource-type", "test"]
        run_dbt(home, *arguments, *untested)
    builds.accept(home)
    return prepared


def run_dbt(home: Home, *arguments: str) -> None:
    """Run dbt for a home, with the project parsed once a process."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    os.environ.update(builds.environment(home))
    # dbt's own log is a seventh of the time of a build as small as a test's
    quiet = ["--quiet", "--no-use-colors", "--log-level-file", "none"]
    result = dbtRunner(manifest=manifest()).invoke([*quiet, *arguments])
    # dbt keeps the file open for the process's next command, and the next one here is another home's
    DuckDBConnectionManager.close_all_connections()
    if not result.success:
        bad = [
            f"{node.node.name}: {node.message}"
            for node in getattr(result.result, "results", [])
            if node.status in ("error", "fail", "runtime error")
        ]
        raise AssertionError(f"dbt {' '.join(arguments)}: {result.exception or bad}")


@cache
def manifest() -> Any:
    """dbt's manifest of the project: the same for every home. Needs ``builds.environment`` of one."""
    from dbt.cli.main import dbtRunner

    result = dbtRunner().invoke(["--quiet", "parse"])
    assert result.success, result.exception
    return result.result
