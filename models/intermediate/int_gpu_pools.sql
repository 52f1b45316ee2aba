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

machine_names as (
    select * from {{ ref('int_machine_names') }}
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
        windows.loaded_at,
        greatest({{ microseconds_between('hours.hour_at', 'windows.loaded_at') }}, 0) as from_microsecond,
        least({{ microseconds_between('hours.hour_at', 'windows.unloaded_at') }}, 3600000000) as to_microsecond
    from hours
    inner join windows on hours.hour_end > windows.loaded_at and hours.hour_at < windows.unloaded_at
),

machines as (
    select
        hour_at,
        resource_id,
        max(slot) as machine_gpu_count
    from gpu_hours
    group by hour_at, resource_id
),

-- replicas that hold some GPUs of a machine, and do not say which, take them one after another, and again from the
-- first when there are no more: a later one takes what an earlier one left
counted_claims as (
    select
        hour_at,
        resource_id,
        replica_id,
        max(gpu_count) as gpu_count,
        min(loaded_at) as loaded_at
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
            order by loaded_at, replica_id
            rows between unbounded preceding and current row
        ) as last_slot
    from counted_claims
),

holdings as (
    select
        window_hours.*,
        slots.last_slot - slots.gpu_count + 1 as first_slot,
        slots.gpu_count as slot_count
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
    inner join machines on gpu_hours.hour_at = machines.hour_at and gpu_hours.resource_id = machines.resource_id
    inner join holdings
        on
            holdings.gpu_uuid is null
            and gpu_hours.hour_at = holdings.hour_at
            and gpu_hours.resource_id = holdings.resource_id
            and (
                holdings.slot_count is null
                or mod(
                    cast(mod(gpu_hours.slot - holdings.first_slot, machines.machine_gpu_count) as bigint)
                    + machines.machine_gpu_count,
                    machines.machine_gpu_count
                ) < holdings.slot_count
            )
),

-- deployments whose replicas have windows on a date: then their links say nothing more
windowed_deployments as (
    select distinct
        usage_date,
        deployment_id
    from held
    where deployment_id is not null
),

named_hours as (
    select
        gpu_hours.*,
        machine_names.name_kind,
        machine_names.machine_name,
        greatest({{ microseconds_between('gpu_hours.hour_at', 'machine_names.valid_from') }}, 0) as from_microsecond,
        least({{ microseconds_between('gpu_hours.hour_at', 'machine_names.valid_to') }}, 3600000000)
            as to_microsecond
    from gpu_hours
    inner join machine_names
        on
            gpu_hours.resource_id = machine_names.resource_id
            and coalesce(machine_names.card_uuid, gpu_hours.gpu_key) = gpu_hours.gpu_key
            and gpu_hours.hour_at + interval '1' hour > machine_names.valid_from
            and gpu_hours.hour_at < machine_names.valid_to
),

{%- set way = [
    'usage_date', 'hour_at', 'resource_id', 'gpu_key', 'gpu_part', 'replica_id', 'from_microsecond', 'to_microsecond',
] %}

-- every way from a pool to a GPU
ways as (
    {% for kind, column in [('replica', 'replica_id'), ('deployment', 'deployment_id')] -%}
    select
        pools.pool_id,
        pools.pool_kind,
        held.{{ way | join(',\n        held.') }}
    from pools
    inner join held
        on
            pools.pool_kind = '{{ kind }}'
            and pools.usage_date = held.usage_date
            and pools.pool_name = held.{{ column }}
    union all
    {% endfor -%}
    select
        pools.pool_id,
        pools.pool_kind,
        named_hours.usage_date,
        named_hours.hour_at,
        named_hours.resource_id,
        named_hours.gpu_key,
        named_hours.gpu_key as gpu_part,
        named_hours.resource_id as replica_id,
        named_hours.from_microsecond,
        named_hours.to_microsecond
    from pools
    inner join named_hours
        on
            pools.usage_date = named_hours.usage_date
            and pools.pool_kind = named_hours.name_kind
            and pools.pool_name = named_hours.machine_name
    left join windowed_deployments
        on
            pools.pool_kind = 'deployment'
            and pools.usage_date = windowed_deployments.usage_date
            and pools.pool_name = windowed_deployments.deployment_id
    where windowed_deployments.deployment_id is null
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
        pool_kind,
        min(replica_id) as replica_id,
        min(from_microsecond) as from_microsecond,
        max(to_microsecond) as to_microsecond
    from ways
    group by usage_date, hour_at, resource_id, gpu_key, gpu_part, pool_id, pool_kind
),

part_lanes as (
    select
        hour_at,
        resource_id,
        gpu_key,
        gpu_part,
        {{ join_texts('pool_id', "' + '") }} as pool_ids,
        count(*) as pool_count,
        bool_or(pool_kind = 'deployment') as has_deployment,
        min(from_microsecond) as from_microsecond,
        max(to_microsecond) as to_microsecond
    from pool_parts
    group by hour_at, resource_id, gpu_key, gpu_part
),

-- GPUs that the same pools hold for the same time are one lane: what is in flight on it is in flight on each of them. A
-- replica that moves within the hour has two. The servers of a deployment stay one lane, as any of them may answer
lanes as (
    select
        *,
        case
            when has_deployment or (from_microsecond = 0 and to_microsecond = 3600000000) then pool_ids
            else pool_ids || ' @' || cast(from_microsecond as string) || '-' || cast(to_microsecond as string)
        end as lane_id
    from part_lanes
),

-- a slice's share of its card in hours in which no exporter shows it: as on the same date, else alike among the slices
slice_days as (
    select
        usage_date,
        gpu_uuid,
        max(share_millionths) as share_millionths
    from slice_shares
    group by usage_date, gpu_uuid
),

slice_counts as (
    select
        hour_at,
        gpu_key,
        count(distinct gpu_part) as slice_count
    from pool_parts
    where gpu_part != gpu_key
    group by hour_at, gpu_key
)

select
    pool_parts.usage_date,
    pool_parts.hour_at,
    pool_parts.resource_id,
    pool_parts.gpu_key,
    pool_parts.gpu_part,
    lanes.lane_id,
    -- a short name of the lane within its hour
    dense_rank() over (partition by pool_parts.hour_at order by lanes.lane_id) as lane_number,
    pool_parts.pool_id,
    -- only within one deployment do several replicas each answer some of the calls
    case when lanes.pool_count = 1 and pool_parts.pool_kind = 'deployment' then pool_parts.replica_id end as replica_id,
    cast(pool_parts.from_microsecond as bigint) as from_microsecond,
    cast(pool_parts.to_microsecond as bigint) as to_microsecond,
    cast(
        case
            when pool_parts.gpu_part = pool_parts.gpu_key then 1000000
            else coalesce(
                slice_shares.share_millionths, slice_days.share_millionths,
                {{ integer_divide('1000000', 'slice_counts.slice_count') }}
            )
        end as bigint
    ) as share_millionths
from pool_parts
inner join lanes
    on
        pool_parts.hour_at = lanes.hour_at
        and pool_parts.resource_id = lanes.resource_id
        and pool_parts.gpu_key = lanes.gpu_key
        and pool_parts.gpu_part = lanes.gpu_part
left join slice_shares
    on pool_parts.gpu_part = slice_shares.gpu_uuid and pool_parts.hour_at = slice_shares.hour_at
left join slice_days
    on pool_parts.gpu_part = slice_days.gpu_uuid and pool_parts.usage_date = slice_days.usage_date
left join slice_counts
    on pool_parts.gpu_key = slice_counts.gpu_key and pool_parts.hour_at = slice_counts.hour_at
