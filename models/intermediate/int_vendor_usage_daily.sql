with usage as (
    select * from {{ ref('stg_vendor_usage') }}
),

names as (
    select * from {{ ref('int_vendor_model_names') }}
),

aliases as (
    select * from {{ ref('stg_company_aliases') }}
    where kind = 'model'
),

configured_sources as (
    select * from {{ snapshot('sources') }}
),

-- two sources that report one project (or no project) of a provider on one day report the same tokens
ranked as (
    select
        usage.*,
        dense_rank() over (
            partition by usage.provider, usage.usage_date, usage.project_id
            order by configured_sources.precedence nulls last, usage.source
        ) as source_rank
    from usage
    left join configured_sources on usage.source = configured_sources.source
),

named as (
    select
        ranked.*,
        coalesce(names.model, '__unknown__') as plain_model
    from ranked
    left join aliases
        on
            ranked.model = aliases.alias
            and ranked.usage_date >= aliases.valid_from
            and ranked.usage_date < aliases.valid_to
    left join names
        on ranked.provider = names.provider and lower(trim(coalesce(aliases.name, ranked.model))) = names.name
    where ranked.source_rank = 1
)

-- the grain changes: from one row per line to one row per day, provider and model
select
    usage_date,
    provider,
    plain_model as model,
    cast(sum(request_count) as bigint) as request_count,
    cast(sum(input_tokens) as bigint) as input_tokens,
    cast(sum(cache_read_tokens) as bigint) as cache_read_tokens,
    cast(sum(cache_write_tokens) as bigint) as cache_write_tokens,
    cast(sum(output_tokens) as bigint) as output_tokens
from named
group by usage_date, provider, plain_model
