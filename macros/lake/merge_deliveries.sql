{#-
    A table expression over the samples of a contract, as the build's snapshot has them: one row per key and usage_date.
    A delivery often has one row per metric of a moment, and several deliveries may hold the same moment: each column
    gets its newest value that is not null; within one delivery its largest. Rows that are alone with their key, most of
    them as a rule, are handed through: looking for the others costs a tenth of merging all.

    contract   name of a lake contract that is partitioned by usage_date
    key        columns that name what was sampled, and when
    values     the columns to merge
    nullable   columns of the key that may be null; null is a name like another

    merge_deliveries('gpu_samples', ['gpu_uuid', 'sampled_at'], ['gpu_util', 'power_watts'])
-#}
{% macro merge_deliveries(contract, key, values, nullable=[]) -%}
    {%- set columns = key + ['usage_date'] -%}
    {%- set names = columns | join(', ') -%}
    {%- set qualified = 'samples.' ~ columns | join(', samples.') -%}
    {%- set pairs = [] -%}
    {%- for column in columns -%}
        {%- set is_same = ' is not distinct from ' if column in nullable else ' = ' -%}
        {%- do pairs.append('samples.' ~ column ~ is_same ~ 'repeated.' ~ column) -%}
    {%- endfor -%}
    {%- set matches = pairs | join(' and ') -%}
    (
        with batches as (
            select
                batch_id,
                row_number() over (order by delivered_at, batch_id) as recency
            from {{ snapshot('batches') }}
            where contract = '{{ contract }}' and change != 'removed'
        ),

        samples as (
            select
                delivered_samples.*,
                batches.recency
            from {{ lake(contract) }} as delivered_samples
            inner join batches on delivered_samples.batch_id = batches.batch_id
        ),

        repeated as (
            select {{ names }}
            from samples
            group by {{ names }}
            having count(*) > 1
        ),

        -- one row per repeated key and delivery
        delivered as (
            select
                {{ qualified }},
                samples.recency
                {%- for column in values %},
                max(samples.{{ column }}) as {{ column }} {%- endfor %}
            from samples
            inner join repeated on {{ matches }}
            group by {{ qualified }}, samples.recency
        )

        select
            {{ qualified }}
            {%- for column in values %},
            samples.{{ column }} {%- endfor %}
        from samples
        left join repeated on {{ matches }}
        where repeated.usage_date is null
        union all
        select
            {{ names }}
            {%- for column in values %},
            {{ newest(column) }} as {{ column }} {%- endfor %}
        from delivered
        group by {{ names }}
    )
{%- endmacro %}
