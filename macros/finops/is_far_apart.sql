{#-
    Whether two prices, both more than 0, differ by a factor of 500 or more: a mistaken unit, not a change of price.
    A price of 0 beside one that is not is as far apart.

    is_far_apart('0.00015', '0.15')  ->  true
-#}
{% macro is_far_apart(price, other) -%}
    (
        {{ price }} >= 500 * {{ other }} and {{ price }} > 0
        or {{ other }} >= 500 * {{ price }} and {{ other }} > 0
    )
{%- endmacro %}
