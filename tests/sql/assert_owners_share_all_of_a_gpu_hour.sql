-- By day, machine and purchase mode: what the owners of a GPU-hour have is the GPU-hour, state by state.
{%- set states = ['active', 'loaded_idle', 'unallocated', 'unknown'] %}
{%- set money = [
    'active_usd', 'active_without_calls_usd', 'loaded_idle_usd', 'unallocated_usd', 'unknown_usd', 'effective_cost_usd',
    'unused_commitment_usd',
] %}

with gpu_hours as (
    select
        usage_date,
        resource_id,
        purchase_mode
        {%- for state in states %},
        sum({{ state }}_seconds) as {{ state }}_seconds {%- endfor %}
        {%- for amount in money %},
        coalesce(sum({{ amount }}), 0) as {{ amount }} {%- endfor %}
    from {{ ref('fct_gpu_hours') }}
    where {{ in_tested_dates('usage_date') }}
    group by usage_date, resource_id, purchase_mode
),

owners as (
    select
        usage_date,
        resource_id,
        purchase_mode
        {%- for state in states %},
        sum({{ to_seconds(state ~ '_microseconds') }}) as {{ state }}_seconds {%- endfor %}
        {%- for amount in money %},
        coalesce(sum({{ amount }}), 0) as {{ amount }} {%- endfor %}
    from {{ ref('int_gpu_hour_owners') }}
    where {{ in_tested_dates('usage_date') }}
    group by usage_date, resource_id, purchase_mode
)

select
    coalesce(gpu_hours.usage_date, owners.usage_date) as usage_date,
    coalesce(gpu_hours.resource_id, owners.resource_id) as resource_id,
    gpu_hours.effective_cost_usd,
    owners.effective_cost_usd as owners_effective_cost_usd
from gpu_hours
full outer join owners
    on
        gpu_hours.usage_date = owners.usage_date
        and gpu_hours.resource_id is not distinct from owners.resource_id
        and gpu_hours.purchase_mode = owners.purchase_mode
where
    false
    {%- for state in states %}
    or coalesce(gpu_hours.{{ state }}_seconds, 0) != coalesce(owners.{{ state }}_seconds, 0)
    {%- endfor %}
    {%- for amount in money %}
    or coalesce(gpu_hours.{{ amount }}, 0) != coalesce(owners.{{ amount }}, 0)
    {%- endfor %}
