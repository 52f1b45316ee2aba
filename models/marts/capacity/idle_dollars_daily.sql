{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

{%- set states = ['billed', 'active', 'loaded_idle', 'unallocated', 'unknown'] %}
{%- set money_columns = [
    'effective_cost_usd', 'active_usd', 'active_without_calls_usd', 'loaded_idle_usd', 'unallocated_usd', 'unknown_usd',
    'unused_commitment_usd',
] %}

with gpu_hour_owners as (
    select * from {{ ref('int_gpu_hour_owners') }}
    where {{ in_touched_dates('usage_date') }}
),

-- the grain changes: one row per day, team, service, region, model and purchase mode
days as (
    select
        usage_date,
        team,
        service,
        region,
        gpu_model,
        purchase_mode,
        bool_or(is_provisional) as is_provisional
        {%- for state in states %},
        cast(sum({{ to_seconds(state ~ '_microseconds') }}) as decimal(38, 6)) as {{ state }}_seconds {%- endfor %}
        {%- for money in money_columns %},
        cast(sum({{ money }}) as decimal(38, 12)) as {{ money }} {%- endfor %}
    from gpu_hour_owners
    group by usage_date, team, service, region, gpu_model, purchase_mode
)

select
    usage_date,
    team,
    service,
    region,
    gpu_model,
    purchase_mode,
    billed_seconds,
    active_seconds,
    loaded_idle_seconds,
    unallocated_seconds,
    unknown_seconds,
    effective_cost_usd,
    active_usd,
    active_without_calls_usd,
    loaded_idle_usd,
    unallocated_usd,
    unknown_usd,
    cast(loaded_idle_usd + unallocated_usd as decimal(38, 12)) as idle_usd,
    unused_commitment_usd,
    {{ safe_divide('loaded_idle_usd + unallocated_usd', 'effective_cost_usd') }} as idle_ratio,
    {{ safe_divide('effective_cost_usd - unknown_usd', 'effective_cost_usd') }} as known_cost_ratio,
    is_provisional
from days
