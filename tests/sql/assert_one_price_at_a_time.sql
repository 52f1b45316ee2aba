-- A source states at most one price of a component at any moment.
with prices as (
    select
        *,
        lead(valid_from) over (
            partition by
                price_source, provider, model_key, region, service_tier, context_counts, context_from_tokens,
                day_from_minute, day_to_minute, component
            order by valid_from
        ) as next_valid_from
    from {{ ref('int_prices') }}
)

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
    next_valid_from
from prices
where next_valid_from < valid_to or valid_to <= valid_from
