{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

{%- set states = ['active', 'loaded_idle', 'unallocated', 'unknown'] %}
{%- set part = ['purchase_mode', 'source', 'billing_account_id', 'billing_period_start', 'billing_currency'] %}
{%- set gpu_hour = ['gpu_key', 'resource_id', 'hour_at'] %}

with parts as (
    select * from {{ ref('int_gpu_hour_parts') }}
    where {{ in_touched_dates('usage_date') }}
),

bill_hours as (
    select * from {{ ref('int_gpu_bill_hours') }}
    where line_kind = 'unused_commitment' and {{ in_touched_dates('usage_date') }}
),

signals as (
    select * from {{ ref('int_gpu_hour_signals') }}
    where {{ in_touched_dates('usage_date') }}
),

gpu_models as (
    select * from {{ ref('gpu_models') }}
),

-- parts of a GPU-hour stand one after another on a line as long as the seconds billed in all; refunds come last, so
-- that no part ends before the line begins
lined_up as (
    select
        *,
        sum(billed_microseconds) over (partition by {{ gpu_hour | join(', ') }}) as hour_microseconds,
        sum(billed_microseconds) over (
            partition by {{ gpu_hour | join(', ') }}
            order by billed_microseconds desc, {{ part | join(' nulls last, ') }} nulls last
            rows between unbounded preceding and current row
        ) as part_end
    from parts
),

-- more seen than billed: active time is kept first, then loaded idle, then unallocated (the rest is a finding)
kept_active as (
    select
        lined_up.*,
        signals.namespace,
        signals.sampled_gpu_model,
        signals.utilisation_method,
        coalesce(signals.active_microseconds, 0) as seen_active,
        coalesce(signals.loaded_idle_microseconds, 0) as seen_loaded_idle,
        coalesce(signals.unallocated_microseconds, 0) as seen_unallocated,
        coalesce(signals.called_microseconds, 0) as called,
        greatest(lined_up.hour_microseconds, 0) as room,
        least(coalesce(signals.active_microseconds, 0), greatest(lined_up.hour_microseconds, 0)) as end_of_active,
        least(coalesce(signals.sampled_microseconds, 0), greatest(lined_up.hour_microseconds, 0)) as end_of_sampled
    from lined_up
    left join signals
        on
            lined_up.gpu_key = signals.gpu_key
            and lined_up.resource_id = signals.resource_id
            and lined_up.hour_at = signals.hour_at
),

kept_loaded_idle as (
    select
        *,
        least(end_of_active + seen_loaded_idle, room) as end_of_loaded_idle
    from kept_active
),

kept as (
    select
        *,
        least(end_of_loaded_idle + seen_unallocated, room) as end_of_unallocated
    from kept_loaded_idle
),

-- a part takes of each state in proportion to its length; shares are differences of rounded running totals, so that
-- they add up by part and by state
shared as (
    select
        *
        {%- for state in ['active', 'loaded_idle', 'unallocated', 'sampled'] %}
        {%- set share_of_end = integer_divide(
            whole_number('part_end') ~ ' * ' ~ whole_number('end_of_' ~ state), 'hour_microseconds'
        ) %}
        {%- set share_of_start = integer_divide(
            whole_number('part_end - billed_microseconds') ~ ' * ' ~ whole_number('end_of_' ~ state),
            'hour_microseconds'
        ) %},
        case
            when hour_microseconds > 0 then cast({{ share_of_end }} - {{ share_of_start }} as bigint)
            else 0
        end as up_to_{{ state }}
        {%- endfor %}
    from kept
),

timed as (
    select
        *,
        up_to_sampled as sampled_microseconds,
        up_to_active as active_microseconds,
        up_to_loaded_idle - up_to_active as loaded_idle_microseconds,
        up_to_unallocated - up_to_loaded_idle as unallocated_microseconds,
        billed_microseconds - up_to_unallocated as unknown_microseconds
    from shared
),

-- the grain changes: one row per part and state; where no second is billed, money has no known state
state_rows as (
    {% for state in ['unknown', 'active', 'loaded_idle', 'unallocated'] -%}
    select
        {{ gpu_hour | join(', ') }},
        {{ part | join(', ') }},
        is_provisional,
        effective_cost_usd,
        '{{ state }}' as state,
        {{ loop.index }} as state_position,
        abs({{ state }}_microseconds) as weight
    from timed
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

state_costs as (
    select * from {{ split_money(
        'state_rows',
        keep=gpu_hour + part + ['is_provisional', 'state'],
        within=gpu_hour + part + ['is_provisional'],
        weight='weight',
        order_by=['state_position'],
        money={'state_usd': 'effective_cost_usd'},
    ) }}
),

-- the grain changes back: the states become columns
costed as (
    select
        {{ gpu_hour | join(', ') }},
        {{ part | join(', ') }},
        is_provisional
        {%- for state in states %},
        max(case when state = '{{ state }}' then state_usd end) as {{ state }}_usd {%- endfor %}
    from state_costs
    group by {{ gpu_hour | join(', ') }}, {{ part | join(', ') }}, is_provisional
),

used as (
    select
        timed.usage_date,
        {%- for column in gpu_hour + part + ['is_provisional'] %}
        timed.{{ column }},
        {%- endfor %}
        timed.hour_method,
        coalesce(timed.gpu_model, gpu_models.gpu_model, timed.sampled_gpu_model) as gpu_model,
        timed.region,
        timed.namespace,
        timed.sub_account_id,
        timed.tags,
        coalesce(timed.utilisation_method, 'none') as utilisation_method,
        timed.billed_microseconds,
        timed.sampled_microseconds,
        timed.active_microseconds,
        timed.loaded_idle_microseconds,
        timed.unallocated_microseconds,
        timed.unknown_microseconds,
        timed.billed_cost_usd,
        timed.effective_cost_usd,
        costed.active_usd,
        costed.loaded_idle_usd,
        costed.unallocated_usd,
        costed.unknown_usd,
        -- what the calls in flight are to carry of the active dollars
        case
            when timed.seen_active > 0
                then cast(
                    case when costed.active_usd < 0 then -1 else 1 end
                    * {{ share_money(
                        'abs(costed.active_usd)', 'least(timed.called, timed.seen_active)', 'timed.seen_active'
                    ) }}
                    as decimal(38, 12)
                )
            else cast(0 as decimal(38, 12))
        end as called_usd,
        cast(0 as decimal(38, 12)) as unused_commitment_usd
    from timed
    inner join costed
        on
            timed.gpu_key = costed.gpu_key
            {%- for column in ['resource_id', 'hour_at', 'is_provisional'] + part %}
            and timed.{{ column }} is not distinct from costed.{{ column }}
            {%- endfor %}
    left join gpu_models on lower(trim(timed.sampled_gpu_model)) = gpu_models.gpu_model_alias
),

-- what a commitment pays for and nothing uses belongs to no GPU: rows of their own, without seconds
unused as (
    select
        usage_date,
        'unused: ' || coalesce(
            commitment_discount_id, capacity_reservation_id, billing_account_id, source
        ) as gpu_key,
        cast(null as string) as resource_id,
        hour_at,
        'committed' as purchase_mode,
        source,
        billing_account_id,
        billing_period_start,
        billing_currency,
        false as is_provisional,
        min(hour_method) as hour_method,
        max(gpu_model) as gpu_model,
        max(region) as region,
        cast(null as string) as namespace,
        max(sub_account_id) as sub_account_id,
        max(tags) as tags,
        'none' as utilisation_method,
        0 as billed_microseconds,
        0 as sampled_microseconds,
        0 as active_microseconds,
        0 as loaded_idle_microseconds,
        0 as unallocated_microseconds,
        0 as unknown_microseconds,
        sum(billed_cost_usd) as billed_cost_usd,
        cast(0 as decimal(38, 12)) as effective_cost_usd,
        cast(0 as decimal(38, 12)) as active_usd,
        cast(0 as decimal(38, 12)) as loaded_idle_usd,
        cast(0 as decimal(38, 12)) as unallocated_usd,
        cast(0 as decimal(38, 12)) as unknown_usd,
        cast(0 as decimal(38, 12)) as called_usd,
        sum(effective_cost_usd) as unused_commitment_usd
    from bill_hours
    group by
        usage_date, coalesce(commitment_discount_id, capacity_reservation_id, billing_account_id, source), hour_at,
        source, billing_account_id, billing_period_start, billing_currency
),

all_hours as (
    select * from used
    union all
    select * from unused
),

owner_keys as (
    select distinct
        usage_date,
        resource_id,
        namespace,
        sub_account_id,
        tags
    from all_hours
),

owners as (
    select * from {{ find_owners('owner_keys') }}
)

select
    all_hours.usage_date,
    all_hours.hour_at,
    all_hours.gpu_key,
    all_hours.resource_id,
    all_hours.purchase_mode,
    all_hours.source,
    all_hours.billing_account_id,
    all_hours.billing_period_start,
    all_hours.billing_currency,
    all_hours.is_provisional,
    all_hours.hour_method,
    all_hours.gpu_model,
    all_hours.region,
    all_hours.namespace,
    all_hours.sub_account_id,
    all_hours.tags,
    coalesce(owners.team, '__untagged__') as team,
    owners.service,
    all_hours.utilisation_method,
    all_hours.billed_microseconds,
    all_hours.sampled_microseconds,
    all_hours.active_microseconds,
    all_hours.loaded_idle_microseconds,
    all_hours.unallocated_microseconds,
    all_hours.unknown_microseconds,
    all_hours.billed_cost_usd,
    all_hours.effective_cost_usd,
    all_hours.active_usd,
    all_hours.loaded_idle_usd,
    all_hours.unallocated_usd,
    all_hours.unknown_usd,
    all_hours.called_usd,
    cast(all_hours.active_usd - all_hours.called_usd as decimal(38, 12)) as active_without_calls_usd,
    all_hours.unused_commitment_usd
from all_hours
left join owners
    on
        all_hours.usage_date = owners.usage_date
        and all_hours.resource_id is not distinct from owners.resource_id
        and all_hours.namespace is not distinct from owners.namespace
        and all_hours.sub_account_id is not distinct from owners.sub_account_id
        and all_hours.tags is not distinct from owners.tags
