{%- set labels = [
    'task_type', 'team', 'application', 'customer', 'environment', 'step_name', 'step_index', 'prompt_version',
] %}
{%- set match_ids = [
    "('response:' || calls.response_id)",
    "('span:' || calls.trace_id || ':' || calls.span_id)",
] %}

with batches as (
    select
        batch_id,
        delivered_at
    from {{ snapshot('batches') }}
    where contract = 'llm_calls' and change != 'removed'
),

configured_sources as (
    select * from {{ snapshot('sources') }}
),

-- one row per source that has calls, in the order in which the costs of a call that several have seen are taken
call_sources as (
    select distinct source from {{ lake('llm_calls', near=true) }}
),

ordered_sources as (
    select
        call_sources.source,
        row_number() over (
            order by configured_sources.precedence nulls last, call_sources.source
        ) as source_rank
    from call_sources
    left join configured_sources on call_sources.source = configured_sources.source
),

-- one row per source, date and pair of ids by which another source, where there is one, may know the same call
known_ids as (
    select distinct
        source,
        usage_date,
        case when response_id is not null then 'response:' || response_id end as response_key,
        case when trace_id is not null and span_id is not null then 'span:' || trace_id || ':' || span_id end
            as span_key
    from {{ lake('llm_calls', near=true) }}
    where
        (response_id is not null or (trace_id is not null and span_id is not null))
        and (select count(*) from call_sources) > 1
),

-- a source that has both ids ties those together that have one
span_responses as (
    select
        span_key,
        min(response_key) as response_key
    from known_ids
    where response_key is not null and span_key is not null
    group by span_key
),

keyed_ids as (
    select
        known_ids.source,
        known_ids.usage_date,
        known_ids.response_key,
        known_ids.span_key,
        coalesce(known_ids.response_key, span_responses.response_key, known_ids.span_key) as call_key
    from known_ids
    left join span_responses on known_ids.span_key = span_responses.span_key
),

shared_keys as (
    select call_key
    from keyed_ids
    group by call_key
    having min(source) < max(source)
),

shared_rows_by_date as (
    select
        keyed_ids.*,
        ordered_sources.source_rank
    from keyed_ids
    inner join shared_keys on keyed_ids.call_key = shared_keys.call_key
    inner join ordered_sources on keyed_ids.source = ordered_sources.source
),

-- the grain changes: one row per call and date, with the source that goes first among those that have it on that date
-- or on the day before or after; further apart an id repeats an answer from a cache
shared_dates as (
    select
        here.call_key,
        here.usage_date,
        {{ first_said('there.source', 'there.source_rank') }} as first_source
    from shared_rows_by_date as here
    inner join shared_rows_by_date as there
        on
            here.call_key = there.call_key
            and {{ days_between('here.usage_date', 'there.usage_date') }} between -1 and 1
    group by here.call_key, here.usage_date
    having min(there.source_rank) < max(there.source_rank)
),

-- the grain changes: one row per id, date and call that it stands for
shared_ids as (
    select distinct
        shared_rows_by_date.response_key as match_id,
        shared_dates.usage_date,
        shared_dates.call_key,
        shared_dates.first_source
    from shared_dates
    inner join shared_rows_by_date
        on
            shared_dates.call_key = shared_rows_by_date.call_key
            and shared_dates.usage_date = shared_rows_by_date.usage_date
    where shared_rows_by_date.response_key is not null
    union
    select distinct
        shared_rows_by_date.span_key as match_id,
        shared_dates.usage_date,
        shared_dates.call_key,
        shared_dates.first_source
    from shared_dates
    inner join shared_rows_by_date
        on
            shared_dates.call_key = shared_rows_by_date.call_key
            and shared_dates.usage_date = shared_rows_by_date.usage_date
    where shared_rows_by_date.span_key is not null
),

-- the grain changes back: what each source says of the shared calls, by its newest delivery
shared_rows as (
    {%- for match_id in match_ids %}
    {%- if not loop.first %}
    union all
    {%- endif %}
    select
        shared_ids.call_key,
        calls.usage_date,
        calls.source,
        calls.call_id,
        calls.attempt_number,
        calls.batch_id,
        calls.task_id,
        calls.task_id_origin
        {%- for label in labels %},
        calls.{{ label }} {%- endfor %}
    from {{ lake('llm_calls', near=true) }} as calls
    inner join shared_ids
        on
            {{ match_id }} = shared_ids.match_id
            and calls.usage_date = shared_ids.usage_date
    {%- endfor %}
),

newest_rows as (
    select
        shared_rows.*,
        ordered_sources.source_rank,
        row_number() over (
            partition by shared_rows.call_key, shared_rows.usage_date, shared_rows.source
            order by
                batches.delivered_at desc, shared_rows.batch_id desc, shared_rows.attempt_number desc,
                shared_rows.call_id asc, shared_rows.task_id asc nulls last
        ) as newest_rank
    from shared_rows
    inner join ordered_sources on shared_rows.source = ordered_sources.source
    inner join batches on shared_rows.batch_id = batches.batch_id
),

ranked as (
    select
        *,
        -- the task that an application named goes before an id that stands in for one
        case
            when task_id is not null
                then source_rank + case task_id_origin
                    when 'task' then 1000
                    when 'trace' then 2000
                    when 'session' then 3000
                    else 4000
                end
        end as task_rank
    from newest_rows
    where newest_rank = 1
),

-- the grain changes: what the sources say of a call together, the one that goes first before the others
together as (
    select
        here.call_key,
        here.usage_date
        {%- for column in ['task_id', 'task_id_origin'] %},
        {{ first_said('others.' ~ column, 'others.task_rank') }} as {{ column }} {%- endfor %}
        {%- for label in labels %},
        {{ first_said('others.' ~ label, 'others.source_rank') }} as {{ label }} {%- endfor %}
    from shared_dates as here
    inner join ranked as others
        on
            here.call_key = others.call_key
            and {{ days_between('here.usage_date', 'others.usage_date') }} between -1 and 1
    group by here.call_key, here.usage_date
)

select
    shared_ids.match_id,
    shared_ids.usage_date,
    shared_ids.first_source,
    together.task_id,
    together.task_id_origin
    {%- for label in labels %},
    together.{{ label }} {%- endfor %}
from shared_ids
inner join together
    on
        shared_ids.call_key = together.call_key
        and shared_ids.usage_date = together.usage_date
