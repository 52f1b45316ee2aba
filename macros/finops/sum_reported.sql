{#- The sum of the columns that were reported; null when none was. -#}
{% macro sum_reported(columns) -%}
    case
        when coalesce({{ columns | join(', ') }}) is not null
            then {% for column in columns %}coalesce({{ column }}, 0){{ ' + ' if not loop.last }}{% endfor %}
    end
{%- endmacro %}
