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
        pool_id,
        lane_id
    from gpu_pools
),

-- one row per GPU part of a lane
gpu_members as (
    select
        lane_id,
        hour_at,
        concat(gpu_key, ' ', gpu_part) as member_name,
        min(from_microsecond) as from_microsecond,
        max(to_microsecond) as to_microsecond
    from gpu_pools
    group by lane_id, hour_at, concat(gpu_key, ' ', gpu_part)
),

-- one row per replica of a deployment whose calls do not say who answered
replica_members as (
    select
        lane_id,
        hour_at,
        replica_id,
        min(from_microsecond) as from_microsecond,
        max(to_microsecond) as to_microsecond
    from gpu_pools
    where replica_id is not null
    group by lane_id, hour_at, replica_id
),

-- the grain changes: every beginning and end within a lane and hour; what it adds to the calls in flight, to the
-- replicas that can answer them, and to the GPUs that are held
events as (
    {% for side, sign in [('from', '1'), ('to', '-1')] -%}
    select
        lane_pools.lane_id,
        call_hours.hour_at,
        call_hours.{{ side }}_microsecond as microsecond,
        call_hours.pool_id as member_name,
        call_hours.call_position as member_number,
        {{ sign }} as side,
        {{ sign }} as calls,
        0 as replicas,
        0 as gpus
    from call_hours
    inner join lane_pools on call_hours.hour_at = lane_pools.hour_at and call_hours.pool_id = lane_pools.pool_id
    where call_hours.is_timed
    union all
    select
        lane_id,
        hour_at,
        {{ side }}_microsecond as microsecond,
        member_name,
        0 as member_number,
        {{ sign }} as side,
        0 as calls,
        0 as replicas,
        {{ sign }} as gpus
    from gpu_members
    union all
    select
        lane_id,
        hour_at,
        {{ side }}_microsecond as microsecond,
        cast(null as string) as member_name,
        0 as member_number,
        {{ sign }} as side,
        0 as calls,
        {{ sign }} as replicas,
        0 as gpus
    from replica_members
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

counted as (
    select
        lane_id,
        hour_at,
        microsecond,
        member_name,
        member_number,
        side,
        cast(sum(calls) over lane as bigint) as calls_in_flight,
        greatest(cast(sum(replicas) over lane as bigint), 1) as replicas_up,
        cast(sum(gpus) over lane as bigint) as gpus_held,
        lead(microsecond) over (partition by lane_id, hour_at order by microsecond) - microsecond as microseconds,
        -- events of one moment stay in the order in which they were counted
        row_number() over (partition by lane_id, hour_at order by microsecond) as position
    from events
    window lane as (
        partition by lane_id, hour_at
        order by microsecond
        rows between unbounded preceding and current row
    )
),

-- so many calls keep at most so many replicas busy; they share them evenly. A call that waits for a server to load
-- shares nothing yet
segments as (
    select
        *,
        case
            when calls_in_flight > 0
                then {{ quotient('microseconds * least(calls_in_flight, replicas_up)', 'replicas_up') }}
            else 0
        end as busy,
        case
            when calls_in_flight > 0 and gpus_held > 0
                then {{ quotient(
                    'microseconds * 1000000 * least(calls_in_flight, replicas_up)', 'calls_in_flight'
                ) }}
            else 0
        end as share
    from counted
),

-- the integral up to each event: what a member gets is the difference between its end and its beginning
integrated as (
    select
        lane_id,
        hour_at,
        member_name,
        member_number,
        side,
        coalesce(sum(busy) over lane, 0) as busy_before,
        coalesce(sum(share) over lane, 0) as share_before
    from segments
    window lane as (
        partition by lane_id, hour_at
        order by position
        rows between unbounded preceding and 1 preceding
    )
)

-- the grain changes: one row per lane, hour and member
select
    cast(hour_at as date) as usage_date,
    hour_at,
    lane_id,
    member_name,
    member_number,
    case when member_number = 0 then cast(-sum(side * busy_before) as bigint) end as busy_microseconds,
    case when member_number > 0 then cast(-sum(side * share_before) as bigint) end as share
from integrated
where member_name is not null
group by lane_id, hour_at, member_name, member_number
