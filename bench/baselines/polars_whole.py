"""The four marts by polars alone: lazy scans of the landing files, one frame a step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.baselines.facts import GPU_MODEL, GPUS_EACH, OWN_PROVIDER, PRICES, SAMPLE_SECONDS, UNTAGGED

if TYPE_CHECKING:
    import polars as pl

STEP = ["task_id", "step_name", "step_index"]
LANE = ["replica_id", "hour_at"]


def whole_path(home: Path, out: Path) -> None:
    """The marts of the landing files of a home, as Parquet files in ``out``."""
    landing = home / "landing"
    out.mkdir(parents=True, exist_ok=True)
    attempts = _attempts(landing)
    pieces = _pieces(attempts)
    gpu_hours = _gpu_hours(landing, pieces)
    costed = _costed(attempts, _own_costs(landing, pieces, gpu_hours))
    del attempts, pieces
    outcomes = _outcomes(landing)
    for name, mart in (
        ("cost_per_task_daily", _cost_per_task_daily(costed, outcomes)),
        ("retry_overhead_daily", _retry_overhead_daily(costed, outcomes)),
        ("gpu_utilisation_hourly", _gpu_utilisation_hourly(gpu_hours)),
        ("idle_dollars_daily", _idle_dollars_daily(gpu_hours)),
    ):
        mart.write_parquet(out / f"{name}.parquet")


def _attempts(landing: Path) -> pl.DataFrame:
    """One row per line of the log, priced where a vendor meters it."""
    import polars as pl

    schema = {
        "request_id": pl.String,
        "startTime": pl.String,
        "endTime": pl.String,
        "model": pl.String,
        "team_id": pl.String,
        "prompt_tokens": pl.Int64,
        "completion_tokens": pl.Int64,
        "status": pl.String,
        "metadata": pl.Struct(
            {
                "spend_logs_metadata": pl.Struct(
                    {
                        "task_id": pl.String,
                        "task_type": pl.String,
                        "step_name": pl.String,
                        "step_index": pl.Int64,
                        "attempt_number": pl.Int64,
                        "retry_reason": pl.String,
                        "replica_id": pl.String,
                    }
                ),
                "usage_object": pl.Struct(
                    {
                        "prompt_tokens_details": pl.Struct({"cached_tokens": pl.Int64}),
                        "cache_creation_input_tokens": pl.Int64,
                    }
                ),
            }
        ),
    }
    labels = pl.col("metadata").struct.field("spend_logs_metadata").struct
    usage = pl.col("metadata").struct.field("usage_object").struct
    # names that repeat are categories: they take four bytes a row, and group by number
    name = pl.Categorical()
    read = pl.scan_ndjson(landing / "gateway" / "*.jsonl", schema=schema).select(
        pl.coalesce(labels.field("task_id"), "request_id").alias("task_id"),
        labels.field("task_id").is_not_null().alias("has_task"),
        labels.field("task_type").fill_null(UNTAGGED).cast(name),
        pl.col("team_id").fill_null(UNTAGGED).cast(name).alias("team"),
        labels.field("step_name").cast(name),
        labels.field("step_index").cast(pl.Int16),
        labels.field("attempt_number").cast(pl.Int16),
        labels.field("retry_reason").is_not_null().alias("is_asked_again"),
        labels.field("replica_id").cast(name),
        pl.col("startTime").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us").alias("started_at"),
        pl.col("endTime").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us").alias("ended_at"),
        pl.col("model").str.strip_prefix(OWN_PROVIDER).cast(name),
        pl.col("prompt_tokens").alias("input_tokens"),
        usage.field("prompt_tokens_details").struct.field("cached_tokens").fill_null(0),
        usage.field("cache_creation_input_tokens").fill_null(0).alias("written_tokens"),
        pl.col("completion_tokens").alias("output_tokens"),
        (pl.col("status") == "success").alias("is_success"),
    )
    prices = pl.LazyFrame(
        [(model, *(price / 1e6 for price in prices)) for model, prices in PRICES.items()],
        schema=["model", "input_usd", "cached_usd", "written_usd", "output_usd"],
        orient="row",
    ).with_columns(pl.col("model").cast(name))
    fresh = pl.col("input_tokens") - pl.col("cached_tokens") - pl.col("written_tokens")
    output = pl.col("output_tokens") * pl.col("output_usd")
    return (
        read.join(prices, on="model", how="left")
        .with_columns(
            (
                fresh * pl.col("input_usd")
                + pl.col("cached_tokens") * pl.col("cached_usd")
                + pl.col("written_tokens") * pl.col("written_usd")
                + output
            ).alias("metered_usd"),
            (pl.col("input_tokens") * pl.col("input_usd") + output).alias("quoted_usd"),
        )
        .drop("input_tokens", "cached_tokens", "written_tokens", "output_tokens")
        .drop("input_usd", "cached_usd", "written_usd", "output_usd")
        .collect(engine="streaming")
        .with_row_index("attempt")
    )


def _pieces(attempts: pl.DataFrame) -> pl.DataFrame:
    """One row per own call and hour in which it was in flight: its share of the lane's time, and of its busy time."""
    import polars as pl

    moment = pl.col("moment")
    pieces = (
        attempts.lazy()
        .filter(pl.col("replica_id").is_not_null())
        .select(
            "attempt",
            "replica_id",
            "started_at",
            "ended_at",
            pl.datetime_ranges(pl.col("started_at").dt.truncate("1h"), "ended_at", "1h", closed="left").alias(
                "hour_at"
            ),
        )
        .explode("hour_at")
        .select(
            "attempt",
            *LANE,
            start=pl.max_horizontal("started_at", "hour_at").dt.epoch("us"),
            end=pl.min_horizontal("ended_at", pl.col("hour_at") + pl.duration(hours=1)).dt.epoch("us"),
        )
        .collect()
    )
    return (
        pl.concat(
            pieces.lazy().select("attempt", *LANE, moment=name, side=pl.lit(side, pl.Int64))
            for name, side in (("start", 1), ("end", -1))
        )
        .sort(*LANE, "moment", "attempt", "side")
        # nothing is in flight where a lane or an hour ends, so that sums may run through
        .with_columns(in_flight=pl.col("side").cum_sum(), length=moment.shift(-1) - moment)
        .with_columns(
            busy=pl.when(pl.col("in_flight") > 0).then(pl.col("length")).otherwise(0),
            slice=pl.when(pl.col("in_flight") > 0).then(pl.col("length") / pl.col("in_flight")).otherwise(0.0),
        )
        .with_columns(before=pl.col("slice").cum_sum().shift(1, fill_value=0.0))
        .group_by("attempt", *LANE)
        .agg(share=-(pl.col("side") * pl.col("before")).sum(), busy=pl.col("busy").sum())
        .collect()
    )


