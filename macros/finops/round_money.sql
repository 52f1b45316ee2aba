{#-
    Money that was worked out in floating point, rounded half up to 1e-12: engines round a half that they cast to a
    decimal each in its own way. Not above 4,500 USD, where a double has no such places.

    round_money('percentile_cont(0.5) within group (order by cost_usd)')  ->  decimal(38, 12)
-#}
{% macro round_money(amount) -%}
    case
        when abs({{ amount }}) < 4500 then {{ from_money_units('floor(' ~ amount ~ ' * 1000000000000 + 0.5)') }}
        else cast({{ amount }} as decimal(38, 12))
    end
{%- endmacro %}
