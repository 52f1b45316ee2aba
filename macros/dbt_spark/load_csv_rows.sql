{#-
    How the rows of a seed come into its table. dbt-spark's own macro of this name hands values to the session as texts
    without escaping them, writes a missing value as the text None, and makes decimals floats.
-#}
{% macro spark__load_csv_rows(model, agate_table) -%}
    {%- set types = model['config'].get('column_types', {}) -%}
    {%- set rows = [] -%}
    {%- for row in agate_table.rows -%}
        {%- set values = [] -%}
        {%- for name in agate_table.column_names -%}
            {%- set value = row[name] -%}
            {%- set literal = 'null' if value is none else "'" ~ (value | string | replace("'", "''")) ~ "'" -%}
            {%- do values.append('cast(' ~ literal ~ ' as ' ~ types[name] ~ ')') -%}
        {%- endfor -%}
        {%- do rows.append('(' ~ values | join(', ') ~ ')') -%}
    {%- endfor -%}
    {%- set statement = 'insert into ' ~ this ~ ' values ' ~ rows | join(', ') -%}
    {%- if rows -%}
        {%- do adapter.add_query(statement, abridge_sql_log=true) -%}
    {%- endif -%}
    {{- return(statement) -}}
{%- endmacro %}
