{%- set stages = range(1, 6) %}

with logged_names as (
    select * from {{ ref('int_logged_names') }}
),

aliases as (
    select * from {{ ref('stg_company_aliases') }}
),

providers as (
    select * from {{ ref('providers') }}
),

rules as (
    select * from {{ ref('model_name_rules') }}
),

dates as (
    select pattern from rules
    where rule = 'snapshot_date'
),

-- the name of a dated snapshot without its date stands beside it
prices as (
    select
        prices.*,
        case
            when {{ matches_pattern('prices.model_key', 'dates.pattern') }}
                then {{ replace_matches('prices.model_key', 'dates.pattern', "''") }}
        end as undated_key
    from {{ ref('int_prices') }} as prices
    left join dates on true
),

company_names as (
    select
        logged_names.logged_provider,
        logged_names.logged_model,
        logged_names.logged_tool,
        logged_names.usage_date,
        aliases.name is not null as is_alias,
        coalesce(
            lower(trim(logged_names.logged_provider)), case when logged_names.logged_tool is not null then 'tool' end
        ) as provider,
        trim(coalesce(aliases.name, logged_names.logged_model, logged_names.logged_tool)) as model
    from logged_names
    left join aliases
        on
            aliases.kind = 'model'
            and lower(trim(logged_names.logged_model)) = lower(trim(aliases.alias))
            and logged_names.usage_date >= aliases.valid_from
            and logged_names.usage_date < aliases.valid_to
),

-- "openai/gpt-4o" names its provider: the prefix goes where it says nothing else, and fills in for a missing provider
prefixed as (
    select
        company_names.logged_provider,
        company_names.logged_model,
        company_names.logged_tool,
        company_names.usage_date,
        company_names.is_alias,
        company_names.model,
        coalesce(named.provider, company_names.provider, prefixes.provider) as provider,
        coalesce(named.billing, prefixes.billing) as billing,
        prefixes.provider as prefix_provider,
        lower(split_part(company_names.model, '/', 1)) as prefix
    from company_names
    left join providers as named on company_names.provider = named.provider_alias
    left join providers as prefixes
        on
            lower(split_part(company_names.model, '/', 1)) = prefixes.provider_alias
            and company_names.model like '%/%'
),

unprefixed as (
    select
        logged_provider,
        logged_model,
        logged_tool,
        usage_date,
        is_alias,
        provider,
        billing,
        prefix_provider is not null and prefix_provider = provider as is_prefixed,
        case
            when prefix_provider = provider then substr(model, length(prefix) + 2)
            else model
        end as model
    from prefixed
),

-- whose model it is, where neither the log nor a prefix says
vendors as (
    select
        unprefixed.logged_provider,
        unprefixed.logged_model,
        unprefixed.usage_date,
        {{ first_said('rules.sets_provider', 'rules.priority') }} as provider
    from unprefixed
    inner join rules
        on
            rules.stage = 0
            and {{ matches_pattern('lower(unprefixed.model)', 'rules.pattern') }}
    where unprefixed.provider is null
    group by unprefixed.logged_provider, unprefixed.logged_model, unprefixed.usage_date
),

-- the names that one model goes by: as logged, and as each stage of the rules leaves it
stage_0 as (
    select
        unprefixed.logged_provider,
        unprefixed.logged_model,
        unprefixed.logged_tool,
        unprefixed.usage_date,
        coalesce(unprefixed.provider, vendors.provider) as provider,
        coalesce(unprefixed.billing, 'metered') as billing,
        unprefixed.model,
        lower(unprefixed.model) as model_key,
        case
            when unprefixed.is_alias then 'alias'
            when vendors.provider is not null then 'model_family'
            when unprefixed.is_prefixed then 'provider_prefix'
            else 'exact'
        end as rule
    from unprefixed
    left join vendors
        on
            unprefixed.logged_provider is not distinct from vendors.logged_provider
            and unprefixed.logged_model is not distinct from vendors.logged_model
            and unprefixed.usage_date = vendors.usage_date
),
{% for stage in stages %}
stage_{{ stage }}_matches as (
    select
        names.logged_provider,
        names.logged_model,
        names.logged_tool,
        names.usage_date,
        names.provider,
        names.billing,
        names.model,
        names.model_key,
        names.rule,
        {{ first_said('rules.pattern', 'rules.priority') }} as matched_pattern,
        {{ first_said("coalesce(rules.replacement, '')", 'rules.priority') }} as replacement,
        {{ first_said('rules.rule', 'rules.priority') }} as matched_rule
    from stage_{{ stage - 1 }} as names
    left join rules
        on
            rules.stage = {{ stage }}
            and (rules.provider is null or names.provider = rules.provider)
            and {{ matches_pattern('names.model_key', 'rules.pattern') }}
    group by
        names.logged_provider,
        names.logged_model,
        names.logged_tool,
        names.usage_date,
        names.provider,
        names.billing,
        names.model,
        names.model_key,
        names.rule
),

