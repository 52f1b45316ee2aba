{#-
    A table expression over a list of Parquet files, columns matched by name.

    read_files(['a.parquet'])  ->  read_parquet(['a.parquet'], union_by_name = true)
-#}
{% macro read_files(paths) -%}
    {{ return(adapter.dispatch('read_files', 'pertask')(paths)) }}
{%- endmacro %}

{% macro default__read_files(paths) -%}
    {%- set quoted = [] -%}
    {%- for path in paths -%}
        {%- do quoted.append("'" ~ path | replace("'", "''") ~ "'") -%}
    {%- endfor -%}
    {{- return("read_parquet([" ~ quoted | join(', ') ~ "], union_by_name = true, hive_partitioning = false)") -}}
{%- endmacro %}
