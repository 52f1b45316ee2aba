with lines as (
    select
        *,
        {{ share_of_gpus('effective_cost') }} as gpu_cost,
        {{ to_microseconds('gpu_seconds') }} as gpu_microseconds
    from {{ ref('int_bill_lines') }}
    where is_gpu_usage and resource_id is not null
),

watermarks as (
    select * from {{ ref('int_bill_watermarks') }}
),

-- one row per resource: how far the bills that name it have come
billed as (
    select
        lines.resource_id,
        max(watermarks.billed_until) as billed_until
    from lines
    inner join watermarks
        on
            lines.source = watermarks.source
            and lines.billing_account_id is not distinct from watermarks.billing_account_id
    group by lines.resource_id
),

-- lines that tell what the resource costs; a correction does not
telling as (
    select
        lines.*,
        billed.billed_until,
        row_number() over (
            partition by lines.resource_id
            order by
                case when lines.gpu_microseconds > 0 then 1 else 2 end,
                lines.charge_period_start desc, lines.gpu_microseconds desc, lines.source asc, lines.line_id asc
        ) as latest_rank
    from lines
    inner join billed on lines.resource_id = billed.resource_id
    where
        lines.gpu_microseconds >= 0
        and lines.effective_cost >= 0
        and lines.charge_period_start < billed.billed_until
        and coalesce(lines.charge_class, '') != 'Correction'
),

latest as (
    select * from telling
    where latest_rank = 1 and gpu_microseconds > 0
),

-- the grain changes: all lines of the latest charge period of a resource, in one currency; cores and memory cost
-- without time of their own
rates as (
    select
        latest.resource_id,
        sum(telling.gpu_cost) as rate_cost,
        sum(telling.gpu_microseconds) as rate_microseconds
    from latest
    inner join telling
        on
            latest.resource_id = telling.resource_id
            and latest.source = telling.source
            and latest.billing_currency = telling.billing_currency
            and latest.charge_period_start = telling.charge_period_start
    group by latest.resource_id
)

select
    latest.resource_id,
    latest.billed_until,
    latest.charge_period_start as rate_from,
    latest.purchase_mode,
    latest.billing_currency,
    latest.gpu_model,
    latest.gpu_count,
    coalesce(latest.region_id, latest.region_name) as region,
    latest.sub_account_id,
    latest.tags,
    -- the bill to come is in the same hands: its rate of last time is nearer to it than a published one
    case when latest.rate_source in ('own', 'line') then latest.usd_per_unit end as own_usd_per_unit,
    rates.rate_cost,
    rates.rate_microseconds
from latest
inner join rates on latest.resource_id = rates.resource_id
