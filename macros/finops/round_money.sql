{#-
    Money that was worked out in floating point, rounded half up to 1e-12: engines round a half that they cast to a
    decimal each in its own way.

    round_money('percentile_cont(0.5) within group (order by cost_usd)')  ->  decimal(38, 12)
-#}
{% macro round_money(amount) -%}
    {{ from_money_units('floor(' ~ amount ~ ' * 1000000000000 + 0.5)') }}
{%- endmacro %}
