{#- The counts that tell reports of different interfaces apart: completions, embeddings, images and so on. -#}
{%- set told_by = [
    'output_text_tokens', 'image_count', 'audio_seconds', 'character_count', 'web_search_count',
] %}

with usage as (
    select * from {{ lake('vendor_usage') }}
),

batches as (
    select
        batch_id,
        delivered_at
    from {{ snapshot('batches') }}
    where contract = 'vendor_usage' and change != 'removed'
),

providers as (
    select * from {{ ref('providers') }}
),

delivered as (
    select
        usage.*,
        coalesce(providers.provider, lower(trim(usage.provider))) as canonical_provider,
        cast(cast(usage.started_at as timestamp) as date) as usage_date,
        cast(batches.delivered_at as timestamp) as delivered_at,
        -- buckets of days and buckets within days say the same twice
        cast(usage.ended_at as timestamp) >= cast(usage.started_at as timestamp) + interval '1' day as is_whole_day,
        {%- for count in told_by %}
        case when usage.{{ count }} is null then '-' else '+' end{{ ' ||' if not loop.last }}
        {%- endfor %} as report_kind
    from usage
    inner join batches on usage.batch_id = batches.batch_id
    left join providers on lower(trim(usage.provider)) = providers.provider_alias
),

-- pages of one export are deliveries of their own: a newer one replaces only what it holds itself, which is all lines
-- of the same bucket, model and other dimensions; several of them in one delivery are several keys or users
ranked as (
    select
        *,
        dense_rank() over (
            partition by
                source, canonical_provider, started_at, model, service_tier, context_tier, project_id, report_kind
            order by delivered_at desc, batch_id desc
        ) as delivery_rank,
        row_number() over (
            partition by source, canonical_provider, usage_date, report_kind
            order by delivered_at desc, batch_id desc, started_at asc, line_id asc
        ) as day_rank
    from delivered
),

-- the width of bucket that the newest delivery of a day has
widths as (
    select
        source,
        canonical_provider,
        usage_date,
        report_kind,
        is_whole_day
    from ranked
    where day_rank = 1
)

select
    ranked.source,
    ranked.line_id,
    ranked.batch_id,
    ranked.delivered_at,
    ranked.canonical_provider as provider,
    ranked.usage_date,
    cast(ranked.started_at as timestamp) as started_at,
    cast(ranked.ended_at as timestamp) as ended_at,
    ranked.model,
    ranked.service_tier,
    ranked.context_tier,
    ranked.project_id,
    ranked.request_count,
    cast(
        {{ sum_reported([
            'ranked.uncached_input_tokens', 'ranked.cache_read_tokens', 'ranked.cache_write_5m_tokens',
            'ranked.cache_write_1h_tokens', 'ranked.audio_input_tokens', 'ranked.image_input_tokens',
        ]) }} as decimal(18, 0)
    ) as input_tokens,
    ranked.cache_read_tokens,
    cast({{ sum_reported(['ranked.cache_write_5m_tokens', 'ranked.cache_write_1h_tokens']) }} as decimal(18, 0))
        as cache_write_tokens,
    cast(
        {{ sum_reported([
            'ranked.output_text_tokens', 'ranked.reasoning_tokens', 'ranked.audio_output_tokens',
            'ranked.image_output_tokens',
        ]) }} as decimal(18, 0)
    ) as output_tokens
from ranked
inner join widths
    on
        ranked.source = widths.source
        and ranked.canonical_provider = widths.canonical_provider
        and ranked.usage_date = widths.usage_date
        and ranked.report_kind = widths.report_kind
        and ranked.is_whole_day = widths.is_whole_day
where ranked.delivery_rank = 1
