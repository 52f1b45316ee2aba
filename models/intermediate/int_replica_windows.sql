{#- The next build compares with this table what it reads itself: only what differs touches a date. -#}
-- depends_on: {{ ref('int_touched_dates') }}
select
    source,
    replica_id,
    deployment_id,
    model,
    precision,
    resource_id,
    gpu_uuid,
    gpu_count,
    loaded_at,
    unloaded_at
from {{ ref('stg_replica_windows') }}
