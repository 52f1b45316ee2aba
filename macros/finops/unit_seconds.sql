{#-
    Seconds of one unit of a bill's quantity; null for units that are not a time (GB, requests) and for those of no
    fixed length (months).

    unit_seconds('consumed_unit')  ->  3600 for Hours, Hrs, GPU-hours, ...
-#}
{% macro unit_seconds(unit) -%}
    case {{ plain_unit(unit) }}
        {%- for name, seconds in {'hour': 3600, 'hr': 3600, 'h': 3600, 'minute': 60, 'min': 60, 'second': 1,
            'sec': 1, 'day': 86400}.items() %}
        when '{{ name }}' then {{ seconds }}
        when 'gpu{{ name }}' then {{ seconds }}
        {%- endfor %}
    end
{%- endmacro %}


{#- Whether a unit counts the time of single GPUs, so that it is not multiplied by their number. -#}
{% macro is_gpu_unit(unit) -%}
    coalesce({{ plain_unit(unit) }} like 'gpu%', false)
{%- endmacro %}


{#- Whether a unit counts the time of what a machine has besides its GPUs: cores and memory. -#}
{% macro is_node_unit(unit) -%}
    coalesce({{ plain_unit(unit) }} in (
        'corehour', 'coresecond', 'vcpuhour', 'vcpusecond', 'bytesecond', 'gibibytehour', 'gibhour', 'gigabytehour',
        'gbhour'
    ), false)
{%- endmacro %}


{#- Whether a unit is a span of no fixed length: the charge period's width stands for it. -#}
{% macro is_period_unit(unit) -%}
    coalesce({{ plain_unit(unit) }} in ('month', 'mo', 'year', 'yr', 'week', 'gpumonth'), false)
{%- endmacro %}


{#- A unit's name without capitals, blanks, hyphens and the plural's s: 'GPU-Hours' is gpuhour. -#}
{% macro plain_unit(unit) -%}
    trim(trailing 's' from replace(replace(replace(lower({{ unit }}), '-', ''), ' ', ''), '_', ''))
{%- endmacro %}
