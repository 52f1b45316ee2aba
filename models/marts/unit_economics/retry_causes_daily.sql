{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with failed_attempts as (
    select
        *,
        coalesce(model, '__unknown__') as model_name
    from {{ ref('fct_call_attempts') }}
    where failure_cause is not null and {{ in_touched_dates('usage_date') }}
)

-- the grain changes: from one row per failed attempt to one row per day, team, task type, model and cause
select
    usage_date,
    team,
    task_type,
    model_name as model,
    failure_cause as cause,
    -- rounded weights of a sampled log add up only if the whole is the sum of its parts
    {{ count_rows("attempt_role = 'recovered'") }}
    + {{ count_rows("attempt_role = 'abandoned'") }}
    + {{ count_rows("attempt_role = 'unresolved'") }} as failed_attempts,
    {{ count_rows("attempt_role = 'recovered'") }} as recovered_attempts,
    {{ count_rows("attempt_role = 'abandoned'") }} as abandoned_attempts,
    {{ count_rows("attempt_role = 'unresolved'") }} as unresolved_attempts,
    {{ count_rows('cost_usd is null') }} as unpriced_attempts,
    {{ sum_money('cost_usd') }} as failed_cost_usd,
    {{ sum_money('cost_usd', "attempt_role = 'recovered'") }} as recovered_cost_usd,
    {{ sum_money('cost_usd', "attempt_role = 'abandoned'") }} as abandoned_cost_usd,
    {{ sum_money('cost_usd', "attempt_role = 'unresolved'") }} as unresolved_cost_usd
from failed_attempts
group by usage_date, team, task_type, model_name, failure_cause
