{%- set values = [
    'source', 'hostname', 'interval_seconds', 'gpu_model', 'gpu_util', 'gr_engine_active', 'sm_active',
    'tensor_active', 'dram_active', 'fb_used_bytes', 'power_watts', 'namespace', 'pod', 'mig_profile',
] -%}

-- under time slicing a delivery has one row per pod of the same GPU: they are one row too
with merged as (
    select * from {{ merge_deliveries('gpu_samples', ['gpu_uuid', 'sampled_at'], values) }}
)

-- one row per GPU and moment
select
    gpu_uuid,
    -- a MIG slice is named after its card: GPU-x/1
    split_part(gpu_uuid, '/', 1) as card_uuid,
    cast(sampled_at as timestamp) as sampled_at,
    usage_date,
    {{ values | join(',\n    ') }}
from merged
