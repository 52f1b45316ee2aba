"""The home's own Dagster instance: its settings, and what becomes of a run whose process died."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any

from pertask.home import Home

if TYPE_CHECKING:
    import dagster as dg

_SETTINGS = """\
# Written by pertask when it was absent; yours to change from here on.
telemetry:
  enabled: false
concurrency:
  pools:
    # The warehouse has one writer at a time, and so has the lake's ingest.
    default_limit: 1
run_monitoring:
  # Runs whose process died are marked as failed.
  enabled: true
  free_slots_after_run_end_seconds: 60
retention:
  schedule:
    purge_after_days: 90
  sensor:
    purge_after_days: {skipped: 7, failure: 30, success: 90}
"""


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
    prepare_dagster(home)
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    return dg.DagsterInstance.get()


def bury(instance: dg.DagsterInstance, run_id: str | None) -> None:
    """Mark a run as failed whose process died, and let go of its place in the pools; nothing for one that ended.

    The caller holds the home's lock, and the run held it before: so it is over, whatever the instance says.
    """
    run = instance.get_run_by_id(run_id) if run_id else None
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, "its process ended before the run did")
    if run is not None:
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _without_waiting(connection: Any, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("pragma synchronous = off")
