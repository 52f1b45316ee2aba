{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

{%- set signals = ['sm', 'tensor', 'dram'] %}

with gpu_hours as (
    select * from {{ ref('fct_gpu_hours') }}
    where resource_id is not null and {{ in_touched_dates('usage_date') }}
),

sample_hours as (
    select * from {{ ref('int_gpu_sample_hours') }}
    where resource_id is not null and {{ in_touched_dates('usage_date') }}
),

-- the grain changes: the GPUs and purchase modes of a resource become one row an hour
resource_hours as (
    select
        usage_date,
        resource_id,
        hour_at,
        max(gpu_model) as gpu_model,
        max(region) as region,
        count(distinct gpu_key) as gpu_count,
        coalesce(min(nullif(utilisation_method, 'none')), 'none') as utilisation_method,
        bool_or(is_provisional) as is_provisional,
        {%- for state in ['billed', 'active', 'loaded_idle', 'unallocated', 'unknown', 'sampled'] %}
        cast(sum({{ state }}_seconds) as decimal(38, 6)) as {{ state }}_seconds,
        {%- endfor %}
        cast(sum(effective_cost_usd) as decimal(38, 12)) as effective_cost_usd,
        cast(sum(loaded_idle_usd) + sum(unallocated_usd) as decimal(38, 12)) as idle_usd
    from gpu_hours
    group by usage_date, resource_id, hour_at
),

-- how hard the GPUs worked, over the time for which the signal was reported
resource_signals as (
    select
        resource_id,
        hour_at,
        max(fb_used_bytes) as fb_used_bytes
        {%- for signal in signals %},
        sum({{ signal }}_active_microseconds) as {{ signal }}_active_microseconds,
        sum({{ signal }}_sampled_microseconds) as {{ signal }}_sampled_microseconds {%- endfor %}
    from sample_hours
    group by resource_id, hour_at
)

select
    resource_hours.resource_id,
    resource_hours.hour_at,
    resource_hours.usage_date,
    resource_hours.gpu_model,
    resource_hours.region,
    resource_hours.gpu_count,
    resource_hours.billed_seconds,
    resource_hours.active_seconds,
    resource_hours.loaded_idle_seconds,
    resource_hours.unallocated_seconds,
    resource_hours.unknown_seconds,
    resource_hours.effective_cost_usd,
    resource_hours.idle_usd,
    {{ safe_divide(
        'resource_hours.active_seconds',
        'resource_hours.billed_seconds - resource_hours.unknown_seconds'
    ) }} as utilisation_ratio,
    resource_hours.utilisation_method,
    {{ safe_divide('resource_hours.sampled_seconds', 'resource_hours.billed_seconds') }} as sample_coverage_ratio,
    {%- for signal in signals %}
    {{ safe_divide(
        'resource_signals.' ~ signal ~ '_active_microseconds',
        'resource_signals.' ~ signal ~ '_sampled_microseconds'
    ) }} as {{ signal }}_active_ratio,
    {%- endfor %}
    resource_signals.fb_used_bytes,
    resource_hours.is_provisional
from resource_hours
left join resource_signals
    on
        resource_hours.resource_id = resource_signals.resource_id
        and resource_hours.hour_at = resource_signals.hour_at
