{%- from 'money.sql' import in_month with context -%}
{{- one_of('quality.tag_coverage_daily', 'quality.price_coverage_daily', 'capacity.idle_dollars_daily') -}}
with parts as (
    {%- set union = joiner('\n    union all') %}
    {%- if has('quality.tag_coverage_daily') %}{{ union() }}
    select field as what, 'calls' as unit_noun, sum(tagged_attempts) as covered, sum(attempts) as total
    from {{ mart('quality.tag_coverage_daily') }}
    where {{ in_month('usage_date') }} and field in ('task_id', 'task_type', 'team', 'outcome')
    group by field
    {%- endif %}
    {%- if has('quality.price_coverage_daily') %}{{ union() }}
    select 'priced' as what, 'calls' as unit_noun, sum(priced_attempts) as covered, sum(attempts) as total
    from {{ mart('quality.price_coverage_daily') }}
    where {{ in_month('usage_date') }}
    {%- endif %}
    {%- if has('capacity.idle_dollars_daily') %}{{ union() }}
    select
        'sampled' as what,
        'GPU-hours' as unit_noun,
        sum(billed_seconds - unknown_seconds) / 3600 as covered,
        sum(billed_seconds) / 3600 as total
    from {{ mart('capacity.idle_dollars_daily') }}
    where {{ in_month('usage_date') }}
    {%- endif %}
)

select what, unit_noun, covered, total, covered / total as covered_ratio
from parts
where total > 0
order by list_position(['task_id', 'task_type', 'team', 'outcome', 'priced', 'sampled'], what)
