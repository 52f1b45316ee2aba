{#-
    The first group of a regular expression's first match in a text; '' where nothing matches, null for a null text.

    first_match('api_base', "'^https?://([^/:]+)'")  ->  'ip-10-20-1-11'
-#}
{% macro first_match(text, pattern) -%}
    {{ return(adapter.dispatch('first_match', 'pertask')(text, pattern)) }}
{%- endmacro %}

{% macro default__first_match(text, pattern) -%}
    regexp_extract({{ text }}, {{ pattern }}, 1)
{%- endmacro %}
