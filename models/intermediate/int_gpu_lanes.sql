{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with gpu_pools as (
    select * from {{ ref('int_gpu_pools') }}
    where {{ in_touched_dates('usage_date') }}
),

lane_moments as (
    select * from {{ ref('int_lane_moments') }}
    where {{ in_touched_dates('usage_date') }}
),

-- the grain changes: the pools of a GPU part are one lane
gpu_lanes as (
    select
        usage_date,
        hour_at,
        resource_id,
        gpu_key,
        gpu_part,
        lane_id,
        lane_number,
        share_millionths,
        min(from_microsecond) as from_microsecond,
        max(to_microsecond) as to_microsecond
    from gpu_pools
    group by usage_date, hour_at, resource_id, gpu_key, gpu_part, lane_id, lane_number, share_millionths
)

select
    gpu_lanes.usage_date,
    gpu_lanes.hour_at,
    gpu_lanes.resource_id,
    gpu_lanes.gpu_key,
    gpu_lanes.gpu_part,
    gpu_lanes.lane_id,
    gpu_lanes.lane_number,
    gpu_lanes.share_millionths,
    ends.busy_microseconds - starts.busy_microseconds as busy_microseconds
from gpu_lanes
inner join lane_moments as starts
    on
        gpu_lanes.hour_at = starts.hour_at
        and gpu_lanes.lane_number = starts.lane_number
        and gpu_lanes.from_microsecond = starts.microsecond
inner join lane_moments as ends
    on
        gpu_lanes.hour_at = ends.hour_at
        and gpu_lanes.lane_number = ends.lane_number
        and gpu_lanes.to_microsecond = ends.microsecond
