{#-
    A condition that keeps the rows of the slice of dates being built (macros/lake/date_slices.sql), and of `days` days
    on either side; every row where no slice is.

    in_date_slice('usage_date', 1)
        ->  usage_date between coalesce(cast(getvariable('slice_first_date') as date), date '0001-01-01') - 1
                and coalesce(cast(getvariable('slice_last_date') as date), date '9999-12-31') + 1
-#}
{% macro in_date_slice(expression, days=0) -%}
    {{ return(adapter.dispatch('in_date_slice', 'pertask')(expression, days)) }}
{%- endmacro %}

{%- macro default__in_date_slice(expression, days) -%}
    {{ expression }} between coalesce(cast(getvariable('slice_first_date') as date), date '0001-01-01') - {{ days }}
        and coalesce(cast(getvariable('slice_last_date') as date), date '9999-12-31') + {{ days }}
{%- endmacro %}

{#- Spark cuts a query into tasks by itself. -#}
{% macro spark__in_date_slice(expression, days) -%}
    true
{%- endmacro %}
