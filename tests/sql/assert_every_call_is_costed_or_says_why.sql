-- No call is lost between staging and the fact, and each has a cost or the reason why not, never both; of a call that
-- several sources have seen one keeps the cost.
with calls as (
    select
        usage_date,
        count(*) as call_rows
    from {{ ref('stg_llm_calls') }}
    where {{ in_tested_dates('usage_date', of_lake=true) }}
    group by usage_date
),

attempts as (
    select
        usage_date,
        count(*) as attempt_rows,
        count(
            case
                when (cost_usd is null) = (cost_basis in ('metered', 'allocated')) then 1
                when (cost_basis = 'unpriced') != (unpriced_reason is not null) then 1
                when (cost_basis = 'duplicate') != (duplicate_of_source is not null) then 1
            end
        ) as contradictions
    from {{ ref('fct_call_attempts') }}
    where {{ in_tested_dates('usage_date', of_lake=true) }}
    group by usage_date
)

select
    coalesce(calls.usage_date, attempts.usage_date) as usage_date,
    calls.call_rows,
    attempts.attempt_rows,
    attempts.contradictions
from calls
full outer join attempts on calls.usage_date = attempts.usage_date
where calls.call_rows is distinct from attempts.attempt_rows or attempts.contradictions > 0
