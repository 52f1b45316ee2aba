"""What became of a run: worked out from its events, kept for ``pertask status``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestration.lib import builds
from pertask.home import Home

if TYPE_CHECKING:
    import dagster as dg

_FOR_PEOPLE = ("BuildError", "ConfigError", "IngestError", "LakeError", "PublishError")
"""Errors whose own message says what to do; what lies beneath them does not."""

_BEFORE_THE_BUILD = ("ingest", "snapshot")


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        succeeded: whether every step ran and every check passed.
        message: what failed, for people; empty when nothing did.
        failed_checks: a line for each check or model that failed.
        warnings: a line for each check that warns.
    """

    succeeded: bool
    message: str = ""
    failed_checks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def outcome_of(home: Home, events: Iterable[dg.DagsterEvent]) -> Outcome:
    """Work out what became of the home's run that made these events; no failed step means success."""
    failure = next((event for event in events if event.is_step_failure), None)
    if failure is None:
        return Outcome(succeeded=True, warnings=builds.audit(home).warnings)
    if failure.step_key in _BEFORE_THE_BUILD:
        # what dbt found is from another run
        return Outcome(succeeded=False, message=_reason(failure))
    audit = builds.audit(home)
    if failure.step_key == "warehouse" and audit.failures:
        message = f"build: {len(audit.failures)} models or checks failed"
        return Outcome(succeeded=False, message=message, failed_checks=audit.failures, warnings=audit.warnings)
    return Outcome(succeeded=False, message=_reason(failure), warnings=audit.warnings)


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
    text = {"run_id": run_id, "ended_at": datetime.now(UTC).isoformat(timespec="seconds"), **asdict(outcome)}
    scratch.write_text(json.dumps(text, indent=1), encoding="utf-8")
    os.replace(scratch, home.last_run_file)
