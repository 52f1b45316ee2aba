{{ config(materialized='incremental', incremental_strategy='replace_dates', meta={'date_column': 'usage_date'}) }}

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

-- the label of the task fills what the call does not say
labelled as (
    select
        attempts.source,
        attempts.call_id,
        attempts.attempt_number,
        attempts.usage_date,
        coalesce(attempts.team, labels.team) as team,
        coalesce(attempts.task_type, labels.task_type) as task_type,
        coalesce(attempts.application, labels.application) as application,
        coalesce(attempts.customer, labels.customer) as customer,
        coalesce(attempts.environment, labels.environment) as environment,
        coalesce(labels.outcome, 'unknown') as outcome,
        coalesce(steps.status, attempts.status) as status,
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
        -- why it failed: its own error, unless the gateway logged a success that the next attempt took back
        case
            when steps.step_role = 'failed' and attempts.status = 'success' then steps.rejection_reason
            when steps.step_role = 'failed' then coalesce(attempts.error_type, steps.rejection_reason)
        end as failure_text
    from attempts
    -- the same call in another source has no step of its own
    left join steps
        on
            attempts.source = steps.source
            and attempts.call_id = steps.call_id
            and attempts.attempt_number = steps.attempt_number
            and attempts.usage_date = steps.usage_date
    left join labels on attempts.task_id = labels.task_id
),

