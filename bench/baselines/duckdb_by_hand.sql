-- The four marts as a good analyst writes them for one company: floating point, a short list of prices, no row twice,
-- no late bill, no dated name. Reads the views that duckdb_by_hand.py makes: calls, outcomes, machine_hours, gpus,
-- samples and windows. The marts have the names and columns of pertask's.

-- one row per attempt; a call without a task is one of its own, as a session would be
create temp table attempts as
with prices (model, input_usd, cached_usd, written_usd, output_usd) as (
    values
    ('gpt-5-mini', 0.25e-6, 0.025e-6, 0, 2e-6),
    ('gpt-4.1-mini', 0.4e-6, 0.1e-6, 0, 1.6e-6),
    ('gpt-4o-mini', 0.15e-6, 0.075e-6, 0, 0.6e-6),
    ('gpt-4.1', 2e-6, 0.5e-6, 0, 8e-6),
    ('claude-haiku-4-5', 1e-6, 0.1e-6, 1.25e-6, 5e-6),
    ('claude-opus-4-5', 5e-6, 0.5e-6, 6.25e-6, 25e-6)
)

select
    row_number() over () as attempt,
    coalesce(calls.task_id, calls.request_id) as task_id,
    calls.task_id is not null as has_task,
    coalesce(calls.task_type, '__untagged__') as task_type,
    coalesce(calls.team, '__untagged__') as team,
    calls.step_name,
    calls.step_index,
    calls.started_at,
    calls.ended_at,
    calls.model,
    calls.replica_id,
    calls.is_success,
    calls.attempt_number,
    calls.retry_reason,
    (calls.input_tokens - calls.cached_tokens - calls.written_tokens) * prices.input_usd
    + calls.cached_tokens * prices.cached_usd + calls.written_tokens * prices.written_usd
    + calls.output_tokens * prices.output_usd as metered_usd,
    calls.input_tokens * prices.input_usd + calls.output_tokens * prices.output_usd as quoted_usd
from calls
left join prices on calls.model = prices.model;

-- what became of each attempt of a step that was tried again; all others are what their status says
create temp table retried as
with steps as (
    select distinct
        task_id,
        step_name,
        step_index
    from attempts
    where attempt_number > 1
),

judged as (
    select
        attempts.attempt,
        attempts.is_success and lead(attempts.retry_reason) over step is null as is_success,
        row_number() over step as position,
        attempts.task_id,
        attempts.step_name,
        attempts.step_index
    from attempts
    semi join steps using (task_id, step_name, step_index)
    window step as (
        partition by attempts.task_id, attempts.step_name, attempts.step_index order by attempts.started_at
    )
)

select
    attempt,
    is_success,
    max(position) filter (is_success) over step as success_position,
    position
from judged
window step as (partition by task_id, step_name, step_index);

-- the own servers: one row per call and hour in which it was in flight
create temp table pieces as
select
    attempt,
    replica_id,
    hour_at,
    epoch_us(greatest(started_at, hour_at)) as from_microsecond,
    epoch_us(least(ended_at, hour_at + interval 1 hour)) as to_microsecond
from (
    select
        *,
        unnest(range(date_trunc('hour', started_at), ended_at, interval 1 hour)) as hour_at
    from attempts
    where replica_id is not null
);

-- each instant is shared evenly among the calls in flight: a call has the integral over its time
create temp table shares as
with events as (
    select
        replica_id,
        hour_at,
        attempt,
        from_microsecond as moment,
        1 as side
    from pieces
    union all
    select
        replica_id,
        hour_at,
        attempt,
        to_microsecond as moment,
        -1 as side
    from pieces
),

counted as (
    select
        *,
        sum(side) over lane as in_flight,
        lead(moment) over lane - moment as length
    from events
    window lane as (partition by replica_id, hour_at order by moment, attempt, side)
),

integrated as (
    select
        *,
        sum(case when in_flight > 0 then length / in_flight end) over (
            partition by replica_id, hour_at
            order by moment, attempt, side
            rows between unbounded preceding and 1 preceding
        ) as share
    from counted
)

select
    attempt,
    replica_id,
    hour_at,
    -sum(side * coalesce(share, 0)) as share,
    -- what of the lane's busy time begins at an event of this call: together they are all of it
    coalesce(sum(length) filter (in_flight > 0), 0) as busy
from integrated
group by attempt, replica_id, hour_at;

-- what samples say of each GPU and hour; a sample stands for its minute
create temp table sampled as
select
    gpu_uuid,
    date_trunc('hour', sampled_at) as hour_at,
    60.0 * count(*) as seconds,
    60.0 * sum(activity) as active,
    60.0 * coalesce(sum(1 - activity) filter (is_held), 0) as loaded_idle,
    60.0 * coalesce(sum(1 - activity) filter (not is_held), 0) as unallocated
