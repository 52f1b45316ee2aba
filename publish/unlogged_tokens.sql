-- Tokens on clouds' bills that no log has a cost for, by day. A charge is held against the log of its day; one that
-- stands on a day for a longer period, against the log of its month.
with compared as (
    select
        usage_date,
        provider,
        model,
        billed_usd,
        billed_lines,
        unconverted_lines,
        priced_usd,
        case
            when suspects like '%wide_charge_period%' then cast(date_trunc('month', usage_date) as date)
            else usage_date
        end as compared_from,
        coalesce(suspects like '%wide_charge_period%', false) as is_wide
    from quality.bill_reconciliation_daily
    where basis = 'cloud_bill'
),

weighed as (
    select *, sum(priced_usd) over (partition by provider, model, compared_from, is_wide) as logged_usd from compared
)

select
    usage_date,
    sum(billed_usd) as unlogged_usd,
    sum(unconverted_lines) as unconverted_lines
from weighed
where billed_lines > 0 and coalesce(logged_usd, 0) = 0
group by usage_date
