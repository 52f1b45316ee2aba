{#-
    A row's share of an amount by running total: what the rows up to it get, rounded down to whole units of 1e-12, less
    what those before it get. The shares of a group add up exactly and each is within one unit of its exact value, as
    with split_money, for one sort of the rows instead of three: for groups of very many rows.

    money       the group's amount, decimal(38, 12), the same in every row; its sign is kept, null stays null
    up_to       sum of the weights up to the row, whole numbers
    weight      the row's own weight
    total       sum of all weights, above 0

    running_share('lane_usd', 'weight_up_to', 'weight', 'lane_weight')  ->  decimal(38, 12)
-#}
{% macro running_share(money, up_to, weight, total) -%}
    {%- set units = 'abs(' ~ to_money_units(money) ~ ')' -%}
    {{ from_money_units(
        'case when ' ~ money ~ ' < 0 then -1 else 1 end * ('
        ~ integer_divide(units ~ ' * ' ~ whole_number(up_to), total)
        ~ ' - ' ~ integer_divide(units ~ ' * ' ~ whole_number('(' ~ up_to ~ ' - ' ~ weight ~ ')'), total) ~ ')'
    ) }}
{%- endmacro %}