def _replicas(landing: Path) -> pl.DataFrame:
    import polars as pl

    return (
        pl.read_csv(landing / "windows" / "*.csv", columns=["replica", "machine"])
        .unique()
        .select(pl.col("replica").cast(pl.Categorical()).alias("replica_id"), pl.col("machine").alias("resource_id"))
    )


def _gpu_hours(landing: Path, pieces: pl.DataFrame) -> pl.DataFrame:
    """One row per GPU and hour: billed time is active, loaded idle, unallocated, else unknown; money goes with time."""
    import polars as pl

    time = pl.String
    activity, is_held = pl.col("gr_engine_active"), pl.col("pod").is_not_null()
    sampled = (
        pl.scan_csv(
            landing / "telemetry" / "*.csv", schema_overrides={"sampled_at": time, "gr_engine_active": pl.Float64}
        )
        .with_columns(
            hour_at=pl.col("sampled_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us").dt.truncate("1h")
        )
        .group_by(gpu_uuid="gpu", hour_at="hour_at")
        .agg(
            sampled=SAMPLE_SECONDS * pl.len(),
            active=SAMPLE_SECONDS * activity.sum(),
            loaded_idle=SAMPLE_SECONDS * (1 - activity).filter(is_held).sum(),
            unallocated=SAMPLE_SECONDS * (1 - activity).filter(~is_held).sum(),
        )
    )
    lanes = (
        pieces.lazy()
        .group_by(LANE)
        .agg(busy=pl.col("busy").sum() / 1e6)
        .join(_replicas(landing).lazy(), on="replica_id")
        .drop("replica_id")
    )
    hours = pl.scan_csv(landing / "bill" / "*" / "*.csv", infer_schema=False).filter(
        pl.col("ChargeCategory") == "Usage"
    )
    gpus = pl.scan_csv(landing / "links" / "*.csv").select("gpu_uuid", "resource_id")
    cost, room = pl.col("cost_usd"), pl.col("room")
    return (
        hours.select(
            resource_id="ResourceId",
            hour_at=pl.col("ChargePeriodStart").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us"),
            region="RegionId",
            gpu_model=pl.lit(GPU_MODEL),
            purchase_mode=pl.when(pl.col("PricingCategory") == "Dynamic")
            .then(pl.lit("spot"))
            .otherwise(pl.lit("on_demand")),
            team=pl.col("Tags").str.json_path_match("$.team"),
            room=pl.col("ConsumedQuantity").cast(pl.Float64) * 3600,
            cost_usd=pl.col("EffectiveCost").cast(pl.Float64) / GPUS_EACH,
        )
        .join(gpus, on="resource_id")
        .join(sampled, on=["gpu_uuid", "hour_at"], how="left")
        .join(lanes, on=["resource_id", "hour_at"], how="left")
        .with_columns(pl.col("sampled", "active", "loaded_idle", "unallocated", "busy").fill_null(0.0))
        .with_columns(seen_active=pl.max_horizontal("active", "busy"))
        .with_columns(seen_loaded=pl.max_horizontal("seen_active", pl.col("active") + pl.col("loaded_idle")))
        .with_columns(
            active_end=pl.min_horizontal("seen_active", room),
            loaded_end=pl.min_horizontal("seen_loaded", room),
            unallocated_end=pl.min_horizontal(pl.col("seen_loaded") + pl.col("unallocated"), room),
            sampled=pl.min_horizontal("sampled", room),
        )
        .with_columns(
            active_seconds=pl.col("active_end"),
            loaded_idle_seconds=pl.col("loaded_end") - pl.col("active_end"),
            unallocated_seconds=pl.col("unallocated_end") - pl.col("loaded_end"),
            unknown_seconds=room - pl.col("unallocated_end"),
        )
        .with_columns(
            (cost * pl.col(f"{state}_seconds") / room).alias(f"{state}_usd")
            for state in ("active", "loaded_idle", "unallocated", "unknown")
        )
        .with_columns(
            called_usd=pl.when(pl.col("busy") > 0)
            .then(pl.col("active_usd") * pl.col("busy") / pl.col("seen_active"))
            .otherwise(0.0),
            idle_usd=pl.col("loaded_idle_usd") + pl.col("unallocated_usd"),
            usage_date=pl.col("hour_at").dt.date(),
        )
        .collect()
    )


