{#-
    The sum of `parts` equals `total` in every row, within `tolerance` (a millionth of a dollar unless told). A part
    that is null counts as nothing there, so a total that is null must have no part either.
-#}
{% test adds_up(model, total, parts, tolerance=0.000001) %}
    select *
    from {{ model }}
    where
        abs(
            coalesce({{ total }}, 0)
            - (
                {%- for part in parts %}
                coalesce({{ part }}, 0){{ ' +' if not loop.last }}
                {%- endfor %}
            )
        ) > {{ tolerance }}
{% endtest %}
