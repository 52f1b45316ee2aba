{#-
    The whole part of the quotient of two whole numbers of up to 38 digits, neither of them negative; null where the
    denominator is 0 or either is null.

    integer_divide('7', '2')  ->  3
-#}
{% macro integer_divide(numerator, denominator) -%}
    {{ return(adapter.dispatch('integer_divide', 'pertask')(numerator, denominator)) }}
{%- endmacro %}

{% macro default__integer_divide(numerator, denominator) -%}
    (cast({{ numerator }} as hugeint) // nullif(cast({{ denominator }} as hugeint), 0))
{%- endmacro %}
