-- There and back again: a dollar in another currency and back is a dollar, and through the euro every currency makes
-- the same dollar. Rates and amounts are rounded to 1e-12, so each unit of the other currency may be off by that and no
-- more: 1e-10 for a dollar in rupees.
with published as (
    select * from {{ ref('stg_fx_rates') }}
),

rates as (
    select * from {{ ref('int_fx_rates') }}
    where currency != 'USD' and {{ in_tested_dates('rate_day') }}
),

-- a pair with USD goes before one that is crossed
direct as (
    select
        rate_date,
        quote_currency as currency
    from published
    where base_currency = 'USD'
    union
    select
        rate_date,
        base_currency as currency
    from published
    where quote_currency = 'USD'
),

-- one row per day and currency: how many units are how many dollars
pairs as (
    select
        rates.rate_day,
        rates.currency,
        rates.usd_per_unit,
        published.rate as units,
        cast(1 as decimal(38, 12)) as usd
    from rates
    inner join published
        on
            rates.published_date = published.rate_date
            and rates.currency = published.quote_currency
            and published.base_currency = 'USD'
    union all
    select
        rates.rate_day,
        rates.currency,
        rates.usd_per_unit,
        published.rate as units,
        euro.rate as usd
    from rates
    inner join published
        on
            rates.published_date = published.rate_date
            and rates.currency = published.quote_currency
            and published.base_currency = 'EUR'
    inner join published as euro
        on
            published.rate_date = euro.rate_date
            and euro.base_currency = 'EUR'
            and euro.quote_currency = 'USD'
    left join direct on rates.published_date = direct.rate_date and rates.currency = direct.currency
    where direct.rate_date is null
)

select
    rate_day,
    currency,
    usd_per_unit,
    units,
    usd
from pairs
where
    abs({{ convert_money('units', 'usd_per_unit') }} - usd)
    > cast(0.000000000001 as decimal(18, 12)) + {{ convert_money('units', 'cast(0.000000000001 as decimal(18, 12))') }}
