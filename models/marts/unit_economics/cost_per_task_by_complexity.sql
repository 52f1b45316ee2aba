{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'started_date'}) }}

with tasks as (
    select
        *,
        coalesce(complexity, '__unlabelled__') as complexity_label
    from {{ ref('fct_tasks') }}
    where {{ in_touched_dates('started_date') }}
),

task_parts as (
    select * from {{ ref('int_task_cost_parts') }}
    where task_id is not null and {{ in_touched_dates('started_date') }}
),

-- the grain changes: from one row per task to one row per day, team, task type and complexity
days as (
    select
        tasks.started_date,
        tasks.team,
        tasks.task_type,
        tasks.complexity_label as complexity,
        {{ count_rows("tasks.outcome = 'success'", 'tasks.sample_weight') }} as successful_tasks,
        {{ count_rows("tasks.outcome != 'success'", 'tasks.sample_weight') }} as other_tasks,
        {{ count_rows('tasks.is_fully_priced', 'tasks.sample_weight') }} as fully_priced_tasks,
        {{ count_rows('tasks.loop_iterations is not null', 'tasks.sample_weight') }} as looped_tasks,
        {{ sum_money('tasks.cost_usd', weight='tasks.sample_weight') }} as cost_usd,
        {{ sum_money('tasks.cost_usd', 'tasks.is_fully_priced', 'tasks.sample_weight') }} as fully_priced_cost_usd,
        {{ sum_money('tasks.cost_usd', "tasks.outcome != 'unknown'", 'tasks.sample_weight') }}
            as known_outcome_cost_usd,
        {{ sum_money('tasks.failed_attempt_cost_usd', 'tasks.failed_attempt_count > 0', 'tasks.sample_weight') }}
            as failed_attempt_cost_usd,
        {{ sum_money('task_parts.token_cost_usd', weight='tasks.sample_weight') }} as token_cost_usd,
        {{ sum_units('task_parts.priced_tokens', weight='tasks.sample_weight') }} as priced_tokens,
        {{ sum_units('tasks.call_count', weight='tasks.sample_weight') }} as call_count,
        {{ sum_units('tasks.attempt_count', weight='tasks.sample_weight') }} as attempt_count,
        {{ sum_units('tasks.loop_iterations', weight='tasks.sample_weight') }} as loop_iterations,
        {{ sum_units('task_parts.input_tokens', weight='tasks.sample_weight') }} as input_tokens,
        {{ sum_units('task_parts.output_tokens', weight='tasks.sample_weight') }} as output_tokens,
        max(tasks.sample_weight) != 1 as is_estimated
    from tasks
    left join task_parts
        on
            tasks.task_id = task_parts.task_id
            and tasks.started_date = task_parts.started_date
    group by tasks.started_date, tasks.team, tasks.task_type, tasks.complexity_label
)

select
    started_date,
    team,
    task_type,
    complexity,
    -- rounded weights of a sampled log add up only if the whole is the sum of its parts
    successful_tasks + other_tasks as tasks,
    successful_tasks,
    fully_priced_tasks,
    cost_usd,
    fully_priced_cost_usd,
    {{ unit_cost('fully_priced_cost_usd', 'fully_priced_tasks') }} as cost_per_task_usd,
    known_outcome_cost_usd,
    {{ unit_cost('known_outcome_cost_usd', 'successful_tasks') }} as cost_per_successful_task_usd,
    token_cost_usd,
    priced_tokens,
    cast(1000000 * {{ safe_divide('token_cost_usd', 'priced_tokens') }} as decimal(38, 12))
        as cost_per_million_tokens_usd,
    call_count,
    attempt_count,
    looped_tasks,
    loop_iterations,
    {{ safe_divide('loop_iterations', 'looped_tasks') }} as iterations_per_task,
    input_tokens,
    output_tokens,
    failed_attempt_cost_usd,
    is_estimated
from days
