-- A true-up is the bill less the estimate, exactly, and a build trues up no more than was published as an estimate.
with true_ups as (
    select * from {{ ref('provisional_true_ups') }}
),

build as (
    select * from {{ snapshot('meta') }}
),

published as (
    select
        usage_date,
        resource_id,
        sum(seconds) as estimated_seconds
    from {{ snapshot('published_gpu_hours') }}
    where is_provisional
    group by usage_date, resource_id
)

select
    true_ups.usage_date,
    true_ups.resource_id,
    true_ups.true_up_usd,
    true_ups.billed_cost_usd,
    true_ups.estimated_cost_usd,
    true_ups.estimated_seconds,
    published.estimated_seconds as published_seconds
from true_ups
cross join build
left join published
    on
        true_ups.build_id = build.build_id
        and true_ups.usage_date = published.usage_date
        and true_ups.resource_id = published.resource_id
where
    true_ups.true_up_usd is distinct from true_ups.billed_cost_usd - true_ups.estimated_cost_usd
    or (
        true_ups.build_id = build.build_id
        and true_ups.estimated_seconds > coalesce(published.estimated_seconds, 0)
    )
