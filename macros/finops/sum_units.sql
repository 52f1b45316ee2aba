{#-
    The sum of a whole number (tokens, calls) over the rows of a group that meet a condition, as a bigint: 0 where no
    row meets it, null where rows meet it and none of them reports it. The weight of a sampled log's rows is applied.

    sum_units('input_tokens', 'step_attempt_number > 1')
-#}
{% macro sum_units(units, condition='true', weight='sample_weight') -%}
    cast(
        round(
            case
                when count(case when {{ condition }} then 1 end) = 0 then 0
                else sum(
                    case
                        when {{ condition }}
                            then cast({{ units }} as decimal(20, 0)) * cast({{ weight }} as decimal(18, 6))
                    end
                )
            end
        ) as bigint
    )
{%- endmacro %}
