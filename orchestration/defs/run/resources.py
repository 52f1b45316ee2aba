"""What a run holds while it works."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg

from orchestration.lib.instance import bury
from orchestration.lib.locks import hold, sign
from orchestration.lib.outcome import conclude, outcome_of
from pertask.config import Config
from pertask.home import Home


def writer_resource(home: Home, config: Config) -> dg.ResourceDefinition:
    """The home's lock, held from the run's first step to its last; a run waits for the process that has it."""

    @dg.resource
    def writer(context: dg.InitResourceContext) -> Iterator[None]:
        with hold(home, is_patient=True):
            before = sign(home, context.run.run_id)
            if before != context.run.run_id:
                bury(home, context.instance, before)
            try:
                yield
            finally:
                # also where somebody has cancelled the run
                _conclude(home, config, context.instance, context.run.run_id)

    return writer


def _conclude(home: Home, config: Config, instance: dg.DagsterInstance, run_id: str) -> None:
    """Work out what became of the run: its last step is over."""
    failures = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    outcome = outcome_of(home, [entry.dagster_event for entry in failures])
    run = instance.get_run_by_id(run_id)
    if run is not None and run.status in (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED):
        outcome = replace(outcome, succeeded=False, message="somebody has cancelled the run")
    conclude(home, config, run_id, outcome)
