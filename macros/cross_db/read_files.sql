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

{#-
    One pattern that names each file, as a path in SQL is one text; all of them are in or below the folder of the first.
-#}
{% macro spark__read_files(paths) -%}
    {%- set folder = paths[0].rsplit('/', 1)[0] ~ '/' -%}
    {%- set names = [] -%}
    {%- for path in paths -%}
        {%- do names.append(path[folder | length:]) -%}
    {%- endfor -%}
    {{- return('parquet.`' ~ folder ~ ('{' ~ names | join(',') ~ '}' if names | length > 1 else names[0]) ~ '`') -}}
{%- endmacro %}
