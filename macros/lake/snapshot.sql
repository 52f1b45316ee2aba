{#-
    A table expression over one file of the build's snapshot (see ingest/snapshot.py): batches, files, superseded,
    changed_ranges, meta or company_<name>.

    snapshot('batches')  ->  read_parquet('<home>/warehouse/snapshot/batches.parquet')
-#}
{% macro snapshot(name) -%}
    {%- set relation = source('snapshot', name) -%}
    {%- if is_unit_test() -%}
        {{ relation }}
    {%- else -%}
        {{ read_files([snapshot_path(name)]) }}
    {%- endif -%}
{%- endmacro %}


{#- Path of one snapshot file. -#}
{% macro snapshot_path(name) -%}
    {%- set folder = env_var('PERTASK_SNAPSHOT', env_var('PERTASK_HOME', '.') ~ '/warehouse/snapshot') -%}
    {{- '%s/%s.parquet' | format(folder, name) -}}
{%- endmacro %}


{#- Whether the model is being compiled for a unit test, whose inputs are given rows instead of files. -#}
{% macro is_unit_test() -%}
    {{- return(model is defined and model.resource_type == 'unit_test') -}}
{%- endmacro %}
