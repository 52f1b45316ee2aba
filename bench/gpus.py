"""How long sharing out GPU time takes beside SQL written by hand: ``python bench/gpus.py [CALLS] [SAMPLES]``.

Makes a week of CALLS (default 5,000,000) calls on 64 replicas, a machine with eight GPUs each, and SAMPLES (default
20,000,000) GPU samples, brings them through ingest and the models, and prints what two groups of models took, by dbt's
own timing, beside the shortest DuckDB SQL that answers the same question from the same tables, in floating point: what
each call cost by time slices, and what each GPU did in each hour (states, signals, energy); and the peak memory of the
build. The models do more than the queries: their sums are exact, calls also carry idle dollars, energy and the share by
tokens, and samples find their machine and who holds it.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

# The packages must be found wherever this is started from.
sys.path[0] = str(Path(__file__).resolve().parents[1])

REPLICAS = 64
GPUS_EACH = 8
DAYS = 7
TARGET_RATIO = 1.5
TARGET_SECONDS = 60
TARGET_GIB = 8.0

MAPPINGS = {
    "calls": """\
contract: llm_calls
format: parquet
columns:
  call_id: id
  started_at: started_at
  ended_at: ended_at
  provider: "'vllm'"
  model: "'llama'"
  replica_id: replica
""",
    "windows": """\
contract: replica_windows
format: csv
columns: {replica_id: replica, resource_id: machine, loaded_at: loaded_at}
""",
    "samples": """\
contract: gpu_samples
format: parquet
columns:
  gpu_uuid: gpu
  hostname: host
  sampled_at: sampled_at
  interval_seconds: seconds
  gr_engine_active: active
  pod: host
""",
    "bill": """\
contract: bill_lines
format: parquet
columns:
  billed_cost: cost
  billing_currency: "'USD'"
  charge_period_start: started_at
  charge_period_end: ended_at
  billing_period_start: month
  charge_category: "'Usage'"
  consumed_quantity: hours
  consumed_unit: "'Hours'"
  resource_id: host
  gpu_model: "'H100'"
  gpu_count: gpus
""",
}

CALL_MODELS = (
    "int_call_hours",
    "int_gpu_pools",
    "int_lane_moments",
    "int_gpu_lanes",
    "int_gpu_hour_signals",
    "int_call_allocations",
)
SAMPLE_MODELS = ("int_gpu_slice_hours", "int_gpu_slice_shares", "int_gpu_namespace_hours", "int_gpu_sample_hours")

BY_HAND = {
    "calls": """
        create temp table shared as
        with pieces as (
            select
                row_number() over () as piece, source, call_id, attempt_number, replica_id, hour_at,
                epoch_us(greatest(started_at, hour_at)) as first,
                epoch_us(least(ended_at, hour_at + interval 1 hour)) as last
            from (
                select source, call_id, attempt_number, replica_id, started_at, ended_at,
                    unnest(range(date_trunc('hour', started_at), ended_at, interval 1 hour)) as hour_at
                from intermediate.int_attempt_outlines
            )
        ),
        events as (
            select replica_id, hour_at, piece, first as moment, 1 as side from pieces
            union all
            select replica_id, hour_at, piece, last, -1 from pieces
        ),
        counted as (
            select *, sum(side) over lane as k, lead(moment) over lane - moment as length
            from events
            window lane as (partition by replica_id, hour_at order by moment, piece, side)
        ),
        integrated as (
            select replica_id, hour_at, piece, side,
                sum(case when k > 0 then length / k else 0 end) over (
                    partition by replica_id, hour_at order by moment, piece, side
                    rows between unbounded preceding and 1 preceding
                ) as share
            from counted
        ),
        shares as (
            select replica_id, hour_at, piece, -sum(side * coalesce(share, 0)) as share
            from integrated group by replica_id, hour_at, piece
        ),
        totals as (
            select replica_id, hour_at, sum(share) as share from shares group by replica_id, hour_at
        ),
        dollars as (
            select 'replica-' || substr(resource_id, 6) as replica_id, hour_at, sum(cast(called_usd as double)) as usd
            from intermediate.int_gpu_hours group by all
        )
        select pieces.source, pieces.call_id, pieces.attempt_number, pieces.hour_at,
            dollars.usd * shares.share / totals.share as cost_usd
        from shares
        inner join totals using (replica_id, hour_at)
        inner join dollars using (replica_id, hour_at)
        inner join pieces using (piece)""",
    "samples": """
        create temp table rolled as
        with timed as (
            select gpu_uuid, namespace, hostname, gpu_model, mig_profile, fb_used_bytes, sampled_at,
                coalesce(gr_engine_active, gpu_util) as activity, gr_engine_active is not null as is_engine,
                sm_active, tensor_active, dram_active, power_watts, pod is not null or namespace is not null as is_held,
                least(sampled_at + to_microseconds(cast(interval_seconds * 1000000 as bigint)),
                    lead(sampled_at) over (partition by gpu_uuid order by sampled_at)) as ends_at
            from staging.stg_gpu_samples
        ),
        hours as (
            select *, unnest(range(date_trunc('hour', sampled_at), ends_at, interval 1 hour)) as hour_at from timed
        ),
        cut as (
            select *,
                epoch_us(least(ends_at, hour_at + interval 1 hour)) - epoch_us(greatest(sampled_at, hour_at)) as present
            from hours
        )
        select gpu_uuid, hour_at, namespace, min(hostname) as hostname, max(gpu_model) as gpu_model,
            max(mig_profile) as mig_profile, max(fb_used_bytes) as fb_used_bytes, sum(present) as present,
            sum(activity * present) as active, sum((1 - activity) * present) filter (is_held) as loaded_idle,
            sum((1 - activity) * present) filter (not is_held) as unallocated,
            sum(present) filter (is_engine) as engine_sampled,
            sum(sm_active * present) as sm_active, sum(tensor_active * present) as tensor_active,
            sum(dram_active * present) as dram_active, sum(power_watts * present) as energy,
            sum(power_watts * activity * present) as active_energy
        from cut group by gpu_uuid, hour_at, namespace""",
}


def deliver(folder: Path, calls: int, samples: int) -> None:
    """Write the week's calls, windows, samples and bill, and a mapping and a source for each."""
    import duckdb

    start = "timestamptz '2026-08-01 00:00:00+00'"
    seconds = DAYS * 86_400
    each = samples // (REPLICAS * GPUS_EACH)
    queries = {
        "calls": f"""
            select 'call-' || i as id, 'replica-' || i % {REPLICAS} as replica, started_at,
                started_at + to_microseconds(cast(1000000 + hash(i + 7) % 20000000 as bigint)) as ended_at
            from (
                select i, {start} + to_microseconds(cast(hash(i) % {seconds * 1_000_000} as bigint)) as started_at
                from range({calls}) as numbers (i)
            )""",
        "windows": f"""
            select 'replica-' || i as replica, 'node-' || i as machine, {start} as loaded_at
            from range({REPLICAS}) as numbers (i)""",
        "samples": f"""
            select 'GPU-' || gpu as gpu, 'node-' || gpu // {GPUS_EACH} as host,
                {start} + to_microseconds(cast(i * {seconds * 1_000_000 // each} as bigint)) as sampled_at,
                {seconds / each} as seconds, round((hash(i + gpu) % 100) / 100.0, 2) as active
            from range({REPLICAS * GPUS_EACH}) as gpus (gpu), range({each}) as numbers (i)""",
        "bill": f"""
            select 'node-' || machine as host, {start} + to_hours(cast(i as integer)) as started_at,
                {start} + to_hours(cast(i + 1 as integer)) as ended_at, {start} as month, 1 as hours, 8 as gpus,
                cast(31.2 as decimal(18, 6)) as cost
            from range({REPLICAS}) as machines (machine), range({DAYS * 24}) as numbers (i)""",
    }
    duckdb.execute("set TimeZone = 'UTC'")
    for name, query in queries.items():
        suffix = "csv" if name == "windows" else "parquet"
        (folder / name).mkdir()
        duckdb.execute(f"copy ({query}) to '{folder / name / name}.{suffix}' (format {suffix})")
        (folder / f"{name}.yml").write_text(MAPPINGS[name], encoding="utf-8")
    sources = "".join(f"  {name}: {{path: {name}, format: mapping, mapping: {name}.yml}}\n" for name in MAPPINGS)
    (folder / "pertask.yml").write_text(f"sources:\n{sources}", encoding="utf-8")


