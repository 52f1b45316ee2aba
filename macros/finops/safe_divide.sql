{#-
    A ratio as a double, null when the denominator is null or zero (one engine answers infinity, the other fails).

    safe_divide('failed_cost_usd', 'total_cost_usd')
-#}
{% macro safe_divide(numerator, denominator) -%}
    (cast({{ numerator }} as double) / nullif(cast({{ denominator }} as double), 0))
{%- endmacro %}
