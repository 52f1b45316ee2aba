with invoices as (
    select * from {{ ref('invoice_walk_monthly') }}
    where billing_currency != 'USD'
),

-- one row per source, billing account, currency and month; a month that is converted only in part has no USD amount
months as (
    select
        source,
        billing_account_id,
        billing_currency,
        billing_month,
        cast(sum(invoice_amount) as decimal(38, 12)) as amount,
        case when sum(unconverted_line_count) = 0 then cast(sum(invoice_usd) as decimal(38, 12)) end as amount_usd,
        cast(sum(unconverted_line_count) as bigint) as unconverted_line_count
    from invoices
    group by source, billing_account_id, billing_currency, billing_month
),

averaged as (
    select
        *,
        {{ exchange_rate('amount_usd', 'amount') }} as usd_per_unit
    from months
),

-- each month beside the calendar month before it
paired as (
    select
        averaged.*,
        earlier.amount as previous_amount,
        earlier.amount_usd as previous_amount_usd,
        earlier.usd_per_unit as previous_usd_per_unit,
        cast(averaged.amount_usd - earlier.amount_usd as decimal(38, 12)) as total_change_usd
    from averaged
    left join averaged as earlier
        on
            averaged.source = earlier.source
            and averaged.billing_account_id is not distinct from earlier.billing_account_id
            and averaged.billing_currency = earlier.billing_currency
            and averaged.billing_month = cast(earlier.billing_month + interval '1' month as date)
),

-- what the change in the invoice's own currency would have cost at the old rate
held_constant as (
    select
        *,
        case
            when total_change_usd is not null
                then {{ convert_money('(amount - previous_amount)', 'previous_usd_per_unit') }}
        end as usage_effect_usd
    from paired
)

select
    source,
    billing_account_id,
    billing_currency,
    billing_month,
    amount,
    amount_usd,
    usd_per_unit,
    previous_amount,
    previous_amount_usd,
    previous_usd_per_unit,
    usage_effect_usd,
    cast(total_change_usd - usage_effect_usd as decimal(38, 12)) as fx_effect_usd,
    total_change_usd,
    unconverted_line_count
from held_constant