def _own_costs(landing: Path, pieces: pl.DataFrame, gpu_hours: pl.DataFrame) -> pl.DataFrame:
    """One row per own call: its share of its hours' called dollars, and with it that of those GPUs' idle days."""
    import polars as pl

    gpu_day = ["gpu_uuid", "usage_date"]
    called = pl.col("called_usd")
    lanes = (
        gpu_hours.lazy()
        .with_columns(day_called=called.sum().over(gpu_day), day_idle=pl.col("idle_usd").sum().over(gpu_day))
        .with_columns(
            carried_usd=pl.when(pl.col("day_called") > 0)
            .then(called * pl.col("day_idle") / pl.col("day_called"))
            .otherwise(0.0)
        )
        .group_by("resource_id", "hour_at")
        .agg(called.sum(), pl.col("carried_usd").sum())
        .join(_replicas(landing).lazy(), on="resource_id")
    )
    totals = pieces.lazy().group_by(LANE).agg(lane_share=pl.col("share").sum())
    part = pl.col("share") / pl.col("lane_share")
    return (
        pieces.lazy()
        .join(totals.join(lanes, on=LANE), on=LANE)
        .group_by("attempt")
        .agg(own_usd=(called * part).sum(), own_loaded_usd=((called + pl.col("carried_usd")) * part).sum())
        .collect()
    )


