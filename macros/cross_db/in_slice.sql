{#-
    A condition that keeps the rows of the slice being built (macros/lake/slices.sql), and of `days` days on either side.

    in_slice('usage_date', 1)
        ->  usage_date between cast(getvariable('first_date') as date) - 1 and cast(getvariable('last_date') as date) + 1
-#}
{% macro in_slice(expression, days=0) -%}
    {{ return(adapter.dispatch('in_slice', 'pertask')(expression, days)) }}
{%- endmacro %}

{%- macro default__in_slice(expression, days) -%}
    {{ expression }} between cast(getvariable('first_date') as date) - {{ days }}
        and cast(getvariable('last_date') as date) + {{ days }}
{%- endmacro %}

{#- Spark's joins go to disk by themselves, and it has no slices. -#}
{% macro spark__in_slice(expression, days) -%}
    true
{%- endmacro %}
