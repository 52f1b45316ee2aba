-- The four marts in PostgreSQL, from LiteLLM's own table of spend logs and tables of the other files as they are
-- (postgres.py loads them). {prices} are the rows of the price list.

create unlogged table attempts as
select
    logs.request_id,
    coalesce(logs.labels ->> 'task_id', logs.request_id) as task_id,
    logs.labels ->> 'task_id' is not null as has_task,
    coalesce(logs.labels ->> 'task_type', '__untagged__') as task_type,
    coalesce(logs.team_id, '__untagged__') as team,
    logs.labels ->> 'step_name' as step_name,
    cast(logs.labels ->> 'step_index' as integer) as step_index,
    cast(logs.labels ->> 'attempt_number' as integer) as attempt_number,
    logs.labels ->> 'retry_reason' as retry_reason,
    logs.labels ->> 'replica_id' as replica_id,
    logs."startTime" as started_at,
    logs."endTime" as ended_at,
    logs.model_name as model,
    logs.status = 'success' as is_success,
    (logs.prompt_tokens - logs.cached_tokens - logs.written_tokens) * prices.input_usd
    + logs.cached_tokens * prices.cached_usd + logs.written_tokens * prices.written_usd
    + logs.completion_tokens * prices.output_usd as metered_usd,
    logs.prompt_tokens * prices.input_usd + logs.completion_tokens * prices.output_usd as quoted_usd
from (
    select
        *,
        metadata -> 'spend_logs_metadata' as labels,
        replace(model, 'hosted_vllm/', '') as model_name,
        coalesce(
            cast(metadata -> 'usage_object' -> 'prompt_tokens_details' ->> 'cached_tokens' as integer), 0
        ) as cached_tokens,
        coalesce(cast(metadata -> 'usage_object' ->> 'cache_creation_input_tokens' as integer), 0) as written_tokens
    from "LiteLLM_SpendLogs"
) as logs
left join (
    values {prices}
) as prices (model, input_usd, cached_usd, written_usd, output_usd) on logs.model_name = prices.model;

analyze attempts;

-- what became of each attempt of a step that was tried again; all others are what their status says
create unlogged table retried as
with steps as (
    select distinct task_id, step_name, step_index from attempts where attempt_number > 1
),

judged as (
    select
        attempts.request_id,
        attempts.task_id,
        attempts.step_name,
        attempts.step_index,
        attempts.is_success and lead(attempts.retry_reason) over step is null as is_success,
        row_number() over step as position
    from attempts
    inner join steps using (task_id, step_name, step_index)
    window step as (partition by task_id, step_name, step_index order by attempts.started_at)
)

select
    request_id,
    is_success,
    position,
    max(position) filter (where is_success) over (partition by task_id, step_name, step_index) as success_position
from judged;

-- the own servers: one row per call and hour in which it was in flight, in seconds of the hour
create unlogged table pieces as
select
    attempts.request_id,
    attempts.replica_id,
    hours.hour_at,
    cast(extract(epoch from greatest(attempts.started_at, hours.hour_at) - hours.hour_at) as double precision)
        as from_second,
    cast(extract(epoch from least(attempts.ended_at, hours.hour_at + interval '1 hour') - hours.hour_at)
        as double precision) as to_second
from attempts
cross join lateral generate_series(
    date_trunc('hour', attempts.started_at), attempts.ended_at - interval '1 microsecond', interval '1 hour'
) as hours (hour_at)
where attempts.replica_id is not null;

-- each instant is shared evenly among the calls in flight: a call has the integral over its time
create unlogged table shares as
with events as (
    select replica_id, hour_at, request_id, from_second as moment, 1 as side from pieces
    union all
    select replica_id, hour_at, request_id, to_second as moment, -1 as side from pieces
),

counted as (
    select
        *,
        sum(side) over lane as in_flight,
        lead(moment) over lane - moment as length
    from events
    window lane as (partition by replica_id, hour_at order by moment, request_id, side rows unbounded preceding)
),

integrated as (
    select
        *,
        sum(case when in_flight > 0 then length / in_flight else 0 end) over (
            partition by replica_id, hour_at
            order by moment, request_id, side
            rows between unbounded preceding and 1 preceding
        ) as share
    from counted
)

