{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

-- int_call_attempts is wide and read once, into its mart; what else is computed from attempts, and of other dates than
-- those being built, reads these few columns
with attempts as (
    select * from {{ ref('int_call_attempts') }}
    where {{ in_touched_dates('usage_date') }}
)

select
    source,
    call_id,
    attempt_number,
    usage_date,
    task_id,
    step_name,
    step_index,
    started_at,
    ended_at,
    replica_id,
    pool_kind,
    pool_name,
    pool_id,
    sample_weight,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    status,
    error_type,
    retry_reason,
    response_cache_hit,
    unpriced_reason,
    duplicate_of_source
from attempts
