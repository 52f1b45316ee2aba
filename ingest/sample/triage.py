"""The London fraud-triage loop: one task is one alert.

Classify, then enrich and re-classify until the picture is clear, then perhaps escalate. A simple alert takes one round,
a hard one ten and more, each with a longer context.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from ingest.sample import traces
from ingest.sample.attempts import OK, charge, expand, finish, schedule
from ingest.sample.caching import is_warm
from ingest.sample.world import FLAGSHIP, FLASH, HAIKU, LONDON, SONNET, World

ALERTS_A_DAY = 118
_PREFIX_TOKENS = 3_000
_ROUND_TOKENS = 1_200
_HOUR = 3_600


def make(world: World) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The loop's attempts and its alerts' labels."""
    random = world.random("triage")
    alerts = _alerts(world, random)
    attempts = schedule(charge(expand(_steps(alerts, random))), random)
    attempts = _cached(attempts)
    attempts = attempts.with_columns(
        source=pl.lit("gateway"),
        gateway=pl.lit("london"),
        task_label=pl.col("task_id"),
        # Only calls that were tried again name themselves; the gateway's own counter numbers the attempts.
        call_label=pl.when(pl.col("has_retries")).then(pl.format("{}-{}", "task_id", "step_index")),
        task_type=pl.lit("fraud_alert"),
        team_alias=pl.lit("fraud-uk"),
        application=pl.lit("fraud-triage"),
        release=pl.lit("triage-41"),
        region=pl.lit("eu-west-2"),
        call_kind=pl.lit("llm"),
        workload_kind=pl.lit("serving"),
    )
    ends = attempts.group_by("task").agg(pl.col("ended_ms").max())
    labels = alerts.join(ends, on="task", how="left").select(
        "task_id",
        "outcome",
        closed_ms=pl.col("ended_ms") + pl.col("task_ms") % 1_740_000 + 120_000,
        complexity="complexity",
        quality_score=pl.lit(None, pl.Float64),
        value=pl.when(pl.col("outcome") == "success").then(pl.lit("6.50")),
        value_currency=pl.when(pl.col("outcome") == "success").then(pl.lit("GBP")),
        is_relabelled=(pl.col("task") % 50 == 7) & (pl.col("outcome") == "success"),
    )
    return finish(attempts, random, "resp-"), labels


