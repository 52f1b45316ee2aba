{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with lines as (
    select * from {{ ref('int_bill_lines_classified') }}
    where {{ in_touched_dates('usage_date') }}
),

fx_rates as (
    select * from {{ ref('dim_fx_rates') }}
),

converted as (
    select
        lines.*,
        fx_rates.usd_per_unit,
        case
            when lines.billing_currency = 'USD' then lines.billed_cost
            else {{ convert_money('lines.billed_cost', 'fx_rates.usd_per_unit') }}
        end as billed_cost_usd,
        case
            when lines.billing_currency = 'USD' then lines.effective_cost
            else {{ convert_money('lines.effective_cost', 'fx_rates.usd_per_unit') }}
        end as effective_cost_usd
    from lines
    left join fx_rates
        on
            lines.billing_currency = fx_rates.currency
            and lines.usage_date = fx_rates.rate_day
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

teams as (
    select * from {{ find_teams('owner_keys') }}
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
    coalesce(teams.team, '__untagged__') as team
from converted
left join teams
    on
        converted.usage_date = teams.usage_date
        and converted.resource_id is not distinct from teams.resource_id
        and converted.sub_account_id is not distinct from teams.sub_account_id
        and converted.tags is not distinct from teams.tags
