select
    provider,
    model,
    region,
    service_tier,
    context_above_tokens,
    context_rule,
    context_counts,
    daily_from,
    daily_to,
    component,
    unit,
    usd_per_million,
    origin,
    coalesce(valid_from, date '0001-01-01') as valid_from,
    coalesce(valid_to, date '9999-12-31') as valid_to
from {{ snapshot('company_prices') }}
