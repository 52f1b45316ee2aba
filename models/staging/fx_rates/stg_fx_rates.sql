with rates as (
    select * from {{ lake('fx_rates') }}
),

batches as (
    select
        batch_id,
        delivered_at
    from {{ snapshot('batches') }}
    where contract = 'fx_rates' and change != 'removed'
),

ranked as (
    select
        rates.*,
        row_number() over (
            partition by rates.rate_date, upper(rates.base), upper(rates.quote)
            order by batches.delivered_at desc, rates.batch_id desc
        ) as newest_rank
    from rates
    inner join batches on rates.batch_id = batches.batch_id
    -- a rate of 0 is a placeholder for a day without one
    where rates.rate > 0
)

select
    source,
    rate_date,
    upper(base) as base_currency,
    upper(quote) as quote_currency,
    rate,
    origin
from ranked
where newest_rank = 1
