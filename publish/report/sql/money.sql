{# Amounts in the report's currency, each at the rate of its own day; a day without a rate has none. #}
{%- macro rates() -%}
{%- if currency != 'USD' -%}
rates as (
    select rate_day, usd_per_unit from {{ mart('core.dim_fx_rates') }}
    where currency = '{{ currency }}' and usd_per_unit is not null
),

{% endif -%}
{%- endmacro -%}

{%- macro at_rate(day) -%}
{%- if currency != 'USD' -%} inner join rates on rates.rate_day = {{ day }} {%- endif -%}
{%- endmacro -%}

{%- macro money(amount_usd) -%}
{%- if currency == 'USD' -%} {{ amount_usd }}
{%- else -%} cast({{ amount_usd }} / rates.usd_per_unit as decimal(38, 12)) {%- endif -%}
{%- endmacro -%}

{%- macro in_month(day) -%}
{{ day }} between date '{{ first_date }}' and date '{{ last_date }}'
{%- endmacro -%}
