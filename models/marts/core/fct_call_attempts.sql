{{ config(
    materialized='incremental', incremental_strategy='replace_dates',
    meta={'date_column': 'usage_date', 'takes_date_slices': true}
) }}

with attempts as (
    select * from {{ ref('int_call_attempts') }}
    where {{ in_touched_dates('usage_date') }}
),

steps as (
    select * from {{ ref('int_attempt_steps') }}
    where {{ in_touched_dates('usage_date') }}
),

labels as (
    select * from {{ ref('int_task_labels') }}
),

aliases as (
    select * from {{ ref('stg_company_aliases') }}
),

error_causes as (
    select * from {{ ref('error_causes') }}
),

failure_causes as (
    select * from {{ ref('failure_causes') }}
),

fx_rates as (
    select * from {{ ref('dim_fx_rates') }}
),

-- the touched dates and the next ones: a call may be in flight over midnight
allocations as (
    select * from {{ ref('int_call_allocations') }}
    where {{ near_touched_dates('usage_date', 1) }}
),

-- the grain changes: one row per call, its hours and lanes together
allocated as (
    select
        source,
        call_id,
        attempt_number,
        call_date,
        min(allocation_grain) as allocation_grain,
        -- a call costs what it can be weighed for, as elsewhere those beside it have all; without a rate it has no cost
        case when count(case when not is_unweighed then 1 end) = count(cost_usd) then sum(cost_usd) end as cost_usd,
        sum(coalesce(idle_share_usd, 0)) as idle_share_usd,
        case when count(case when not is_unweighed then 1 end) = count(energy_kwh) then sum(energy_kwh) end
            as energy_kwh,
        bool_and(is_unweighed) as is_unweighed,
        bool_or(is_provisional) as is_provisional
    from allocations
    group by source, call_id, attempt_number, call_date
),

-- one row per attempt: its step, what its task says where it does not, and its share of a GPU bill
labelled as (
    select
        attempts.*,
        coalesce(attempts.team, labels.team) as told_team,
        coalesce(attempts.task_type, labels.task_type) as told_task_type,
        coalesce(attempts.application, labels.application) as told_application,
        coalesce(attempts.customer, labels.customer) as told_customer,
        coalesce(attempts.environment, labels.environment) as told_environment,
        coalesce(labels.outcome, 'unknown') as task_outcome,
        coalesce(steps.status, attempts.status) as final_status,
        steps.failure_text,
        steps.step_key,
        steps.step_attempt_number,
        steps.first_input_tokens,
        steps.neighbour_input_tokens,
        coalesce(steps.is_final_attempt, false) as is_final_attempt,
        case
            when steps.step_role is null or steps.step_role != 'failed' then steps.step_role
            when steps.is_step_successful then 'recovered'
            when coalesce(labels.outcome, 'unknown') != 'unknown' then 'abandoned'
            else 'unresolved'
        end as attempt_role,
        coalesce(attempts.unpriced_reason = 'awaiting_allocation', false) as is_self_hosted,
        allocated.allocation_grain,
        coalesce(allocated.is_unweighed, false) as is_unweighed,
        coalesce(allocated.is_provisional, false) as is_provisional,
        -- metered by the price list, or allocated of a GPU bill; a call of a sampled log carries its own share only
        coalesce(
            attempts.cost_usd, {{ unweigh_money('allocated.cost_usd', 'attempts.sample_weight') }}
        ) as known_cost_usd,
        coalesce(
            attempts.cost_usd,
            {{ unweigh_money('allocated.cost_usd + allocated.idle_share_usd', 'attempts.sample_weight') }}
        ) as fully_loaded_cost_usd,
        {{ unweigh_money('allocated.energy_kwh', 'attempts.sample_weight') }} as energy_kwh
    from attempts
    -- the same call in another source has no step of its own
    left join steps
        on
            attempts.source = steps.source
            and attempts.call_id = steps.call_id
            and attempts.attempt_number = steps.attempt_number
            and attempts.usage_date = steps.usage_date
    left join labels on attempts.task_id = labels.task_id
    left join allocated
        on
            attempts.unpriced_reason = 'awaiting_allocation'
            and attempts.source = allocated.source
            and attempts.call_id = allocated.call_id
            and attempts.attempt_number = allocated.attempt_number
            and attempts.usage_date = allocated.call_date
),

-- one row per distinct error text: each is compared with every pattern once
failure_texts as (
    select distinct
        failure_text,
        lower(failure_text) as error_text
    from {{ ref('int_attempt_steps') }}
    where failure_text is not null and {{ in_touched_dates('usage_date') }}
),

ranked_causes as (
    select
        failure_texts.failure_text,
        error_causes.cause,
        row_number() over (
            partition by failure_texts.failure_text
            order by error_causes.priority, error_causes.pattern
        ) as cause_rank
    from failure_texts
    inner join error_causes
        on
            (error_causes.match_kind = 'exact' and failure_texts.error_text = error_causes.pattern)
            or (error_causes.match_kind = 'contains' and contains(failure_texts.error_text, error_causes.pattern))
),

causes as (
    select
        failure_text,
        cause
    from ranked_causes
    where cause_rank = 1
)

