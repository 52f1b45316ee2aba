{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'started_date'}) }}

{%- set parts = [
    'prefix_cost_usd', 'context_cost_usd', 'fresh_input_cost_usd', 'unsplit_input_cost_usd', 'output_cost_usd',
    'reasoning_cost_usd', 'tool_cost_usd', 'retrieval_cost_usd', 'judge_cost_usd', 'router_cost_usd', 'retry_cost_usd',
    'superseded_cost_usd', 'self_hosted_cost_usd',
] %}

with days as (
    select * from {{ ref('cost_per_task_daily') }}
    where {{ in_touched_dates('started_date') }}
),

task_parts as (
    select * from {{ ref('int_task_cost_parts') }}
    where {{ in_touched_dates('started_date') }}
),

-- the grain changes: from one row per task to one row per day, team and task type
day_parts as (
    select
        started_date,
        team,
        task_type,
        {{ sum_parts(parts) }}
    from task_parts
    group by started_date, team, task_type
)

select
    days.started_date,
    days.team,
    days.task_type,
    days.tasks,
    days.headline_cost_usd,
    {%- for part in parts %}
    day_parts.{{ part }},
    {%- endfor %}
    days.cost_usd,
    days.headline_task_cost_usd,
    days.cost_multiple,
    days.is_provisional,
    days.is_estimated
from days
left join day_parts
    on
        days.started_date = day_parts.started_date
        and days.team = day_parts.team
        and days.task_type = day_parts.task_type
