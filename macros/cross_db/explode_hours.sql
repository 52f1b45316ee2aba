{#-
    In a select list: one row per UTC hour that the half-open span [start, end) touches, the hour's start. A span
    that is empty gives no row.

    explode_hours("timestamp '2026-08-01 10:30:00'", "timestamp '2026-08-01 12:00:00'")  ->  10:00, 11:00
-#}
{% macro explode_hours(start, end) -%}
    {{ return(adapter.dispatch('explode_hours', 'pertask')(start, end)) }}
{%- endmacro %}

{% macro default__explode_hours(start, end) -%}
    unnest(range(date_trunc('hour', {{ start }}), {{ end }}, interval '1' hour))
{%- endmacro %}

{% macro spark__explode_hours(start, end) -%}
    {#- a sequence has its end too, and none is empty -#}
    explode(
        case
            when date_trunc('hour', {{ start }}) < {{ end }}
                then sequence(
                    date_trunc('hour', {{ start }}), timestamp_micros(unix_micros({{ end }}) - 1), interval '1' hour
                )
        end
    )
{%- endmacro %}
