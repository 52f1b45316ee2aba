{#-
    A value as a whole number of up to 38 digits, for exact arithmetic on amounts in 1e-12 USD and on microseconds.

    whole_number('billed_microseconds')  ->  cast(billed_microseconds as hugeint)
-#}
{% macro whole_number(value) -%}
    {{ return(adapter.dispatch('whole_number', 'pertask')(value)) }}
{%- endmacro %}

{% macro default__whole_number(value) -%}
    cast({{ value }} as hugeint)
{%- endmacro %}

{% macro spark__whole_number(value) -%}
    cast({{ value }} as decimal(38, 0))
{%- endmacro %}
