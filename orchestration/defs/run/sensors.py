"""What becomes of runs that cannot tell it themselves."""

from __future__ import annotations

import dagster as dg

from orchestration.lib.instance import PROCESS_ENDED
from orchestration.lib.outcome import was_remembered
from pertask.config import load_config
from pertask.home import Home
from publish.alerts import tell
from publish.conditions import Outcome

_SAYS_NOTHING = "This run has been marked as failed from outside the execution context"
"""Dagster's own words for a run whose process it no longer finds."""


def dead_run_sensor(home: Home) -> dg.SensorDefinition:
    """Alerts for runs whose process died: every other run tells its own end."""

    @dg.run_failure_sensor(
        name="dead_runs",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Alerts when a run's process died; every other run tells its own end.",
    )
    def dead_runs(context: dg.RunFailureSensorContext) -> None:
        if was_remembered(home, context.dagster_run.run_id):
            return
        said = context.failure_event.message or _SAYS_NOTHING
        outcome = Outcome(succeeded=False, message=PROCESS_ENDED if said.startswith(_SAYS_NOTHING) else said)
        for line in tell(home, load_config(home, with_mappings=False), outcome):
            context.log.warning(line)

    return dead_runs
