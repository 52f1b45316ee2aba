{#-
    What the first tokens of an attempt's prompt cost, exact to 1e-12: cached tokens come first and share the cost of
    the cache by the token, those that follow share the cost of fresh input. All tokens cost the whole input.

    Reads cached_tokens, fresh_tokens, cached_input_cost_usd and fresh_input_cost_usd.

    cost_of_first_tokens('prefix_tokens')  ->  decimal(38, 12)
-#}
{% macro cost_of_first_tokens(tokens) -%}
    cast(
        coalesce(
            {{ share_money('cached_input_cost_usd', 'least(' ~ tokens ~ ', cached_tokens)', 'cached_tokens') }}, 0
        ) + coalesce(
            {{ share_money('fresh_input_cost_usd', 'greatest(' ~ tokens ~ ' - cached_tokens, 0)', 'fresh_tokens') }}, 0
        ) as decimal(38, 12)
    )
{%- endmacro %}
