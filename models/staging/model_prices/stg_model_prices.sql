with prices as (
    select * from {{ lake('model_prices') }}
),

batches as (
    select
        batch_id,
        delivered_at
    from {{ snapshot('batches') }}
    where contract = 'model_prices' and change != 'removed'
),

providers as (
    select * from {{ ref('providers') }}
),

-- one row per model that the price book knows of one provider only: whose it is, where a list of prices does not say
known_models as (
    select
        lower(model) as model_key,
        min(provider) as provider
    from {{ ref('price_book') }}
    group by lower(model)
    having count(distinct provider) = 1
),

resolved as (
    select
        coalesce(providers.provider, lower(trim(prices.provider)), known_models.provider, 'unknown') as provider,
        prices.model,
        prices.region,
        coalesce(prices.service_tier, 'standard') as service_tier,
        coalesce(prices.context_above_tokens, 0) as context_above_tokens,
        prices.component,
        prices.unit,
        prices.usd_per_million,
        cast(prices.effective_from as timestamp) as effective_from,
        cast(prices.observed_at as timestamp) as observed_at,
        prices.origin,
        prices.source,
        prices.batch_id,
        batches.delivered_at
    from prices
    inner join batches on prices.batch_id = batches.batch_id
    left join providers on lower(trim(prices.provider)) = providers.provider_alias
    left join known_models on prices.provider is null and lower(prices.model) = known_models.model_key
),

-- of one moment the newest delivery counts; the other columns only make the order of true ties stable
ranked as (
    select
        *,
        row_number() over (
            partition by
                provider, lower(model), lower(region), service_tier, context_above_tokens, component, observed_at
            order by delivered_at desc, batch_id desc, origin asc, usd_per_million asc
        ) as newest_rank
    from resolved
)

select
    source,
    provider,
    model,
    region,
    service_tier,
    context_above_tokens,
    component,
    unit,
    usd_per_million,
    effective_from,
    observed_at,
    origin
from ranked
where newest_rank = 1
