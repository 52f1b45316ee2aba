{%- from 'money.sql' import rates, at_rate, money, in_month with context -%}
with {{ rates() -}}
hours as (
    select hourly.usage_date, {{ money('hourly.effective_cost_usd') }} as effective_cost
    from {{ mart('core.fct_gpu_hours') }} as hourly {{ at_rate('hourly.usage_date') }}
    where {{ in_month('hourly.usage_date') }} and hourly.is_provisional
)

select
    count(distinct usage_date) as days,
    min(usage_date) as first_date,
    max(usage_date) as last_date,
    sum(effective_cost) as effective_cost
from hours
having count(*) > 0
