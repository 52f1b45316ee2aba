{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

{%- set by_tokens = var('allocation_weights') == 'tokens' %}
{%- set call = ['source', 'call_id', 'attempt_number', 'call_date'] %}

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

gpu_costs as (
    select
        usage_date,
        hour_at,
        resource_id,
        gpu_key,
        sum(called_usd) as called_usd,
        sum(loaded_idle_usd + unallocated_usd) as idle_usd,
        bool_or(is_provisional) as is_provisional
    from gpu_hours
    group by usage_date, hour_at, resource_id, gpu_key
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

-- one row per lane, hour and call on it
lane_calls as (
    select
        call_hours.*,
        lane_pools.lane_id,
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

lanes as (
    select
        lane_id,
        hour_at,
        sum(share) as lane_share,
        sum(token_weight) as lane_tokens
    from lane_calls
    group by lane_id, hour_at
),

-- the dollars of a GPU go to its lanes by the time for which calls were in flight on each; where no call tells its
-- time, to those that have calls
weighed_lanes as (
    select
        gpu_lanes.*,
        gpu_costs.called_usd,
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
    ) }}
),

-- the grain changes: one row per lane and hour
lane_costs as (
    select
        gpu_lane_costs.lane_id,
        gpu_lane_costs.hour_at,
        lanes.lane_share,
        lanes.lane_tokens,
        sum(gpu_lane_costs.lane_usd) as lane_usd,
        bool_or(gpu_lane_costs.is_provisional) as is_provisional
    from gpu_lane_costs
    inner join lanes on gpu_lane_costs.lane_id = lanes.lane_id and gpu_lane_costs.hour_at = lanes.hour_at
    group by gpu_lane_costs.lane_id, gpu_lane_costs.hour_at, lanes.lane_share, lanes.lane_tokens
),

-- time in flight decides (tokens, where that is chosen); what has no time weighs by its tokens, what has neither alike
weighed_calls as (
    select
        lane_calls.*,
        lane_costs.lane_usd,
        lane_costs.is_provisional,
        case
            {% if by_tokens -%}
            when lane_costs.lane_tokens > 0 then lane_calls.token_weight
            when lane_costs.lane_share > 0 then lane_calls.share
            {%- else -%}
            when lane_costs.lane_share > 0 then lane_calls.share
            when lane_costs.lane_tokens > 0 then lane_calls.token_weight
            {%- endif %}
            else 1
        end as weight,
        {{ share_money('abs(lane_costs.lane_usd)', 'lane_calls.token_weight', 'lane_costs.lane_tokens') }}
        * case when lane_costs.lane_usd < 0 then -1 else 1 end as token_share_usd
    from lane_calls
    inner join lane_costs on lane_calls.lane_id = lane_costs.lane_id and lane_calls.hour_at = lane_costs.hour_at
),

call_costs as (
    select * from {{ split_money(
        'weighed_calls',
        keep=['usage_date', 'hour_at', 'pool_kind', 'lane_id', 'call_position', 'token_share_usd', 'is_provisional'] + call,
        within=['lane_id', 'hour_at'],
        weight='weight',
        order_by=['source', 'call_id', 'attempt_number', 'call_date'],
        money={'cost_usd': 'lane_usd'},
    ) }}
),

-- the idle dollars of a GPU's day go to the lanes on which it worked on that day
gpu_lane_days as (
    select
        usage_date,
        resource_id,
        gpu_key,
        lane_id,
        greatest(sum(lane_usd), 0) as lane_usd
    from gpu_lane_costs
    group by usage_date, resource_id, gpu_key, lane_id
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

idle_weights as (
    select
        gpu_lane_days.*,
        gpu_days.idle_usd,
        {{ to_money_units('gpu_lane_days.lane_usd') }} as weight
    from gpu_lane_days
    inner join gpu_days
        on
            gpu_lane_days.gpu_key = gpu_days.gpu_key
            and gpu_lane_days.resource_id = gpu_days.resource_id
            and gpu_lane_days.usage_date = gpu_days.usage_date
    where gpu_lane_days.lane_usd > 0
),

gpu_lane_idle as (
    select * from {{ split_money(
        'idle_weights',
        keep=['usage_date', 'resource_id', 'gpu_key', 'lane_id'],
        within=['gpu_key', 'resource_id', 'usage_date'],
        weight='weight',
        order_by=['lane_id'],
        money={'lane_idle_usd': 'idle_usd'},
    ) }}
),

lane_idle_days as (
    select
        usage_date,
        lane_id,
        sum(lane_idle_usd) as lane_idle_usd
    from gpu_lane_idle
    group by usage_date, lane_id
),

loaded_calls as (
    select
        call_costs.*,
        -- idle that is left to the GPU's owner is on no call
        case when '{{ var('allocation_idle') }}' != 'owner' then lane_idle_days.lane_idle_usd end as lane_idle_usd,
        {% if var('allocation_idle') == 'even' -%}
        -- a call over several hours of a day counts once
        case
            when
                row_number() over (
                    partition by
                        call_costs.lane_id, call_costs.usage_date, {{ call | join(', ') }}
                    order by call_costs.hour_at
                ) = 1
                then 1
            else 0
        end as idle_weight
        {%- else -%}
        greatest({{ to_money_units('call_costs.cost_usd') }}, 0) as idle_weight
        {%- endif %}
    from call_costs
    left join lane_idle_days
        on call_costs.lane_id = lane_idle_days.lane_id and call_costs.usage_date = lane_idle_days.usage_date
),

fully_loaded as (
    select * from {{ split_money(
        'loaded_calls',
        keep=['usage_date', 'hour_at', 'pool_kind', 'lane_id', 'cost_usd', 'token_share_usd', 'is_provisional'] + call,
        within=['lane_id', 'usage_date'],
        weight='idle_weight',
        order_by=['hour_at', 'source', 'call_id', 'attempt_number', 'call_date'],
        money={'idle_share_usd': 'lane_idle_usd'},
    ) }}
)

-- one row per call, lane and hour
select
    usage_date,
    hour_at,
    {{ call | join(',\n    ') }},
    lane_id,
    case when pool_kind = 'deployment' then 'deployment' else 'replica' end as allocation_grain,
    cost_usd,
    idle_share_usd,
    token_share_usd,
    is_provisional
from fully_loaded
