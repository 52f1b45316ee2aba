-- A model has at most one discount of its own and one of its provider on a date, whatever names the company gives them.
with discounts as (
    select * from {{ ref('stg_company_discounts') }}
),

providers as (
    select * from {{ ref('providers') }}
),

named as (
    select
        coalesce(providers.provider, lower(trim(discounts.provider))) as provider,
        coalesce(lower(trim(discounts.model)), '') as model_key,
        discounts.valid_from,
        discounts.valid_to,
        row_number() over (order by discounts.provider, discounts.model, discounts.valid_from) as discount_number
    from discounts
    left join providers on lower(trim(discounts.provider)) = providers.provider_alias
)

select
    named.provider,
    named.model_key,
    named.valid_from,
    others.valid_from as other_valid_from
from named
inner join named as others
    on
        named.provider = others.provider
        and named.model_key = others.model_key
        and named.discount_number < others.discount_number
where named.valid_from < others.valid_to and others.valid_from < named.valid_to
