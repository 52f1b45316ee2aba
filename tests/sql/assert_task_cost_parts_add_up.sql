-- The parts of what tasks cost hold every dollar once: each task's of fct_tasks, each row's of cost_per_task_daily.
with task_parts as (
    select * from {{ ref('int_task_cost_parts') }}
    where task_id is not null and {{ in_tested_dates('started_date') }}
),

tasks as (
    select * from {{ ref('fct_tasks') }}
    where {{ in_tested_dates('started_date') }}
),

anatomy as (
    select
        *,
        coalesce(prefix_cost_usd, 0) + coalesce(context_cost_usd, 0) + coalesce(fresh_input_cost_usd, 0)
        + coalesce(unsplit_input_cost_usd, 0) + coalesce(output_cost_usd, 0) + coalesce(reasoning_cost_usd, 0)
        + coalesce(tool_cost_usd, 0) + coalesce(retrieval_cost_usd, 0) + coalesce(judge_cost_usd, 0)
        + coalesce(router_cost_usd, 0) + coalesce(retry_cost_usd, 0) + coalesce(superseded_cost_usd, 0)
        + coalesce(self_hosted_cost_usd, 0)
            as parts_cost_usd
    from {{ ref('task_cost_anatomy') }}
    where {{ in_tested_dates('started_date') }}
),

days as (
    select * from {{ ref('cost_per_task_daily') }}
    where {{ in_tested_dates('started_date') }}
)

select
    'task' as what,
    coalesce(tasks.started_date, task_parts.started_date) as started_date,
    coalesce(tasks.task_id, task_parts.task_id) as what_name,
    tasks.cost_usd as expected_cost_usd,
    task_parts.cost_usd
from tasks
full outer join task_parts
    on
        tasks.task_id = task_parts.task_id
        and tasks.started_date = task_parts.started_date
where
    tasks.task_id is null
    or task_parts.task_id is null
    or tasks.cost_usd is distinct from task_parts.cost_usd
    or tasks.team != task_parts.team
    or tasks.task_type != task_parts.task_type
union all
select
    'day' as what,
    coalesce(days.started_date, anatomy.started_date) as started_date,
    coalesce(days.task_type, anatomy.task_type) as what_name,
    days.cost_usd as expected_cost_usd,
    anatomy.parts_cost_usd as cost_usd
from days
full outer join anatomy
    on
        days.started_date = anatomy.started_date
        and days.team = anatomy.team
        and days.task_type = anatomy.task_type
where
    days.started_date is null
    or anatomy.started_date is null
    or days.cost_usd is distinct from anatomy.cost_usd
    or coalesce(days.cost_usd, 0) != anatomy.parts_cost_usd
    or days.tasks != anatomy.tasks
    or days.headline_cost_usd is distinct from anatomy.headline_cost_usd
