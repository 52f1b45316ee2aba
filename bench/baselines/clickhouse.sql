-- The four marts in ClickHouse: landing files through file() into tables without an order of their own, then SQL.
-- {landing} and {out} are folders, {prices} the rows of the price list.

create table attempts engine = MergeTree order by tuple() as
with calls as (
    select
        request_id,
        "startTime" as started_at,
        "endTime" as ended_at,
        replaceOne(model, 'hosted_vllm/', '') as model,
        team_id,
        status,
        prompt_tokens,
        completion_tokens,
        metadata.spend_logs_metadata.task_id as task_label,
        metadata.spend_logs_metadata.task_type as task_type,
        metadata.spend_logs_metadata.step_name as step_name,
        metadata.spend_logs_metadata.step_index as step_index,
        metadata.spend_logs_metadata.attempt_number as attempt_number,
        metadata.spend_logs_metadata.retry_reason as retry_reason,
        metadata.spend_logs_metadata.replica_id as replica_id,
        metadata.usage_object.prompt_tokens_details.cached_tokens as cached_tokens,
        metadata.usage_object.cache_creation_input_tokens as written_tokens
    from file('{landing}/gateway/*.jsonl', 'JSONEachRow', $$
        request_id String,
        startTime DateTime64(6, 'UTC'),
        endTime DateTime64(6, 'UTC'),
        model String,
        team_id String,
        status String,
        prompt_tokens Int64,
        completion_tokens Int64,
        metadata Tuple(
            spend_logs_metadata Tuple(
                task_id Nullable(String), task_type Nullable(String), step_name String, step_index Int16,
                attempt_number Int16, retry_reason String, replica_id String),
            usage_object Tuple(
                prompt_tokens_details Tuple(cached_tokens Int64), cache_creation_input_tokens Int64))
    $$)
),

prices as (
    select * from values(
        'model String, input_usd Float64, cached_usd Float64, written_usd Float64, output_usd Float64', {prices}
    )
)

select
    rowNumberInAllBlocks() as attempt,
    ifNull(task_label, request_id) as task_id,
    task_label is not null as has_task,
    toLowCardinality(ifNull(task_type, '__untagged__')) as task_type,
    toLowCardinality(team_id) as team,
    toLowCardinality(step_name) as step_name,
    step_index,
    attempt_number,
    retry_reason != '' as is_asked_again,
    toLowCardinality(replica_id) as replica_id,
    started_at,
    ended_at,
    toLowCardinality(calls.model) as model,
    status = 'success' as is_success,
    (prompt_tokens - cached_tokens - written_tokens) * input_usd + cached_tokens * cached_usd
    + written_tokens * written_usd + completion_tokens * output_usd as metered_usd,
    prompt_tokens * input_usd + completion_tokens * output_usd as quoted_usd
from calls
any left join prices on calls.model = prices.model;

-- what became of each attempt of a step that was tried again; all others are what their status says
create table retried engine = Memory as
with judged as (
    select
        attempt,
        task_id,
        step_name,
        step_index,
        is_success and not lead(is_asked_again, 1, false) over step as is_success,
        row_number() over step as position
    from attempts
    where (task_id, step_name, step_index) in (
        select task_id, step_name, step_index from attempts where attempt_number > 1
    )
    window step as (partition by task_id, step_name, step_index order by started_at)
)

select
    attempt,
    is_success,
    position,
    max(if(is_success, position, 0)) over (partition by task_id, step_name, step_index) as success_position
from judged;

-- the own servers: one row per call and hour in which it was in flight, in microseconds
create table pieces engine = Memory as
with
    toUnixTimestamp64Micro(started_at) as first,
    toUnixTimestamp64Micro(ended_at) as last,
    3600000000 as hour

select
    attempt,
    replica_id,
    arrayJoin(range(intDiv(first, hour), intDiv(last - 1, hour) + 1)) as hour_number,
    greatest(first, hour_number * hour) as from_microsecond,
    least(last, (hour_number + 1) * hour) as to_microsecond
from attempts
where replica_id != '';

-- each instant is shared evenly among the calls in flight: a call has the integral over its time
create table shares engine = Memory as
with events as (
    select
        attempt,
        replica_id,
        hour_number,
        (arrayJoin([(from_microsecond, 1), (to_microsecond, -1)]) as event).1 as moment,
        event.2 as side
    from pieces
),

counted as (
    select
        *,
        sum(side) over lane as in_flight,
        lead(moment, 1, moment) over (
            partition by replica_id, hour_number
            order by moment, attempt, side
        ) - moment as length
    from events
    window lane as (
        partition by replica_id, hour_number
        order by moment, attempt, side
        rows between unbounded preceding and current row
    )
),

