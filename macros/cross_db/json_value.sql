{#-
    The text of one key of a JSON object that is kept as text; null where the key is missing or the text is not JSON.

    json_value('tags', "'team'")  ->  support
-#}
{% macro json_value(text, key) -%}
    {{ return(adapter.dispatch('json_value', 'pertask')(text, key)) }}
{%- endmacro %}

{% macro default__json_value(text, key) -%}
    case when json_valid({{ text }}) then json_extract_string({{ text }}, '$."' || {{ key }} || '"') end
{%- endmacro %}

{% macro spark__json_value(text, key) -%}
    get_json_object({{ text }}, '$[''' || {{ key }} || ''']')
{%- endmacro %}
