{%- from 'money.sql' import rates, at_rate, money, in_month with context -%}
with {{ rates() -}}
days as (
    select
        daily.task_type,
        daily.tasks,
        daily.successful_tasks,
        daily.fully_priced_tasks,
        daily.is_estimated,
        {{ money('daily.cost_usd') }} as cost,
        {{ money('daily.fully_priced_cost_usd') }} as fully_priced_cost,
        {{ money('daily.fully_loaded_cost_per_task_usd * daily.fully_priced_tasks') }} as fully_loaded_cost,
        {{ money('daily.known_outcome_cost_usd') }} as known_outcome_cost,
        {{ money('daily.headline_cost_usd') }} as headline_cost,
        {{ money('daily.headline_task_cost_usd') }} as headline_task_cost
    from {{ mart('unit_economics.cost_per_task_daily') }} as daily {{ at_rate('daily.started_date') }}
    where {{ in_month('daily.started_date') }}
),
{% if has('core.fct_tasks') %}
-- a month's tail cannot be had from the tails of its days
tails as (
    select
        tasks.task_type,
        quantile_cont({{ money('tasks.cost_usd') }}, 0.5) as p50_cost,
        quantile_cont({{ money('tasks.cost_usd') }}, 0.9) as p90_cost,
        quantile_cont({{ money('tasks.cost_usd') }}, 0.99) as p99_cost
    from {{ mart('core.fct_tasks') }} as tasks {{ at_rate('tasks.started_date') }}
    where {{ in_month('tasks.started_date') }} and tasks.is_fully_priced and tasks.task_id_origin = 'task'
    group by tasks.task_type
),
{% endif %}
names as (
    {%- if has('core.dim_task_types') %}
    select task_type, max(display_name) as display_name, max(unit_noun) as unit_noun
    from {{ mart('core.dim_task_types') }}
    group by task_type
    {%- else %}
    select distinct task_type, cast(null as varchar) as display_name, cast(null as varchar) as unit_noun from days
    {%- endif %}
),

types as (
    select
        days.task_type,
        coalesce(any_value(names.display_name), days.task_type) as task_name,
        any_value(names.unit_noun) as unit_noun,
        sum(days.tasks) as tasks,
        sum(days.cost) as cost,
        sum(days.fully_priced_cost) / nullif(sum(days.fully_priced_tasks), 0) as cost_per_task,
        sum(days.known_outcome_cost) / nullif(sum(days.successful_tasks), 0) as cost_per_successful_task,
        sum(days.fully_loaded_cost) / nullif(sum(days.fully_priced_tasks), 0) as fully_loaded_cost_per_task,
        {%- if has('core.fct_tasks') %}
        any_value(tails.p50_cost) as p50_cost,
        any_value(tails.p90_cost) as p90_cost,
        any_value(tails.p99_cost) as p99_cost,
        {%- else %}
        null as p50_cost,
        null as p90_cost,
        null as p99_cost,
        {%- endif %}
        sum(days.headline_cost) as headline_cost,
        sum(days.headline_task_cost) as headline_task_cost,
        sum(days.headline_task_cost) / nullif(sum(days.headline_cost), 0) as cost_multiple,
        bool_or(days.is_estimated) as is_estimated
    from days
    {%- if has('core.fct_tasks') %}
    left join tails on days.task_type = tails.task_type
    {%- endif %}
    left join names on days.task_type = names.task_type
    group by days.task_type
)

select
    task_type,
    case
        when count(*) over (partition by task_name) > 1 then concat(task_name, ' (', task_type, ')')
        else task_name
    end as task_name,
    unit_noun,
    tasks,
    cost,
    cost_per_task,
    cost_per_successful_task,
    fully_loaded_cost_per_task,
    p50_cost,
    p90_cost,
    p99_cost,
    headline_cost,
    headline_task_cost,
    cost_multiple,
    is_estimated
from types
order by cost desc nulls last, task_type