select
    labelled.source,
    labelled.call_id,
    labelled.attempt_number,
    labelled.is_attempt_told,
    labelled.usage_date,
    labelled.task_id,
    labelled.task_id_origin,
    coalesce(task_type_aliases.name, labelled.told_task_type, '__untagged__') as task_type,
    coalesce(team_aliases.name, labelled.told_team, '__untagged__') as team,
    labelled.told_application as application,
    labelled.told_customer as customer,
    labelled.told_environment as environment,
    labelled.parent_call_id,
    labelled.response_id,
    labelled.trace_id,
    labelled.span_id,
    labelled.step_name,
    labelled.step_index,
    labelled.step_key,
    labelled.step_attempt_number,
    labelled.call_kind,
    labelled.workload_kind,
    labelled.started_at,
    labelled.first_token_at,
    labelled.ended_at,
    labelled.provider,
    labelled.model,
    labelled.logged_model,
    labelled.model_match,
    labelled.service_tier,
    labelled.region,
    labelled.deployment_id,
    labelled.api_base,
    labelled.replica_id,
    labelled.prompt_version,
    labelled.release,
    labelled.experiment,
    labelled.final_status as status,
    labelled.status as logged_status,
    labelled.error_type,
    case
        when labelled.attempt_role in ('recovered', 'abandoned', 'unresolved')
            then coalesce(causes.cause, 'unknown')
    end as failure_cause,
    labelled.attempt_role,
    labelled.is_final_attempt,
    labelled.task_outcome,
    labelled.sample_weight,
    labelled.input_tokens,
    labelled.cache_read_tokens,
    labelled.cache_write_5m_tokens,
    labelled.cache_write_1h_tokens,
    labelled.output_tokens,
    labelled.reasoning_tokens,
    labelled.audio_input_tokens,
    labelled.audio_output_tokens,
    labelled.image_input_tokens,
    labelled.image_output_tokens,
    labelled.image_count,
    labelled.web_search_count,
    labelled.tool_call_count,
    labelled.tool_name,
    labelled.unmapped_usage,
    labelled.prefix_tokens,
    labelled.context_tokens,
    labelled.prompt_hash,
    labelled.prefix_hash,
    labelled.temperature,
    labelled.router_confidence,
    labelled.response_cache_hit,
    labelled.known_cost_usd as cost_usd,
    labelled.fresh_input_cost_usd,
    labelled.cache_read_cost_usd,
    labelled.cache_write_cost_usd,
    labelled.output_cost_usd,
    labelled.reasoning_cost_usd,
    labelled.per_call_cost_usd,
    case
        when labelled.is_self_hosted and labelled.known_cost_usd is not null then 'allocated'
        else labelled.cost_basis
    end as cost_basis,
    labelled.allocation_grain,
    labelled.duplicate_of_source,
    case
        when not labelled.is_self_hosted then labelled.unpriced_reason
        when labelled.pool_id is null then 'no_gpu_for_call'
        when labelled.known_cost_usd is null and labelled.is_unweighed then 'weight_missing'
        when labelled.known_cost_usd is null and labelled.allocation_grain is not null then 'no_exchange_rate'
        when labelled.known_cost_usd is null then 'gpu_not_billed'
    end as unpriced_reason,
    labelled.is_price_estimated,
    labelled.list_cost_usd,
    labelled.discount_ratio,
    labelled.fresh_input_price_usd,
    case
        when labelled.step_attempt_number > 1
            then cast(labelled.input_tokens - labelled.first_input_tokens as decimal(18, 0))
    end as context_growth_tokens,
    case
        when
            labelled.attempt_role in ('recovered', 'abandoned', 'unresolved') and coalesce(labelled.input_tokens, 0) = 0
            and failure_causes.bills_input
            then labelled.neighbour_input_tokens
    end as estimated_input_tokens,
    case
        when
            labelled.attempt_role in ('recovered', 'abandoned', 'unresolved') and coalesce(labelled.input_tokens, 0) = 0
            and failure_causes.bills_input
            then {{ multiply_money('labelled.neighbour_input_tokens', 'labelled.fresh_input_price_usd') }}
    end as estimated_input_cost_usd,
    labelled.fully_loaded_cost_usd,
    labelled.energy_kwh,
    case when not labelled.is_self_hosted then labelled.quoted_cost_usd end as quoted_cost_usd,
    labelled.reported_cost,
    labelled.reported_currency,
    case
        when coalesce(labelled.reported_currency, 'USD') = 'USD' then labelled.reported_cost
        else {{ convert_money('labelled.reported_cost', 'fx_rates.usd_per_unit') }}
    end as reported_cost_usd,
    labelled.is_provisional,
    labelled.batch_id
from labelled
left join causes on labelled.failure_text = causes.failure_text
left join failure_causes on coalesce(causes.cause, 'unknown') = failure_causes.cause
left join aliases as team_aliases
    on
        team_aliases.kind = 'team'
        and labelled.told_team = team_aliases.alias
        and labelled.usage_date >= team_aliases.valid_from
        and labelled.usage_date < team_aliases.valid_to
left join aliases as task_type_aliases
    on
        task_type_aliases.kind = 'task_type'
        and labelled.told_task_type = task_type_aliases.alias
        and labelled.usage_date >= task_type_aliases.valid_from
        and labelled.usage_date < task_type_aliases.valid_to
left join fx_rates
    on
        labelled.reported_currency = fx_rates.currency
        and labelled.usage_date = fx_rates.rate_day
