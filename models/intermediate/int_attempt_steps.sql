{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with attempts as (
    select * from {{ ref('int_attempt_outlines') }}
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
        error_type,
        retry_reason,
        input_tokens,
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
        {{ first_said('retry_reason', 'attempt_number') }} as first_retry_reason,
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
                then 'index:' || coalesce(in_scope.step_name, '') || ':' || cast(in_scope.step_index as string)
            when numbered_calls.step_number is not null
                then 'number:' || numbered_calls.step_name || ':' || cast(numbered_calls.step_number as string)
            else 'call:' || in_scope.source || ':' || in_scope.call_id
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

-- most steps have one attempt, which has nothing to be compared with
repeated_steps as (
    select
        task_key,
        step_key
    from stepped
    group by task_key, step_key
    having count(*) > 1
),

compared as (
    select stepped.*
    from stepped
    inner join repeated_steps
        on stepped.task_key = repeated_steps.task_key and stepped.step_key = repeated_steps.step_key
),

-- an attempt is rejected when the next attempt of its step says so, whatever the gateway logged
judged as (
    select
        *,
        lead(retry_reason) over step_order as rejection_reason,
        cast(row_number() over step_order as bigint) as step_attempt_number,
        lead(started_at) over step_order is null as is_final_attempt,
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
    from compared
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
        source,
        call_id,
        attempt_number,
        usage_date,
        step_key,
        status,
        error_type,
        rejection_reason,
        step_attempt_number,
        is_final_attempt,
        first_input_tokens,
        neighbour_input_tokens,
        final_status,
        max(case when final_status = 'success' then step_attempt_number end) over (
            partition by task_key, step_key
        ) as successful_attempt_number
    from statuses
    union all
    select
        stepped.source,
        stepped.call_id,
        stepped.attempt_number,
        stepped.usage_date,
        stepped.step_key,
        stepped.status,
        stepped.error_type,
        cast(null as string) as rejection_reason,
        cast(1 as bigint) as step_attempt_number,
        true as is_final_attempt,
        nullif(stepped.input_tokens, 0) as first_input_tokens,
        cast(null as decimal(18, 0)) as neighbour_input_tokens,
        stepped.status as final_status,
        case when stepped.status = 'success' then cast(1 as bigint) end as successful_attempt_number
    from stepped
    left join repeated_steps
        on stepped.task_key = repeated_steps.task_key and stepped.step_key = repeated_steps.step_key
    where repeated_steps.step_key is null
)

select
    source,
    call_id,
    attempt_number,
    usage_date,
    step_key,
    final_status as status,
    rejection_reason,
    -- why it failed: its own error, unless the gateway logged a success that the next attempt took back
    case
        when final_status != 'success' and status = 'success' then rejection_reason
        when final_status != 'success' then coalesce(error_type, rejection_reason)
    end as failure_text,
    step_attempt_number,
    first_input_tokens,
    neighbour_input_tokens,
    is_final_attempt,
    successful_attempt_number is not null as is_step_successful,
    case
        when final_status = 'success' and step_attempt_number = successful_attempt_number then 'final_success'
        when final_status = 'success' then 'superseded'
        else 'failed'
    end as step_role
from outcomes
where {{ in_touched_dates('usage_date') }}
