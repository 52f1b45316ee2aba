{#-
    Whole microseconds as seconds, exact: decimal(18, 6).

    to_seconds('active_microseconds')
-#}
{% macro to_seconds(microseconds) -%}
    cast(cast({{ microseconds }} as decimal(24, 0)) * cast(0.000001 as decimal(6, 6)) as decimal(18, 6))
{%- endmacro %}
