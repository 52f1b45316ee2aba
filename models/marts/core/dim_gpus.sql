with gpu_hours as (
    select * from {{ ref('fct_gpu_hours') }}
    where resource_id is not null
),

gpu_models as (
    select * from {{ ref('gpu_models') }}
),

-- one row per GPU and hour, newest first: what changes over a GPU's life is told as of its last hour
ranked as (
    select
        *,
        row_number() over (
            partition by gpu_key
            order by hour_at desc, resource_id asc, purchase_mode asc
        ) as newest_rank
    from gpu_hours
),

newest as (
    select * from ranked
    where newest_rank = 1
),

-- the grain changes: one row per GPU
lives as (
    select
        gpu_key,
        min(hour_at) as first_hour_at,
        max(hour_at) as last_hour_at,
        count(distinct resource_id) as resource_count,
        bool_or(purchase_mode = 'on_demand') as is_seen_on_demand,
        bool_or(purchase_mode = 'spot') as is_seen_spot,
        bool_or(purchase_mode = 'committed') as is_seen_committed,
        cast(sum(billed_seconds) as decimal(38, 6)) as billed_seconds
    from gpu_hours
    group by gpu_key
),

memories as (
    select
        gpu_model,
        max(memory_gib) as memory_gib
    from gpu_models
    group by gpu_model
)

select
    lives.gpu_key,
    newest.resource_id,
    newest.gpu_model,
    memories.memory_gib,
    newest.region,
    newest.team,
    newest.purchase_mode,
    lives.is_seen_on_demand,
    lives.is_seen_spot,
    lives.is_seen_committed,
    lives.resource_count,
    lives.first_hour_at,
    lives.last_hour_at,
    lives.billed_seconds
from lives
inner join newest on lives.gpu_key = newest.gpu_key
left join memories on newest.gpu_model = memories.gpu_model
