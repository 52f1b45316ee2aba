-- Grades of difficulty hold what cost_per_task_daily has, without the calls that make no task.
with complexities as (
    select
        started_date,
        team,
        task_type,
        sum(tasks) as tasks,
        sum(cost_usd) as cost_usd
    from {{ ref('cost_per_task_by_complexity') }}
    where {{ in_tested_dates('started_date') }}
    group by started_date, team, task_type
),

-- counts of a log sampled at a fraction are rounded in each row of a mart
weights as (
    select
        started_date,
        team,
        task_type,
        max(case when sample_weight != round(sample_weight) then 1 else 0 end) as has_fractions
    from {{ ref('fct_tasks') }}
    where {{ in_tested_dates('started_date') }}
    group by started_date, team, task_type
),

days as (
    select * from {{ ref('cost_per_task_daily') }}
    where {{ in_tested_dates('started_date') }}
)

select
    coalesce(days.started_date, complexities.started_date) as started_date,
    coalesce(days.team, complexities.team) as team,
    coalesce(days.task_type, complexities.task_type) as task_type,
    days.cost_usd - days.untagged_call_cost_usd as expected_cost_usd,
    complexities.cost_usd
from days
full outer join complexities
    on
        days.started_date = complexities.started_date
        and days.team = complexities.team
        and days.task_type = complexities.task_type
left join weights
    on
        complexities.started_date = weights.started_date
        and complexities.team = weights.team
        and complexities.task_type = weights.task_type
where
    coalesce(days.cost_usd, 0) - coalesce(days.untagged_call_cost_usd, 0) != coalesce(complexities.cost_usd, 0)
    or (coalesce(weights.has_fractions, 0) = 0 and coalesce(days.tasks, 0) != coalesce(complexities.tasks, 0))
