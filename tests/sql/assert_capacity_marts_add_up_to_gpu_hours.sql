-- By day: idle dollars and utilisation hold every GPU-hour once.
with gpu_hours as (
    select
        usage_date,
        sum(billed_seconds) as billed_seconds,
        coalesce(sum(effective_cost_usd), 0) as effective_cost_usd,
        coalesce(sum(unused_commitment_usd), 0) as unused_commitment_usd
    from {{ ref('fct_gpu_hours') }}
    where {{ in_tested_dates('usage_date') }}
    group by usage_date
),

idle_days as (
    select
        usage_date,
        sum(billed_seconds) as billed_seconds,
        coalesce(sum(effective_cost_usd), 0) as effective_cost_usd,
        coalesce(sum(unused_commitment_usd), 0) as unused_commitment_usd
    from {{ ref('idle_dollars_daily') }}
    where {{ in_tested_dates('usage_date') }}
    group by usage_date
),

resource_hours as (
    select
        usage_date,
        sum(billed_seconds) as billed_seconds,
        coalesce(sum(effective_cost_usd), 0) as effective_cost_usd
    from {{ ref('gpu_utilisation_hourly') }}
    where {{ in_tested_dates('usage_date') }}
    group by usage_date
)

select
    coalesce(gpu_hours.usage_date, idle_days.usage_date) as usage_date,
    gpu_hours.effective_cost_usd,
    idle_days.effective_cost_usd as idle_days_effective_cost_usd,
    resource_hours.effective_cost_usd as resource_hours_effective_cost_usd
from gpu_hours
full outer join idle_days on gpu_hours.usage_date = idle_days.usage_date
left join resource_hours on gpu_hours.usage_date = resource_hours.usage_date
where
    coalesce(gpu_hours.billed_seconds, 0) != coalesce(idle_days.billed_seconds, 0)
    or coalesce(gpu_hours.effective_cost_usd, 0) != coalesce(idle_days.effective_cost_usd, 0)
    or coalesce(gpu_hours.unused_commitment_usd, 0) != coalesce(idle_days.unused_commitment_usd, 0)
    or coalesce(gpu_hours.billed_seconds, 0) != coalesce(resource_hours.billed_seconds, 0)
    or coalesce(gpu_hours.effective_cost_usd, 0) != coalesce(resource_hours.effective_cost_usd, 0)
