{#- Dollars of days without a rate: they are in no figure of another currency. -#}
{{- one_of('core.fct_gpu_hours', 'core.fct_call_attempts', 'core.fct_bill_lines') -}}
with dollars as (
    {%- set union = joiner('\n    union all') %}
    {%- if has('core.fct_bill_lines') %}{{ union() }}
    select
        usage_date,
        cast(date_trunc('month', billing_period_start) as date) as bill_month,
        'lines of bills' as what,
        billed_cost_usd as amount_usd
    from {{ mart('core.fct_bill_lines') }}
    {%- endif %}
    {%- if has('core.fct_call_attempts') %}{{ union() }}
    select
        usage_date,
        cast(date_trunc('month', usage_date) as date) as bill_month,
        'metered calls' as what,
        cast(cost_usd as decimal(24, 12)) * cast(sample_weight as decimal(14, 6)) as amount_usd
    from {{ mart('core.fct_call_attempts') }}
    where cost_basis = 'metered'
    {%- endif %}
    {%- if has('core.fct_gpu_hours') %}{{ union() }}
    select
        usage_date,
        cast(date_trunc('month', usage_date) as date) as bill_month,
        'GPU time' as what,
        effective_cost_usd + unused_commitment_usd as amount_usd
    from {{ mart('core.fct_gpu_hours') }}
    {%- endif %}
)

select
    what,
    count(distinct usage_date) as days,
    min(usage_date) as first_date,
    max(usage_date) as last_date,
    sum(amount_usd) as amount_usd,
    list(distinct bill_month) as bill_months
from dollars
where
    amount_usd != 0
    and usage_date between date '{{ trend_date }}' and date '{{ last_date }}'
    and usage_date not in (
        select rate_day from {{ mart('core.dim_fx_rates') }}
        where currency = '{{ currency }}' and usd_per_unit is not null
    )
group by what
order by what
