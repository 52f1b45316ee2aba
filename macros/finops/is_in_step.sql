{#-
    Whether an attempt's tokens of a kind are within the step of a row of int_model_prices.

    is_in_step('input')  ->  input_tokens at least input_from_tokens, and below input_below_tokens where there is one
-#}
{% macro is_in_step(count) -%}
    (
        coalesce(counted.{{ count }}_tokens, 0) >= prices.{{ count }}_from_tokens
        and (
            prices.{{ count }}_below_tokens is null
            or coalesce(counted.{{ count }}_tokens, 0) < prices.{{ count }}_below_tokens
        )
    )
{%- endmacro %}
