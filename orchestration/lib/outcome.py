"""What became of a run: worked out from its events, kept for ``pertask status``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestration.lib import builds
from orchestration.lib.progress import PROGRESS
from pertask.home import Home
from publish.conditions import Outcome

if TYPE_CHECKING:
    import dagster as dg

_FOR_PEOPLE = ("BuildError", "ConfigError", "IngestError", "LakeError", "PublishError")
"""Errors whose own message says what to do; what lies beneath them does not."""

_BEFORE_THE_BUILD = ("ingest", "snapshot")


def outcome_of(home: Home, events: Iterable[dg.DagsterEvent]) -> Outcome:
    """Work out what became of this process's run, which made these events; no failed step means success."""
    deliveries = tuple(PROGRESS.results) or None
    failure = next((event for event in events if event.is_step_failure), None)
    if failure is not None and failure.step_key in _BEFORE_THE_BUILD:
        # what dbt found is from another run
        return Outcome(succeeded=False, message=_reason(failure), deliveries=deliveries)
    audit = builds.audit(home)
    if failure is None:
        return Outcome(succeeded=True, warnings=audit.warnings, deliveries=deliveries)
    failed_checks = audit.failures if failure.step_key == "warehouse" else ()
    return Outcome(
        succeeded=False,
        message=f"build: {len(failed_checks)} models or checks failed" if failed_checks else _reason(failure),
        failed_checks=failed_checks,
        warnings=audit.warnings,
        deliveries=deliveries,
    )


def _reason(event: dg.DagsterEvent) -> str:
    """The innermost error of a failed step that speaks to people."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None and error.cls_name not in _FOR_PEOPLE:
        error = error.cause
    # The class of an error means nothing to who can mend it.
    return re.sub(r"^[A-Za-z_.]+: ", "", error.message.strip()) if error else event.step_key


def remember(home: Home, run_id: str, outcome: Outcome) -> None:
    """Keep what became of the last run; whoever reads meanwhile sees the old one or the new one."""
    scratch = home.last_run_file.with_suffix(".scratch")
    ended_at = datetime.now(UTC).isoformat(timespec="seconds")
    record = {"run_id": run_id, "ended_at": ended_at, **asdict(replace(outcome, deliveries=None))}
    scratch.write_text(json.dumps(record, indent=1, default=str), encoding="utf-8")
    os.replace(scratch, home.last_run_file)


def was_remembered(home: Home, run_id: str) -> bool:
    """Whether a run came as far as telling what became of it; one whose process was killed did not."""
    return home.last_run_file.exists() and json.loads(home.last_run_file.read_bytes())["run_id"] == run_id
