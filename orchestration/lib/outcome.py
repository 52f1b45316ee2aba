"""What became of a run: worked out from its events, kept for ``pertask status``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from orchestration.lib import builds
from orchestration.lib.progress import PROGRESS
from pertask.home import Home
from publish.alerts import tell
from publish.conditions import Check, Outcome

if TYPE_CHECKING:
    import dagster as dg

    from pertask.checks.results import CheckResult
    from pertask.config import Config

_FOR_PEOPLE = ("BuildError", "ConfigError", "IngestError", "LakeError", "PublishError")
"""Errors whose own message says what to do; what lies beneath them does not."""

_BEFORE_THE_BUILD = ("ingest", "snapshot", "batch_checks")


def outcome_of(home: Home, events: Iterable[dg.DagsterEvent]) -> Outcome:
    """Work out what became of this process's run, which made these events; no failed step means success."""
    failure = next((event for event in events if event.is_step_failure), None)
    is_before = failure is not None and failure.step_key in _BEFORE_THE_BUILD
    # what dbt found last is from another run when this one did not come so far
    audit = builds.Audit(0, (), ()) if is_before else builds.audit(home)
    is_standing = is_before or PROGRESS.is_unchanged
    failed = [_check(home, check) for check in PROGRESS.checks if not check.passed and check.severity == "error"]
    warns = [_check(home, check) for check in PROGRESS.checks if not check.passed and check.severity == "warn"]
    if failure is not None and failure.step_key == "warehouse":
        failed += audit.failures
    return Outcome(
        succeeded=failure is None,
        message=_message(failure, len(failed)),
        failed_checks=tuple(failed),
        # what the standing build was warned of still holds where there is no newer one
        warnings=(*(_remembered_warnings(home) if is_standing else (*warns, *audit.warnings)), *PROGRESS.warnings),
        deliveries=tuple(PROGRESS.results) or None,
    )


def _remembered_warnings(home: Home) -> Iterator[Check]:
    """What the last run warned of, but for pages: this run has tried them again where they lag behind."""
    for warning in _read(home).get("warnings", ()):
        if not warning["name"].startswith("published/"):
            yield Check(**{**warning, "dollars_usd": _decimal(warning)})


def _decimal(warning: dict[str, Any]) -> Decimal | None:
    return None if warning["dollars_usd"] is None else Decimal(warning["dollars_usd"])


def _read(home: Home) -> dict[str, Any]:
    """What is kept of the last run; nothing where there is none, or none that can be read."""
    try:
        return json.loads(home.last_run_file.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}


def _check(home: Home, result: CheckResult) -> Check:
    name = ".".join((*result.asset, result.check))
    return Check(name, result.message, look=f"open {home.data_docs / 'index.html'}")


def _message(failure: dg.DagsterEvent | None, failed_count: int) -> str:
    if failure is None:
        return ""
    checked = {"batch_checks": "deliveries", "warehouse": "build", "mart_checks": "marts"}
    if failed_count and failure.step_key in checked:
        what = ("model or check", "models or checks") if failure.step_key == "warehouse" else ("check", "checks")
        return f"{checked[failure.step_key]}: {failed_count} {what[failed_count > 1]} failed"
    return _reason(failure)


def _reason(event: dg.DagsterEvent) -> str:
    """The innermost error of a failed step that speaks to people."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None and error.cls_name not in _FOR_PEOPLE:
        error = error.cause
    # The class of an error means nothing to who can mend it.
    return re.sub(r"^[A-Za-z_.]+: ", "", error.message.strip()) if error else event.step_key


def conclude(home: Home, config: Config, run_id: str, outcome: Outcome) -> None:
    """Keep what became of a run, and tell the webhook what is worth it."""
    try:
        remember(home, run_id, outcome)
    except OSError as error:
        PROGRESS.say(f"warning: {home.last_run_file}: cannot be written ({error.strerror})")
    for line in tell(home, config, outcome):
        PROGRESS.say(f"warning: {line}")


def remember(home: Home, run_id: str, outcome: Outcome) -> None:
    """Keep what became of the last run; whoever reads meanwhile sees the old one or the new one."""
    scratch = home.last_run_file.with_suffix(".scratch")
    ended_at = datetime.now(UTC).isoformat(timespec="seconds")
    record = {"run_id": run_id, "ended_at": ended_at, **asdict(replace(outcome, deliveries=None))}
    scratch.write_text(json.dumps(record, indent=1, default=str), encoding="utf-8")
    os.replace(scratch, home.last_run_file)


def was_remembered(home: Home, run_id: str) -> bool:
    """Whether a run came as far as telling what became of it; one whose process was killed did not."""
    return _read(home).get("run_id") == run_id
