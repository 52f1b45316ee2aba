-- The iterations of a task hold its attempts and its cost once, and there are as many as its longest loop has rounds.
with iterations as (
    select
        task_id,
        started_date,
        count(*) as iteration_count,
        max(iteration) as last_iteration,
        sum(attempt_count) as attempt_count,
        sum(cost_usd) as cost_usd
    from {{ ref('int_task_iterations') }}
    where {{ in_tested_dates('started_date') }}
    group by task_id, started_date
),

tasks as (
    select * from {{ ref('fct_tasks') }}
    where loop_iterations is not null and {{ in_tested_dates('started_date') }}
)

select
    coalesce(tasks.task_id, iterations.task_id) as task_id,
    coalesce(tasks.started_date, iterations.started_date) as started_date,
    tasks.loop_iterations,
    iterations.iteration_count,
    tasks.cost_usd as expected_cost_usd,
    iterations.cost_usd
from tasks
full outer join iterations
    on
        tasks.task_id = iterations.task_id
        and tasks.started_date = iterations.started_date
where
    tasks.task_id is null
    or iterations.task_id is null
    or tasks.cost_usd is distinct from iterations.cost_usd
    or tasks.attempt_count != iterations.attempt_count
    or greatest(tasks.loop_iterations, 1) != iterations.iteration_count
    or iterations.iteration_count != iterations.last_iteration
