{#-
    What some components of an attempt cost together: their sum where it is charged, 0 where the gateway answered from its
    own cache, null where it is unpriced or costed from another source. Reads the columns <component>_<suffix>,
    is_charged, response_cache_hit and duplicate_of_source.

    sum_charges(['input', 'audio_input'], 'cost_usd')  ->  decimal(38, 12)
-#}
{% macro sum_charges(components, suffix) -%}
    case
        when is_charged
            then cast(
                {%- for component in components %} {{ component }}_{{ suffix }}{{ ' +' if not loop.last }} {%- endfor %}
                as decimal(38, 12)
            )
        when response_cache_hit and duplicate_of_source is null then cast(0 as decimal(38, 12))
    end
{%- endmacro %}


{#-
    Whether an attempt has units of a component that a list of components, between commas, names.

    uses_any('estimated_components')  ->  (cache_read_tokens > 0 and contains(estimated_components, ',cache_read,')) or ...
-#}
{% macro uses_any(names) -%}
    (
        {%- for component, units in price_components().items() if component != 'call' %}
        ({{ units }} > 0 and contains({{ names }}, ',{{ component }},')){{ ' or' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}
