{#-
    A row's part of its group's amount by weight, in whole units, rounded down: for groups of very many rows, where exact
    division takes longer than everything else. Within a unit up to about 1e15 units (1,000 USD in units of 1e-12), above it
    within some 1e-15 of the amount, up to 9e18 units. The caller gives one row what the parts leave over, so that they
    add up.

    units       the group's amount in whole units, the same in every row; null stays null
    weight      the row's weight, a whole number
    total       sum of the group's weights

    part_of('cost_units', 'weight', 'lane_weight')  ->  bigint
-#}
{% macro part_of(units, weight, total) -%}
    cast(floor(cast({{ units }} as double) * {{ safe_divide(weight, total) }}) as bigint)
{%- endmacro %}