integrated as (
    select
        *,
        sum(if(in_flight > 0, length / in_flight, 0)) over (
            partition by replica_id, hour_number
            order by moment, attempt, side
            rows between unbounded preceding and 1 preceding
        ) as share
    from counted
)

select
    attempt,
    hour_number,
    any(replica_id) as replica_id,
    -sum(side * share) as share,
    sumIf(length, in_flight > 0) as busy
from integrated
group by attempt, hour_number;

create table replicas engine = Memory as
select distinct
    replica as replica_id,
    machine as resource_id
from file('{landing}/windows/*.csv', 'CSVWithNames', 'replica String, machine String');

-- one row per GPU and hour: billed time is active, loaded idle, unallocated, else unknown, and money goes with time
create table gpu_hours engine = Memory as
with sampled as (
    select
        gpu as gpu_uuid,
        intDiv(toUnixTimestamp(sampled_at), 3600) as hour_number,
        60.0 * count() as seconds,
        60.0 * sum(gr_engine_active) as active,
        60.0 * sumIf(1 - gr_engine_active, pod != '') as loaded_idle,
        60.0 * sumIf(1 - gr_engine_active, pod = '') as unallocated
    from file(
        '{landing}/telemetry/*.csv',
        'CSVWithNames',
        $$gpu String, sampled_at DateTime('UTC'), gr_engine_active Float64, pod String$$
    )
    group by gpu_uuid, hour_number
),

machine_hours as (
    select
        "ResourceId" as resource_id,
        intDiv(toUnixTimestamp("ChargePeriodStart"), 3600) as hour_number,
        "RegionId" as region,
        if("PricingCategory" = 'Dynamic', 'spot', 'on_demand') as purchase_mode,
        JSONExtractString("Tags", 'team') as team,
        3600 * assumeNotNull("ConsumedQuantity") as room,
        "EffectiveCost" / 8 as cost_usd
    from file('{landing}/bill/*/*.csv', 'CSVWithNames', $$
        ResourceId String, ChargePeriodStart DateTime('UTC'), RegionId String, PricingCategory String, Tags String,
        ConsumedQuantity Nullable(Float64), EffectiveCost Float64, ChargeCategory String
    $$)
    where "ChargeCategory" = 'Usage'
),

gpus as (
    select * from file('{landing}/links/*.csv', 'CSVWithNames', 'gpu_uuid String, resource_id String')
),

lanes as (
    select
        replicas.resource_id as resource_id,
        shares.hour_number as hour_number,
        sum(shares.busy) / 1e6 as busy
    from shares
    inner join replicas on shares.replica_id = replicas.replica_id
    group by resource_id, hour_number
),

seen as (
    select
        machine_hours.resource_id as resource_id,
        machine_hours.hour_number as hour_number,
        machine_hours.region as region,
        machine_hours.purchase_mode as purchase_mode,
        machine_hours.team as team,
        machine_hours.room as room,
        machine_hours.cost_usd as cost_usd,
        gpus.gpu_uuid as gpu_uuid,
        ifNull(lanes.busy, 0) as busy,
        ifNull(sampled.seconds, 0) as sampled,
        greatest(ifNull(sampled.active, 0), busy) as seen_active,
        greatest(seen_active, ifNull(sampled.active + sampled.loaded_idle, 0)) as seen_loaded,
        ifNull(sampled.unallocated, 0) as seen_unallocated
    from machine_hours
    inner join gpus on machine_hours.resource_id = gpus.resource_id
    left join sampled on gpus.gpu_uuid = sampled.gpu_uuid and machine_hours.hour_number = sampled.hour_number
    left join lanes on machine_hours.resource_id = lanes.resource_id and machine_hours.hour_number = lanes.hour_number
)

select
    *,
    toDateTime64(hour_number * 3600, 6, 'UTC') as hour_at,
    toDate(hour_at) as usage_date,
    least(seen_active, room) as active_seconds,
    least(seen_loaded, room) - active_seconds as loaded_idle_seconds,
    least(seen_loaded + seen_unallocated, room) - least(seen_loaded, room) as unallocated_seconds,
    room - least(seen_loaded + seen_unallocated, room) as unknown_seconds,
    cost_usd / room * active_seconds as active_usd,
    cost_usd / room * loaded_idle_seconds as loaded_idle_usd,
    cost_usd / room * unallocated_seconds as unallocated_usd,
    cost_usd / room * unknown_seconds as unknown_usd,
    loaded_idle_usd + unallocated_usd as idle_usd,
    if(busy > 0, active_usd * busy / seen_active, 0) as called_usd
