{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with attempts as (
    select
        *,
        coalesce(model, '__unknown__') as model_name,
        attempt_role in ('recovered', 'abandoned', 'unresolved') as is_failed,
        -- a tool that is no model has no tokens to report
        call_kind not in ('tool', 'retrieval', 'guardrail') or model is not null as has_usage,
        coalesce(step_attempt_number > 1, false) as is_replay,
        -- an attempt that failed with 0 tokens sent its context all the same: growth beyond it is not known
        case
            when input_tokens > 0 and context_growth_tokens < input_tokens then context_growth_tokens
        end as known_growth_tokens,
        fresh_input_cost_usd + cache_read_cost_usd + cache_write_cost_usd as input_cost_usd
    from {{ ref('fct_call_attempts') }}
    where duplicate_of_source is null and {{ in_touched_dates('usage_date') }}
),

-- the grain changes: from one row per attempt to one row per day, team, task type and model
days as (
    select
        usage_date,
        team,
        task_type,
        model_name as model,
        {{ count_rows() }} as attempts,
        {{ count_rows('is_failed') }} as failed_attempts,
        {{ count_rows('cost_usd is null') }} as unpriced_attempts,
        {{ count_rows(
            'is_failed and has_usage and coalesce(input_tokens, 0) + coalesce(output_tokens, 0) = 0'
        ) }} as unreported_attempts,
        {{ sum_units('input_tokens', 'is_replay') }} as replayed_input_tokens,
        {{ sum_units('known_growth_tokens', 'is_replay') }} as context_growth_tokens,
        {{ sum_money('input_cost_usd', 'is_replay') }} as replayed_input_cost_usd,
        {{ sum_money('estimated_input_cost_usd', 'estimated_input_tokens is not null') }} as estimated_input_cost_usd,
        {{ sum_money('cost_usd', 'is_failed') }} as failed_cost_usd,
        {{ sum_money('cost_usd', "attempt_role = 'recovered'") }} as recovered_cost_usd,
        {{ sum_money('cost_usd', "attempt_role = 'abandoned'") }} as abandoned_cost_usd,
        {{ sum_money('cost_usd', "attempt_role = 'unresolved'") }} as unresolved_cost_usd,
        {{ sum_money('cost_usd', "attempt_role = 'superseded'") }} as superseded_cost_usd,
        {{ sum_money('cost_usd', "attempt_role = 'final_success'") }} as final_success_cost_usd,
        {{ sum_money('cost_usd') }} as total_cost_usd
    from attempts
    group by usage_date, team, task_type, model_name
)

select
    usage_date,
    team,
    task_type,
    model,
    attempts,
    failed_attempts,
    unpriced_attempts,
    unreported_attempts,
    failed_cost_usd,
    recovered_cost_usd,
    abandoned_cost_usd,
    unresolved_cost_usd,
    superseded_cost_usd,
    final_success_cost_usd,
    total_cost_usd,
    replayed_input_tokens,
    context_growth_tokens,
    replayed_input_cost_usd,
    estimated_input_cost_usd,
    {{ safe_divide('failed_cost_usd', 'final_success_cost_usd') }} as overhead_ratio,
    {{ safe_divide('total_cost_usd', 'final_success_cost_usd') }} as amplification_ratio
from days
