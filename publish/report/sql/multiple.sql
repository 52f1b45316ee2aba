{%- from 'money.sql' import rates, at_rate, money, in_month with context -%}
with {{ rates() -}}
days as (
    select
        {{ money('daily.headline_cost_usd') }} as headline_cost,
        {{ money('daily.headline_task_cost_usd') }} as headline_task_cost
    from {{ mart('unit_economics.cost_per_task_daily') }} as daily {{ at_rate('daily.started_date') }}
    where {{ in_month('daily.started_date') }}
)

select
    sum(headline_cost) as headline_cost,
    sum(headline_task_cost) as headline_task_cost,
    sum(headline_task_cost) / nullif(sum(headline_cost), 0) as cost_multiple
from days
having sum(headline_cost) > 0
