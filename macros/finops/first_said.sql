{#- The value that is not null of the row with the least rank. first_said('team', 'source_rank')  ->  the first one's team -#}
{% macro first_said(column, rank) -%}
    min_by({{ column }}, case when {{ column }} is not null then {{ rank }} end)
{%- endmacro %}
