{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

-- the touched dates and those beside them: a call may be in flight over midnight
with attempts as (
    select * from {{ ref('int_attempt_outlines') }}
    where
        pool_id is not null
        and unpriced_reason = 'awaiting_allocation'
        and {{ near_touched_dates('usage_date', 1) }}
),

-- a call without an end is somewhere in the hour in which it starts; one that lasts longer than a day is cut
timed as (
    select
        *,
        coalesce(ended_at > started_at, false) as is_timed,
        greatest(
            least(coalesce(ended_at, started_at), started_at + interval '1' day),
            {{ add_microseconds('started_at', '1') }}
        ) as in_flight_until,
        -- tokens weigh as prefill and decode cost: an output token a multiple of an input token that no cache held
        cast(round(
            (
                coalesce(input_tokens, 0) - coalesce(cache_read_tokens, 0)
                + {{ var('allocation_output_token_weight') }} * coalesce(output_tokens, 0)
            ) * sample_weight
        ) as bigint) as token_weight
    from attempts
),

-- the grain changes: from one row per call to one row per call and hour that it touches
exploded as (
    select
        *,
        {{ explode_hours('started_at', 'in_flight_until') }} as hour_at
    from timed
),

cut as (
    select
        *,
        {{ microseconds_between('hour_at', 'greatest(started_at, hour_at)') }} as from_microsecond,
        {{ microseconds_between('hour_at', "least(in_flight_until, hour_at + interval '1' hour)") }} as to_microsecond,
        {{ microseconds_between('started_at', 'in_flight_until') }} as whole_microseconds
    from exploded
    where {{ in_touched_dates('cast(hour_at as date)') }}
)

select
    cast(hour_at as date) as usage_date,
    hour_at,
    source,
    call_id,
    attempt_number,
    usage_date as call_date,
    pool_id,
    pool_kind,
    pool_name,
    -- a row of a sampled log stands for several calls in flight
    cast(sample_weight * 1000000 as bigint) as weight_millionths,
    is_timed,
    from_microsecond,
    case when is_timed then to_microsecond else from_microsecond end as to_microsecond,
    -- the tokens of a call over several hours go with its time in each
    cast({{ integer_divide(
        whole_number('token_weight') ~ ' * (to_microsecond - from_microsecond)', 'whole_microseconds'
    ) }} as bigint) as token_weight
from cut
