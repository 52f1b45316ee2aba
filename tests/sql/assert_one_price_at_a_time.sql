-- A source states at most one price of a component at any moment and minute of the day. Of hours within hours the
-- narrower ones hold, so that only as many of them are a contradiction.
with prices as (
    select
        *,
        row_number() over (
            order by price_source, provider, model_key, region, service_tier, component, valid_from, day_from_minute
        ) as price_number
    from {{ ref('int_prices') }}
)

select
    prices.price_source,
    prices.provider,
    prices.model_key,
    prices.region,
    prices.service_tier,
    prices.context_counts,
    prices.context_from_tokens,
    prices.component,
    prices.valid_from,
    prices.valid_to,
    others.valid_from as other_valid_from,
    others.valid_to as other_valid_to
from prices
inner join prices as others
    on
        prices.price_source = others.price_source
        and prices.provider = others.provider
        and prices.model_key = others.model_key
        and prices.region = others.region
        and prices.service_tier = others.service_tier
        and prices.context_counts = others.context_counts
        and prices.context_from_tokens = others.context_from_tokens
        and prices.component = others.component
        and prices.price_number < others.price_number
where
    prices.valid_from < others.valid_to
    and others.valid_from < prices.valid_to
    and prices.day_from_minute < others.day_to_minute
    and others.day_from_minute < prices.day_to_minute
    and prices.day_to_minute - prices.day_from_minute = others.day_to_minute - others.day_from_minute
union all
select
    price_source,
    provider,
    model_key,
    region,
    service_tier,
    context_counts,
    context_from_tokens,
    component,
    valid_from,
    valid_to,
    valid_from as other_valid_from,
    valid_to as other_valid_to
from prices
where valid_to <= valid_from
