"""Files as they land: a run when something new lies in a landing place."""

from __future__ import annotations

import dagster as dg

from orchestration.lib.instance import bury_the_dead
from orchestration.lib.landing import SETTLED_SECONDS, look
from pertask.config import load_config
from pertask.home import Home

_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def landing_sensor(home: Home, job: dg.UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """Asks for a run when the files of a source changed and have come to rest, one run at a time."""

    @dg.sensor(
        name="landing",
        job=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Runs the graph when new files have landed, in a folder or in a bucket.",
    )
    def landing(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        bury_the_dead(home, context.instance)
        # read each time: a source that is added to pertask.yml counts from then on
        found = look(home, load_config(home, with_mappings=False))
        for problem in found.problems:
            context.log.warning(problem)
        if found.fingerprint == context.cursor:
            return dg.SkipReason("nothing new has landed")
        if not found.is_settled:
            return dg.SkipReason(f"files are still landing: a run waits until none changed for {SETTLED_SECONDS} s")
        if context.instance.get_runs_count(dg.RunsFilter(job_name=job.name, statuses=_UNDER_WAY)):
            return dg.SkipReason("a run is under way; what landed meanwhile is for the next one")
        context.update_cursor(found.fingerprint)
        return dg.RunRequest(run_key=found.fingerprint)

    return landing
