{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with parts as (
    select * from {{ ref('int_gpu_hour_parts') }}
    where {{ in_touched_dates('usage_date') }}
),

call_hours as (
    select * from {{ ref('int_call_hours') }}
    where {{ in_touched_dates('usage_date') }}
),

slice_shares as (
    select * from {{ ref('int_gpu_slice_shares') }}
    where {{ in_touched_dates('usage_date') }}
),

windows as (
    select * from {{ ref('int_replica_windows') }}
),

links as (
    select * from {{ ref('int_resource_links') }}
    where resource_id is not null and deployment_id is not null
),

gpu_hours as (
    select
        usage_date,
        hour_at,
        resource_id,
        gpu_key,
        max(card_uuid) as card_uuid,
        max(slot) as slot
    from parts
    group by usage_date, hour_at, resource_id, gpu_key
),

hours as (
    select distinct
        usage_date,
        hour_at,
        hour_at + interval '1' hour as hour_end
    from gpu_hours
),

-- a pool that answers any call of a date holds its GPUs on all of that date, calls or not
pools as (
    select distinct
        usage_date,
        pool_id,
        pool_kind,
        pool_name
    from call_hours
),

-- one row per hour and window in it
window_hours as (
    select
        hours.usage_date,
        hours.hour_at,
        windows.replica_id,
        windows.deployment_id,
        windows.resource_id,
        windows.gpu_uuid,
        split_part(windows.gpu_uuid, '/', 1) as card_uuid,
        windows.gpu_count,
        greatest({{ microseconds_between('hours.hour_at', 'windows.loaded_at') }}, 0) as from_microsecond,
        least({{ microseconds_between('hours.hour_at', 'windows.unloaded_at') }}, 3600000000) as to_microsecond
    from hours
    inner join windows on hours.hour_end > windows.loaded_at and hours.hour_at < windows.unloaded_at
),

-- replicas that hold some GPUs of a machine, and do not say which, take them one after another
counted_claims as (
    select
        hour_at,
        resource_id,
        replica_id,
        max(gpu_count) as gpu_count
    from window_hours
    where gpu_uuid is null and gpu_count is not null
    group by hour_at, resource_id, replica_id
),

slots as (
    select
        hour_at,
        resource_id,
        replica_id,
        gpu_count,
        sum(gpu_count) over (
            partition by hour_at, resource_id
            order by replica_id
            rows between unbounded preceding and current row
        ) as last_slot
    from counted_claims
),

holdings as (
    select
        window_hours.*,
        slots.last_slot - slots.gpu_count + 1 as first_slot,
        slots.last_slot
    from window_hours
    left join slots
        on
            window_hours.gpu_uuid is null
            and window_hours.hour_at = slots.hour_at
            and window_hours.resource_id = slots.resource_id
            and window_hours.replica_id = slots.replica_id
),

-- one row per GPU, hour and replica window: by the GPU's own name, else by the machine's
held as (
    select
        gpu_hours.*,
        holdings.replica_id,
        holdings.deployment_id,
        coalesce(holdings.gpu_uuid, gpu_hours.gpu_key) as gpu_part,
        holdings.from_microsecond,
        holdings.to_microsecond
    from gpu_hours
    inner join holdings on gpu_hours.hour_at = holdings.hour_at and gpu_hours.card_uuid = holdings.card_uuid
    union all
    select
        gpu_hours.*,
        holdings.replica_id,
        holdings.deployment_id,
        gpu_hours.gpu_key as gpu_part,
        holdings.from_microsecond,
        holdings.to_microsecond
    from gpu_hours
    inner join holdings
        on
            holdings.gpu_uuid is null
            and gpu_hours.hour_at = holdings.hour_at
            and gpu_hours.resource_id = holdings.resource_id
            and gpu_hours.slot between coalesce(holdings.first_slot, 1) and coalesce(holdings.last_slot, gpu_hours.slot)
),

-- every way from a pool to a GPU
ways as (
    select
        pools.pool_id,
        held.*
    from pools
    inner join held
        on pools.pool_kind = 'replica' and pools.usage_date = held.usage_date and pools.pool_name = held.replica_id
    union all
    select
        pools.pool_id,
        held.*
    from pools
    inner join held
        on
            pools.pool_kind = 'deployment'
            and pools.usage_date = held.usage_date
            and pools.pool_name = held.deployment_id
    union all
    select
        pools.pool_id,
        gpu_hours.*,
        gpu_hours.resource_id as replica_id,
        cast(null as string) as deployment_id,
        gpu_hours.gpu_key as gpu_part,
        0 as from_microsecond,
        3600000000 as to_microsecond
    from pools
    inner join gpu_hours
        on
            pools.pool_kind = 'machine'
            and pools.usage_date = gpu_hours.usage_date
            and pools.pool_name = gpu_hours.resource_id
    union all
    select
        pools.pool_id,
        gpu_hours.*,
        gpu_hours.resource_id as replica_id,
        links.deployment_id,
        gpu_hours.gpu_key as gpu_part,
        greatest({{ microseconds_between('gpu_hours.hour_at', 'links.valid_from') }}, 0) as from_microsecond,
        least({{ microseconds_between('gpu_hours.hour_at', 'links.valid_to') }}, 3600000000) as to_microsecond
    from pools
    inner join links on pools.pool_kind = 'deployment' and pools.pool_name = links.deployment_id
    inner join gpu_hours
        on
            pools.usage_date = gpu_hours.usage_date
            and links.resource_id = gpu_hours.resource_id
            and links.valid_from < gpu_hours.hour_at + interval '1' hour
            and links.valid_to > gpu_hours.hour_at
),

-- the grain changes: one row per GPU part, hour and pool
pool_parts as (
    select
        usage_date,
        hour_at,
        resource_id,
        gpu_key,
        gpu_part,
        pool_id,
        min(replica_id) as replica_id,
        min(from_microsecond) as from_microsecond,
        max(to_microsecond) as to_microsecond
    from ways
    group by usage_date, hour_at, resource_id, gpu_key, gpu_part, pool_id
),

-- GPUs that the same pools hold are one lane: what is in flight on it is in flight on each of them
lanes as (
    select
        hour_at,
        gpu_key,
        gpu_part,
        {{ join_texts('pool_id', "' + '") }} as lane_id,
        count(*) as pool_count
    from pool_parts
    group by hour_at, gpu_key, gpu_part
)

select
    pool_parts.usage_date,
    pool_parts.hour_at,
    pool_parts.resource_id,
    pool_parts.gpu_key,
    pool_parts.gpu_part,
    lanes.lane_id,
    pool_parts.pool_id,
    -- only within one deployment do several replicas each answer some of the calls
    case when lanes.pool_count = 1 and pool_parts.pool_id like 'deployment %' then pool_parts.replica_id end
        as replica_id,
    cast(pool_parts.from_microsecond as bigint) as from_microsecond,
    cast(pool_parts.to_microsecond as bigint) as to_microsecond,
    -- a slice that no exporter shows is taken for the whole card
    coalesce(slice_shares.share_millionths, 1000000) as share_millionths
from pool_parts
inner join lanes
    on
        pool_parts.hour_at = lanes.hour_at
        and pool_parts.gpu_key = lanes.gpu_key
        and pool_parts.gpu_part = lanes.gpu_part
left join slice_shares
    on pool_parts.gpu_part = slice_shares.gpu_uuid and pool_parts.hour_at = slice_shares.hour_at
