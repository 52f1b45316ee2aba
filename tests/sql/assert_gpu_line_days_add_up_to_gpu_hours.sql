-- By day, machine and purchase mode: the days of the bill's lines are what the GPU-hours are, estimates aside.
with line_days as (
    select
        usage_date,
        resource_id,
        purchase_mode,
        sum(billed_seconds) as billed_seconds,
        coalesce(sum(effective_cost_usd), 0) as cost_usd,
        coalesce(sum(billed_cost_usd), 0) as billed_cost_usd
    from {{ ref('fct_gpu_line_days') }}
    where {{ in_tested_dates('usage_date') }}
    group by usage_date, resource_id, purchase_mode
),

gpu_hours as (
    select
        usage_date,
        resource_id,
        purchase_mode,
        sum(billed_seconds) as billed_seconds,
        coalesce(sum(effective_cost_usd), 0) + coalesce(sum(unused_commitment_usd), 0) as cost_usd,
        coalesce(sum(billed_cost_usd), 0) as billed_cost_usd
    from {{ ref('fct_gpu_hours') }}
    where not is_provisional and {{ in_tested_dates('usage_date') }}
    group by usage_date, resource_id, purchase_mode
)

select
    coalesce(line_days.usage_date, gpu_hours.usage_date) as usage_date,
    coalesce(line_days.resource_id, gpu_hours.resource_id) as resource_id,
    line_days.cost_usd as line_days_cost_usd,
    gpu_hours.cost_usd
from line_days
full outer join gpu_hours
    on
        line_days.usage_date = gpu_hours.usage_date
        and coalesce(line_days.resource_id, '') = coalesce(gpu_hours.resource_id, '')
        and line_days.purchase_mode = gpu_hours.purchase_mode
where
    coalesce(line_days.billed_seconds, 0) != coalesce(gpu_hours.billed_seconds, 0)
    or coalesce(line_days.cost_usd, 0) != coalesce(gpu_hours.cost_usd, 0)
    or coalesce(line_days.billed_cost_usd, 0) != coalesce(gpu_hours.billed_cost_usd, 0)
