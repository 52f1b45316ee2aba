{#-
    In a select list: the sum of each part of an amount over the rows of a group, as decimal(38, 12). Together they are
    the amount's sum_money exactly, although the weights of a sampled log round: each is the difference of two sums of
    running totals. A part is null where rows have it without a price and the others have nothing of it.

    sum_parts(['input_cost_usd', 'output_cost_usd'])  ->  ... as input_cost_usd, ... as output_cost_usd
-#}
{% macro sum_parts(parts, weight='sample_weight') -%}
    {%- for part in parts -%}
    {%- set amount = running_sum(parts[:loop.index], weight) ~ ' - ' ~ running_sum(parts[:loop.index0], weight) -%}
    cast(
        case when count(*) = count({{ part }}) or {{ amount }} != 0 then {{ amount }} end as decimal(38, 12)
    ) as {{ part }}{{ ',\n' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}


{#- The weighed sum of several parts of an amount; a part without a price counts as nothing. -#}
{% macro running_sum(parts, weight) -%}
    {%- set terms = [] -%}
    {%- for part in parts -%}
        {%- do terms.append('coalesce(' ~ part ~ ', 0)') -%}
    {%- endfor -%}
    {%- if terms -%}
        sum({{ weigh_money('(' ~ terms | join(' + ') ~ ')', weight) }})
    {%- else -%}
        0
    {%- endif -%}
{%- endmacro %}
