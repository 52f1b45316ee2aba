{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with lines as (
    select * from {{ ref('int_bill_lines') }}
    where {{ in_touched_dates('usage_date') }}
),

gpu_hours as (
    select * from {{ ref('int_gpu_hours') }}
    where resource_id is not null and {{ in_touched_dates('usage_date') }}
),

sample_hours as (
    select * from {{ ref('int_gpu_sample_hours') }}
    where {{ in_touched_dates('usage_date') }}
),

signals as (
    select * from {{ ref('int_gpu_hour_signals') }}
    where {{ in_touched_dates('usage_date') }}
),

allocations as (
    select * from {{ ref('int_call_allocations') }}
    where {{ in_touched_dates('usage_date') }}
),

call_hours as (
    select * from {{ ref('int_call_hours') }}
    where {{ in_touched_dates('usage_date') }}
),

gpu_pools as (
    select * from {{ ref('int_gpu_pools') }}
    where {{ in_touched_dates('usage_date') }}
),

serving_tokens as (
    select * from {{ ref('int_serving_tokens_daily') }}
    where {{ in_touched_dates('usage_date') }}
),

watermarks as (
    select * from {{ ref('int_bill_watermarks') }}
),

gpu_models as (
    select * from {{ ref('gpu_models') }}
),

-- one row per GPU and hour: what is known of it, and what the hour cost
kept_hours as (
    select
        usage_date,
        gpu_key,
        resource_id,
        hour_at,
        bool_or(is_provisional) as is_provisional,
        sum(billed_microseconds) as billed_microseconds,
        sum(active_microseconds) as active_microseconds,
        sum(active_microseconds + loaded_idle_microseconds + unallocated_microseconds) as known_microseconds,
        sum(effective_cost_usd) as effective_cost_usd,
        sum(unknown_usd) as unknown_usd,
        sum(active_usd) as active_usd,
        sum(active_without_calls_usd) as active_without_calls_usd
    from gpu_hours
    group by usage_date, gpu_key, resource_id, hour_at
),

resource_hours as (
    select distinct
        resource_id,
        hour_at
    from kept_hours
),

-- one row per resource and day
resource_days as (
    select
        usage_date,
        resource_id,
        bool_or(is_provisional) as is_provisional,
        count(distinct gpu_key) as gpu_count,
        sum(billed_microseconds) as billed_microseconds,
        sum(known_microseconds) as known_microseconds,
        sum(effective_cost_usd) as effective_cost_usd,
        sum(unknown_usd) as unknown_usd
    from kept_hours
    group by usage_date, resource_id
),

-- one row per GPU model and day: what its billed time cost
model_prices as (
    select
        usage_date,
        gpu_model,
        sum(effective_cost_usd) as effective_cost_usd,
        sum(billed_microseconds) as billed_microseconds
    from gpu_hours
    where gpu_model is not null
    group by usage_date, gpu_model
    having sum(billed_microseconds) > 0 and sum(effective_cost_usd) >= 0
),

-- what no bill of its own prices, at the mean price of its model on the day
priced_samples as (
    select
        sample_hours.*,
        {{ from_money_units(integer_divide(
            to_money_units('model_prices.effective_cost_usd') ~ ' * sample_hours.present_microseconds',
            'model_prices.billed_microseconds'
        )) }} as model_price_usd
    from sample_hours
    left join gpu_models on lower(trim(sample_hours.gpu_model)) = gpu_models.gpu_model_alias
    left join model_prices
        on
            coalesce(gpu_models.gpu_model, sample_hours.gpu_model) = model_prices.gpu_model
            and sample_hours.usage_date = model_prices.usage_date
),

seen_days as (
    select
        usage_date,
        resource_id,
        sum(present_microseconds) as present_microseconds
    from sample_hours
    where resource_id is not null
    group by usage_date, resource_id
),

-- samples of a resource beside what its bill has for the same hour, the same GPU and the same day
seen_hours as (
    select
        sample_hours.usage_date,
        sample_hours.resource_id,
        sample_hours.card_uuid,
        sample_hours.present_microseconds,
        sample_hours.model_price_usd,
        sample_hours.active_microseconds - coalesce(kept_hours.active_microseconds, 0) as outside_microseconds,
        resource_days.resource_id is not null as is_day_billed,
        resource_hours.resource_id is not null and kept_hours.gpu_key is null as is_one_too_many,
        resource_days.effective_cost_usd,
        resource_days.billed_microseconds
    from priced_samples as sample_hours
    left join resource_days
        on
            sample_hours.resource_id = resource_days.resource_id
            and sample_hours.usage_date = resource_days.usage_date
    left join resource_hours
        on
            sample_hours.resource_id = resource_hours.resource_id
            and sample_hours.hour_at = resource_hours.hour_at
    left join kept_hours
        on
            sample_hours.card_uuid = kept_hours.gpu_key
            and sample_hours.resource_id = kept_hours.resource_id
            and sample_hours.hour_at = kept_hours.hour_at
    where sample_hours.resource_id is not null
),

busy_outside as (
    select
        usage_date,
        resource_id,
        max(effective_cost_usd) as effective_cost_usd,
        max(billed_microseconds) as billed_microseconds,
        sum(outside_microseconds) as outside_microseconds,
        count(distinct card_uuid) as gpu_count
    from seen_hours
    where is_day_billed and not is_one_too_many and outside_microseconds > 0
    group by usage_date, resource_id
),

-- one row per GPU and day on which calls ran: active time and dollars that no call explains
called_gpus as (
    select
        kept_hours.usage_date,
        kept_hours.resource_id,
        kept_hours.gpu_key,
        sum(kept_hours.active_usd) as active_usd,
        sum(kept_hours.active_without_calls_usd) as active_without_calls_usd,
        sum(signals.active_microseconds - signals.called_microseconds) as microseconds_without_calls
    from kept_hours
    inner join signals
        on
            kept_hours.gpu_key = signals.gpu_key
            and kept_hours.resource_id = signals.resource_id
            and kept_hours.hour_at = signals.hour_at
    group by kept_hours.usage_date, kept_hours.resource_id, kept_hours.gpu_key
    having sum(signals.called_microseconds) > 0
),

busy_without_calls as (
    select
        usage_date,
        resource_id,
        sum(active_usd) as active_usd,
        sum(active_without_calls_usd) as active_without_calls_usd,
        sum(microseconds_without_calls) as microseconds_without_calls,
        count(*) as gpu_count
    from called_gpus
    group by usage_date, resource_id
),

lane_names as (
    select distinct
        hour_at,
        lane_number,
        lane_id
    from gpu_pools
),

-- one row per lane and day: the dollars that would move if tokens shared them
lane_shares as (
    select
        allocations.usage_date,
        lane_names.lane_id,
        sum(allocations.cost_usd) as cost_usd,
        sum(greatest(allocations.cost_usd - allocations.token_share_usd, 0)) as moved_usd,
        count(*) as call_count
    from allocations
    inner join lane_names
        on allocations.hour_at = lane_names.hour_at and allocations.lane_number = lane_names.lane_number
    where allocations.token_share_usd is not null
    group by allocations.usage_date, lane_names.lane_id
),

-- one row per pool and hour: how long calls were in flight beyond the billed time of its GPUs
pool_gpus as (
    select distinct
        hour_at,
        pool_id,
        resource_id,
        gpu_key
    from gpu_pools
),

pool_bills as (
    select
        pool_gpus.hour_at,
        pool_gpus.pool_id,
        sum(greatest(signals.in_flight_microseconds - greatest(kept_hours.billed_microseconds, 0), 0))
            as outside_microseconds
    from pool_gpus
    inner join kept_hours
        on
            pool_gpus.gpu_key = kept_hours.gpu_key
            and pool_gpus.resource_id = kept_hours.resource_id
            and pool_gpus.hour_at = kept_hours.hour_at
    inner join signals
        on
            pool_gpus.gpu_key = signals.gpu_key
            and pool_gpus.resource_id = signals.resource_id
            and pool_gpus.hour_at = signals.hour_at
    where not kept_hours.is_provisional
    group by pool_gpus.hour_at, pool_gpus.pool_id
),

pool_hours as (
    select
        usage_date,
        hour_at,
        pool_id,
        sum(to_microsecond - from_microsecond) as call_microseconds,
        count(*) as call_count
    from call_hours
    group by usage_date, hour_at, pool_id
),

-- one row: an hour that no bill has reached is not outside of one
bills as (
    select max(billed_until) as billed_until from watermarks
),

unbilled_pool_hours as (
    select
        pool_hours.usage_date,
        pool_hours.pool_id,
        pool_hours.call_count,
        coalesce(pool_bills.outside_microseconds, pool_hours.call_microseconds) as outside_microseconds
    from pool_hours
    inner join bills on pool_hours.hour_at < bills.billed_until
    left join pool_bills on pool_hours.pool_id = pool_bills.pool_id and pool_hours.hour_at = pool_bills.hour_at
    where pool_bills.pool_id is null or pool_bills.outside_microseconds > 0
),

-- replicas of a day on which the log names any of them: without that it cannot be compared
compared_replicas as (
    select
        *,
        max(logged_calls) over (partition by usage_date) as most_logged_calls
    from serving_tokens
),

-- one row per GPU-hour that is billed for more than an hour
overfull_hours as (
    select
        usage_date,
        resource_id,
        billed_microseconds - 3600000000 as excess_microseconds,
        {{ from_money_units(integer_divide(
            to_money_units('abs(effective_cost_usd)') ~ ' * (billed_microseconds - 3600000000)',
            'billed_microseconds'
        )) }} as excess_usd
    from kept_hours
    where billed_microseconds > 3600000000 and resource_id not like 'no resource: %'
),

findings as (
    select
        usage_date,
        'unlinked_host' as kind,
        coalesce(hostname, card_uuid) as subject,
        cast(sum(model_price_usd) as decimal(38, 12)) as amount_usd,
        sum(present_microseconds) as affected_microseconds,
        count(distinct card_uuid) as affected_count,
        'GPU samples of a host that no link and no bill names, at the mean price of its GPU model on this day; count '
        || 'of GPUs' as detail
    from priced_samples
    where resource_id is null
    group by usage_date, coalesce(hostname, card_uuid)
    union all
    select
        usage_date,
        'samples_without_bill' as kind,
        resource_id as subject,
        cast(sum(model_price_usd) as decimal(38, 12)) as amount_usd,
        sum(present_microseconds) as affected_microseconds,
        count(distinct card_uuid) as affected_count,
        'GPU samples of a resource that is on no bill of this day, though the bill reaches past it, or that never was '
        || 'on one, at the mean price of its GPU model on this day; count of GPUs' as detail
    from seen_hours
    where not is_day_billed
    group by usage_date, resource_id
    union all
    select
        usage_date,
        'more_gpus_than_billed' as kind,
        resource_id as subject,
        cast(null as decimal(38, 12)) as amount_usd,
        sum(present_microseconds) as affected_microseconds,
        count(distinct card_uuid) as affected_count,
        'GPUs seen on a resource beyond the number that its bill names; their samples are left out; count of GPUs'
            as detail
    from seen_hours
    where is_one_too_many
    group by usage_date, resource_id
    union all
    select
        usage_date,
        'busy_outside_billed_time' as kind,
        resource_id as subject,
        case
            when billed_microseconds > 0
                then {{ from_money_units(integer_divide(
                    to_money_units('abs(effective_cost_usd)') ~ ' * outside_microseconds',
                    'billed_microseconds'
                )) }}
        end as amount_usd,
        outside_microseconds as affected_microseconds,
        gpu_count as affected_count,
        'active GPU seconds beyond the billed ones, at the price of the resource on this day; count of GPUs' as detail
    from busy_outside
    union all
    select
        resource_days.usage_date,
        'billed_without_samples' as kind,
        resource_days.resource_id as subject,
        cast(resource_days.unknown_usd as decimal(38, 12)) as amount_usd,
        resource_days.billed_microseconds - resource_days.known_microseconds as affected_microseconds,
        resource_days.gpu_count as affected_count,
        'billed GPUs without any sample on this day, of which no call tells the rest: whether they idle is unknown; '
        || 'count of GPUs' as detail
    from resource_days
    left join seen_days
        on
            resource_days.resource_id = seen_days.resource_id
            and resource_days.usage_date = seen_days.usage_date
    where
        seen_days.resource_id is null
        and resource_days.billed_microseconds > greatest(resource_days.known_microseconds, 0)
    union all
    select
        resource_days.usage_date,
        'low_sample_coverage' as kind,
        resource_days.resource_id as subject,
        cast(resource_days.unknown_usd as decimal(38, 12)) as amount_usd,
        resource_days.billed_microseconds - resource_days.known_microseconds as affected_microseconds,
        resource_days.gpu_count as affected_count,
        'samples and calls tell less of the billed seconds than min_sample_coverage_ratio asks for; count of GPUs'
            as detail
    from resource_days
    inner join seen_days
        on
            resource_days.resource_id = seen_days.resource_id
            and resource_days.usage_date = seen_days.usage_date
    where
        {{ safe_divide('resource_days.known_microseconds', 'resource_days.billed_microseconds') }}
        < {{ var('min_sample_coverage_ratio') }}
        and resource_days.billed_microseconds > 0
    union all
    select
        usage_date,
        'busy_without_calls' as kind,
        resource_id as subject,
        cast(active_without_calls_usd as decimal(38, 12)) as amount_usd,
        microseconds_without_calls as affected_microseconds,
        gpu_count as affected_count,
        'active time of GPUs that calls ran on which no logged call explains, more than 5 % of their active dollars: '
        || 'the log misses traffic, or other work runs there; count of GPUs' as detail
    from busy_without_calls
    where 20 * active_without_calls_usd > active_usd
    union all
    select
        usage_date,
        'time_and_token_shares_differ' as kind,
        lane_id as subject,
        cast(moved_usd as decimal(38, 12)) as amount_usd,
        cast(null as bigint) as affected_microseconds,
        call_count as affected_count,
        'more than a quarter of the dollars of the calls would be on other calls if tokens shared them, not time; '
        || 'count of calls and hours' as detail
    from lane_shares
    where 4 * moved_usd > cost_usd
    union all
    select
        usage_date,
        'calls_outside_billed_time' as kind,
        pool_id as subject,
        cast(null as decimal(38, 12)) as amount_usd,
        sum(outside_microseconds) as affected_microseconds,
        sum(call_count) as affected_count,
        'calls in flight on GPUs in an hour for which the bill has none of them, or for longer than it has them: '
        || 'nothing pays for that time; count of calls and hours' as detail
    from unbilled_pool_hours
    group by usage_date, pool_id
    union all
    select
        usage_date,
        'serving_tokens_not_logged' as kind,
        replica_id as subject,
        cast(null as decimal(38, 12)) as amount_usd,
        cast(null as bigint) as affected_microseconds,
        served_output_tokens - logged_output_tokens as affected_count,
        'the server counted over 5 % more output tokens than the log has of it: calls pass the log by; count of tokens'
            as detail
    from compared_replicas
    where most_logged_calls > 0 and 20 * (served_output_tokens - logged_output_tokens) > served_output_tokens
    union all
    select
        usage_date,
        'more_than_an_hour_billed' as kind,
        resource_id as subject,
        cast(sum(excess_usd) as decimal(38, 12)) as amount_usd,
        sum(excess_microseconds) as affected_microseconds,
        count(*) as affected_count,
        'GPUs billed for more than 3,600 seconds of one hour; count of GPU-hours' as detail
    from overfull_hours
    group by usage_date, resource_id
    union all
    select
        usage_date,
        'missing_exchange_rate' as kind,
        source || ' ' || billing_currency as subject,
        cast(null as decimal(38, 12)) as amount_usd,
        cast(null as bigint) as affected_microseconds,
        count(*) as affected_count,
        cast(cast(sum(billed_cost) as decimal(38, 2)) as string) || ' ' || billing_currency
        || ' billed without a rate of at most {{ var("max_rate_age_days") }} days of age; count of lines' as detail
    from lines
    where billed_cost_usd is null
    group by usage_date, source, billing_currency
    union all
    select
        usage_date,
        'gpu_price_without_model' as kind,
        coalesce(resource_id, source) as subject,
        cast(sum(effective_cost_usd) as decimal(38, 12)) as amount_usd,
        sum({{ to_microseconds('gpu_seconds') }}) as affected_microseconds,
        count(*) as affected_count,
        'GPU lines that neither name the GPU model nor a known instance type; count of lines' as detail
    from lines
    where is_gpu_usage and gpu_model is null
    group by usage_date, coalesce(resource_id, source)
    union all
    select
        usage_date,
        'gpu_line_without_resource' as kind,
        source as subject,
        cast(sum(effective_cost_usd) as decimal(38, 12)) as amount_usd,
        sum({{ to_microseconds('gpu_seconds') }}) as affected_microseconds,
        count(*) as affected_count,
        'GPU lines without a resource id: no sample can be linked to them; count of lines' as detail
    from lines
    where is_gpu_usage and resource_id is null
    group by usage_date, source
    union all
    select
        usage_date,
        'gpu_line_not_in_time' as kind,
        coalesce(resource_id, source) as subject,
        cast(sum(effective_cost_usd) as decimal(38, 12)) as amount_usd,
        cast(null as bigint) as affected_microseconds,
        count(*) as affected_count,
        'compute lines that name GPUs but are measured in another unit than time, counted as other; count of lines'
            as detail
    from lines
    where
        line_kind = 'other' and gpu_count is not null
        and service_category in ('Compute', 'AI and Machine Learning')
    group by usage_date, coalesce(resource_id, source)
    union all
    select
        usage_date,
        'billed_differs_from_effective' as kind,
        source as subject,
        cast(sum(billed_cost_usd - effective_cost_usd) as decimal(38, 12)) as amount_usd,
        cast(null as bigint) as affected_microseconds,
        count(*) as affected_count,
        'usage under no commitment whose billed and effective cost differ: unexplained in the invoice walk; count of '
        || 'lines' as detail
    from lines
    where
        not is_under_commitment
        and line_kind in ('gpu_usage', 'model_charges', 'other')
        and billed_cost_usd != effective_cost_usd
    group by usage_date, source
)

select
    usage_date,
    kind,
    subject,
    amount_usd,
    {{ to_seconds('affected_microseconds') }} as affected_seconds,
    cast(affected_count as bigint) as affected_count,
    detail
from findings
