{%- set counts = ['input', 'uncached_input', 'cache_read'] %}
{%- set plan = 'provider, model_key, valid_from, valid_to' %}

with prices as (
    select * from {{ ref('int_prices') }}
),

fallbacks as (
    select * from {{ ref('price_fallbacks') }}
),

boundaries as (
    select
        provider,
        model_key,
        valid_from as boundary_at
    from prices
    union
    select
        provider,
        model_key,
        valid_to as boundary_at
    from prices
),

-- one row per model and span of time in which none of its prices changes
spans as (
    select
        provider,
        model_key,
        boundary_at as valid_from,
        lead(boundary_at) over (partition by provider, model_key order by boundary_at) as valid_to
    from boundaries
),

held as (
    select
        prices.provider,
        prices.model_key,
        spans.valid_from,
        spans.valid_to,
        prices.model,
        prices.region,
        prices.service_tier,
        prices.context_counts,
        prices.context_from_tokens,
        prices.day_from_minute,
        prices.day_to_minute,
        prices.component,
        prices.unit_price_usd,
        prices.price_source,
        prices.source_rank
    from spans
    inner join prices
        on
            spans.provider = prices.provider
            and spans.model_key = prices.model_key
            and spans.valid_from >= prices.valid_from
            and spans.valid_from < prices.valid_to
),

tiers as (
    select distinct {{ plan }}, service_tier
    from held
),

-- what holds in any region stands beside what holds in one, also while the one has no prices of its own
known_regions as (
    select
        provider,
        model_key,
        region
    from prices
    union
    select
        provider,
        model_key,
        '' as region
    from prices
),

regions as (
    select
        spans.provider,
        spans.model_key,
        spans.valid_from,
        known_regions.region
    from spans
    inner join known_regions
        on
            spans.provider = known_regions.provider
            and spans.model_key = known_regions.model_key
),
{% for count in counts %}
{{ count }}_starts as (
    select {{ plan }}, context_from_tokens as {{ count }}_from_tokens
    from held
    where context_counts = '{{ count }}'
    union
    select {{ plan }}, 0 as {{ count }}_from_tokens
    from held
),

{{ count }}_steps as (
    select
        *,
        lead({{ count }}_from_tokens) over (partition by {{ plan }} order by {{ count }}_from_tokens)
            as {{ count }}_below_tokens
    from {{ count }}_starts
),
{% endfor %}
day_starts as (
    select {{ plan }}, day_from_minute
    from held
    union
    select {{ plan }}, day_to_minute as day_from_minute
    from held
    where day_to_minute < 1440
    union
    select {{ plan }}, 0 as day_from_minute
    from held
),

day_steps as (
    select
        *,
        lead(day_from_minute, 1, 1440) over (partition by {{ plan }} order by day_from_minute) as day_to_minute
    from day_starts
),

-- one row per span, service tier, region, step of each count that some price looks at, and part of the day
steps as (
    select
        tiers.provider,
        tiers.model_key,
        tiers.valid_from,
        tiers.valid_to,
        tiers.service_tier,
        regions.region,
        {%- for count in counts %}
        {{ count }}_steps.{{ count }}_from_tokens,
        {{ count }}_steps.{{ count }}_below_tokens,
        {%- endfor %}
        day_steps.day_from_minute,
        day_steps.day_to_minute,
        -- told apart by the whole key: a number that another reading could give to another row joins the wrong prices
        row_number() over (
            order by
                tiers.provider, tiers.model_key, tiers.valid_from, tiers.valid_to, tiers.service_tier, regions.region,
                {%- for count in counts %}
                {{ count }}_steps.{{ count }}_from_tokens,
                {%- endfor %}
                day_steps.day_from_minute
        ) as step_number
    from tiers
    inner join regions
        on
            tiers.provider = regions.provider
            and tiers.model_key = regions.model_key
            and tiers.valid_from = regions.valid_from
    inner join input_steps
        on
            tiers.provider = input_steps.provider
            and tiers.model_key = input_steps.model_key
            and tiers.valid_from = input_steps.valid_from
    inner join uncached_input_steps
        on
            tiers.provider = uncached_input_steps.provider
            and tiers.model_key = uncached_input_steps.model_key
            and tiers.valid_from = uncached_input_steps.valid_from
    inner join cache_read_steps
        on
            tiers.provider = cache_read_steps.provider
            and tiers.model_key = cache_read_steps.model_key
            and tiers.valid_from = cache_read_steps.valid_from
    inner join day_steps
        on
            tiers.provider = day_steps.provider
            and tiers.model_key = day_steps.model_key
            and tiers.valid_from = day_steps.valid_from
),