stage_{{ stage }} as (
    select
        logged_provider,
        logged_model,
        logged_tool,
        usage_date,
        provider,
        billing,
        model,
        case
            when matched_pattern is null then model_key
            else {{ replace_matches('model_key', 'matched_pattern', 'replacement') }}
        end as model_key,
        case
            when matched_rule is null then rule
            when rule = 'exact' then matched_rule
            else rule || '+' || matched_rule
        end as rule
    from stage_{{ stage }}_matches
),
{% endfor %}
-- one row per name without a date, and date on which one dated snapshot of it has a price, and no more
only_snapshots as (
    select
        names.logged_provider,
        names.logged_model,
        names.logged_tool,
        names.usage_date,
        min(prices.model_key) as snapshot_key
    from stage_{{ stages | max }} as names
    inner join prices
        on
            names.provider = prices.provider
            and names.model_key = prices.undated_key
            and names.usage_date >= prices.valid_from
            and names.usage_date < prices.valid_to
    where prices.component in ('input', 'call', 'image')
    group by names.logged_provider, names.logged_model, names.logged_tool, names.usage_date
    having count(distinct prices.model_key) = 1
),

stage_{{ stages | max + 1 }} as (
    select
        names.logged_provider,
        names.logged_model,
        names.logged_tool,
        names.usage_date,
        names.provider,
        names.billing,
        names.model,
        only_snapshots.snapshot_key as model_key,
        case when names.rule = 'exact' then 'only_snapshot' else names.rule || '+only_snapshot' end as rule
    from stage_{{ stages | max }} as names
    inner join only_snapshots
        on
            names.logged_provider is not distinct from only_snapshots.logged_provider
            and names.logged_model is not distinct from only_snapshots.logged_model
            and names.logged_tool is not distinct from only_snapshots.logged_tool
            and names.usage_date = only_snapshots.usage_date
),

candidates as (
    {%- for stage in [0] + stages | list + [stages | max + 1] %}
    select
        *,
        {{ stage }} as stage
    from stage_{{ stage }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

candidate_names as (
    select distinct
        provider,
        model_key,
        usage_date
    from candidates
),

-- one row per name that a log may mean and date on which it has a price: at its start or only later, and of its input
-- (or the whole call) or only of another part
priced_names as (
    select
        names.provider,
        names.model_key,
        names.usage_date,
        min(prices.model) as model,
        min(
            case when prices.component in ('input', 'call', 'image') then 0 else 2 end
            + case when prices.valid_from <= names.usage_date then 0 else 1 end
        ) as doubt
    from candidate_names as names
    inner join prices
        on
            names.provider = prices.provider
            and names.model_key = prices.model_key
            and names.usage_date + 1 > prices.valid_from
            and names.usage_date < prices.valid_to
    group by names.provider, names.model_key, names.usage_date
),

-- of the names whose price is least in doubt the one that was changed least is the model; what no rule leads to a price
-- stays as it is. Prices of other dates do not matter, so that no price can change what a call of another date is
ranked as (
    select
        candidates.logged_provider,
        candidates.logged_model,
        candidates.logged_tool,
        candidates.usage_date,
        candidates.provider,
        candidates.billing,
        coalesce(priced_names.model, candidates.model) as model,
        case when priced_names.provider is null then lower(candidates.model) else candidates.model_key end as model_key,
        case when priced_names.provider is not null then candidates.rule end as model_match,
        row_number() over (
            partition by
                candidates.logged_provider, candidates.logged_model, candidates.logged_tool, candidates.usage_date
            order by coalesce(priced_names.doubt, 4) asc, candidates.stage asc
        ) as candidate_rank
    from candidates
    left join priced_names
        on
            candidates.provider = priced_names.provider
            and candidates.model_key = priced_names.model_key
            and candidates.usage_date = priced_names.usage_date
)

select
    logged_provider,
    logged_model,
    logged_tool,
    usage_date,
    provider,
    model,
    model_key,
    billing,
    model_match
from ranked
where candidate_rank = 1
