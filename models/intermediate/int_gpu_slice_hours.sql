{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

-- the touched dates and the day before each: a sample may last over midnight
with samples as (
    select * from {{ ref('stg_gpu_samples') }}
),

power_samples as (
    select
        card_uuid,
        sampled_at,
        usage_date,
        power_watts
    from {{ ref('stg_gpu_samples') }}
),

hosts as (
    select * from {{ ref('stg_gpu_sample_hosts') }}
),

links as (
    select * from {{ ref('int_gpu_sample_links') }}
),

window_hours as (
    select * from {{ ref('int_replica_window_hours') }}
),

windows as (
    select * from {{ ref('int_replica_windows') }}
),

-- whether a telemetry source tells on a day who holds its GPUs
labelled_days as (
    select
        source,
        usage_date,
        bool_or(has_labels) as has_labels
    from hosts
    group by source, usage_date
),

-- a sample stands for the interval that begins with it, but not beyond the next sample of the same GPU, nor for
-- more than a day
timed as (
    select
        samples.*,
        least(
            {{ add_microseconds('samples.sampled_at', 'least(samples.interval_seconds, 86400) * 1000000') }},
            lead(samples.sampled_at) over (partition by samples.gpu_uuid order by samples.sampled_at)
        ) as ends_at,
        coalesce(samples.gr_engine_active, samples.gpu_util) as activity,
        samples.pod is not null or samples.namespace is not null as is_held_by_pod,
        coalesce(labelled_days.has_labels, false) as has_labels
    from samples
    left join labelled_days
        on samples.source = labelled_days.source and samples.usage_date = labelled_days.usage_date
),

-- from when on replica windows tell who holds a GPU or a resource
named_gpus as (
    select
        split_part(gpu_uuid, '/', 1) as card_uuid,
        min(cast(loaded_at as date)) as first_named_date
    from windows
    where gpu_uuid is not null
    group by split_part(gpu_uuid, '/', 1)
),

named_resources as (
    select
        resource_id,
        min(cast(loaded_at as date)) as first_named_date
    from windows
    where gpu_uuid is null and resource_id is not null
    group by resource_id
),

sliced_cards as (
    select distinct
        card_uuid,
        usage_date
    from hosts
    where has_slices
),

-- each slice repeats the power of its card, or only the card's own series has it
card_powers as (
    select
        power_samples.card_uuid,
        power_samples.sampled_at,
        max(power_samples.power_watts) as power_watts
    from power_samples
    inner join sliced_cards
        on power_samples.card_uuid = sliced_cards.card_uuid and power_samples.usage_date = sliced_cards.usage_date
    group by power_samples.card_uuid, power_samples.sampled_at
),

placed as (
    select
        timed.*,
        coalesce(timed.power_watts, card_powers.power_watts) as card_watts,
        links.resource_id,
        (
            timed.has_labels
            or coalesce(timed.usage_date >= named_gpus.first_named_date, false)
            or coalesce(timed.usage_date >= named_resources.first_named_date, false)
        ) as is_ownership_known
    from timed
    left join card_powers
        on
            timed.card_uuid = card_powers.card_uuid
            and timed.sampled_at = card_powers.sampled_at
    left join links
        on
            timed.card_uuid = links.card_uuid
            and timed.hostname is not distinct from links.hostname
            and timed.usage_date = links.usage_date
            and timed.sampled_at >= links.valid_from
            and timed.sampled_at < links.valid_to
    left join named_gpus on timed.card_uuid = named_gpus.card_uuid
    left join named_resources on links.resource_id = named_resources.resource_id
),

-- only a sample that no pod holds is looked up in the replica windows; a span of them holds a moment at most once
held as (
    select
        placed.*,
        (
            placed.is_held_by_pod
            or gpu_windows.held_id is not null
            or resource_windows.held_id is not null
            or not placed.is_ownership_known
        ) as is_held
    from placed
    left join window_hours as gpu_windows
        on
            not placed.is_held_by_pod
            and gpu_windows.held_kind = 'gpu'
            and placed.card_uuid = gpu_windows.held_id
            and date_trunc('hour', placed.sampled_at) = gpu_windows.hour_at
            and placed.sampled_at >= gpu_windows.held_from
            and placed.sampled_at < gpu_windows.held_to
    left join window_hours as resource_windows
        on
            not placed.is_held_by_pod
            and resource_windows.held_kind = 'whole_resource'
            and placed.resource_id = resource_windows.held_id
            and date_trunc('hour', placed.sampled_at) = resource_windows.hour_at
            and placed.sampled_at >= resource_windows.held_from
            and placed.sampled_at < resource_windows.held_to
),

-- the grain changes: from one row per sample to one row per sample and hour that it reaches into
exploded as (
    select
        *,
        {{ explode_hours('sampled_at', 'ends_at') }} as hour_at
    from held
),

measured as (
    select
        *,
        {{ microseconds_between(
            'greatest(sampled_at, hour_at)', "least(ends_at, hour_at + interval '1' hour)"
        ) }} as present
    from exploded
),

-- whole microseconds: sums of doubles would depend on the order of the rows
weighted as (
    select
        *,
        cast(round(activity * present) as bigint) as active,
        cast(round(sm_active * present) as bigint) as sm_busy,
        cast(round(tensor_active * present) as bigint) as tensor_busy,
        cast(round(dram_active * present) as bigint) as dram_busy,
        -- whole microwatt-hours; the energy of a sample is active as far as its time is
        cast(round(card_watts * present / 3600) as bigint) as energy,
        cast(round(card_watts * activity * present / 3600) as bigint) as active_energy
    from measured
),

-- a sample without a signal of activity tells that the GPU is there, not what it does: it adds to `present` alone
parted as (
    select
        *,
        case when is_held then present - active end as loaded_idle,
        case when not is_held then present - active end as unallocated,
        case when gr_engine_active is not null then present end as engine,
        case when sm_active is not null then present end as sm_sampled,
        case when tensor_active is not null then present end as tensor_sampled,
        case when dram_active is not null then present end as dram_sampled,
        case when card_watts is not null then present end as power_sampled
    from weighted
    where {{ in_touched_dates('cast(hour_at as date)') }}
)

-- the grain changes: one row per GPU (or slice of one), resource, hour and namespace
select
    cast(hour_at as date) as usage_date,
    hour_at,
    card_uuid,
    gpu_uuid,
    resource_id,
    namespace,
    min(hostname) as hostname,
    max(gpu_model) as gpu_model,
    max(mig_profile) as mig_profile,
    max(fb_used_bytes) as fb_used_bytes,
    cast(sum(present) as bigint) as present_microseconds,
    cast(coalesce(sum(active), 0) as bigint) as active_microseconds,
    cast(coalesce(sum(loaded_idle), 0) as bigint) as loaded_idle_microseconds,
    cast(coalesce(sum(unallocated), 0) as bigint) as unallocated_microseconds,
    cast(coalesce(sum(engine), 0) as bigint) as engine_microseconds,
    cast(coalesce(sum(sm_busy), 0) as bigint) as sm_active_microseconds,
    cast(coalesce(sum(sm_sampled), 0) as bigint) as sm_sampled_microseconds,
    cast(coalesce(sum(tensor_busy), 0) as bigint) as tensor_active_microseconds,
    cast(coalesce(sum(tensor_sampled), 0) as bigint) as tensor_sampled_microseconds,
    cast(coalesce(sum(dram_busy), 0) as bigint) as dram_active_microseconds,
    cast(coalesce(sum(dram_sampled), 0) as bigint) as dram_sampled_microseconds,
    cast(coalesce(sum(power_sampled), 0) as bigint) as power_sampled_microseconds,
    cast(sum(energy) as bigint) as energy_microwatt_hours,
    case when sum(energy) is not null then cast(coalesce(sum(active_energy), 0) as bigint) end
        as active_energy_microwatt_hours
from parted
group by hour_at, card_uuid, gpu_uuid, resource_id, namespace
