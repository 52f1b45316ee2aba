"""The alert for a run whose process died: it says so, and only where the run could not tell its own end."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from orchestration.defs.run.sensors import dead_run_sensor
from orchestration.lib.instance import PROCESS_ENDED
from orchestration.lib.outcome import remember
from pertask.home import Home
from publish.conditions import Outcome
from tests.python.publish import hooks


@dg.job
def nothing() -> None:
    pass


def tell(home: Home, instance: dg.DagsterInstance, run: dg.DagsterRun, message: str | None) -> None:
    """Mark the run as failed, as Dagster's code server (without a message) or its monitoring does; tick the sensor."""
    event = instance.report_run_failed(run, message)
    context = dg.build_run_status_sensor_context(
        "dead_runs", event, instance, instance.get_run_by_id(run.run_id), None
    ).for_run_failure()
    dead_run_sensor(home)(context)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.config_file.write_text("sources: {}\n")
    home.warehouse.mkdir()
    return home


@pytest.mark.parametrize(
    ("message", "told"),
    [(None, PROCESS_ENDED), ("Run timed out due to taking longer than 180 seconds to start.", "180 seconds to start")],
)
def test_a_dead_run_is_told_with_a_reason(
    message: str | None, told: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hooks.serving() as hook, dg.DagsterInstance.local_temp() as instance:
        monkeypatch.setenv("PERTASK_ALERT_WEBHOOK", hook.url)
        tell(home, instance, instance.create_run_for_job(nothing), message)
        [headline] = hook.headlines()
    assert told in headline


def test_a_run_that_told_its_own_end_is_not_told_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with hooks.serving() as hook, dg.DagsterInstance.local_temp() as instance:
        monkeypatch.setenv("PERTASK_ALERT_WEBHOOK", hook.url)
        run = instance.create_run_for_job(nothing)
        remember(home, run.run_id, Outcome(succeeded=False, message="a check failed"))
        tell(home, instance, run, None)
        assert hook.received == []
