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

hour_signals as (
    select * from {{ ref('int_gpu_hour_signals') }}
    where {{ in_touched_dates('usage_date') }}
),

gpu_pools as (
    select * from {{ ref('int_gpu_pools') }}
    where {{ in_touched_dates('usage_date') }}
),

gpu_lanes as (
    select * from {{ ref('int_gpu_lanes') }}
    where {{ in_touched_dates('usage_date') }}
),

call_hours as (
    select * from {{ ref('int_call_hours') }}
    where {{ in_touched_dates('usage_date') }}
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
        cast(sum(active_usd) as decimal(38, 12)) as active_usd,
        cast(sum(loaded_idle_usd) + sum(unallocated_usd) as decimal(38, 12)) as idle_usd
    from gpu_hours
    group by usage_date, resource_id, hour_at
),

-- how hard the GPUs worked, over the time for which the signal was reported
resource_signals as (
    select
        resource_id,
        hour_at,
        max(fb_used_bytes) as fb_used_bytes,
        sum(active_microseconds) as active_microseconds
        {%- for signal in signals %},
        sum({{ signal }}_active_microseconds) as {{ signal }}_active_microseconds,
        sum({{ signal }}_sampled_microseconds) as {{ signal }}_sampled_microseconds {%- endfor %}
    from sample_hours
    group by resource_id, hour_at
),

-- the time of all calls on a lane, beside the time for which its servers had any; how many servers share its calls
lane_servers as (
    select
        hour_at,
        lane_number,
        greatest(count(distinct replica_id), 1) as server_count
    from gpu_pools
    group by hour_at, lane_number
),

lane_pools as (
    select distinct
        hour_at,
        lane_number,
        pool_id
    from gpu_pools
),

lane_calls as (
    select
        lane_pools.hour_at,
        lane_pools.lane_number,
        -- whole numbers, as sums of doubles would depend on the order of the rows
        sum(cast(round(
            (call_hours.to_microsecond - call_hours.from_microsecond) * (call_hours.weight_millionths / 1000000)
        ) as bigint)) as call_microseconds
    from lane_pools
    inner join call_hours on lane_pools.hour_at = call_hours.hour_at and lane_pools.pool_id = call_hours.pool_id
    group by lane_pools.hour_at, lane_pools.lane_number
),

-- one row per resource, hour and lane
resource_lanes as (
    select
        resource_id,
        hour_at,
        lane_number
    from gpu_lanes
    group by resource_id, hour_at, lane_number
),

lane_busy as (
    select
        hour_at,
        lane_number,
        max(busy_microseconds) as busy_microseconds
    from gpu_lanes
    group by hour_at, lane_number
),

resource_calls as (
    select
        resource_lanes.resource_id,
        resource_lanes.hour_at,
        sum(lane_calls.call_microseconds) as call_microseconds,
        sum(lane_busy.busy_microseconds * lane_servers.server_count) as busy_microseconds
    from resource_lanes
    inner join lane_servers
        on resource_lanes.hour_at = lane_servers.hour_at and resource_lanes.lane_number = lane_servers.lane_number
    inner join lane_calls
        on resource_lanes.hour_at = lane_calls.hour_at and resource_lanes.lane_number = lane_calls.lane_number
    inner join lane_busy
        on resource_lanes.hour_at = lane_busy.hour_at and resource_lanes.lane_number = lane_busy.lane_number
    group by resource_lanes.resource_id, resource_lanes.hour_at
),

-- what the GPUs of the bill drew, by what they did
resource_energy as (
    select
        resource_id,
        hour_at,
        sum(power_sampled_microseconds) as power_sampled_microseconds,
        sum(energy_microwatt_hours) as energy,
        sum(active_energy_microwatt_hours) as active_energy,
        sum(called_energy_microwatt_hours) as called_energy
    from hour_signals
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
    resource_hours.active_usd,
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
    -- prefill is bound by computing, decode by memory, whose practical peak is 0.8
    greatest(
        {{ safe_divide(
            'resource_signals.tensor_active_microseconds', 'resource_signals.tensor_sampled_microseconds'
        ) }},
        {{ safe_divide(
            'resource_signals.dram_active_microseconds', 'resource_signals.dram_sampled_microseconds * 0.8'
        ) }}
    ) as saturation_ratio,
    case
        when resource_signals.sm_sampled_microseconds > 0
            then cast(
                cast(resource_hours.active_usd as double)
                * greatest(
                    1 - {{ safe_divide(
                        'resource_signals.sm_active_microseconds', 'resource_signals.active_microseconds'
                    ) }}, 0
                ) as decimal(38, 12)
            )
    end as active_unsaturated_usd,
    {{ safe_divide('resource_calls.call_microseconds', 'resource_calls.busy_microseconds') }} as mean_concurrency,
    resource_signals.fb_used_bytes,
    {{ to_kwh('resource_energy.energy') }} as energy_kwh,
    {{ to_kwh('resource_energy.called_energy') }} as called_energy_kwh,
    {{ to_kwh('resource_energy.active_energy - resource_energy.called_energy') }} as active_without_calls_energy_kwh,
    {{ to_kwh('resource_energy.energy - resource_energy.active_energy') }} as idle_energy_kwh,
    {{ to_seconds('resource_energy.power_sampled_microseconds') }} as power_sampled_seconds,
    {{ safe_divide(
        to_kwh('resource_energy.energy') ~ ' * 3600', to_seconds('resource_energy.power_sampled_microseconds')
    ) }} as kwh_per_gpu_hour,
    {{ safe_divide(
        to_seconds('resource_energy.power_sampled_microseconds'), 'resource_hours.billed_seconds'
    ) }} as power_coverage_ratio,
    resource_hours.is_provisional
from resource_hours
left join resource_signals
    on
        resource_hours.resource_id = resource_signals.resource_id
        and resource_hours.hour_at = resource_signals.hour_at
left join resource_calls
    on
        resource_hours.resource_id = resource_calls.resource_id
        and resource_hours.hour_at = resource_calls.hour_at
left join resource_energy
    on
        resource_hours.resource_id = resource_energy.resource_id
        and resource_hours.hour_at = resource_energy.hour_at
