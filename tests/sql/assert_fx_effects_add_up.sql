-- Usage and exchange rate make the whole change, to the last 1e-12 USD; both or neither are known; and nothing of the
-- invoices in other currencies than USD is left out.
with effects as (
    select * from {{ ref('fx_effect_monthly') }}
),

invoices as (
    select
        source,
        billing_currency,
        sum(invoice_amount) as amount
    from {{ ref('invoice_walk_monthly') }}
    where billing_currency != 'USD'
    group by source, billing_currency
),

totals as (
    select
        source,
        billing_currency,
        sum(amount) as amount
    from effects
    group by source, billing_currency
)

select
    source,
    billing_currency,
    billing_month,
    usage_effect_usd + fx_effect_usd as found_amount,
    total_change_usd as expected_amount
from effects
where
    total_change_usd is distinct from amount_usd - previous_amount_usd
    or usage_effect_usd + fx_effect_usd != total_change_usd
    or (fx_effect_usd is null) != (previous_usd_per_unit is null or amount_usd is null)
union all
select
    coalesce(invoices.source, totals.source) as source,
    coalesce(invoices.billing_currency, totals.billing_currency) as billing_currency,
    cast(null as date) as billing_month,
    totals.amount as found_amount,
    invoices.amount as expected_amount
from invoices
full outer join totals
    on invoices.source = totals.source and invoices.billing_currency = totals.billing_currency
where invoices.amount is distinct from totals.amount
