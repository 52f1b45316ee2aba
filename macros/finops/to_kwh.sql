{#-
    Whole microwatt-hours as kilowatt-hours, exact: decimal(38, 12).

    to_kwh('energy_microwatt_hours')
-#}
{% macro to_kwh(microwatt_hours) -%}
    cast(
        cast({{ microwatt_hours }} as decimal(24, 0)) * cast(0.000000001 as decimal(9, 9)) as decimal(38, 12)
    )
{%- endmacro %}
