{#-
    A table expression that splits amounts over the rows of a group in proportion to a weight, losing and inventing
    nothing: each row gets the whole part of its share, and what is left goes, one unit each, to the rows with the
    largest remainder, ties in the given order. Where all weights are 0, the first row gets everything. A negative
    amount is split like a positive one. An amount is the same in every row of its group; null stays null.

    relation   the rows; must have the columns below
    keep       columns to hand through
    within     columns of the group that shares an amount
    weight     column of the weight, a whole number that is not negative (microseconds, 1 for an even split)
    order_by   columns that decide ties, and who comes first
    money      dict of share column -> amount column, decimal(38, 12), in units of 1e-12
    counts     dict of share column -> amount column, bigint, in units of 1

    Amount (in units) times weight must stay below 1e38: a line of 1,000,000 USD over a month of 1,000 GPUs does.

    split_money('slots', ['hour_at', 'gpu_key'], ['hour_at'], 'weight', ['slot'], money={'cost_usd': 'hour_cost_usd'})
-#}
{% macro split_money(relation, keep, within, weight, order_by, money={}, counts={}) -%}
    {%- set amounts = {} -%}
    {%- for share, amount in money.items() -%}
        {%- do amounts.update({share: to_money_units(amount)}) -%}
    {%- endfor -%}
    {%- for share, amount in counts.items() -%}
        {%- do amounts.update({share: whole_number(amount)}) -%}
    {%- endfor -%}
    {%- set group = within | join(', ') -%}
    (
        with placed as (
            select
                {{ keep | join(', ') }},
                {% for column in within if column not in keep -%}
                {{ column }},
                {% endfor -%}
                {%- for share, units in amounts.items() %}
                {{ units }} as {{ share }}_units,
                {%- endfor %}
                {{ whole_number(weight) }} as split_weight,
                sum({{ whole_number(weight) }}) over (partition by {{ group }}) as group_weight,
                row_number() over (partition by {{ group }} order by {{ order_by | join(', ') }}) as split_position
            from {{ relation }}
        ),

        floored as (
            select
                *,
                {%- for share in amounts %}
                case
                    when group_weight > 0
                        then {{ integer_divide('abs(' ~ share ~ '_units) * split_weight', 'group_weight') }}
                    when split_position = 1 then abs({{ share }}_units)
                    else abs({{ share }}_units) * 0
                end as {{ share }}_floor
                {{- ',' if not loop.last }}
                {%- endfor %}
            from placed
        ),

        ranked as (
            select
                *,
                {%- for share in amounts %}
                abs({{ share }}_units) - sum({{ share }}_floor) over (partition by {{ group }}) as {{ share }}_left,
                row_number() over (
                    partition by {{ group }}
                    order by
                        abs({{ share }}_units) * split_weight - {{ share }}_floor * group_weight desc nulls last,
                        split_position
                ) as {{ share }}_rank
                {{- ',' if not loop.last }}
                {%- endfor %}
            from floored
        )

        select
            {{ keep | join(', ') }},
            {%- for share in amounts %}
            {%- set exact = (
                'case when ' ~ share ~ '_units < 0 then -1 else 1 end * (' ~ share ~ '_floor + case when '
                ~ share ~ '_rank <= ' ~ share ~ '_left then 1 else 0 end)'
            ) %}
            {% if share in money -%}
            {{ from_money_units(exact) }} as {{ share }}
            {%- else -%}
            cast({{ exact }} as bigint) as {{ share }}
            {%- endif %}
            {{- ',' if not loop.last }}
            {%- endfor %}
        from ranked
    )
{%- endmacro %}
