with lines as (
    select
        source,
        billing_account_id,
        charge_period_start,
        charge_period_end
    from {{ ref('int_bill_lines_classified') }}
    where is_gpu_usage
),

-- a line that spans more than a day (a month's reservation) does not say how far the bill has come
reached as (
    select
        source,
        billing_account_id,
        max(case when charge_period_end <= charge_period_start + interval '1' day then charge_period_end end)
            as narrow_end,
        max(charge_period_end) as any_end
    from lines
    group by source, billing_account_id
)

select
    source,
    billing_account_id,
    coalesce(narrow_end, any_end) as billed_until
from reached