-- a component that a step does not list costs what the nearest price that holds there says: of the same service tier
-- before the standard one, of the region before any region, of the company before the list, of the hours of the day
-- before the whole day, and of the highest step that the call has reached
candidates as (
    select
        steps.step_number,
        held.model,
        held.component,
        held.unit_price_usd,
        held.price_source,
        row_number() over (
            partition by steps.step_number, held.component
            order by
                case when held.service_tier = steps.service_tier then 0 else 1 end asc,
                case when held.region = steps.region then 0 else 1 end asc,
                case when held.price_source = 'company' then 0 else 1 end asc,
                held.day_to_minute - held.day_from_minute asc,
                held.context_from_tokens desc,
                held.context_counts asc,
                held.source_rank asc,
                held.unit_price_usd desc
        ) as nearness
    from steps
    inner join held
        on
            steps.provider = held.provider
            and steps.model_key = held.model_key
            and steps.valid_from = held.valid_from
            and held.service_tier in (steps.service_tier, 'standard')
            and held.region in (steps.region, '')
            and steps.day_from_minute >= held.day_from_minute
            and steps.day_from_minute < held.day_to_minute
            and held.context_from_tokens
            <= case held.context_counts
                when 'cache_read' then steps.cache_read_from_tokens
                when 'uncached_input' then steps.uncached_input_from_tokens
                else steps.input_from_tokens
            end
),

nearest as (
    select * from candidates
    where nearness = 1
),

-- a component that nothing lists costs what another one costs, where the vendors bill so
completed as (
    select
        step_number,
        model,
        component,
        unit_price_usd,
        price_source,
        false as is_estimated
    from nearest
    union all
    select
        substitutes.step_number,
        substitutes.model,
        fallbacks.component,
        substitutes.unit_price_usd,
        substitutes.price_source,
        fallbacks.is_estimate as is_estimated
    from nearest as substitutes
    inner join fallbacks on substitutes.component = fallbacks.falls_back_to
    left join nearest as own
        on
            substitutes.step_number = own.step_number
            and fallbacks.component = own.component
    where own.component is null
),

-- the grain changes: the components become columns
priced as (
    select
        step_number,
        max(model) as model,
        ',' || {{ join_texts('case when is_estimated then component end', "','") }} || ',' as estimated_components,
        ',' || coalesce({{ join_texts("case when price_source = 'company' then component end", "','") }}, '') || ','
            as company_components
        {%- for component in price_components() %},
        max(case when component = '{{ component }}' then unit_price_usd end) as {{ component }}_price_usd {%- endfor %}
    from completed
    group by step_number
)

select
    steps.provider,
    priced.model,
    steps.model_key,
    steps.region,
    steps.service_tier,
    {%- for count in counts %}
    steps.{{ count }}_from_tokens,
    steps.{{ count }}_below_tokens,
    {%- endfor %}
    steps.day_from_minute,
    steps.day_to_minute,
    steps.valid_from,
    steps.valid_to,
    nullif(priced.estimated_components, ',,') as estimated_components,
    nullif(priced.company_components, ',,') as company_components
    {%- for component in price_components() %},
    priced.{{ component }}_price_usd {%- endfor %}
from steps
inner join priced on steps.step_number = priced.step_number
