{%- set parts = [
    'active_usd', 'loaded_idle_usd', 'unallocated_usd', 'unknown_usd', 'unused_commitment_usd', 'model_charges_usd',
    'other_usd', 'tax_usd', 'credits_usd', 'refunds_usd', 'commitment_timing_usd',
] %}

with days as (
    select * from {{ ref('int_invoice_days') }}
),

lines as (
    select * from {{ ref('int_bill_lines') }}
),

-- one row per invoice: closed once every line that says something says so, and what is the newest delivery of it
deliveries as (
    select
        source,
        billing_account_id,
        billing_period_start,
        billing_currency,
        case
            when count(case when billing_period_status = 'Open' then 1 end) > 0 then 'Open'
            when count(case when billing_period_status = 'Closed' then 1 end) > 0 then 'Closed'
        end as period_status,
        max(delivered_at) as delivered_at
    from lines
    group by source, billing_account_id, billing_period_start, billing_currency
),

-- the grain changes: one row per source, billing account, billing period and currency
invoices as (
    select
        source,
        billing_account_id,
        billing_period_start,
        billing_currency,
        cast(sum(line_count) as bigint) as line_count,
        cast(sum(unconverted_line_count) as bigint) as unconverted_line_count,
        cast(sum(invoice_amount) as decimal(38, 12)) as invoice_amount,
        cast(sum(invoice_usd) as decimal(38, 12)) as invoice_usd
        {%- for part in parts %},
        cast(sum({{ part }}) as decimal(38, 12)) as {{ part }} {%- endfor %}
    from days
    group by source, billing_account_id, billing_period_start, billing_currency
),

told as (
    select
        invoices.*,
        deliveries.period_status,
        deliveries.delivered_at
    from invoices
    left join deliveries
        on
            invoices.source = deliveries.source
            and invoices.billing_account_id is not distinct from deliveries.billing_account_id
            and invoices.billing_period_start = deliveries.billing_period_start
            and invoices.billing_currency = deliveries.billing_currency
)

select
    source,
    billing_account_id,
    billing_period_start,
    cast(date_trunc('month', billing_period_start) as date) as billing_month,
    billing_currency,
    period_status,
    delivered_at,
    -- an invoice of which nothing could be converted has no amount in USD; it is not free
    {%- for part in parts %}
    case when unconverted_line_count < line_count then {{ part }} end as {{ part }},
    {%- endfor %}
    case
        when unconverted_line_count < line_count
            then cast(invoice_usd - ({{ parts | join(' + ') }}) as decimal(38, 12))
    end as unexplained_usd,
    case when unconverted_line_count < line_count then invoice_usd end as invoice_usd,
    invoice_amount,
    line_count,
    unconverted_line_count
from told
