{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with parts as (
    select * from {{ ref('int_gpu_hour_parts') }}
    where {{ in_touched_dates('usage_date') }}
),

sample_hours as (
    select * from {{ ref('int_gpu_sample_hours') }}
    where resource_id is not null and {{ in_touched_dates('usage_date') }}
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

window_hours as (
    select * from {{ ref('int_replica_window_hours') }}
    where {{ in_touched_dates('usage_date') }}
),

gpu_hours as (
    select
        usage_date,
        hour_at,
        resource_id,
        gpu_key,
        max(card_uuid) as card_uuid
    from parts
    group by usage_date, hour_at, resource_id, gpu_key
),

-- one row per GPU that an exporter shows on a date
watched_days as (
    select distinct
        usage_date,
        resource_id,
        card_uuid
    from sample_hours
),

-- one row per GPU on which calls ran on a date
logged_days as (
    select distinct
        usage_date,
        resource_id,
        gpu_key
    from gpu_pools
),

-- one row per hour and lane with a call that does not tell its time
untimed_lanes as (
    select distinct
        gpu_pools.hour_at,
        gpu_pools.lane_number
    from gpu_pools
    inner join call_hours on gpu_pools.hour_at = call_hours.hour_at and gpu_pools.pool_id = call_hours.pool_id
    where not call_hours.is_timed
),

-- one row per GPU and hour: how long calls were in flight on it; a slice counts by its share of the card
in_flight as (
    select
        gpu_lanes.hour_at,
        gpu_lanes.resource_id,
        gpu_lanes.gpu_key,
        least(
            cast(
                {{ integer_divide('sum(gpu_lanes.busy_microseconds * gpu_lanes.share_millionths)', '1000000') }}
                as bigint
            ),
            3600000000
        ) as in_flight_microseconds,
        count(untimed_lanes.lane_number) > 0 as has_untimed_calls
    from gpu_lanes
    left join untimed_lanes
        on gpu_lanes.hour_at = untimed_lanes.hour_at and gpu_lanes.lane_number = untimed_lanes.lane_number
    group by gpu_lanes.hour_at, gpu_lanes.resource_id, gpu_lanes.gpu_key
),

held_hours as (
    select
        held_kind,
        held_id,
        hour_at,
        cast(sum({{ microseconds_between('held_from', 'held_to') }}) as bigint) as held_microseconds
    from window_hours
    group by held_kind, held_id, hour_at
),

held_days as (
    select distinct
        usage_date,
        held_kind,
        held_id
    from window_hours
),

combined as (
    select
        gpu_hours.*,
        sample_hours.namespace,
        sample_hours.gpu_model as sampled_gpu_model,
        coalesce(sample_hours.active_microseconds, 0) as sampled_active,
        coalesce(sample_hours.loaded_idle_microseconds, 0) as sampled_loaded_idle,
        coalesce(sample_hours.unallocated_microseconds, 0) as sampled_unallocated,
        coalesce(sample_hours.engine_microseconds, 0) as engine_microseconds,
        coalesce(sample_hours.power_sampled_microseconds, 0) as power_sampled,
        sample_hours.energy_microwatt_hours as energy,
        sample_hours.active_energy_microwatt_hours as sampled_active_energy,
        coalesce(in_flight.in_flight_microseconds, 0) as in_flight,
        coalesce(in_flight.has_untimed_calls, false) as has_untimed_calls,
        watched_days.card_uuid is not null as is_watched,
        logged_days.gpu_key is not null as is_logged,
        coalesce(gpu_held_days.held_id, resource_held_days.held_id) is not null as is_held_by_windows,
        greatest(coalesce(gpu_held_hours.held_microseconds, 0), coalesce(resource_held_hours.held_microseconds, 0))
            as held
    from gpu_hours
    left join sample_hours
        on
            gpu_hours.card_uuid = sample_hours.card_uuid
            and gpu_hours.resource_id = sample_hours.resource_id
            and gpu_hours.hour_at = sample_hours.hour_at
    left join in_flight
        on
            gpu_hours.gpu_key = in_flight.gpu_key
            and gpu_hours.resource_id = in_flight.resource_id
            and gpu_hours.hour_at = in_flight.hour_at
    left join watched_days
        on
            gpu_hours.card_uuid = watched_days.card_uuid
            and gpu_hours.resource_id = watched_days.resource_id
            and gpu_hours.usage_date = watched_days.usage_date
    left join logged_days
        on
            gpu_hours.gpu_key = logged_days.gpu_key
            and gpu_hours.resource_id = logged_days.resource_id
            and gpu_hours.usage_date = logged_days.usage_date
    left join held_days as gpu_held_days
        on
            gpu_held_days.held_kind = 'gpu'
            and gpu_hours.card_uuid = gpu_held_days.held_id
            and gpu_hours.usage_date = gpu_held_days.usage_date
    left join held_days as resource_held_days
        on
            resource_held_days.held_kind = 'whole_resource'
            and gpu_hours.resource_id = resource_held_days.held_id
            and gpu_hours.usage_date = resource_held_days.usage_date
    left join held_hours as gpu_held_hours
        on
            gpu_held_hours.held_kind = 'gpu'
            and gpu_hours.card_uuid = gpu_held_hours.held_id
            and gpu_hours.hour_at = gpu_held_hours.hour_at
    left join held_hours as resource_held_hours
        on
            resource_held_hours.held_kind = 'whole_resource'
            and gpu_hours.resource_id = resource_held_hours.held_id
            and gpu_hours.hour_at = resource_held_hours.hour_at
),

-- calls in flight and the exporter's activity are two views of one GPU: it worked at least as long as either says
active as (
    select
        *,
        greatest(sampled_active, in_flight) as seen_active,
        -- the request log and the replica windows tell of a GPU that no exporter watches
        is_logged and not is_watched as is_told_by_the_log
    from combined
),

loaded as (
    select
        *,
        case
            when is_told_by_the_log and is_held_by_windows then greatest(seen_active, held)
            when is_told_by_the_log then 3600000000
            else greatest(seen_active, sampled_active + sampled_loaded_idle)
        end as seen_loaded
    from active
),

-- the part of the active time that calls explain; where none says how long it took, all of it
explained as (
    select
        *,
        case
            when in_flight > 0 then in_flight
            when has_untimed_calls then seen_active
            else 0
        end as called,
        greatest(sampled_active + sampled_loaded_idle + sampled_unallocated, power_sampled) - sampled_active
            as not_sampled_active
    from loaded
),

-- active time that only the request log shows takes its part of the energy of the other time
powered as (
    select
        *,
        sampled_active_energy + coalesce({{ integer_divide(
            whole_number('energy - sampled_active_energy') ~ ' * least(seen_active - sampled_active, not_sampled_active)',
            'not_sampled_active'
        ) }}, 0) as active_energy
    from explained
)

select
    usage_date,
    hour_at,
    resource_id,
    gpu_key,
    namespace,
    sampled_gpu_model,
    sampled_active + sampled_loaded_idle + sampled_unallocated as sampled_microseconds,
    in_flight as in_flight_microseconds,
    seen_active as active_microseconds,
    seen_loaded - seen_active as loaded_idle_microseconds,
    case when is_told_by_the_log then 3600000000 - seen_loaded else sampled_unallocated end
        as unallocated_microseconds,
    called as called_microseconds,
    case
        when is_told_by_the_log or (in_flight > 0 and in_flight >= sampled_active) then 'request_intervals'
        when sampled_active + sampled_loaded_idle + sampled_unallocated = 0 then 'none'
        when 2 * engine_microseconds >= sampled_active + sampled_loaded_idle + sampled_unallocated
            then 'gr_engine_active'
        else 'gpu_util'
    end as utilisation_method,
    power_sampled as power_sampled_microseconds,
    energy as energy_microwatt_hours,
    cast(active_energy as bigint) as active_energy_microwatt_hours,
    case
        when active_energy is not null
            then cast(coalesce({{ integer_divide(
                whole_number('active_energy') ~ ' * called', 'seen_active'
            ) }}, 0) as bigint)
    end as called_energy_microwatt_hours
from powered
