{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with windows as (
    select * from {{ ref('int_replica_windows') }}
),

-- one row: an open window is cut at the last date that this build recomputes
touched_span as (
    select
        cast(min(usage_date) as timestamp) as first_at,
        cast(max(usage_date) as timestamp) + interval '1' day as last_at
    from {{ ref('int_touched_dates') }}
),

clipped as (
    select
        windows.resource_id,
        split_part(windows.gpu_uuid, '/', 1) as card_uuid,
        greatest(windows.loaded_at, touched_span.first_at) as held_from,
        least(windows.unloaded_at, touched_span.last_at) as held_to
    from windows
    inner join touched_span
        on windows.loaded_at < touched_span.last_at and windows.unloaded_at > touched_span.first_at
),

-- what a window holds: its GPU where it names one, else every GPU of its resource; and its resource in any case
holdings as (
    select
        'gpu' as held_kind,
        card_uuid as held_id,
        held_from,
        held_to
    from clipped
    where card_uuid is not null
    union all
    select
        'whole_resource' as held_kind,
        resource_id as held_id,
        held_from,
        held_to
    from clipped
    where card_uuid is null and resource_id is not null
    union all
    select
        'resource' as held_kind,
        resource_id as held_id,
        held_from,
        held_to
    from clipped
    where resource_id is not null
),

-- windows that overlap or touch become one span, so that no moment is held twice
marked as (
    select
        *,
        max(held_to) over (
            partition by held_kind, held_id
            order by held_from, held_to
            rows between unbounded preceding and 1 preceding
        ) as held_until
    from holdings
),

numbered as (
    select
        *,
        sum(case when held_until is null or held_from > held_until then 1 else 0 end) over (
            partition by held_kind, held_id
            order by held_from, held_to
            rows between unbounded preceding and current row
        ) as span_number
    from marked
),

spans as (
    select
        held_kind,
        held_id,
        span_number,
        min(held_from) as held_from,
        max(held_to) as held_to
    from numbered
    group by held_kind, held_id, span_number
),

-- the grain changes: from one row per span to one row per span and hour
exploded as (
    select
        held_kind,
        held_id,
        held_from,
        held_to,
        {{ explode_hours('held_from', 'held_to') }} as hour_at
    from spans
),

span_hours as (
    select
        cast(hour_at as date) as usage_date,
        hour_at,
        held_kind,
        held_id,
        greatest(held_from, hour_at) as held_from,
        least(held_to, hour_at + interval '1' hour) as held_to
    from exploded
)

select
    usage_date,
    hour_at,
    held_kind,
    held_id,
    held_from,
    held_to
from span_hours
where {{ in_touched_dates('usage_date') }}
