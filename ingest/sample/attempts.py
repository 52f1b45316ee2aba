"""Attempts: the one shape in which every workload hands over what it sent to models.

A workload describes the *steps* of its tasks, each with a plan of what becomes of its attempts. ``expand`` turns steps
into attempts, ``schedule`` gives them their times, and ``finish`` brings them into the common schema.
"""

from __future__ import annotations

import numpy as np
import polars as pl

OK = "ok"
SCHEMA = "schema_invalid"

PLANS: dict[str, tuple[str, ...]] = {
    OK: (OK,),
    # the gateway logs a success; the application finds the answer invalid and asks again
    "schema": (SCHEMA, OK),
    "schema_twice": (SCHEMA, SCHEMA, OK),
    "schema_abandoned": (SCHEMA, "timeout"),
    "rate_limited": ("rate_limited", OK),
    "timeout": ("timeout", OK),
    "server_error": ("server_error", OK),
    "tool_error": ("tool_error", OK),
    "unknown": ("unknown", OK),
    "evicted": ("evicted", OK),
    # sent twice on purpose: the first good answer is superseded by the second
    "hedged": (OK, OK),
    "timeout_abandoned": ("timeout",),
    "filter_abandoned": ("content_filter",),
    "cancelled": ("cancelled",),
}
"""What becomes of a step, attempt by attempt."""

ENDS_TASK = ("schema_abandoned", "timeout_abandoned", "filter_abandoned", "cancelled")

ERRORS: dict[str, tuple[str | None, str | None]] = {
    "rate_limited": ("RateLimitError", "429"),
    "timeout": ("Timeout", "408"),
    "server_error": ("InternalServerError", "500"),
    "tool_error": ("ToolException", None),
    "content_filter": ("ContentPolicyViolationError", "400"),
    "evicted": ("SpotEvictedError", None),
    "cancelled": ("CancelledError", None),
    "unknown": (None, None),
}
"""Error class and code that the gateway writes for each cause; ``unknown`` says nothing."""

NO_TOKENS = ("rate_limited", "server_error", "unknown")
"""Refused before any token was read: nothing is billed."""
NO_OUTPUT = (*NO_TOKENS, "timeout", "content_filter", "evicted", "cancelled")
"""The vendor read the prompt and bills it, though the gateway logs no spend."""

SCHEMA_OF_ATTEMPTS: dict[str, pl.DataType] = {
    "source": pl.String,
    "gateway": pl.String,
    "request_id": pl.String,
    "call_label": pl.String,
    "attempt_number": pl.Int64,
    "has_attempt_label": pl.Boolean,
    "task_label": pl.String,
    "session_id": pl.String,
    "has_labels": pl.Boolean,
    "task_type": pl.String,
    "team_label": pl.String,
    "team_alias": pl.String,
    "application": pl.String,
    "customer": pl.String,
    "environment": pl.String,
    "prompt_version": pl.String,
    "release": pl.String,
    "experiment": pl.String,
    "step_name": pl.String,
    "step_index": pl.Int64,
    "call_kind": pl.String,
    "call_type": pl.String,
    "workload_kind": pl.String,
    "started_ms": pl.Int64,
    "first_token_ms": pl.Int64,
    "ended_ms": pl.Int64,
    "model": pl.String,
    "input_tokens": pl.Int64,
    "cache_read_tokens": pl.Int64,
    "cache_write_5m_tokens": pl.Int64,
    "cache_write_1h_tokens": pl.Int64,
    "output_tokens": pl.Int64,
    "reasoning_tokens": pl.Int64,
    "tool_call_count": pl.Int64,
    "kind": pl.String,
    "retry_reason": pl.String,
    "prompt_hash": pl.String,
    "prefix_hash": pl.String,
    "prefix_tokens": pl.Int64,
    "context_tokens": pl.Int64,
    "temperature": pl.Float64,
    "router_confidence": pl.Float64,
    "replica_id": pl.String,
    "deployment_id": pl.String,
    "region": pl.String,
    "api_base": pl.String,
}

_DEFAULTS = {
    "cache_read_tokens": 0,
    "cache_write_5m_tokens": 0,
    "cache_write_1h_tokens": 0,
    "output_tokens": 0,
    "has_labels": True,
    "has_attempt_label": False,
    "call_type": "acompletion",
    "environment": "production",
}


