{#-
    Money times the weight of a sampled log's row: what the whole population cost, estimated. Exact where the weight
    is 1, as it is unless the log is sampled.

    weigh_money('cost_usd', 'sample_weight')  ->  decimal(38, 12)
-#}
{% macro weigh_money(money, weight) -%}
    case
        when {{ weight }} = 1 then {{ money }}
        else cast(
            cast({{ money }} as decimal(24, 12)) * cast({{ weight }} as decimal(14, 6)) as decimal(38, 12)
        )
    end
{%- endmacro %}
