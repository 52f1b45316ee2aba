{#- What is in no total because nobody knows its dollars, by month: in its own currency where it has one, else counted.
Tokens on a bill count only where no log has them. -#}
{%- from 'unlogged.sql' import unlogged_tokens with context -%}
{{- one_of('core.fct_gpu_hours', 'core.fct_call_attempts', 'core.fct_bill_lines') -}}
with {{ unlogged_tokens() -}}
missing as (
    {%- set union = joiner('\n    union all') %}
    {%- if has('core.fct_bill_lines') %}{{ union() }}
    select
        'bill_lines' as what,
        cast(date_trunc('month', billing_period_start) as date) as bill_month,
        billing_currency,
        1 as item_count,
        billed_cost as amount
    from {{ mart('core.fct_bill_lines') }}
    where
        billed_cost_usd is null
        and (
            line_kind != 'model_charges'
            {%- if has('quality.bill_reconciliation_daily') %}
            or usage_date in (select usage_date from unlogged_tokens where unconverted_lines > 0)
            {%- endif %}
        )
    {%- endif %}
    {%- if has('core.fct_gpu_hours') %}{{ union() }}
    select
        case when is_provisional then 'gpu_estimates' else 'gpu_hours' end as what,
        cast(date_trunc('month', usage_date) as date) as bill_month,
        null as billing_currency,
        1 as item_count,
        null as amount
    from {{ mart('core.fct_gpu_hours') }}
    where effective_cost_usd is null and billed_seconds > 0
    {%- endif %}
    {%- if has('core.fct_call_attempts') %}{{ union() }}
    -- a tool that has no price counts as one without a charge; the rest of what is left out has its dollars in GPU time
    select
        'calls' as what,
        cast(date_trunc('month', usage_date) as date) as bill_month,
        null as billing_currency,
        sample_weight as item_count,
        null as amount
    from {{ mart('core.fct_call_attempts') }}
    where
        cost_basis = 'unpriced'
        and coalesce(unpriced_reason, '') not in ('no_price_for_tool', 'no_exchange_rate', 'weight_missing')
    {%- endif %}
)

select
    bill_month,
    what,
    billing_currency,
    cast(sum(item_count) as decimal(38, 6)) as item_count,
    sum(amount) as amount
from missing
where bill_month between date '{{ trend_date }}' and date '{{ first_date }}'
group by bill_month, what, billing_currency
order by
    bill_month, list_position(['bill_lines', 'gpu_hours', 'gpu_estimates', 'calls'], what), billing_currency nulls last
