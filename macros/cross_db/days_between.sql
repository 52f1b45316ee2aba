{#- Whole days from one date to another, as an integer. -#}
{% macro days_between(first, last) -%}
    {{ return(adapter.dispatch('days_between', 'pertask')(first, last)) }}
{%- endmacro %}

{% macro default__days_between(first, last) -%}
    ({{ last }} - {{ first }})
{%- endmacro %}

{% macro spark__days_between(first, last) -%}
    datediff({{ last }}, {{ first }})
{%- endmacro %}
