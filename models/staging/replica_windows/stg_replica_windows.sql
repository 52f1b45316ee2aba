with windows as (
    select * from {{ lake('replica_windows') }}
),

batches as (
    select
        batch_id,
        delivered_at
    from {{ snapshot('batches') }}
    where contract = 'replica_windows' and change != 'removed'
),

-- a window that came again may have learned its end: the newest delivery counts
ranked as (
    select
        windows.*,
        row_number() over (
            partition by windows.replica_id, windows.gpu_uuid, windows.loaded_at
            order by batches.delivered_at desc, windows.batch_id desc, windows.unloaded_at desc nulls last
        ) as newest_rank
    from windows
    inner join batches on windows.batch_id = batches.batch_id
)

select
    source,
    replica_id,
    deployment_id,
    model,
    precision,
    resource_id,
    gpu_uuid,
    gpu_count,
    cast(loaded_at as timestamp) as loaded_at,
    coalesce(cast(unloaded_at as timestamp), timestamp '9999-12-31 00:00:00') as unloaded_at
from ranked
where newest_rank = 1
