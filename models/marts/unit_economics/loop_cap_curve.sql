with tasks as (
    select * from {{ ref('fct_tasks') }}
),

iterations as (
    select * from {{ ref('int_task_iterations') }}
),

bounds as (
    select
        greatest(min(started_date), max(started_date) - 29) as window_start_date,
        max(started_date) as window_end_date
    from tasks
),

-- what became of the task and what it cost must be known, or a cap's price is not
judged_tasks as (
    select
        tasks.task_id,
        tasks.started_date,
        tasks.task_type,
        tasks.sample_weight,
        tasks.outcome = 'success' as is_success,
        greatest(tasks.loop_iterations, 1) as loop_iterations,
        bounds.window_start_date,
        bounds.window_end_date
    from tasks
    inner join bounds on tasks.started_date between bounds.window_start_date and bounds.window_end_date
    where
        tasks.loop_iterations is not null
        and tasks.outcome != 'unknown'
        and tasks.is_fully_priced
        and not tasks.is_cut
),

task_iterations as (
    select
        judged_tasks.*,
        iterations.iteration,
        iterations.iteration = judged_tasks.loop_iterations as is_last_iteration,
        coalesce(iterations.cost_usd, 0) as cost_usd
    from judged_tasks
    inner join iterations
        on
            judged_tasks.task_id = iterations.task_id
            and judged_tasks.started_date = iterations.started_date
),

-- the grain changes: from one row per task and iteration to one row per task type and iteration
type_iterations as (
    select
        task_type,
        window_start_date,
        window_end_date,
        iteration,
        {{ count_rows('is_last_iteration') }} as ending_tasks,
        {{ count_rows('is_last_iteration and is_success') }} as ending_successes,
        {{ sum_money('cost_usd') }} as cost_usd,
        max(sample_weight) != 1 as is_estimated
    from task_iterations
    group by task_type, window_start_date, window_end_date, iteration
),

-- a cap cuts off what comes after it
capped as (
    select
        task_type,
        window_start_date,
        window_end_date,
        iteration as iteration_cap,
        max(iteration) over (partition by task_type) as most_iterations,
        sum(ending_tasks) over (partition by task_type) as tasks,
        sum(ending_successes) over (partition by task_type) as successes,
        sum(cost_usd) over (partition by task_type) as actual_cost_usd,
        coalesce(sum(ending_tasks) over after_cap, 0) as capped_tasks,
        coalesce(sum(ending_successes) over after_cap, 0) as lost_successes,
        coalesce(sum(cost_usd) over after_cap, 0) as saved_usd,
        max(case when is_estimated then 1 else 0 end) over (partition by task_type) = 1 as is_estimated
    from type_iterations
    window after_cap as (
        partition by task_type order by iteration
        rows between 1 following and unbounded following
    )
)

select
    task_type,
    iteration_cap,
    window_start_date,
    window_end_date,
    cast(tasks as bigint) as tasks,
    cast(capped_tasks as bigint) as capped_tasks,
    cast(successes as bigint) as successes,
    cast(lost_successes as bigint) as lost_successes,
    {{ safe_divide('lost_successes', 'successes') }} as lost_success_ratio,
    cast(actual_cost_usd as decimal(38, 12)) as actual_cost_usd,
    cast(actual_cost_usd - saved_usd as decimal(38, 12)) as capped_cost_usd,
    cast(saved_usd as decimal(38, 12)) as saved_usd,
    {{ safe_divide('saved_usd', 'actual_cost_usd') }} as saved_ratio,
    {{ unit_cost('saved_usd', 'lost_successes') }} as cost_per_lost_success_usd,
    is_estimated
from capped
where iteration_cap < 50 or iteration_cap = most_iterations