select
    request_id,
    replica_id,
    hour_at,
    -sum(side * coalesce(share, 0)) as share,
    coalesce(sum(length) filter (where in_flight > 0), 0) as busy
from integrated
group by request_id, replica_id, hour_at;

create unlogged table lanes as
select
    replicas.replica_id,
    replicas.resource_id,
    shares.hour_at,
    sum(shares.share) as share,
    sum(shares.busy) as busy
from shares
inner join (select distinct replica as replica_id, machine as resource_id from replica_windows) as replicas
    using (replica_id)
group by replicas.replica_id, replicas.resource_id, shares.hour_at;

-- one row per GPU and hour: billed time is active, loaded idle, unallocated, else unknown, and money goes with time
create unlogged table gpu_hours as
with sampled as (
    select
        gpu as gpu_uuid,
        date_trunc('hour', sampled_at) as hour_at,
        60.0 * count(*) as seconds,
        60 * sum(gr_engine_active) as active,
        60 * coalesce(sum(1 - gr_engine_active) filter (where pod is not null), 0) as loaded_idle,
        60 * coalesce(sum(1 - gr_engine_active) filter (where pod is null), 0) as unallocated
    from gpu_samples
    group by gpu, date_trunc('hour', sampled_at)
),

seen as (
    select
        bill."ResourceId" as resource_id,
        cast(bill."ChargePeriodStart" as timestamp) as hour_at,
        bill."RegionId" as region,
        case bill."PricingCategory" when 'Dynamic' then 'spot' else 'on_demand' end as purchase_mode,
        cast(bill."Tags" as jsonb) ->> 'team' as team,
        links.gpu_uuid,
        cast(bill."ConsumedQuantity" as double precision) * 3600 as room,
        cast(bill."EffectiveCost" as double precision) / 8 as cost_usd,
        coalesce(lanes.busy, 0) as busy,
        coalesce(sampled.seconds, 0) as sampled,
        greatest(coalesce(sampled.active, 0), coalesce(lanes.busy, 0)) as seen_active,
        greatest(coalesce(sampled.active + sampled.loaded_idle, 0), coalesce(lanes.busy, 0)) as seen_loaded,
        coalesce(sampled.unallocated, 0) as seen_unallocated
    from bill
    inner join links on bill."ResourceId" = links.resource_id
    left join sampled
        on links.gpu_uuid = sampled.gpu_uuid and cast(bill."ChargePeriodStart" as timestamp) = sampled.hour_at
    left join lanes
        on bill."ResourceId" = lanes.resource_id and cast(bill."ChargePeriodStart" as timestamp) = lanes.hour_at
    where bill."ChargeCategory" = 'Usage'
),

timed as (
    select
        *,
        cost_usd / room as rate,
        least(seen_active, room) as active_seconds,
        least(seen_loaded, room) - least(seen_active, room) as loaded_idle_seconds,
        least(seen_loaded + seen_unallocated, room) - least(seen_loaded, room) as unallocated_seconds,
        room - least(seen_loaded + seen_unallocated, room) as unknown_seconds
    from seen
)

select
    *,
    rate * active_seconds as active_usd,
    rate * loaded_idle_seconds as loaded_idle_usd,
    rate * unallocated_seconds as unallocated_usd,
    rate * unknown_seconds as unknown_usd,
    rate * (loaded_idle_seconds + unallocated_seconds) as idle_usd,
    case when busy > 0 then rate * active_seconds * busy / seen_active else 0 end as called_usd
from timed;

-- own calls: their share of the called dollars of their hours, and of the idle dollars of those GPUs' days
create unlogged table own_costs as
with days as (
    select
        resource_id,
        hour_at,
        called_usd,
        called_usd * sum(idle_usd) over gpu_day / nullif(sum(called_usd) over gpu_day, 0) as carried_usd
    from gpu_hours
    window gpu_day as (partition by gpu_uuid, cast(hour_at as date))
),

called as (
    select
        resource_id,
        hour_at,
        sum(called_usd) as usd,
        coalesce(sum(carried_usd), 0) as carried_usd
    from days
    group by resource_id, hour_at
)

