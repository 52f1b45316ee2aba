-- Nothing is lost on the way to the comparison, on either side: by provider, basis and day, lines and their dollars are
-- those of the reports and bills, and the priced dollars are those of the attempts.
with reconciled as (
    select
        usage_date,
        provider,
        basis,
        sum(billed_lines) as billed_lines,
        sum(unconverted_lines) as unconverted_lines,
        sum(coalesce(billed_usd, 0)) as billed_usd,
        sum(coalesce(priced_usd, 0) + coalesce(excluded_priced_usd, 0)) as priced_usd
    from {{ ref('bill_reconciliation_daily') }}
    group by usage_date, provider, basis
),

-- of two sources that report the same, one counts: lines of days that one source reports
reported as (
    select
        usage_date,
        provider,
        'vendor_report' as basis,
        count(*) as line_count,
        cast(null as decimal(38, 12)) as billed_usd
    from {{ ref('stg_vendor_costs') }}
    group by usage_date, provider
    having count(distinct source) = 1
),

-- the grain is coarser here: a day of all clouds
charged as (
    select
        usage_date,
        count(*) as line_count,
        coalesce(sum(billed_cost_usd), 0) as billed_usd
    from {{ ref('fct_bill_lines') }}
    where line_kind = 'model_charges' and {{ in_tested_dates('usage_date') }}
    group by usage_date
),

reconciled_charges as (
    select
        usage_date,
        sum(billed_lines) as billed_lines,
        sum(unconverted_lines) as unconverted_lines,
        sum(billed_usd) as billed_usd
    from reconciled
    where basis = 'cloud_bill'
    group by usage_date
),

attempts as (
    select
        usage_date,
        coalesce(provider, '__unknown__') as provider,
        coalesce({{ sum_money('cost_usd') }}, 0) as cost_usd
    from {{ ref('fct_call_attempts') }}
    where duplicate_of_source is null and cost_basis = 'metered' and {{ in_tested_dates('usage_date') }}
    group by usage_date, coalesce(provider, '__unknown__')
)

select
    usage_date,
    provider,
    'unexplained' as what,
    unexplained_usd as found_usd,
    billed_usd - coalesce(priced_usd, 0) as expected_usd
from {{ ref('bill_reconciliation_daily') }}
where unexplained_usd is distinct from billed_usd - coalesce(priced_usd, 0)
union all
select
    reported.usage_date,
    reported.provider,
    'lines of a report' as what,
    reconciled.billed_lines as found_usd,
    reported.line_count as expected_usd
from reported
left join reconciled
    on
        reported.usage_date = reconciled.usage_date
        and reported.provider = reconciled.provider
        and reported.basis = reconciled.basis
where reconciled.billed_lines is distinct from reported.line_count
union all
select
    charged.usage_date,
    'all' as provider,
    'charges on a bill' as what,
    reconciled_charges.billed_usd as found_usd,
    charged.billed_usd as expected_usd
from charged
left join reconciled_charges on charged.usage_date = reconciled_charges.usage_date
where
    reconciled_charges.billed_lines is distinct from charged.line_count
    or (reconciled_charges.unconverted_lines = 0 and reconciled_charges.billed_usd != charged.billed_usd)
union all
select
    reconciled.usage_date,
    reconciled.provider,
    'priced attempts' as what,
    reconciled.priced_usd as found_usd,
    coalesce(attempts.cost_usd, 0) as expected_usd
from reconciled
left join attempts on reconciled.usage_date = attempts.usage_date and reconciled.provider = attempts.provider
where {{ in_tested_dates('reconciled.usage_date') }} and reconciled.priced_usd != coalesce(attempts.cost_usd, 0)
