{#-
    A full refresh of a model with config(meta={'takes_date_slices': true}) goes through the calls' dates in slices: its
    joins then fit in memory, however long the history is. As in an incremental run its rows must follow from those of
    their own date and of its neighbours alone.
-#}

{#- Whether the model being compiled is a full refresh in slices of dates. -#}
{% macro is_in_date_slices() -%}
    {#- while dbt parses, a model has no settings yet -#}
    {%- set meta = (config.get('meta') or {}) if execute else {} -%}
    {{- return(meta.get('takes_date_slices', false) and not is_incremental() and not is_unit_test()) -}}
{%- endmacro %}


{#-
    The slices, first and last date of each as SQL literals: as many whole dates as come to `calls_per_date_slice`
    calls, at least one. The first has no beginning and the last no end.
-#}
{% macro date_slices() -%}
    {%- set dates = [] -%}
    {%- set current = namespace(calls=0) -%}
    {%- set query -%}
        select usage_date, sum(row_count) as call_count from {{ read_files([snapshot_path('files')]) }}
        where contract = 'llm_calls' and change != 'removed' and usage_date is not null
        group by usage_date order by usage_date
    {%- endset -%}
    {%- for usage_date, call_count in run_query(query).rows -%}
        {%- if current.calls > 0 and current.calls + call_count > var('calls_per_date_slice') -%}
            {%- do dates.append(usage_date) -%}
            {%- set current.calls = 0 -%}
        {%- endif -%}
        {%- set current.calls = current.calls + call_count -%}
    {%- endfor -%}
    {%- set slices = [] -%}
    {%- for first in [none] + dates -%}
        {%- set last = dates[loop.index0] - modules.datetime.timedelta(days=1) if not loop.last else '9999-12-31' -%}
        {%- do slices.append(("date '%s'" | format(first or '0001-01-01'), "date '%s'" | format(last))) -%}
    {%- endfor -%}
    {{- return(slices) -}}
{%- endmacro %}
