"""The overnight re-embedding batch: one task is one collection in one night, logged by an in-house tool."""

from __future__ import annotations

import numpy as np
import polars as pl

from ingest.sample import traces
from ingest.sample.attempts import OK, charge, expand, finish, schedule
from ingest.sample.world import EMBEDDING, SECOND_MS, World, epoch_ms

BATCHES_A_DAY = 410
COLLECTIONS = {"catalogue": 0.6, "policies": 0.25, "tickets": 0.15}
_START_SECONDS = 19 * 3_600 + 1_800
_WINDOW_SECONDS = 4 * 3_600 - 600


def make(world: World) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The batch's attempts and its nights' labels."""
    random = world.random("embedding")
    parts = []
    for day in world.dates:
        count = world.tasks_on(day, BATCHES_A_DAY, least=15, weekend=1.0, grows=False)
        offsets = np.sort(random.integers(0, _WINDOW_SECONDS * SECOND_MS, count))
        names = random.choice(list(COLLECTIONS), count, p=list(COLLECTIONS.values()))
        names[: len(COLLECTIONS)] = list(COLLECTIONS)
        parts.append(
            pl.DataFrame(
                {
                    "day": [day.isoformat()] * count,
                    "collection": names,
                    "task_ms": epoch_ms(day) + _START_SECONDS * SECOND_MS + offsets,
                }
            )
        )
    calls = pl.concat(parts)
    count = len(calls)
    number = np.arange(count)
    calls = calls.with_columns(
        # Each batch of texts is a step of its own; "task" here only orders the attempts of one batch.
        pl.Series("task", number),
        pl.Series("plan", np.where(number % 43 == 9, "rate_limited", OK), dtype=pl.String),
        pl.Series("input_tokens", traces.lengths(random, traces.MOONCAKE_INPUT, count)),
        pl.Series("request_id", np.char.add("emb-", np.char.mod("%07d", number))),
        step_index=pl.lit(1),
        output_tokens=pl.lit(0),
        model=pl.lit(EMBEDDING),
        task_id=pl.format("reembed-{}-{}", "day", "collection"),
    )
    attempts = schedule(charge(expand(calls)), random).with_columns(
        source=pl.lit("embeddings"),
        task_label=pl.col("task_id"),
        call_label=pl.col("request_id"),
        has_attempt_label=pl.lit(True),
        task_type=pl.lit("re-embed"),
        team_label=pl.lit("search"),
        application=pl.lit("knowledge-base"),
        step_name=pl.lit("embed"),
        step_index=pl.lit(None, pl.Int64),
        call_kind=pl.lit("embedding"),
        workload_kind=pl.lit("batch"),
        environment=pl.lit(None, pl.String),
    )
    labels = (
        attempts.group_by("task_id", maintain_order=True)
        .agg(closed_ms=pl.col("ended_ms").max())
        .select(
            "task_id",
            "closed_ms",
            outcome=pl.lit("success"),
            complexity=pl.lit(None, pl.String),
            quality_score=pl.lit(None, pl.Float64),
            value=pl.lit(None, pl.String),
            value_currency=pl.lit(None, pl.String),
            is_relabelled=pl.lit(False),
        )
    )
    return finish(attempts, random, "emb-"), labels
