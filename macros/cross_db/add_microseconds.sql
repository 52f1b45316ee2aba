{#-
    A timestamp moved by a whole number of microseconds.

    add_microseconds("timestamp '2026-08-01 00:00:00'", '1500000')  ->  2026-08-01 00:00:01.5
-#}
{% macro add_microseconds(moment, microseconds) -%}
    {{ return(adapter.dispatch('add_microseconds', 'pertask')(moment, microseconds)) }}
{%- endmacro %}

{% macro default__add_microseconds(moment, microseconds) -%}
    ({{ moment }} + to_microseconds(cast({{ microseconds }} as bigint)))
{%- endmacro %}

{% macro spark__add_microseconds(moment, microseconds) -%}
    timestamp_micros(unix_micros({{ moment }}) + cast({{ microseconds }} as bigint))
{%- endmacro %}
