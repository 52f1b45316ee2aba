{#-
    USD for one unit of a currency, from an amount in USD and the same amount in the currency: the quotient of whole
    numbers, rounded half up once to 12 places, never a double. Null where either is 0 or null, where their signs
    differ, and where the rate is 999,999 or more, or rounds to 0.

    exchange_rate('1', 'billing_units_per_usd')  ->  decimal(18, 12)
-#}
{% macro exchange_rate(usd, amount) -%}
    {%- set usd_units = whole_number('abs(' ~ to_money_units(usd) ~ ')') -%}
    {%- set amount_units = whole_number('abs(' ~ to_money_units(amount) ~ ')') -%}
    {%- set quotient = integer_divide(
        '2 * ' ~ usd_units ~ ' * ' ~ whole_number('1000000000000') ~ ' + ' ~ amount_units, '2 * ' ~ amount_units
    ) -%}
    case
        when ({{ usd }} > 0) = ({{ amount }} > 0) and {{ usd_units }} < {{ amount_units }} * 999999
            then nullif(cast({{ from_money_units(quotient) }} as decimal(18, 12)), 0)
    end
{%- endmacro %}
