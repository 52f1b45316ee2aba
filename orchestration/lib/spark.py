"""The marts built by Apache Spark, from the same lake and by the same models: ``pertask build --target spark``.

A build on Spark stands beside the one on DuckDB. It has its own snapshot, so each engine recomputes what changed since
its own last build; dbt's tests check it; and nothing is published from it: its marts are tables of Spark's catalog.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path

from orchestration.lib import builds, dbt
from orchestration.lib.locks import hold
from pertask.home import Home
from publish.conditions import Outcome

_JAVA = 17
_OF_PATTERNS = set("{}[]*?`,\\")


class SparkMissing(Exception):
    """What Spark needs is not installed; the message says what to do."""


def build(
    home: Home,
    *,
    full_refresh: bool = False,
    dates: tuple[date, date] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Build and test every mart on Spark.

    Args:
        home: the home whose lake is read.
        full_refresh: recompute every date.
        dates: first and last date to recompute besides what changed.
        say: called with each line for people.

    Raises:
        SparkMissing: dbt-spark or Java is not installed, or Spark cannot read files of this path.
        HomeInUse: another process is at work in this home.
        LakeError: the lake contradicts its ledger.
        ConfigError: pertask.yml or a company file has errors.
    """
    home = home.on("spark")
    check_installed(home)
    _check_path(home)
    with hold(home.on("duckdb")):
        build = builds.prepare(home, full_refresh=full_refresh, dates=dates)
        say(build.description)
        if not build.is_needed:
            return Outcome(succeeded=True)
        if build.full_refresh:
            # until it succeeds nothing stands that a later build could add to
            shutil.rmtree(home.last_snapshot, ignore_errors=True)
            # files that the catalog has lost sight of would be in the way of new tables
            shutil.rmtree(home.spark_tables, ignore_errors=True)
            shutil.rmtree(home.warehouse / "metastore", ignore_errors=True)
        succeeded = dbt.run(home, builds.arguments(home, full_refresh=build.full_refresh))
        audit = builds.audit(home)
        if not succeeded:
            return Outcome(False, dbt.reason(home), audit.failures, audit.warnings)
        builds.mark_tested(home)
        builds.accept(home)
    return Outcome(succeeded=True, warnings=audit.warnings)


def check_installed(home: Home) -> None:
    """Refuse to start without dbt-spark and, unless a profile of the home's own says otherwise, pyspark and Java.

    Raises:
        SparkMissing: one of them is not there; says how to get it.
    """
    is_session = not builds.has_own_profile(home)
    needed = ("dbt.adapters.spark", *(["pyspark"] if is_session else []))
    missing = [name for name in needed if not _is_importable(name)]
    if missing:
        raise SparkMissing(
            f"--target spark needs {' and '.join(missing)}, which the extra `spark` brings: uv sync --inexact --extra "
            "spark (pip install 'pertask[spark]')."
        )
    version = java_version() if is_session else _JAVA
    if version is None or version < _JAVA:
        found = "no java is on PATH or at JAVA_HOME" if version is None else f"the java found is version {version}"
        raise SparkMissing(f"--target spark needs Java {_JAVA} or newer, and {found}. Install one, or set JAVA_HOME.")


def _check_path(home: Home) -> None:
    if found := sorted(_OF_PATTERNS & set(str(home.root))):
        raise SparkMissing(
            f"{home.root}: Spark reads {' '.join(found)} in a path as a pattern. Move the home elsewhere."
        )


def java_version() -> int | None:
    """Major version of the Java that Spark would start; None where there is none."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if java is None or not Path(java).exists():
        return None
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found.group(1)) if found else None


def _is_importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
