{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with call_hours as (
    select * from {{ ref('int_call_hours') }}
    where {{ in_touched_dates('usage_date') }}
),

gpu_pools as (
    select * from {{ ref('int_gpu_pools') }}
    where {{ in_touched_dates('usage_date') }}
),

lane_pools as (
    select distinct
        hour_at,
        lane_number,
        pool_id
    from gpu_pools
),

-- one row per GPU part of a lane
gpu_members as (
    select
        hour_at,
        lane_number,
        resource_id,
        gpu_key,
        gpu_part,
        min(from_microsecond) as from_microsecond,
        max(to_microsecond) as to_microsecond
    from gpu_pools
    group by hour_at, lane_number, resource_id, gpu_key, gpu_part
),

-- one row per replica of a deployment whose calls do not say who answered
replica_members as (
    select
        hour_at,
        lane_number,
        replica_id,
        min(from_microsecond) as from_microsecond,
        max(to_microsecond) as to_microsecond
    from gpu_pools
    where replica_id is not null
    group by hour_at, lane_number, replica_id
),

-- the grain changes: every beginning and end within a lane and hour; what it adds to the calls in flight (in
-- millionths), to the replicas that can answer them, and to the GPUs that are held
events as (
    {% for side, sign in [('from', ''), ('to', '-')] -%}
    select
        call_hours.hour_at,
        lane_pools.lane_number,
        call_hours.{{ side }}_microsecond as microsecond,
        {{ sign }}call_hours.weight_millionths as calls,
        0 as replicas,
        0 as gpus
    from call_hours
    inner join lane_pools on call_hours.hour_at = lane_pools.hour_at and call_hours.pool_id = lane_pools.pool_id
    where call_hours.is_timed
    union all
    select
        hour_at,
        lane_number,
        {{ side }}_microsecond as microsecond,
        0 as calls,
        0 as replicas,
        {{ sign }}1 as gpus
    from gpu_members
    union all
    select
        hour_at,
        lane_number,
        {{ side }}_microsecond as microsecond,
        0 as calls,
        {{ sign }}1 as replicas,
        0 as gpus
    from replica_members
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

-- the grain changes: one row per lane, hour and moment
moments as (
    select
        hour_at,
        lane_number,
        microsecond,
        cast(sum(calls) as bigint) as calls,
        cast(sum(replicas) as bigint) as replicas,
        cast(sum(gpus) as bigint) as gpus
    from events
    group by hour_at, lane_number, microsecond
),

counted as (
    select
        hour_at,
        lane_number,
        microsecond,
        sum(calls) over lane as call_millionths,
        greatest(cast(sum(replicas) over lane as bigint), 1) as replicas_up,
        cast(sum(gpus) over lane as bigint) as gpus_held,
        lead(microsecond) over (partition by hour_at, lane_number order by microsecond) - microsecond as microseconds
    from moments
    window lane as (
        partition by hour_at, lane_number
        order by microsecond
        rows between unbounded preceding and current row
    )
),

-- a row that stands for less than a call is in flight as one
in_flight as (
    select
        *,
        greatest(cast(call_millionths as double) / 1000000, 1) as calls_in_flight
    from counted
),

-- so many calls keep at most so many replicas busy; they share them evenly. A call that waits for a server to load
-- shares nothing yet. Whole numbers, as sums of doubles would depend on the order of the rows
segments as (
    select
        hour_at,
        lane_number,
        microsecond,
        case
            when call_millionths > 0
                then cast(round(microseconds * least(calls_in_flight, replicas_up) / replicas_up) as bigint)
            else 0
        end as busy,
        case
            when call_millionths > 0 and gpus_held > 0
                then cast(round(
                    microseconds * least(calls_in_flight, replicas_up) / call_millionths * 1000000 * 1000000
                ) as bigint)
            else 0
        end as share
    from in_flight
)

-- the integral up to each moment: what is in flight or held gets the difference between its end and its beginning
select
    cast(hour_at as date) as usage_date,
    hour_at,
    lane_number,
    microsecond,
    cast(coalesce(sum(busy) over lane, 0) as bigint) as busy_microseconds,
    cast(coalesce(sum(share) over lane, 0) as bigint) as share
from segments
window lane as (
    partition by hour_at, lane_number
    order by microsecond
    rows between unbounded preceding and 1 preceding
)
