-- Every line of GPU usage or unused commitment is spread over hours without losing a microsecond or 1e-12 USD.
with lines as (
    select
        source,
        line_id,
        coalesce(gpu_seconds, 0) as gpu_seconds,
        coalesce(billed_cost_usd, 0) as billed_cost_usd,
        {%- for cost in ['list_cost', 'contracted_cost'] %}
        coalesce(
            case when billing_currency = 'USD' then {{ cost }} else {{ convert_money(cost, 'usd_per_unit') }} end, 0
        ) as {{ cost }}_usd,
        {%- endfor %}
        coalesce(
            case
                when line_kind = 'gpu_usage' then {{ share_of_gpus('effective_cost_usd') }}
                else effective_cost_usd
            end,
            0
        ) as effective_cost_usd
    from {{ ref('int_bill_lines') }}
    where line_kind in ('gpu_usage', 'unused_commitment') and {{ in_tested_dates('usage_date') }}
),

hours as (
    select
        source,
        line_id,
        {{ to_seconds('sum(billed_microseconds)') }} as gpu_seconds,
        coalesce(sum(billed_cost_usd), 0) as billed_cost_usd,
        coalesce(sum(effective_cost_usd), 0) as effective_cost_usd,
        coalesce(sum(list_cost_usd), 0) as list_cost_usd,
        coalesce(sum(contracted_cost_usd), 0) as contracted_cost_usd
    from {{ ref('int_gpu_bill_hours') }}
    group by source, line_id
)

select
    lines.source,
    lines.line_id,
    lines.gpu_seconds,
    hours.gpu_seconds as hour_gpu_seconds,
    lines.effective_cost_usd,
    hours.effective_cost_usd as hour_effective_cost_usd
from lines
left join hours on lines.source = hours.source and lines.line_id = hours.line_id
where
    lines.gpu_seconds != coalesce(hours.gpu_seconds, 0)
    or lines.billed_cost_usd != coalesce(hours.billed_cost_usd, 0)
    or lines.effective_cost_usd != coalesce(hours.effective_cost_usd, 0)
    or lines.list_cost_usd != coalesce(hours.list_cost_usd, 0)
    or lines.contracted_cost_usd != coalesce(hours.contracted_cost_usd, 0)