def _retried(attempts: pl.DataFrame) -> pl.LazyFrame:
    """What became of each attempt of a step that was tried again; all others are what their status says."""
    import polars as pl

    steps = attempts.lazy().filter(pl.col("attempt_number") > 1).select(STEP).unique()
    is_success = pl.col("is_success")
    return (
        attempts.lazy()
        .select("attempt", *STEP, "started_at", "is_success", "is_asked_again")
        .join(steps, on=STEP, how="semi")
        .sort(*STEP, "started_at")
        .with_columns(
            is_success & ~pl.col("is_asked_again").shift(-1).over(STEP).fill_null(False),
            position=pl.int_range(pl.len()).over(STEP),
        )
        .select(
            "attempt",
            "is_success",
            "position",
            success_position=pl.when(is_success).then(pl.col("position")).max().over(STEP),
        )
    )


def _costed(attempts: pl.DataFrame, own_costs: pl.DataFrame) -> pl.DataFrame:
    """One row per attempt: its cost, and what became of it."""
    import polars as pl

    is_success = pl.coalesce("is_success_right", "is_success")
    return (
        attempts.lazy()
        .join(own_costs.lazy(), on="attempt", how="left")
        .join(_retried(attempts), on="attempt", how="left")
        .select(
            "task_id",
            "has_task",
            "task_type",
            "team",
            "started_at",
            "model",
            "quoted_usd",
            is_success.alias("is_success"),
            usage_date=pl.col("started_at").dt.date(),
            cost_usd=pl.coalesce("metered_usd", "own_usd"),
            fully_loaded_cost_usd=pl.coalesce("metered_usd", "own_loaded_usd"),
            role=pl.when(~is_success & pl.col("success_position").is_not_null())
            .then(pl.lit("recovered"))
            .when(~is_success)
            .then(pl.lit("failed"))
            .when(pl.col("position") < pl.col("success_position"))
            .then(pl.lit("superseded"))
            .otherwise(pl.lit("final_success"))
            .cast(pl.Categorical()),
        )
        .collect()
    )


def _outcomes(landing: Path) -> pl.LazyFrame:
    import polars as pl

    return pl.scan_ndjson(
        landing / "outcomes" / "*.jsonl", schema={"task_id": pl.String, "outcome": pl.String}
    ).with_columns(pl.col("outcome").cast(pl.Categorical()))


def _cost_per_task_daily(costed: pl.DataFrame, outcomes: pl.LazyFrame) -> pl.DataFrame:
    import polars as pl

    cost, loaded, headline = pl.col("cost_usd"), pl.col("fully_loaded_cost_usd"), pl.col("headline_cost_usd")
    outcome, is_priced = pl.col("outcome"), pl.col("is_fully_priced")
    is_quoted = pl.col("is_success") & pl.col("quoted_usd").is_not_null()
    firsts = (
        costed.lazy()
        .filter(is_quoted)
        .group_by("task_id")
        .agg(headline_cost_usd=pl.col("quoted_usd").sort_by("started_at").first())
    )
    tasks = (
        costed.lazy()
        .group_by("task_id")
        .agg(
            pl.col("has_task", "team", "task_type").first(),
            started_date=pl.col("usage_date").min(),
            cost_usd=cost.sum(),
            fully_loaded_cost_usd=loaded.sum(),
            failed_attempt_cost_usd=cost.filter(pl.col("role").is_in(["recovered", "failed"])).sum(),
            is_fully_priced=cost.is_not_null().all(),
        )
        .join(firsts, on="task_id", how="left")
        .join(outcomes, on="task_id", how="left")
        .with_columns(outcome.fill_null("unknown"))
    )
    ranked = cost.filter(is_priced & pl.col("has_task"))
    return (
        tasks.group_by("started_date", "team", "task_type")
        .agg(
            tasks=pl.len(),
            successful_tasks=(outcome == "success").sum(),
            failed_tasks=(outcome == "failure").sum(),
            escalated_tasks=(outcome == "escalated").sum(),
            unknown_outcome_tasks=(outcome == "unknown").sum(),
            fully_priced_tasks=is_priced.sum(),
            cost_usd=cost.sum(),
            fully_loaded_cost_usd=loaded.sum(),
            fully_priced_cost_usd=cost.filter(is_priced).sum(),
            fully_priced_loaded_cost_usd=loaded.filter(is_priced).sum(),
            known_outcome_cost_usd=cost.filter(outcome != "unknown").sum(),
            failed_attempt_cost_usd=pl.col("failed_attempt_cost_usd").sum(),
            headline_cost_usd=headline.filter(is_priced).sum(),
            headline_task_cost_usd=cost.filter(is_priced & headline.is_not_null()).sum(),
            p50_task_cost_usd=ranked.quantile(0.5, "linear"),
            p90_task_cost_usd=ranked.quantile(0.9, "linear"),
            p99_task_cost_usd=ranked.quantile(0.99, "linear"),
        )
        .with_columns(
            cost_per_task_usd=_ratio("fully_priced_cost_usd", "fully_priced_tasks"),
            cost_per_successful_task_usd=_ratio("known_outcome_cost_usd", "successful_tasks"),
            fully_loaded_cost_per_task_usd=_ratio("fully_priced_loaded_cost_usd", "fully_priced_tasks"),
            cost_multiple=_ratio("headline_task_cost_usd", "headline_cost_usd"),
        )
        .drop("fully_priced_loaded_cost_usd")
        .collect()
    )


