{#-
    The part of an amount that falls on some of its tokens, say, rounded to 1e-12 USD; null where the whole is 0.
    Neither the amount nor the counts may be negative. The part of everything is everything.

    share_money('cached_cost_usd', 'cached_prefix_tokens', 'cached_tokens')  ->  decimal(38, 12)
-#}
{% macro share_money(money, part, whole) -%}
    {%- set product = to_money_units(money) ~ ' * ' ~ whole_number(part) -%}
    {{ from_money_units(integer_divide('(' ~ product ~ ' + ' ~ integer_divide(whole, '2') ~ ')', whole)) }}
{%- endmacro %}
