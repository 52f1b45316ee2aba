{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with slice_hours as (
    select * from {{ ref('int_gpu_slice_hours') }}
    where gpu_uuid != card_uuid and {{ in_touched_dates('usage_date') }}
),

-- one row per slice and hour; a profile begins with its number of compute slices, 3g.40gb with 3
weighted as (
    select
        usage_date,
        hour_at,
        card_uuid,
        gpu_uuid,
        coalesce(
            max(cast(nullif({{ first_match('mig_profile', "'^([1-9])g[.]'") }}, '') as bigint)), 1
        ) as slice_weight
    from slice_hours
    group by usage_date, hour_at, card_uuid, gpu_uuid
),

totals as (
    select
        *,
        cast(sum(slice_weight) over (partition by card_uuid, hour_at) as bigint) as card_weight
    from weighted
)

select
    usage_date,
    hour_at,
    card_uuid,
    gpu_uuid,
    slice_weight,
    card_weight,
    cast({{ integer_divide('slice_weight * 1000000', 'card_weight') }} as bigint) as share_millionths
from totals
