{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

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
)

-- the grain changes: one row per card, resource, hour and namespace
select
    usage_date,
    hour_at,
    card_uuid,
    resource_id,
    namespace,
    min(hostname) as hostname,
    max(gpu_model) as gpu_model,
    max(fb_used_bytes) as fb_used_bytes,
    max(card_weight) as card_weight
    {%- for name in sample_sums() %},
    cast(sum({{ name }} * slice_weight) as bigint) as {{ name }} {%- endfor %}
from counted
group by usage_date, hour_at, card_uuid, resource_id, namespace
