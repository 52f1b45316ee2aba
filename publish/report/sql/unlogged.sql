{%- macro unlogged_tokens() -%}
{%- if has('quality.bill_reconciliation_daily') and has('core.fct_bill_lines') -%}
{%- set known = mart('quality.bill_reconciliation_daily') -%}
unlogged_tokens as (
    {% filter indent(4) %}{% include 'unlogged_tokens.sql' %}{% endfilter %}

),

{% endif -%}
{%- endmacro -%}
