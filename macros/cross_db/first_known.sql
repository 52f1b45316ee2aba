{#-
    The first value that is not null of a window's frame; `over (...)` follows.

    first_known('input_tokens')  ->  first_value(input_tokens ignore nulls)
-#}
{% macro first_known(value) -%}
    {{ return(adapter.dispatch('first_known', 'pertask')(value)) }}
{%- endmacro %}

{% macro default__first_known(value) -%}
    first_value({{ value }} ignore nulls)
{%- endmacro %}

{% macro spark__first_known(value) -%}
    first_value({{ value }}) ignore nulls
{%- endmacro %}
