{#-
    The first value that is not null of a column within a group among the rows that meet a condition, by a column that ranks the rows
    from oldest to newest.

    oldest('team', 'team is not null')  ->  min_by(team, case when team is not null then recency end)
-#}
{% macro oldest(column, condition, recency='recency') -%}
    {{ first_said(column, 'case when ' ~ condition ~ ' then ' ~ recency ~ ' end') }}
{%- endmacro %}