-- metered by the price list, or allocated of a GPU bill; a call of a sampled log carries its own share only
costs as (
    select
        attempts.source,
        attempts.call_id,
        attempts.attempt_number,
        attempts.usage_date,
        coalesce(attempts.unpriced_reason = 'awaiting_allocation', false) as is_self_hosted,
        allocated.allocation_grain,
        coalesce(allocated.is_unweighed, false) as is_unweighed,
        coalesce(allocated.is_provisional, false) as is_provisional,
        coalesce(
            attempts.cost_usd, {{ unweigh_money('allocated.cost_usd', 'attempts.sample_weight') }}
        ) as cost_usd,
        coalesce(
            attempts.cost_usd,
            {{ unweigh_money('allocated.cost_usd + allocated.idle_share_usd', 'attempts.sample_weight') }}
        ) as fully_loaded_cost_usd,
        {{ unweigh_money('allocated.energy_kwh', 'attempts.sample_weight') }} as energy_kwh
    from attempts
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
    from labelled
    where failure_text is not null
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
    attempts.source,
    attempts.call_id,
    attempts.attempt_number,
    attempts.is_attempt_told,
    attempts.usage_date,
    attempts.task_id,
    attempts.task_id_origin,
    coalesce(task_type_aliases.name, labelled.task_type, '__untagged__') as task_type,
    coalesce(team_aliases.name, labelled.team, '__untagged__') as team,
    labelled.application,
    labelled.customer,
    labelled.environment,
    attempts.parent_call_id,
    attempts.response_id,
    attempts.trace_id,
    attempts.span_id,
    attempts.step_name,
    attempts.step_index,
    labelled.step_key,
    labelled.step_attempt_number,
    attempts.call_kind,
    attempts.workload_kind,
    attempts.started_at,
    attempts.first_token_at,
    attempts.ended_at,
    attempts.provider,
    attempts.model,
    attempts.logged_model,
    attempts.model_match,
    attempts.service_tier,
    attempts.region,
    attempts.deployment_id,
    attempts.api_base,
    attempts.replica_id,
    attempts.prompt_version,
    attempts.release,
    attempts.experiment,
    labelled.status,
    attempts.status as logged_status,
    attempts.error_type,
    case
        when labelled.attempt_role in ('recovered', 'abandoned', 'unresolved')
            then coalesce(causes.cause, 'unknown')
    end as failure_cause,
    labelled.attempt_role,
    labelled.is_final_attempt,
    labelled.outcome as task_outcome,
    attempts.sample_weight,
    attempts.input_tokens,
    attempts.cache_read_tokens,
    attempts.cache_write_5m_tokens,
    attempts.cache_write_1h_tokens,
    attempts.output_tokens,
    attempts.reasoning_tokens,
    attempts.audio_input_tokens,
    attempts.audio_output_tokens,
    attempts.image_input_tokens,
    attempts.image_output_tokens,
    attempts.image_count,
    attempts.web_search_count,
    attempts.tool_call_count,
    attempts.tool_name,
    attempts.unmapped_usage,
    attempts.prefix_tokens,
    attempts.context_tokens,
    attempts.prompt_hash,
    attempts.prefix_hash,
    attempts.temperature,
    attempts.router_confidence,
    attempts.response_cache_hit,
    costs.cost_usd,
    attempts.fresh_input_cost_usd,
    attempts.cache_read_cost_usd,
    attempts.cache_write_cost_usd,
    attempts.output_cost_usd,
    attempts.reasoning_cost_usd,
    attempts.per_call_cost_usd,
    case
        when costs.is_self_hosted and costs.cost_usd is not null then 'allocated'
        else attempts.cost_basis
    end as cost_basis,
    costs.allocation_grain,
    attempts.duplicate_of_source,
    case
        when not costs.is_self_hosted then attempts.unpriced_reason
        when attempts.pool_id is null then 'no_gpu_for_call'
        when costs.cost_usd is null and costs.is_unweighed then 'weight_missing'
        when costs.cost_usd is null and costs.allocation_grain is not null then 'no_exchange_rate'
        when costs.cost_usd is null then 'gpu_not_billed'
    end as unpriced_reason,
    attempts.is_price_estimated,
    attempts.list_cost_usd,
    attempts.discount_ratio,
    attempts.fresh_input_price_usd,
    case
        when labelled.step_attempt_number > 1
            then cast(attempts.input_tokens - labelled.first_input_tokens as decimal(18, 0))
    end as context_growth_tokens,
    case
        when
            labelled.attempt_role in ('recovered', 'abandoned', 'unresolved') and coalesce(attempts.input_tokens, 0) = 0
            and failure_causes.bills_input
            then labelled.neighbour_input_tokens
    end as estimated_input_tokens,
    case
        when
            labelled.attempt_role in ('recovered', 'abandoned', 'unresolved') and coalesce(attempts.input_tokens, 0) = 0
            and failure_causes.bills_input
            then {{ multiply_money('labelled.neighbour_input_tokens', 'attempts.fresh_input_price_usd') }}
    end as estimated_input_cost_usd,
    costs.fully_loaded_cost_usd,
    costs.energy_kwh,
    case when not costs.is_self_hosted then attempts.quoted_cost_usd end as quoted_cost_usd,
    attempts.reported_cost,
    attempts.reported_currency,
    case
        when coalesce(attempts.reported_currency, 'USD') = 'USD' then attempts.reported_cost
        else {{ convert_money('attempts.reported_cost', 'fx_rates.usd_per_unit') }}
    end as reported_cost_usd,
    costs.is_provisional,
    attempts.batch_id
from attempts
inner join labelled
    on
        attempts.source = labelled.source
        and attempts.call_id = labelled.call_id
        and attempts.attempt_number = labelled.attempt_number
        and attempts.usage_date = labelled.usage_date
inner join costs
    on
        attempts.source = costs.source
        and attempts.call_id = costs.call_id
        and attempts.attempt_number = costs.attempt_number
        and attempts.usage_date = costs.usage_date
left join causes on labelled.failure_text = causes.failure_text
left join failure_causes on coalesce(causes.cause, 'unknown') = failure_causes.cause
left join aliases as team_aliases
    on
        team_aliases.kind = 'team'
        and labelled.team = team_aliases.alias
        and attempts.usage_date >= team_aliases.valid_from
        and attempts.usage_date < team_aliases.valid_to
left join aliases as task_type_aliases
    on
        task_type_aliases.kind = 'task_type'
        and labelled.task_type = task_type_aliases.alias
        and attempts.usage_date >= task_type_aliases.valid_from
        and attempts.usage_date < task_type_aliases.valid_to
left join fx_rates
    on
        attempts.reported_currency = fx_rates.currency
        and attempts.usage_date = fx_rates.rate_day
