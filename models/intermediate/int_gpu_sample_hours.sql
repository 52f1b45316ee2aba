{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with namespace_hours as (
    select * from {{ ref('int_gpu_namespace_hours') }}
    where {{ in_touched_dates('usage_date') }}
),

-- the namespace that holds most of a card for longest names its hour
ranked_namespaces as (
    select
        *,
        row_number() over (
            partition by card_uuid, resource_id, hour_at
            order by present_microseconds desc, namespace asc nulls last
        ) as namespace_rank
    from namespace_hours
    where namespace is not null
),

-- the grain changes: one row per card, resource and hour
card_hours as (
    select
        usage_date,
        hour_at,
        card_uuid,
        resource_id,
        min(hostname) as hostname,
        max(gpu_model) as gpu_model,
        max(fb_used_bytes) as fb_used_bytes
        {%- for name in sample_sums() %},
        cast(
            {{ integer_divide('sum(' ~ name ~ ')', 'max(card_weight)') }} as bigint
        ) as {{ name }} {%- endfor %}
    from namespace_hours
    group by usage_date, hour_at, card_uuid, resource_id
)

select
    card_hours.usage_date,
    card_hours.hour_at,
    card_hours.card_uuid,
    card_hours.resource_id,
    card_hours.hostname,
    card_hours.gpu_model,
    ranked_namespaces.namespace,
    card_hours.present_microseconds,
    card_hours.active_microseconds,
    card_hours.loaded_idle_microseconds,
    card_hours.unallocated_microseconds,
    card_hours.engine_microseconds,
    card_hours.sm_active_microseconds,
    card_hours.sm_sampled_microseconds,
    card_hours.tensor_active_microseconds,
    card_hours.tensor_sampled_microseconds,
    card_hours.dram_active_microseconds,
    card_hours.dram_sampled_microseconds,
    card_hours.power_sampled_microseconds,
    card_hours.energy_microwatt_hours,
    card_hours.active_energy_microwatt_hours,
    card_hours.fb_used_bytes
from card_hours
left join ranked_namespaces
    on
        card_hours.card_uuid = ranked_namespaces.card_uuid
        and card_hours.resource_id is not distinct from ranked_namespaces.resource_id
        and card_hours.hour_at = ranked_namespaces.hour_at
        and ranked_namespaces.namespace_rank = 1
