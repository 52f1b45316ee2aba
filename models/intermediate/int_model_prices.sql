with price_book as (
    select * from {{ ref('price_book') }}
),

-- a price per unit is a price per million moved by six places, exactly; open ends are written out
prices as (
    select
        provider,
        model,
        service_tier,
        context_above_tokens,
        component,
        cast(usd_per_million * cast(0.000001 as decimal(6, 6)) as decimal(18, 12)) as unit_price_usd,
        coalesce(valid_from, timestamp '0001-01-01 00:00:00') as valid_from,
        coalesce(valid_to, timestamp '9999-12-31 00:00:00') as valid_to
    from price_book
),

boundaries as (
    select
        provider,
        model,
        valid_from as boundary_at
    from prices
    union
    select
        provider,
        model,
        valid_to as boundary_at
    from prices
),

-- one row per model and span of time in which none of its prices changes
spans as (
    select
        provider,
        model,
        boundary_at as valid_from,
        lead(boundary_at) over (partition by provider, model order by boundary_at) as valid_to
    from boundaries
),

held as (
    select
        spans.provider,
        spans.model,
        spans.valid_from,
        spans.valid_to,
        prices.service_tier,
        prices.context_above_tokens,
        prices.component,
        prices.unit_price_usd
    from spans
    inner join prices
        on
            spans.provider = prices.provider
            and spans.model = prices.model
            and spans.valid_from >= prices.valid_from
            and spans.valid_from < prices.valid_to
),

-- one row per span, service tier and context step
steps as (
    select distinct
        provider,
        model,
        valid_from,
        valid_to,
        service_tier,
        context_above_tokens
    from held
),

-- a component that a tier or a context step does not list costs what the nearer one says: the tier's base price first
candidates as (
    select
        steps.provider,
        steps.model,
        steps.valid_from,
        steps.valid_to,
        steps.service_tier,
        steps.context_above_tokens,
        held.component,
        held.unit_price_usd,
        row_number() over (
            partition by
                steps.provider, steps.model, steps.valid_from, steps.service_tier, steps.context_above_tokens,
                held.component
            order by
                case when held.service_tier = steps.service_tier then 0 else 1 end,
                case when held.context_above_tokens = steps.context_above_tokens then 0 else 1 end
        ) as nearness
    from steps
    inner join held
        on
            steps.provider = held.provider
            and steps.model = held.model
            and steps.valid_from = held.valid_from
            and held.service_tier in (steps.service_tier, 'standard')
            and held.context_above_tokens in (steps.context_above_tokens, 0)
),

-- the grain changes: the components become columns
priced as (
    select
        provider,
        model,
        valid_from,
        valid_to,
        service_tier,
        context_above_tokens
        {%- for component in price_components() %},
        max(case when component = '{{ component }}' then unit_price_usd end) as {{ component }}_price_usd {%- endfor %}
    from candidates
    where nearness = 1
    group by provider, model, valid_from, valid_to, service_tier, context_above_tokens
)

select
    provider,
    model,
    lower(model) as model_key,
    service_tier,
    context_above_tokens,
    lead(context_above_tokens) over (
        partition by provider, model, service_tier, valid_from
        order by context_above_tokens
    ) as context_up_to_tokens,
    valid_from,
    valid_to
    {%- for component in price_components() %},
    {{ component }}_price_usd {%- endfor %}
from priced