from samples
group by gpu_uuid, hour_at;

-- one row per GPU and hour: billed time is active, loaded idle, unallocated, else unknown, and money goes with time
create temp table gpu_hours as
with lanes as (
    select
        windows.resource_id,
        lane_hours.hour_at,
        lane_hours.busy
    from (select
        replica_id,
        hour_at,
        sum(busy) / 1e6 as busy
    from shares
    group by replica_id, hour_at) as lane_hours
    inner join (select distinct
        replica_id,
        resource_id
    from windows) as windows using (replica_id)
),

seen as (
    select
        machine_hours.*,
        gpus.gpu_uuid,
        machine_hours.billed_seconds / machine_hours.gpu_count as room,
        machine_hours.machine_usd / machine_hours.gpu_count as cost_usd,
        coalesce(lanes.busy, 0) as busy,
        coalesce(sampled.seconds, 0) as sampled,
        greatest(coalesce(sampled.active, 0), coalesce(lanes.busy, 0)) as seen_active,
        coalesce(sampled.active + sampled.loaded_idle, 0) as seen_loaded,
        coalesce(sampled.unallocated, 0) as seen_unallocated
    from machine_hours
    inner join gpus using (resource_id)
    left join sampled on gpus.gpu_uuid = sampled.gpu_uuid and machine_hours.hour_at = sampled.hour_at
    left join lanes on machine_hours.resource_id = lanes.resource_id and machine_hours.hour_at = lanes.hour_at
),

ended as (
    select
        *,
        least(seen_active, room) as active_end,
        least(greatest(seen_active, seen_loaded), room) as loaded_end,
        least(greatest(seen_active, seen_loaded) + seen_unallocated, room) as unallocated_end
    from seen
),

timed as (
    select
        *,
        active_end as active_seconds,
        loaded_end - active_end as loaded_idle_seconds,
        unallocated_end - loaded_end as unallocated_seconds,
        room - unallocated_end as unknown_seconds,
        cost_usd / room as rate
    from ended
)

select
    *,
    rate * active_seconds as active_usd,
    rate * loaded_idle_seconds as loaded_idle_usd,
    rate * unallocated_seconds as unallocated_usd,
    rate * unknown_seconds as unknown_usd,
    case when busy > 0 then rate * active_seconds * busy / seen_active else 0 end as called_usd
from timed;

-- own calls: their share of the called dollars of their hours, and of the idle dollars of those GPUs' days
create temp table own_costs as
with day_sums as (
    select
        *,
        called_usd * sum(loaded_idle_usd + unallocated_usd) over gpu_day
        / nullif(sum(called_usd) over gpu_day, 0) as carried_usd
    from gpu_hours
    window gpu_day as (partition by gpu_uuid, cast(hour_at as date))
),

lanes as (
    select
        windows.replica_id,
        day_sums.hour_at,
        sum(day_sums.called_usd) as called_usd,
        coalesce(sum(day_sums.carried_usd), 0) as carried_usd
    from day_sums
    inner join (select distinct
        replica_id,
        resource_id
    from windows) as windows using (resource_id)
    group by windows.replica_id, day_sums.hour_at
),

totals as (
    select
        replica_id,
        hour_at,
        sum(share) as share
    from shares
    group by replica_id, hour_at
)

select
    shares.attempt,
    sum(lanes.called_usd * shares.share / totals.share) as cost_usd,
    sum((lanes.called_usd + lanes.carried_usd) * shares.share / totals.share) as fully_loaded_cost_usd
from shares
inner join totals using (replica_id, hour_at)
inner join lanes using (replica_id, hour_at)
group by shares.attempt;

create temp table costed as
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
    end as attempt_role
from attempts
left join own_costs using (attempt)
left join retried using (attempt);

create temp table cost_per_task_daily as
with tasks as (
    select
        costed.task_id,
        any_value(costed.has_task) as has_task,
        any_value(costed.team) as team,
        any_value(costed.task_type) as task_type,
        cast(min(costed.started_at) as date) as started_date,
        sum(costed.cost_usd) as cost_usd,
        sum(costed.fully_loaded_cost_usd) as fully_loaded_cost_usd,
        coalesce(sum(costed.cost_usd) filter (attempt_role in ('recovered', 'failed')), 0) as failed_attempt_cost_usd,
        count(costed.cost_usd) = count(*) as is_fully_priced,
        arg_min(costed.quoted_usd, costed.started_at) filter (costed.is_success) as headline_cost_usd
    from costed
    group by costed.task_id
),

