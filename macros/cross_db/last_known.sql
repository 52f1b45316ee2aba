{#-
    The last value that is not null of a window's frame; `over (...)` follows.

    last_known('input_tokens')  ->  last_value(input_tokens ignore nulls)
-#}
{% macro last_known(value) -%}
    {{ return(adapter.dispatch('last_known', 'pertask')(value)) }}
{%- endmacro %}

{% macro default__last_known(value) -%}
    last_value({{ value }} ignore nulls)
{%- endmacro %}

{% macro spark__last_known(value) -%}
    last_value({{ value }}) ignore nulls
{%- endmacro %}
