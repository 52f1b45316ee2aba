{%- set quote_key = ['provider', 'gpu_model', 'region', 'purchase_mode', 'term', 'seen_at', 'origin'] %}

with quotes as (
    select * from {{ lake('gpu_quotes') }}
),

batches as (
    select
        batch_id,
        delivered_at
    from {{ snapshot('batches') }}
    where contract = 'gpu_quotes' and change != 'removed'
),

gpu_models as (
    select * from {{ ref('gpu_models') }}
),

resolved as (
    select
        quotes.source,
        lower(trim(quotes.provider)) as provider,
        coalesce(gpu_models.gpu_model, trim(quotes.gpu_model)) as gpu_model,
        quotes.region,
        lower(replace(replace(trim(quotes.purchase_mode), '-', '_'), ' ', '_')) as purchase_mode,
        quotes.low_usd_per_gpu_hour,
        coalesce(quotes.high_usd_per_gpu_hour, quotes.low_usd_per_gpu_hour) as high_usd_per_gpu_hour,
        quotes.term,
        quotes.quote_status,
        quotes.best_for,
        cast(quotes.seen_at as timestamp) as seen_at,
        quotes.origin,
        quotes.batch_id,
        batches.delivered_at,
        gpu_models.gpu_model is not null as is_known_gpu
    from quotes
    inner join batches on quotes.batch_id = batches.batch_id
    left join gpu_models on lower(trim(quotes.gpu_model)) = gpu_models.gpu_model_alias
),

ranked as (
    select
        *,
        dense_rank() over (
            partition by {{ quote_key | join(', ') }}
            order by delivered_at desc, batch_id desc
        ) as newest_rank
    from resolved
)

-- the grain changes: what one list says several times of the same is one quote, from the lowest to the highest of them
select
    min(source) as source,
    {{ quote_key | join(',\n    ') }},
    cast(min(low_usd_per_gpu_hour) as decimal(38, 12)) as low_usd_per_gpu_hour,
    cast(max(high_usd_per_gpu_hour) as decimal(38, 12)) as high_usd_per_gpu_hour,
    min(quote_status) as quote_status,
    min(best_for) as best_for,
    bool_or(is_known_gpu) as is_known_gpu,
    count(*) as listed_count,
    count(distinct low_usd_per_gpu_hour) as price_count
from ranked
where newest_rank = 1
group by {{ quote_key | join(', ') }}
