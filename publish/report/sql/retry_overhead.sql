{%- from 'money.sql' import rates, at_rate, money, in_month with context -%}
with {{ rates() -}}
days as (
    select
        daily.attempts,
        daily.failed_attempts,
        {{ money('daily.failed_cost_usd') }} as failed_cost,
        {{ money('daily.superseded_cost_usd') }} as superseded_cost,
        {{ money('daily.total_cost_usd') }} as total_cost
    from {{ mart('unit_economics.retry_overhead_daily') }} as daily {{ at_rate('daily.usage_date') }}
    where {{ in_month('daily.usage_date') }}
)

select
    sum(attempts) as attempts,
    sum(failed_attempts) as failed_attempts,
    sum(failed_cost) as failed_cost,
    sum(superseded_cost) as superseded_cost,
    sum(total_cost) as total_cost,
    sum(failed_cost) / nullif(sum(total_cost), 0) as failed_ratio
from days
having count(*) > 0
