{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

{%- set states = ['active', 'loaded_idle', 'unallocated', 'unknown'] %}

with gpu_hours as (
    select * from {{ ref('int_gpu_hours') }}
    where {{ in_touched_dates('usage_date') }}
),

-- the grain changes: the accounts and periods that bill one GPU-hour become one row
hours as (
    select
        usage_date,
        gpu_key,
        resource_id,
        hour_at,
        purchase_mode,
        max(gpu_model) as gpu_model,
        max(region) as region,
        min(team) as team,
        case when min(coalesce(service, '')) = max(coalesce(service, '')) then min(service) end as service,
        max(namespace) as namespace,
        min(hour_method) as hour_method,
        max(utilisation_method) as utilisation_method,
        bool_or(is_provisional) as is_provisional,
        sum(billed_microseconds) as billed_microseconds,
        sum(sampled_microseconds) as sampled_microseconds,
        {%- for state in states %}
        sum({{ state }}_microseconds) as {{ state }}_microseconds,
        cast(sum({{ state }}_usd) as decimal(38, 12)) as {{ state }}_usd,
        {%- endfor %}
        cast(sum(effective_cost_usd) as decimal(38, 12)) as effective_cost_usd,
        cast(sum(billed_cost_usd) as decimal(38, 12)) as billed_cost_usd,
        cast(sum(active_without_calls_usd) as decimal(38, 12)) as active_without_calls_usd,
        cast(sum(unused_commitment_usd) as decimal(38, 12)) as unused_commitment_usd
    from gpu_hours
    group by usage_date, gpu_key, resource_id, hour_at, purchase_mode
)

select
    gpu_key,
    hour_at,
    purchase_mode,
    usage_date,
    resource_id,
    gpu_model,
    region,
    team,
    service,
    namespace,
    {{ to_seconds('billed_microseconds') }} as billed_seconds,
    {{ to_seconds('active_microseconds') }} as active_seconds,
    {{ to_seconds('loaded_idle_microseconds') }} as loaded_idle_seconds,
    {{ to_seconds('unallocated_microseconds') }} as unallocated_seconds,
    {{ to_seconds('unknown_microseconds') }} as unknown_seconds,
    {{ to_seconds('sampled_microseconds') }} as sampled_seconds,
    effective_cost_usd,
    active_usd,
    loaded_idle_usd,
    unallocated_usd,
    unknown_usd,
    active_without_calls_usd,
    billed_cost_usd,
    unused_commitment_usd,
    {{ safe_divide(
        'active_microseconds', 'active_microseconds + loaded_idle_microseconds + unallocated_microseconds'
    ) }} as utilisation_ratio,
    utilisation_method,
    {{ safe_divide('sampled_microseconds', 'billed_microseconds') }} as sample_coverage_ratio,
    hour_method,
    is_provisional
from hours
