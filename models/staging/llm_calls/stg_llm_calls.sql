with batches as (
    select
        batch_id,
        delivered_at
    from {{ snapshot('batches') }}
    where contract = 'llm_calls' and change != 'removed'
),

-- ids that may stand for several rows; most stand for one, and are handed through: to rank all rows, wide as they are,
-- costs many times what it takes to find these
repeated_ids as (
    select
        call_id,
        usage_date
    from {{ lake('llm_calls') }}
    group by call_id, usage_date
    having count(*) > 1
),

alone as (
    select
        calls.*,
        1 as newest_rank,
        cast(1 as bigint) as rows_in_delivery
    from {{ lake('llm_calls') }} as calls
    inner join batches on calls.batch_id = batches.batch_id
    left join repeated_ids on calls.call_id = repeated_ids.call_id and calls.usage_date = repeated_ids.usage_date
    where repeated_ids.call_id is null
),

-- the same attempt may come in several deliveries: the newest one counts; of several rows in one delivery the one that
-- ended last, and beyond that the largest, so that the choice is always the same
repeated as (
    select
        calls.*,
        row_number() over (
            partition by calls.source, calls.call_id, calls.attempt_number, calls.usage_date
            order by
                batches.delivered_at desc, calls.batch_id desc, calls.ended_at desc nulls last,
                calls.started_at desc, calls.output_text_tokens desc nulls last,
                calls.uncached_input_tokens desc nulls last, calls.cache_read_tokens desc nulls last,
                calls.reasoning_tokens desc nulls last, calls.reported_cost desc nulls last, calls.status asc,
                calls.model asc nulls last, calls.task_id asc nulls last, calls.step_index asc nulls last,
                calls.retry_reason asc nulls last, calls.error_type asc nulls last, calls.team asc nulls last
        ) as newest_rank,
        count(*) over (
            partition by calls.source, calls.call_id, calls.attempt_number, calls.usage_date, calls.batch_id
        ) as rows_in_delivery
    from {{ lake('llm_calls') }} as calls
    inner join repeated_ids on calls.call_id = repeated_ids.call_id and calls.usage_date = repeated_ids.usage_date
    inner join batches on calls.batch_id = batches.batch_id
),

ranked as (
    select * from alone
    union all
    select * from repeated
)

select
    source,
    call_id,
    attempt_number,
    coalesce(is_attempt_told, false) as is_attempt_told,
    usage_date,
    batch_id,
    parent_call_id,
    response_id,
    trace_id,
    span_id,
    task_id,
    task_id_origin,
    task_type,
    step_name,
    step_index,
    coalesce(call_kind, 'llm') as call_kind,
    coalesce(workload_kind, 'serving') as workload_kind,
    cast(started_at as timestamp) as started_at,
    cast(first_token_at as timestamp) as first_token_at,
    cast(ended_at as timestamp) as ended_at,
    provider,
    model,
    service_tier,
    region,
    deployment_id,
    api_base,
    replica_id,
    team,
    application,
    customer,
    environment,
    prompt_version,
    release,
    experiment,
    coalesce(sample_weight, 1) as sample_weight,
    uncached_input_tokens,
    cache_read_tokens,
    cache_write_5m_tokens,
    cache_write_1h_tokens,
    output_text_tokens,
    reasoning_tokens,
    audio_input_tokens,
    audio_output_tokens,
    image_input_tokens,
    image_output_tokens,
    image_count,
    web_search_count,
    audio_seconds,
    character_count,
    tool_call_count,
    tool_name,
    unmapped_usage,
    status,
    error_type,
    retry_reason,
    coalesce(response_cache_hit, false) as response_cache_hit,
    reported_cost,
    upper(reported_currency) as reported_currency,
    prompt_hash,
    prefix_hash,
    prefix_tokens,
    context_tokens,
    temperature,
    router_confidence,
    tags,
    rows_in_delivery
from ranked
where newest_rank = 1
