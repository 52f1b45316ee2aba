{#- An amount in whole units of 1e-12 (of USD, or of its own currency), and back with from_money_units; both exact. -#}
{% macro to_money_units(amount) -%}
    {{ whole_number('cast(' ~ amount ~ ' as decimal(38, 12)) * 1000000000000') }}
{%- endmacro %}


{% macro from_money_units(units) -%}
    cast(cast({{ units }} as decimal(38, 0)) * cast(0.000000000001 as decimal(12, 12)) as decimal(38, 12))
{%- endmacro %}
