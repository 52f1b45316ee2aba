{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

-- the few attempts of which most findings tell
with attempts as (
    select * from {{ ref('fct_call_attempts') }}
    where
        {{ near_touched_dates('usage_date', var('max_task_days')) }}
        and (
            unpriced_reason is not null
            or is_price_estimated
            or unmapped_usage is not null
            or estimated_input_tokens is not null
            or duplicate_of_source is not null
            or (reported_cost is not null and reported_cost_usd is null)
        )
),

tasks as (
    select * from {{ ref('fct_tasks') }}
    where is_cut and {{ in_touched_dates('started_date') }}
),

calls as (
    select * from {{ ref('stg_llm_calls') }}
    where rows_in_delivery > 1 and {{ in_touched_dates('usage_date') }}
),

touched_attempts as (
    select * from attempts
    where {{ in_touched_dates('usage_date') }}
),

-- one row per day, model and reason: what has no price, and so no cost
unpriced as (
    select
        usage_date,
        'unpriced_calls' as kind,
        coalesce(provider, 'no provider') || '/' || coalesce(model, 'no model') as subject,
        cast(null as decimal(38, 12)) as amount_usd,
        count(*) as affected_count,
        unpriced_reason || ': '
        || cast(cast(sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) as bigint) as string) || ' tokens'
            as detail
    from touched_attempts
    where unpriced_reason != 'no_price_for_tool'
    group by usage_date, provider, model, unpriced_reason
),

-- one row per day and model: buckets without a price of their own, priced as another one
estimated as (
    select
        usage_date,
        'estimated_prices' as kind,
        coalesce(provider, 'no provider') || '/' || coalesce(model, 'no model') as subject,
        cast(sum(cost_usd) as decimal(38, 12)) as amount_usd,
        count(*) as affected_count,
        'cached input without a price of its own costs what fresh input does' as detail
    from touched_attempts
    where is_price_estimated
    group by usage_date, provider, model
),

-- one row per day and source: usage that no bucket takes, and so no price
unmapped as (
    select
        usage_date,
        'unmapped_usage' as kind,
        source as subject,
        cast(null as decimal(38, 12)) as amount_usd,
        count(*) as affected_count,
        'for instance ' || min(unmapped_usage) as detail
    from touched_attempts
    where unmapped_usage is not null and duplicate_of_source is null
    group by usage_date, source
),

-- one row per day and model: failed attempts that report no input, though the vendor bills it
unreported as (
    select
        usage_date,
        'unreported_failures' as kind,
        coalesce(provider, 'no provider') || '/' || coalesce(model, 'no model') as subject,
        cast(sum(estimated_input_cost_usd) as decimal(38, 12)) as amount_usd,
        count(*) as affected_count,
        'failed attempts without usage; the dollars are an estimate that no cost contains' as detail
    from touched_attempts
    where estimated_input_tokens is not null
    group by usage_date, provider, model
),

-- one row per day and pair of sources: the same calls in both
seen_twice as (
    select
        usage_date,
        'calls_in_two_sources' as kind,
        source as subject,
        cast(null as decimal(38, 12)) as amount_usd,
        count(*) as affected_count,
        'costed from ' || duplicate_of_source as detail
    from touched_attempts
    where duplicate_of_source is not null
    group by usage_date, source, duplicate_of_source
),

keyed_attempts as (
    select
        *,
        'response:' || response_id as match_key
    from attempts
    where response_id is not null
    union all
    select
        *,
        'span:' || trace_id || ':' || span_id as match_key
    from attempts
    where response_id is null and trace_id is not null and span_id is not null
),

-- one row per day and source: calls whose cost is taken from a source that has none for them
lost_costs as (
    select
        duplicates.usage_date,
        'duplicate_of_unpriced_call' as kind,
        duplicates.source as subject,
        cast(null as decimal(38, 12)) as amount_usd,
        count(*) as affected_count,
        duplicates.duplicate_of_source || ' goes first and has no cost for them: ' || min(costed.unpriced_reason)
            as detail
    from keyed_attempts as duplicates
    inner join keyed_attempts as costed
        on
            duplicates.duplicate_of_source = costed.source
            and duplicates.match_key = costed.match_key
    where
        costed.unpriced_reason is not null
        and duplicates.input_tokens is not null
        and {{ in_touched_dates('duplicates.usage_date') }}
    group by duplicates.usage_date, duplicates.source, duplicates.duplicate_of_source
),