def _retry_overhead_daily(costed: pl.DataFrame, outcomes: pl.LazyFrame) -> pl.DataFrame:
    import polars as pl

    cost, role = pl.col("cost_usd"), pl.col("role")
    # only what failed for good asks for the outcome
    failed = costed.lazy().filter(role == "failed").join(outcomes, on="task_id", how="left")
    is_unresolved = pl.col("outcome").is_null() | (pl.col("outcome") == "unknown")
    judged = pl.concat(
        [
            costed.lazy().filter(role != "failed"),
            failed.with_columns(
                role=pl.when(is_unresolved)
                .then(pl.lit("unresolved"))
                .otherwise(pl.lit("abandoned"))
                .cast(pl.Categorical())
            ).drop("outcome"),
        ]
    )
    failures = ["recovered", "abandoned", "unresolved"]
    return (
        judged.group_by("usage_date", "team", "task_type", "model")
        .agg(
            attempts=pl.len(),
            failed_attempts=role.is_in(failures).sum(),
            failed_cost_usd=cost.filter(role.is_in(failures)).sum(),
            total_cost_usd=cost.sum(),
            **{
                f"{name}_cost_usd": cost.filter(role == name).sum()
                for name in (*failures, "superseded", "final_success")
            },
        )
        .with_columns(
            overhead_ratio=_ratio("failed_cost_usd", "final_success_cost_usd"),
            amplification_ratio=_ratio("total_cost_usd", "final_success_cost_usd"),
        )
        .collect()
    )


def _gpu_utilisation_hourly(gpu_hours: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return (
        gpu_hours.group_by("resource_id", "hour_at")
        .agg(
            pl.col("active_seconds", "loaded_idle_seconds", "unallocated_seconds", "unknown_seconds").sum(),
            pl.col("active_usd", "idle_usd", "sampled").sum(),
            gpu_count=pl.len(),
            billed_seconds=pl.col("room").sum(),
            effective_cost_usd=pl.col("cost_usd").sum(),
        )
        .with_columns(known_seconds=pl.col("billed_seconds") - pl.col("unknown_seconds"))
        .with_columns(
            utilisation_ratio=_ratio("active_seconds", "known_seconds"),
            sample_coverage_ratio=_ratio("sampled", "billed_seconds"),
        )
    )


def _idle_dollars_daily(gpu_hours: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return (
        gpu_hours.group_by("usage_date", "team", "region", "gpu_model", "purchase_mode")
        .agg(
            pl.col("active_seconds", "loaded_idle_seconds", "unallocated_seconds", "unknown_seconds").sum(),
            pl.col("active_usd", "loaded_idle_usd", "unallocated_usd", "unknown_usd", "idle_usd").sum(),
            billed_seconds=pl.col("room").sum(),
            effective_cost_usd=pl.col("cost_usd").sum(),
            active_without_calls_usd=(pl.col("active_usd") - pl.col("called_usd")).sum(),
        )
        .with_columns(idle_ratio=_ratio("idle_usd", "effective_cost_usd"))
    )


def _ratio(numerator: str, denominator: str) -> pl.Expr:
    import polars as pl

    return pl.when(pl.col(denominator) != 0).then(pl.col(numerator) / pl.col(denominator))
