{{ config(materialized='view') }}

with lines as (
    select * from {{ ref('stg_bill_lines') }}
),

gpu_models as (
    select * from {{ ref('gpu_models') }}
),

gpu_instances as (
    select * from {{ ref('gpu_instances') }}
),

model_services as (
    select * from {{ ref('model_services') }}
),

-- one row per service name that sells tokens of models
model_service_names as (
    select distinct lines.service_name
    from lines
    inner join model_services on contains(lower(lines.service_name), model_services.service_pattern)
),

-- the machine behind a line: what the line says of its GPUs, else what the catalogue says of its instance type
identified as (
    select
        lines.*,
        coalesce(gpu_models.gpu_model, lines.gpu_model, gpu_instances.gpu_model) as known_gpu_model,
        coalesce(lines.gpu_count, gpu_instances.gpu_count) as known_gpu_count,
        lines.gpu_model is not null or coalesce(lines.gpu_count, 0) > 0 or gpu_instances.gpu_model is not null
            as names_gpu,
        {{ is_node_unit('coalesce(lines.consumed_unit, lines.pricing_unit)') }} as measures_node,
        model_service_names.service_name is not null as is_model_service,
        {{ unit_seconds('lines.consumed_unit') }} as consumed_unit_seconds,
        {{ unit_seconds('lines.pricing_unit') }} as pricing_unit_seconds,
        {{ microseconds_between('lines.charge_period_start', 'lines.charge_period_end') }} as period_microseconds
    from lines
    left join gpu_models on lower(trim(lines.gpu_model)) = gpu_models.gpu_model_alias
    left join gpu_instances on lower(trim(lines.instance_type)) = gpu_instances.instance_type
    left join model_service_names on lines.service_name = model_service_names.service_name
),

-- rule 11: GPU seconds come from the quantity; the period's width stands in where no quantity is a time
measured as (
    select
        *,
        case
            -- the time of cores or memory is not the time of GPUs, whatever machine they are of
            when measures_node then null
            when consumed_quantity is not null and consumed_unit_seconds is not null then 'consumed_quantity'
            when pricing_quantity is not null and pricing_unit_seconds is not null then 'pricing_quantity'
            -- a correction without a quantity moves money, not time
            when charge_class = 'Correction' then 'none'
            when {{ is_period_unit('coalesce(consumed_unit, pricing_unit)') }} then 'period_width'
            when coalesce(consumed_unit, pricing_unit) is null then 'period_width'
            when consumed_quantity is null and pricing_quantity is null then 'period_width'
        end as seconds_method
    from identified
),

counted as (
    select
        *,
        case
            when seconds_method = 'consumed_quantity'
                then {{ is_gpu_unit('consumed_unit') }}
            when seconds_method = 'pricing_quantity'
                then {{ is_gpu_unit('pricing_unit') }}
            else false
        end as counts_single_gpus,
        cast(
            case seconds_method
                when 'consumed_quantity'
                    then cast(consumed_quantity as decimal(28, 12)) * cast(consumed_unit_seconds as decimal(10, 0))
                when 'pricing_quantity'
                    then cast(pricing_quantity as decimal(28, 12)) * cast(pricing_unit_seconds as decimal(10, 0))
                when 'period_width' then {{ to_seconds('period_microseconds') }}
                when 'none' then 0
            end as decimal(18, 6)
        ) as quantity_seconds
    from measured
),

sized as (
    select
        *,
        cast(
            case
                when coalesce(known_gpu_count, 0) > 0 then known_gpu_count
                -- so many GPUs at once that the GPU-hours fit their period
                when counts_single_gpus and period_microseconds > 0
                    then greatest(
                        1, ceil(
                            cast(quantity_seconds as double) * 1000000 / cast(period_microseconds as double) - 0.000001
                        )
                    )
                else 1
            end as bigint
        ) as sized_gpu_count
    from counted
),

-- one row per commitment and invoice that pays for GPUs: what nothing used of another one is no GPU's waste
gpu_commitments as (
    select distinct
        source,
        billing_period_start,
        coalesce(commitment_discount_id, capacity_reservation_id) as commitment_id
    from identified
    where names_gpu and coalesce(commitment_discount_id, capacity_reservation_id) is not null
),

