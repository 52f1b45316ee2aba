{#-
    Money per unit, rounded to 1e-12 USD; null when there are no units. The exact amount and the count stand beside it.

    unit_cost('fully_priced_cost_usd', 'fully_priced_tasks')  ->  decimal(38, 12)
-#}
{% macro unit_cost(money, count) -%}
    cast(
        case when {{ money }} < 0 then -1 else 1 end * {{ share_money('abs(' ~ money ~ ')', '1', count) }}
        as decimal(38, 12)
    )
{%- endmacro %}
