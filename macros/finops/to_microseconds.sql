{#-
    Seconds as whole microseconds, a bigint. The seconds are widened first: DuckDB keeps a product within the digits of
    its factors, and a month of one GPU no longer fits 18.

    to_microseconds('gpu_seconds')
-#}
{% macro to_microseconds(seconds) -%}
    cast(round(cast({{ seconds }} as decimal(38, 6)) * 1000000) as bigint)
{%- endmacro %}
