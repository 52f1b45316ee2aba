{#- An incremental table has a partition per date, so that a date can be dropped. -#}
{% macro spark__partition_cols(label, required=false) -%}
    {%- if config.get('materialized') == 'incremental' %}
    {{ label }} ({{ config.get('meta')['date_column'] }})
    {%- endif -%}
{%- endmacro %}