judged as (
    select
        tasks.*,
        coalesce(outcomes.outcome, 'unknown') as outcome,
        case when has_task and is_fully_priced then cost_usd end as ranked_usd
    from tasks
    left join outcomes using (task_id)
),

days as (
    select
        started_date,
        team,
        task_type,
        count(*) as tasks,
        count(*) filter (outcome = 'success') as successful_tasks,
        count(*) filter (outcome = 'failure') as failed_tasks,
        count(*) filter (outcome = 'escalated') as escalated_tasks,
        count(*) filter (outcome = 'unknown') as unknown_outcome_tasks,
        count(*) filter (is_fully_priced) as fully_priced_tasks,
        sum(cost_usd) as cost_usd,
        sum(fully_loaded_cost_usd) as fully_loaded_cost_usd,
        coalesce(sum(cost_usd) filter (is_fully_priced), 0) as fully_priced_cost_usd,
        sum(fully_loaded_cost_usd) filter (is_fully_priced) as fully_priced_loaded_cost_usd,
        coalesce(sum(cost_usd) filter (outcome != 'unknown'), 0) as known_outcome_cost_usd,
        sum(failed_attempt_cost_usd) as failed_attempt_cost_usd,
        coalesce(sum(headline_cost_usd) filter (is_fully_priced), 0) as headline_cost_usd,
        coalesce(sum(cost_usd) filter (is_fully_priced and headline_cost_usd is not null), 0) as headline_task_cost_usd,
        quantile_cont(ranked_usd, [0.5, 0.9, 0.99]) as percentiles
    from judged
    group by started_date, team, task_type
)

select
    days.* exclude (fully_priced_loaded_cost_usd, percentiles),
    fully_priced_cost_usd / nullif(fully_priced_tasks, 0) as cost_per_task_usd,
    known_outcome_cost_usd / nullif(successful_tasks, 0) as cost_per_successful_task_usd,
    fully_priced_loaded_cost_usd / nullif(fully_priced_tasks, 0) as fully_loaded_cost_per_task_usd,
    percentiles[1] as p50_task_cost_usd,
    percentiles[2] as p90_task_cost_usd,
    percentiles[3] as p99_task_cost_usd,
    headline_task_cost_usd / nullif(headline_cost_usd, 0) as cost_multiple
from days;

create temp table retry_overhead_daily as
with judged as (
    select
        costed.*,
        case
            when attempt_role != 'failed' then attempt_role
            when coalesce(outcomes.outcome, 'unknown') = 'unknown' then 'unresolved'
            else 'abandoned'
        end as role
    from costed
    -- only what failed for good asks for the outcome
    left join outcomes on case when costed.attempt_role = 'failed' then costed.task_id end = outcomes.task_id
),

days as (
    select
        usage_date,
        team,
        task_type,
        model,
        count(*) as attempts,
        count(*) filter (attempt_role in ('recovered', 'failed')) as failed_attempts,
        coalesce(sum(cost_usd) filter (attempt_role in ('recovered', 'failed')), 0) as failed_cost_usd,
        coalesce(sum(cost_usd) filter (role = 'recovered'), 0) as recovered_cost_usd,
        coalesce(sum(cost_usd) filter (role = 'abandoned'), 0) as abandoned_cost_usd,
        coalesce(sum(cost_usd) filter (role = 'unresolved'), 0) as unresolved_cost_usd,
        coalesce(sum(cost_usd) filter (role = 'superseded'), 0) as superseded_cost_usd,
        coalesce(sum(cost_usd) filter (role = 'final_success'), 0) as final_success_cost_usd,
        sum(cost_usd) as total_cost_usd
    from judged
    group by usage_date, team, task_type, model
)

select
    *,
    failed_cost_usd / nullif(final_success_cost_usd, 0) as overhead_ratio,
    total_cost_usd / nullif(final_success_cost_usd, 0) as amplification_ratio
from days;

create temp table gpu_utilisation_hourly as
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
    sum(loaded_idle_usd + unallocated_usd) as idle_usd,
    sum(active_seconds) / nullif(sum(room - unknown_seconds), 0) as utilisation_ratio,
    sum(least(sampled, room)) / sum(room) as sample_coverage_ratio
from gpu_hours
group by resource_id, hour_at;

create temp table idle_dollars_daily as
select
    cast(hour_at as date) as usage_date,
    team,
    region,
    gpu_model,
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
    sum(loaded_idle_usd + unallocated_usd) as idle_usd,
    sum(loaded_idle_usd + unallocated_usd) / sum(cost_usd) as idle_ratio
from gpu_hours
group by usage_date, team, region, gpu_model, purchase_mode;
