with price_book as (
    select * from {{ ref('price_book') }}
),

company_prices as (
    select * from {{ ref('stg_company_prices') }}
),

observations as (
    select * from {{ ref('int_price_observations') }}
    where state = 'used'
),

providers as (
    select * from {{ ref('providers') }}
),

-- what the company says goes before the book, and what was observed after the book was read before what it says
stated as (
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
        usd_per_million,
        valid_from,
        valid_to,
        'price_book' as price_source,
        3 as source_rank,
        origin
    from price_book
    union all
    select
        coalesce(providers.provider, lower(trim(company_prices.provider))) as provider,
        company_prices.model,
        company_prices.region,
        company_prices.service_tier,
        company_prices.context_above_tokens,
        company_prices.context_rule,
        company_prices.context_counts,
        company_prices.daily_from,
        company_prices.daily_to,
        company_prices.component,
        company_prices.usd_per_million,
        cast(company_prices.valid_from as timestamp) as valid_from,
        cast(company_prices.valid_to as timestamp) as valid_to,
        'company' as price_source,
        1 as source_rank,
        coalesce(company_prices.origin, 'company/prices.csv') as origin
    from company_prices
    left join providers on lower(trim(company_prices.provider)) = providers.provider_alias
    union all
    select
        provider,
        model,
        region,
        service_tier,
        context_above_tokens,
        '>' as context_rule,
        'input' as context_counts,
        cast(null as string) as daily_from,
        cast(null as string) as daily_to,
        component,
        usd_per_million,
        valid_from,
        valid_to,
        'observation' as price_source,
        2 as source_rank,
        origin
    from observations
),

-- a price per unit is a price per million moved by six places, exactly; open ends are written out; a boundary of
-- "more than 200,000" is one of "at least 200,001"
exact as (
    select
        provider,
        model,
        lower(model) as model_key,
        coalesce(lower(region), '') as region,
        coalesce(service_tier, 'standard') as service_tier,
        coalesce(context_counts, 'input') as context_counts,
        case
            when coalesce(context_above_tokens, 0) = 0 then 0
            when context_rule = '>=' then context_above_tokens
            else context_above_tokens + 1
        end as context_from_tokens,
        coalesce(cast(substr(daily_from, 1, 2) as bigint) * 60 + cast(substr(daily_from, 4, 2) as bigint), 0)
            as daily_from_minute,
        coalesce(cast(substr(daily_to, 1, 2) as bigint) * 60 + cast(substr(daily_to, 4, 2) as bigint), 1440)
            as daily_to_minute,
        component,
        cast(cast(usd_per_million as decimal(18, 6)) * cast(0.000001 as decimal(6, 6)) as decimal(18, 12))
            as unit_price_usd,
        coalesce(valid_from, timestamp '0001-01-01 00:00:00') as valid_from,
        coalesce(valid_to, timestamp '9999-12-31 00:00:00') as valid_to,
        price_source,
        source_rank,
        origin
    from stated
),

-- hours that go over midnight are two spans of a day
daily as (
    select
        *,
        daily_from_minute as day_from_minute,
        case when daily_from_minute < daily_to_minute then daily_to_minute else 1440 end as day_to_minute
    from exact
    union all
    select
        *,
        0 as day_from_minute,
        daily_to_minute as day_to_minute
    from exact
    where daily_from_minute >= daily_to_minute and daily_to_minute > 0
),

-- one spelling of a model: the book's, where it has one
spelled as (
    select
        *,
        first_value(model) over (
            partition by provider, model_key
            order by source_rank desc, model asc
        ) as spelled_model
    from daily
)

select
    provider,
    spelled_model as model,
    model_key,
    region,
    service_tier,
    context_counts,
    context_from_tokens,
    day_from_minute,
    day_to_minute,
    component,
    unit_price_usd,
    valid_from,
    valid_to,
    price_source,
    source_rank,
    origin
from spelled
