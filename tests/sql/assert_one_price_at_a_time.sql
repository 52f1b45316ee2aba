-- A component of a model has at most one price at any moment.
with prices as (
    select
        *,
        lead(coalesce(valid_from, timestamp '0001-01-01 00:00:00')) over (
            partition by provider, lower(model), service_tier, context_above_tokens, component
            order by coalesce(valid_from, timestamp '0001-01-01 00:00:00')
        ) as next_valid_from
    from {{ ref('price_book') }}
)

select
    provider,
    model,
    service_tier,
    context_above_tokens,
    component,
    valid_from,
    valid_to,
    next_valid_from
from prices
where
    next_valid_from < coalesce(valid_to, timestamp '9999-12-31 00:00:00')
    or valid_to <= valid_from
