{#-
    A table expression over the current files of a lake contract, as the build's snapshot lists them. A contract
    that is partitioned by usage_date is read for the touched dates only, unless the whole history is being rebuilt;
    GPU samples also for the day before each, as a sample may last over midnight.
    `near` also reads the days on either side of each: the same call may be in two sources on either side of midnight.
    A zero-row file with the full schema comes first, so that a contract without data still has its columns.

    lake('tasks')  ->  read_parquet(['<lake>/tasks/00-no-rows.parquet', ...], union_by_name = true)
-#}
{% macro lake(contract, near=false) -%}
    {%- set relation = source('lake', contract) -%}
    {%- set touched_dates = ref('int_touched_dates') if contract in ['llm_calls', 'gpu_samples', 'serving_samples'] -%}
    {%- if is_unit_test() -%}
        {{ relation }}
    {%- else -%}
        {{ read_files(lake_paths(contract, touched_dates, near)) }}
    {%- endif -%}
{%- endmacro %}


{#- Paths of a contract's current files; of the touched dates only where a relation of dates is given. -#}
{% macro lake_paths(contract, touched_dates=none, near=false) -%}
    {%- set paths = [env_var('PERTASK_HOME', '.') ~ '/lake/' ~ contract ~ '/00-no-rows.parquet'] -%}
    {%- if execute -%}
        {%- set query -%}
            select path from {{ read_files([snapshot_path('files')]) }}
            where contract = '{{ contract }}' and change != 'removed'
            {%- if touched_dates is not none and touched_dates and not should_full_refresh() %}
                and (
                    usage_date in (select usage_date from {{ touched_dates }})
                    {%- if near or contract in ['gpu_samples', 'serving_samples'] %}
                    or usage_date + 1 in (select usage_date from {{ touched_dates }})
                    {%- endif %}
                    {%- if near %}
                    or usage_date - 1 in (select usage_date from {{ touched_dates }})
                    {%- endif %}
                )
            {%- endif %}
            order by path
        {%- endset -%}
        {%- for path in run_query(query).columns[0].values() -%}
            {%- do paths.append(env_var('PERTASK_HOME', '.') ~ '/lake/' ~ path) -%}
        {%- endfor -%}
    {%- endif -%}
    {{- return(paths) -}}
{%- endmacro %}


{#- Paths of the files that changed since the last successful build, those that went away included. -#}
{% macro changed_lake_paths(contract) -%}
    {%- set paths = [env_var('PERTASK_HOME', '.') ~ '/lake/' ~ contract ~ '/00-no-rows.parquet'] -%}
    {%- if execute and not should_full_refresh() -%}
        {%- set query -%}
            select path from {{ read_files([snapshot_path('files')]) }}
            where contract = '{{ contract }}' and change != 'same' order by path
        {%- endset -%}
        {%- for path in run_query(query).columns[0].values() -%}
            {%- do paths.append(env_var('PERTASK_HOME', '.') ~ '/lake/' ~ path) -%}
        {%- endfor -%}
    {%- endif -%}
    {{- return(paths) -}}
{%- endmacro %}
