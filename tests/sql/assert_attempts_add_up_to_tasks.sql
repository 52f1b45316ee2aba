-- A task costs the sum of its attempts, and an attempt with a task id is in exactly one task.
with tasks as (
    select * from {{ ref('fct_tasks') }}
    where {{ in_tested_dates('started_date') }}
),

attempts as (
    select * from {{ ref('fct_call_attempts') }}
    where duplicate_of_source is null
),

summed as (
    select
        tasks.task_id,
        tasks.started_date,
        sum(attempts.cost_usd) as attempts_cost_usd,
        count(*) as attempt_count
    from tasks
    inner join attempts
        on
            tasks.task_id = attempts.task_id
            and attempts.usage_date between tasks.started_date and tasks.ended_date
    group by tasks.task_id, tasks.started_date
)

select
    tasks.task_id,
    tasks.started_date,
    tasks.cost_usd,
    summed.attempts_cost_usd
from tasks
left join summed on tasks.task_id = summed.task_id and tasks.started_date = summed.started_date
where
    tasks.cost_usd is distinct from summed.attempts_cost_usd
    or tasks.attempt_count is distinct from summed.attempt_count
