{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

{%- set conditions = {
    'task_id': "task_id_origin = 'task'",
    'task_type': "task_type != '__untagged__'",
    'team': "team != '__untagged__'",
    'attempt': 'is_attempt_told or step_index is not null',
    'step_name': 'step_name is not null',
    'prompt_version': 'prompt_version is not null',
    'customer': 'customer is not null',
    'outcome': "task_outcome != 'unknown'",
    'token_usage': 'input_tokens is not null or output_tokens is not null',
    'tool_call_count': 'tool_call_count is not null',
    'router_confidence': 'router_confidence is not null',
} %}

with attempts as (
    select * from {{ ref('fct_call_attempts') }}
    where duplicate_of_source is null and {{ in_touched_dates('usage_date') }}
),

-- the grain changes: from one row per attempt to one row per day and source, a count per field
days as (
    select
        usage_date,
        source,
        count(*) as attempts
        {%- for field, condition in conditions.items() %},
        count(case when {{ condition }} then 1 end) as {{ field }}_attempts {%- endfor %}
    from attempts
    group by usage_date, source
),

-- the grain changes again: each field becomes a row
fields as (
    {%- for field in conditions %}
    {%- if not loop.first %}
    union all
    {%- endif %}
    select
        usage_date,
        source,
        '{{ field }}' as field,
        attempts,
        {{ field }}_attempts as tagged_attempts
    from days
    {%- endfor %}
)

select
    usage_date,
    source,
    field,
    attempts,
    tagged_attempts,
    {{ safe_divide('tagged_attempts', 'attempts') }} as tagged_ratio
from fields
