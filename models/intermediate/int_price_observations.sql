{%- set key = 'provider, model_key, region, service_tier, context_above_tokens, component' %}
{%- set plan = 'provider, model_key, region, service_tier, context_above_tokens' %}

with observations as (
    select * from {{ ref('stg_model_prices') }}
),

price_book as (
    select * from {{ ref('price_book') }}
),

keyed as (
    select
        provider,
        model,
        lower(model) as model_key,
        region,
        service_tier,
        context_above_tokens,
        component,
        cast(usd_per_million as decimal(18, 6)) as usd_per_million,
        effective_from,
        observed_at,
        origin,
        -- a list of today does not change what was billed before
        greatest(coalesce(effective_from, observed_at), observed_at) as valid_from
    from observations
),

-- what the book says last of the same price, and when that was read
booked as (
    select
        provider,
        lower(model) as model_key,
        region,
        service_tier,
        context_above_tokens,
        component,
        max_by(usd_per_million, coalesce(valid_from, timestamp '0001-01-01 00:00:00')) as booked_usd_per_million,
        max(observed_date) as booked_date
    from price_book
    where daily_from is null
    group by provider, lower(model), region, service_tier, context_above_tokens, component
),

neighbours as (
    select
        keyed.*,
        lag(keyed.usd_per_million) over (
            partition by
                keyed.provider, keyed.model_key, keyed.region, keyed.service_tier, keyed.context_above_tokens,
                keyed.component
            order by keyed.observed_at
        ) as earlier_usd_per_million,
        booked.booked_usd_per_million,
        booked.booked_date
    from keyed
    left join booked
        on
            keyed.provider = booked.provider
            and keyed.model_key = booked.model_key
            and keyed.region is not distinct from booked.region
            and keyed.service_tier = booked.service_tier
            and keyed.context_above_tokens = booked.context_above_tokens
            and keyed.component = booked.component
),

-- one row per observation: how many there are of the same price, and how many of them are near it
supported as (
    select
        here.provider,
        here.model_key,
        here.region,
        here.service_tier,
        here.context_above_tokens,
        here.component,
        here.observed_at,
        here.usd_per_million,
        count(*) as observations,
        sum(case when {{ is_far_apart('here.usd_per_million', 'there.usd_per_million') }} then 0 else 1 end)
            as near_observations
    from keyed as here
    inner join keyed as there
        on
            here.provider = there.provider
            and here.model_key = there.model_key
            and here.region is not distinct from there.region
            and here.service_tier = there.service_tier
            and here.context_above_tokens = there.context_above_tokens
            and here.component = there.component
    group by
        here.provider, here.model_key, here.region, here.service_tier, here.context_above_tokens, here.component,
        here.observed_at, here.usd_per_million
),

-- the grain changes: one row per price, with the first observation that another one is near; none where all contradict
-- each other
anchors as (
    select
        provider,
        model_key,
        region,
        service_tier,
        context_above_tokens,
        component,
        max(observations) as observations,
        min_by(usd_per_million, case when near_observations > 1 or observations = 1 then observed_at end)
            as anchor_usd_per_million
    from supported
    group by provider, model_key, region, service_tier, context_above_tokens, component
),

-- the grain changes: one row per model, tier and step: whether a price of its input and of its output is known at all
completeness as (
    select
        {{ plan }},
        max(case when component in ('input', 'call', 'image') then 1 else 0 end) = 1 as has_input,
        max(case when component in ('output', 'call', 'image') then 1 else 0 end) = 1 as has_output
    from (
        select {{ plan }}, component from keyed
        union all
        select {{ plan }}, component from booked
    ) as components
    group by {{ plan }}
),

-- the grain changes: one row per model, tier, step and moment of observation, with what was last known of the
-- components that are judged together
moments as (
    select
        {{ plan }},
        observed_at
        {%- for component in ['input', 'output'] %},
        max(case when component = '{{ component }}' then usd_per_million end) as {{ component }}_usd {%- endfor %}
    from keyed
    group by {{ plan }}, observed_at
),

known as (
    select
        {{ plan }},
        observed_at
        {%- for component in ['input', 'output'] %},
        last_value({{ component }}_usd ignore nulls) over (
            partition by {{ plan }}
            order by observed_at
            rows between unbounded preceding and current row
        ) as known_{{ component }}_usd {%- endfor %}
    from moments
),

compared as (
    select
        neighbours.*,
        anchors.observations,
        anchors.anchor_usd_per_million,
        completeness.has_input and completeness.has_output as is_complete,
        known.known_input_usd,
        known.known_output_usd
    from neighbours
    inner join anchors
        on
            neighbours.provider = anchors.provider
            and neighbours.model_key = anchors.model_key
            and neighbours.region is not distinct from anchors.region
            and neighbours.service_tier = anchors.service_tier
            and neighbours.context_above_tokens = anchors.context_above_tokens
            and neighbours.component = anchors.component
    inner join completeness
        on
            neighbours.provider = completeness.provider
            and neighbours.model_key = completeness.model_key
            and neighbours.region is not distinct from completeness.region
            and neighbours.service_tier = completeness.service_tier
            and neighbours.context_above_tokens = completeness.context_above_tokens
    inner join known
        on
            neighbours.provider = known.provider
            and neighbours.model_key = known.model_key
            and neighbours.region is not distinct from known.region
            and neighbours.service_tier = known.service_tier
            and neighbours.context_above_tokens = known.context_above_tokens
            and neighbours.observed_at = known.observed_at
),

judged as (
    select
        *,
        -- the book vouches for a price that is near its own, else the other observations do that are near each other
        case
            when {{ is_far_apart('usd_per_million', 'booked_usd_per_million') }}
                then 'a factor of 500 or more from the price book'
            when
                booked_usd_per_million is null
                and (
                    {{ is_far_apart('usd_per_million', 'anchor_usd_per_million') }}
                    or (observations > 1 and anchor_usd_per_million is null)
                )
                then 'a factor of 500 or more from other observations'
            when
                booked_usd_per_million is null and component like '%put' and usd_per_million >= 100
                then '100 USD or more per million tokens and not in the price book'
            when
                component in ('input', 'output') and known_output_usd > 0 and known_output_usd < known_input_usd
                then 'output below input'
            when
                component = 'cache_write_1h' and usd_per_million != 2 * known_input_usd
                then 'one-hour cache write is not twice the input price'
            when service_tier = 'standard' and context_above_tokens = 0 and region is null and not is_complete
                then 'only a part of the prices of this model is known'
        end as held_reason
    from compared
),

-- what the book was read later than, it knows better
stated as (
    select
        *,
        case
            when held_reason is not null then 'held'
            when cast(observed_at as date) <= booked_date then 'not_needed'
            else 'used'
        end as state
    from judged
)

select
    provider,
    model,
    model_key,
    region,
    service_tier,
    context_above_tokens,
    component,
    usd_per_million,
    effective_from,
    observed_at,
    origin,
    booked_usd_per_million,
    earlier_usd_per_million,
    state,
    held_reason,
    valid_from,
    case
        when state = 'used'
            then lead(valid_from) over (partition by {{ key }}, state order by observed_at, valid_from)
    end as valid_to
from stated
