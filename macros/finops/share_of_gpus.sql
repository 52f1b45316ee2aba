{#-
    The part of a machine's cost that its GPUs carry, by the variable gpu_share_of_node_ratio; exact to 1e-12.

    share_of_gpus('effective_cost_usd')  ->  decimal(38, 12), the amount itself where the ratio is 1
-#}
{% macro share_of_gpus(money) -%}
    {%- set ratio = var('gpu_share_of_node_ratio') -%}
    {%- if ratio == 1 -%}
        {{ money }}
    {%- else -%}
        {{ convert_money(money, ratio) }}
    {%- endif -%}
{%- endmacro %}
