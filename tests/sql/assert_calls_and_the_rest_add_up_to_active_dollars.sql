-- By day of the GPU-hours: what calls were given and what no call explains are the active dollars, to the last 1e-12
-- USD; and no more idle dollars are on calls than there are.
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

-- the calls of the fact are on the date on which they start: only the sum over all dates is the same
facts as (
    select
        (
            select sum(cost_usd) from {{ ref('fct_call_attempts') }}
            where cost_basis = 'allocated'
        ) as call_usd,
        (
            select sum(fct_call_attempts.cost_usd) from {{ ref('fct_call_attempts') }}
            where fct_call_attempts.cost_basis = 'allocated' and fct_call_attempts.sample_weight = 1
        ) as unweighed_usd,
        (select sum(int_call_allocations.cost_usd) from {{ ref('int_call_allocations') }}) as allocated_usd
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
    cast(null as date) as usage_date,
    call_usd as active_usd,
    cast(null as decimal(38, 12)) as active_without_calls_usd,
    allocated_usd,
    cast(null as decimal(38, 12)) as idle_usd,
    cast(null as decimal(38, 12)) as idle_share_usd
from facts
-- calls of a sampled log carry their own share only
where call_usd = unweighed_usd and call_usd is distinct from allocated_usd
