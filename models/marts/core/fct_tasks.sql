{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'started_date'}) }}

{%- set piece_number -%}
    coalesce(
            floor({{ days_between('long_lived.first_date', 'attempts.usage_date') }} / {{ var('max_task_days') }}), 0
        )
{%- endset %}

with attempts as (
    select * from {{ ref('fct_call_attempts') }}
    where
        task_id is not null
        and duplicate_of_source is null
        and {{ near_touched_dates('usage_date', var('max_task_days')) }}
),

labels as (
    select * from {{ ref('int_task_labels') }}
),

failure_causes as (
    select * from {{ ref('failure_causes') }}
),

-- one row per task and span of its attempts; what lies outside the dates read here is as the last build left it
spans as (
    select
        task_id,
        usage_date as first_date,
        usage_date as last_date
    from {{ ref('fct_call_attempts') }}
    where
        task_id is not null
        and duplicate_of_source is null
        and {{ near_touched_dates('usage_date', var('max_task_days')) }}
    {% if is_incremental() %}
    union all
    select
        task_id,
        started_date as first_date,
        ended_date as last_date
    from {{ this }}
    where not ({{ in_touched_dates('started_date') }})
    {% endif %}
),

-- the few ids that live longer than a task may
long_lived as (
    select
        task_id,
        min(first_date) as first_date,
        max(last_date) as last_date
    from spans
    group by task_id
    having {{ days_between('min(first_date)', 'max(last_date)') }} >= {{ var('max_task_days') }}
),

-- each of them is cut into pieces of that length, counted from its first call
pieces as (
    select
        attempts.*,
        -- a tool that nobody lists a price for costs nothing of its own, a failure that no vendor bills nothing at all
        attempts.cost_usd is null
        and coalesce(attempts.unpriced_reason, '') != 'no_price_for_tool'
        and not (
            coalesce(attempts.unpriced_reason, '') = 'usage_missing' and not coalesce(failure_causes.bills_input, true)
        ) as is_cost_missing,
        {{ piece_number }} as piece_number,
        coalesce(
            floor({{ days_between('long_lived.first_date', 'long_lived.last_date') }} / {{ var('max_task_days') }}), 0
        ) as last_piece_number
    from attempts
    left join long_lived on attempts.task_id = long_lived.task_id
    left join failure_causes on attempts.failure_cause = failure_causes.cause
),

-- one row per step_name of a task; a step's final attempts are the rounds of its loop
loops as (
    select
        attempts.task_id,
        {{ piece_number }} as piece_number,
        sum(case when attempts.is_final_attempt then 1 else 0 end) as iterations
    from {{ ref('fct_call_attempts') }} as attempts
    left join long_lived on attempts.task_id = long_lived.task_id
    where
        attempts.task_id is not null
        and attempts.step_name is not null
        and attempts.duplicate_of_source is null
        and {{ near_touched_dates('attempts.usage_date', var('max_task_days')) }}
    group by attempts.task_id, {{ piece_number }}, attempts.step_name
),

longest_loops as (
    select
        task_id,
        piece_number,
        max(iterations) as loop_iterations
    from loops
    group by task_id, piece_number
),

ordered as (
    select
        *,
        row_number() over (
            partition by task_id, piece_number
            order by started_at, attempt_number, call_id, source
        ) as recency,
        call_kind = 'llm' and status = 'success' as is_model_success
    from pieces
),

-- the grain changes: from one row per attempt to one row per task
tasks as (
    select
        task_id,
        piece_number,
        last_piece_number,
        max(task_id_origin) as task_id_origin,
        {{ oldest('task_type', "task_type != '__untagged__'") }} as task_type,
        {{ oldest('team', "team != '__untagged__'") }} as team,
        {{ oldest('application', 'application is not null') }} as application,
        {{ oldest('customer', 'customer is not null') }} as customer,
        {{ oldest('environment', 'environment is not null') }} as environment,
        min(usage_date) as started_date,
        max(usage_date) as ended_date,
        min(started_at) as started_at,
        max(coalesce(ended_at, started_at)) as ended_at,
        min(first_token_at) as first_token_at,
        count(distinct source || ':' || call_id) as call_count,
        count(*) as attempt_count,
        sum(case when attempt_role in ('recovered', 'abandoned', 'unresolved') then 1 else 0 end)
            as failed_attempt_count,
        sum(case when cost_usd is null then 1 else 0 end) as unpriced_attempt_count,
        sum(case when is_cost_missing then 1 else 0 end) as missing_cost_count,
        sum(tool_call_count) as tool_call_count,
        max(sample_weight) as sample_weight,
        sum(cost_usd) as cost_usd,
        sum(fully_loaded_cost_usd) as fully_loaded_cost_usd,
        sum(energy_kwh) as energy_kwh,
        {{ sum_money('cost_usd', "attempt_role in ('recovered', 'abandoned', 'unresolved')", weight='1') }}
            as failed_attempt_cost_usd,
        bool_or(is_provisional) as is_provisional,
        {{ oldest('quoted_cost_usd', 'is_model_success') }} as headline_cost_usd
    from ordered
    group by task_id, piece_number, last_piece_number
)

select
    tasks.task_id,
    tasks.task_id_origin,
    tasks.started_date,
    tasks.ended_date,
    coalesce(tasks.task_type, '__untagged__') as task_type,
    coalesce(tasks.team, '__untagged__') as team,
    tasks.application,
    tasks.customer,
    tasks.environment,
    -- the outcome of a task that was cut is that of its last piece
    case
        when tasks.piece_number = tasks.last_piece_number then coalesce(labels.outcome, 'unknown')
        else 'unknown'
    end as outcome,
    labels.closed_at,
    labels.complexity,
    labels.quality_score,
    labels.task_value,
    labels.task_value_currency,
    tasks.started_at,
    tasks.ended_at,
    tasks.call_count,
    tasks.attempt_count,
    cast(tasks.failed_attempt_count as bigint) as failed_attempt_count,
    cast(tasks.unpriced_attempt_count as bigint) as unpriced_attempt_count,
    cast(tasks.tool_call_count as bigint) as tool_call_count,
    cast(longest_loops.loop_iterations as bigint) as loop_iterations,
    case
        when tasks.first_token_at >= tasks.started_at
            then {{ seconds_between('tasks.started_at', 'tasks.first_token_at') }}
    end as first_token_seconds,
    {{ seconds_between('tasks.started_at', 'tasks.ended_at') }} as duration_seconds,
    tasks.sample_weight,
    cast(tasks.cost_usd as decimal(38, 12)) as cost_usd,
    cast(tasks.fully_loaded_cost_usd as decimal(38, 12)) as fully_loaded_cost_usd,
    cast(tasks.energy_kwh as decimal(38, 12)) as energy_kwh,
    cast(tasks.failed_attempt_cost_usd as decimal(38, 12)) as failed_attempt_cost_usd,
    cast(tasks.headline_cost_usd as decimal(38, 12)) as headline_cost_usd,
    tasks.missing_cost_count = 0 as is_fully_priced,
    tasks.is_provisional,
    tasks.piece_number > 0 or tasks.last_piece_number > 0 as is_cut
from tasks
left join labels on tasks.task_id = labels.task_id
left join longest_loops
    on
        tasks.task_id = longest_loops.task_id
        and tasks.piece_number = longest_loops.piece_number
where {{ in_touched_dates('tasks.started_date') }}
