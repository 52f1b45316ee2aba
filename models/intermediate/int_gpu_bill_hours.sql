{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

-- a line that reaches into a touched date is split over its whole period again; only touched dates are kept
with lines as (
    select
        *,
        coalesce(
            resource_id,
            'no resource: ' || coalesce(sub_account_id, billing_account_id, source) || ' '
            || coalesce(instance_type, gpu_model, 'GPU')
        ) as known_resource_id,
        {{ to_microseconds('gpu_seconds') }} as gpu_microseconds,
        -- what the machine's GPUs do not carry stays with the line, and is other cost on the invoice
        case
            when line_kind = 'gpu_usage' then {{ share_of_gpus('effective_cost_usd') }}
            else effective_cost_usd
        end as gpu_cost_usd,
        {%- for cost in ['list_cost', 'contracted_cost'] %}
        case when billing_currency = 'USD' then {{ cost }} else {{ convert_money(cost, 'usd_per_unit') }} end
            as {{ cost }}_usd,
        {%- endfor %}
        -- a line without length falls into the hour in which it starts
        greatest(charge_period_end, {{ add_microseconds('charge_period_start', '1') }}) as ends_at
    from {{ ref('int_bill_lines') }}
    where
        line_kind in ('gpu_usage', 'unused_commitment')
        and {{ overlaps_touched_dates('cast(charge_period_start as date)', 'cast(charge_period_end as date)') }}
),

sample_hours as (
    select * from {{ ref('int_gpu_sample_hours') }}
),

window_hours as (
    select * from {{ ref('int_replica_window_hours') }}
    where held_kind = 'resource'
),

-- the grain changes: from one row per line to one row per line and hour that its period touches
exploded as (
    select
        source,
        line_id,
        line_kind,
        known_resource_id,
        charge_period_start,
        ends_at,
        coalesce(gpu_count, 1) as gpu_count,
        {{ explode_hours('charge_period_start', 'ends_at') }} as hour_at
    from lines
),

line_hours as (
    select
        *,
        {{ microseconds_between(
            'greatest(charge_period_start, hour_at)', "least(ends_at, hour_at + interval '1' hour)"
        ) }} * gpu_count as capacity,
        count(*) over (partition by source, line_id) as hour_count
    from exploded
),

-- one row per resource and hour in which samples show its GPUs
seen_hours as (
    select
        resource_id,
        hour_at,
        sum(present_microseconds) as seen
    from sample_hours
    where resource_id is not null
    group by resource_id, hour_at
),

-- one row per resource and hour in which a replica window holds it
loaded_hours as (
    select
        held_id as resource_id,
        hour_at,
        sum({{ microseconds_between('held_from', 'held_to') }}) as loaded
    from window_hours
    group by held_id, hour_at
),

-- what could be seen in an hour is at most what the line could bill in it
observed as (
    select
        line_hours.*,
        case when line_hours.hour_count > 1 then least(coalesce(seen_hours.seen, 0), line_hours.capacity) else 0 end
            as seen,
        case
            when line_hours.hour_count > 1
                then least(coalesce(loaded_hours.loaded, 0) * line_hours.gpu_count, line_hours.capacity)
            else 0
        end as loaded
    from line_hours
    left join seen_hours
        on
            line_hours.hour_count > 1
            and line_hours.line_kind = 'gpu_usage'
            and line_hours.known_resource_id = seen_hours.resource_id
            and line_hours.hour_at = seen_hours.hour_at
    left join loaded_hours
        on
            line_hours.hour_count > 1
            and line_hours.line_kind = 'gpu_usage'
            and line_hours.known_resource_id = loaded_hours.resource_id
            and line_hours.hour_at = loaded_hours.hour_at
),

totals as (
    select
        *,
        sum(seen) over (partition by source, line_id) as line_seen,
        sum(loaded) over (partition by source, line_id) as line_loaded
    from observed
),

chosen as (
    select
        source,
        line_id,
        hour_at,
        capacity,
        case
            when hour_count = 1 then 'billed_hour'
            when line_seen > 0 then 'samples'
            when line_loaded > 0 then 'windows'
            else 'even'
        end as hour_method,
        case
            when line_seen > 0 then seen
            when line_loaded > 0 then loaded
            else 0
        end as known,
        case
            when line_seen > 0 then line_seen
            when line_loaded > 0 then line_loaded
            else 0
        end as line_known
    from totals
),

-- fewer seconds billed than known: all of them go where they are known, in proportion. More: each hour gets what is
-- known of it, and the rest goes evenly to the capacity that is left
weighed as (
    select
        chosen.source,
        chosen.line_id,
        chosen.hour_at,
        chosen.hour_method,
        lines.billed_cost_usd as line_billed_cost_usd,
        lines.gpu_cost_usd as line_effective_cost_usd,
        lines.list_cost_usd as line_list_cost_usd,
        lines.contracted_cost_usd as line_contracted_cost_usd,
        coalesce(lines.gpu_microseconds, 0) as line_microseconds,
        case when coalesce(lines.gpu_microseconds, 0) > chosen.line_known then chosen.known else 0 end as certain,
        case
            when chosen.line_known > 0 and coalesce(lines.gpu_microseconds, 0) <= chosen.line_known then chosen.known
            when sum(chosen.capacity - chosen.known) over (partition by chosen.source, chosen.line_id) > 0
                then chosen.capacity - chosen.known
            else chosen.capacity
        end as weight
    from chosen
    inner join lines on chosen.source = lines.source and chosen.line_id = lines.line_id
),

spread as (
    select
        *,
        line_microseconds - sum(certain) over (partition by source, line_id) as to_spread
    from weighed
),

timed as (
    select * from {{ split_money(
        'spread',
        keep=[
            'source', 'line_id', 'hour_at', 'hour_method', 'certain', 'weight', 'line_microseconds',
            'line_billed_cost_usd', 'line_effective_cost_usd', 'line_list_cost_usd', 'line_contracted_cost_usd',
        ],
        within=['source', 'line_id'],
        weight='weight',
        order_by=['hour_at'],
        counts={'spread_microseconds': 'to_spread'},
    ) }}
),

-- money goes with the seconds; a line without seconds spreads its money as it would have spread them
priced as (
    select
        source,
        line_id,
        hour_at,
        hour_method,
        certain + spread_microseconds as billed_microseconds,
        case
            when line_microseconds = 0 then weight
            else abs(certain + spread_microseconds)
        end as money_weight,
        line_billed_cost_usd,
        line_effective_cost_usd,
        line_list_cost_usd,
        line_contracted_cost_usd
    from timed
),

costed as (
    select * from {{ split_money(
        'priced',
        keep=['source', 'line_id', 'hour_at', 'hour_method', 'billed_microseconds'],
        within=['source', 'line_id'],
        weight='money_weight',
        order_by=['hour_at'],
        money={
            'billed_cost_usd': 'line_billed_cost_usd',
            'effective_cost_usd': 'line_effective_cost_usd',
            'list_cost_usd': 'line_list_cost_usd',
            'contracted_cost_usd': 'line_contracted_cost_usd',
        },
    ) }}
)

select
    cast(costed.hour_at as date) as usage_date,
    costed.hour_at,
    costed.source,
    costed.line_id,
    lines.line_kind,
    lines.known_resource_id as resource_id,
    lines.resource_id is null as is_resource_missing,
    lines.billing_account_id,
    lines.billing_period_start,
    lines.billing_currency,
    lines.purchase_mode,
    lines.commitment_discount_id,
    lines.capacity_reservation_id,
    lines.gpu_model,
    coalesce(lines.gpu_count, 1) as gpu_count,
    coalesce(lines.region_id, lines.region_name) as region,
    lines.sub_account_id,
    lines.tags,
    costed.hour_method,
    costed.billed_microseconds,
    costed.billed_cost_usd,
    costed.effective_cost_usd,
    costed.list_cost_usd,
    costed.contracted_cost_usd
from costed
inner join lines on costed.source = lines.source and costed.line_id = lines.line_id
where
    {{ in_touched_dates('cast(costed.hour_at as date)') }}
    -- hours of a wide line that got nothing of it
    and (
        costed.billed_microseconds != 0
        or coalesce(costed.billed_cost_usd, 0) != 0
        or coalesce(costed.effective_cost_usd, 0) != 0
        or coalesce(costed.list_cost_usd, 0) != 0
        or coalesce(costed.contracted_cost_usd, 0) != 0
    )
