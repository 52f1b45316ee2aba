{#-
    Seconds from one timestamp to another, exact to the microsecond, as decimal(18, 6); negative when they are swapped.

    seconds_between('started_at', 'ended_at')  ->  2.500000
-#}
{% macro seconds_between(start, end) -%}
    {{ return(adapter.dispatch('seconds_between', 'pertask')(start, end)) }}
{%- endmacro %}

{% macro default__seconds_between(start, end) -%}
    cast(
        cast(epoch_us({{ end }}) - epoch_us({{ start }}) as decimal(24, 0)) * cast(0.000001 as decimal(6, 6))
        as decimal(18, 6)
    )
{%- endmacro %}

{% macro spark__seconds_between(start, end) -%}
    cast(
        cast(unix_micros({{ end }}) - unix_micros({{ start }}) as decimal(24, 0)) * cast(0.000001 as decimal(6, 6))
        as decimal(18, 6)
    )
{%- endmacro %}
