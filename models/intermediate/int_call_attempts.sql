{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with calls as (
    select * from {{ ref('stg_llm_calls') }}
    where {{ in_touched_dates('usage_date') }}
),

aliases as (
    select * from {{ ref('stg_company_aliases') }}
),

providers as (
    select * from {{ ref('providers') }}
),

prices as (
    select * from {{ ref('int_model_prices') }}
),

-- one row per provider, model and date as logged: names are resolved once, not once a call
logged_names as (
    select distinct
        provider as logged_provider,
        model as logged_model,
        usage_date
    from calls
),

company_names as (
    select
        logged_names.logged_provider,
        logged_names.logged_model,
        logged_names.usage_date,
        lower(trim(logged_names.logged_provider)) as provider,
        trim(coalesce(aliases.name, logged_names.logged_model)) as model
    from logged_names
    left join aliases
        on
            aliases.kind = 'model'
            and logged_names.logged_model = aliases.alias
            and logged_names.usage_date >= aliases.valid_from
            and logged_names.usage_date < aliases.valid_to
),

-- "openai/gpt-4o" names its provider: the prefix goes where it says nothing else, and fills in for a missing provider
prefixed as (
    select
        company_names.logged_provider,
        company_names.logged_model,
        company_names.usage_date,
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

names as (
    select
        logged_provider,
        logged_model,
        usage_date,
        provider,
        case
            when prefix_provider = provider then substr(model, length(prefix) + 2)
            else model
        end as model,
        coalesce(billing, 'metered') as billing
    from prefixed
),

priced_models as (
    select distinct
        provider,
        model,
        model_key
    from prices
),

priced_tiers as (
    select distinct
        provider,
        model_key,
        service_tier
    from prices
),

counted as (
    select
        calls.*,
        names.provider as canonical_provider,
        names.model as logged_model,
        lower(names.model) as model_key,
        names.billing,
        case
            when lower(calls.service_tier) in ('default', 'auto', 'standard', 'on_demand', '') then 'standard'
            else coalesce(lower(calls.service_tier), 'standard')
        end as price_tier,
        1 as request_count,
        -- null where no part of the input (output) was reported
        {{ sum_reported([
            'calls.uncached_input_tokens', 'calls.cache_read_tokens', 'calls.cache_write_5m_tokens',
            'calls.cache_write_1h_tokens', 'calls.audio_input_tokens', 'calls.image_input_tokens',
        ]) }} as input_tokens,
        {{ sum_reported([
            'calls.output_text_tokens', 'calls.reasoning_tokens', 'calls.audio_output_tokens',
            'calls.image_output_tokens',
        ]) }} as output_tokens
    from calls
    left join names
        on
            calls.provider is not distinct from names.logged_provider
            and calls.model is not distinct from names.logged_model
            and calls.usage_date = names.usage_date
),

-- the price in force when the call started; the step of the context tier counts all input, cached tokens included
matched as (
    select
        counted.*,
        -- spelled as the price book does; a model that it does not know, as the log does
        coalesce(priced_models.model, counted.logged_model) as canonical_model,
        prices.provider is not null as has_price,
        priced_tiers.provider is not null as has_tier,
        priced_models.provider is not null as has_model,
        {% for component in price_components() -%}
        {% if component == 'reasoning' -%}
        coalesce(prices.reasoning_price_usd, prices.output_price_usd) as reasoning_price_usd
        {%- elif component == 'image_input' -%}
        coalesce(prices.image_input_price_usd, prices.input_price_usd) as image_input_price_usd
        {%- elif component == 'call' -%}
        coalesce(prices.call_price_usd, 0) as call_price_usd
        {%- else -%}
        prices.{{ component }}_price_usd
        {%- endif %},
        {% endfor -%}
        prices.call_price_usd is not null as is_priced_per_call
    from counted
    left join priced_models
        on
            counted.canonical_provider = priced_models.provider
            and counted.model_key = priced_models.model_key
    left join priced_tiers
        on
            counted.canonical_provider = priced_tiers.provider
            and counted.model_key = priced_tiers.model_key
            and counted.price_tier = priced_tiers.service_tier
    left join prices
        on
            counted.canonical_provider = prices.provider
            and counted.model_key = prices.model_key
            and counted.price_tier = prices.service_tier
            and counted.started_at >= prices.valid_from
            and counted.started_at < prices.valid_to
            and (prices.context_above_tokens = 0 or counted.input_tokens > prices.context_above_tokens)
            and (
                prices.context_up_to_tokens is null
                or coalesce(counted.input_tokens, 0) <= prices.context_up_to_tokens
            )
),

judged as (
    select
        *,
        case
            when response_cache_hit then null
            when billing = 'self_hosted' then 'awaiting_allocation'
            when
                input_tokens is null and output_tokens is null and image_count is null and web_search_count is null
                and not is_priced_per_call
                then 'usage_missing'
            when not has_model then 'no_price_for_model'
            when not has_tier then 'no_price_for_tier'
            when not has_price then 'no_price_at_time'
            when
                not is_priced_per_call
                and (
                    {%- for component, units in price_components().items() if component != 'call' %}
                    ({{ units }} > 0 and {{ component }}_price_usd is null){{ ' or' if not loop.last }}
                    {%- endfor %}
                )
                then 'no_price_for_component'
        end as unpriced_reason
    from matched
),

costed as (
    select
        *,
        {% for component, units in price_components().items() -%}
        coalesce({{ multiply_money(units, component ~ '_price_usd') }}, 0) as {{ component }}_cost_usd,
        {% endfor -%}
        -- what people quote: every input token at the fresh price, every output token at the output price
        {{ multiply_money('coalesce(input_tokens, 0)', 'input_price_usd') }}
        + {{ multiply_money('coalesce(output_tokens, 0)', 'output_price_usd') }} as quoted_cost_usd
    from judged
)

select
    source,
    call_id,
    attempt_number,
    usage_date,
    batch_id,
    parent_call_id,
    response_id,
    trace_id,
    task_id,
    task_id_origin,
    task_type,
    team,
    application,
    customer,
    environment,
    step_name,
    step_index,
    call_kind,
    workload_kind,
    started_at,
    first_token_at,
    ended_at,
    canonical_provider as provider,
    canonical_model as model,
    price_tier as service_tier,
    region,
    deployment_id,
    api_base,
    replica_id,
    prompt_version,
    release,
    experiment,
    sample_weight,
    cast(input_tokens as decimal(18, 0)) as input_tokens,
    cast(output_tokens as decimal(18, 0)) as output_tokens,
    cache_read_tokens,
    cache_write_5m_tokens,
    cache_write_1h_tokens,
    reasoning_tokens,
    audio_input_tokens,
    audio_output_tokens,
    image_input_tokens,
    image_output_tokens,
    image_count,
    web_search_count,
    tool_call_count,
    status,
    error_type,
    retry_reason,
    response_cache_hit,
    reported_cost,
    reported_currency,
    prompt_hash,
    prefix_hash,
    prefix_tokens,
    context_tokens,
    temperature,
    router_confidence,
    case
        when unpriced_reason is not null then cast(null as decimal(38, 12))
        when response_cache_hit then cast(0 as decimal(38, 12))
        else cast(
            {%- for component in price_components() %}
            {{ component }}_cost_usd{{ ' +' if not loop.last }}
            {%- endfor %}
            as decimal(38, 12)
        )
    end as cost_usd,
    case when unpriced_reason is null then 'metered' else 'unpriced' end as cost_basis,
    unpriced_reason,
    cast(quoted_cost_usd as decimal(38, 12)) as quoted_cost_usd
from costed
