{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

{#- Why an attempt has no cost; to run on GPUs without a bill, or to be a tool without a charge, is no gap. -#}
{%- set gaps = [
    'usage_missing', 'no_price_for_model', 'no_price_for_tier', 'no_price_at_time', 'no_price_for_component',
] %}
{%- set others = ['no_gpu_for_call', 'gpu_not_billed', 'no_exchange_rate', 'weight_missing', 'no_price_for_tool'] %}

with attempts as (
    select
        *,
        coalesce(provider, '__unknown__') as provider_name,
        coalesce(model, '__unknown__') as model_name,
        unpriced_reason in ('{{ gaps | join("', '") }}') as is_gap,
        coalesce(input_tokens, 0) + coalesce(output_tokens, 0) as tokens
    from {{ ref('fct_call_attempts') }}
    where duplicate_of_source is null and {{ in_touched_dates('usage_date') }}
),

-- the grain changes: from one row per attempt to one row per day, source, provider, model, match and kind of call
days as (
    select
        usage_date,
        source,
        provider_name as provider,
        model_name as model,
        model_match,
        call_kind,
        count(*) as attempts,
        count(case when unpriced_reason is null then 1 end) as priced_attempts,
        count(case when is_gap then 1 end) as unpriced_attempts
        {%- for reason in gaps + others %},
        count(case when unpriced_reason = '{{ reason }}' then 1 end) as {{ reason }}_attempts {%- endfor %},
        count(case when is_price_estimated then 1 end) as estimated_price_attempts,
        cast(sum(tokens) as bigint) as tokens,
        cast(coalesce(sum(case when unpriced_reason is null then tokens end), 0) as bigint) as priced_tokens,
        cast(coalesce(sum(case when is_gap then tokens end), 0) as bigint) as unpriced_tokens
    from attempts
    group by usage_date, source, provider_name, model_name, model_match, call_kind
)

select
    usage_date,
    source,
    provider,
    model,
    model_match,
    call_kind,
    attempts,
    priced_attempts,
    unpriced_attempts
    {%- for reason in gaps + others %},
    {{ reason }}_attempts {%- endfor %},
    estimated_price_attempts,
    {{ safe_divide('priced_attempts', 'priced_attempts + unpriced_attempts') }} as priced_attempts_ratio,
    tokens,
    priced_tokens,
    unpriced_tokens,
    {{ safe_divide('priced_tokens', 'priced_tokens + unpriced_tokens') }} as priced_tokens_ratio
from days
