{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

{#- What reached a vendor: no call that a response cache or an own GPU served, and no tool without a charge. -#}
with attempts as (
    select
        *,
        coalesce(provider, '__unknown__') as provider_name,
        coalesce(model, '__unknown__') as model_name,
        case
            when coalesce(cache_write_5m_tokens, cache_write_1h_tokens) is not null
                then coalesce(cache_write_5m_tokens, 0) + coalesce(cache_write_1h_tokens, 0)
        end as cache_write_tokens
    from {{ ref('fct_call_attempts') }}
    where
        duplicate_of_source is null
        and not coalesce(response_cache_hit, false)
        and cost_basis in ('metered', 'unpriced')
        and coalesce(unpriced_reason, 'none') not in (
            'no_gpu_for_call', 'gpu_not_billed', 'no_exchange_rate', 'weight_missing', 'no_price_for_tool'
        )
        and {{ in_touched_dates('usage_date') }}
)

-- the grain changes: from one row per attempt to one row per day, provider, model and service tier
select
    usage_date,
    provider_name as provider,
    model_name as model,
    service_tier,
    {{ count_rows() }} as attempts,
    {{ count_rows('cost_usd is null') }} as unpriced_attempts,
    {{ count_rows('estimated_input_tokens is not null') }} as failed_attempts_without_usage
    {%- for count in ['input', 'cache_read', 'cache_write', 'output'] %},
    cast(
        round(sum(cast({{ count }}_tokens as decimal(20, 0)) * cast(sample_weight as decimal(14, 6)))) as bigint
    ) as {{ count }}_tokens {%- endfor %},
    {{ sum_money('cost_usd') }} as cost_usd,
    {{ sum_money('per_call_cost_usd') }} as per_call_cost_usd,
    {{ sum_money('estimated_input_cost_usd', 'estimated_input_cost_usd is not null') }} as estimated_input_cost_usd
from attempts
group by usage_date, provider_name, model_name, service_tier
