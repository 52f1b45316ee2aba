with links as (
    select * from {{ lake('resource_links') }}
),

batches as (
    select
        batch_id,
        delivered_at
    from {{ snapshot('batches') }}
    where contract = 'resource_links' and change != 'removed'
),

-- a link that came again may have learned its end: the newest delivery counts
ranked as (
    select
        links.*,
        row_number() over (
            partition by
                links.hostname, links.node_name, links.gpu_uuid, links.resource_id, links.deployment_id,
                links.api_base, links.valid_from
            order by batches.delivered_at desc, links.batch_id desc, links.valid_to desc nulls last
        ) as newest_rank
    from links
    inner join batches on links.batch_id = batches.batch_id
)

select
    source,
    hostname,
    node_name,
    gpu_uuid,
    resource_id,
    deployment_id,
    api_base,
    coalesce(cast(valid_from as timestamp), timestamp '0001-01-01 00:00:00') as valid_from,
    coalesce(cast(valid_to as timestamp), timestamp '9999-12-31 00:00:00') as valid_to
from ranked
where newest_rank = 1
