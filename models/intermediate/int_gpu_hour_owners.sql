{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

{%- set part = [
    'gpu_key', 'resource_id', 'hour_at', 'purchase_mode', 'source', 'billing_account_id', 'billing_period_start',
    'billing_currency',
] %}
{%- set kept = part + [
    'usage_date', 'is_provisional', 'gpu_model', 'region', 'sub_account_id', 'tags', 'holder', 'held_microseconds',
    'loaded_idle_weight',
] %}
{%- set active = ['active_microseconds', 'active_usd', 'active_without_calls_usd'] %}
{%- set loaded_idle = ['loaded_idle_microseconds', 'loaded_idle_usd'] %}
{%- set unheld = [
    'unallocated_microseconds', 'unallocated_usd', 'unknown_microseconds', 'unknown_usd', 'unused_commitment_usd',
] %}
{%- set longest_holder_first = ['held_microseconds desc nulls last', 'holder asc nulls last'] %}

with gpu_hours as (
    select * from {{ ref('int_gpu_hours') }}
    where {{ in_touched_dates('usage_date') }}
),

namespace_hours as (
    select * from {{ ref('int_gpu_namespace_hours') }}
    where {{ in_touched_dates('usage_date') }}
),

-- the grain changes: from parts of GPU-hours to parts and holders: each namespace that held the GPU within the hour,
-- and null for the time in which none did
holders as (
    select
        gpu_hours.*,
        namespace_hours.namespace as holder,
        namespace_hours.present_microseconds as held_microseconds,
        namespace_hours.active_microseconds as active_weight,
        namespace_hours.loaded_idle_microseconds as loaded_idle_weight
    from gpu_hours
    inner join namespace_hours
        on
            gpu_hours.gpu_key = namespace_hours.card_uuid
            and gpu_hours.resource_id = namespace_hours.resource_id
            and gpu_hours.hour_at = namespace_hours.hour_at
            and namespace_hours.namespace is not null
    union all
    select
        gpu_hours.*,
        cast(null as string) as holder,
        0 as held_microseconds,
        coalesce(namespace_hours.active_microseconds, 0) as active_weight,
        coalesce(namespace_hours.loaded_idle_microseconds, 0) as loaded_idle_weight
    from gpu_hours
    left join namespace_hours
        on
            gpu_hours.gpu_key = namespace_hours.card_uuid
            and gpu_hours.resource_id = namespace_hours.resource_id
            and gpu_hours.hour_at = namespace_hours.hour_at
            and namespace_hours.namespace is null
),

-- where samples show nobody active, or nobody idle, and calls or windows do, it is the one that held it longest
active_shared as (
    select * from {{ split_money(
        'holders',
        keep=kept + loaded_idle + unheld,
        within=part,
        weight='active_weight',
        order_by=longest_holder_first,
        money={'active_usd': 'active_usd', 'active_without_calls_usd': 'active_without_calls_usd'},
        counts={'active_microseconds': 'active_microseconds'},
    ) }}
),

loaded_idle_shared as (
    select * from {{ split_money(
        'active_shared',
        keep=kept + active + unheld,
        within=part,
        weight='loaded_idle_weight',
        order_by=longest_holder_first,
        money={'loaded_idle_usd': 'loaded_idle_usd'},
        counts={'loaded_idle_microseconds': 'loaded_idle_microseconds'},
    ) }}
),

-- a namespace has nothing of what is unallocated, unknown or unused
shared as (
    select
        {{ kept | join(', ') }},
        {%- for measure in unheld %}
        case when holder is null or {{ measure }} is null then {{ measure }} else 0 end as {{ measure }},
        {%- endfor %}
        {{ (active + loaded_idle) | join(', ') }}
    from loaded_idle_shared
),

summed as (
    select
        *,
        active_microseconds + loaded_idle_microseconds + unallocated_microseconds + unknown_microseconds
            as billed_microseconds,
        cast(active_usd + loaded_idle_usd + unallocated_usd + unknown_usd as decimal(38, 12)) as effective_cost_usd
    from shared
),

-- a holder that has nothing of the hour owns none of it
owned as (
    select * from summed
    where billed_microseconds != 0 or effective_cost_usd != 0 or unused_commitment_usd is distinct from 0
),

owner_keys as (
    select distinct
        usage_date,
        resource_id,
        holder as namespace,
        sub_account_id,
        tags
    from owned
),

owners as (
    select * from {{ find_owners('owner_keys') }}
)

select
    owned.usage_date,
    owned.hour_at,
    owned.gpu_key,
    owned.resource_id,
    owned.purchase_mode,
    owned.source,
    owned.billing_account_id,
    owned.billing_period_start,
    owned.billing_currency,
    owned.is_provisional,
    owned.gpu_model,
    owned.region,
    owned.holder as namespace,
    coalesce(owners.team, '__untagged__') as team,
    owners.service,
    owned.billed_microseconds,
    owned.active_microseconds,
    owned.loaded_idle_microseconds,
    owned.unallocated_microseconds,
    owned.unknown_microseconds,
    owned.effective_cost_usd,
    owned.active_usd,
    owned.active_without_calls_usd,
    owned.loaded_idle_usd,
    owned.unallocated_usd,
    owned.unknown_usd,
    owned.unused_commitment_usd
from owned
left join owners
    on
        owned.usage_date = owners.usage_date
        and owned.resource_id is not distinct from owners.resource_id
        and owned.holder is not distinct from owners.namespace
        and owned.sub_account_id is not distinct from owners.sub_account_id
        and owned.tags is not distinct from owners.tags
