with discounts as (
    select * from {{ ref('stg_company_discounts') }}
),

providers as (
    select * from {{ ref('providers') }}
),

names as (
    select * from {{ ref('int_model_names') }}
),

named as (
    select
        coalesce(providers.provider, lower(trim(discounts.provider))) as provider,
        lower(trim(discounts.model)) as model_key,
        discounts.discount_ratio,
        discounts.valid_from,
        discounts.valid_to
    from discounts
    left join providers on lower(trim(discounts.provider)) = providers.provider_alias
),

used_models as (
    select distinct
        provider,
        model_key,
        usage_date
    from names
),

-- a discount on the model goes before one on everything of its provider
ranked as (
    select
        used_models.provider,
        used_models.model_key,
        used_models.usage_date,
        named.discount_ratio,
        row_number() over (
            partition by used_models.provider, used_models.model_key, used_models.usage_date
            order by case when named.model_key is null then 1 else 0 end asc, named.discount_ratio asc
        ) as discount_rank
    from used_models
    inner join named
        on
            used_models.provider = named.provider
            and coalesce(named.model_key, used_models.model_key) = used_models.model_key
            and used_models.usage_date >= named.valid_from
            and used_models.usage_date < named.valid_to
)

select
    provider,
    model_key,
    usage_date,
    cast(discount_ratio as decimal(14, 6)) as discount_ratio
from ranked
where discount_rank = 1
