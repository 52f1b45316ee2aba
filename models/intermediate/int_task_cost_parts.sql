{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'started_date'}) }}

{%- set parts = [
    'prefix_cost_usd', 'context_cost_usd', 'fresh_input_cost_usd', 'unsplit_input_cost_usd', 'output_cost_usd',
    'reasoning_cost_usd', 'tool_cost_usd', 'retrieval_cost_usd', 'judge_cost_usd', 'router_cost_usd', 'retry_cost_usd',
    'superseded_cost_usd', 'self_hosted_cost_usd',
] %}

with tasks as (
    select * from {{ ref('fct_tasks') }}
    where {{ in_touched_dates('started_date') }}
),

attempts as (
    select * from {{ ref('fct_call_attempts') }}
    where duplicate_of_source is null and {{ near_touched_dates('usage_date', var('max_task_days')) }}
),

-- one row per attempt, under its task; a call without any id stands under its day and team, weighed by itself
placed as (
    select
        attempts.task_id,
        coalesce(tasks.started_date, attempts.usage_date) as started_date,
        coalesce(tasks.task_type, '__untagged__') as task_type,
        coalesce(tasks.team, attempts.team) as team,
        case when tasks.task_id is null then 1 else tasks.sample_weight end as task_weight,
        case when tasks.task_id is null then attempts.sample_weight else 1 end as weight_in_task,
        case
            when attempts.attempt_role in ('recovered', 'abandoned', 'unresolved') then 'retry'
            when attempts.attempt_role = 'superseded' then 'superseded'
            when attempts.call_kind in ('embedding', 'rerank', 'retrieval') then 'retrieval'
            when attempts.call_kind in ('judge', 'guardrail') then 'judge'
            when attempts.call_kind in ('tool', 'router') then attempts.call_kind
            -- time of own GPUs has no price a token
            when attempts.cost_basis = 'allocated' then 'self_hosted'
            else 'model'
        end as purpose,
        attempts.input_tokens,
        attempts.output_tokens,
        attempts.prefix_tokens,
        attempts.context_tokens,
        attempts.reasoning_tokens,
        coalesce(attempts.cache_read_tokens, 0)
        + coalesce(attempts.cache_write_5m_tokens, 0)
        + coalesce(attempts.cache_write_1h_tokens, 0) as reported_cached_tokens,
        attempts.cost_usd,
        attempts.fresh_input_cost_usd,
        attempts.cache_read_cost_usd + attempts.cache_write_cost_usd as cached_input_cost_usd,
        attempts.output_cost_usd,
        attempts.reasoning_cost_usd,
        attempts.per_call_cost_usd,
        attempts.cost_usd is not null
        and not attempts.response_cache_hit
        and coalesce(attempts.input_tokens, 0) + coalesce(attempts.output_tokens, 0) > 0 as has_priced_tokens
    from attempts
    left join tasks
        on
            attempts.task_id = tasks.task_id
            and attempts.usage_date between tasks.started_date and tasks.ended_date
    where
        tasks.task_id is not null
        or (attempts.task_id is null and {{ in_touched_dates('attempts.usage_date') }})
),

-- the prompt is ordered: prefix, retrieved context, the rest; cached tokens are its first ones
measured as (
    select
        *,
        purpose = 'model' and prefix_tokens is not null and input_tokens is not null as is_split,
        least(reported_cached_tokens, input_tokens) as cached_tokens,
        input_tokens - least(reported_cached_tokens, input_tokens) as fresh_tokens,
        least(prefix_tokens, input_tokens) as prefix_end,
        least(prefix_tokens + coalesce(context_tokens, 0), input_tokens) as context_end
    from placed
),

split as (
    select
        *,
        fresh_input_cost_usd + cached_input_cost_usd as input_cost_usd,
        case
            when is_split and cost_usd is not null then {{ cost_of_first_tokens('prefix_end') }}
        end as prefix_end_cost_usd,
        case
            when is_split and cost_usd is not null then {{ cost_of_first_tokens('context_end') }}
        end as context_end_cost_usd
    from measured
),

-- an attempt without a price has null in the parts that it is of, and 0 in the others
parted as (
    select
        task_id,
        started_date,
        task_type,
        team,
        task_weight,
        weight_in_task,
        input_tokens,
        output_tokens,
        has_priced_tokens,
        cost_usd,
        case when is_split then prefix_end_cost_usd else 0 end as prefix_cost_usd,
        case
            when is_split and context_tokens > 0 then context_end_cost_usd - prefix_end_cost_usd
            else 0
        end as context_cost_usd,
        case when is_split then input_cost_usd - context_end_cost_usd else 0 end as fresh_input_cost_usd,
        case when purpose = 'model' and not is_split then input_cost_usd else 0 end as unsplit_input_cost_usd,
        case when purpose = 'model' then output_cost_usd else 0 end as output_cost_usd,
        case
            when purpose = 'model' and reasoning_tokens > 0 then reasoning_cost_usd
            when purpose = 'model' then coalesce(reasoning_cost_usd, 0)
            else 0
        end as reasoning_cost_usd,
        case
            when purpose = 'tool' then cost_usd
            when purpose = 'model' then coalesce(per_call_cost_usd, 0)
            else 0
        end as tool_cost_usd
        {%- for purpose in ['retrieval', 'judge', 'router', 'retry', 'superseded', 'self_hosted'] %},
        case when purpose = '{{ purpose }}' then cost_usd else 0 end as {{ purpose }}_cost_usd {%- endfor %}
    from split
)

-- the grain changes: from one row per attempt to one row per task, and per day and team for calls without one
select
    task_id,
    started_date,
    task_type,
    team,
    task_weight as sample_weight,
    {{ sum_money('cost_usd', weight='weight_in_task') }} as cost_usd,
    {{ sum_parts(parts, weight='weight_in_task') }},
    {{ sum_units('input_tokens', weight='weight_in_task') }} as input_tokens,
    {{ sum_units('output_tokens', weight='weight_in_task') }} as output_tokens,
    {{ sum_units('coalesce(input_tokens, 0) + coalesce(output_tokens, 0)', 'has_priced_tokens', 'weight_in_task') }}
        as priced_tokens,
    {{ sum_money('cost_usd', 'has_priced_tokens', 'weight_in_task') }} as token_cost_usd
from parted
group by task_id, started_date, task_type, team, task_weight
