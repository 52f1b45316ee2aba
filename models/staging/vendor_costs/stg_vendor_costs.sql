with costs as (
    select * from {{ lake('vendor_costs') }}
),

batches as (
    select
        batch_id,
        delivered_at
    from {{ snapshot('batches') }}
    where contract = 'vendor_costs' and change != 'removed'
),

providers as (
    select * from {{ ref('providers') }}
),

delivered as (
    select
        costs.*,
        coalesce(providers.provider, lower(trim(costs.provider))) as canonical_provider,
        cast(batches.delivered_at as timestamp) as delivered_at
    from costs
    inner join batches on costs.batch_id = batches.batch_id
    left join providers on lower(trim(costs.provider)) = providers.provider_alias
),

-- a newer report of a day replaces the older one whole: the lines of a day may be cut in another way by then
ranked as (
    select
        *,
        dense_rank() over (
            partition by source, canonical_provider, cost_date
            order by delivered_at desc, batch_id desc
        ) as delivery_rank
    from delivered
)

select
    source,
    line_id,
    batch_id,
    delivered_at,
    canonical_provider as provider,
    cost_date as usage_date,
    model,
    line_item,
    cost_type,
    token_type,
    service_tier,
    context_tier,
    project_id,
    amount,
    upper(currency) as currency
from ranked
where delivery_rank = 1
