{#-
    A table expression of every date from `first` to `last`, both included, in a column `date_day`.

    day_spine("date '2026-08-01'", "date '2026-08-03'")  ->  2026-08-01, 2026-08-02, 2026-08-03
-#}
{% macro day_spine(first, last) -%}
    {{ return(adapter.dispatch('day_spine', 'pertask')(first, last)) }}
{%- endmacro %}

{% macro default__day_spine(first, last) -%}
    (
        select cast(days.day_at as date) as date_day
        from range(cast({{ first }} as timestamp), cast({{ last }} as timestamp) + interval '1' day, interval '1' day)
            as days (day_at)
    )
{%- endmacro %}

{% macro spark__day_spine(first, last) -%}
    (
        select explode(case when spans.first_date <= spans.last_date then sequence(spans.first_date, spans.last_date) end) as date_day
        from (select cast({{ first }} as date) as first_date, cast({{ last }} as date) as last_date) as spans
    )
{%- endmacro %}
