{%- set plan = ['provider', 'lower(model)', "coalesce(region, '')", 'service_tier'] %}
{%- set plan_key = "concat_ws('|', " ~ plan | join(', ') ~ ", cast(context_above_tokens as string))" %}
{%- set judged_together = ['input', 'output'] %}

with observations as (
    select * from {{ ref('stg_model_prices') }}
),

price_book as (
    select * from {{ ref('price_book') }}
),

-- a plan is a model's prices in one region, tier and step; a price is of one component of a plan
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
        {{ plan_key }} as plan_key,
        -- a list of today does not change what was billed before
        greatest(coalesce(effective_from, observed_at), observed_at) as valid_from
    from observations
),

-- what the book says last of the same price, and when that was read
booked as (
    select
        {{ plan_key }} as plan_key,
        component,
        {{ newest('usd_per_million', "coalesce(valid_from, timestamp '0001-01-01 00:00:00')") }}
            as booked_usd_per_million,
        max(observed_date) as booked_date
    from price_book
    where daily_from is null
    group by {{ plan_key }}, component
),

-- one row per observation: how many there are of the same price, and how many of them are near it
supported as (
    select
        here.plan_key,
        here.component,
        here.observed_at,
        here.usd_per_million,
        count(*) as observations,
        sum(case when {{ is_far_apart('here.usd_per_million', 'others.usd_per_million') }} then 0 else 1 end)
            as near_observations
    from keyed as here
    inner join keyed as others
        on
            here.plan_key = others.plan_key
            and here.component = others.component
    group by here.plan_key, here.component, here.observed_at, here.usd_per_million
),

-- the grain changes: one row per price, with the first observation that another one is near; none where all contradict
-- each other
anchors as (
    select
        plan_key,
        component,
        max(observations) as observations,
        {{ first_said('usd_per_million', 'case when near_observations > 1 or observations = 1 then observed_at end') }}
            as anchor_usd_per_million
    from supported
    group by plan_key, component
),

known_components as (
    select
        plan_key,
        component
    from keyed
    union
    select
        plan_key,
        component
    from booked
),

-- the grain changes: one row per plan: whether a price of its input and of its output is known at all
completeness as (
    select
        plan_key,
        max(case when component in ('input', 'call', 'image') then 1 else 0 end) = 1
        and max(case when component in ('output', 'call', 'image') then 1 else 0 end) = 1 as is_complete
    from known_components
    group by plan_key
),

-- one row per plan and moment of observation, with what was last known of the components that are judged together
moments as (
    select
        plan_key,
        observed_at
        {%- for component in judged_together %},
        max(case when component = '{{ component }}' then usd_per_million end) as {{ component }}_usd {%- endfor %}
    from keyed
    group by plan_key, observed_at
),

known as (
    select
        plan_key,
        observed_at
        {%- for component in judged_together %},
        {{ last_known(component ~ '_usd') }} over (
            partition by plan_key
            order by observed_at
            rows between unbounded preceding and current row
        ) as known_{{ component }}_usd {%- endfor %}
    from moments
),

compared as (
    select
        keyed.*,
        lag(keyed.usd_per_million) over (partition by keyed.plan_key, keyed.component order by keyed.observed_at)
            as earlier_usd_per_million,
        booked.booked_usd_per_million,
        booked.booked_date,
        anchors.observations,
        anchors.anchor_usd_per_million,
        completeness.is_complete,
        known.known_input_usd,
        known.known_output_usd
    from keyed
    left join booked on keyed.plan_key = booked.plan_key and keyed.component = booked.component
    inner join anchors on keyed.plan_key = anchors.plan_key and keyed.component = anchors.component
    inner join completeness on keyed.plan_key = completeness.plan_key
    inner join known on keyed.plan_key = known.plan_key and keyed.observed_at = known.observed_at
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
            then lead(valid_from) over (
                partition by plan_key, component, state order by observed_at, valid_from nulls last
            )
    end as valid_to
from stated
