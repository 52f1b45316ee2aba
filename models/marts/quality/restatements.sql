with published as (
    select * from {{ snapshot('published_totals') }}
),

told_before as (
    select * from {{ snapshot('published_restatements') }}
),

build as (
    select * from {{ snapshot('meta') }}
),

touched_dates as (
    select * from {{ ref('int_touched_dates') }}
),

task_costs as (
    select * from {{ ref('cost_per_task_daily') }}
),

attempt_costs as (
    select * from {{ ref('retry_overhead_daily') }}
),

gpu_costs as (
    select * from {{ ref('idle_dollars_daily') }}
),

invoices as (
    select * from {{ ref('invoice_walk_monthly') }}
),

-- one row per month and what touched it
month_reasons as (
    select distinct
        cast(date_trunc('month', usage_date) as date) as total_date,
        reasons
    from touched_dates
),

-- why totals of days move, and totals of months
causes as (
    select
        false as is_monthly,
        usage_date as total_date,
        reasons
    from touched_dates
    union all
    select
        true as is_monthly,
        total_date,
        {{ join_texts('reasons', "'; '") }} as reasons
    from month_reasons
    group by total_date
),

-- one row per mart, measure and date, as the last publication has them
totals as (
    select
        'unit_economics.cost_per_task_daily' as mart,
        'cost_usd' as measure,
        started_date as total_date,
        cast(sum(cost_usd) as decimal(38, 12)) as amount
    from task_costs
    group by started_date
    union all
    select
        'unit_economics.retry_overhead_daily' as mart,
        'total_cost_usd' as measure,
        usage_date as total_date,
        cast(sum(total_cost_usd) as decimal(38, 12)) as amount
    from attempt_costs
    group by usage_date
    union all
    select
        'capacity.idle_dollars_daily' as mart,
        'effective_cost_usd' as measure,
        usage_date as total_date,
        cast(sum(effective_cost_usd) as decimal(38, 12)) as amount
    from gpu_costs
    group by usage_date
    union all
    select
        'capacity.idle_dollars_daily' as mart,
        'idle_usd' as measure,
        usage_date as total_date,
        cast(sum(idle_usd) as decimal(38, 12)) as amount
    from gpu_costs
    group by usage_date
    union all
    select
        'quality.invoice_walk_monthly' as mart,
        'invoice_usd' as measure,
        billing_month as total_date,
        cast(sum(invoice_usd) as decimal(38, 12)) as amount
    from invoices
    group by billing_month
),

-- a date that nobody has seen yet is news and no restatement
moved as (
    select
        build.build_id,
        cast(build.built_at as timestamp) as detected_at,
        published.mart,
        published.measure,
        published.total_date,
        published.amount as old_amount,
        totals.amount as new_amount,
        coalesce(causes.reasons, 'unknown') as cause
    from published
    left join totals
        on
            published.mart = totals.mart
            and published.measure = totals.measure
            and published.total_date = totals.total_date
    left join causes
        on
            published.total_date = causes.total_date
            and causes.is_monthly = (published.mart = 'quality.invoice_walk_monthly')
    cross join build
    where published.amount is distinct from totals.amount
),

restatements as (
    select
        build_id,
        detected_at,
        mart,
        measure,
        total_date,
        old_amount,
        new_amount,
        cause
    from told_before
    union all
    select * from moved
)

select
    build_id,
    cast(detected_at as timestamp) as detected_at,
    mart,
    measure,
    total_date,
    cast(old_amount as decimal(38, 12)) as old_amount,
    cast(new_amount as decimal(38, 12)) as new_amount,
    cast(coalesce(new_amount, 0) - coalesce(old_amount, 0) as decimal(38, 12)) as change_amount,
    cause
from restatements
