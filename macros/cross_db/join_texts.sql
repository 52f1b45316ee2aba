{#- The texts of a group as one, in their own order. join_texts('pool_id', "' + '")  ->  'chat-1 + chat-2' -#}
{% macro join_texts(text, separator) -%}
    {{ return(adapter.dispatch('join_texts', 'pertask')(text, separator)) }}
{%- endmacro %}

{% macro default__join_texts(text, separator) -%}
    string_agg({{ text }}, {{ separator }} order by {{ text }})
{%- endmacro %}

{% macro spark__join_texts(text, separator) -%}
    listagg({{ text }}, {{ separator }}) within group (order by {{ text }})
{%- endmacro %}
