{#-
    The whole part of the quotient of two whole numbers of up to 38 digits, neither of them negative; null where the
    denominator is 0 or either is null. The quotient may have 20 digits: 100 million USD in units of 1e-12.

    integer_divide('7', '2')  ->  3
-#}
{% macro integer_divide(numerator, denominator) -%}
    {{ return(adapter.dispatch('integer_divide', 'pertask')(numerator, denominator)) }}
{%- endmacro %}

{% macro default__integer_divide(numerator, denominator) -%}
    (cast({{ numerator }} as hugeint) // nullif(cast({{ denominator }} as hugeint), 0))
{%- endmacro %}

{% macro spark__integer_divide(numerator, denominator) -%}
    {%- set whole = 'cast(' ~ numerator ~ ' as decimal(38, 0))' -%}
    {%- set parts = 'nullif(cast(' ~ denominator ~ ' as decimal(38, 0)), 0)' -%}
    {#- `div` answers a bigint, and `/` rounds after 18 places: what does not divide evenly is taken off first -#}
    cast(({{ whole }} - {{ whole }} % {{ parts }}) / {{ parts }} as decimal(38, 0))
{%- endmacro %}
