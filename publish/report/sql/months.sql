{#- The days of which each kind of data tells. A bill's line is on the day on which its charge period starts; a
refund of an earlier month is on the first day of its bill. -#}
{{- one_of('unit_economics.cost_per_task_daily', 'capacity.idle_dollars_daily', 'core.fct_bill_lines') -}}
with days as (
    {%- set union = joiner('\n    union all') %}
    {%- for kind, name, day, provisional in [
        ('calls', 'unit_economics.cost_per_task_daily', 'started_date', 'false'),
        ('GPU time', 'capacity.idle_dollars_daily', 'usage_date', 'is_provisional'),
        ('bills', 'core.fct_bill_lines', 'greatest(usage_date, cast(billing_period_start as date))', 'false'),
    ] if has(name) %}{{ union() }}
    select '{{ kind }}' as kind, {{ day }} as day, bool_or({{ provisional }}) as is_provisional
    from {{ mart(name) }} group by all
    {%- endfor %}
)

select
    kind,
    cast(date_trunc('month', day) as date) as month_start,
    min(day) as first_date,
    max(day) as last_date,
    min(min(day)) over (partition by kind) as first_date_ever,
    max(max(day)) over (partition by kind) as last_date_ever,
    bool_or(is_provisional) as is_provisional
from days
group by kind, month_start
order by month_start, kind
