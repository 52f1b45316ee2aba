{#-
    The newest value that is not null of a column within a group, by a column that ranks the rows from oldest to newest.

    newest('outcome')  ->  max_by(outcome, case when outcome is not null then recency end)
-#}
{% macro newest(column, recency='recency') -%}
    max_by({{ column }}, case when {{ column }} is not null then {{ recency }} end)
{%- endmacro %}
