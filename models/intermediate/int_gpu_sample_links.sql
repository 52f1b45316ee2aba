{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with hosts as (
    select distinct
        card_uuid,
        hostname,
        usage_date,
        cast(usage_date as timestamp) as day_start,
        cast(usage_date as timestamp) + interval '1' day as day_end
    from {{ ref('stg_gpu_sample_hosts') }}
    where {{ in_touched_dates('usage_date') }}
),

links as (
    select * from {{ ref('int_resource_links') }}
    where resource_id is not null
),

-- one row per billed resource; a bill of a later date says nothing of an earlier one
billed_resources as (
    select
        resource_id,
        min(usage_date) as first_billed_date
    from {{ ref('int_bill_lines') }}
    where is_gpu_usage and resource_id is not null
    group by resource_id
),

-- every way from a sample's GPU and host to a resource, with the moments for which it holds
ways as (
    select
        hosts.*,
        links.resource_id,
        1 as preference,
        links.valid_from,
        links.valid_to
    from hosts
    inner join links on hosts.card_uuid = split_part(links.gpu_uuid, '/', 1)
    union all
    select
        hosts.*,
        links.resource_id,
        2 as preference,
        links.valid_from,
        links.valid_to
    from hosts
    inner join links on hosts.hostname = links.hostname
    union all
    select
        hosts.*,
        links.resource_id,
        2 as preference,
        links.valid_from,
        links.valid_to
    from hosts
    inner join links on hosts.hostname = links.node_name
    union all
    select
        hosts.*,
        billed_resources.resource_id,
        3 as preference,
        hosts.day_start as valid_from,
        hosts.day_end as valid_to
    from hosts
    inner join billed_resources
        on
            hosts.card_uuid = billed_resources.resource_id
            and hosts.usage_date >= billed_resources.first_billed_date
    union all
    select
        hosts.*,
        billed_resources.resource_id,
        4 as preference,
        hosts.day_start as valid_from,
        hosts.day_end as valid_to
    from hosts
    inner join billed_resources
        on
            hosts.hostname = billed_resources.resource_id
            and hosts.usage_date >= billed_resources.first_billed_date
),

ways_of_day as (
    select
        *,
        greatest(valid_from, day_start) as holds_from,
        least(valid_to, day_end) as holds_to
    from ways
    where valid_from < day_end and valid_to > day_start
),

moments as (
    select
        card_uuid,
        hostname,
        usage_date,
        holds_from as moment_at
    from ways_of_day
    union
    select
        card_uuid,
        hostname,
        usage_date,
        holds_to as moment_at
    from ways_of_day
),

-- one row per GPU, host and span of the day in which no way begins or ends
spans as (
    select
        card_uuid,
        hostname,
        usage_date,
        moment_at as valid_from,
        lead(moment_at) over (partition by card_uuid, hostname, usage_date order by moment_at) as valid_to
    from moments
),

ranked as (
    select
        spans.card_uuid,
        spans.hostname,
        spans.usage_date,
        spans.valid_from,
        spans.valid_to,
        ways_of_day.resource_id,
        row_number() over (
            partition by spans.card_uuid, spans.hostname, spans.usage_date, spans.valid_from
            order by ways_of_day.preference asc, ways_of_day.valid_from desc, ways_of_day.resource_id asc
        ) as way_rank
    from spans
    inner join ways_of_day
        on
            spans.card_uuid = ways_of_day.card_uuid
            and spans.hostname is not distinct from ways_of_day.hostname
            and spans.usage_date = ways_of_day.usage_date
            and spans.valid_from >= ways_of_day.holds_from
            and spans.valid_to <= ways_of_day.holds_to
)

select
    card_uuid,
    hostname,
    usage_date,
    valid_from,
    valid_to,
    resource_id
from ranked
where way_rank = 1
