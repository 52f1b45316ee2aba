with quotes as (
    select * from {{ ref('stg_gpu_quotes') }}
),

on_demand_quotes as (
    select * from quotes
    where purchase_mode = 'on_demand' and term is null
),

-- a quote beside the price on demand of the same machine and place, and beside its own in the rest of the region
compared as (
    select
        quotes.*,
        on_demand_quotes.low_usd_per_gpu_hour as on_demand_usd_per_gpu_hour,
        min(quotes.low_usd_per_gpu_hour) over (
            partition by
                quotes.provider, quotes.gpu_model, quotes.region, quotes.purchase_mode, quotes.term, quotes.seen_at
        ) as region_low_usd_per_gpu_hour,
        max(quotes.high_usd_per_gpu_hour) over (
            partition by
                quotes.provider, quotes.gpu_model, quotes.region, quotes.purchase_mode, quotes.term, quotes.seen_at
        ) as region_high_usd_per_gpu_hour
    from quotes
    left join on_demand_quotes
        on
            quotes.provider = on_demand_quotes.provider
            and quotes.gpu_model = on_demand_quotes.gpu_model
            and quotes.region is not distinct from on_demand_quotes.region
            and quotes.seen_at = on_demand_quotes.seen_at
            and quotes.origin = on_demand_quotes.origin
),

judged as (
    select
        *,
        case
            when not is_known_gpu then 'not a GPU that the seed gpu_models knows'
            when price_count > 1 then 'listed several times at different prices'
            when purchase_mode != 'spot' then null
            when high_usd_per_gpu_hour > on_demand_usd_per_gpu_hour then 'spot above on demand'
            when high_usd_per_gpu_hour = on_demand_usd_per_gpu_hour then 'spot equals on demand'
            -- a market without offers stands at its cap, the price on demand
            when 100 * high_usd_per_gpu_hour > 99 * on_demand_usd_per_gpu_hour
                then 'spot within 1 percent of on demand'
        end as held_reason
    from compared
)

select
    provider,
    gpu_model,
    region,
    purchase_mode,
    term,
    seen_at,
    low_usd_per_gpu_hour,
    high_usd_per_gpu_hour,
    on_demand_usd_per_gpu_hour,
    region_low_usd_per_gpu_hour,
    region_high_usd_per_gpu_hour,
    region_high_usd_per_gpu_hour >= 2 * region_low_usd_per_gpu_hour as is_far_apart_in_region,
    cast(listed_count as bigint) as listed_count,
    case when held_reason is null then 'usable' else 'held' end as state,
    held_reason,
    quote_status,
    origin
from judged
