"""The request logs: LiteLLM spend logs of two gateways, and the embedding job's in-house log."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta

import polars as pl

from ingest.sample.attempts import ERRORS, OK, SCHEMA
from ingest.sample.files import Files
from ingest.sample.pricing import UNITS_PER_USD
from ingest.sample.world import (
    API_BASES,
    DAY_MS,
    INDIA,
    MODELS,
    PRICE_CUT,
    TEAM_ALIASES,
    World,
    epoch_ms,
    midnight,
)

LATE_DAYS = 3
_EMPTY_LAST = ',"messages":{},"response":{},"proxy_server_request":{}}'

MALFORMED = (
    # reason that ingest gives, column, line
    (
        "not valid JSON",
        None,
        '{"request_id":"chatcmpl-broken1","call_type":"acompletion","prompt_tokens":1200,"completion_',
    ),
    ("not valid JSON", None, "2026-08-20 11:02:41 ERROR spend log flush failed, retrying"),
    (
        "not a time",
        "started_at",
        (
            '{"request_id":"chatcmpl-broken2","call_type":"acompletion","spend":0.01,"prompt_tokens":120,'
            '"completion_tokens":8,"startTime":1787223600,"endTime":1787223601,"model":"gpt-5-mini",'
            '"custom_llm_provider":"openai","status":"success","metadata":{}}'
        ),
    ),
    (
        "negative",
        "input_tokens",
        (
            '{"request_id":"chatcmpl-broken3","call_type":"acompletion","spend":0.0,"prompt_tokens":-5,'
            '"completion_tokens":8,"startTime":"{DAY} 10:00:00.000","endTime":"{DAY} 10:00:01.000",'
            '"model":"gpt-5-mini","custom_llm_provider":"openai","status":"success","metadata":{}}'
        ),
    ),
    (
        "cached above input",
        "cache_read_tokens",
        (
            '{"request_id":"chatcmpl-broken4","call_type":"acompletion","spend":0.0,"prompt_tokens":100,'
            '"completion_tokens":8,"startTime":"{DAY} 10:00:00.000","endTime":"{DAY} 10:00:01.000",'
            '"model":"gpt-5-mini","custom_llm_provider":"openai","status":"success",'
            '"metadata":{"usage_object":{"prompt_tokens_details":{"cached_tokens":4000}}}}'
        ),
    ),
    (
        "before started_at",
        "ended_at",
        (
            '{"request_id":"chatcmpl-broken5","call_type":"acompletion","spend":0.0,"prompt_tokens":100,'
            '"completion_tokens":8,"startTime":"{DAY} 10:00:00.000","endTime":"{DAY} 09:59:00.000",'
            '"model":"gpt-5-mini","custom_llm_provider":"openai","status":"success","metadata":{}}'
        ),
    ),
)


def write_gateways(world: World, attempts: pl.DataFrame, files: Files) -> dict:
    """One spend log a gateway and day; returns what a loader has to find in them."""
    lines = attempts.filter(pl.col("gateway").is_not_null()).select(
        "gateway", "started_ms", "request_id", line=_log_lines()
    )
    days = (
        lines.sort("gateway", "started_ms", "request_id")
        .group_by("gateway", (pl.col("started_ms") // DAY_MS).alias("day"), maintain_order=True)
        .agg(pl.col("line").str.join("\n"), rows=pl.len())
    )
    deliveries = 0
    for gateway, day_number, text, _ in days.iter_rows():
        day = date(1970, 1, 1) + timedelta(days=day_number)
        content = text + "\n"
        if gateway == "bengaluru" and day == world.malformed_day:
            content += "".join(line.replace("{DAY}", day.isoformat()) + "\n" for *_, line in MALFORMED) + "\n"
        delivered_at = midnight(day) + timedelta(days=1, hours=1, minutes=30)
        if gateway == "london" and day == world.late_day:
            delivered_at += timedelta(days=LATE_DAYS)
        # London compresses everything, Bengaluru's gateway every other day.
        suffix = ".jsonl.gz" if gateway == "london" or day_number % 2 else ".jsonl"
        files.write(f"landing/gateway/{gateway}/spend_logs_{day}{suffix}", content, delivered_at)
        deliveries += 1
        if gateway == "bengaluru" and day == world.repeated_day:
            again = f"landing/gateway/{gateway}/spend_logs_{day}_resent{suffix}"
            files.write(again, content, delivered_at + timedelta(days=2))
    reasons: dict[str, int] = {}
    for reason, *_ in MALFORMED:
        reasons[reason] = reasons.get(reason, 0) + 1
    return {
        "contract": "llm_calls",
        "files": deliveries + 1,
        "deliveries": deliveries,
        "rows_loaded": len(lines),
        "rows_quarantined": len(MALFORMED),
        "rows_skipped": 0,
        "quarantine_reasons": reasons,
    }


def write_embeddings(world: World, attempts: pl.DataFrame, files: Files) -> dict:
    """The embedding job's own log: local times without an offset, its own names for everything."""
    rows = attempts.filter(pl.col("source") == "embeddings").sort("started_ms", "request_id")
    local = pl.from_epoch(pl.col("started_ms"), time_unit="ms").dt.replace_time_zone("UTC")
    ended = pl.from_epoch(pl.col("ended_ms"), time_unit="ms").dt.replace_time_zone("UTC")
    shape = "%Y-%m-%d %H:%M:%S%.3f"
    record = pl.struct(
        pl.col("request_id").alias("batch"),
        pl.col("attempt_number").alias("attempt"),
        pl.col("task_label").alias("job"),
        local.dt.convert_time_zone(str(INDIA)).dt.strftime(shape).alias("begun"),
        ended.dt.convert_time_zone(str(INDIA)).dt.strftime(shape).alias("finished"),
        pl.struct(pl.lit("openai").alias("vendor"), pl.col("model").alias("name")).alias("model"),
        pl.struct(pl.col("input_tokens").alias("prompt_tokens")).alias("usage"),
        pl.when(pl.col("kind") == OK).then(pl.lit("done")).otherwise(pl.lit("error")).alias("state"),
        pl.when(pl.col("kind") != OK).then(pl.lit("rate_limit_exceeded")).alias("error_code"),
    ).struct.json_encode()
    days = (
        rows.select((pl.col("started_ms") // DAY_MS).alias("day"), line=record)
        .group_by("day", maintain_order=True)
        .agg(pl.col("line").str.join("\n"))
    )
    for day_number, text in days.iter_rows():
        day = date(1970, 1, 1) + timedelta(days=day_number)
        files.write(f"landing/embeddings/embed_{day}.jsonl", text + "\n", midnight(day) + timedelta(days=1, hours=2))
    return {
        "contract": "llm_calls",
        "files": len(days),
        "deliveries": len(days),
        "rows_loaded": len(rows),
        "rows_quarantined": 0,
        "rows_skipped": 0,
    }


def _log_lines() -> pl.Expr:
    """A LiteLLM_SpendLogs row as JSON text; keys without a value are left out."""
    row = _without_nulls(_row().struct.json_encode())
    metadata = _without_nulls(_metadata().struct.json_encode())
    for _ in range(3):
        metadata = metadata.str.replace_all(r'"\w+":\{\},?', "").str.replace_all(",}", "}", literal=True)
    metadata = pl.when(pl.col("has_labels")).then(metadata).otherwise(pl.lit("{}"))
    return pl.concat_str(row.str.strip_suffix("}"), pl.lit(',"metadata":'), metadata, pl.lit(_EMPTY_LAST))


def _without_nulls(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(r'"\w+":null,', "").str.replace_all(r',?"\w+":null', "")


def _row() -> pl.Expr:
    provider = pl.col("model").replace_strict({name: model.provider for name, model in MODELS.items()})
    key = pl.coalesce("team_alias", "team_label", "gateway")
    keys = {name: hashlib.sha256(name.encode()).hexdigest() for name in (*TEAM_ALIASES, *_KEYS)}
    is_failure = ~pl.col("kind").is_in([OK, SCHEMA])
    # The gateway's price table learnt of the price cut two days late.
    knows_cut = pl.col("started_ms") >= epoch_ms(PRICE_CUT) + 2 * DAY_MS
    spend = pl.when(is_failure).then(0).when(knows_cut).then(pl.col("cost")).otherwise(pl.col("list_cost"))
    return pl.struct(
        pl.col("request_id"),
        pl.col("call_type"),
        key.replace_strict(keys).alias("api_key"),
        (spend.fill_null(0) / UNITS_PER_USD).alias("spend"),
        (pl.col("input_tokens") + pl.col("output_tokens")).alias("total_tokens"),
        pl.col("input_tokens").alias("prompt_tokens"),
        pl.col("output_tokens").alias("completion_tokens"),
        _time("started_ms").alias("startTime"),
        _time("ended_ms").alias("endTime"),
        (pl.col("ended_ms") - pl.col("started_ms")).alias("request_duration_ms"),
        _time("first_token_ms").alias("completionStartTime"),
        pl.col("model").replace_strict({name: model.sent for name, model in MODELS.items()}).alias("model"),
        pl.col("model").alias("model_group"),
        provider.alias("custom_llm_provider"),
        pl.coalesce("api_base", provider.replace_strict(API_BASES, default=None)).alias("api_base"),
        pl.when(pl.col("gateway") == "london").then(pl.col("customer")).alias("end_user"),
        pl.lit("False").alias("cache_hit"),
        pl.concat_list(pl.col("application")).list.drop_nulls().alias("request_tags"),
        pl.col("session_id"),
        pl.when(pl.col("gateway") == "london")
        .then(pl.lit("10.40.0.5"))
        .otherwise(pl.lit("10.20.0.5"))
        .alias("requester_ip_address"),
        pl.when(is_failure).then(pl.lit("failure")).otherwise(pl.lit("success")).alias("status"),
    )


_KEYS = ("search", "research", "bengaluru", "london")


def _metadata() -> pl.Expr:
    is_bengaluru = pl.col("gateway") == "bengaluru"
    labels = [
        "task_type",
        "application",
        "environment",
        "prompt_version",
        "release",
        "experiment",
        "step_name",
        "step_index",
        "workload_kind",
        "retry_reason",
        "prompt_hash",
        "prefix_hash",
        "prefix_tokens",
        "context_tokens",
        "temperature",
        "router_confidence",
        "replica_id",
        "deployment_id",
        "region",
        "tool_call_count",
    ]
    provider = pl.col("model").replace_strict({name: model.provider for name, model in MODELS.items()})
    is_anthropic = provider == "anthropic"
    writes = pl.col("cache_write_5m_tokens") + pl.col("cache_write_1h_tokens")
    answered = pl.col("kind").is_in([OK, SCHEMA, "tool_error"])
    has_cache = answered & (pl.col("cache_read_tokens") + writes > 0)

    def when(condition: pl.Expr, value: str | pl.Expr, name: str) -> pl.Expr:
        return pl.when(condition).then(pl.col(value) if isinstance(value, str) else value).alias(name)

    return pl.struct(
        pl.col("team_alias").alias("user_api_key_team_alias"),
        pl.struct(
            pl.col("task_label").alias("task_id"),
            pl.col("call_label").alias("call_id"),
            when(pl.col("has_attempt_label"), "attempt_number", "attempt_number"),
            pl.col("team_label").alias("team"),
            # LiteLLM knows an embedding by its call type; the others say what they are.
            when(pl.col("call_kind").is_in(["retrieval", "judge"]), "call_kind", "call_kind"),
            when(is_bengaluru, "customer", "customer"),
            *(pl.col(name) for name in labels),
        ).alias("spend_logs_metadata"),
        pl.struct(
            when(has_cache & is_anthropic, "cache_read_tokens", "cache_read_input_tokens"),
            when(has_cache & is_anthropic, writes, "cache_creation_input_tokens"),
            pl.struct(
                # A prompt that was read before its call failed was read from the cache all the same.
                when(pl.col("cache_read_tokens") > 0, "cache_read_tokens", "cached_tokens"),
                when(writes > 0, writes, "cache_creation_tokens"),
                pl.struct(
                    when(is_anthropic & (writes > 0), "cache_write_5m_tokens", "ephemeral_5m_input_tokens"),
                    when(is_anthropic & (writes > 0), "cache_write_1h_tokens", "ephemeral_1h_input_tokens"),
                ).alias("cache_creation_token_details"),
            ).alias("prompt_tokens_details"),
            pl.struct(when(answered, "reasoning_tokens", "reasoning_tokens")).alias("completion_tokens_details"),
        ).alias("usage_object"),
        pl.struct(
            *(
                pl.col("kind")
                .replace_strict({kind: error[number] for kind, error in ERRORS.items()}, default=None)
                .cast(pl.String)
                .alias(name)
                for number, name in enumerate(("error_class", "error_code"))
            )
        ).alias("error_information"),
        when(
            pl.col("call_label").is_not_null() & ~pl.col("has_attempt_label"),
            pl.col("attempt_number") - 1,
            "attempted_retries",
        ),
    )


def _time(column: str) -> pl.Expr:
    return pl.from_epoch(pl.col(column), time_unit="ms").dt.strftime("%Y-%m-%d %H:%M:%S%.3f")
