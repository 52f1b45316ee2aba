{#- The next build compares with this table what it reads itself: only what differs touches a date. -#}
-- depends_on: {{ ref('int_touched_dates') }}
select
    task_id,
    task_type,
    team,
    application,
    customer,
    environment,
    outcome,
    closed_at,
    complexity,
    quality_score,
    task_value,
    task_value_currency
from {{ ref('stg_tasks') }}
