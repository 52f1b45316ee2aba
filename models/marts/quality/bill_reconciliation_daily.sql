{#- A difference below a cent and below half a per cent needs no cause; token counts agree within one per cent. -#}
{%- set money_tolerance_usd = '0.01' %}
{%- set money_tolerance_ratio = '0.005' %}
{%- set token_tolerance_ratio = '0.01' %}
{%- set place = ['provider', 'basis', 'usage_date', 'model'] %}
{%- set counts = ['input', 'cache_read', 'cache_write', 'output'] %}

with costs as (
    select * from {{ ref('int_vendor_costs_daily') }}
),

usage as (
    select * from {{ ref('int_vendor_usage_daily') }}
),

names as (
    select * from {{ ref('int_vendor_model_names') }}
),

gaps as (
    select * from {{ ref('cost_report_gaps') }}
),

attempts as (
    select
        daily.*,
        coalesce(names.model, '__unknown__') as plain_model,
        -- the provider's cost report never has the tier
        gaps.provider is not null as is_sold_apart
    from {{ ref('int_model_cost_daily') }} as daily
    left join names on daily.provider = names.provider and lower(trim(daily.model)) = names.name
    left join gaps on daily.provider = gaps.provider and daily.service_tier = gaps.service_tier
),

-- one row per provider, basis and day that has lines
report_days as (
    select
        provider,
        basis,
        usage_date,
        max(last_date) as last_date,
        max(delivered_at) as delivered_at,
        max(last_date) > usage_date as is_wide,
        -- more than the tolerance is for tokens of no model in particular: the day can only be compared as a whole
        sum(unnamed_tokens_amount) > {{ money_tolerance_ratio }} * sum(gross_amount) as is_undivided,
        sum(unnamed_other_lines) > 0 as has_other_charges
    from costs
    group by provider, basis, usage_date
),

report_ends as (
    select
        provider,
        basis,
        max(last_date) as last_date
    from report_days
    group by provider, basis
),

attempt_days as (
    select distinct
        provider,
        usage_date
    from attempts
),

-- a day without lines is compared where it is next to one that has some, or within a charge for longer than a day
open_days as (
    select
        report_days.provider,
        report_days.basis,
        attempt_days.usage_date,
        max(case when attempt_days.usage_date <= report_days.last_date and report_days.is_wide then 1 else 0 end) = 1
            as is_wide,
        max(case when report_days.is_undivided then 1 else 0 end) = 1 as is_undivided,
        max(case when report_days.has_other_charges then 1 else 0 end) = 1 as has_other_charges
    from report_days
    inner join attempt_days
        on
            report_days.provider = attempt_days.provider
            and attempt_days.usage_date >= report_days.usage_date - 1
            and attempt_days.usage_date <= report_days.last_date + 1
    left join report_days as own_days
        on
            report_days.provider = own_days.provider
            and report_days.basis = own_days.basis
            and attempt_days.usage_date = own_days.usage_date
    where own_days.usage_date is null
    group by report_days.provider, report_days.basis, attempt_days.usage_date
),

compared_days as (
    select
        provider,
        basis,
        usage_date,
        is_wide,
        is_undivided,
        has_other_charges,
        -- told before the day was over
        coalesce(delivered_at < usage_date + interval '1' day, false) as is_provisional
    from report_days
    union all
    select
        open_days.provider,
        open_days.basis,
        open_days.usage_date,
        open_days.is_wide,
        open_days.is_undivided,
        open_days.has_other_charges,
        open_days.usage_date > report_ends.last_date as is_provisional
    from open_days
    inner join report_ends
        on open_days.provider = report_ends.provider and open_days.basis = report_ends.basis
),

-- the three sides, each with one row per provider, basis, day and model
billed as (
    select
        costs.provider,
        costs.basis,
        costs.usage_date,
        case when compared_days.is_undivided then '__all__' else costs.model end as model,
        sum(costs.line_count) as billed_lines,
        sum(costs.unconverted_line_count) as unconverted_lines,
        sum(costs.billed_usd) as billed_usd,
        sum(costs.uncounted_billed_usd) as uncounted_billed_usd,
        sum(costs.typed_lines) as typed_lines,
        sum(costs.cache_read_lines) as cache_read_lines,
        sum(costs.cache_write_lines) as cache_write_lines
    from costs
    inner join compared_days
        on
            costs.provider = compared_days.provider
            and costs.basis = compared_days.basis
            and costs.usage_date = compared_days.usage_date
    group by
        costs.provider,
        costs.basis,
        costs.usage_date,
        case when compared_days.is_undivided then '__all__' else costs.model end
),

compared_attempts as (
    select
        attempts.*,
        compared_days.basis,
        compared_days.is_undivided,
        -- searches that the vendor bills without naming a model are not compared with the models
        compared_days.has_other_charges and not compared_days.is_undivided as is_split,
        attempts.is_sold_apart and compared_days.basis = 'vendor_report' as is_excluded
    from attempts
    inner join compared_days
        on attempts.provider = compared_days.provider and attempts.usage_date = compared_days.usage_date
),

priced_parts as (
    select
        provider,
        basis,
        usage_date,
        case when is_undivided then '__all__' else plain_model end as model,
        attempts,
        failed_attempts_without_usage,
        case when is_excluded then 0 else attempts end as comparable_attempts,
        case when is_excluded then 0 else unpriced_attempts end as unpriced_attempts,
        case
            when is_excluded then null
            when is_split then cost_usd - per_call_cost_usd
            else cost_usd
        end as priced_usd,
        case when is_excluded then cost_usd end as excluded_priced_usd,
        case when is_excluded then attempts else 0 end as excluded_attempts,
        case when not is_excluded then estimated_input_cost_usd end as estimated_input_cost_usd
        {%- for count in counts %},
        {{ count }}_tokens {%- endfor %}
    from compared_attempts
    union all
    select
        provider,
        basis,
        usage_date,
        '__unknown__' as model,
        0 as attempts,
        0 as failed_attempts_without_usage,
        0 as comparable_attempts,
        0 as unpriced_attempts,
        per_call_cost_usd as priced_usd,
        cast(null as decimal(38, 12)) as excluded_priced_usd,
        0 as excluded_attempts,
        cast(null as decimal(38, 12)) as estimated_input_cost_usd
        {%- for count in counts %},
        cast(null as bigint) as {{ count }}_tokens {%- endfor %}
    from compared_attempts
    where is_split and not is_excluded and per_call_cost_usd != 0
),

priced as (
    select
        {{ place | join(', ') }},
        sum(attempts) as attempts,
        sum(comparable_attempts) as comparable_attempts,
        sum(unpriced_attempts) as unpriced_attempts,
        sum(failed_attempts_without_usage) as failed_attempts_without_usage,
        sum(priced_usd) as priced_usd,
        sum(excluded_attempts) as excluded_attempts,
        sum(excluded_priced_usd) as excluded_priced_usd,
        sum(estimated_input_cost_usd) as estimated_input_cost_usd
        {%- for count in counts %},
        sum({{ count }}_tokens) as {{ count }}_tokens {%- endfor %}
    from priced_parts
    group by {{ place | join(', ') }}
),

used as (
    select
        usage.provider,
        compared_days.basis,
        usage.usage_date,
        case when compared_days.is_undivided then '__all__' else usage.model end as model,
        sum(usage.request_count) as request_count
        {%- for count in counts %},
        sum(usage.{{ count }}_tokens) as {{ count }}_tokens {%- endfor %}
    from usage
    inner join compared_days
        on usage.provider = compared_days.provider and usage.usage_date = compared_days.usage_date
    group by
        usage.provider,
        compared_days.basis,
        usage.usage_date,
        case when compared_days.is_undivided then '__all__' else usage.model end
),

all_places as (
    {%- for side in ['billed', 'priced', 'used'] %}
    select {{ place | join(', ') }} from {{ side }}
    {%- if not loop.last %}
    union
    {%- endif %}
    {%- endfor %}
),

joined as (
    select
        all_places.usage_date,
        all_places.provider,
        all_places.basis,
        all_places.model,
        compared_days.is_provisional,
        compared_days.is_wide,
        coalesce(billed.billed_lines, 0) as billed_lines,
        coalesce(billed.unconverted_lines, 0) as unconverted_lines,
        case when coalesce(billed.unconverted_lines, 0) = 0 then coalesce(billed.billed_usd, 0) end as billed_usd,
        billed.uncounted_billed_usd,
        coalesce(billed.typed_lines, 0) > 0 as has_token_types,
        coalesce(billed.cache_read_lines, 0) > 0 as bills_cache_reads,
        coalesce(billed.cache_write_lines, 0) > 0 as bills_cache_writes,
        coalesce(priced.attempts, 0) as attempts,
        coalesce(priced.unpriced_attempts, 0) as unpriced_attempts,
        coalesce(priced.failed_attempts_without_usage, 0) as failed_attempts_without_usage,
        case
            when coalesce(priced.comparable_attempts, 0) > 0 then priced.priced_usd
            else coalesce(priced.priced_usd, 0)
        end as priced_usd,
        case when coalesce(priced.excluded_attempts, 0) > 0 then priced.excluded_priced_usd else 0 end
            as excluded_priced_usd,
        coalesce(priced.estimated_input_cost_usd, 0) as estimated_input_cost_usd,
        used.request_count as vendor_requests
        {%- for count in counts %},
        priced.{{ count }}_tokens,
        used.{{ count }}_tokens as vendor_{{ count }}_tokens {%- endfor %}
    from all_places
    inner join compared_days
        on
            all_places.provider = compared_days.provider
            and all_places.basis = compared_days.basis
            and all_places.usage_date = compared_days.usage_date
    left join billed
        on
            all_places.provider = billed.provider
            and all_places.basis = billed.basis
            and all_places.usage_date = billed.usage_date
            and all_places.model = billed.model
    left join priced
        on
            all_places.provider = priced.provider
            and all_places.basis = priced.basis
            and all_places.usage_date = priced.usage_date
            and all_places.model = priced.model
    left join used
        on
            all_places.provider = used.provider
            and all_places.basis = used.basis
            and all_places.usage_date = used.usage_date
            and all_places.model = used.model
),

explained as (
    select
        *,
        cast(billed_usd - coalesce(priced_usd, 0) as decimal(38, 12)) as unexplained_usd,
        sum(unpriced_attempts) over (partition by usage_date, provider, basis) as unpriced_attempts_of_day,
        coalesce(input_tokens, 0) + coalesce(output_tokens, 0) as tokens,
        coalesce(vendor_input_tokens, 0) + coalesce(vendor_output_tokens, 0) as vendor_tokens,
        coalesce(vendor_input_tokens, vendor_output_tokens) is not null as has_vendor_tokens,
        abs(coalesce(vendor_cache_read_tokens, 0) - coalesce(cache_read_tokens, 0)) as cache_read_difference,
        abs(coalesce(vendor_cache_write_tokens, 0) - coalesce(cache_write_tokens, 0)) as cache_write_difference
    from joined
),

weighed as (
    select
        *,
        {{ safe_divide('unexplained_usd', 'billed_usd') }} as unexplained_ratio,
        vendor_tokens > (1 + {{ token_tolerance_ratio }}) * tokens as has_more_vendor_tokens,
        tokens > (1 + {{ token_tolerance_ratio }}) * vendor_tokens as has_fewer_vendor_tokens,
        greatest(cache_read_difference, cache_write_difference) > {{ token_tolerance_ratio }} * vendor_input_tokens
            as splits_input_otherwise,
        abs(vendor_input_tokens - coalesce(input_tokens, 0)) <= {{ token_tolerance_ratio }} * vendor_input_tokens
            as has_same_input
    from explained
),

-- each cause that the counts speak for, the surest first
suspected as (
    select
        *,
        concat_ws(
            ', ',
            case when billed_lines > 0 and attempts = 0 then 'not_in_log' end,
            case when billed_lines = 0 and unexplained_usd < 0 then 'not_billed' end,
            case when is_wide then 'wide_charge_period' end,
            case when unexplained_usd > 0 and unpriced_attempts > 0 then 'unpriced_models' end,
            case
                when attempts = 0 or billed_lines = 0 then null
                when has_vendor_tokens and has_same_input and splits_input_otherwise then 'cache_class_mismatch'
                when
                    not has_vendor_tokens and has_token_types
                    and (
                        bills_cache_reads != (coalesce(cache_read_tokens, 0) > 0)
                        or bills_cache_writes != (coalesce(cache_write_tokens, 0) > 0)
                    )
                    then 'cache_class_mismatch'
            end,
            case
                when
                    unexplained_usd > 0 and attempts > 0
                    and (coalesce(vendor_requests, 0) > attempts or failed_attempts_without_usage > 0)
                    then 'hidden_retries'
            end,
            case
                when unexplained_usd > 0 and attempts > 0 and has_vendor_tokens and has_more_vendor_tokens
                    then 'missing_calls'
            end,
            case
                when unexplained_usd < 0 and billed_lines > 0 and has_vendor_tokens and has_fewer_vendor_tokens
                    then 'extra_calls'
            end,
            case
                when
                    attempts > 0 and billed_lines > 0 and has_vendor_tokens
                    and not has_more_vendor_tokens and not has_fewer_vendor_tokens
                    and not coalesce(splits_input_otherwise, false)
                    then 'stale_price'
            end,
            -- calls under a name that nobody knows may be what this model's bill is for
            case
                when unexplained_usd > 0 and unpriced_attempts = 0 and unpriced_attempts_of_day > 0
                    then 'unpriced_models'
            end
        ) as causes
    from weighed
)

select
    usage_date,
    provider,
    basis,
    model,
    cast(billed_usd as decimal(38, 12)) as billed_usd,
    cast(priced_usd as decimal(38, 12)) as priced_usd,
    unexplained_usd,
    unexplained_ratio,
    case
        when unconverted_lines > 0 then 'missing_exchange_rate'
        when unexplained_usd is null then null
        when
            abs(unexplained_usd) < {{ money_tolerance_usd }}
            and coalesce(abs(unexplained_ratio), 0) < {{ money_tolerance_ratio }}
            then null
        when causes = '' then 'unknown'
        else causes
    end as suspects,
    is_provisional,
    cast(excluded_priced_usd as decimal(38, 12)) as excluded_priced_usd,
    cast(uncounted_billed_usd as decimal(38, 12)) as uncounted_billed_usd,
    cast(estimated_input_cost_usd as decimal(38, 12)) as estimated_input_cost_usd,
    cast(billed_lines as bigint) as billed_lines,
    cast(unconverted_lines as bigint) as unconverted_lines,
    cast(attempts as bigint) as attempts,
    cast(unpriced_attempts as bigint) as unpriced_attempts,
    cast(failed_attempts_without_usage as bigint) as failed_attempts_without_usage,
    cast(vendor_requests as bigint) as vendor_requests
    {%- for count in counts %},
    cast({{ count }}_tokens as bigint) as {{ count }}_tokens,
    cast(vendor_{{ count }}_tokens as bigint) as vendor_{{ count }}_tokens {%- endfor %}
from suspected
