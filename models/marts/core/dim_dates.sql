with files as (
    select
        min_date,
        max_date
    from {{ snapshot('files') }}
    where change != 'removed'
),

days as (
    select date_day from {{ day_spine(
        '(select min(min_date) from files)',
        '(select max(max_date) from files)'
    ) }}
),

-- 5 January 1970 was a Monday
weekdays as (
    select
        date_day,
        cast({{ days_between("date '1970-01-05'", 'date_day') }} as bigint) as days_since_a_monday
    from days
),

numbered as (
    select
        date_day,
        cast(days_since_a_monday - 7 * floor(days_since_a_monday / 7.0) as bigint) + 1 as iso_day_of_week
    from weekdays
)

select
    date_day,
    cast(date_trunc('week', date_day) as date) as week_start_date,
    cast(date_trunc('month', date_day) as date) as month_start_date,
    cast(date_trunc('quarter', date_day) as date) as quarter_start_date,
    cast(date_trunc('year', date_day) as date) as year_start_date,
    iso_day_of_week,
    iso_day_of_week >= 6 as is_weekend
from numbered
