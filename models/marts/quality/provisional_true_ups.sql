with published as (
    select * from {{ snapshot('published_gpu_hours') }}
),

told_before as (
    select * from {{ snapshot('published_true_ups') }}
),

build as (
    select * from {{ snapshot('meta') }}
),

rates as (
    select * from {{ ref('int_gpu_rates') }}
),

gpu_hours as (
    select * from {{ ref('fct_gpu_hours') }}
    where resource_id is not null and usage_date in (select published.usage_date from published)
),

-- one row per resource and hour, as this build has it
current_hours as (
    select
        usage_date,
        resource_id,
        hour_at,
        bool_or(is_provisional) as is_provisional,
        sum(billed_seconds) as billed_seconds,
        case when count(*) = count(effective_cost_usd) then sum(effective_cost_usd) end as effective_cost_usd
    from gpu_hours
    group by usage_date, resource_id, hour_at
),

-- estimates that were published and that a bill replaced, beside the bill of the same hour: it bills the hour, or it
-- reaches past it and does not, which says that the hour costs nothing. An estimate that is gone for another reason
-- (its samples are) is no true-up.
replaced as (
    select
        published.usage_date,
        published.resource_id,
        published.seconds as estimated_seconds,
        published.cost_usd as estimated_cost_usd,
        coalesce(current_hours.billed_seconds, 0) as billed_seconds,
        case when current_hours.resource_id is null then 0 else current_hours.effective_cost_usd end as billed_cost_usd
    from published
    left join current_hours
        on published.resource_id = current_hours.resource_id and published.hour_at = current_hours.hour_at
    left join rates on published.resource_id = rates.resource_id
    where
        published.is_provisional
        and (
            not current_hours.is_provisional
            or (current_hours.resource_id is null and published.hour_at < rates.billed_until)
        )
),

-- the grain changes: one row per resource and date
estimated as (
    select
        usage_date,
        resource_id,
        sum(estimated_seconds) as estimated_seconds,
        sum(billed_seconds) as billed_seconds,
        case when count(*) = count(estimated_cost_usd) then sum(estimated_cost_usd) end as estimated_cost_usd,
        case when count(*) = count(billed_cost_usd) then sum(billed_cost_usd) end as billed_cost_usd
    from replaced
    group by usage_date, resource_id
),

-- one row per resource and date: hours that the bill brought besides and that were not published in any way
unestimated as (
    select
        current_hours.usage_date,
        current_hours.resource_id,
        sum(current_hours.billed_seconds) as billed_seconds,
        case
            when count(*) = count(current_hours.effective_cost_usd) then sum(current_hours.effective_cost_usd)
        end as billed_cost_usd
    from current_hours
    left join published
        on current_hours.resource_id = published.resource_id and current_hours.hour_at = published.hour_at
    where not current_hours.is_provisional and published.resource_id is null
    group by current_hours.usage_date, current_hours.resource_id
),

trued_up as (
    select
        build.build_id,
        cast(build.built_at as timestamp) as trued_up_at,
        estimated.usage_date,
        estimated.resource_id,
        estimated.estimated_seconds,
        estimated.billed_seconds,
        estimated.estimated_cost_usd,
        estimated.billed_cost_usd,
        coalesce(unestimated.billed_seconds, 0) as unestimated_seconds,
        case when unestimated.resource_id is null then 0 else unestimated.billed_cost_usd end as unestimated_cost_usd
    from estimated
    left join unestimated
        on estimated.usage_date = unestimated.usage_date and estimated.resource_id = unestimated.resource_id
    cross join build
),

true_ups as (
    select
        build_id,
        trued_up_at,
        usage_date,
        resource_id,
        estimated_seconds,
        billed_seconds,
        estimated_cost_usd,
        billed_cost_usd,
        unestimated_seconds,
        unestimated_cost_usd
    from told_before
    union all
    select * from trued_up
)

select
    build_id,
    cast(trued_up_at as timestamp) as trued_up_at,
    usage_date,
    resource_id,
    cast(estimated_seconds as decimal(18, 6)) as estimated_seconds,
    cast(billed_seconds as decimal(18, 6)) as billed_seconds,
    cast(estimated_cost_usd as decimal(38, 12)) as estimated_cost_usd,
    cast(billed_cost_usd as decimal(38, 12)) as billed_cost_usd,
    cast(billed_cost_usd - estimated_cost_usd as decimal(38, 12)) as true_up_usd,
    cast(unestimated_seconds as decimal(18, 6)) as unestimated_seconds,
    cast(unestimated_cost_usd as decimal(38, 12)) as unestimated_cost_usd
from true_ups
