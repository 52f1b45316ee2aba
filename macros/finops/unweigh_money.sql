{#-
    The money of one row where an amount belongs to all the rows that it stands for in a sampled log; the amount itself
    where the weight is 1. Rounded to 1e-12 USD, the amount's sign kept.

    unweigh_money('cost_usd', 'sample_weight')  ->  decimal(38, 12)
-#}
{% macro unweigh_money(money, weight) -%}
    case
        when {{ weight }} = 1 then {{ money }}
        else cast(
            case when {{ money }} < 0 then -1 else 1 end
            * {{ share_money('abs(' ~ money ~ ')', '1000000', weight ~ ' * 1000000') }}
            as decimal(38, 12)
        )
    end
{%- endmacro %}
