{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with attempts as (
    select * from {{ ref('int_call_attempts') }}
    where duplicate_of_source is null and {{ near_touched_dates('usage_date', var('max_task_days')) }}
),

-- a task's other attempts decide what became of each: those of untouched dates are read as neighbours
in_scope as (
    select
        source,
        call_id,
        attempt_number,
        usage_date,
        task_id,
        step_name,
        step_index,
        started_at,
        status,
        retry_reason,
        input_tokens,
        batch_id,
        task_id is not null and step_index is not null as has_step_index
    from attempts
    {% if is_incremental() %}
    where
        {{ in_touched_dates('usage_date') }}
        or task_id in (
            select touched.task_id from attempts as touched
            where touched.task_id is not null and {{ in_touched_dates('touched.usage_date') }}
        )
    {% endif %}
),

-- the grain changes: one row per call, with the label of its first attempt
calls as (
    select
        source,
        call_id,
        task_id,
        coalesce(step_name, '') as step_name,
        min(started_at) as first_started_at,
        min_by(retry_reason, attempt_number) as first_retry_reason,
        min(attempt_number) as first_attempt_number
    from in_scope
    where not has_step_index
    group by source, call_id, task_id, coalesce(step_name, '')
),

-- an application that labels a new call as a retry, by its reason or its number, asks again for the step before it:
-- both are one step
numbered_calls as (
    select
        source,
        call_id,
        task_id,
        step_name,
        sum(case when first_retry_reason is null and first_attempt_number = 1 then 1 else 0 end) over (
            partition by task_id, step_name
            order by first_started_at, source, call_id
            rows between unbounded preceding and current row
        ) as step_number
    from calls
    where task_id is not null
),

-- the grain changes back: one row per attempt, with the key of its step
stepped as (
    select
        in_scope.*,
        case
            when in_scope.has_step_index
                then concat('index:', coalesce(in_scope.step_name, ''), ':', cast(in_scope.step_index as string))
            when numbered_calls.step_number is not null
                then concat('number:', numbered_calls.step_name, ':', cast(numbered_calls.step_number as string))
            else concat('call:', in_scope.source, ':', in_scope.call_id)
        end as step_key,
        coalesce(in_scope.task_id, '') as task_key
    from in_scope
    left join numbered_calls
        on
            not in_scope.has_step_index
            and in_scope.source = numbered_calls.source
            and in_scope.call_id = numbered_calls.call_id
            and in_scope.task_id = numbered_calls.task_id
            and coalesce(in_scope.step_name, '') = numbered_calls.step_name
),

-- an attempt is rejected when the next attempt of its step says so, whatever the gateway logged
judged as (
    select
        *,
        lead(retry_reason) over step_order as rejection_reason,
        row_number() over step_order as step_attempt_number,
        count(*) over (partition by task_key, step_key) as step_attempt_count,
        -- a first attempt that read nothing says nothing of what the next one sent again
        first_value(nullif(input_tokens, 0)) over step_order as first_input_tokens,
        -- what an attempt without usage most likely read: the input of the next attempt that says, else of the last one
        coalesce(
            {{ first_known('nullif(input_tokens, 0)') }} over (
                partition by task_key, step_key
                order by started_at, attempt_number, call_id, source
                rows between 1 following and unbounded following
            ),
            {{ last_known('nullif(input_tokens, 0)') }} over (
                partition by task_key, step_key
                order by started_at, attempt_number, call_id, source
                rows between unbounded preceding and 1 preceding
            )
        ) as neighbour_input_tokens
    from stepped
    window step_order as (partition by task_key, step_key order by started_at, attempt_number, call_id, source)
),

statuses as (
    select
        *,
        case
            when status = 'success' and rejection_reason is not null then 'rejected'
            else status
        end as final_status
    from judged
),

outcomes as (
    select
        *,
        max(case when final_status = 'success' then step_attempt_number end) over (
            partition by task_key, step_key
        ) as successful_attempt_number
    from statuses
)

select
    source,
    call_id,
    attempt_number,
    usage_date,
    batch_id,
    step_key,
    final_status as status,
    rejection_reason,
    step_attempt_number,
    first_input_tokens,
    neighbour_input_tokens,
    step_attempt_number = step_attempt_count as is_final_attempt,
    successful_attempt_number is not null as is_step_successful,
    case
        when final_status = 'success' and step_attempt_number = successful_attempt_number then 'final_success'
        when final_status = 'success' then 'superseded'
        else 'failed'
    end as step_role
from outcomes
where {{ in_touched_dates('usage_date') }}
