{#-
    A table expression over the samples of a contract, as the build's snapshot has them: one row per key and usage_date.
    A delivery often has one row per metric of a moment, and several deliveries may hold the same moment: each column
    gets its newest value that is not null; within one delivery its largest.

    contract   name of a lake contract that is partitioned by usage_date
    key        columns that name what was sampled, and when
    values     the columns to merge

    merge_deliveries('gpu_samples', ['gpu_uuid', 'sampled_at'], ['gpu_util', 'power_watts'])
-#}
{% macro merge_deliveries(contract, key, values) -%}
    {%- set names = (key + ['usage_date']) | join(', ') -%}
    (
        with samples as (
            select * from {{ lake(contract) }}
        ),

        batches as (
            select
                batch_id,
                row_number() over (order by delivered_at, batch_id) as recency
            from {{ snapshot('batches') }}
            where contract = '{{ contract }}' and change != 'removed'
        ),

        -- one row per key and delivery
        delivered as (
            select
                {{ names }},
                batches.recency
                {%- for column in values %},
                max(samples.{{ column }}) as {{ column }} {%- endfor %}
            from samples
            inner join batches on samples.batch_id = batches.batch_id
            group by {{ names }}, batches.recency
        )

        select
            {{ names }}
            {%- for column in values %},
            {{ newest(column) }} as {{ column }} {%- endfor %}
        from delivered
        group by {{ names }}
    )
{%- endmacro %}
