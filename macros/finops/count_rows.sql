{#-
    How many rows of a group meet a condition, as a bigint; a row of a sampled log counts as many as it stands for.

    count_rows("outcome = 'success'")
-#}
{% macro count_rows(condition='true', weight='sample_weight') -%}
    cast(round(coalesce(sum(case when {{ condition }} then {{ weight }} end), 0)) as bigint)
{%- endmacro %}
