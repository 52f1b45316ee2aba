{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with attempts as (
    select * from {{ ref('fct_call_attempts') }}
    where allocation_grain is not null and {{ in_touched_dates('usage_date') }}
),

-- the grain changes: one row per day, model and deployment
days as (
    select
        usage_date,
        model,
        deployment_id,
        {{ count_rows() }} as calls,
        {{ count_rows('energy_kwh is not null') }} as calls_with_energy,
        {{ sum_units('output_tokens', 'energy_kwh is not null') }} as output_tokens,
        cast(sum({{ weigh_money('energy_kwh', 'sample_weight') }}) as decimal(38, 12)) as energy_kwh,
        max(sample_weight) != 1 as is_estimated
    from attempts
    group by usage_date, model, deployment_id
)

select
    usage_date,
    model,
    deployment_id,
    calls,
    calls_with_energy,
    output_tokens,
    energy_kwh,
    {{ safe_divide('energy_kwh', 'calls_with_energy') }} as kwh_per_call,
    -- a kilowatt-hour is 3.6 megawatt-seconds
    {{ safe_divide('output_tokens', '3.6 * energy_kwh') }} as output_tokens_per_second_per_megawatt,
    is_estimated
from days