def expand(steps: pl.DataFrame) -> pl.DataFrame:
    """One row per attempt of each step, by the step's ``plan``; what follows a step that ends its task is left out.

    Args:
        steps: rows in task and step order with ``task`` (an integer), ``step_index`` and ``plan``.
    """
    last = pl.when(pl.col("plan").is_in(ENDS_TASK)).then(pl.col("step_index")).min().over("task").fill_null(1_000_000)
    steps = steps.filter(pl.col("step_index") <= last)
    names = list(PLANS)
    numbers = steps["plan"].replace_strict(names, range(len(names)), return_dtype=pl.Int64).to_numpy()
    sizes = np.array([len(PLANS[name]) for name in names])[numbers]
    kinds = np.full((len(names), 3), OK, dtype=object)
    for number, name in enumerate(names):
        kinds[number, : len(PLANS[name])] = PLANS[name]
    rows = np.repeat(np.arange(len(steps)), sizes)
    attempt = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return (
        steps[rows]
        .with_columns(
            pl.Series("attempt_number", attempt + 1),
            pl.Series("kind", kinds[numbers[rows], attempt], dtype=pl.String),
        )
        .with_columns(
            retry_reason=pl.when((pl.col("attempt_number") > 1) & pl.col("plan").str.starts_with("schema")).then(
                pl.lit(SCHEMA)
            ),
            has_retries=pl.col("plan").replace_strict(
                names, [len(PLANS[name]) > 1 for name in names], return_dtype=pl.Boolean
            ),
        )
    )


def charge(attempts: pl.DataFrame) -> pl.DataFrame:
    """Take away the tokens that an attempt never used, by what became of it."""
    is_nothing = pl.col("kind").is_in(NO_TOKENS)
    without_output = pl.col("kind").is_in(NO_OUTPUT)
    inputs = ["input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"]
    return attempts.with_columns(
        *(pl.when(is_nothing).then(0).otherwise(pl.col(name)).alias(name) for name in inputs if name in attempts),
        *(
            pl.when(without_output).then(0).otherwise(pl.col(name)).alias(name)
            for name in ("output_tokens", "reasoning_tokens", "tool_call_count")
            if name in attempts
        ),
    )


def schedule(attempts: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
    """Give each attempt its times: one after another within a task, from the task's ``task_ms`` on.

    How long an attempt takes follows from its output, as in the traces; the first token comes after the prompt is read.
    """
    count = len(attempts)
    read_ms = 180 + attempts["input_tokens"].to_numpy() // 40
    write_ms = attempts["output_tokens"].to_numpy() * random.integers(9, 22, count)
    ends_early = attempts["kind"].is_in(NO_TOKENS).to_numpy()
    duration = np.where(
        ends_early, random.integers(40, 400, count), read_ms + write_ms + random.integers(20, 900, count)
    )
    duration = np.where((attempts["kind"] == "timeout").to_numpy(), 30_000, duration)
    pause = random.integers(20, 700, count)
    return (
        attempts.with_columns(pl.Series("duration_ms", duration), pl.Series("pause_ms", pause))
        .with_columns(
            started_ms=pl.col("task_ms")
            + (pl.col("duration_ms") + pl.col("pause_ms")).cum_sum().over("task")
            - pl.col("duration_ms")
        )
        .with_columns(
            ended_ms=pl.col("started_ms") + pl.col("duration_ms"),
            first_token_ms=pl.when((pl.col("kind").is_in([OK, SCHEMA])) & (pl.col("output_tokens") > 0)).then(
                pl.col("started_ms") + pl.Series(np.minimum(read_ms, duration))
            ),
        )
    )


def finish(attempts: pl.DataFrame, random: np.random.Generator, prefix: str) -> pl.DataFrame:
    """Bring a workload's attempts into the common schema, each with a request id of its own."""
    if "request_id" not in attempts:
        ids = np.char.add(prefix, np.char.mod("%016x", random.integers(0, 2**63, len(attempts), dtype=np.uint64)))
        attempts = attempts.with_columns(pl.Series("request_id", ids, dtype=pl.String))
    columns = []
    for name, type_ in SCHEMA_OF_ATTEMPTS.items():
        value = pl.col(name) if name in attempts.columns else pl.lit(_DEFAULTS.get(name))
        columns.append(value.cast(type_).alias(name))
    return attempts.select(columns)
