{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with bill_hours as (
    select * from {{ ref('int_gpu_bill_hours') }}
    where {{ in_touched_dates('usage_date') }}
),

-- the grain changes: the hours of a line become days
days as (
    select
        source,
        line_id,
        usage_date,
        line_kind,
        case when line_kind = 'gpu_usage' then resource_id end as resource_id,
        case when line_kind = 'gpu_usage' then purchase_mode else 'committed' end as purchase_mode,
        sum(billed_microseconds) as billed_microseconds,
        sum(effective_cost_usd) as effective_cost_usd,
        sum(billed_cost_usd) as billed_cost_usd,
        sum(list_cost_usd) as list_cost_usd,
        sum(contracted_cost_usd) as contracted_cost_usd
    from bill_hours
    group by source, line_id, usage_date, line_kind, resource_id, purchase_mode
)

select
    source,
    line_id,
    usage_date,
    line_kind,
    resource_id,
    purchase_mode,
    {{ to_seconds('billed_microseconds') }} as billed_seconds,
    cast(effective_cost_usd as decimal(38, 12)) as effective_cost_usd,
    cast(billed_cost_usd as decimal(38, 12)) as billed_cost_usd,
    cast(list_cost_usd as decimal(38, 12)) as list_cost_usd,
    cast(contracted_cost_usd as decimal(38, 12)) as contracted_cost_usd
from days
