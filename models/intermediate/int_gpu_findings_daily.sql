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

-- one row per GPU and hour: what was kept of the samples, and what the hour cost
kept_hours as (
    select
        usage_date,
        gpu_key,
        resource_id,
        hour_at,
        bool_or(is_provisional) as is_provisional,
        sum(billed_microseconds) as billed_microseconds,
        sum(active_microseconds) as active_microseconds,
        sum(active_microseconds + loaded_idle_microseconds + unallocated_microseconds) as sampled_microseconds,
        sum(effective_cost_usd) as effective_cost_usd,
        sum(unknown_usd) as unknown_usd
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
        sum(sampled_microseconds) as sampled_microseconds,
        sum(effective_cost_usd) as effective_cost_usd,
        sum(unknown_usd) as unknown_usd
    from kept_hours
    group by usage_date, resource_id
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
        sample_hours.active_microseconds - coalesce(kept_hours.active_microseconds, 0) as outside_microseconds,
        resource_days.resource_id is not null as is_day_billed,
        resource_hours.resource_id is not null and kept_hours.gpu_key is null as is_one_too_many,
        resource_days.effective_cost_usd,
        resource_days.billed_microseconds
    from sample_hours
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
        cast(null as decimal(38, 12)) as amount_usd,
        sum(present_microseconds) as affected_microseconds,
        count(distinct card_uuid) as affected_count,
        'GPU samples of a host that no link and no bill names; count of GPUs' as detail
    from sample_hours
    where resource_id is null
    group by usage_date, coalesce(hostname, card_uuid)
    union all
    select
        usage_date,
        'samples_without_bill' as kind,
        resource_id as subject,
        cast(null as decimal(38, 12)) as amount_usd,
        sum(present_microseconds) as affected_microseconds,
        count(distinct card_uuid) as affected_count,
        'GPU samples of a resource that is on no bill of this day, though the bill reaches past it, or that never was '
        || 'on one; count of GPUs' as detail
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
        resource_days.billed_microseconds as affected_microseconds,
        resource_days.gpu_count as affected_count,
        'billed GPUs without any sample on this day: whether they idle is unknown; count of GPUs' as detail
    from resource_days
    left join seen_days
        on
            resource_days.resource_id = seen_days.resource_id
            and resource_days.usage_date = seen_days.usage_date
    where seen_days.resource_id is null and resource_days.billed_microseconds > 0
    union all
    select
        resource_days.usage_date,
        'low_sample_coverage' as kind,
        resource_days.resource_id as subject,
        cast(resource_days.unknown_usd as decimal(38, 12)) as amount_usd,
        resource_days.billed_microseconds - resource_days.sampled_microseconds as affected_microseconds,
        resource_days.gpu_count as affected_count,
        'samples cover less of the billed seconds than min_sample_coverage_ratio asks for; count of GPUs' as detail
    from resource_days
    inner join seen_days
        on
            resource_days.resource_id = seen_days.resource_id
            and resource_days.usage_date = seen_days.usage_date
    where
        {{ safe_divide('resource_days.sampled_microseconds', 'resource_days.billed_microseconds') }}
        < {{ var('min_sample_coverage_ratio') }}
        and resource_days.billed_microseconds > 0
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
