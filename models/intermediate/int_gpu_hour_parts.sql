{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

{%- set part = ['purchase_mode', 'source', 'billing_account_id', 'billing_period_start', 'billing_currency'] %}

with bill_hours as (
    select * from {{ ref('int_gpu_bill_hours') }}
    where line_kind = 'gpu_usage' and {{ in_touched_dates('usage_date') }}
),

sample_hours as (
    select * from {{ ref('int_gpu_sample_hours') }}
    where resource_id is not null and {{ in_touched_dates('usage_date') }}
),

windows as (
    select * from {{ ref('int_replica_windows') }}
    where resource_id is not null and gpu_uuid is not null
),

window_hours as (
    select * from {{ ref('int_replica_window_hours') }}
    where held_kind = 'resource' and {{ in_touched_dates('usage_date') }}
),

call_hours as (
    select * from {{ ref('int_call_hours') }}
    where {{ in_touched_dates('usage_date') }}
),

rates as (
    select * from {{ ref('int_gpu_rates') }}
),

fx_rates as (
    select * from {{ ref('dim_fx_rates') }}
),

-- the grain changes: lines become parts, one row per resource, hour, purchase mode and place on an invoice
resource_parts as (
    select
        resource_id,
        hour_at,
        {{ part | join(', ') }},
        min(hour_method) as hour_method,
        sum(billed_microseconds) as resource_microseconds,
        sum(billed_cost_usd) as resource_billed_cost_usd,
        sum(effective_cost_usd) as resource_effective_cost_usd
    from bill_hours
    group by resource_id, hour_at, {{ part | join(', ') }}
),

billed_hours as (
    select
        resource_id,
        hour_at,
        max(gpu_count) as gpu_count,
        max(gpu_model) as gpu_model,
        max(region) as region,
        max(sub_account_id) as sub_account_id,
        max(tags) as tags
    from bill_hours
    group by resource_id, hour_at
),

watched_days as (
    select distinct
        resource_id,
        usage_date
    from sample_hours
),

logged_days as (
    select
        usage_date,
        max(hour_at) as last_hour_at
    from call_hours
    group by usage_date
),

-- rule 12, for machines that no exporter shows on a date: after the last hour that their bill reaches, those hours
-- count in which replicas were loaded on them, as far as the date's calls are logged
held_hours as (
    select
        window_hours.held_id as resource_id,
        window_hours.hour_at,
        max(rates.gpu_count) as gpu_count,
        max(rates.gpu_model) as gpu_model,
        max(rates.region) as region,
        max(rates.sub_account_id) as sub_account_id,
        max(rates.tags) as tags,
        sum({{ microseconds_between('window_hours.held_from', 'window_hours.held_to') }}) as held_microseconds
    from window_hours
    inner join rates
        on window_hours.held_id = rates.resource_id and window_hours.hour_at >= rates.billed_until
    inner join logged_days
        on window_hours.usage_date = logged_days.usage_date and window_hours.hour_at <= logged_days.last_hour_at
    left join watched_days
        on window_hours.held_id = watched_days.resource_id and window_hours.usage_date = watched_days.usage_date
    left join billed_hours
        on window_hours.held_id = billed_hours.resource_id and window_hours.hour_at = billed_hours.hour_at
    where watched_days.resource_id is null and billed_hours.resource_id is null and rates.gpu_count > 0
    group by window_hours.held_id, window_hours.hour_at
),

resource_hours as (
    {% for hours in ['billed_hours', 'held_hours'] -%}
    select
        resource_id,
        hour_at,
        gpu_count,
        gpu_model,
        region,
        sub_account_id,
        tags
    from {{ hours }}
    {{ 'union all' if not loop.last }}
    {% endfor -%}
),

-- the GPUs of a machine that have a name on a date: an exporter shows them, or a replica window names them
resource_cards as (
    select distinct
        resource_id,
        usage_date,
        card_uuid
    from sample_hours
    union
    select distinct
        resource_hours.resource_id,
        cast(resource_hours.hour_at as date) as usage_date,
        split_part(windows.gpu_uuid, '/', 1) as card_uuid
    from resource_hours
    inner join windows
        on
            resource_hours.resource_id = windows.resource_id
            and date_trunc('day', resource_hours.hour_at) < windows.unloaded_at
            and date_trunc('day', resource_hours.hour_at) + interval '1' day > windows.loaded_at
),

-- for how much of an hour windows hold a GPU that they name
held_cards as (
    select
        resource_hours.resource_id,
        resource_hours.hour_at,
        split_part(windows.gpu_uuid, '/', 1) as card_uuid,
        sum({{ microseconds_between(
            'greatest(windows.loaded_at, resource_hours.hour_at)',
            "least(windows.unloaded_at, resource_hours.hour_at + interval '1' hour)"
        ) }}) as held_microseconds
    from resource_hours
    inner join windows
        on
            resource_hours.resource_id = windows.resource_id
            and resource_hours.hour_at < windows.unloaded_at
            and resource_hours.hour_at + interval '1' hour > windows.loaded_at
    group by resource_hours.resource_id, resource_hours.hour_at, split_part(windows.gpu_uuid, '/', 1)
),

-- the GPUs of an hour: those seen in it first, then those held in it, then those known on the same day
ranked_cards as (
    select
        resource_hours.resource_id,
        resource_hours.hour_at,
        resource_cards.card_uuid,
        row_number() over (
            partition by resource_hours.resource_id, resource_hours.hour_at
            order by
                coalesce(sample_hours.present_microseconds, 0) desc,
                coalesce(held_cards.held_microseconds, 0) desc, resource_cards.card_uuid asc
        ) as slot
    from resource_hours
    inner join resource_cards
        on
            resource_hours.resource_id = resource_cards.resource_id
            and cast(resource_hours.hour_at as date) = resource_cards.usage_date
    left join sample_hours
        on
            resource_hours.resource_id = sample_hours.resource_id
            and resource_hours.hour_at = sample_hours.hour_at
            and resource_cards.card_uuid = sample_hours.card_uuid
    left join held_cards
        on
            resource_hours.resource_id = held_cards.resource_id
            and resource_hours.hour_at = held_cards.hour_at
            and resource_cards.card_uuid = held_cards.card_uuid
),

-- the grain changes: one row per resource, hour and GPU
slot_numbers as (
    select
        resource_id,
        hour_at,
        gpu_model,
        region,
        sub_account_id,
        tags,
        {{ explode_numbers('1', 'gpu_count') }} as slot
    from resource_hours
),

slots as (
    select
        slot_numbers.*,
        ranked_cards.card_uuid,
        coalesce(
            ranked_cards.card_uuid, slot_numbers.resource_id || '#' || cast(slot_numbers.slot as string)
        ) as gpu_key
    from slot_numbers
    left join ranked_cards
        on
            slot_numbers.resource_id = ranked_cards.resource_id
            and slot_numbers.hour_at = ranked_cards.hour_at
            and slot_numbers.slot = ranked_cards.slot
),

-- a resource's seconds and money are shared evenly by its GPUs
slot_parts as (
    select
        slots.gpu_key,
        slots.card_uuid,
        slots.slot,
        slots.gpu_model,
        slots.region,
        slots.sub_account_id,
        slots.tags,
        resource_parts.*,
        1 as weight
    from slots
    inner join resource_parts
        on slots.resource_id = resource_parts.resource_id and slots.hour_at = resource_parts.hour_at
),

billed as (
    select * from {{ split_money(
        'slot_parts',
        keep=[
            'gpu_key', 'card_uuid', 'slot', 'resource_id', 'hour_at', 'hour_method', 'gpu_model', 'region',
            'sub_account_id', 'tags',
        ] + part,
        within=['resource_id', 'hour_at'] + part,
        weight='weight',
        order_by=['slot'],
        counts={'billed_microseconds': 'resource_microseconds'},
        money={
            'billed_cost_usd': 'resource_billed_cost_usd',
            'effective_cost_usd': 'resource_effective_cost_usd',
        },
    ) }}
),

-- rule 12: a GPU after the last hour that its bill reaches costs what it cost last, for as long as samples show it, or
-- its machine is held
unbilled as (
    select
        sample_hours.card_uuid as gpu_key,
        sample_hours.card_uuid,
        row_number() over (
            partition by sample_hours.resource_id, sample_hours.hour_at
            order by sample_hours.card_uuid
        ) as slot,
        sample_hours.resource_id,
        sample_hours.hour_at,
        'samples' as hour_method,
        sample_hours.present_microseconds
    from sample_hours
    inner join rates
        on sample_hours.resource_id = rates.resource_id and sample_hours.hour_at >= rates.billed_until
    left join billed_hours
        on sample_hours.resource_id = billed_hours.resource_id and sample_hours.hour_at = billed_hours.hour_at
    where billed_hours.resource_id is null
    union all
    select
        slots.gpu_key,
        slots.card_uuid,
        slots.slot,
        slots.resource_id,
        slots.hour_at,
        'windows' as hour_method,
        held_hours.held_microseconds as present_microseconds
    from held_hours
    inner join slots on held_hours.resource_id = slots.resource_id and held_hours.hour_at = slots.hour_at
),

estimated as (
    select
        unbilled.*,
        rates.purchase_mode,
        rates.billing_currency,
        rates.gpu_model,
        rates.region,
        rates.sub_account_id,
        rates.tags,
        rates.own_usd_per_unit,
        {{ from_money_units(integer_divide(
            '2 * ' ~ to_money_units('rates.rate_cost') ~ ' * unbilled.present_microseconds + rates.rate_microseconds',
            '2 * rates.rate_microseconds'
        )) }} as estimated_cost
    from unbilled
    inner join rates on unbilled.resource_id = rates.resource_id
),

provisional as (
    select
        estimated.*,
        case
            when estimated.billing_currency = 'USD' then estimated.estimated_cost
            else {{ convert_money(
                'estimated.estimated_cost', 'coalesce(estimated.own_usd_per_unit, fx_rates.usd_per_unit)'
            ) }}
        end as estimated_cost_usd
    from estimated
    left join fx_rates
        on estimated.billing_currency = fx_rates.currency and cast(estimated.hour_at as date) = fx_rates.rate_day
),

parts as (
    select
        gpu_key,
        card_uuid,
        slot,
        resource_id,
        hour_at,
        {{ part | join(', ') }},
        hour_method,
        gpu_model,
        region,
        sub_account_id,
        tags,
        billed_microseconds,
        billed_cost_usd,
        effective_cost_usd,
        false as is_provisional
    from billed
    union all
    select
        gpu_key,
        card_uuid,
        slot,
        resource_id,
        hour_at,
        purchase_mode,
        cast(null as string) as source,
        cast(null as string) as billing_account_id,
        cast(null as timestamp) as billing_period_start,
        billing_currency,
        hour_method,
        gpu_model,
        region,
        sub_account_id,
        tags,
        present_microseconds as billed_microseconds,
        cast(null as decimal(38, 12)) as billed_cost_usd,
        estimated_cost_usd as effective_cost_usd,
        true as is_provisional
    from provisional
)

select
    cast(hour_at as date) as usage_date,
    hour_at,
    gpu_key,
    card_uuid,
    slot,
    resource_id,
    purchase_mode,
    source,
    billing_account_id,
    billing_period_start,
    billing_currency,
    hour_method,
    gpu_model,
    region,
    sub_account_id,
    tags,
    billed_microseconds,
    billed_cost_usd,
    effective_cost_usd,
    is_provisional
from parts
