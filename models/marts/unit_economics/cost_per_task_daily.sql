{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'started_date'}) }}

with tasks as (
    select * from {{ ref('fct_tasks') }}
    where {{ in_touched_dates('started_date') }}
),

attempts as (
    select * from {{ ref('fct_call_attempts') }}
    where task_id is null and duplicate_of_source is null and {{ in_touched_dates('usage_date') }}
),

judged as (
    select
        *,
        is_fully_priced and headline_cost_usd is not null as has_headline,
        is_fully_priced and task_id_origin = 'task' as is_in_percentiles
    from tasks
),

-- the grain changes: from one row per task to one row per day, team and task type
days as (
    select
        started_date,
        team,
        task_type,
        {{ count_rows("outcome = 'success'") }} as successful_tasks,
        {{ count_rows("outcome = 'failure'") }} as failed_tasks,
        {{ count_rows("outcome = 'escalated'") }} as escalated_tasks,
        {{ count_rows("outcome = 'unknown'") }} as unknown_outcome_tasks,
        {{ count_rows('is_fully_priced') }} as fully_priced_tasks,
        {{ count_rows('energy_kwh is not null') }} as tasks_with_energy,
        {{ count_rows('is_provisional') }} as provisional_tasks,
        {{ sum_money('cost_usd') }} as cost_usd,
        {{ sum_money('fully_loaded_cost_usd') }} as fully_loaded_cost_usd,
        {{ sum_money('cost_usd', 'is_fully_priced') }} as fully_priced_cost_usd,
        {{ sum_money('fully_loaded_cost_usd', 'is_fully_priced') }} as fully_priced_loaded_cost_usd,
        {{ sum_money('cost_usd', "outcome != 'unknown'") }} as known_outcome_cost_usd,
        {{ sum_money('failed_attempt_cost_usd', 'failed_attempt_count > 0') }} as failed_attempt_cost_usd,
        sum({{ weigh_money('energy_kwh', 'sample_weight') }}) as energy_kwh,
        {{ sum_money('headline_cost_usd', 'has_headline') }} as headline_cost_usd,
        {{ sum_money('cost_usd', 'has_headline') }} as headline_task_cost_usd,
        percentile_cont(0.5) within group (
            order by case when is_in_percentiles then cast(cost_usd as double) end
        ) as p50_task_cost_usd,
        percentile_cont(0.9) within group (
            order by case when is_in_percentiles then cast(cost_usd as double) end
        ) as p90_task_cost_usd,
        percentile_cont(0.99) within group (
            order by case when is_in_percentiles then cast(cost_usd as double) end
        ) as p99_task_cost_usd,
        max(sample_weight) != 1 as is_estimated
    from judged
    group by started_date, team, task_type
),

-- calls without any id make no task: one row per day and team keeps their cost
untagged as (
    select
        usage_date as started_date,
        team,
        {{ sum_money('cost_usd') }} as cost_usd,
        {{ sum_money('fully_loaded_cost_usd') }} as fully_loaded_cost_usd,
        sum({{ weigh_money('energy_kwh', 'sample_weight') }}) as energy_kwh,
        max(sample_weight) != 1 as is_estimated
    from attempts
    group by usage_date, team
),

-- a day's tasks of unknown type may stand beside its untagged calls: both are one row
combined as (
    select
        coalesce(days.started_date, untagged.started_date) as started_date,
        coalesce(days.team, untagged.team) as team,
        coalesce(days.task_type, '__untagged__') as task_type,
        -- rounded weights of a sampled log add up only if the whole is the sum of its parts
        coalesce(
            days.successful_tasks + days.failed_tasks + days.escalated_tasks + days.unknown_outcome_tasks, 0
        ) as tasks,
        coalesce(days.successful_tasks, 0) as successful_tasks,
        coalesce(days.failed_tasks, 0) as failed_tasks,
        coalesce(days.escalated_tasks, 0) as escalated_tasks,
        coalesce(days.unknown_outcome_tasks, 0) as unknown_outcome_tasks,
        coalesce(days.fully_priced_tasks, 0) as fully_priced_tasks,
        coalesce(days.tasks_with_energy, 0) as tasks_with_energy,
        coalesce(days.provisional_tasks, 0) as provisional_tasks,
        {{ sum_reported(['days.cost_usd', 'untagged.cost_usd']) }} as cost_usd,
        {{ sum_reported(['days.fully_loaded_cost_usd', 'untagged.fully_loaded_cost_usd']) }}
            as fully_loaded_cost_usd,
        coalesce(untagged.cost_usd, 0) as untagged_call_cost_usd,
        {{ sum_reported(['days.energy_kwh', 'untagged.energy_kwh']) }} as energy_kwh,
        days.energy_kwh as task_energy_kwh,
        days.fully_priced_cost_usd,
        days.fully_priced_loaded_cost_usd,
        days.known_outcome_cost_usd,
        days.cost_usd as task_cost_usd,
        days.failed_attempt_cost_usd,
        days.headline_cost_usd,
        days.headline_task_cost_usd,
        days.p50_task_cost_usd,
        days.p90_task_cost_usd,
        days.p99_task_cost_usd,
        coalesce(days.is_estimated, false) or coalesce(untagged.is_estimated, false) as is_estimated
    from days
    full outer join untagged
        on
            days.started_date = untagged.started_date
            and days.team = untagged.team
            and days.task_type = '__untagged__'
)

select
    started_date,
    team,
    task_type,
    tasks,
    successful_tasks,
    failed_tasks,
    escalated_tasks,
    unknown_outcome_tasks,
    fully_priced_tasks,
    cast(cost_usd as decimal(38, 12)) as cost_usd,
    cast(fully_loaded_cost_usd as decimal(38, 12)) as fully_loaded_cost_usd,
    cast(untagged_call_cost_usd as decimal(38, 12)) as untagged_call_cost_usd,
    fully_priced_cost_usd,
    {{ unit_cost('fully_priced_cost_usd', 'fully_priced_tasks') }} as cost_per_task_usd,
    known_outcome_cost_usd,
    {{ unit_cost('known_outcome_cost_usd', 'successful_tasks') }} as cost_per_successful_task_usd,
    {{ unit_cost('task_cost_usd', 'successful_tasks') }} as cost_per_successful_task_bound_usd,
    {{ unit_cost('fully_priced_loaded_cost_usd', 'fully_priced_tasks') }} as fully_loaded_cost_per_task_usd,
    {{ round_money('p50_task_cost_usd') }} as p50_task_cost_usd,
    {{ round_money('p90_task_cost_usd') }} as p90_task_cost_usd,
    {{ round_money('p99_task_cost_usd') }} as p99_task_cost_usd,
    failed_attempt_cost_usd,
    headline_cost_usd,
    headline_task_cost_usd,
    {{ safe_divide('headline_task_cost_usd', 'headline_cost_usd') }} as cost_multiple,
    cast(energy_kwh as decimal(38, 12)) as energy_kwh,
    tasks_with_energy,
    cast(task_energy_kwh as decimal(38, 12)) as task_energy_kwh,
    {{ safe_divide('task_energy_kwh', 'tasks_with_energy') }} as kwh_per_task,
    provisional_tasks > 0 as is_provisional,
    is_estimated
from combined
