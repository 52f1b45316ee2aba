{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

with lines as (
    select
        *,
        -- everywhere that a bill may name a model, as words between blanks
        translate(
            lower(concat_ws(' ', service_name, sku_meter, charge_description, resource_id, resource_name)),
            '-_.:/(),|', '         '
        ) as line_words
    from {{ ref('fct_bill_lines') }}
    where line_kind = 'model_charges' and {{ in_touched_dates('usage_date') }}
),

model_services as (
    select * from {{ ref('model_services') }}
),

service_names as (
    select distinct service_name from lines
),

-- "Azure OpenAI" is Azure's: of several patterns the least priority number goes first
ranked_services as (
    select
        service_names.service_name,
        model_services.provider,
        row_number() over (
            partition by service_names.service_name
            order by
                model_services.priority asc, length(model_services.service_pattern) desc,
                model_services.service_pattern asc
        ) as service_rank
    from service_names
    inner join model_services on contains(lower(service_names.service_name), model_services.service_pattern)
),

sold as (
    select
        lines.*,
        coalesce(ranked_services.provider, '__unknown__') as provider
    from lines
    left join ranked_services on lines.service_name = ranked_services.service_name and ranked_services.service_rank = 1
)

-- the grain changes: from one row per line to one row per day, provider and wording
select
    usage_date,
    provider,
    line_words,
    count(*) as line_count,
    count(case when billed_cost_usd is null then 1 end) as unconverted_line_count,
    cast(sum(billed_cost_usd) as decimal(38, 12)) as billed_usd,
    cast(sum(abs(billed_cost)) as decimal(38, 12)) as gross_amount,
    -- a line may charge for longer than a day
    greatest(
        usage_date, max(cast({{ add_microseconds('charge_period_end', '-1') }} as date))
    ) as last_date,
    max(delivered_at) as delivered_at
from sold
group by usage_date, provider, line_words
