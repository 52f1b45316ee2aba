{#- The next build compares with this table what it reads itself: only what differs touches a date. -#}
-- depends_on: {{ ref('int_touched_dates') }}
select
    source,
    hostname,
    node_name,
    gpu_uuid,
    resource_id,
    deployment_id,
    api_base,
    valid_from,
    valid_to
from {{ ref('stg_resource_links') }}
