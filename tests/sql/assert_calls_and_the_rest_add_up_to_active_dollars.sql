-- By day of the GPU-hours: what calls were given and what no call explains are the active dollars, to the last 1e-12
-- USD, and no more idle dollars are on calls than there are. By call: the fact has what the hours of the call add up
-- to, or no cost, where one of them has no exchange rate; a call of a sampled log carries its own share only.
with gpu_hours as (
    select
        usage_date,
        sum(active_usd) as active_usd,
        sum(active_without_calls_usd) as active_without_calls_usd,
        sum(loaded_idle_usd + unallocated_usd) as idle_usd
    from {{ ref('fct_gpu_hours') }}
    where {{ in_tested_dates('usage_date') }}
    group by usage_date
),

allocations as (
    select
        usage_date,
        sum(cost_usd) as allocated_usd,
        sum(idle_share_usd) as idle_share_usd
    from {{ ref('int_call_allocations') }}
    where {{ in_tested_dates('usage_date') }}
    group by usage_date
),

calls as (
    select
        source,
        call_id,
        attempt_number,
        call_date,
        case when count(case when not is_unweighed then 1 end) = count(cost_usd) then sum(cost_usd) end as cost_usd
    from {{ ref('int_call_allocations') }}
    where {{ in_tested_dates('call_date') }}
    group by source, call_id, attempt_number, call_date
)

select
    coalesce(gpu_hours.usage_date, allocations.usage_date) as usage_date,
    gpu_hours.active_usd,
    gpu_hours.active_without_calls_usd,
    allocations.allocated_usd,
    gpu_hours.idle_usd,
    allocations.idle_share_usd
from gpu_hours
full outer join allocations on gpu_hours.usage_date = allocations.usage_date
where
    coalesce(gpu_hours.active_usd, 0)
    != coalesce(gpu_hours.active_without_calls_usd, 0) + coalesce(allocations.allocated_usd, 0)
    or coalesce(allocations.idle_share_usd, 0) > greatest(coalesce(gpu_hours.idle_usd, 0), 0)
union all
select
    calls.call_date as usage_date,
    attempts.cost_usd as active_usd,
    cast(null as decimal(38, 12)) as active_without_calls_usd,
    calls.cost_usd as allocated_usd,
    cast(null as decimal(38, 12)) as idle_usd,
    cast(null as decimal(38, 12)) as idle_share_usd
from calls
left join {{ ref('fct_call_attempts') }} as attempts
    on
        calls.source = attempts.source
        and calls.call_id = attempts.call_id
        and calls.attempt_number = attempts.attempt_number
        and calls.call_date = attempts.usage_date
where
    attempts.sample_weight is null
    or (calls.cost_usd is null) != (attempts.cost_usd is null)
    or (attempts.sample_weight = 1 and calls.cost_usd != attempts.cost_usd)
