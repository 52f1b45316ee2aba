with lines as (
    select * from {{ lake('bill_lines') }}
),

batches as (
    select
        batch_id,
        delivered_at
    from {{ snapshot('batches') }}
    where contract = 'bill_lines' and change != 'removed'
),

superseded as (
    select distinct
        batch_id,
        coalesce(billing_account_id, '') as billing_account_id,
        billing_period_start
    from {{ snapshot('superseded') }}
    where change != 'removed'
),

-- what a newer delivery of the same account and period replaced is gone, whether or not its lines came again
current_lines as (
    select
        lines.*,
        batches.delivered_at
    from lines
    inner join batches on lines.batch_id = batches.batch_id
    left join superseded
        on
            lines.batch_id = superseded.batch_id
            and coalesce(lines.billing_account_id, '') = superseded.billing_account_id
            and lines.billing_period_start = superseded.billing_period_start
    where superseded.batch_id is null
),

-- a bill that only appends may bring a line again
ranked as (
    select
        *,
        row_number() over (
            partition by source, line_id
            order by delivered_at desc, batch_id desc
        ) as newest_rank
    from current_lines
)

select
    source,
    line_id,
    batch_id,
    cast(delivered_at as timestamp) as delivered_at,
    cast(cast(charge_period_start as timestamp) as date) as usage_date,
    cast(charge_period_start as timestamp) as charge_period_start,
    cast(charge_period_end as timestamp) as charge_period_end,
    cast(billing_period_start as timestamp) as billing_period_start,
    cast(billing_period_end as timestamp) as billing_period_end,
    billing_period_status,
    billed_cost,
    -- a bill without amortisation: what is billed is what the usage cost
    coalesce(effective_cost, billed_cost) as effective_cost,
    list_cost,
    contracted_cost,
    list_unit_price,
    contracted_unit_price,
    upper(billing_currency) as billing_currency,
    pricing_currency,
    pricing_currency_effective_cost,
    pricing_currency_list_unit_price,
    pricing_currency_contracted_unit_price,
    charge_category,
    charge_class,
    charge_description,
    charge_frequency,
    consumed_quantity,
    consumed_unit,
    pricing_quantity,
    pricing_unit,
    pricing_category,
    commitment_discount_id,
    commitment_discount_name,
    commitment_discount_type,
    commitment_discount_category,
    commitment_discount_status,
    commitment_discount_quantity,
    commitment_discount_unit,
    capacity_reservation_id,
    capacity_reservation_status,
    resource_id,
    resource_name,
    resource_type,
    region_id,
    region_name,
    availability_zone,
    sku_id,
    sku_price_id,
    sku_meter,
    sku_price_details,
    service_category,
    service_subcategory,
    service_name,
    provider_name,
    publisher_name,
    invoice_issuer_name,
    invoice_id,
    billing_account_id,
    billing_account_name,
    billing_account_type,
    sub_account_id,
    sub_account_name,
    sub_account_type,
    tags,
    instance_type,
    gpu_model,
    gpu_count,
    purchase_mode,
    billing_units_per_usd,
    vendor_columns
from ranked
where newest_rank = 1