from seen;

-- own calls: their share of the called dollars of their hours, and of the idle dollars of those GPUs' days
create table own_costs engine = Memory as
with days as (
    select
        resource_id,
        hour_number,
        called_usd,
        sum(called_usd) over gpu_day as day_called,
        if(day_called > 0, called_usd * sum(idle_usd) over gpu_day / day_called, 0) as carried_usd
    from gpu_hours
    window gpu_day as (partition by gpu_uuid, usage_date)
),

called as (
    select
        resource_id,
        hour_number,
        sum(called_usd) as usd,
        sum(carried_usd) as carried_usd
    from days
    group by resource_id, hour_number
),

-- dollars a microsecond of share
lanes as (
    select
        shares.replica_id as replica_id,
        shares.hour_number as hour_number,
        any(called.usd) / sum(shares.share) as rate,
        any(called.usd + called.carried_usd) / sum(shares.share) as loaded_rate
    from shares
    inner join replicas on shares.replica_id = replicas.replica_id
    inner join called on replicas.resource_id = called.resource_id and shares.hour_number = called.hour_number
    group by replica_id, hour_number
)

select
    shares.attempt as attempt,
    sum(shares.share * lanes.rate) as cost_usd,
    sum(shares.share * lanes.loaded_rate) as fully_loaded_cost_usd
from shares
inner join lanes on shares.replica_id = lanes.replica_id and shares.hour_number = lanes.hour_number
group by attempt;

create table costed engine = MergeTree order by tuple() as
select
    attempts.task_id as task_id,
    attempts.has_task as has_task,
    attempts.task_type as task_type,
    attempts.team as team,
    attempts.started_at as started_at,
    toDate(attempts.started_at) as usage_date,
    attempts.model as model,
    attempts.quoted_usd as quoted_usd,
    ifNull(attempts.metered_usd, own_costs.cost_usd) as cost_usd,
    ifNull(attempts.metered_usd, own_costs.fully_loaded_cost_usd) as fully_loaded_cost_usd,
    ifNull(retried.is_success, attempts.is_success) as is_successful,
    multiIf(
        not is_successful and ifNull(retried.success_position, 0) > 0, 'recovered',
        not is_successful, 'failed',
        ifNull(retried.position < retried.success_position, false), 'superseded',
        'final_success'
    ) as role
from attempts
left join own_costs on attempts.attempt = own_costs.attempt
left join retried on attempts.attempt = retried.attempt;

create table outcomes engine = Memory as
select * from file('{landing}/outcomes/*.jsonl', 'JSONEachRow', 'task_id String, outcome LowCardinality(String)');

insert into function file('{out}/cost_per_task_daily.parquet', 'Parquet')
with tasks as (
    select
        task_id,
        any(has_task) as has_task,
        any(team) as team,
        any(task_type) as task_type,
        min(usage_date) as started_date,
        sum(cost_usd) as cost,
        sum(fully_loaded_cost_usd) as fully_loaded_cost,
        sumIf(cost_usd, role in ('recovered', 'failed')) as failed_attempt_cost,
        count(cost_usd) = count() as is_fully_priced,
        argMinIf(quoted_usd, started_at, is_successful and quoted_usd is not null) as headline
    from costed
    group by task_id
),

judged as (
    select
        tasks.*,
        ifNull(outcomes.outcome, 'unknown') as outcome,
        if(has_task and is_fully_priced, cost, null) as ranked
    from tasks
    any left join outcomes on tasks.task_id = outcomes.task_id
),

days as (
    select
        started_date,
        team,
        task_type,
        count() as tasks,
        countIf(outcome = 'success') as successful_tasks,
        countIf(outcome = 'failure') as failed_tasks,
        countIf(outcome = 'escalated') as escalated_tasks,
        countIf(outcome = 'unknown') as unknown_outcome_tasks,
        countIf(is_fully_priced) as fully_priced_tasks,
        sum(cost) as cost_usd,
        sum(fully_loaded_cost) as fully_loaded_cost_usd,
        sumIf(cost, is_fully_priced) as fully_priced_cost_usd,
        sumIf(fully_loaded_cost, is_fully_priced) as fully_priced_loaded_cost_usd,
        ifNull(sumIf(cost, outcome != 'unknown'), 0) as known_outcome_cost_usd,
        ifNull(sum(failed_attempt_cost), 0) as failed_attempt_cost_usd,
        sumIf(headline, is_fully_priced) as headline_cost_usd,
        sumIf(cost, is_fully_priced and headline is not null) as headline_task_cost_usd,
        quantilesExactInclusive(0.5, 0.9, 0.99)(ranked) as percentiles,
        count(ranked) > 0 as is_ranked
    from judged
    group by started_date, team, task_type
)

