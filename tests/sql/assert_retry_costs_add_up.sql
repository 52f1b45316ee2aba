-- Retry overhead holds every attempt of a day, and the causes hold every failed one.
with attempts as (
    select
        usage_date,
        {{ count_rows() }} as attempts,
        -- counts of a log sampled at a fraction are rounded in each row of a mart
        max(case when sample_weight != round(sample_weight) then 1 else 0 end) as has_fractions,
        {{ sum_money('cost_usd') }} as total_cost_usd
    from {{ ref('fct_call_attempts') }}
    where duplicate_of_source is null and {{ in_tested_dates('usage_date') }}
    group by usage_date
),

overhead as (
    select
        usage_date,
        sum(attempts) as attempts,
        sum(failed_attempts) as failed_attempts,
        sum(total_cost_usd) as total_cost_usd,
        sum(failed_cost_usd) as failed_cost_usd
    from {{ ref('retry_overhead_daily') }}
    where {{ in_tested_dates('usage_date') }}
    group by usage_date
),

causes as (
    select
        usage_date,
        sum(failed_attempts) as failed_attempts,
        sum(failed_cost_usd) as failed_cost_usd
    from {{ ref('retry_causes_daily') }}
    where {{ in_tested_dates('usage_date') }}
    group by usage_date
)

select
    coalesce(attempts.usage_date, overhead.usage_date) as usage_date,
    attempts.total_cost_usd as expected_cost_usd,
    overhead.total_cost_usd,
    overhead.failed_cost_usd,
    causes.failed_cost_usd as failed_cost_by_cause_usd
from attempts
full outer join overhead on attempts.usage_date = overhead.usage_date
left join causes on overhead.usage_date = causes.usage_date
where
    (attempts.has_fractions = 0 and attempts.attempts is distinct from overhead.attempts)
    or coalesce(attempts.total_cost_usd, 0) != coalesce(overhead.total_cost_usd, 0)
    or (attempts.has_fractions = 0 and overhead.failed_attempts != coalesce(causes.failed_attempts, 0))
    or coalesce(overhead.failed_cost_usd, 0) != coalesce(causes.failed_cost_usd, 0)