repeated_keys as (
    select
        source,
        call_id,
        attempt_number
    from {{ ref('fct_call_attempts') }}
    where {{ near_touched_dates('usage_date', var('max_task_days')) }}
    group by source, call_id, attempt_number
    having count(*) > 1
),

-- one row per key and later date: the same attempt stands on two dates, and is counted on both
key_dates as (
    select
        attempts.source,
        attempts.call_id,
        attempts.attempt_number,
        attempts.usage_date,
        attempts.cost_usd,
        lag(attempts.usage_date) over (
            partition by attempts.source, attempts.call_id, attempts.attempt_number
            order by attempts.usage_date
        ) as earlier_date
    from {{ ref('fct_call_attempts') }} as attempts
    inner join repeated_keys
        on
            attempts.source = repeated_keys.source
            and attempts.call_id = repeated_keys.call_id
            and attempts.attempt_number = repeated_keys.attempt_number
    where {{ near_touched_dates('attempts.usage_date', var('max_task_days')) }}
),

split_keys as (
    select
        usage_date,
        'call_on_two_dates' as kind,
        source || '/' || call_id || '/' || cast(attempt_number as string) as subject,
        cast(cost_usd as decimal(38, 12)) as amount_usd,
        cast(1 as bigint) as affected_count,
        'also on ' || cast(earlier_date as string) as detail
    from key_dates
    where earlier_date is not null and {{ in_touched_dates('usage_date') }}
),

-- one row per piece of a task whose id lives longer than a task may
cut_tasks as (
    select
        started_date as usage_date,
        'task_cut' as kind,
        task_id as subject,
        cast(cost_usd as decimal(38, 12)) as amount_usd,
        attempt_count as affected_count,
        'the id lives longer than {{ var("max_task_days") }} days; this is one piece of it' as detail
    from tasks
),

-- one row per day and currency: costs that sources reported and that no rate turns into USD
unconverted as (
    select
        usage_date,
        'missing_exchange_rate' as kind,
        'reported costs in ' || coalesce(reported_currency, 'no currency') as subject,
        cast(null as decimal(38, 12)) as amount_usd,
        count(*) as affected_count,
        cast(cast(sum(reported_cost) as decimal(38, 2)) as string) || coalesce(' ' || reported_currency, '') as detail
    from touched_attempts
    where reported_cost is not null and reported_cost_usd is null
    group by usage_date, reported_currency
),

-- one row per day and source: rows beyond the first that share an attempt's key within one delivery and do not count
repeated as (
    select
        usage_date,
        'repeated_attempts' as kind,
        source as subject,
        cast(null as decimal(38, 12)) as amount_usd,
        cast(sum(rows_in_delivery - 1) as bigint) as affected_count,
        'rows that share the key of an attempt with another one of their delivery, of ' || min(call_id) as detail
    from calls
    group by usage_date, source
),

-- one row per task whose attempts stand for different numbers: it is weighed by the largest, its attempts by their own
mixed_weights as (
    select
        min(usage_date) as usage_date,
        'mixed_sample_weights' as kind,
        task_id as subject,
        cast(
            {{ weigh_money('sum(cost_usd)', 'max(sample_weight)') }}
            - sum({{ weigh_money('cost_usd', 'sample_weight') }})
            as decimal(38, 12)
        ) as amount_usd,
        count(*) as affected_count,
        'what cost_per_task_daily counts for the task beyond the sum of its attempts' as detail
    from {{ ref('fct_call_attempts') }}
    where
        task_id is not null
        and duplicate_of_source is null
        and {{ near_touched_dates('usage_date', var('max_task_days')) }}
    group by task_id
    having min(sample_weight) != max(sample_weight)
),

findings as (
    select * from unpriced
    union all
    select * from estimated
    union all
    select * from unmapped
    union all
    select * from unreported
    union all
    select * from seen_twice
    union all
    select * from lost_costs
    union all
    select * from mixed_weights
    where {{ in_touched_dates('usage_date') }}
    union all
    select * from repeated
    union all
    select * from split_keys
    union all
    select * from cut_tasks
    union all
    select * from unconverted
)

select
    usage_date,
    kind,
    subject,
    amount_usd,
    cast(null as decimal(18, 6)) as affected_seconds,
    affected_count,
    detail
from findings
