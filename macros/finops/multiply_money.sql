{#-
    Exact money: a whole count (tokens, calls) times a USD price per unit of up to 12 decimal places.
    The count becomes decimal(20, 0) and the price decimal(18, 12): 38 digits on both engines. Two factors of 18 digits
    would not do, as DuckDB keeps their product at 18.

    multiply_money('output_tokens', 'output_usd')  ->  decimal(38, 12)
-#}
{% macro multiply_money(count, unit_price) -%}
    cast(
        cast({{ count }} as decimal(20, 0)) * cast({{ unit_price }} as decimal(18, 12))
        as decimal(38, 12)
    )
{%- endmacro %}
