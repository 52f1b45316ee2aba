"""Executing the graph in this process, for the command line: the same assets that the schedule runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date

from ingest.runner import BatchResult
from orchestration.lib import builds
from orchestration.lib.locks import hold
from orchestration.lib.outcome import conclude, outcome_of
from orchestration.lib.progress import PROGRESS
from pertask.config import load_config
from pertask.home import Home
from publish.conditions import Outcome
from publish.publication import is_current

_JOBS = {
    ("ingest", "build", "publish"): "run",
    ("ingest",): "run_ingest",
    ("build",): "run_build",
    ("publish",): "run_publish",
}
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def execute(
    home: Home,
    steps: tuple[str, ...],
    *,
    full_refresh: bool = False,
    dates: tuple[date, date] | None = None,
    say: Callable[[str], None] = lambda line: None,
    on_delivery: Callable[[BatchResult, int, int], None] | None = None,
) -> Outcome:
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
    with hold(home):
        PROGRESS.say, PROGRESS.on_delivery = say, on_delivery
        PROGRESS.clear()
        # dbt and Dagster speak to logs; what people need is said by `say`.
        home.logs.mkdir(parents=True, exist_ok=True)
        with (
            open(home.logs / "run.log", "w", encoding="utf-8") as log,
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
        ):
            return _execute(home, steps, full_refresh=full_refresh, dates=dates)


def _execute(home: Home, steps: tuple[str, ...], *, full_refresh: bool, dates: tuple[date, date] | None) -> Outcome:
    os.environ.update(builds.environment(home))
    from sqlalchemy.exc import DBAPIError

    from orchestration.definitions import graph
    from orchestration.lib.instance import open_instance

    config = load_config(home)
    run_config: dict = dict(_QUIET)
    if "build" in steps:
        asked = {"full_refresh": full_refresh}
        if dates:
            asked |= {"first_date": dates[0].isoformat(), "last_date": dates[1].isoformat()}
        run_config["ops"] = {"snapshot": {"config": asked}}
    try:
        job = graph(home).resolve_job_def(_JOBS[steps])
        done = job.execute_in_process(run_config=run_config, instance=open_instance(home), raise_on_error=False)
    except DBAPIError as error:
        # Dagster's own: what pertask writes fails its step
        message = f"{home.dagster}: the history of runs cannot be written ({error.orig}). Is the disk full?"
        outcome = Outcome(succeeded=False, message=message, deliveries=tuple(PROGRESS.results) or None)
        conclude(home, config, "", outcome)
        return outcome
    except Exception as error:
        # what keeps the graph from being made, such as a model that does not parse, ends a run too
        conclude(home, config, "", Outcome(succeeded=False, message=str(error)))
        raise
    outcome = outcome_of(home, done.all_events)
    if not done.success and outcome.succeeded:
        outcome = Outcome(succeeded=False, message="the run failed before its first step")
    elif done.success and "publish" in steps and not is_current(home, builds.last_build_id(home)):
        outcome = replace(outcome, succeeded=False, message="nothing was published, and no step says why")
    return outcome
