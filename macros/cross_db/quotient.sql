{#-
    integer_divide for numbers of up to 18 digits, neither of them negative, in a fraction of its time: for sums over very
    many rows.

    quotient('7', '2')  ->  3
-#}
{% macro quotient(numerator, denominator) -%}
    {{ return(adapter.dispatch('quotient', 'pertask')(numerator, denominator)) }}
{%- endmacro %}

{% macro default__quotient(numerator, denominator) -%}
    (cast({{ numerator }} as bigint) // nullif(cast({{ denominator }} as bigint), 0))
{%- endmacro %}
