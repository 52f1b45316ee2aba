with prices as (
    select * from {{ ref('int_model_prices') }}
),

attempts as (
    select * from {{ ref('fct_call_attempts') }}
),

-- one row per model: its standard price that holds last
ranked_prices as (
    select
        *,
        row_number() over (
            partition by provider, model
            order by valid_from desc, day_from_minute asc
        ) as price_rank
    from prices
    where
        service_tier = 'standard' and region = '' and input_from_tokens = 0 and uncached_input_from_tokens = 0
        and cache_read_from_tokens = 0
),

latest_prices as (
    select * from ranked_prices
    where price_rank = 1
),

used_models as (
    select
        provider,
        model,
        min(usage_date) as first_used_date,
        max(usage_date) as last_used_date,
        count(*) as attempts
    from attempts
    where model is not null
    group by provider, model
),

models as (
    select
        provider,
        model
    from prices
    union
    select
        provider,
        model
    from used_models
)

select
    models.provider,
    models.model,
    latest_prices.provider is not null as is_in_price_book,
    cast(
        cast(latest_prices.input_price_usd as decimal(38, 12)) * 1000000 as decimal(38, 12)
    ) as input_usd_per_million,
    cast(
        cast(latest_prices.cache_read_price_usd as decimal(38, 12)) * 1000000 as decimal(38, 12)
    ) as cache_read_usd_per_million,
    cast(
        cast(latest_prices.output_price_usd as decimal(38, 12)) * 1000000 as decimal(38, 12)
    ) as output_usd_per_million,
    nullif(latest_prices.valid_from, timestamp '0001-01-01 00:00:00') as price_valid_from,
    nullif(latest_prices.valid_to, timestamp '9999-12-31 00:00:00') as price_valid_to,
    used_models.first_used_date,
    used_models.last_used_date,
    coalesce(used_models.attempts, 0) as attempts
from models
left join latest_prices
    on models.provider is not distinct from latest_prices.provider and models.model = latest_prices.model
left join used_models
    on models.provider is not distinct from used_models.provider and models.model = used_models.model
