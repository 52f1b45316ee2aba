{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with lines as (
    select * from {{ ref('int_bill_lines_classified') }}
    where {{ in_touched_dates('usage_date') }}
),

fx_rates as (
    select * from {{ ref('dim_fx_rates') }}
),

-- the rates that a line could be converted at: the bill's own, the one between its two effective costs, the day's
rated as (
    select
        lines.*,
        {{ exchange_rate('1', 'lines.billing_units_per_usd') }} as own_usd_per_unit,
        case when lines.pricing_currency = 'USD' then lines.pricing_currency_effective_cost end as told_usd,
        fx_rates.usd_per_unit as published_usd_per_unit
    from lines
    left join fx_rates
        on
            lines.billing_currency = fx_rates.currency
            and lines.usage_date = fx_rates.rate_day
),

-- an invoice is converted at the rate of who sends it; a published one is a reference that nobody was charged at
preferred as (
    select
        *,
        case
            when billing_currency = 'USD' then cast(1 as decimal(18, 12))
            else coalesce(own_usd_per_unit, {{ exchange_rate('told_usd', 'effective_cost') }}, published_usd_per_unit)
        end as usd_per_unit,
        case
            when billing_currency = 'USD' then 'unit'
            when own_usd_per_unit is not null then 'own'
            when {{ exchange_rate('told_usd', 'effective_cost') }} is not null then 'line'
            when published_usd_per_unit is not null then 'published'
        end as rate_source
    from rated
),

-- what the line itself says in USD is taken to the last digit; so is the billed cost where the two are the same
converted as (
    select
        *,
        case
            when billing_currency = 'USD' then billed_cost
            when told_usd is not null and billed_cost = effective_cost then told_usd
            else {{ convert_money('billed_cost', 'usd_per_unit') }}
        end as billed_cost_usd,
        case
            when billing_currency = 'USD' then effective_cost
            when told_usd is not null then told_usd
            else {{ convert_money('effective_cost', 'usd_per_unit') }}
        end as effective_cost_usd
    from preferred
),

owner_keys as (
    select distinct
        usage_date,
        resource_id,
        cast(null as string) as namespace,
        sub_account_id,
        tags
    from lines
),

owners as (
    select * from {{ find_owners('owner_keys') }}
)

select
    converted.source,
    converted.line_id,
    converted.usage_date,
    converted.batch_id,
    converted.delivered_at,
    converted.charge_period_start,
    converted.charge_period_end,
    converted.billing_period_start,
    converted.billing_period_end,
    converted.billing_period_status,
    converted.billed_cost,
    converted.effective_cost,
    converted.list_cost,
    converted.contracted_cost,
    converted.list_unit_price,
    converted.contracted_unit_price,
    converted.billing_currency,
    converted.usd_per_unit,
    converted.rate_source,
    converted.billing_units_per_usd,
    converted.billed_cost_usd,
    converted.effective_cost_usd,
    converted.pricing_currency,
    converted.pricing_currency_effective_cost,
    converted.pricing_currency_list_unit_price,
    converted.pricing_currency_contracted_unit_price,
    converted.charge_category,
    converted.charge_class,
    converted.charge_description,
    converted.charge_frequency,
    converted.consumed_quantity,
    converted.consumed_unit,
    converted.pricing_quantity,
    converted.pricing_unit,
    converted.pricing_category,
    converted.commitment_discount_id,
    converted.commitment_discount_name,
    converted.commitment_discount_type,
    converted.commitment_discount_category,
    converted.commitment_discount_status,
    converted.commitment_discount_quantity,
    converted.commitment_discount_unit,
    converted.capacity_reservation_id,
    converted.capacity_reservation_status,
    converted.resource_id,
    converted.resource_name,
    converted.resource_type,
    converted.region_id,
    converted.region_name,
    converted.availability_zone,
    converted.sku_id,
    converted.sku_price_id,
    converted.sku_meter,
    converted.sku_price_details,
    converted.service_category,
    converted.service_subcategory,
    converted.service_name,
    converted.provider_name,
    converted.publisher_name,
    converted.invoice_issuer_name,
    converted.invoice_id,
    converted.billing_account_id,
    converted.billing_account_name,
    converted.billing_account_type,
    converted.sub_account_id,
    converted.sub_account_name,
    converted.sub_account_type,
    converted.tags,
    converted.instance_type,
    converted.vendor_columns,
    converted.line_kind,
    converted.is_gpu_usage,
    converted.purchase_mode,
    converted.gpu_model,
    converted.gpu_count,
    converted.gpu_seconds,
    converted.seconds_method,
    -- purchases, and what they cover or leave unused: where billed and effective cost may differ for good reason
    (
        converted.line_kind in ('purchase', 'unused_commitment')
        or converted.purchase_mode = 'committed'
        or converted.commitment_discount_id is not null
        or converted.capacity_reservation_id is not null
    ) as is_under_commitment,
    coalesce(owners.team, '__untagged__') as team
from converted
left join owners
    on
        converted.usage_date = owners.usage_date
        and converted.resource_id is not distinct from owners.resource_id
        and converted.sub_account_id is not distinct from owners.sub_account_id
        and converted.tags is not distinct from owners.tags
