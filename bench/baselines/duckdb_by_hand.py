"""The four marts by one DuckDB script, ``duckdb_by_hand.sql``: the least that answers the question.

``from_lake`` runs it on the lake that pertask's ingest has written, so that pertask's models can be held against it;
``whole_path`` on the landing files themselves.
"""

from __future__ import annotations

from pathlib import Path

SCRIPT = Path(__file__).with_suffix(".sql")
MARTS = ("cost_per_task_daily", "retry_overhead_daily", "gpu_utilisation_hourly", "idle_dollars_daily")

_LAKE = {
    "calls": """
        select
            call_id as request_id,
            case when task_id_origin = 'task' then task_id end as task_id,
            task_type,
            team,
            step_name,
            step_index,
            attempt_number,
            retry_reason,
            replica_id,
            cast(started_at as timestamp) as started_at,
            cast(ended_at as timestamp) as ended_at,
            model,
            uncached_input_tokens + coalesce(cache_read_tokens, 0) + coalesce(cache_write_5m_tokens, 0) as input_tokens,
            coalesce(cache_read_tokens, 0) as cached_tokens,
            coalesce(cache_write_5m_tokens, 0) as written_tokens,
            output_text_tokens + coalesce(reasoning_tokens, 0) as output_tokens,
            status = 'success' as is_success
        from read_parquet('{root}/llm_calls/*/*.parquet')""",
    "outcomes": "select task_id, outcome from read_parquet('{root}/tasks/*.parquet')",
    "machine_hours": """
        select
            resource_id,
            cast(charge_period_start as timestamp) as hour_at,
            region_id as region,
            'H100-SXM-80GB' as gpu_model,
            case pricing_category when 'Dynamic' then 'spot' else 'on_demand' end as purchase_mode,
            json_extract_string(tags, '$.team') as team,
            8 as gpu_count,
            cast(consumed_quantity as double) * 3600 * 8 as billed_seconds,
            cast(effective_cost as double) as machine_usd
        from read_parquet('{root}/bill_lines/*.parquet')
        where charge_category = 'Usage'""",
    "gpus": "select gpu_uuid, resource_id from read_parquet('{root}/resource_links/*.parquet')",
    "samples": """
        select
            gpu_uuid,
            cast(sampled_at as timestamp) as sampled_at,
            gr_engine_active as activity,
            pod is not null as is_held
        from read_parquet('{root}/gpu_samples/*/*.parquet')""",
    "windows": "select replica_id, resource_id from read_parquet('{root}/replica_windows/*.parquet')",
}

_LANDING = {
    "calls": """
        select
            request_id,
            metadata.spend_logs_metadata.task_id as task_id,
            metadata.spend_logs_metadata.task_type as task_type,
            team_id as team,
            metadata.spend_logs_metadata.step_name as step_name,
            metadata.spend_logs_metadata.step_index as step_index,
            metadata.spend_logs_metadata.attempt_number as attempt_number,
            metadata.spend_logs_metadata.retry_reason as retry_reason,
            metadata.spend_logs_metadata.replica_id as replica_id,
            "startTime" as started_at,
            "endTime" as ended_at,
            replace(model, 'hosted_vllm/', '') as model,
            prompt_tokens as input_tokens,
            coalesce(metadata.usage_object.prompt_tokens_details.cached_tokens, 0) as cached_tokens,
            coalesce(metadata.usage_object.cache_creation_input_tokens, 0) as written_tokens,
            completion_tokens as output_tokens,
            status = 'success' as is_success
        from read_json('{root}/gateway/*.jsonl', format = 'newline_delimited', columns = {{
            request_id: 'varchar', "startTime": 'timestamp', "endTime": 'timestamp', model: 'varchar',
            team_id: 'varchar', prompt_tokens: 'bigint', completion_tokens: 'bigint', status: 'varchar',
            metadata: 'struct(
                spend_logs_metadata struct(task_id varchar, task_type varchar, step_name varchar, step_index bigint,
                    attempt_number bigint, retry_reason varchar, replica_id varchar),
                usage_object struct(
                    prompt_tokens_details struct(cached_tokens bigint), cache_creation_input_tokens bigint))'
        }})""",
    "outcomes": """
        select task_id, outcome
        from read_json('{root}/outcomes/*.jsonl', format = 'newline_delimited', columns = {{
            task_id: 'varchar', outcome: 'varchar'
        }})""",
    "machine_hours": """
        select
            "ResourceId" as resource_id,
            cast("ChargePeriodStart" as timestamp) as hour_at,
            "RegionId" as region,
            'H100-SXM-80GB' as gpu_model,
            case "PricingCategory" when 'Dynamic' then 'spot' else 'on_demand' end as purchase_mode,
            json_extract_string("Tags", '$.team') as team,
            8 as gpu_count,
            cast("ConsumedQuantity" as double) * 3600 * 8 as billed_seconds,
            cast("EffectiveCost" as double) as machine_usd
        from read_csv('{root}/bill/*/*.csv', all_varchar = true)
        where "ChargeCategory" = 'Usage'""",
    "gpus": "select gpu_uuid, resource_id from read_csv('{root}/links/*.csv')",
    "samples": """
        select gpu as gpu_uuid, sampled_at, gr_engine_active as activity, pod is not null as is_held
        from read_csv('{root}/telemetry/*.csv', header = true, columns = {{
            gpu: 'varchar', host: 'varchar', sampled_at: 'timestamp', interval: 'bigint', gr_engine_active: 'double',
            sm_active: 'double', dram_active: 'double', fb_used_bytes: 'bigint', power_watts: 'double', pod: 'varchar'
        }})""",
    "windows": "select replica as replica_id, machine as resource_id from read_csv('{root}/windows/*.csv')",
}


def from_lake(home: Path, out: Path) -> None:
    """The marts of the lake of a home, as Parquet files in ``out``."""
    _run(_LAKE, home / "lake", out)


def whole_path(home: Path, out: Path) -> None:
    """The marts of the landing files of a home, as Parquet files in ``out``."""
    _run(_LANDING, home / "landing", out)


def _run(views: dict[str, str], root: Path, out: Path) -> None:
    import duckdb

    out.mkdir(parents=True, exist_ok=True)
    config = {"preserve_insertion_order": False, "temp_directory": str(out / "spill")}
    with duckdb.connect(config=config) as connection:
        connection.execute("set TimeZone = 'UTC'")
        for name, query in views.items():
            connection.execute(f"create temp view {name} as {query.format(root=root)}")
        connection.execute(SCRIPT.read_text(encoding="utf-8"))
        for mart in MARTS:
            connection.execute(f"copy {mart} to '{out / mart}.parquet' (format parquet)")
