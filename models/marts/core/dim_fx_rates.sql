{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'rate_day'}) }}

with rates as (
    select * from {{ ref('int_fx_rates') }}
),

-- a rate is kept for the dates that hold data: on a full rebuild these are all of them
dates as (
    select usage_date from {{ ref('int_touched_dates') }}
    where holds_data
)

select
    rates.rate_day,
    rates.currency,
    rates.usd_per_unit,
    rates.published_date,
    rates.origin
from rates
inner join dates on rates.rate_day = dates.usage_date
