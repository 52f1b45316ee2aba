{%- set values = [
    'source', 'interval_seconds', 'deployment_id', 'namespace', 'pod', 'running_request_count', 'waiting_request_count',
    'kv_cache_usage', 'input_tokens_total', 'output_tokens_total', 'prefix_cache_query_tokens_total',
    'prefix_cache_hit_tokens_total', 'preemption_count_total',
] -%}

with merged as (
    select * from {{ merge_deliveries(
        'serving_samples', ['replica_id', 'model', 'sampled_at'], values, nullable=['model']
    ) }}
)

-- one row per replica, model and moment
select
    replica_id,
    model,
    cast(sampled_at as timestamp) as sampled_at,
    usage_date,
    {{ values | join(',\n    ') }}
from merged
