with events as (
    select * from {{ lake('gpu_events') }}
),

batches as (
    select
        batch_id,
        delivered_at
    from {{ snapshot('batches') }}
    where contract = 'gpu_events' and change != 'removed'
),

ranked as (
    select
        events.*,
        -- qualified, because the name is a keyword
        cast(events.at as timestamp) as event_at,
        row_number() over (
            partition by events.resource_id, events.replica_id, events.event, events.at
            order by batches.delivered_at desc, events.batch_id desc
        ) as newest_rank
    from events
    inner join batches on events.batch_id = batches.batch_id
)

select
    source,
    resource_id,
    replica_id,
    event,
    cast({{ adapter.quote('at') }} as timestamp) as event_at,
    cast(cast({{ adapter.quote('at') }} as timestamp) as date) as usage_date,
    origin
from ranked
where newest_rank = 1
