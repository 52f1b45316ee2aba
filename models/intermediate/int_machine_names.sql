-- the machines that may answer a call: a bill has GPU time of them
with gpu_resources as (
    select
        resource_id,
        min(usage_date) as first_billed_date
    from {{ ref('int_bill_lines') }}
    where is_gpu_usage and resource_id is not null
    group by resource_id
),

links as (
    select * from {{ ref('int_resource_links') }}
),

gpu_links as (
    select
        links.resource_id,
        split_part(links.gpu_uuid, '/', 1) as card_uuid,
        links.deployment_id,
        {{ server_address('links.api_base') }} as address,
        {{ server_host('links.api_base') }} as host,
        lower(links.hostname) as hostname,
        lower(links.node_name) as node_name,
        greatest(links.valid_from, cast(gpu_resources.first_billed_date as timestamp)) as valid_from,
        links.valid_to
    from links
    inner join gpu_resources on links.resource_id = gpu_resources.resource_id
),

-- every name of a machine: what stands in a call's URL, whole or the host alone, and its deployment
told_names as (
    {% for kind, column in [
        ('address', 'address'), ('host', 'host'), ('host', 'hostname'), ('host', 'node_name'),
        ('deployment', 'deployment_id'),
    ] -%}
    select
        '{{ kind }}' as name_kind,
        {{ column }} as machine_name,
        resource_id,
        card_uuid,
        valid_from,
        valid_to
    from gpu_links
    where {{ column }} is not null and valid_from < valid_to
    {{ 'union all' if not loop.last }}
    {% endfor -%}
),

-- several links may tell the same name from the same day on
names as (
    select
        name_kind,
        machine_name,
        resource_id,
        card_uuid,
        valid_from,
        max(valid_to) as valid_to
    from told_names
    group by name_kind, machine_name, resource_id, card_uuid, valid_from
),

-- a machine's name goes to the one that got it last; a deployment is on all of its machines
ended as (
    select
        names.name_kind,
        names.machine_name,
        names.resource_id,
        names.card_uuid,
        names.valid_from,
        names.valid_to,
        min(later.valid_from) as taken_at
    from names
    left join names as later
        on
            names.name_kind != 'deployment'
            and names.name_kind = later.name_kind
            and names.machine_name = later.machine_name
            and names.resource_id != later.resource_id
            and (
                names.valid_from < later.valid_from
                or (names.valid_from = later.valid_from and names.resource_id < later.resource_id)
            )
    group by
        names.name_kind, names.machine_name, names.resource_id, names.card_uuid, names.valid_from, names.valid_to
)

select
    name_kind,
    machine_name,
    resource_id,
    card_uuid,
    valid_from,
    least(valid_to, taken_at) as valid_to
from ended
where valid_from < least(valid_to, taken_at)
