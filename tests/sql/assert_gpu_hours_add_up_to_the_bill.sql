-- By day: what the GPU-hours cost is what the bill's hours cost, estimates aside, to the last 1e-12 USD.
with bill_hours as (
    select
        usage_date,
        coalesce(sum(case when line_kind = 'gpu_usage' then billed_microseconds end), 0) as billed_microseconds,
        coalesce(sum(case when line_kind = 'gpu_usage' then effective_cost_usd end), 0) as effective_cost_usd,
        coalesce(sum(billed_cost_usd), 0) as billed_cost_usd,
        coalesce(sum(case when line_kind = 'unused_commitment' then effective_cost_usd end), 0)
            as unused_commitment_usd
    from {{ ref('int_gpu_bill_hours') }}
    where {{ in_tested_dates('usage_date') }}
    group by usage_date
),

gpu_hours as (
    select
        usage_date,
        sum(billed_seconds) as billed_seconds,
        coalesce(sum(effective_cost_usd), 0) as effective_cost_usd,
        coalesce(sum(billed_cost_usd), 0) as billed_cost_usd,
        coalesce(sum(unused_commitment_usd), 0) as unused_commitment_usd
    from {{ ref('fct_gpu_hours') }}
    where not is_provisional and {{ in_tested_dates('usage_date') }}
    group by usage_date
)

select
    coalesce(bill_hours.usage_date, gpu_hours.usage_date) as usage_date,
    bill_hours.effective_cost_usd as bill_effective_cost_usd,
    gpu_hours.effective_cost_usd,
    gpu_hours.billed_seconds
from bill_hours
full outer join gpu_hours on bill_hours.usage_date = gpu_hours.usage_date
where
    {{ to_seconds('coalesce(bill_hours.billed_microseconds, 0)') }} != coalesce(gpu_hours.billed_seconds, 0)
    or coalesce(bill_hours.effective_cost_usd, 0) != coalesce(gpu_hours.effective_cost_usd, 0)
    or coalesce(bill_hours.billed_cost_usd, 0) != coalesce(gpu_hours.billed_cost_usd, 0)
    or coalesce(bill_hours.unused_commitment_usd, 0) != coalesce(gpu_hours.unused_commitment_usd, 0)
