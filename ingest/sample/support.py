"""The Bengaluru support assistant: one task is one ticket.

Retrieve, reason (with a tool call), answer as structured data, judge. All but the first share a prefix of 8,000 tokens,
whose caching by the vendor was switched on one morning. One ticket in eight gets an answer that fails validation
although the gateway logged a success, and is asked again.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from ingest.sample import traces
from ingest.sample.attempts import OK, charge, expand, finish, schedule
from ingest.sample.caching import is_warm
from ingest.sample.world import (
    EMBEDDING,
    FLAGSHIP,
    HAIKU,
    INDIA,
    PRICE_CUT,
    SECOND_MS,
    SHARED_PREFIX_TOKENS,
    SMALL,
    World,
    epoch_ms,
)

TICKETS_A_DAY = 205
_FAQ_COUNT = 40
_CUSTOMERS = 12
_STEPS = ("retrieve", "reason", "answer", "judge")
_SMALL_FROM_CONFIDENCE = 0.8


def make(world: World) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The assistant's attempts and its tickets' labels."""
    random = world.random("support")
    tickets = _tickets(world, random)
    attempts = expand(_steps(tickets, random))
    attempts = schedule(charge(attempts), random)
    attempts = _cached(attempts, world)
    attempts = attempts.with_columns(
        source=pl.lit("gateway"),
        gateway=pl.lit("bengaluru"),
        task_label=pl.col("task_id"),
        call_label=pl.col("task_id") + "-" + pl.col("step_name"),
        has_attempt_label=pl.lit(True),
        session_id=pl.col("task_id").str.replace("tkt-", "chat-"),
        task_type=pl.lit("support_ticket"),
        team_alias=pl.lit("cx-blr"),
        application=pl.lit("support-assistant"),
        prompt_version=pl.when(pl.col("started_ms") < epoch_ms(world.caching_on))
        .then(pl.lit("v12"))
        .otherwise(pl.lit("v13")),
        release=pl.lit("assist-2026.7"),
        workload_kind=pl.lit("serving"),
    )
    ends = attempts.group_by("task").agg(pl.col("ended_ms").max())
    labels = tickets.join(ends, on="task", how="left").select(
        "task_id",
        "outcome",
        closed_ms=pl.col("ended_ms") + pl.col("task_ms") % 540_000 + 60_000,
        complexity=pl.when(pl.col("faq").is_not_null()).then(pl.lit("low")).otherwise(pl.lit("medium")),
        quality_score=pl.when(pl.col("outcome").is_not_null()).then(pl.col("quality_score")),
        value=pl.when(pl.col("outcome") == "success").then(pl.lit("180.00")),
        value_currency=pl.when(pl.col("outcome") == "success").then(pl.lit("INR")),
        is_relabelled=(pl.col("task") % 50 == 7) & (pl.col("outcome") == "success"),
    )
    return finish(attempts, random, "chatcmpl-"), labels


