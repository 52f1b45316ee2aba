{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with call_findings as (
    select * from {{ ref('int_call_findings_daily') }}
    where {{ in_touched_dates('usage_date') }}
),

gpu_findings as (
    select * from {{ ref('int_gpu_findings_daily') }}
    where {{ in_touched_dates('usage_date') }}
),

findings as (
    select * from call_findings
    union all
    select * from gpu_findings
)

select
    usage_date,
    kind,
    subject,
    amount_usd,
    affected_seconds,
    affected_count,
    detail
from findings
