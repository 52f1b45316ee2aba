{#-
    What a data test reads of the model that it tests: in an incremental build only the touched dates, so that a
    day's run costs the same on a month of history as on years; everything on a full refresh, and where the run asks
    for it (`test_everything`). Replaces dbt's own macro of this name, whose `where` config it keeps.
-#}
{% macro get_where_subquery(relation) -%}
    {%- set conditions = [] -%}
    {%- if config.get('where') -%}
        {%- do conditions.append(config.get('where')) -%}
    {%- endif -%}
    {%- if execute and not should_full_refresh() and not var('test_everything') -%}
        {%- for node in graph.nodes.values() if node.relation_name == relation | string -%}
            {%- if node.config.meta.get('date_column') -%}
                {%- set touched = api.Relation.create(
                    database=relation.database, schema='intermediate', identifier='int_touched_dates'
                ) -%}
                {%- do conditions.append(
                    node.config.meta['date_column'] ~ ' in (select usage_date from ' ~ touched ~ ')'
                ) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {%- if conditions -%}
        (select * from {{ relation }} where {{ conditions | join(' and ') }}) dbt_subquery
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}
