{#- The next build compares with this table what it reads itself: only what differs touches a date. -#}
-- depends_on: {{ ref('int_touched_dates') }}
select
    provider,
    model_key,
    region,
    service_tier,
    context_from_tokens,
    component,
    unit_price_usd,
    valid_from,
    valid_to
from {{ ref('int_prices') }}
where price_source = 'observation'
