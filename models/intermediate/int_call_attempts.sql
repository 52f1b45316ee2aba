{{ config(materialized='view') }}

{%- set shared_columns = [
    'task_id', 'task_id_origin', 'task_type', 'team', 'application', 'customer', 'environment', 'step_name', 'step_index',
    'prompt_version',
] %}
{%- set cost_groups = {
    'fresh_input': ['input', 'audio_input', 'image_input'],
    'cache_read': ['cache_read'],
    'cache_write': ['cache_write_5m', 'cache_write_1h'],
    'output': ['output', 'audio_output', 'image_output', 'image'],
    'reasoning': ['reasoning'],
    'per_call': ['web_search', 'call'],
} %}

with calls as (
    select * from {{ ref('stg_llm_calls') }}
    where {{ in_touched_dates('usage_date') }}
),

model_names as (
    select * from {{ ref('int_model_names') }}
),

discounts as (
    select * from {{ ref('int_discounts') }}
),

prices as (
    select * from {{ ref('int_model_prices') }}
),

shared_calls as (
    select * from {{ ref('int_shared_calls') }}
),

pools as (
    select * from {{ ref('int_serving_pools') }}
),

-- one row per tier and span of its prices: what is only known of another time says nothing of a call
priced_tiers as (
    select distinct
        provider,
        model_key,
        service_tier,
        valid_from,
        valid_to
    from prices
),

priced_regions as (
    select distinct
        provider,
        model_key,
        region
    from prices
),

counted as (
    select
        calls.*,
        names.provider as canonical_provider,
        names.model as canonical_model,
        names.model_key,
        names.model_match,
        names.billing,
        discounts.discount_ratio,
        pools.pool_kind,
        pools.pool_name,
        pools.pool_id,
        -- another source that has seen the call too goes first
        case
            when by_response.first_source != calls.source then by_response.first_source
            when by_span.first_source != calls.source then by_span.first_source
        end as duplicate_of_source
        {%- for column in shared_columns %},
        coalesce(by_response.{{ column }}, by_span.{{ column }}) as shared_{{ column }} {%- endfor %},
        case
            when lower(calls.service_tier) in ('default', 'auto', 'standard', 'standard_only', 'on_demand', '')
                then 'standard'
            else coalesce(lower(calls.service_tier), 'standard')
        end as price_tier,
        extract(hour from calls.started_at) * 60 + extract(minute from calls.started_at) as day_minute,
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
    left join model_names as names
        on
            calls.provider is not distinct from names.logged_provider
            and calls.model is not distinct from names.logged_model
            and case when calls.model is null then calls.tool_name end is not distinct from names.logged_tool
            and calls.usage_date = names.usage_date
    left join discounts
        on
            names.provider = discounts.provider
            and names.model_key = discounts.model_key
            and names.usage_date = discounts.usage_date
    left join pools
        on
            calls.usage_date = pools.usage_date
            and calls.replica_id is not distinct from pools.replica_id
            and calls.api_base is not distinct from pools.api_base
            and calls.deployment_id is not distinct from pools.deployment_id
    left join shared_calls as by_response
        on
            'response:' || calls.response_id = by_response.match_id
            and calls.usage_date = by_response.usage_date
    left join shared_calls as by_span
        on
            'span:' || calls.trace_id || ':' || calls.span_id = by_span.match_id
            and calls.usage_date = by_span.usage_date
),

-- the price in force when the call started, at its hour, in its region, for its number of tokens
priced as (
    select
        counted.*,
        prices.provider is not null as has_price,
        priced_tiers.provider is not null as has_tier,
        standard_tiers.provider is not null as has_standard_tier,
        coalesce(prices.call_price_usd, 0) as call_price_usd,
        prices.call_price_usd is not null as is_priced_per_call,
        prices.estimated_components,
        prices.company_components
        {%- for component in price_components() if component != 'call' %},
        prices.{{ component }}_price_usd {%- endfor %}
    from counted
    left join priced_tiers
        on
            counted.canonical_provider = priced_tiers.provider
            and counted.model_key = priced_tiers.model_key
            and counted.price_tier = priced_tiers.service_tier
            and counted.started_at >= priced_tiers.valid_from
            and counted.started_at < priced_tiers.valid_to
    left join priced_tiers as standard_tiers
        on
            counted.canonical_provider = standard_tiers.provider
            and counted.model_key = standard_tiers.model_key
            and standard_tiers.service_tier = 'standard'
            and counted.started_at >= standard_tiers.valid_from
            and counted.started_at < standard_tiers.valid_to
    left join priced_regions
        on
            counted.canonical_provider = priced_regions.provider
            and counted.model_key = priced_regions.model_key
            and lower(counted.region) = priced_regions.region
    left join prices
        on
            counted.canonical_provider = prices.provider
            and counted.model_key = prices.model_key
            and counted.price_tier = prices.service_tier
            and coalesce(priced_regions.region, '') = prices.region
            and counted.started_at >= prices.valid_from
            and counted.started_at < prices.valid_to
            and counted.day_minute >= prices.day_from_minute
            and counted.day_minute < prices.day_to_minute
            and {{ is_in_step('input') }}
            and {{ is_in_step('uncached_input') }}
            and {{ is_in_step('cache_read') }}
),

