{#-
    The closure over what changed since the last successful build: the UTC dates whose rows every incremental model
    replaces. Previous relations are read as the last build left them; they come later in the graph.
-#}
{%- set previous_tasks = previous('core', 'fct_tasks') -%}
{%- set previous_bill_lines = previous('core', 'fct_bill_lines') -%}
{%- set previous_fx_rates = previous('core', 'dim_fx_rates') -%}
{%- set previous_links = previous('intermediate', 'int_resource_links') -%}
{%- set previous_windows = previous('intermediate', 'int_replica_windows') -%}
{%- set previous_labels = previous('intermediate', 'int_task_labels') -%}
{%- set previous_attempts = previous('core', 'fct_call_attempts') -%}
{%- set previous_outlines = previous('intermediate', 'int_attempt_outlines') -%}
{%- set previous_prices = previous('intermediate', 'int_observed_prices') -%}
{%- set previous_touched_dates = previous('intermediate', 'int_touched_dates') -%}
{%- if execute and not (previous_touched_dates or should_full_refresh() or is_unit_test()) -%}
    {{ exceptions.raise_compiler_error("the last build's tables are gone, so there is nothing to add to. Build with --full-refresh.") }}
{%- endif -%}
{#- read before this table is replaced: an engine may drop the old one first -#}
{%- set earlier_dates = date_literals(previous_touched_dates) -%}

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

fx_rates as (
    select * from {{ ref('int_fx_rates') }}
),

watermarks as (
    select * from {{ ref('int_bill_watermarks') }}
),

-- one row per changed call; both its old and its new file are read
changed_calls as (
    select
        usage_date,
        task_id,
        response_id,
        trace_id,
        span_id,
        started_at,
        ended_at,
        coalesce(replica_id, api_base, deployment_id) is not null as names_a_server
    from {{ read_files(changed_lake_paths('llm_calls')) }}
),

-- what other sources have of the same calls on another date, over midnight
changed_matches as (
    {% if previous_attempts -%}
    select distinct attempts.usage_date
    from changed_calls
    inner join {{ previous_attempts }} as attempts
        on
            changed_calls.response_id = attempts.response_id
            and changed_calls.usage_date != attempts.usage_date
    where attempts.usage_date between
        (select min(changed_calls.usage_date) - 1 from changed_calls)
        and (select max(changed_calls.usage_date) + 1 from changed_calls)
    union
    select distinct attempts.usage_date
    from changed_calls
    inner join {{ previous_attempts }} as attempts
        on
            changed_calls.trace_id = attempts.trace_id
            and changed_calls.span_id = attempts.span_id
            and changed_calls.usage_date != attempts.usage_date
    where attempts.usage_date between
        (select min(changed_calls.usage_date) - 1 from changed_calls)
        and (select max(changed_calls.usage_date) + 1 from changed_calls)
    {%- else -%}
    select usage_date from changed_calls
    where false
    {%- endif %}
),

-- prices that were observed and now hold, or no longer do; what the book and the company state is told by its dates
observed_prices as (
    select
        provider,
        model_key,
        region,
        service_tier,
        context_from_tokens,
        component,
        unit_price_usd,
        valid_from,
        valid_to
    from {{ ref('int_prices') }}
    where price_source = 'observation'
),

changed_prices as (
    {% if previous_prices -%}
    select
        valid_from,
        valid_to
    from (
        (
            select * from observed_prices
            except
            select * from {{ previous_prices }}
        )
        union all
        (
            select * from {{ previous_prices }}
            except
            select * from observed_prices
        )
    ) as differing
    {%- else -%}
    select
        valid_from,
        valid_to
    from observed_prices
    {%- endif %}
),

links as (
    select * from {{ ref('stg_resource_links') }}
),

windows as (
    select * from {{ ref('stg_replica_windows') }}
),

-- one row per task in a changed file of labels; both its old and its new file are read
delivered_labels as (
    select distinct task_id from {{ read_files(changed_lake_paths('tasks')) }}
),

labels as (
    select stg_tasks.* from {{ ref('stg_tasks') }} as stg_tasks
    inner join delivered_labels on stg_tasks.task_id = delivered_labels.task_id
),

-- a list of tasks comes as a whole, old ones included: only the tasks whose labels differ count
changed_labels as (
    {% if previous_labels -%}
    select task_id from (
        (
            select * from labels
            except
            select previous_labels.* from {{ previous_labels }} as previous_labels
            inner join delivered_labels on previous_labels.task_id = delivered_labels.task_id
        )
        union all
        (
            select previous_labels.* from {{ previous_labels }} as previous_labels
            inner join delivered_labels on previous_labels.task_id = delivered_labels.task_id
            except
            select * from labels
        )
    ) as differing
    {%- else -%}
    select task_id from labels
    {%- endif %}
),

-- links and windows come as a whole too; one that only learned its end changes nothing before it
changed_links as (
    {% if previous_links -%}
    select
        case
            when links.valid_from is null then previous_links.valid_from
            when previous_links.valid_from is null then links.valid_from
            else least(links.valid_to, previous_links.valid_to)
        end as changed_from
    from links
    full outer join {{ previous_links }} as previous_links
        on
            {%- for name in ['hostname', 'node_name', 'gpu_uuid', 'resource_id', 'deployment_id', 'api_base'] %}
            links.{{ name }} is not distinct from previous_links.{{ name }} and
            {%- endfor %}
            links.valid_from = previous_links.valid_from
    where links.valid_to is distinct from previous_links.valid_to
    {%- else -%}
    select valid_from as changed_from from links
    {%- endif %}
),

changed_windows as (
    {% if previous_windows -%}
    select
        case
            when windows.loaded_at is null then previous_windows.loaded_at
            when previous_windows.loaded_at is null then windows.loaded_at
            else least(windows.unloaded_at, previous_windows.unloaded_at)
        end as changed_from
    from windows
    full outer join {{ previous_windows }} as previous_windows
        on
            {%- for name in ['replica_id', 'deployment_id', 'model', 'resource_id', 'gpu_uuid', 'gpu_count'] %}
            windows.{{ name }} is not distinct from previous_windows.{{ name }} and
            {%- endfor %}
            windows.loaded_at = previous_windows.loaded_at
    where windows.unloaded_at is distinct from previous_windows.unloaded_at
    {%- else -%}
    select loaded_at as changed_from from windows
    {%- endif %}
),

days as (
    select date_day from {{ day_spine(
        "(select coalesce(min(min_date), date '2000-01-01') from " ~ snapshot('files') ~ ")",
        "(select coalesce(max(max_date), date '2000-01-01') from " ~ snapshot('files') ~ ")"
    ) }}
),

-- one row per span of dates that some file holds or held; the days outside every span have no rows to recompute
data_spans as (
    select
        min_date as first_date,
        max_date as last_date,
        bool_or(change != 'removed') as holds_data
    from files
    where min_date is not null and contract in ('llm_calls', 'gpu_samples', 'serving_samples', 'bill_lines')
    group by min_date, max_date
),

known_dates as (
    select
        days.date_day as usage_date,
        bool_or(data_spans.holds_data) as holds_data
    from days
    inner join data_spans on days.date_day between data_spans.first_date and data_spans.last_date
    group by days.date_day
),

changed_tasks as (
    select distinct task_id from changed_calls
    where task_id is not null
    union
    select task_id from changed_labels
),

previous_tasks as (
    {% if previous_tasks -%}
    select
        task_id,
        started_date as first_date,
        ended_date as last_date
    from {{ previous_tasks }}
    {%- else -%}
    select
        cast(null as string) as task_id,
        cast(null as date) as first_date,
        cast(null as date) as last_date
    from build
    where false
    {%- endif %}
),

-- the lines that are spread over the hours of more than one date
previous_wide_bill_lines as (
    {% if previous_bill_lines -%}
    select distinct
        cast(charge_period_start as date) as first_date,
        cast({{ add_microseconds('charge_period_end', '-1') }} as date) as last_date
    from {{ previous_bill_lines }}
    where
        line_kind in ('gpu_usage', 'unused_commitment')
        and cast({{ add_microseconds('charge_period_end', '-1') }} as date) > cast(charge_period_start as date)
    {%- else -%}
    select
        cast(null as date) as first_date,
        cast(null as date) as last_date
    from build
    where false
    {%- endif %}
),

-- how far each bill had come at the last build, by the rule of int_bill_watermarks
previous_watermarks as (
    {% if previous_bill_lines -%}
    select
        source,
        billing_account_id,
        coalesce(
            max(case when charge_period_end <= charge_period_start + interval '1' day then charge_period_end end),
            max(charge_period_end)
        ) as billed_until
    from {{ previous_bill_lines }}
    where is_gpu_usage
    group by source, billing_account_id
    {%- else -%}
    select
        cast(null as string) as source,
        cast(null as string) as billing_account_id,
        cast(null as timestamp) as billed_until
    from build
    where false
    {%- endif %}
),

-- hours after the end of a bill are estimated: when the end moves, in either direction, they are another matter
moved_watermarks as (
    select
        least(
            coalesce(watermarks.billed_until, timestamp '0001-01-01 00:00:00'),
            coalesce(previous_watermarks.billed_until, timestamp '0001-01-01 00:00:00')
        ) as moved_from
    from watermarks
    full outer join previous_watermarks
        on
            watermarks.source = previous_watermarks.source
            and watermarks.billing_account_id is not distinct from previous_watermarks.billing_account_id
    where watermarks.billed_until is distinct from previous_watermarks.billed_until
),

-- a list of rates comes as a whole, old days included: only the days whose rate, or what is told of it, differs count
previous_fx_rates as (
    {% if previous_fx_rates -%}
    select
        rate_day,
        currency,
        usd_per_unit,
        published_date,
        origin
    from {{ previous_fx_rates }}
    {%- else -%}
    select
        cast(null as date) as rate_day,
        cast(null as string) as currency,
        cast(null as decimal(18, 12)) as usd_per_unit,
        cast(null as date) as published_date,
        cast(null as string) as origin
    from build
    where false
    {%- endif %}
),

changed_fx_days as (
    select distinct coalesce(fx_rates.rate_day, previous_fx_rates.rate_day) as rate_day
    from fx_rates
    full outer join previous_fx_rates
        on
            fx_rates.rate_day = previous_fx_rates.rate_day
            and fx_rates.currency = previous_fx_rates.currency
    where
        fx_rates.usd_per_unit is distinct from previous_fx_rates.usd_per_unit
        or fx_rates.published_date is distinct from previous_fx_rates.published_date
        or fx_rates.origin is distinct from previous_fx_rates.origin
),

-- one row per span of dates and reason, before the spans are cut into days
touched_spans as (
    -- the rows of a changed file
    select distinct
        case contract
            when 'llm_calls' then 'calls'
            when 'gpu_samples' then 'gpu samples'
            when 'serving_samples' then 'serving samples'
            else contract
        end as reason,
        min_date as first_date,
        max_date as last_date
    from files
    where change != 'same' and contract in ('llm_calls', 'gpu_samples', 'serving_samples', 'gpu_events')
    union all
    -- bills, links and windows also tell of later dates: what a GPU is, what it last cost, who holds it, what has ended
    select distinct
        'bill lines' as reason,
        min_date as first_date,
        date '9999-12-31' as last_date
    from files
    where change != 'same' and contract = 'bill_lines'
    union all
    select distinct
        'resource links' as reason,
        cast(changed_from as date) as first_date,
        date '9999-12-31' as last_date
    from changed_links
    union all
    select distinct
        'replica windows' as reason,
        cast(changed_from as date) as first_date,
        date '9999-12-31' as last_date
    from changed_windows
    union all
    select distinct
        'superseded bill lines' as reason,
        min_date as first_date,
        date '9999-12-31' as last_date
    from superseded
    where change != 'same'
    union all
    select distinct
        'end of a bill' as reason,
        cast(moved_from as date) as first_date,
        date '9999-12-31' as last_date
    from moved_watermarks
    union all
    select
        'calls of other sources' as reason,
        usage_date as first_date,
        usage_date as last_date
    from changed_matches
    union all
    select distinct
        'observed prices' as reason,
        cast(valid_from as date) as first_date,
        cast({{ add_microseconds('valid_to', '-1') }} as date) as last_date
    from changed_prices
    union all
    select
        'exchange rates' as reason,
        rate_day as first_date,
        rate_day as last_date
    from changed_fx_days
    union all
    select
        reason,
        coalesce(valid_from, date '0001-01-01') as first_date,
        coalesce(valid_to - 1, date '9999-12-31') as last_date
    from changed_ranges
    union all
    select distinct
        'tasks' as reason,
        previous_tasks.first_date,
        previous_tasks.last_date
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

{%- set rounds = [
    ('second_round', 'first_round', 'bill lines reaching in', 'previous_wide_bill_lines'),
    ('third_round', 'second_round', 'calls over midnight', 'flights'),
    ('fourth_round', 'third_round', 'tasks reaching in', 'previous_tasks'),
] %}

-- one row per pair of dates on which calls on own servers were in flight: what one date shares out depends on the other
flights as (
    select distinct
        usage_date as first_date,
        usage_date + 1 as last_date
    from changed_calls
    where names_a_server and cast(cast(ended_at as timestamp) as date) > usage_date
    {% if previous_outlines -%}
    union
    select distinct
        usage_date as first_date,
        usage_date + 1 as last_date
    from {{ previous_outlines }}
    where pool_id is not null and cast(ended_at as date) > usage_date
    {%- endif %}
),

-- a wide bill line that reaches into a touched date takes its hours from there, then a call its share of the GPUs,
-- then a task its cost
{% for this_round, round_before, reason, spans in rounds -%}
{{ this_round }} as (
    select
        usage_date,
        reason
    from {{ round_before }}
    union
    select
        known_dates.usage_date,
        '{{ reason }}' as reason
    from known_dates
    inner join {{ spans }} as spans on known_dates.usage_date between spans.first_date and spans.last_date
    inner join {{ round_before }} as round_before
        on round_before.usage_date between spans.first_date and spans.last_date
    where spans.last_date > spans.first_date
),

{% endfor -%}

-- a build that did not finish may have moved rows whose old dates nothing else remembers
unfinished as (
    {% if earlier_dates -%}
    select
        days.date_day as usage_date,
        'unfinished build' as reason
    from {{ day_spine(earlier_dates | first, earlier_dates | last) }} as days
    inner join build on build.is_previous_unfinished
    where days.date_day in ({{ earlier_dates | join(', ') }})
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
    select
        usage_date,
        reason
    from fourth_round
    union
    select
        usage_date,
        reason
    from unfinished
    union
    select
        usage_date,
        reason
    from full_rebuild
)

-- one row per date
select
    touched.usage_date,
    {{ join_texts('touched.reason', "', '") }} as reasons,
    coalesce(bool_or(known_dates.holds_data), false) as holds_data
from touched
left join known_dates on touched.usage_date = known_dates.usage_date
group by touched.usage_date
