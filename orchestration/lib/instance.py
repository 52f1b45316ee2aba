"""The home's own Dagster instance: its settings, and what becomes of a run whose process died."""

from __future__ import annotations

import os
import sqlite3
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from orchestration.lib.locks import HomeInUse, hold
from orchestration.lib.outcome import was_remembered
from pertask.home import Home

if TYPE_CHECKING:
    import dagster as dg
    from sqlalchemy import Engine

_SETTINGS = """\
# Written by pertask when it was absent; yours to change from here on.
telemetry:
  enabled: false
concurrency:
  pools:
    # The warehouse has one writer at a time, and so has the lake's ingest.
    default_limit: 1
run_queue:
  # A run starts also where its place is taken: it can tell that who has it died, and the queue cannot.
  block_op_concurrency_limited_runs:
    enabled: false
run_monitoring:
  # A run that never starts is marked as failed.
  enabled: true
  free_slots_after_run_end_seconds: 60
retention:
  schedule:
    purge_after_days: 90
  sensor:
    purge_after_days: {skipped: 7, failure: 30, success: 90}
"""

PROCESS_ENDED = "its process ended before the run did"
"""What is told of a run whose process was killed, ran out of memory, or went down with the machine."""

_LAST_WORDS_SECONDS = 10
"""A run lets go of the home's lock, and then notes its own end: how long that may take."""

_TO_THE_LOCK_SECONDS = 120
"""How long a run may take from its start to asking for the home's lock."""


def prepare_dagster(home: Home) -> None:
    """Make Dagster's folder with telemetry off; settings that are there already are kept."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    settings = home.dagster / "dagster.yaml"
    if not settings.exists():
        settings.write_text(_SETTINGS, encoding="utf-8")


def open_instance(home: Home) -> dg.DagsterInstance:
    """The instance that every run of the home is noted in, a command's as well as the daemon's."""
    import dagster as dg
    from sqlalchemy import Engine, event

    # Each of a run's hundreds of events is a commit; waiting for the disk each time takes longer than the build. What
    # a power cut could cost is the history of runs, no number.
    if not event.contains(Engine, "connect", _without_waiting):
        event.listen(Engine, "connect", _without_waiting)
    _keep_engines()
    prepare_dagster(home)
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    return dg.DagsterInstance.get()


def bury(home: Home, instance: dg.DagsterInstance, run_id: str | None) -> None:
    """Mark a run as failed whose process died, and let go of its place in the pools; nothing for one that ended.

    The caller holds the home's lock, and the run held it before: so it is over, whatever the instance says.
    """
    run = instance.get_run_by_id(run_id) if run_id else None
    if run is None:
        return
    deadline = time.monotonic() + (_LAST_WORDS_SECONDS if was_remembered(home, run.run_id) else 0)
    while not run.is_finished and time.monotonic() < deadline:
        time.sleep(0.1)
        run = instance.get_run_by_id(run.run_id) or run
    if not run.is_finished:
        instance.report_run_failed(run, PROCESS_ENDED)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def bury_the_dead(home: Home, instance: dg.DagsterInstance) -> None:
    """Mark as failed the runs that are at work, by their record, in a home whose lock nobody holds.

    Every run holds the lock or waits for it, from soon after its start to its end. Where the machine went down, no
    process is left to tell of its runs.
    """
    import dagster as dg

    at_work = instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    since = time.time() - _TO_THE_LOCK_SECONDS
    suspects = [record.dagster_run.run_id for record in at_work if record.start_time and record.start_time < since]
    if not suspects:
        return
    try:
        with hold(home):
            for run_id in suspects:
                bury(home, instance, run_id)
    except HomeInUse:
        return


def _keep_engines() -> None:
    """Let Dagster use the same engine for a database again.

    It makes a new one for each statement, with which SQLAlchemy inspects the database and compiles the statement anew.
    """
    from dagster._core.storage.event_log.sqlite import sqlite_event_log
    from dagster._core.storage.runs.sqlite import sqlite_run_storage

    sqlite_event_log.create_engine = sqlite_run_storage.create_engine = _engine


def _engine(url: str, *, poolclass: type, connect_args: dict[str, Any] | None = None) -> Engine:
    return _kept_engine(url, poolclass, *(connect_args or {}).items())


@cache
def _kept_engine(url: str, poolclass: type, *connect_args: tuple[str, Any]) -> Engine:
    from sqlalchemy import create_engine

    return create_engine(url, poolclass=poolclass, connect_args=dict(connect_args))


def _without_waiting(connection: Any, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("pragma synchronous = off")
