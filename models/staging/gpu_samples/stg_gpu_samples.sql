{%- set values = [
    'source', 'hostname', 'interval_seconds', 'gpu_model', 'gpu_util', 'gr_engine_active', 'sm_active',
    'tensor_active', 'dram_active', 'fb_used_bytes', 'power_watts', 'namespace', 'pod', 'mig_profile',
] -%}

with samples as (
    select * from {{ lake('gpu_samples') }}
),

batches as (
    select
        batch_id,
        row_number() over (order by delivered_at, batch_id) as recency
    from {{ snapshot('batches') }}
    where contract = 'gpu_samples' and change != 'removed'
),

-- one row per GPU, moment and delivery: under time slicing a delivery has one row per pod of the same GPU
delivered as (
    select
        samples.gpu_uuid,
        samples.sampled_at,
        samples.usage_date,
        batches.recency
        {%- for column in values %},
        max(samples.{{ column }}) as {{ column }} {%- endfor %}
    from samples
    inner join batches on samples.batch_id = batches.batch_id
    group by samples.gpu_uuid, samples.sampled_at, samples.usage_date, batches.recency
)

-- the grain changes: from one row per delivery, often one per metric, to one row per GPU and moment
select
    gpu_uuid,
    -- a MIG slice is named after its card: GPU-x/1
    split_part(gpu_uuid, '/', 1) as card_uuid,
    cast(sampled_at as timestamp) as sampled_at,
    usage_date
    {%- for column in values %},
    {{ newest(column) }} as {{ column }} {%- endfor %}
from delivered
group by gpu_uuid, sampled_at, usage_date