select
    * except (percentiles, is_ranked, fully_priced_loaded_cost_usd),
    fully_priced_cost_usd / nullIf(fully_priced_tasks, 0) as cost_per_task_usd,
    known_outcome_cost_usd / nullIf(successful_tasks, 0) as cost_per_successful_task_usd,
    fully_priced_loaded_cost_usd / nullIf(fully_priced_tasks, 0) as fully_loaded_cost_per_task_usd,
    if(is_ranked, percentiles[1], null) as p50_task_cost_usd,
    if(is_ranked, percentiles[2], null) as p90_task_cost_usd,
    if(is_ranked, percentiles[3], null) as p99_task_cost_usd,
    headline_task_cost_usd / nullIf(headline_cost_usd, 0) as cost_multiple
from days;

insert into function file('{out}/retry_overhead_daily.parquet', 'Parquet')
with unresolved as (
    -- only what failed for good asks for the outcome
    select task_id
    from costed
    where role = 'failed' and task_id not in (select task_id from outcomes where outcome != 'unknown')
),

days as (
    select
        usage_date,
        team,
        task_type,
        model,
        count() as attempts,
        countIf(role in ('recovered', 'failed')) as failed_attempts,
        ifNull(sumIf(cost_usd, role in ('recovered', 'failed')), 0) as failed_cost_usd,
        ifNull(sumIf(cost_usd, role = 'recovered'), 0) as recovered_cost_usd,
        ifNull(sumIf(cost_usd, role = 'failed' and task_id not in unresolved), 0) as abandoned_cost_usd,
        ifNull(sumIf(cost_usd, role = 'failed' and task_id in unresolved), 0) as unresolved_cost_usd,
        ifNull(sumIf(cost_usd, role = 'superseded'), 0) as superseded_cost_usd,
        ifNull(sumIf(cost_usd, role = 'final_success'), 0) as final_success_cost_usd,
        sum(cost_usd) as total_cost_usd
    from costed
    group by usage_date, team, task_type, model
)

select
    *,
    failed_cost_usd / nullIf(final_success_cost_usd, 0) as overhead_ratio,
    total_cost_usd / nullIf(final_success_cost_usd, 0) as amplification_ratio
from days;

insert into function file('{out}/gpu_utilisation_hourly.parquet', 'Parquet')
select
    resource_id,
    hour_at,
    count() as gpu_count,
    sum(room) as billed_seconds,
    sum(gpu_hours.active_seconds) as active_seconds,
    sum(gpu_hours.loaded_idle_seconds) as loaded_idle_seconds,
    sum(gpu_hours.unallocated_seconds) as unallocated_seconds,
    sum(gpu_hours.unknown_seconds) as unknown_seconds,
    sum(cost_usd) as effective_cost_usd,
    sum(gpu_hours.active_usd) as active_usd,
    sum(gpu_hours.idle_usd) as idle_usd,
    active_seconds / nullIf(billed_seconds - unknown_seconds, 0) as utilisation_ratio,
    sum(least(sampled, room)) / billed_seconds as sample_coverage_ratio
from gpu_hours
group by resource_id, hour_at;

insert into function file('{out}/idle_dollars_daily.parquet', 'Parquet')
select
    usage_date,
    team,
    region,
    'H100-SXM-80GB' as gpu_model,
    purchase_mode,
    sum(room) as billed_seconds,
    sum(gpu_hours.active_seconds) as active_seconds,
    sum(gpu_hours.loaded_idle_seconds) as loaded_idle_seconds,
    sum(gpu_hours.unallocated_seconds) as unallocated_seconds,
    sum(gpu_hours.unknown_seconds) as unknown_seconds,
    sum(cost_usd) as effective_cost_usd,
    sum(gpu_hours.active_usd) as active_usd,
    sum(gpu_hours.active_usd - gpu_hours.called_usd) as active_without_calls_usd,
    sum(gpu_hours.loaded_idle_usd) as loaded_idle_usd,
    sum(gpu_hours.unallocated_usd) as unallocated_usd,
    sum(gpu_hours.unknown_usd) as unknown_usd,
    sum(gpu_hours.idle_usd) as idle_usd,
    idle_usd / effective_cost_usd as idle_ratio
from gpu_hours
group by usage_date, team, region, purchase_mode;
