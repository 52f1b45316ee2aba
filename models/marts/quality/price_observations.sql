with observations as (
    select * from {{ ref('int_price_observations') }}
)

select
    provider,
    model,
    region,
    service_tier,
    context_above_tokens,
    component,
    observed_at,
    usd_per_million,
    booked_usd_per_million,
    earlier_usd_per_million,
    effective_from,
    state,
    held_reason,
    origin
from observations
