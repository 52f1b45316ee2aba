{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

{%- set states = ['active', 'loaded_idle', 'unallocated', 'unknown'] %}
{%- set money_columns = [
    'invoice_usd', 'active_usd', 'loaded_idle_usd', 'unallocated_usd', 'unknown_usd', 'unused_commitment_usd',
    'model_charges_usd', 'other_usd', 'tax_usd', 'credits_usd', 'refunds_usd', 'commitment_timing_usd',
] %}
{%- set place = ['usage_date', 'source', 'billing_account_id', 'billing_period_start', 'billing_currency'] %}

with lines as (
    select * from {{ ref('int_bill_lines') }}
    where {{ in_touched_dates('usage_date') }}
),

-- what is estimated is on no invoice
gpu_hours as (
    select * from {{ ref('int_gpu_hours') }}
    where not is_provisional and {{ in_touched_dates('usage_date') }}
),

-- the grain changes: lines become days of an invoice, on the day on which their charge period starts
line_days as (
    select
        {{ place | join(', ') }},
        count(*) as line_count,
        count(case when billed_cost_usd is null then 1 end) as unconverted_line_count,
        sum(billed_cost) as invoice_amount,
        sum(billed_cost_usd) as invoice_usd,
        sum(case when line_kind = 'model_charges' then effective_cost_usd end) as model_charges_usd,
        -- what a purchase costs beyond the usage that it covers is no GPU's and no model's, nor is what a machine costs
        -- beyond the share of its GPUs
        sum(
            case
                when line_kind in ('other', 'purchase') then effective_cost_usd
                when line_kind = 'gpu_usage'
                    then effective_cost_usd - {{ share_of_gpus('effective_cost_usd') }}
            end
        ) as other_usd,
        sum(case when line_kind = 'tax' then billed_cost_usd end) as tax_usd,
        sum(case when line_kind = 'credit' then billed_cost_usd end) as credits_usd,
        sum(case when line_kind = 'adjustment' then billed_cost_usd end) as refunds_usd,
        sum(
            case
                when is_under_commitment and line_kind not in ('tax', 'credit', 'adjustment')
                    then billed_cost_usd - effective_cost_usd
            end
        ) as commitment_timing_usd
    from lines
    group by {{ place | join(', ') }}
),

-- the GPU's part comes from the GPU-hours, not from the lines: whatever is lost on the way shows as unexplained
gpu_days as (
    select
        {{ place | join(', ') }},
        {%- for state in states %}
        sum({{ state }}_usd) as {{ state }}_usd,
        {%- endfor %}
        sum(unused_commitment_usd) as unused_commitment_usd
    from gpu_hours
    group by {{ place | join(', ') }}
),

days as (
    select
        {{ place | join(', ') }},
        line_count,
        unconverted_line_count,
        invoice_amount,
        invoice_usd,
        {%- for state in states %}
        cast(null as decimal(38, 12)) as {{ state }}_usd,
        {%- endfor %}
        cast(null as decimal(38, 12)) as unused_commitment_usd,
        model_charges_usd,
        other_usd,
        tax_usd,
        credits_usd,
        refunds_usd,
        commitment_timing_usd
    from line_days
    union all
    select
        {{ place | join(', ') }},
        0 as line_count,
        0 as unconverted_line_count,
        cast(null as decimal(38, 12)) as invoice_amount,
        cast(null as decimal(38, 12)) as invoice_usd,
        {%- for state in states %}
        {{ state }}_usd,
        {%- endfor %}
        unused_commitment_usd,
        cast(null as decimal(38, 12)) as model_charges_usd,
        cast(null as decimal(38, 12)) as other_usd,
        cast(null as decimal(38, 12)) as tax_usd,
        cast(null as decimal(38, 12)) as credits_usd,
        cast(null as decimal(38, 12)) as refunds_usd,
        cast(null as decimal(38, 12)) as commitment_timing_usd
    from gpu_days
)

select
    {{ place | join(',\n    ') }},
    cast(sum(line_count) as bigint) as line_count,
    cast(sum(unconverted_line_count) as bigint) as unconverted_line_count,
    cast(coalesce(sum(invoice_amount), 0) as decimal(38, 12)) as invoice_amount
    {%- for money in money_columns %},
    cast(coalesce(sum({{ money }}), 0) as decimal(38, 12)) as {{ money }} {%- endfor %}
from days
group by {{ place | join(', ') }}
