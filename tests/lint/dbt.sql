{#- What sqlfluff renders for dbt's own functions that its built-in stand-ins do not know. -#}
{% macro env_var(name, default='') %}{{ default }}{% endmacro %}
{% macro should_full_refresh() %}{{ return(false) }}{% endmacro %}
