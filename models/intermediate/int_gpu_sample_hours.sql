{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

{%- set sums = [
    'present', 'active', 'loaded_idle', 'unallocated', 'engine', 'sm_active', 'sm_sampled', 'tensor_active',
    'tensor_sampled', 'dram_active', 'dram_sampled',
] %}

with slice_hours as (
    select * from {{ ref('int_gpu_slice_hours') }}
    where {{ in_touched_dates('usage_date') }}
),

slice_shares as (
    select * from {{ ref('int_gpu_slice_shares') }}
    where {{ in_touched_dates('usage_date') }}
),

sliced_cards as (
    select distinct
        card_uuid,
        hour_at
    from slice_shares
),

-- slices count by their share of the card; beside them, rows of the card itself say nothing more
counted as (
    select
        slice_hours.*,
        coalesce(slice_shares.slice_weight, 1) as slice_weight,
        coalesce(slice_shares.card_weight, 1) as card_weight
    from slice_hours
    left join slice_shares
        on slice_hours.gpu_uuid = slice_shares.gpu_uuid and slice_hours.hour_at = slice_shares.hour_at
    left join sliced_cards
        on slice_hours.card_uuid = sliced_cards.card_uuid and slice_hours.hour_at = sliced_cards.hour_at
    where sliced_cards.card_uuid is null or slice_shares.gpu_uuid is not null
),

-- one row per card, resource, hour and namespace: the one that holds it longest names the hour
namespace_hours as (
    select
        card_uuid,
        resource_id,
        hour_at,
        namespace,
        sum(present_microseconds) as present_microseconds
    from counted
    where namespace is not null
    group by card_uuid, resource_id, hour_at, namespace
),

ranked_namespaces as (
    select
        *,
        row_number() over (
            partition by card_uuid, resource_id, hour_at
            order by present_microseconds desc, namespace asc
        ) as namespace_rank
    from namespace_hours
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
        {%- for name in sums %},
        cast(
            {{ integer_divide('sum(' ~ name ~ '_microseconds * slice_weight)', 'max(card_weight)') }} as bigint
        ) as {{ name }}_microseconds {%- endfor %}
    from counted
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
    card_hours.fb_used_bytes
from card_hours
left join ranked_namespaces
    on
        card_hours.card_uuid = ranked_namespaces.card_uuid
        and card_hours.resource_id is not distinct from ranked_namespaces.resource_id
        and card_hours.hour_at = ranked_namespaces.hour_at
        and ranked_namespaces.namespace_rank = 1
