{#-
    Exact money: a whole count (tokens, calls) times a USD price per unit of up to 12 decimal places.
    The count becomes decimal(18, 0) and the price decimal(18, 12), so the product fits 38 digits on both engines.

    multiply_money('output_tokens', 'output_usd')  ->  decimal(38, 12)
-#}
{% macro multiply_money(count, unit_price) -%}
    cast(
        cast({{ count }} as decimal(18, 0)) * cast({{ unit_price }} as decimal(18, 12))
        as decimal(38, 12)
    )
{%- endmacro %}
