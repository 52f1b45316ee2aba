{#-
    The money of the rows of a group that meet a condition: 0 where no row meets it, null where rows meet it and none
    of them has a price. The weight of a sampled log's rows is applied.

    sum_money('cost_usd', "attempt_role = 'recovered'")  ->  decimal(38, 12)
-#}
{% macro sum_money(money, condition='true', weight='sample_weight') -%}
    cast(
        case
            when count(case when {{ condition }} then 1 end) = 0 then 0
            else sum(case when {{ condition }} then {{ weigh_money(money, weight) }} end)
        end as decimal(38, 12)
    )
{%- endmacro %}