select
    shares.request_id,
    sum(called.usd * shares.share / lanes.share) as cost_usd,
    sum((called.usd + called.carried_usd) * shares.share / lanes.share) as fully_loaded_cost_usd
from shares
inner join lanes on shares.replica_id = lanes.replica_id and shares.hour_at = lanes.hour_at
inner join called on lanes.resource_id = called.resource_id and lanes.hour_at = called.hour_at
group by shares.request_id;

analyze retried;
analyze own_costs;

create unlogged table costed as
select
    attempts.task_id,
    attempts.has_task,
    attempts.task_type,
    attempts.team,
    attempts.started_at,
    cast(attempts.started_at as date) as usage_date,
    attempts.model,
    attempts.quoted_usd,
    coalesce(attempts.metered_usd, own_costs.cost_usd) as cost_usd,
    coalesce(attempts.metered_usd, own_costs.fully_loaded_cost_usd) as fully_loaded_cost_usd,
    coalesce(retried.is_success, attempts.is_success) as is_success,
    case
        when not coalesce(retried.is_success, attempts.is_success)
            then case when retried.success_position is not null then 'recovered' else 'failed' end
        when retried.position < retried.success_position then 'superseded'
        else 'final_success'
    end as role
from attempts
left join own_costs using (request_id)
left join retried using (request_id);

analyze costed;
analyze outcomes;

create unlogged table cost_per_task_daily as
with tasks as (
    select
        task_id,
        bool_or(has_task) as has_task,
        min(team) as team,
        min(task_type) as task_type,
        min(usage_date) as started_date,
        sum(cost_usd) as cost_usd,
        sum(fully_loaded_cost_usd) as fully_loaded_cost_usd,
        sum(cost_usd) filter (where role in ('recovered', 'failed')) as failed_attempt_cost_usd,
        count(cost_usd) = count(*) as is_fully_priced
    from costed
    group by task_id
),

headlines as (
    select distinct on (task_id)
        task_id,
        quoted_usd as headline_cost_usd
    from costed
    where is_success and quoted_usd is not null
    order by task_id, started_at
),

judged as (
    select
        tasks.*,
        headlines.headline_cost_usd,
        coalesce(outcomes.outcome, 'unknown') as outcome
    from tasks
    left join headlines using (task_id)
    left join outcomes using (task_id)
),

days as (
    select
        started_date,
        team,
        task_type,
        count(*) as tasks,
        count(*) filter (where outcome = 'success') as successful_tasks,
        count(*) filter (where outcome = 'failure') as failed_tasks,
        count(*) filter (where outcome = 'escalated') as escalated_tasks,
        count(*) filter (where outcome = 'unknown') as unknown_outcome_tasks,
        count(*) filter (where is_fully_priced) as fully_priced_tasks,
        sum(cost_usd) as cost_usd,
        sum(fully_loaded_cost_usd) as fully_loaded_cost_usd,
        coalesce(sum(cost_usd) filter (where is_fully_priced), 0) as fully_priced_cost_usd,
        sum(fully_loaded_cost_usd) filter (where is_fully_priced) as fully_priced_loaded_cost_usd,
        coalesce(sum(cost_usd) filter (where outcome != 'unknown'), 0) as known_outcome_cost_usd,
        coalesce(sum(failed_attempt_cost_usd), 0) as failed_attempt_cost_usd,
        coalesce(sum(headline_cost_usd) filter (where is_fully_priced), 0) as headline_cost_usd,
        coalesce(sum(cost_usd) filter (where is_fully_priced and headline_cost_usd is not null), 0)
            as headline_task_cost_usd,
        percentile_cont(array[0.5, 0.9, 0.99]) within group (
            order by case when has_task and is_fully_priced then cost_usd end
        ) as percentiles
    from judged
    group by started_date, team, task_type
)

