with costs as (
    select * from {{ ref('stg_vendor_costs') }}
),

charges as (
    select * from {{ ref('int_vendor_charges_daily') }}
),

names as (
    select * from {{ ref('int_vendor_model_names') }}
),

aliases as (
    select * from {{ ref('stg_company_aliases') }}
    where kind = 'model'
),

fx_rates as (
    select * from {{ ref('int_fx_rates') }}
),

configured_sources as (
    select * from {{ snapshot('sources') }}
),

-- two sources that report one project (or no project) of a provider on one day report the same money
ranked as (
    select
        costs.*,
        dense_rank() over (
            partition by costs.provider, costs.usage_date, costs.project_id
            order by configured_sources.precedence nulls last, costs.source
        ) = 1 as is_counted
    from costs
    left join configured_sources on costs.source = configured_sources.source
),

converted as (
    select
        ranked.*,
        lower(trim(coalesce(aliases.name, ranked.model))) as name,
        -- a line of a report that was not grouped, or one that speaks of tokens; searches and storage do not
        case
            when ranked.cost_type is not null then ranked.cost_type = 'tokens'
            when ranked.line_item is null then true
            else {{ matches_pattern('lower(ranked.line_item)', "'input|output|token|prompt|completion|cache'") }}
        end as may_be_tokens,
        case
            when ranked.currency = 'USD' then ranked.amount
            else {{ convert_money('ranked.amount', 'fx_rates.usd_per_unit') }}
        end as amount_usd
    from ranked
    left join aliases
        on
            ranked.model = aliases.alias
            and ranked.usage_date >= aliases.valid_from
            and ranked.usage_date < aliases.valid_to
    left join fx_rates on ranked.currency = fx_rates.currency and ranked.usage_date = fx_rates.rate_day
),

reported as (
    select
        converted.usage_date,
        converted.provider,
        'vendor_report' as basis,
        coalesce(names.model, '__unknown__') as model,
        case when converted.is_counted then 1 else 0 end as line_count,
        case when converted.is_counted and converted.amount_usd is null then 1 else 0 end as unconverted_line_count,
        case when converted.is_counted then converted.amount_usd end as billed_usd,
        case when not converted.is_counted then converted.amount_usd end as uncounted_billed_usd,
        case when converted.is_counted then abs(converted.amount) end as gross_amount,
        converted.may_be_tokens,
        converted.token_type,
        converted.usage_date as last_date,
        converted.delivered_at
    from converted
    left join names on converted.provider = names.provider and converted.name = names.name
),

wordings as (
    select distinct
        provider,
        line_words
    from charges
),

-- the longest name that stands in a wording is the model's, unless a word after it makes it another model's
named_wordings as (
    select
        wordings.provider,
        wordings.line_words,
        names.model,
        row_number() over (
            partition by wordings.provider, wordings.line_words
            order by length(names.name_words) desc, names.model asc
        ) as name_rank
    from wordings
    inner join names
        on
            wordings.provider = names.provider
            and contains(' ' || wordings.line_words || ' ', ' ' || names.name_words || ' ')
    where
        not {{ matches_pattern(
            "ltrim(split_part(' ' || wordings.line_words || ' ', ' ' || names.name_words || ' ', 2))",
            "'^([0-9]{1,2}|mini|nano|micro|lite|pro|max|turbo|flash|fast|audio|realtime|transcribe|tts|codex|chat"
            ~ "|search|image|vision|embedding|embed|instruct|thinking|preview|deep|oss) '"
        ) }}
),

charged as (
    select
        charges.usage_date,
        charges.provider,
        'cloud_bill' as basis,
        coalesce(named_wordings.model, '__unknown__') as model,
        charges.line_count,
        charges.unconverted_line_count,
        charges.billed_usd,
        cast(null as decimal(38, 12)) as uncounted_billed_usd,
        charges.gross_amount,
        true as may_be_tokens,
        cast(null as string) as token_type,
        charges.last_date,
        charges.delivered_at
    from charges
    left join named_wordings
        on
            charges.provider = named_wordings.provider
            and charges.line_words = named_wordings.line_words
            and named_wordings.name_rank = 1
),

billed as (
    select * from reported
    union all
    select * from charged
)

-- the grain changes: from lines to one row per day, provider, basis and model
select
    usage_date,
    provider,
    basis,
    model,
    cast(sum(line_count) as bigint) as line_count,
    cast(sum(unconverted_line_count) as bigint) as unconverted_line_count,
    cast(sum(billed_usd) as decimal(38, 12)) as billed_usd,
    cast(sum(uncounted_billed_usd) as decimal(38, 12)) as uncounted_billed_usd,
    cast(sum(gross_amount) as decimal(38, 12)) as gross_amount,
    -- tokens of some model or other; what is known to be no tokens names no model by its nature
    cast(coalesce(sum(case when model = '__unknown__' and may_be_tokens then gross_amount end), 0) as decimal(38, 12))
        as unnamed_tokens_amount,
    count(case when model = '__unknown__' and not may_be_tokens then 1 end) as unnamed_other_lines,
    count(token_type) as typed_lines,
    count(case when token_type = 'cache_read_tokens' and billed_usd != 0 then 1 end) as cache_read_lines,
    count(case when token_type like 'cache_write%' and billed_usd != 0 then 1 end) as cache_write_lines,
    max(last_date) as last_date,
    max(delivered_at) as delivered_at
from billed
group by usage_date, provider, basis, model
