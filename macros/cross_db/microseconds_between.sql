{#-
    Whole microseconds from one timestamp to another, as a bigint; negative when they are swapped.

    microseconds_between('started_at', 'ended_at')  ->  2500000
-#}
{% macro microseconds_between(start, end) -%}
    {{ return(adapter.dispatch('microseconds_between', 'pertask')(start, end)) }}
{%- endmacro %}

{% macro default__microseconds_between(start, end) -%}
    (epoch_us({{ end }}) - epoch_us({{ start }}))
{%- endmacro %}

{% macro spark__microseconds_between(start, end) -%}
    (unix_micros({{ end }}) - unix_micros({{ start }}))
{%- endmacro %}
