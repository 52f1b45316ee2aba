-- A higher cap saves no more and loses no more; no cap saves nothing; every type's cost is that of its replayed tasks.
with caps as (
    select
        *,
        lag(saved_usd) over (partition by task_type order by iteration_cap) as lower_cap_saved_usd,
        lag(lost_successes) over (partition by task_type order by iteration_cap) as lower_cap_lost_successes,
        row_number() over (partition by task_type order by iteration_cap desc) as cap_from_highest
    from {{ ref('loop_cap_curve') }}
),

tasks as (
    select * from {{ ref('fct_tasks') }}
),

costs as (
    select
        caps.task_type,
        {{ sum_money('tasks.cost_usd', weight='tasks.sample_weight') }} as cost_usd,
        max(case when tasks.sample_weight != round(tasks.sample_weight) then 1 else 0 end) as has_fractions
    from caps
    inner join tasks
        on
            caps.task_type = tasks.task_type
            and tasks.started_date between caps.window_start_date and caps.window_end_date
    where
        caps.cap_from_highest = 1
        and tasks.loop_iterations is not null
        and tasks.outcome != 'unknown'
        and tasks.is_fully_priced
        and not tasks.is_cut
    group by caps.task_type
)

select
    caps.task_type,
    caps.iteration_cap,
    caps.saved_usd,
    caps.lower_cap_saved_usd,
    caps.lost_successes,
    caps.actual_cost_usd,
    costs.cost_usd as expected_cost_usd
from caps
left join costs on caps.task_type = costs.task_type
where
    caps.saved_usd > caps.lower_cap_saved_usd
    or caps.lost_successes > caps.lower_cap_lost_successes
    or (caps.cap_from_highest = 1 and (caps.saved_usd != 0 or caps.lost_successes != 0))
    -- a task's cost and the sum of its iterations round apart in a log sampled at a fraction
    or (costs.has_fractions = 0 and caps.actual_cost_usd != coalesce(costs.cost_usd, 0))
