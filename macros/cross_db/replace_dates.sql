{#-
    The incremental strategy of every dated model: the touched dates are removed from the table and the rows just
    computed take their place, in one transaction, so a date whose rows vanished upstream loses them here too.
    The model names its date column in config(meta={'date_column': ...}).
-#}
{% macro get_incremental_replace_dates_sql(arguments) -%}
    {{ return(adapter.dispatch('replace_dates_sql', 'pertask')(arguments)) }}
{%- endmacro %}

{% macro default__replace_dates_sql(arguments) -%}
    {%- set columns = get_quoted_csv(arguments['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arguments['target_relation'] }}
    where {{ config.get('meta')['date_column'] }} in ({{ touched_date_literals() }});

    insert into {{ arguments['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arguments['temp_relation'] }}
{%- endmacro %}

{#-
    Partitions are dropped, then the rows go in: overwriting alone would leave a date that vanished. The two are no
    transaction; a build that dies in between has not succeeded, and the next one recomputes its dates.
-#}
{% macro spark__replace_dates_sql(arguments) -%}
    {%- set columns = get_quoted_csv(arguments['dest_columns'] | map(attribute='name')) -%}
    {%- set date_column = config.get('meta')['date_column'] -%}
    {%- set partitions = [] -%}
    {%- for literal in date_literals(ref('int_touched_dates')) -%}
        {%- do partitions.append('partition (' ~ date_column ~ ' = ' ~ literal ~ ')') -%}
    {%- endfor -%}
    {%- if partitions -%}
        {%- do run_query('alter table ' ~ arguments['target_relation'] ~ ' drop if exists ' ~ partitions | join(', ')) -%}
    {%- endif -%}
    insert into {{ arguments['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arguments['temp_relation'] }}
{%- endmacro %}