def _alerts(world: World, random: np.random.Generator) -> pl.DataFrame:
    counts = [world.tasks_on(day, ALERTS_A_DAY, least=8, weekend=0.8) for day in world.dates]
    started = traces.arrivals(world, random, LONDON, counts)
    count = len(started)
    task = np.arange(count)
    turn = task % 10
    complexity = np.where(turn == 0, "high", np.where(turn <= 3, "medium", "low"))
    rounds = np.where(turn == 0, random.integers(10, 15, count), np.where(turn <= 3, random.integers(3, 6, count), 1))
    escalates = random.random(count) < np.where(turn == 0, 0.5, np.where(turn <= 3, 0.2, 0.05))
    plan = np.full(count, "", dtype=object)
    plan[task % 23 == 4] = "timeout_abandoned"
    plan[task % 41 == 9] = "filter_abandoned"
    plan[task % 31 == 12] = "cancelled"
    escalates |= plan == "timeout_abandoned"
    outcome = np.where(escalates, "escalated", "success").astype(object)
    outcome[random.random(count) < 0.04] = "failure"
    outcome[random.random(count) < 0.03] = ""
    outcome[task % 47 == 11] = "unknown"
    is_abandoned = plan != ""
    outcome[is_abandoned] = np.where(task[is_abandoned] // 23 % 3 == 1, "", "failure")
    days = (started // 86_400_000 - (started[0] // 86_400_000)) if count else started
    names = np.array([day.strftime("alert-%y%m%d-") for day in world.dates])[days]
    return pl.DataFrame(
        {
            "task": task,
            "task_id": np.char.add(names, np.char.mod("%06d", task)),
            "task_ms": started,
            "complexity": complexity,
            "rounds": rounds,
            "escalates": escalates,
            "alert_tokens": traces.lengths(random, traces.AZURE_CODE_INPUT, count),
            "task_plan": plan,
            "outcome": pl.Series(outcome, dtype=pl.String).replace("", None),
            "customer": np.char.add("merchant-", np.char.mod("%03d", np.minimum(random.geometric(0.03, count), 250))),
        }
    )


def _steps(alerts: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
    """One row per step: classify, then enrich and re-classify in each round, then escalate where it comes to that."""
    sizes = 1 + 2 * alerts["rounds"].to_numpy() + alerts["escalates"].to_numpy()
    steps = alerts[np.repeat(np.arange(len(alerts)), sizes)]
    count = len(steps)
    number = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    is_last = number == np.repeat(sizes, sizes) - 1
    escalate = is_last & steps["escalates"].to_numpy()
    name = np.where(number == 0, "classify", np.where(number % 2 == 1, "enrich", "reclassify"))
    name = np.where(escalate, "escalate", name)
    turn = np.arange(count)
    plan = np.full(count, OK, dtype=object)
    for every, place, what in (
        (37, 5, "rate_limited"),
        (61, 7, "timeout"),
        (97, 17, "hedged"),
        (173, 11, "server_error"),
        (197, 13, "tool_error"),
        (211, 19, "unknown"),
    ):
        plan[turn % every == place] = what
    task_plan = steps["task_plan"].to_numpy()
    for what, where in (
        ("timeout_abandoned", escalate),
        ("filter_abandoned", number == 0),
        ("cancelled", number == 1),
    ):
        is_here = (task_plan == what) & where
        plan[is_here] = what
    round_number = (number + 1) // 2
    step = pl.col("step_name")
    answer = traces.lengths(random, traces.AZURE_CODE_OUTPUT, count)
    report = traces.lengths(random, traces.MOONCAKE_OUTPUT, count)
    document = traces.lengths(random, traces.MOONCAKE_INPUT, count, most=24_000)
    thought = random.integers(1, 9, count) * 96
    alert = pl.col("alert_tokens")
    return steps.with_columns(
        pl.Series("step_name", name),
        pl.Series("step_index", number + 1),
        pl.Series("plan", plan, dtype=pl.String),
        pl.Series("round_number", round_number),
        pl.Series("answer_tokens", answer),
        pl.Series("report_tokens", report),
        pl.Series("document_tokens", document),
        pl.Series("thought_tokens", thought),
        pl.Series("is_implicitly_cached", random.random(count) < 0.4),
    ).with_columns(
        model=step.replace_strict({"classify": FLASH, "enrich": HAIKU, "reclassify": SONNET, "escalate": FLAGSHIP}),
        input_tokens=pl.when(step == "classify")
        .then(2_500 + alert)
        .when(step == "enrich")
        .then(700 + pl.col("document_tokens"))
        .when(step == "reclassify")
        .then(_PREFIX_TOKENS + alert + pl.col("round_number") * _ROUND_TOKENS + 150)
        .otherwise(1_800 + alert + pl.col("round_number") * _ROUND_TOKENS),
        output_tokens=pl.when(step == "classify")
        .then(pl.col("answer_tokens") + pl.col("thought_tokens"))
        .when(step == "enrich")
        .then(pl.col("report_tokens"))
        .when(step == "reclassify")
        .then(pl.col("answer_tokens") + 60)
        .otherwise(pl.col("report_tokens") + 2 * pl.col("thought_tokens")),
        reasoning_tokens=pl.when(step == "classify")
        .then(pl.col("thought_tokens"))
        .when(step == "escalate")
        .then(2 * pl.col("thought_tokens")),
        tool_call_count=pl.when(step == "enrich").then(2).otherwise(0),
        prefix_hash=pl.when(step == "reclassify").then(pl.lit("fraud-policy")),
        prefix_tokens=pl.when(step == "reclassify").then(_PREFIX_TOKENS),
        temperature=pl.lit(0.0),
    )


def _cached(attempts: pl.DataFrame) -> pl.DataFrame:
    """Re-classification keeps its policy for an hour and the alert's own history for five minutes.

    The other models cache nothing, but for what Gemini does by itself.
    """
    is_loop = pl.col("step_name") == "reclassify"
    reached = pl.col("input_tokens") > 0
    history = pl.col("alert_tokens") + (pl.col("round_number") - 1) * _ROUND_TOKENS
    is_first_round = pl.col("round_number") == 1
    return attempts.with_columns(is_warm(attempts, is_loop, _HOUR)).with_columns(
        cache_read_tokens=pl.when(is_loop & reached)
        .then(
            pl.when(pl.col("is_warm")).then(_PREFIX_TOKENS).otherwise(0)
            + pl.when(is_first_round).then(0).otherwise(history)
        )
        .when((pl.col("step_name") == "classify") & reached & pl.col("is_implicitly_cached"))
        .then(2_048)
        .otherwise(0),
        cache_write_1h_tokens=pl.when(is_loop & reached & ~pl.col("is_warm")).then(_PREFIX_TOKENS).otherwise(0),
        cache_write_5m_tokens=pl.when(is_loop & reached)
        .then(pl.when(is_first_round).then(pl.col("alert_tokens") + _ROUND_TOKENS).otherwise(_ROUND_TOKENS))
        .otherwise(0),
    )
