with samples as (
    select * from {{ lake('gpu_samples') }}
),

batches as (
    select distinct batch_id
    from {{ snapshot('batches') }}
    where contract = 'gpu_samples' and change != 'removed'
)

-- the grain changes: from one row per metric and moment to one row per source, GPU, host and day
select
    samples.source,
    split_part(samples.gpu_uuid, '/', 1) as card_uuid,
    samples.hostname,
    samples.usage_date,
    bool_or(samples.pod is not null or samples.namespace is not null) as has_labels,
    bool_or(contains(samples.gpu_uuid, '/')) as has_slices
from samples
inner join batches on samples.batch_id = batches.batch_id
group by samples.source, split_part(samples.gpu_uuid, '/', 1), samples.hostname, samples.usage_date
