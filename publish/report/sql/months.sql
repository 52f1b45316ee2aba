{#- The days of which each kind of data tells. A bill tells of its period, up to its delivery. What is dated after the
newest delivery is a mistake in the data, and no sign of a month that is over. -#}
{{- one_of('unit_economics.cost_per_task_daily', 'capacity.idle_dollars_daily', 'core.fct_bill_lines') -}}
with days as (
    {%- set union = joiner('\n    union all') %}
    {%- for kind, name, day, provisional in [
        ('calls', 'unit_economics.cost_per_task_daily', 'started_date', 'false'),
        ('GPU time', 'capacity.idle_dollars_daily', 'usage_date', 'is_provisional'),
    ] if has(name) %}{{ union() }}
    select '{{ kind }}' as kind, {{ day }} as day, bool_or({{ provisional }}) as is_provisional
    from {{ mart(name) }} group by all
    {%- endfor %}
    {%- if has('core.fct_bill_lines') %}{{ union() }}
    select distinct
        'bills' as kind,
        unnest(cast(generate_series(
            cast(billing_period_start as date),
            least(
                cast(coalesce(billing_period_end, billing_period_start + interval 1 month) as date) - 1,
                cast(delivered_at as date)
            ),
            interval 1 day
        ) as date[])) as day,
        false as is_provisional
    from (
        select billing_period_start, billing_period_end, max(delivered_at) as delivered_at
        from {{ mart('core.fct_bill_lines') }}
        group by billing_period_start, billing_period_end
    ) as periods
    {%- endif %}
)

select
    kind,
    cast(date_trunc('month', day) as date) as month_start,
    min(day) as first_date,
    max(day) as last_date,
    min(min(day)) over (partition by kind) as first_date_ever,
    max(max(day)) over (partition by kind) as last_date_ever,
    list(day order by day) as days,
    bool_or(is_provisional) as is_provisional
from days
{%- if has('main.publication') %}
where day <= (select coalesce(max(cast(newest_delivery_at as date)), date '9999-12-31') from {{ mart('main.publication') }})
{%- endif %}
group by kind, month_start
order by month_start, kind
