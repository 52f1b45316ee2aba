{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

{%- set by_tokens = var('allocation_weights') == 'tokens' %}
{%- set is_idle_even = var('allocation_idle') == 'even' %}

with call_hours as (
    select * from {{ ref('int_call_hours') }}
    where {{ in_touched_dates('usage_date') }}
),

lane_hours as (
    select * from {{ ref('int_lane_hours') }}
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
        pool_id,
        lane_id
    from gpu_pools
),

gpu_lanes as (
    select distinct
        usage_date,
        hour_at,
        resource_id,
        gpu_key,
        gpu_part,
        lane_id,
        share_millionths
    from gpu_pools
),

-- one row per lane, hour and call on it, under its short name
lane_calls as (
    select
        lane_pools.lane_id,
        call_hours.hour_at,
        call_hours.pool_id,
        call_hours.call_position,
        call_hours.token_weight,
        call_hours.is_timed,
        coalesce(lane_hours.share, 0) as share
    from call_hours
    inner join lane_pools on call_hours.hour_at = lane_pools.hour_at and call_hours.pool_id = lane_pools.pool_id
    left join lane_hours
        on
            lane_pools.lane_id = lane_hours.lane_id
            and call_hours.hour_at = lane_hours.hour_at
            and call_hours.pool_id = lane_hours.member_name
            and call_hours.call_position = lane_hours.member_number
),

lane_sums as (
    select
        lane_id,
        hour_at,
        sum(share) as lane_share,
        sum(token_weight) as lane_tokens,
        count(*) as lane_call_count
    from lane_calls
    group by lane_id, hour_at
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
            when lanes.lane_share > 0 then lane_hours.busy_microseconds * gpu_lanes.share_millionths
            when lanes.lane_id is not null and sum(coalesce(lanes.lane_share, 0)) over gpu = 0 then 1
            else 0
        end as weight
    from gpu_lanes
    inner join gpu_costs
        on
            gpu_lanes.gpu_key = gpu_costs.gpu_key
            and gpu_lanes.resource_id = gpu_costs.resource_id
            and gpu_lanes.hour_at = gpu_costs.hour_at
    inner join lane_hours
        on
            gpu_lanes.lane_id = lane_hours.lane_id
            and gpu_lanes.hour_at = lane_hours.hour_at
            and lane_hours.member_number = 0
            and lane_hours.member_name = concat(gpu_lanes.gpu_key, ' ', gpu_lanes.gpu_part)
    left join lanes on gpu_lanes.lane_id = lanes.lane_id and gpu_lanes.hour_at = lanes.hour_at
    window gpu as (partition by gpu_lanes.gpu_key, gpu_lanes.resource_id, gpu_lanes.hour_at)
),

gpu_lane_costs as (
    select * from {{ split_money(
        'weighed_lanes',
        keep=['usage_date', 'hour_at', 'resource_id', 'gpu_key', 'gpu_part', 'lane_id', 'is_provisional'],
        within=['gpu_key', 'resource_id', 'hour_at'],
        weight='weight',
        order_by=['lane_id', 'gpu_part'],
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
            when {{ is_idle_even | string | lower }} then {{ whole_number('lanes.lane_call_count') }}
            else {{ to_money_units('greatest(gpu_lane_costs.lane_usd, 0)') }}
        end as idle_weight
    from gpu_lane_costs
    inner join gpu_days
        on
            gpu_lane_costs.gpu_key = gpu_days.gpu_key
            and gpu_lane_costs.resource_id = gpu_days.resource_id
            and gpu_lane_costs.usage_date = gpu_days.usage_date
    inner join lanes on gpu_lane_costs.lane_id = lanes.lane_id and gpu_lane_costs.hour_at = lanes.hour_at
    where gpu_lane_costs.lane_usd > 0 and '{{ var('allocation_idle') }}' != 'owner'
),

gpu_lane_idle as (
    select * from {{ split_money(
        'idle_weights',
        keep=['hour_at', 'lane_id'],
        within=['gpu_key', 'resource_id', 'usage_date'],
        weight='idle_weight',
        order_by=['hour_at', 'lane_id', 'gpu_part'],
        money={'lane_idle_usd': 'idle_usd'},
    ) }}
),

lane_idle as (
    select
        lane_id,
        hour_at,
        sum(lane_idle_usd) as lane_idle_usd
    from gpu_lane_idle
    group by lane_id, hour_at
),

-- the grain changes: one row per lane and hour
lane_costs as (
    select
        lanes.lane_id,
        lanes.hour_at,
        lanes.lane_share,
        lanes.lane_tokens,
        lanes.lane_call_count,
        lanes.weighed_by,
        lane_idle.lane_idle_usd,
        sum(gpu_lane_costs.lane_usd) as lane_usd,
        {{ to_kwh('sum(gpu_lane_costs.lane_energy)') }} as lane_energy_kwh,
        bool_or(gpu_lane_costs.is_provisional) as is_provisional
    from gpu_lane_costs
    inner join lanes on gpu_lane_costs.lane_id = lanes.lane_id and gpu_lane_costs.hour_at = lanes.hour_at
    left join lane_idle on lanes.lane_id = lane_idle.lane_id and lanes.hour_at = lane_idle.hour_at
    group by
        lanes.lane_id, lanes.hour_at, lanes.lane_share, lanes.lane_tokens, lanes.lane_call_count, lanes.weighed_by,
        lane_idle.lane_idle_usd
),

weighed_calls as (
    select
        lane_calls.lane_id,
        lane_calls.hour_at,
        lane_calls.pool_id,
        lane_calls.call_position,
        lane_calls.token_weight,
        lane_costs.lane_usd,
        lane_costs.lane_idle_usd,
        lane_costs.lane_energy_kwh,
        lane_costs.lane_tokens,
        lane_costs.lane_call_count,
        lane_costs.is_provisional,
        case lane_costs.weighed_by
            when 'time' then lane_calls.share
            when 'tokens' then lane_calls.token_weight
            else 1
        end as weight,
        case lane_costs.weighed_by
            when 'time' then lane_costs.lane_share
            when 'tokens' then lane_costs.lane_tokens
            else lane_costs.lane_call_count
        end as lane_weight,
        -- beside calls that tell what was chosen to decide, one that does not tell it cannot be weighed
        {% if by_tokens -%}
        lane_costs.weighed_by = 'tokens' and lane_calls.token_weight = 0 as is_unweighed
        {%- else -%}
        lane_costs.weighed_by = 'time' and not lane_calls.is_timed as is_unweighed
        {%- endif %}
    from lane_calls
    inner join lane_costs on lane_calls.lane_id = lane_costs.lane_id and lane_calls.hour_at = lane_costs.hour_at
),

lined_up as (
    select
        *,
        sum(weight) over lane as weight_up_to,
        row_number() over lane as calls_up_to
    from weighed_calls
    window lane as (
        partition by lane_id, hour_at
        order by pool_id, call_position
        rows between unbounded preceding and current row
    )
)

-- one row per call, lane and hour
select
    call_hours.usage_date,
    call_hours.hour_at,
    call_hours.source,
    call_hours.call_id,
    call_hours.attempt_number,
    call_hours.call_date,
    lined_up.lane_id,
    case when call_hours.pool_kind = 'deployment' then 'deployment' else 'replica' end as allocation_grain,
    case
        when not lined_up.is_unweighed
            then {{ running_share(
                'lined_up.lane_usd', 'lined_up.weight_up_to', 'lined_up.weight', 'lined_up.lane_weight'
            ) }}
    end as cost_usd,
    {% if is_idle_even -%}
    {{ running_share('lined_up.lane_idle_usd', 'lined_up.calls_up_to', '1', 'lined_up.lane_call_count') }}
    {%- else -%}
    {{ running_share('lined_up.lane_idle_usd', 'lined_up.weight_up_to', 'lined_up.weight', 'lined_up.lane_weight') }}
    {%- endif %}
        as idle_share_usd,
    -- a cross-check in floating point, and in no sum
    cast(
        cast(lined_up.lane_usd as double) * {{ safe_divide('lined_up.token_weight', 'lined_up.lane_tokens') }}
        as decimal(38, 12)
    ) as token_share_usd,
    case
        when not lined_up.is_unweighed
            then {{ running_share(
                'lined_up.lane_energy_kwh', 'lined_up.weight_up_to', 'lined_up.weight', 'lined_up.lane_weight'
            ) }}
    end as energy_kwh,
    lined_up.is_unweighed,
    lined_up.is_provisional
from lined_up
inner join call_hours
    on
        lined_up.hour_at = call_hours.hour_at
        and lined_up.pool_id = call_hours.pool_id
        and lined_up.call_position = call_hours.call_position