def _tickets(world: World, random: np.random.Generator) -> pl.DataFrame:
    counts = [world.tasks_on(day, TICKETS_A_DAY, least=12) for day in world.dates]
    started = traces.arrivals(world, random, INDIA, counts)
    count = len(started)
    task = np.arange(count)
    # One ticket is open while the flagship's price falls at midnight.
    last_before_cut = int(np.searchsorted(started, epoch_ms(PRICE_CUT))) - 1
    started[last_before_cut] = epoch_ms(PRICE_CUT) - 5 * SECOND_MS
    faq = np.where(random.random(count) < 0.3, np.minimum(random.geometric(0.12, count), _FAQ_COUNT), 0)
    faq_question = traces.lengths(random, traces.AZURE_CONVERSATION_INPUT, _FAQ_COUNT + 1, most=1_200)
    faq_context = traces.lengths(random, traces.AZURE_CODE_INPUT, _FAQ_COUNT + 1)
    confidence = np.where(faq > 0, random.beta(6, 1.5, count), random.beta(2.2, 2, count)).round(3)
    confidence[last_before_cut] = 0.312
    plan = np.full(count, "", dtype=object)
    is_retried = task % 8 == 5
    turn = task // 8 % 10
    plan[is_retried] = "schema"
    plan[is_retried & (turn == 3)] = "schema_twice"
    plan[is_retried & (turn == 6)] = "schema_abandoned"
    outcome = random.choice(["success", "escalated", "failure", ""], count, p=[0.85, 0.09, 0.04, 0.02]).astype(object)
    is_abandoned = plan == "schema_abandoned"
    outcome[is_abandoned] = np.where(task[is_abandoned] // 80 % 2 == 0, "failure", "")
    days = (started - epoch_ms(world.first_date)) // 86_400_000
    names = np.array([day.strftime("tkt-%y%m%d-") for day in world.dates])[days]
    customers = np.minimum(random.geometric(0.22, count), _CUSTOMERS)
    return pl.DataFrame(
        {
            "task": task,
            "task_id": np.char.add(names, np.char.mod("%06d", task)),
            "task_ms": started,
            "faq": pl.Series(faq).replace(0, None),
            "question": np.where(
                faq > 0, faq_question[faq], traces.lengths(random, traces.AZURE_CONVERSATION_INPUT, count)
            ),
            "context": np.where(faq > 0, faq_context[faq], traces.lengths(random, traces.AZURE_CODE_INPUT, count)),
            "confidence": confidence,
            "answer_plan": plan,
            "outcome": pl.Series(outcome, dtype=pl.String).replace("", None),
            "quality_score": random.beta(8, 2, count).round(2),
            "customer": np.char.add("tenant-", np.char.mod("%02d", customers)),
        }
    )


def _steps(tickets: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
    """Four rows a ticket, with what each step sends and gets."""
    steps = tickets[np.repeat(np.arange(len(tickets)), len(_STEPS))]
    count = len(steps)
    number = np.tile(np.arange(len(_STEPS)), len(tickets))
    step = pl.col("step_name")
    answer = traces.lengths(random, traces.AZURE_CONVERSATION_OUTPUT, count)
    thought = random.integers(1, 5, count) * 128
    tool_result = random.integers(60, 900, count)
    main_model = pl.when(pl.col("confidence") >= _SMALL_FROM_CONFIDENCE).then(pl.lit(SMALL)).otherwise(pl.lit(FLAGSHIP))
    step_plan = pl.Series("step_plan", np.where(random.random(count) < 0.006, "rate_limited", OK), dtype=pl.String)
    is_main = step.is_in(["reason", "answer"])
    return steps.with_columns(
        pl.Series("step_name", np.array(_STEPS)[number]),
        pl.Series("step_index", number + 1),
        pl.Series("answer_tokens", answer),
        pl.Series("thought_tokens", thought),
        pl.Series("tool_tokens", tool_result),
        step_plan,
    ).with_columns(
        plan=pl.when((step == "answer") & (pl.col("answer_plan") != ""))
        .then(pl.col("answer_plan"))
        .otherwise(pl.col("step_plan")),
        model=pl.when(step == "retrieve")
        .then(pl.lit(EMBEDDING))
        .when(step == "judge")
        .then(pl.lit(HAIKU))
        .otherwise(main_model),
        call_kind=step.replace_strict({"retrieve": "retrieval", "reason": "llm", "answer": "llm", "judge": "judge"}),
        call_type=pl.when(step == "retrieve").then(pl.lit("aembedding")).otherwise(pl.lit("acompletion")),
        input_tokens=pl.when(step == "retrieve")
        .then(pl.col("question"))
        .when(step == "reason")
        .then(SHARED_PREFIX_TOKENS + pl.col("context") + pl.col("question"))
        .when(step == "answer")
        .then(SHARED_PREFIX_TOKENS + pl.col("context") + pl.col("question") + pl.col("tool_tokens"))
        .otherwise(900 + pl.col("question") + pl.col("answer_tokens")),
        output_tokens=pl.when(step == "retrieve")
        .then(0)
        .when(step == "reason")
        .then(pl.col("thought_tokens") + 40 + pl.col("tool_tokens") // 20)
        .when(step == "answer")
        .then(pl.col("answer_tokens"))
        .otherwise(12 + pl.col("answer_tokens") // 16),
        reasoning_tokens=pl.when(step == "reason").then(pl.col("thought_tokens")).when(step == "answer").then(0),
        tool_call_count=pl.when(step == "reason").then(1).when(is_main).then(0),
        prompt_hash=pl.when(is_main).then(
            pl.when(pl.col("faq").is_not_null())
            .then(pl.format("faq-{}-{}", pl.col("faq").cast(pl.String).str.zfill(2), step))
            .otherwise(pl.format("p-{}-{}", pl.col("task"), step))
        ),
        prefix_hash=pl.when(is_main).then(pl.lit("assist-policy")),
        prefix_tokens=pl.when(is_main).then(SHARED_PREFIX_TOKENS),
        context_tokens=pl.when(is_main).then(pl.col("context")),
        temperature=pl.when(is_main).then(pl.when(pl.col("faq").is_not_null()).then(0.0).otherwise(0.4)),
        router_confidence=pl.when(step == "reason").then(pl.col("confidence")),
    )


def _cached(attempts: pl.DataFrame, world: World) -> pl.DataFrame:
    """Prefix reads and writes from the hour on which caching was switched on."""
    shares_prefix = pl.col("prefix_tokens").is_not_null() & (pl.col("started_ms") >= epoch_ms(world.caching_on))
    reached = shares_prefix & (pl.col("input_tokens") > 0)
    return attempts.with_columns(is_warm(attempts, shares_prefix, 300)).with_columns(
        cache_read_tokens=pl.when(pl.col("is_warm")).then(SHARED_PREFIX_TOKENS).otherwise(0),
        cache_write_5m_tokens=pl.when(reached & ~pl.col("is_warm") & (pl.col("model") == FLAGSHIP))
        .then(SHARED_PREFIX_TOKENS)
        .otherwise(0),
    )