def build(folder: Path) -> dict[str, float]:
    """Ingest the deliveries and build the models that share them out; returns the seconds of each model."""
    from ingest.runner import ingest
    from orchestration.lib import builds
    from pertask.config import load_config
    from pertask.home import Home

    home = Home(folder)
    for result in ingest(home.lake, load_config(home).requests(home)):
        if result.state != "committed" or result.rows_quarantined:
            raise SystemExit(f"ingest did not load a file: {result}")
    builds.prepare(home)
    os.environ.update(builds.environment(home))
    from dbt.cli.main import dbtRunner

    # one model at a time, as the queries by hand run
    wanted = ["--exclude-resource-type", "test", "--select", "+int_call_allocations", "--threads", "1"]
    done = dbtRunner().invoke(["--quiet", *builds.arguments(home, full_refresh=True), *wanted])
    if not done.success:
        raise SystemExit(f"the build failed: {done.exception or done.result}")
    return {
        result["unique_id"].split(".")[-1]: result["execution_time"]
        for result in json.loads((home.target / "run_results.json").read_bytes())["results"]
    }


def by_hand(warehouse: Path) -> dict[str, float]:
    """Seconds of each query written by hand, on the tables of the build."""
    import duckdb

    seconds = {}
    for name, query in BY_HAND.items():
        # writable, as the models were: a temporary table may spill beside the file
        with duckdb.connect(str(warehouse)) as connection:
            start = time.perf_counter()
            connection.execute(query)
            seconds[name] = time.perf_counter() - start
    return seconds


def main() -> None:
    """Print the table and whether the targets are met."""
    calls, samples = (int(text) for text in (sys.argv[1:3] if len(sys.argv) > 2 else (5_000_000, 20_000_000)))
    folder = Path(tempfile.mkdtemp(prefix="pertask-bench-"))
    try:
        deliver(folder, calls, samples)
        models = build(folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        hand = by_hand(folder / "warehouse" / "pertask.duckdb")
        print(f"{calls:,} calls on {REPLICAS} replicas, {samples:,} samples of {REPLICAS * GPUS_EACH} GPUs")
        for name, names in (("calls", CALL_MODELS), ("samples", SAMPLE_MODELS)):
            ours = sum(models[model] for model in names)
            parts = ", ".join(f"{model} {models[model]:.1f}" for model in names)
            is_met = ours / hand[name] <= TARGET_RATIO and (name == "samples" or ours < TARGET_SECONDS)
            print(
                f"{name}: models {ours:.1f} s ({parts}), by hand {hand[name]:.1f} s, "
                f"ratio {ours / hand[name]:.2f} (target {TARGET_RATIO}): {'met' if is_met else 'missed'}"
            )
        print(f"peak of the build {peak:.2f} GiB (target {TARGET_GIB}): {'met' if peak < TARGET_GIB else 'missed'}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
