{#- The dates of a relation's rows in order, as a list of SQL date literals; empty where there is no relation. -#}
{% macro date_literals(relation) -%}
    {%- set literals = [] -%}
    {%- if relation and execute -%}
        {%- set query = 'select distinct usage_date from ' ~ relation ~ ' where usage_date is not null order by usage_date' -%}
        {%- for value in run_query(query).columns[0].values() -%}
            {%- do literals.append("date '" ~ value ~ "'") -%}
        {%- endfor -%}
    {%- endif -%}
    {{- return(literals) -}}
{%- endmacro %}


{#- The touched dates of this build as SQL date literals, for pruning; `null` when there are none. -#}
{% macro touched_date_literals() -%}
    {{- return(date_literals(ref('int_touched_dates')) | join(', ') or 'null') -}}
{%- endmacro %}


{#-
    A condition that keeps the rows of the touched dates in an incremental run, those of the slice being built in a full
    refresh by slices of dates, and every row otherwise.

    in_touched_dates('usage_date')  ->  usage_date in (date '2026-08-21', date '2026-08-22')
-#}
{% macro in_touched_dates(expression) -%}
    {%- set relation = ref('int_touched_dates') -%}
    {%- if is_incremental() -%}
        {{ expression }} in ({{ touched_date_literals() }})
    {%- elif is_in_date_slices() -%}
        {{ in_date_slice(expression) }}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{#-
    A condition that keeps the rows within `days` days of a touched date in an incremental run, or of the slice being
    built, and every row otherwise: for the neighbours that a touched row is computed from.

    near_touched_dates('usage_date', 30)  ->  usage_date between date '2026-07-22' and date '2026-09-21'
-#}
{% macro near_touched_dates(expression, days) -%}
    {%- set relation = ref('int_touched_dates') -%}
    {%- if is_incremental() and execute -%}
        {%- set bounds = run_query('select min(usage_date), max(usage_date) from ' ~ relation) -%}
        {%- set first = bounds.columns[0].values()[0] -%}
        {%- set last = bounds.columns[1].values()[0] -%}
        {%- if first is none -%}
            false
        {%- else -%}
            {%- set margin = modules.datetime.timedelta(days=days) -%}
            {{ expression }} between date '{{ first - margin }}' and date '{{ last + margin }}'
        {%- endif -%}
    {%- elif is_in_date_slices() -%}
        {{ in_date_slice(expression, days) }}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{#- A relation as the last build left it, or none: what a model needs to know of the state before this build. -#}
{% macro previous(schema, identifier) -%}
    {%- if execute and not should_full_refresh() -%}
        {{- return(adapter.get_relation(database=target.database, schema=schema, identifier=identifier)) -}}
    {%- endif -%}
    {{- return(none) -}}
{%- endmacro %}


{#-
    A condition for tests: only the dates that this build recomputed, so that a day's run costs the same on a month of
    history as on years; every row on a full refresh and where the run asks for it (`test_everything`).

    `of_lake` is for tests that compare with staging models of the lake's dated contracts: an incremental build reads
    these for the touched dates alone, so that there is nothing to compare the others with.

    in_tested_dates('usage_date')  ->  usage_date in (select usage_date from intermediate.int_touched_dates)
-#}
{% macro in_tested_dates(expression, of_lake=false) -%}
    {%- set relation = ref('int_touched_dates') -%}
    {%- if should_full_refresh() or (var('test_everything') and not of_lake) -%}
        true
    {%- else -%}
        {{ expression }} in (select usage_date from {{ relation }})
    {%- endif -%}
{%- endmacro %}