judged as (
    select
        *,
        case
            when duplicate_of_source is not null or response_cache_hit then null
            -- what runs on own GPUs is paid with their bill, whatever a price list says of its model; but a gateway may
            -- stand on the same machine, so that its host alone says nothing of a model that has a price
            when billing = 'self_hosted' or pool_kind in ('replica', 'address', 'deployment') then 'awaiting_allocation'
            when pool_kind = 'host' and model_match is null then 'awaiting_allocation'
            when
                call_kind in ('tool', 'retrieval', 'guardrail') and model is null and model_match is null
                and input_tokens is null and output_tokens is null
                then 'no_price_for_tool'
            when
                input_tokens is null and output_tokens is null and image_count is null and web_search_count is null
                and not is_priced_per_call
                then 'usage_missing'
            when model_match is null then 'no_price_for_model'
            when not has_tier and has_standard_tier then 'no_price_for_tier'
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
    from priced
),

listed as (
    select
        *,
        {% for component, units in price_components().items() -%}
        coalesce({{ multiply_money(units, component ~ '_price_usd') }}, 0) as {{ component }}_list_usd,
        {% endfor -%}
        -- what people quote: every input token at the fresh price, every output token at the output price
        {{ multiply_money('coalesce(input_tokens, 0)', 'input_price_usd') }}
        + {{ multiply_money('coalesce(output_tokens, 0)', 'output_price_usd') }} as quoted_cost_usd,
        {{ uses_any('estimated_components') }} as is_price_estimated
    from judged
),

-- a discount is off the list price; the company's own prices are net
costed as (
    select
        *
        {%- for component in price_components() %},
        case
            when discount_ratio is null or contains(company_components, ',{{ component }},')
                then {{ component }}_list_usd
            else {{ weigh_money(component ~ '_list_usd', '(1 - discount_ratio)') }}
        end as {{ component }}_cost_usd {%- endfor %},
        not (duplicate_of_source is not null or response_cache_hit) and unpriced_reason is null as is_charged
    from listed
)

select
    source,
    call_id,
    attempt_number,
    is_attempt_told,
    usage_date,
    batch_id,
    parent_call_id,
    response_id,
    trace_id,
    span_id,
    -- together the sources may name the task that one of them does not
    coalesce(shared_task_id, task_id) as task_id,
    coalesce(shared_task_id_origin, task_id_origin) as task_id_origin
    {%- for column in shared_columns if column not in ['task_id', 'task_id_origin'] %},
    coalesce({{ column }}, shared_{{ column }}) as {{ column }} {%- endfor %},
    call_kind,
    workload_kind,
    started_at,
    first_token_at,
    ended_at,
    canonical_provider as provider,
    canonical_model as model,
    model as logged_model,
    model_match,
    price_tier as service_tier,
    region,
    deployment_id,
    api_base,
    replica_id,
    pool_kind,
    pool_name,
    pool_id,
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
    tool_name,
    unmapped_usage,
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
    {{ sum_charges(price_components(), 'cost_usd') }} as cost_usd
    {%- for group, components in cost_groups.items() %},
    {{ sum_charges(components, 'cost_usd') }} as {{ group }}_cost_usd {%- endfor %},
    {{ sum_charges(price_components(), 'list_usd') }} as list_cost_usd,
    case
        when duplicate_of_source is not null then 'duplicate'
        when unpriced_reason is null then 'metered'
        else 'unpriced'
    end as cost_basis,
    unpriced_reason,
    coalesce(is_charged and is_price_estimated, false) as is_price_estimated,
    discount_ratio,
    duplicate_of_source,
    cast(
        cast(input_price_usd as decimal(18, 12))
        * case
            when discount_ratio is null or contains(company_components, ',input,') then 1
            else 1 - discount_ratio
        end as decimal(18, 12)
    ) as fresh_input_price_usd,
    cast(quoted_cost_usd as decimal(38, 12)) as quoted_cost_usd
from costed
