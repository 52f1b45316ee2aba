"""What people send beside the products: untagged calls, editor sessions, experiments with a model that has no price."""

from __future__ import annotations

import numpy as np
import polars as pl

from ingest.sample import traces
from ingest.sample.attempts import OK, charge, expand, finish, schedule
from ingest.sample.world import EXPERIMENTAL, FLAGSHIP, FLASH, INDIA, LONDON, SMALL, World

UNTAGGED_A_DAY = 52
SESSIONS_A_DAY = 12
EXPERIMENTS_A_DAY = 8
WITHOUT_ID_A_DAY = 2


def make(world: World) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All of these attempts, and the labels of the few that someone labelled afterwards."""
    sessions, session_labels = _sessions(world)
    return pl.concat([_untagged(world), _without_id(world), sessions, _experiments(world)]), session_labels


def _calls(world: World, random: np.random.Generator, base: float, least: int, models: tuple[str, ...]) -> pl.DataFrame:
    counts = [world.tasks_on(day, base, least=least) for day in world.dates]
    started = traces.arrivals(world, random, LONDON, counts)
    count = len(started)
    return pl.DataFrame(
        {
            "task": np.arange(count),
            "task_ms": started,
            "step_index": np.ones(count, np.int64),
            "plan": np.full(count, OK),
            "model": np.array(models)[np.arange(count) % len(models)],
            "input_tokens": traces.lengths(random, traces.AZURE_CONVERSATION_INPUT, count),
            "output_tokens": traces.lengths(random, traces.AZURE_CONVERSATION_OUTPUT, count),
        }
    )


def _untagged(world: World) -> pl.DataFrame:
    """Calls whose metadata is empty: no task, no team, no step."""
    random = world.random("untagged")
    calls = _calls(world, random, UNTAGGED_A_DAY, 4, (SMALL, FLASH, SMALL, FLAGSHIP))
    calls = calls.with_columns(
        plan=pl.when(pl.col("task") % 19 == 6).then(pl.lit("cancelled")).otherwise(pl.col("plan"))
    )
    attempts = schedule(charge(expand(calls)), random).with_columns(
        source=pl.lit("gateway"),
        gateway=pl.lit("london"),
        has_labels=pl.lit(False),
        call_kind=pl.lit("llm"),
        workload_kind=pl.lit("serving"),
        step_index=pl.lit(None, pl.Int64),
    )
    return finish(attempts, random, "chatcmpl-u")


def _without_id(world: World) -> pl.DataFrame:
    """Calls whose request id the gateway lost as well: they make no task."""
    random = world.random("without id")
    attempts = schedule(charge(expand(_calls(world, random, WITHOUT_ID_A_DAY, 1, (SMALL,)))), random).with_columns(
        source=pl.lit("gateway"),
        gateway=pl.lit("bengaluru"),
        request_id=pl.lit(""),
        has_labels=pl.lit(False),
        call_kind=pl.lit("llm"),
        workload_kind=pl.lit("serving"),
        step_index=pl.lit(None, pl.Int64),
    )
    return finish(attempts, random, "")


def _sessions(world: World) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Editor sessions: the session id stands in for the task; some are labelled only in the task list."""
    random = world.random("sessions")
    sessions = _calls(world, random, SESSIONS_A_DAY, 3, (SMALL,))
    sizes = random.integers(1, 5, len(sessions))
    steps = sessions[np.repeat(np.arange(len(sessions)), sizes)]
    number = np.arange(len(steps)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    steps = steps.with_columns(
        pl.Series("step_index", number + 1),
        pl.Series("input_tokens", traces.lengths(random, traces.AZURE_CODE_INPUT, len(steps))),
        pl.Series("output_tokens", traces.lengths(random, traces.AZURE_CODE_OUTPUT, len(steps))),
        session_id=pl.format("editor-{}", pl.col("task").cast(pl.String).str.zfill(5)),
        plan=pl.when((pl.col("task") % 17 == 3) & (pl.Series(number) == 0))
        .then(pl.lit("timeout_abandoned"))
        .otherwise(pl.col("plan")),
    )
    attempts = schedule(charge(expand(steps)), random).with_columns(
        source=pl.lit("gateway"),
        gateway=pl.lit("bengaluru"),
        call_kind=pl.lit("llm"),
        workload_kind=pl.lit("serving"),
        environment=pl.lit(None, pl.String),
        step_index=pl.lit(None, pl.Int64),
    )
    labels = (
        attempts.filter(pl.col("task") % 3 == 1)
        .group_by("session_id", maintain_order=True)
        .agg(pl.col("ended_ms").max(), pl.col("task").first())
        .select(
            task_id="session_id",
            closed_ms="ended_ms",
            outcome=pl.when(pl.col("task") % 2 == 0).then(pl.lit("success")).otherwise(pl.lit("failure")),
            complexity=pl.lit(None, pl.String),
            quality_score=pl.lit(None, pl.Float64),
            value=pl.lit(None, pl.String),
            value_currency=pl.lit(None, pl.String),
            is_relabelled=pl.lit(False),
            task_type=pl.lit("code_help"),
            team=pl.lit("platform"),
        )
    )
    return finish(attempts, random, "chatcmpl-e"), labels


def _experiments(world: World) -> pl.DataFrame:
    """The prompt lab: each task asks a model without a price, and every second one also a model with one."""
    random = world.random("experiments")
    counts = [world.tasks_on(day, EXPERIMENTS_A_DAY, least=2) for day in world.dates]
    started = traces.arrivals(world, random, INDIA, counts)
    sizes = np.where(np.arange(len(started)) % 2 == 0, 2, 1)
    rows = np.repeat(np.arange(len(started)), sizes)
    number = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    steps = pl.DataFrame(
        {
            "task": rows,
            "task_ms": started[rows],
            "step_index": number + 1,
            "plan": np.full(len(rows), OK),
            "model": np.where(number == 0, EXPERIMENTAL, SMALL),
            "input_tokens": traces.lengths(random, traces.AZURE_CONVERSATION_INPUT, len(rows)),
            "output_tokens": traces.lengths(random, traces.AZURE_CONVERSATION_OUTPUT, len(rows)),
        }
    )
    attempts = schedule(charge(expand(steps)), random).with_columns(
        source=pl.lit("gateway"),
        gateway=pl.lit("bengaluru"),
        task_label=pl.format("lab-{}", pl.col("task").cast(pl.String).str.zfill(5)),
        task_type=pl.lit("prompt_lab"),
        team_label=pl.lit("research"),
        application=pl.lit("prompt-lab"),
        experiment=pl.lit("acme-trial"),
        environment=pl.lit("development"),
        step_name=pl.when(pl.col("step_index") == 1).then(pl.lit("try")).otherwise(pl.lit("compare")),
        call_kind=pl.lit("llm"),
        workload_kind=pl.lit("other"),
    )
    return finish(attempts, random, "chatcmpl-x")
