{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'started_date'}) }}

with tasks as (
    select * from {{ ref('fct_tasks') }}
    where loop_iterations is not null and {{ in_touched_dates('started_date') }}
),

attempts as (
    select * from {{ ref('fct_call_attempts') }}
    where
        task_id is not null
        and duplicate_of_source is null
        and {{ near_touched_dates('usage_date', var('max_task_days')) }}
),

placed as (
    select
        tasks.task_id,
        tasks.started_date,
        attempts.step_name,
        attempts.step_index,
        attempts.step_key,
        attempts.is_final_attempt,
        attempts.started_at,
        attempts.cost_usd
    from attempts
    inner join tasks
        on
            attempts.task_id = tasks.task_id
            and attempts.usage_date between tasks.started_date and tasks.ended_date
),

-- one row per step that has come to its end
steps as (
    select
        task_id,
        started_date,
        step_name,
        step_index,
        step_key,
        min(started_at) as step_started_at
    from placed
    where step_name is not null
    group by task_id, started_date, step_name, step_index, step_key
    having max(case when is_final_attempt then 1 else 0 end) = 1
),

-- the longest loop of a task; of several as long, the one that began first
loops as (
    select
        task_id,
        started_date,
        step_name,
        row_number() over (
            partition by task_id, started_date
            order by count(*) desc, min(step_started_at), step_name nulls last
        ) as loop_rank
    from steps
    group by task_id, started_date, step_name
),

-- each step of the loop begins an iteration, before its own first attempt
events as (
    select
        steps.task_id,
        steps.started_date,
        steps.step_started_at as event_at,
        steps.step_index,
        steps.step_key,
        1 as iteration_count,
        0 as attempt_count,
        cast(null as decimal(38, 12)) as cost_usd
    from steps
    inner join loops
        on
            steps.task_id = loops.task_id
            and steps.started_date = loops.started_date
            and steps.step_name = loops.step_name
    where loops.loop_rank = 1
    union all
    select
        task_id,
        started_date,
        started_at as event_at,
        step_index,
        step_key,
        0 as iteration_count,
        1 as attempt_count,
        cost_usd
    from placed
),

numbered as (
    select
        *,
        sum(iteration_count) over (
            partition by task_id, started_date
            order by event_at asc, step_index asc nulls last, step_key asc, iteration_count desc
            rows between unbounded preceding and current row
        ) as iterations_begun
    from events
)

-- the grain changes: from one row per attempt to one row per task and iteration; what precedes the loop is in its first
select
    task_id,
    started_date,
    cast(greatest(iterations_begun, 1) as bigint) as iteration,
    count(*) as attempt_count,
    cast(sum(cost_usd) as decimal(38, 12)) as cost_usd
from numbered
where attempt_count = 1
group by task_id, started_date, greatest(iterations_begun, 1)
