"""Executing the graph in this process, for the command line: the same assets that the schedule runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.runner import BatchResult
from orchestration.lib import builds
from orchestration.lib.progress import PROGRESS
from pertask.dev import prepare_dagster
from pertask.home import Home

if TYPE_CHECKING:
    import dagster as dg

_JOBS = {
    ("ingest", "build", "publish"): "run",
    ("ingest",): "run_ingest",
    ("build",): "run_build",
    ("publish",): "run_publish",
}
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


_FOR_PEOPLE = ("BuildError", "ConfigError", "IngestError", "LakeError", "PublishError")
"""Errors whose own message says what to do; what lies beneath them does not."""


class HomeInUse(Exception):
    """Another process is running the graph of this home."""


@dataclass(frozen=True)
class RunResult:
    """What became of a run.

    Attributes:
        succeeded: whether every step ran and every check passed.
        message: what failed, for people; empty when nothing did.
        failed_checks: a line for each check or model that failed.
        warnings: a line for each check that warns.
        ingest_results: what became of each delivery.
    """

    succeeded: bool
    message: str = ""
    failed_checks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    ingest_results: tuple[BatchResult, ...] = ()


def execute(
    home: Home,
    steps: tuple[str, ...],
    *,
    full_refresh: bool = False,
    dates: tuple[date, date] | None = None,
    say: Callable[[str], None] = lambda line: None,
    on_delivery: Callable[[BatchResult, int, int], None] | None = None,
) -> RunResult:
    """Run steps of the graph in order: ingest, build, publish, or all three.

    Args:
        home: the home to work in.
        steps: one of the three, or all of them.
        full_refresh: the build recomputes every date.
        dates: first and last date to recompute besides what changed.
        say: called with each line for people.
        on_delivery: called after each delivery with its result, how many are done, and how many there are.

    Raises:
        HomeInUse: another process is at work in this home.
        ConfigError: pertask.yml has errors.
    """
    with _only_one(home):
        PROGRESS.say, PROGRESS.on_delivery = say, on_delivery
        PROGRESS.results.clear()
        # dbt and Dagster speak to logs; what people need is said by `say`.
        home.logs.mkdir(parents=True, exist_ok=True)
        with open(home.logs / "run.log", "w", encoding="utf-8") as log, contextlib.redirect_stdout(log):
            return _execute(home, steps, full_refresh=full_refresh, dates=dates)


def _execute(home: Home, steps: tuple[str, ...], *, full_refresh: bool, dates: tuple[date, date] | None) -> RunResult:
    os.environ.update(builds.environment(home))
    from orchestration.definitions import graph

    instance = _instance(home)
    config: dict = dict(_QUIET)
    if "build" in steps:
        asked = {"full_refresh": full_refresh}
        if dates:
            asked |= {"first_date": dates[0].isoformat(), "last_date": dates[1].isoformat()}
        config["ops"] = {"snapshot": {"config": asked}}
    outcome = (
        graph(home)
        .resolve_job_def(_JOBS[steps])
        .execute_in_process(run_config=config, instance=instance, raise_on_error=False)
    )
    audit = builds.audit(home) if "build" in steps else None
    return RunResult(
        succeeded=outcome.success,
        message="" if outcome.success else _what_failed(outcome, audit),
        failed_checks=audit.failures if audit and not outcome.success else (),
        warnings=audit.warnings if audit else (),
        ingest_results=tuple(PROGRESS.results),
    )


def _what_failed(outcome: dg.ExecuteInProcessResult, audit: builds.Audit | None) -> str:
    """The first step that failed, and why: its failed checks, else the innermost error."""
    for event in outcome.all_events:
        if event.is_step_failure:
            if event.step_key == "warehouse" and audit and audit.failures:
                return f"build: {len(audit.failures)} models or checks failed"
            error = event.step_failure_data.error
            while error is not None and error.cause is not None and error.cls_name not in _FOR_PEOPLE:
                error = error.cause
            # The class of an error means nothing to who can mend it.
            return re.sub(r"^[A-Za-z_.]+: ", "", error.message.strip()) if error else event.step_key
    return "the run failed before its first step"


def _instance(home: Home) -> dg.DagsterInstance:
    """The home's own Dagster instance, so that `pertask dev` shows every run."""
    import dagster as dg
    from sqlalchemy import Engine, event

    # Each of a run's hundreds of events is a commit; waiting for the disk each time takes longer than the build. What
    # a power cut could cost is the history of runs, no number.
    if not event.contains(Engine, "connect", _without_waiting):
        event.listen(Engine, "connect", _without_waiting)
    prepare_dagster(home)
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    return dg.DagsterInstance.get()


def _without_waiting(connection: Any, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("pragma synchronous = off")


@contextlib.contextmanager
def _only_one(home: Home) -> Iterator[None]:
    """Hold the home's lock, which the kernel lets go when the process dies."""
    home.warehouse.mkdir(parents=True, exist_ok=True)
    path: Path = home.warehouse / "lock"
    with open(path, "a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise HomeInUse(
                f"{home.root}: process {lock.read().strip() or 'unknown'} is running this home's graph. Wait until "
                "it is done; the warehouse has one writer at a time."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
