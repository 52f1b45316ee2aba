{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

-- the touched dates and the day before each: a counter is read against the sample before
with samples as (
    select * from {{ ref('stg_serving_samples') }}
    where output_tokens_total is not null
),

attempts as (
    select * from {{ ref('int_attempt_outlines') }}
    where
        replica_id is not null
        and duplicate_of_source is null
        and not coalesce(response_cache_hit, false)
        and {{ in_touched_dates('usage_date') }}
),

counters as (
    select
        usage_date,
        -- several engines of a server are one replica to the log
        split_part(replica_id, '/', 1) as replica_id,
        cast(round(output_tokens_total) as bigint) as counted,
        lag(cast(round(output_tokens_total) as bigint)) over engine as counted_before,
        lag(usage_date) over engine as date_before
    from samples
    window engine as (partition by replica_id, model order by sampled_at)
),

-- a counter that falls began again at 0; what one counted before its first sample, or over a day without any, is untold
served as (
    select
        usage_date,
        replica_id,
        sum(case when counted < counted_before then counted else counted - counted_before end) as served_tokens
    from counters
    where {{ days_between('date_before', 'usage_date') }} <= 1 and {{ in_touched_dates('usage_date') }}
    group by usage_date, replica_id
),

logged as (
    select
        usage_date,
        replica_id,
        count(*) as calls,
        {{ sum_units('coalesce(output_tokens, 0)') }} as logged_tokens
    from attempts
    group by usage_date, replica_id
)

select
    served.usage_date,
    served.replica_id,
    cast(served.served_tokens as bigint) as served_output_tokens,
    coalesce(logged.logged_tokens, 0) as logged_output_tokens,
    coalesce(logged.calls, 0) as logged_calls
from served
left join logged on served.usage_date = logged.usage_date and served.replica_id = logged.replica_id
