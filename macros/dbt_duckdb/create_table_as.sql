{#-
    In place of dbt-duckdb's own: a full refresh in slices of dates fills its table slice by slice
    (macros/lake/date_slices.sql).
-#}
{% macro duckdb__create_table_as(temporary, relation, compiled_code, language='sql', partitioned_by=none, sorted_by=none) -%}
    {%- set statements = dbt.duckdb__create_table_as(
        temporary, relation, compiled_code, language, partitioned_by, sorted_by
    ) -%}
    {%- if is_in_date_slices() -%}
        {%- for first, last in date_slices() %}
    set variable slice_first_date = {{ first }};
    set variable slice_last_date = {{ last }};
            {%- if loop.first %}
    {{ statements }}
            {%- else %}
    insert into {{ relation }} by name (
        {{ compiled_code }}
    );
            {%- endif %}
        {%- endfor %}
    {%- else -%}
        {{ statements }}
    {%- endif -%}
{%- endmacro %}