committed as (
    select
        sized.*,
        sized.names_gpu or gpu_commitments.commitment_id is not null as is_for_gpus
    from sized
    left join gpu_commitments
        on
            sized.source = gpu_commitments.source
            and sized.billing_period_start = gpu_commitments.billing_period_start
            and coalesce(sized.commitment_discount_id, sized.capacity_reservation_id) = gpu_commitments.commitment_id
),

judged as (
    select
        *,
        case
            when charge_category = 'Tax' then 'tax'
            when charge_category = 'Credit' then 'credit'
            when charge_category = 'Adjustment' then 'adjustment'
            -- before purchases: a recurring fee of AWS is also what of its commitment nothing used
            when is_for_gpus and (commitment_discount_status = 'Unused' or capacity_reservation_status = 'Unused')
                then 'unused_commitment'
            when charge_category = 'Purchase' then 'purchase'
            -- a machine's traffic or storage names the machine too, but is not measured in time
            when names_gpu and seconds_method is not null then 'gpu_usage'
            when is_model_service then 'model_charges'
            else 'other'
        end as line_kind,
        coalesce(
            lower(replace(replace(trim(purchase_mode), '-', '_'), ' ', '_')),
            case pricing_category
                when 'Standard' then 'on_demand'
                when 'Dynamic' then 'spot'
                when 'Committed' then 'committed'
                else 'other'
            end
        ) as line_purchase_mode
    from committed
),

marked as (
    select
        *,
        line_kind = 'gpu_usage' and quantity_seconds > 0 and resource_id is not null as charges_gpu_time
    from judged
),

-- a GPU-hour costs the whole machine: cores and memory that a bill charges beside its GPUs, for the same resource and
-- period, are cost of its GPU time without GPU seconds of their own. Of several GPU lines the longest one tells which
-- GPUs they are and how they were bought
beside as (
    select
        *,
        first_value(case when charges_gpu_time then line_purchase_mode end) over (
            -- the date follows from the period; named here, it lets a day be read alone
            partition by usage_date, source, resource_id, charge_period_start, charge_period_end
            order by case when charges_gpu_time then quantity_seconds end desc nulls last, line_id asc
        ) as line_purchase_mode_beside,
        first_value(case when charges_gpu_time then known_gpu_model end) over (
            partition by usage_date, source, resource_id, charge_period_start, charge_period_end
            order by case when charges_gpu_time then quantity_seconds end desc nulls last, line_id asc
        ) as known_gpu_model_beside
    from marked
),

completed as (
    select
        *,
        measures_node and line_kind = 'other' and line_purchase_mode_beside is not null as is_beside_gpus
    from beside
)

select
    source,
    line_id,
    batch_id,
    delivered_at,
    usage_date,
    charge_period_start,
    charge_period_end,
    billing_period_start,
    billing_period_end,
    billing_period_status,
    billed_cost,
    effective_cost,
    list_cost,
    contracted_cost,
    list_unit_price,
    contracted_unit_price,
    billing_currency,
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
    billing_units_per_usd,
    vendor_columns,
    case when is_beside_gpus then 'gpu_usage' else line_kind end as line_kind,
    is_beside_gpus or line_kind = 'gpu_usage' as is_gpu_usage,
    case when is_beside_gpus then known_gpu_model_beside else known_gpu_model end as gpu_model,
    case when names_gpu then sized_gpu_count end as gpu_count,
    case
        when is_beside_gpus then 'none'
        when line_kind = 'gpu_usage' then seconds_method
    end as seconds_method,
    case
        when is_beside_gpus then cast(0 as decimal(18, 6))
        when line_kind = 'gpu_usage' and counts_single_gpus then quantity_seconds
        when line_kind = 'gpu_usage'
            then cast(
                cast(quantity_seconds as decimal(18, 6)) * cast(sized_gpu_count as decimal(10, 0)) as decimal(18, 6)
            )
    end as gpu_seconds,
    -- the seconds and the cost of a machine belong together, whatever discount its cores have
    case when is_beside_gpus then line_purchase_mode_beside else line_purchase_mode end as purchase_mode
from completed
