{%- set labels = [
    'task_type', 'team', 'application', 'customer', 'environment', 'step_name', 'step_index', 'prompt_version',
] %}
{%- set match_ids = [
    "concat('response:', calls.response_id)",
    "concat('span:', calls.trace_id, ':', calls.span_id)",
] %}

with calls as (
    select * from {{ lake('llm_calls', near=true) }}
    where not coalesce(response_cache_hit, false)
),

batches as (
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
    select distinct source from calls
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

-- the grain changes: one row per source, date and id by which another source may know the same call
known_ids as (
    select distinct
        source,
        usage_date,
        concat('response:', response_id) as match_id
    from calls
    where response_id is not null
    union all
    select distinct
        source,
        usage_date,
        concat('span:', trace_id, ':', span_id) as match_id
    from calls
    where trace_id is not null and span_id is not null
),

-- one row per id that several sources have, with the source that goes first; the same call is at most over midnight on
-- two dates, and an id that lives longer is not one of a call
shared_ids as (
    select
        known_ids.match_id,
        min_by(known_ids.source, ordered_sources.source_rank) as first_source
    from known_ids
    inner join ordered_sources on known_ids.source = ordered_sources.source
    group by known_ids.match_id
    having
        min(ordered_sources.source_rank) < max(ordered_sources.source_rank)
        and {{ days_between('min(known_ids.usage_date)', 'max(known_ids.usage_date)') }} <= 1
),

-- the grain changes back: what each source says of the shared calls, by its newest delivery
shared_rows as (
    {%- for match_id in match_ids %}
    {%- if not loop.first %}
    union all
    {%- endif %}
    select
        shared_ids.match_id,
        calls.source,
        calls.call_id,
        calls.attempt_number,
        calls.batch_id,
        calls.task_id,
        calls.task_id_origin
        {%- for label in labels %},
        calls.{{ label }} {%- endfor %}
    from calls
    inner join shared_ids on {{ match_id }} = shared_ids.match_id
    {%- endfor %}
),

newest_rows as (
    select
        shared_rows.*,
        ordered_sources.source_rank,
        row_number() over (
            partition by shared_rows.match_id, shared_rows.source
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
        source_rank
        + case task_id_origin when 'task' then 1000 when 'trace' then 2000 when 'session' then 3000 else 4000 end
            as task_rank
    from newest_rows
    where newest_rank = 1
),

-- the grain changes: what the sources say of a call together, the one that goes first before the others
together as (
    select
        match_id
        {%- for column in ['task_id', 'task_id_origin'] %},
        min_by({{ column }}, case when task_id is not null then task_rank end) as {{ column }} {%- endfor %}
        {%- for label in labels %},
        min_by({{ label }}, case when {{ label }} is not null then source_rank end) as {{ label }} {%- endfor %}
    from ranked
    group by match_id
)

select
    shared_ids.match_id,
    shared_ids.first_source,
    together.task_id,
    together.task_id_origin
    {%- for label in labels %},
    together.{{ label }} {%- endfor %}
from shared_ids
inner join together on shared_ids.match_id = together.match_id
