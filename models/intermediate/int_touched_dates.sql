{#-
    The closure over what changed since the last successful build: the UTC dates whose rows every incremental model
    replaces. Previous relations are read as the last build left them; they come later in the graph.
-#}
{%- set previous_tasks = previous('core', 'fct_tasks') -%}
{%- set previous_bill_lines = previous('core', 'fct_bill_lines') -%}
{%- set previous_touched_dates = previous('intermediate', 'int_touched_dates') -%}

with files as (
    select * from {{ snapshot('files') }}
),

superseded as (
    select * from {{ snapshot('superseded') }}
),

changed_ranges as (
    select * from {{ snapshot('changed_ranges') }}
),

build as (
    select * from {{ snapshot('meta') }}
),

-- one row per changed call; both its old and its new file are read
changed_calls as (
    select task_id from {{ read_files(changed_lake_paths('llm_calls')) }}
),

-- one row per changed task label; both its old and its new file are read
changed_labels as (
    select task_id from {{ read_files(changed_lake_paths('tasks')) }}
),

days as (
    select date_day from {{ day_spine(
        "(select coalesce(min(min_date), date '2000-01-01') from " ~ snapshot('files') ~ ")",
        "(select coalesce(max(max_date), date '2000-01-01') from " ~ snapshot('files') ~ ")"
    ) }}
),

-- one row per span of dates that some file holds; the days outside every span have no rows to recompute
data_spans as (
    select distinct
        min_date as first_date,
        max_date as last_date
    from files
    where min_date is not null and contract in ('llm_calls', 'gpu_samples', 'bill_lines')
),

known_dates as (
    select distinct days.date_day as usage_date
    from days
    inner join data_spans on days.date_day between data_spans.first_date and data_spans.last_date
),

changed_tasks as (
    select task_id from changed_calls where task_id is not null
    union
    select task_id from changed_labels
),

previous_tasks as (
    {% if previous_tasks -%}
    select
        task_id,
        started_date,
        ended_date
    from {{ previous_tasks }}
    {%- else -%}
    select
        cast(null as string) as task_id,
        cast(null as date) as started_date,
        cast(null as date) as ended_date
    from build
    where false
    {%- endif %}
),

previous_wide_bill_lines as (
    {% if previous_bill_lines -%}
    select distinct
        cast(charge_period_start as date) as first_date,
        cast(charge_period_end as date) as last_date
    from {{ previous_bill_lines }}
    where charge_period_end > charge_period_start + interval '1' day
    {%- else -%}
    select
        cast(null as date) as first_date,
        cast(null as date) as last_date
    from build
    where false
    {%- endif %}
),

-- one row per span of dates and reason, before the spans are cut into days
touched_spans as (
    -- the rows of a changed file; links, windows and rates may be open at either end
    select distinct
        case contract
            when 'llm_calls' then 'calls'
            when 'gpu_samples' then 'gpu samples'
            when 'bill_lines' then 'bill lines'
            else contract
        end as reason,
        coalesce(min_date, date '0001-01-01') as first_date,
        case
            when contract = 'fx_rates'
                then max_date + {{ var('max_rate_age_days') }}
            else coalesce(max_date, date '9999-12-31')
        end as last_date
    from files
    where
        change != 'same'
        and contract in (
            'llm_calls', 'gpu_samples', 'bill_lines', 'replica_windows', 'resource_links', 'gpu_events', 'fx_rates'
        )
    union all
    select distinct
        'superseded bill lines' as reason,
        min_date as first_date,
        max_date as last_date
    from superseded
    where change != 'same'
    union all
    select
        reason,
        coalesce(valid_from, date '0001-01-01') as first_date,
        coalesce(valid_to - 1, date '9999-12-31') as last_date
    from changed_ranges
    union all
    select distinct
        'tasks' as reason,
        previous_tasks.started_date as first_date,
        previous_tasks.ended_date as last_date
    from previous_tasks
    inner join changed_tasks on previous_tasks.task_id = changed_tasks.task_id
),

first_round as (
    select distinct
        known_dates.usage_date,
        touched_spans.reason
    from known_dates
    inner join touched_spans
        on known_dates.usage_date between touched_spans.first_date and touched_spans.last_date
),

-- a task that reaches into a touched date takes its price from there; a wide bill line its hours
reaching_spans as (
    select distinct
        'tasks reaching in' as reason,
        previous_tasks.started_date as first_date,
        previous_tasks.ended_date as last_date
    from previous_tasks
    inner join first_round
        on first_round.usage_date between previous_tasks.started_date and previous_tasks.ended_date
    where previous_tasks.ended_date > previous_tasks.started_date
    union all
    select distinct
        'bill lines reaching in' as reason,
        previous_wide_bill_lines.first_date,
        previous_wide_bill_lines.last_date
    from previous_wide_bill_lines
    inner join first_round
        on
            first_round.usage_date between previous_wide_bill_lines.first_date
            and previous_wide_bill_lines.last_date
),

second_round as (
    select distinct
        known_dates.usage_date,
        reaching_spans.reason
    from known_dates
    inner join reaching_spans
        on known_dates.usage_date between reaching_spans.first_date and reaching_spans.last_date
),

-- a build that did not finish may have moved rows whose old dates nothing else remembers
unfinished as (
    {% if previous_touched_dates -%}
    select
        earlier.usage_date,
        'unfinished build' as reason
    from {{ previous_touched_dates }} as earlier
    inner join build on build.is_previous_unfinished
    {%- else -%}
    select
        cast(null as date) as usage_date,
        cast(null as string) as reason
    from build
    where false
    {%- endif %}
),

full_rebuild as (
    select
        known_dates.usage_date,
        'full rebuild' as reason
    from known_dates
    inner join build on build.is_full_refresh
),

touched as (
    select usage_date, reason from first_round
    union
    select usage_date, reason from second_round
    union
    select usage_date, reason from unfinished
    union
    select usage_date, reason from full_rebuild
)

-- one row per date
select
    usage_date,
    string_agg(reason, ', ') as reasons
from touched
group by usage_date
