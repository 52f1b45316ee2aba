{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

{%- set names = ['replica_id', 'api_base', 'deployment_id'] %}

with calls as (
    select * from {{ ref('stg_llm_calls') }}
    where {{ in_touched_dates('usage_date') }}
),

windows as (
    select * from {{ ref('int_replica_windows') }}
),

machine_names as (
    select * from {{ ref('int_machine_names') }}
),

-- one row per UTC date and what calls name of the server that answered
call_names as (
    select distinct
        usage_date,
        replica_id,
        api_base,
        deployment_id,
        {{ server_address('api_base') }} as address,
        {{ server_host('api_base') }} as host
    from calls
    where replica_id is not null or api_base is not null or deployment_id is not null
),

call_days as (
    select distinct
        usage_date,
        cast(usage_date as timestamp) as day_start,
        cast(usage_date as timestamp) + interval '1' day as day_end
    from call_names
),

-- one row per date and replica that held its model loaded on it
replica_days as (
    select
        call_days.usage_date,
        windows.replica_id,
        max(windows.deployment_id) as deployment_id
    from call_days
    inner join windows on call_days.day_end > windows.loaded_at and call_days.day_start < windows.unloaded_at
    group by call_days.usage_date, windows.replica_id
),

-- one row per date and name that led to a machine on it
machine_days as (
    select distinct
        call_days.usage_date,
        machine_names.name_kind,
        machine_names.machine_name
    from call_days
    inner join machine_names
        on call_days.day_end > machine_names.valid_from and call_days.day_start < machine_names.valid_to
),

deployment_days as (
    select
        usage_date,
        deployment_id
    from replica_days
    where deployment_id is not null
    union
    select
        usage_date,
        machine_name as deployment_id
    from machine_days
    where name_kind = 'deployment'
),

-- the best name decides: the replica, else the server at the whole address, else the machine at its host, else the
-- deployment
named as (
    select
        call_names.*,
        replica_days.replica_id as known_replica_id,
        coalesce(by_address.machine_name, by_host.machine_name) as machine_name,
        coalesce(by_address.name_kind, by_host.name_kind) as machine_name_kind,
        deployment_days.deployment_id as known_deployment_id
    from call_names
    left join replica_days
        on call_names.usage_date = replica_days.usage_date and call_names.replica_id = replica_days.replica_id
    left join machine_days as by_address
        on
            by_address.name_kind = 'address'
            and call_names.usage_date = by_address.usage_date
            and call_names.address = by_address.machine_name
    left join machine_days as by_host
        on
            by_host.name_kind = 'host'
            and call_names.usage_date = by_host.usage_date
            and call_names.host = by_host.machine_name
    left join deployment_days
        on
            call_names.usage_date = deployment_days.usage_date
            and coalesce(call_names.deployment_id, replica_days.deployment_id) = deployment_days.deployment_id
),

-- a deployment of which some calls do not say who answered is one pool on that date
pooled_deployments as (
    select distinct
        usage_date,
        known_deployment_id
    from named
    where known_replica_id is null and machine_name is null and known_deployment_id is not null
),

pooled as (
    select
        named.*,
        pooled_deployments.known_deployment_id is not null as is_pooled
    from named
    left join pooled_deployments
        on
            named.usage_date = pooled_deployments.usage_date
            and named.known_deployment_id = pooled_deployments.known_deployment_id
),

placed as (
    select
        *,
        case
            when known_replica_id is not null and not is_pooled then 'replica'
            when machine_name is not null and known_replica_id is null then machine_name_kind
            when is_pooled then 'deployment'
        end as pool_kind,
        case
            when known_replica_id is not null and not is_pooled then known_replica_id
            when machine_name is not null and known_replica_id is null then machine_name
            when is_pooled then known_deployment_id
        end as pool_name
    from pooled
)

select
    usage_date,
    {{ names | join(',\n    ') }},
    pool_kind,
    pool_name,
    pool_kind || ' ' || pool_name as pool_id
from placed
where pool_kind is not null