select
    started_date,
    team,
    task_type,
    tasks,
    successful_tasks,
    failed_tasks,
    escalated_tasks,
    unknown_outcome_tasks,
    fully_priced_tasks,
    cost_usd,
    fully_loaded_cost_usd,
    fully_priced_cost_usd,
    known_outcome_cost_usd,
    failed_attempt_cost_usd,
    headline_cost_usd,
    headline_task_cost_usd,
    fully_priced_cost_usd / nullif(fully_priced_tasks, 0) as cost_per_task_usd,
    known_outcome_cost_usd / nullif(successful_tasks, 0) as cost_per_successful_task_usd,
    fully_priced_loaded_cost_usd / nullif(fully_priced_tasks, 0) as fully_loaded_cost_per_task_usd,
    percentiles[1] as p50_task_cost_usd,
    percentiles[2] as p90_task_cost_usd,
    percentiles[3] as p99_task_cost_usd,
    headline_task_cost_usd / nullif(headline_cost_usd, 0) as cost_multiple
from days;

create unlogged table retry_overhead_daily as
with failed as (
    -- only what failed for good asks for the outcome
    select
        costed.*,
        case when coalesce(outcomes.outcome, 'unknown') = 'unknown' then 'unresolved' else 'abandoned' end as fate
    from costed
    left join outcomes using (task_id)
    where costed.role = 'failed'
),

judged as (
    select usage_date, team, task_type, model, cost_usd, role from costed where role != 'failed'
    union all
    select usage_date, team, task_type, model, cost_usd, fate as role from failed
),

days as (
    select
        usage_date,
        team,
        task_type,
        model,
        count(*) as attempts,
        count(*) filter (where role in ('recovered', 'abandoned', 'unresolved')) as failed_attempts,
        coalesce(sum(cost_usd) filter (where role in ('recovered', 'abandoned', 'unresolved')), 0) as failed_cost_usd,
        coalesce(sum(cost_usd) filter (where role = 'recovered'), 0) as recovered_cost_usd,
        coalesce(sum(cost_usd) filter (where role = 'abandoned'), 0) as abandoned_cost_usd,
        coalesce(sum(cost_usd) filter (where role = 'unresolved'), 0) as unresolved_cost_usd,
        coalesce(sum(cost_usd) filter (where role = 'superseded'), 0) as superseded_cost_usd,
        coalesce(sum(cost_usd) filter (where role = 'final_success'), 0) as final_success_cost_usd,
        sum(cost_usd) as total_cost_usd
    from judged
    group by usage_date, team, task_type, model
)

select
    *,
    failed_cost_usd / nullif(final_success_cost_usd, 0) as overhead_ratio,
    total_cost_usd / nullif(final_success_cost_usd, 0) as amplification_ratio
from days;

create unlogged table gpu_utilisation_hourly as
select
    resource_id,
    hour_at,
    count(*) as gpu_count,
    sum(room) as billed_seconds,
    sum(active_seconds) as active_seconds,
    sum(loaded_idle_seconds) as loaded_idle_seconds,
    sum(unallocated_seconds) as unallocated_seconds,
    sum(unknown_seconds) as unknown_seconds,
    sum(cost_usd) as effective_cost_usd,
    sum(active_usd) as active_usd,
    sum(idle_usd) as idle_usd,
    sum(active_seconds) / nullif(sum(room - unknown_seconds), 0) as utilisation_ratio,
    sum(least(sampled, room)) / sum(room) as sample_coverage_ratio
from gpu_hours
group by resource_id, hour_at;

create unlogged table idle_dollars_daily as
select
    cast(hour_at as date) as usage_date,
    team,
    region,
    'H100-SXM-80GB' as gpu_model,
    purchase_mode,
    sum(room) as billed_seconds,
    sum(active_seconds) as active_seconds,
    sum(loaded_idle_seconds) as loaded_idle_seconds,
    sum(unallocated_seconds) as unallocated_seconds,
    sum(unknown_seconds) as unknown_seconds,
    sum(cost_usd) as effective_cost_usd,
    sum(active_usd) as active_usd,
    sum(active_usd - called_usd) as active_without_calls_usd,
    sum(loaded_idle_usd) as loaded_idle_usd,
    sum(unallocated_usd) as unallocated_usd,
    sum(unknown_usd) as unknown_usd,
    sum(idle_usd) as idle_usd,
    sum(idle_usd) / sum(cost_usd) as idle_ratio
from gpu_hours
group by cast(hour_at as date), team, region, purchase_mode;
