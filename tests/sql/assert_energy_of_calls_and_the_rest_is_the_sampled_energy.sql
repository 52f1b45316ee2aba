-- By day: what calls were given, what no call explains and what was idle are what samples say that the GPUs of the bill
-- drew, exactly.
with billed_gpus as (
    select distinct
        hour_at,
        resource_id,
        card_uuid
    from {{ ref('int_gpu_hour_parts') }}
    where {{ in_tested_dates('usage_date') }}
),

sampled as (
    select
        sample_hours.usage_date,
        {{ to_kwh('sum(sample_hours.energy_microwatt_hours)') }} as sampled_kwh
    from {{ ref('int_gpu_sample_hours') }} as sample_hours
    inner join billed_gpus
        on
            sample_hours.hour_at = billed_gpus.hour_at
            and sample_hours.resource_id = billed_gpus.resource_id
            and sample_hours.card_uuid = billed_gpus.card_uuid
    where {{ in_tested_dates('sample_hours.usage_date') }}
    group by sample_hours.usage_date
),

allocated as (
    select
        usage_date,
        sum(energy_kwh) as call_kwh
    from {{ ref('int_call_allocations') }}
    where {{ in_tested_dates('usage_date') }}
    group by usage_date
),

resource_hours as (
    select
        usage_date,
        sum(called_energy_kwh) as called_kwh,
        sum(active_without_calls_energy_kwh + idle_energy_kwh) as other_kwh,
        min(least(called_energy_kwh, active_without_calls_energy_kwh, idle_energy_kwh)) as least_kwh
    from {{ ref('gpu_utilisation_hourly') }}
    where {{ in_tested_dates('usage_date') }}
    group by usage_date
)

select
    resource_hours.usage_date,
    sampled.sampled_kwh,
    allocated.call_kwh,
    resource_hours.called_kwh,
    resource_hours.other_kwh,
    resource_hours.least_kwh
from resource_hours
left join sampled on resource_hours.usage_date = sampled.usage_date
left join allocated on resource_hours.usage_date = allocated.usage_date
where
    coalesce(sampled.sampled_kwh, 0) != coalesce(allocated.call_kwh, 0) + coalesce(resource_hours.other_kwh, 0)
    or coalesce(allocated.call_kwh, 0) != coalesce(resource_hours.called_kwh, 0)
    or resource_hours.least_kwh < 0
