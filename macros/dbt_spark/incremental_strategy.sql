{#- dbt-spark knows four strategies by name and has no way to add one: these two of its macros let ours in. -#}
{% macro dbt_spark_validate_get_incremental_strategy(raw_strategy, file_format) -%}
    {{- return(raw_strategy) -}}
{%- endmacro %}

{% macro dbt_spark_get_incremental_sql(strategy, source, target, existing, unique_key, incremental_predicates) -%}
    {{- get_incremental_replace_dates_sql({
        'target_relation': target,
        'temp_relation': source,
        'dest_columns': adapter.get_columns_in_relation(target),
    }) -}}
{%- endmacro %}
