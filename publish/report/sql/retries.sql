{%- from 'money.sql' import rates, at_rate, money, in_month with context -%}
with {{ rates() -}}
causes as (
    select
        daily.cause,
        daily.failed_attempts,
        {{ money('daily.failed_cost_usd') }} as failed_cost,
        {{ money('daily.recovered_cost_usd') }} as recovered_cost,
        {{ money('daily.abandoned_cost_usd') }} as abandoned_cost,
        {{ money('daily.unresolved_cost_usd') }} as unresolved_cost
    from {{ mart('unit_economics.retry_causes_daily') }} as daily {{ at_rate('daily.usage_date') }}
    where {{ in_month('daily.usage_date') }}
)

select
    cause,
    sum(failed_attempts) as failed_attempts,
    sum(failed_cost) as failed_cost,
    sum(recovered_cost) as recovered_cost,
    sum(abandoned_cost) as abandoned_cost,
    sum(unresolved_cost) as unresolved_cost
from causes
group by cause
having sum(failed_attempts) > 0
order by failed_cost desc nulls last, failed_attempts desc, cause
