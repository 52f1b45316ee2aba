{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with attempts as (
    select
        *,
        coalesce(model, '__unknown__') as model_name,
        attempt_role in ('recovered', 'abandoned', 'unresolved') as is_failed
    from {{ ref('fct_call_attempts') }}
    where {{ in_touched_dates('usage_date') }}
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
    failed_cost_usd,
    recovered_cost_usd,
    abandoned_cost_usd,
    unresolved_cost_usd,
    superseded_cost_usd,
    final_success_cost_usd,
    total_cost_usd,
    {{ safe_divide('failed_cost_usd', 'final_success_cost_usd') }} as overhead_ratio,
    {{ safe_divide('total_cost_usd', 'final_success_cost_usd') }} as amplification_ratio
from days
