{#-
    A condition that keeps the rows whose span of dates reaches between the first and the last touched date in an
    incremental run and every row otherwise. It only prunes: the rows of other dates are dropped later.

    overlaps_touched_dates('first_date', 'last_date')
        ->  first_date <= date '2026-08-22' and last_date >= date '2026-08-21'
-#}
{% macro overlaps_touched_dates(first, last) -%}
    {%- set relation = ref('int_touched_dates') -%}
    {%- if is_incremental() and execute -%}
        {%- set bounds = run_query('select min(usage_date), max(usage_date) from ' ~ relation) -%}
        {%- set first_touched = bounds.columns[0].values()[0] -%}
        {%- set last_touched = bounds.columns[1].values()[0] -%}
        {%- if first_touched is none -%}
            false
        {%- else -%}
            {{ first }} <= date '{{ last_touched }}' and {{ last }} >= date '{{ first_touched }}'
        {%- endif -%}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}
