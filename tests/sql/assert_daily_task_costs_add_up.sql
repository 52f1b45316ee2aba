-- Every dollar of every attempt is in cost_per_task_daily once: tasks plus calls without a task.
with tasks as (
    select
        started_date,
        {{ sum_money('cost_usd') }} as cost_usd
    from {{ ref('fct_tasks') }}
    where {{ in_tested_dates('started_date') }}
    group by started_date
),

untagged as (
    select
        usage_date as started_date,
        {{ sum_money('cost_usd') }} as cost_usd
    from {{ ref('fct_call_attempts') }}
    where task_id is null and {{ in_tested_dates('usage_date') }}
    group by usage_date
),

facts as (
    select * from tasks
    union all
    select * from untagged
),

expected as (
    select
        started_date,
        sum(cost_usd) as cost_usd
    from facts
    group by started_date
),

published as (
    select
        started_date,
        sum(cost_usd) as cost_usd
    from {{ ref('cost_per_task_daily') }}
    where {{ in_tested_dates('started_date') }}
    group by started_date
)

select
    coalesce(expected.started_date, published.started_date) as started_date,
    expected.cost_usd as expected_cost_usd,
    published.cost_usd as published_cost_usd
from expected
full outer join published on expected.started_date = published.started_date
where expected.cost_usd is distinct from published.cost_usd
