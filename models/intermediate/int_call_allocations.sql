{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

{%- set by_tokens = var('allocation_weights') == 'tokens' %}
{%- set is_idle_even = var('allocation_idle') == 'even' %}

with call_hours as (
    select * from {{ ref('int_call_hours') }}
    where {{ in_touched_dates('usage_date') }}
),

lane_moments as (
    select * from {{ ref('int_lane_moments') }}
    where {{ in_touched_dates('usage_date') }}
),

gpu_lanes as (
    select * from {{ ref('int_gpu_lanes') }}
    where {{ in_touched_dates('usage_date') }}
),

gpu_pools as (
    select * from {{ ref('int_gpu_pools') }}
    where {{ in_touched_dates('usage_date') }}
),

gpu_hours as (
    select * from {{ ref('int_gpu_hours') }}
    where resource_id is not null and {{ in_touched_dates('usage_date') }}
),

signals as (
    select * from {{ ref('int_gpu_hour_signals') }}
    where {{ in_touched_dates('usage_date') }}
),

gpu_costs as (
    select
        gpu_hours.usage_date,
        gpu_hours.hour_at,
        gpu_hours.resource_id,
        gpu_hours.gpu_key,
        sum(gpu_hours.called_usd) as called_usd,
        sum(gpu_hours.loaded_idle_usd + gpu_hours.unallocated_usd) as idle_usd,
        max(signals.called_energy_microwatt_hours) as called_energy,
        bool_or(gpu_hours.is_provisional) as is_provisional
    from gpu_hours
    left join signals
        on
            gpu_hours.gpu_key = signals.gpu_key
            and gpu_hours.resource_id = signals.resource_id
            and gpu_hours.hour_at = signals.hour_at
    group by gpu_hours.usage_date, gpu_hours.hour_at, gpu_hours.resource_id, gpu_hours.gpu_key
),

lane_pools as (
    select distinct
        hour_at,
        lane_number,
        pool_id
    from gpu_pools
),

-- one row per call, hour and lane on which it was: its share of the servers' time, for all the calls that it stands for
lane_calls as (
    select
        call_hours.hour_at,
        lane_pools.lane_number,
        call_hours.source,
        call_hours.call_id,
        call_hours.attempt_number,
        call_hours.call_date,
        call_hours.pool_kind,
        call_hours.is_timed,
        call_hours.token_weight,
        call_hours.weight_millionths,
        coalesce(
            cast(round((ends.share - starts.share) * (call_hours.weight_millionths / 1000000)) as bigint), 0
        ) as share
    from call_hours
    inner join lane_pools on call_hours.hour_at = lane_pools.hour_at and call_hours.pool_id = lane_pools.pool_id
    left join lane_moments as starts
        on
            call_hours.is_timed
            and lane_pools.hour_at = starts.hour_at
            and lane_pools.lane_number = starts.lane_number
            and call_hours.from_microsecond = starts.microsecond
    left join lane_moments as ends
        on
            call_hours.is_timed
            and lane_pools.hour_at = ends.hour_at
            and lane_pools.lane_number = ends.lane_number
            and call_hours.to_microsecond = ends.microsecond
),

lane_sums as (
    select
        hour_at,
        lane_number,
        sum(share) as lane_share,
        sum(token_weight) as lane_tokens,
        sum(weight_millionths) as lane_calls
    from lane_calls
    group by hour_at, lane_number
),

-- time in flight decides (tokens, where that is chosen); what has no time weighs by its tokens, what has neither alike
lanes as (
    select
        *,
        case
            {% if by_tokens -%}
            when lane_tokens > 0 then 'tokens'
            when lane_share > 0 then 'time'
            {%- else -%}
            when lane_share > 0 then 'time'
            when lane_tokens > 0 then 'tokens'
            {%- endif %}
            else 'count'
        end as weighed_by
    from lane_sums
),

-- the dollars of a GPU go to its lanes by the time for which calls were in flight on each; where no call tells its
-- time, to those that have calls
weighed_lanes as (
    select
        gpu_lanes.*,
        gpu_costs.called_usd,
        gpu_costs.called_energy,
        gpu_costs.is_provisional,
        case
            when lanes.lane_share > 0 then gpu_lanes.busy_microseconds * gpu_lanes.share_millionths
            when lanes.lane_number is not null and sum(coalesce(lanes.lane_share, 0)) over gpu = 0 then 1
            else 0
        end as weight
    from gpu_lanes
    inner join gpu_costs
        on
            gpu_lanes.gpu_key = gpu_costs.gpu_key
            and gpu_lanes.resource_id = gpu_costs.resource_id
            and gpu_lanes.hour_at = gpu_costs.hour_at
    left join lanes on gpu_lanes.hour_at = lanes.hour_at and gpu_lanes.lane_number = lanes.lane_number
    window gpu as (partition by gpu_lanes.gpu_key, gpu_lanes.resource_id, gpu_lanes.hour_at)
),

gpu_lane_costs as (
    select * from {{ split_money(
        'weighed_lanes',
        keep=['usage_date', 'hour_at', 'resource_id', 'gpu_key', 'gpu_part', 'lane_number', 'is_provisional'],
        within=['gpu_key', 'resource_id', 'hour_at'],
        weight='weight',
        order_by=['lane_number', 'gpu_part'],
        money={'lane_usd': 'called_usd'},
        counts={'lane_energy': 'called_energy'},
    ) }}
),

gpu_days as (
    select
        usage_date,
        resource_id,
        gpu_key,
        sum(idle_usd) as idle_usd
    from gpu_costs
    group by usage_date, resource_id, gpu_key
),

-- the idle dollars of a GPU's day go to the lanes and hours in which calls ran on it, by their cost or by their number
idle_weights as (
    select
        gpu_lane_costs.*,
        gpu_days.idle_usd,
        case
            when {{ is_idle_even | string | lower }} then {{ whole_number('lanes.lane_calls') }}
            else {{ to_money_units('greatest(gpu_lane_costs.lane_usd, 0)') }}
        end as idle_weight
    from gpu_lane_costs
    inner join gpu_days
        on
            gpu_lane_costs.gpu_key = gpu_days.gpu_key
            and gpu_lane_costs.resource_id = gpu_days.resource_id
            and gpu_lane_costs.usage_date = gpu_days.usage_date
    inner join lanes on gpu_lane_costs.hour_at = lanes.hour_at and gpu_lane_costs.lane_number = lanes.lane_number
    where gpu_lane_costs.lane_usd > 0 and '{{ var('allocation_idle') }}' != 'owner'
),

gpu_lane_idle as (
    select * from {{ split_money(
        'idle_weights',
        keep=['hour_at', 'lane_number'],
        within=['gpu_key', 'resource_id', 'usage_date'],
        weight='idle_weight',
        order_by=['hour_at', 'lane_number', 'gpu_part'],
        money={'lane_idle_usd': 'idle_usd'},
    ) }}
),

lane_idle as (
    select
        hour_at,
        lane_number,
        sum(lane_idle_usd) as lane_idle_usd
    from gpu_lane_idle
    group by hour_at, lane_number
),

lane_costs as (
    select
        hour_at,
        lane_number,
        sum(lane_usd) as lane_usd,
        sum(lane_energy) as lane_energy,
        bool_or(is_provisional) as is_provisional
    from gpu_lane_costs
    group by hour_at, lane_number
),

-- the grain changes: one row per lane and hour, its amounts in whole units of 1e-12 USD and kWh
lane_amounts as (
    select
        lane_costs.hour_at,
        lane_costs.lane_number,
        lane_costs.lane_usd,
        lane_costs.is_provisional,
        lanes.lane_share,
        lanes.lane_tokens,
        lanes.lane_calls,
        lanes.weighed_by,
        {{ to_money_units('lane_costs.lane_usd') }} as cost_units,
        {{ to_money_units('lane_idle.lane_idle_usd') }} as idle_units,
        {{ to_money_units(to_kwh('lane_costs.lane_energy')) }} as energy_units
    from lane_costs
    inner join lanes on lane_costs.hour_at = lanes.hour_at and lane_costs.lane_number = lanes.lane_number
    left join lane_idle on lane_costs.hour_at = lane_idle.hour_at and lane_costs.lane_number = lane_idle.lane_number
),

-- the grain changes: one row per call, lane and hour
weighed_calls as (
    select
        lane_calls.*,
        lane_amounts.lane_usd,
        lane_amounts.lane_tokens,
        lane_amounts.lane_calls as lane_weight_millionths,
        lane_amounts.cost_units,
        lane_amounts.idle_units,
        lane_amounts.energy_units,
        lane_amounts.is_provisional,
        case lane_amounts.weighed_by
            when 'time' then lane_calls.share
            when 'tokens' then lane_calls.token_weight
            else lane_calls.weight_millionths
        end as weight,
        case lane_amounts.weighed_by
            when 'time' then lane_amounts.lane_share
            when 'tokens' then lane_amounts.lane_tokens
            else lane_amounts.lane_calls
        end as lane_weight,
        -- beside calls that tell what was chosen to decide, one that does not tell it cannot be weighed
        {% if by_tokens -%}
        lane_amounts.weighed_by = 'tokens' and lane_calls.token_weight = 0 as is_unweighed
        {%- else -%}
        lane_amounts.weighed_by = 'time' and not lane_calls.is_timed as is_unweighed
        {%- endif %}
    from lane_calls
    inner join lane_amounts
        on lane_calls.hour_at = lane_amounts.hour_at and lane_calls.lane_number = lane_amounts.lane_number
),

-- every call's part, rounded down to whole units
parted as (
    select
        *,
        {{ part_of('cost_units', 'weight', 'lane_weight') }} as cost_part,
        {% if is_idle_even -%}
        {{ part_of('idle_units', 'weight_millionths', 'lane_weight_millionths') }} as idle_part,
        {%- else -%}
        {{ part_of('idle_units', 'weight', 'lane_weight') }} as idle_part,
        {%- endif %}
        {{ part_of('energy_units', 'weight', 'lane_weight') }} as energy_part
    from weighed_calls
),

-- what rounding left: of the order of a unit a call
lane_rests as (
    select
        hour_at,
        lane_number,
        max(weight) as largest_weight,
        max(cost_units) - sum(cost_part) as cost_rest,
        max(idle_units) - sum(idle_part) as idle_rest,
        max(energy_units) - sum(energy_part) as energy_rest
    from parted
    group by hour_at, lane_number
),

-- it goes to the call with the largest part
ranked_takers as (
    select
        lane_rests.*,
        parted.source,
        parted.call_id,
        parted.attempt_number,
        parted.call_date,
        row_number() over (
            partition by parted.hour_at, parted.lane_number
            order by parted.source, parted.call_id, parted.attempt_number, parted.call_date
        ) as taker_rank
    from parted
    inner join lane_rests
        on
            parted.hour_at = lane_rests.hour_at
            and parted.lane_number = lane_rests.lane_number
            and parted.weight = lane_rests.largest_weight
),

takers as (
    select * from ranked_takers
    where taker_rank = 1
)

select
    cast(parted.hour_at as date) as usage_date,
    parted.hour_at,
    parted.source,
    parted.call_id,
    parted.attempt_number,
    parted.call_date,
    parted.lane_number,
    case when parted.pool_kind = 'deployment' then 'deployment' else 'replica' end as allocation_grain,
    case
        when not parted.is_unweighed then {{ from_money_units('parted.cost_part + coalesce(takers.cost_rest, 0)') }}
    end as cost_usd,
    {{ from_money_units('parted.idle_part + coalesce(takers.idle_rest, 0)') }} as idle_share_usd,
    -- a cross-check, and in no sum
    cast(
        cast(parted.lane_usd as double) * {{ safe_divide('parted.token_weight', 'parted.lane_tokens') }}
        as decimal(38, 12)
    ) as token_share_usd,
    case
        when not parted.is_unweighed then {{ from_money_units('parted.energy_part + coalesce(takers.energy_rest, 0)') }}
    end as energy_kwh,
    parted.is_unweighed,
    parted.is_provisional
from parted
left join takers
    on
        parted.hour_at = takers.hour_at
        and parted.lane_number = takers.lane_number
        and parted.source = takers.source
        and parted.call_id = takers.call_id
        and parted.attempt_number = takers.attempt_number
        and parted.call_date = takers.call_date
