{#- None of `columns` is ever null. One test a model instead of one a column: a test costs a query. -#}
{% test required(model, columns) %}
    select *
    from {{ model }}
    where
        {%- for column in columns %}
        {{ column }} is null{{ ' or' if not loop.last }}
        {%- endfor %}
{% endtest %}
