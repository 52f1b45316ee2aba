with rates as (
    select * from {{ ref('stg_fx_rates') }}
),

files as (
    select * from {{ snapshot('files') }}
),

-- one row: the days on which anything could need a rate
data_span as (
    select
        min(min_date) as first_day,
        max(coalesce(max_date, min_date)) as last_day
    from files
    where
        contract in ('llm_calls', 'gpu_samples', 'serving_samples', 'bill_lines', 'vendor_costs')
        and change != 'removed'
),

-- one row per published rate against USD: 1 USD = rate X is turned round, 1 X = rate USD is taken as it is
direct as (
    select
        rate_date,
        quote_currency as currency,
        origin,
        {{ exchange_rate('1', 'rate') }} as usd_per_unit,
        1 as preference
    from rates
    where base_currency = 'USD' and quote_currency != 'USD'
    union all
    select
        rate_date,
        base_currency as currency,
        origin,
        {{ exchange_rate('rate', '1') }} as usd_per_unit,
        2 as preference
    from rates
    where quote_currency = 'USD' and base_currency != 'USD'
),

-- one row per day and currency with two rates against EUR: USD per X = (USD per EUR) / (X per EUR)
crossed as (
    select
        others.rate_date,
        others.quote_currency as currency,
        others.origin,
        {{ exchange_rate('euro.rate', 'others.rate') }} as usd_per_unit,
        3 as preference
    from rates as euro
    inner join rates as others on euro.rate_date = others.rate_date
    where
        euro.base_currency = 'EUR' and euro.quote_currency = 'USD'
        and others.base_currency = 'EUR' and others.quote_currency not in ('EUR', 'USD')
),

candidates as (
    select * from direct
    union all
    select * from crossed
),

ranked as (
    select
        rate_date,
        currency,
        origin,
        usd_per_unit,
        row_number() over (partition by rate_date, currency order by preference) as preference_rank
    from candidates
    where usd_per_unit is not null
),

-- one row per currency and published day
published as (
    select
        rate_date,
        currency,
        origin,
        usd_per_unit,
        lead(rate_date) over (partition by currency order by rate_date) as next_rate_date
    from ranked
    where preference_rank = 1
),

-- a rate lasts until the next one (a null, which `least` leaves out, where there is none) or until it is too old
lasting as (
    select
        published.rate_date,
        published.currency,
        published.origin,
        published.usd_per_unit,
        least(
            {{ days_between('published.rate_date', 'published.next_rate_date') }} - 1,
            {{ var('max_rate_age_days') }}
        ) as last_age_days
    from published
    inner join data_span
        on
            published.rate_date >= data_span.first_day - {{ var('max_rate_age_days') }}
            and published.rate_date <= data_span.last_day
),

aged as (
    select
        rate_date,
        currency,
        origin,
        usd_per_unit,
        {{ explode_numbers('0', 'last_age_days') }} as age_days
    from lasting
),

-- the grain changes: from one row per published day to one row per day on which the rate is the newest
daily as (
    select
        aged.rate_date + cast(aged.age_days as integer) as rate_day,
        aged.currency,
        aged.usd_per_unit,
        aged.rate_date as published_date,
        aged.origin
    from aged
    inner join data_span
        on aged.rate_date + cast(aged.age_days as integer) between data_span.first_day and data_span.last_day
    where aged.currency != 'USD'
),

-- a dollar is a dollar on every day, so that every join finds its rate
dollars as (
    select
        days.date_day as rate_day,
        'USD' as currency,
        cast(1 as decimal(18, 12)) as usd_per_unit,
        days.date_day as published_date,
        'unit' as origin
    from {{ day_spine(
        '(select coalesce(first_day, date \'2000-01-01\') from data_span)',
        '(select coalesce(last_day, date \'2000-01-01\') from data_span)'
    ) }} as days
),

all_rates as (
    select * from daily
    union all
    select * from dollars
)

select
    rate_day,
    currency,
    usd_per_unit,
    published_date,
    origin
from all_rates
