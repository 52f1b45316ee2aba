{#- How dbt-duckdb fills a new table; a sliced model's goes in slice by slice (macros/lake/slices.sql). -#}
{% macro duckdb__create_table_as(temporary, relation, compiled_code, language='sql', partitioned_by=none, sorted_by=none) -%}
    {%- set statements = dbt.duckdb__create_table_as(
        temporary, relation, compiled_code, language, partitioned_by, sorted_by
    ) -%}
    {%- if is_sliced() -%}
        {%- for first, last in date_slices() %}
    set variable first_date = {{ first }};
    set variable last_date = {{ last }};
            {%- if loop.first %}
    {{ statements }}
            {%- else %}
    insert into {{ relation }} {{ get_column_names() }} (
        {{ get_select_subquery(compiled_code) }}
    );
            {%- endif %}
        {%- endfor %}
    {%- else -%}
        {{ statements }}
    {%- endif -%}
{%- endmacro %}
