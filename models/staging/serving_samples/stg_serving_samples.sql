{%- set values = [
    'source', 'interval_seconds', 'deployment_id', 'namespace', 'pod', 'running_request_count', 'waiting_request_count',
    'kv_cache_usage', 'input_tokens_total', 'output_tokens_total', 'prefix_cache_query_tokens_total',
    'prefix_cache_hit_tokens_total', 'preemption_count_total',
] -%}

with samples as (
    select * from {{ lake('serving_samples') }}
),

batches as (
    select
        batch_id,
        row_number() over (order by delivered_at, batch_id) as recency
    from {{ snapshot('batches') }}
    where contract = 'serving_samples' and change != 'removed'
),

-- one row per replica, model, moment and delivery: a delivery has one row per metric
delivered as (
    select
        samples.replica_id,
        samples.model,
        samples.sampled_at,
        samples.usage_date,
        batches.recency
        {%- for column in values %},
        max(samples.{{ column }}) as {{ column }} {%- endfor %}
    from samples
    inner join batches on samples.batch_id = batches.batch_id
    group by samples.replica_id, samples.model, samples.sampled_at, samples.usage_date, batches.recency
)

-- the grain changes: from one row per delivery, often one per metric, to one row per replica, model and moment
select
    replica_id,
    model,
    cast(sampled_at as timestamp) as sampled_at,
    usage_date
    {%- for column in values %},
    {{ newest(column) }} as {{ column }} {%- endfor %}
from delivered
group by replica_id, model, sampled_at, usage_date
