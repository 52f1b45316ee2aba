{#-
    In a select list: one row per whole number from `first` to `last`, both included; no row where last is less.

    explode_numbers('1', 'gpu_count')  ->  1, 2, 3
-#}
{% macro explode_numbers(first, last) -%}
    {{ return(adapter.dispatch('explode_numbers', 'pertask')(first, last)) }}
{%- endmacro %}

{% macro default__explode_numbers(first, last) -%}
    unnest(range(cast({{ first }} as bigint), cast({{ last }} as bigint) + 1))
{%- endmacro %}

{% macro spark__explode_numbers(first, last) -%}
    explode(case when {{ first }} <= {{ last }} then sequence(cast({{ first }} as bigint), cast({{ last }} as bigint)) end)
{%- endmacro %}
