{#-
    An amount in another currency as USD, exact to 1e-12: the whole part and the rest are multiplied apart, so that
    both products fit 38 digits on both engines.

    convert_money('billed_cost', 'usd_per_unit')  ->  decimal(38, 12), null where there is no rate
-#}
{% macro convert_money(amount, usd_per_unit) -%}
    cast(
        cast(cast({{ amount }} as decimal(20, 0)) * cast({{ usd_per_unit }} as decimal(18, 12)) as decimal(38, 12))
        + cast(
            cast({{ amount }} - cast({{ amount }} as decimal(20, 0)) as decimal(18, 12))
            * cast({{ usd_per_unit }} as decimal(18, 12))
            as decimal(38, 12)
        )
        as decimal(38, 12)
    )
{%- endmacro %}
