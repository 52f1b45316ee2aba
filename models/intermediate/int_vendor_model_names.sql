{#- A log, a report and a bill name one model in their own ways: here all names of it become the same plain one. -#}
{%- set stages = range(1, 6) %}

with attempts as (
    select * from {{ ref('int_model_cost_daily') }}
),

costs as (
    select * from {{ ref('stg_vendor_costs') }}
),

usage as (
    select * from {{ ref('stg_vendor_usage') }}
),

aliases as (
    select * from {{ ref('stg_company_aliases') }}
    where kind = 'model'
),

providers as (
    select * from {{ ref('providers') }}
),

rules as (
    select * from {{ ref('model_name_rules') }}
),

prices as (
    select distinct
        provider,
        model,
        model_key
    from {{ ref('int_prices') }}
),

reported as (
    select
        provider,
        model
    from costs
    union
    select
        provider,
        model
    from usage
),

-- one row per provider and name in lower case
names as (
    select
        provider,
        model_key as name
    from prices
    union
    select
        provider,
        lower(trim(model)) as name
    from attempts
    where model != '__unknown__'
    union
    select
        provider,
        lower(trim(model)) as name
    from reported
    where model is not null
    union
    select
        reported.provider,
        lower(trim(aliases.name)) as name
    from reported
    inner join aliases on reported.model = aliases.alias
),

-- "openai/gpt-4o" is OpenAI's gpt-4o
stage_0 as (
    select
        names.provider,
        names.name,
        case
            when prefixes.provider is not null then substr(names.name, length(prefixes.provider_alias) + 2)
            else names.name
        end as plain_name
    from names
    left join providers as prefixes
        on
            names.provider = prefixes.provider
            and names.name like '%/%'
            and split_part(names.name, '/', 1) = prefixes.provider_alias
),
{% for stage in stages %}
stage_{{ stage }}_matches as (
    select
        names.provider,
        names.name,
        names.plain_name,
        {{ first_said('rules.pattern', 'rules.priority') }} as matched_pattern,
        {{ first_said("coalesce(rules.replacement, '')", 'rules.priority') }} as replacement
    from stage_{{ stage - 1 }} as names
    left join rules
        on
            rules.stage = {{ stage }}
            and (rules.provider is null or names.provider = rules.provider)
            and {{ matches_pattern('names.plain_name', 'rules.pattern') }}
    group by names.provider, names.name, names.plain_name
),

stage_{{ stage }} as (
    select
        provider,
        name,
        case
            when matched_pattern is null then plain_name
            else {{ replace_matches('plain_name', 'matched_pattern', 'replacement') }}
        end as plain_name
    from stage_{{ stage }}_matches
),
{% endfor %}
-- what a bill says of a model: without the maker before it, as words between blanks
worded as (
    select
        provider,
        name,
        plain_name,
        translate(
            case
                when {{ matches_pattern('plain_name', "'^[a-z0-9]+[.][a-z]'") }}
                    then substr(plain_name, length(split_part(plain_name, '.', 1)) + 2)
                else plain_name
            end,
            '-_.:/(),|', '         '
        ) as name_words
    from stage_5
)

select
    worded.provider,
    worded.name,
    coalesce(plain_prices.model, worded.plain_name) as model,
    -- only names that the price book knows are looked for in the wording of a bill
    case
        when
            name_prices.provider is not null and length(worded.name_words) > 1
            and {{ matches_pattern('worded.name_words', "'[a-z]'") }}
            then worded.name_words
    end as name_words
from worded
left join prices as plain_prices
    on worded.provider = plain_prices.provider and worded.plain_name = plain_prices.model_key
left join prices as name_prices on worded.provider = name_prices.provider and worded.name = name_prices.model_key
