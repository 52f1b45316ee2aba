-- The published marts as a FOCUS 1.2 table, temp.focus: one row per day and what was charged, and every dollar once.
-- Run on a connection whose current database is the publication, with the variables first_date and last_date set.

-- Decimals, of money mostly, in whole units of 1e-12, and back; both exact.
create or replace temp macro money_units(amount) as cast(cast(amount as decimal(38, 12)) * 1000000000000 as hugeint);

create or replace temp macro units_money(units) as
    cast(cast(units as decimal(38, 0)) * cast(0.000000000001 as decimal(12, 12)) as decimal(38, 12));

-- The share of one row of a group in an amount of the whole group: what the rows up to and with this one get, less what
-- those before it get, so that the shares add up to the amount to the last unit. Without any weight the first row gets
-- everything. Weights are not negative; total and running are their sums over the group and up to this row.
create or replace temp macro share_units(units, weight, running, total, position) as
    case
        when total = 0 and position > 1 then 0
        when total = 0 then units
        when units < 0 then -(abs(units) * running // total - abs(units) * (running - weight) // total)
        else units * running // total - units * (running - weight) // total
    end;

create or replace temp macro share_money(amount, weight, running, total, position) as
    units_money(share_units(money_units(amount), weight, running, total, position));

-- An amount in another currency; whole part and rest apart, so that both products fit 38 digits.
create or replace temp macro in_usd(amount, usd_per_unit) as
    case
        when usd_per_unit = 1 then cast(amount as decimal(38, 12))
        else cast(
            cast(cast(amount as decimal(20, 0)) * cast(usd_per_unit as decimal(18, 12)) as decimal(38, 12))
            + cast(
                cast(amount - cast(amount as decimal(20, 0)) as decimal(18, 12))
                * cast(usd_per_unit as decimal(18, 12)) as decimal(38, 12)
            )
            as decimal(38, 12)
        )
    end;

-- What a row of a sampled log stands for.
create or replace temp macro weighed(amount, weight) as
    case
        when weight = 1 then cast(amount as decimal(38, 12))
        else cast(cast(amount as decimal(24, 12)) * cast(weight as decimal(14, 6)) as decimal(38, 12))
    end;

-- A value that all lines agree on; null where they differ, because one row cannot say two things.
create or replace temp macro agreed(value) as case when count(distinct value) = 1 then max(value) end;

create or replace temp table focus as
with calls as (
    select
        *,
        coalesce(model, tool_name, call_kind) as sku_name,
        input_tokens is not null or output_tokens is not null as counts_tokens
    from core.fct_call_attempts
    where
        cost_usd is not null
        and usage_date between getvariable('first_date') and getvariable('last_date')
),

bill_lines as (
    select
        *,
        in_usd(coalesce(list_cost, contracted_cost, effective_cost), usd_per_unit) as list_cost_usd,
        in_usd(coalesce(contracted_cost, effective_cost), usd_per_unit) as contracted_cost_usd,
        coalesce(provider_name, source) as known_provider_name,
        date_trunc('month', usage_date) as usage_month
    from core.fct_bill_lines
    where billed_cost_usd is not null
),

-- months are read whole, because the list cost of a machine's month is shared by its days
gpu_hours as (
    select
        *,
        coalesce(resource_id, gpu_key) as machine_id
    from core.fct_gpu_hours
    where
        effective_cost_usd is not null
        and unused_commitment_usd is not null
        and usage_date >= date_trunc('month', getvariable('first_date'))
        and usage_date <= last_day(getvariable('last_date'))
),

-- metered calls: the grain changes to one row per day, model and who asked
metered_rows as (
    select
        usage_date,
        coalesce(provider, source) as provider_name,
        sku_name,
        model,
        service_tier,
        team,
        task_type,
        counts_tokens,
        cast(sum(sample_weight) as decimal(38, 12)) as calls,
        cast(
            sum((coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) * cast(sample_weight as decimal(14, 6)))
            as decimal(38, 12)
        ) as tokens,
        cast(sum(weighed(cost_usd, sample_weight)) as decimal(38, 12)) as cost_usd,
        cast(sum(weighed(list_cost_usd, sample_weight)) as decimal(38, 12)) as list_cost_usd
    from calls
    where cost_basis = 'metered'
    group by all
),

-- the bill's lines behind the GPU-hours, under the names that the hours have
gpu_lines as (
    select
        *,
        case
            when line_kind = 'unused_commitment' then 'unused: ' || coalesce(
                commitment_discount_id, capacity_reservation_id, billing_account_id, source
            )
            else coalesce(
                resource_id,
                'no resource: ' || coalesce(sub_account_id, billing_account_id, source) || ' '
                || coalesce(instance_type, gpu_model, 'GPU')
            )
        end as machine_id,
        case when line_kind = 'unused_commitment' then 'committed' else purchase_mode end as hour_purchase_mode
    from bill_lines
    where line_kind in ('gpu_usage', 'unused_commitment')
),

-- one row per machine: what it is, by its newest line
machines as (
    select *
    from gpu_lines
    qualify row_number() over (
        -- the cores and memory beside its GPUs tell less of it
        partition by machine_id
        order by charge_period_start desc, gpu_count desc nulls last, line_id
    ) = 1
),

-- one row per machine, purchase mode and month: list cost, and what the lines agree on
machine_months as (
    select
        machine_id,
        hour_purchase_mode as purchase_mode,
        usage_month,
        cast(sum(list_cost_usd) as decimal(38, 12)) as list_cost_usd,
        cast(sum(contracted_cost_usd) as decimal(38, 12)) as contracted_cost_usd,
        max(billing_period_start) as billing_period_start,
        max(billing_period_end) as billing_period_end,
        agreed(invoice_id) as invoice_id,
        agreed(commitment_discount_id) as commitment_discount_id,
        agreed(commitment_discount_name) as commitment_discount_name,
        agreed(commitment_discount_type) as commitment_discount_type,
        agreed(commitment_discount_category) as commitment_discount_category,
        agreed(capacity_reservation_id) as capacity_reservation_id
    from gpu_lines
    group by machine_id, hour_purchase_mode, usage_month
),

-- the grain changes: one row per GPU-hour and state; called is the part of the active dollars that is on calls
hour_states as (
    select
        gpu_hours.*,
        states.*
    from gpu_hours
    cross join lateral (
        values
        (1, 'unknown', unknown_usd, unknown_seconds),
        (2, 'called', active_usd - active_without_calls_usd, cast(0 as decimal(18, 6))),
        (
            3, 'active_without_calls', active_without_calls_usd,
            case
                when active_usd = 0 then active_seconds
                else cast(
                    cast(active_seconds * 1000000 as hugeint) * abs(money_units(active_without_calls_usd))
                    // abs(money_units(active_usd)) as decimal(18, 0)
                ) * cast(0.000001 as decimal(6, 6))
            end
        ),
        (4, 'loaded_idle', loaded_idle_usd, loaded_idle_seconds),
        (5, 'unallocated', unallocated_usd, unallocated_seconds),
        (6, 'unused_commitment', unused_commitment_usd, cast(0 as decimal(18, 6)))
    ) as states (state_position, state, state_usd, state_seconds)
),

weighed_states as (
    select
        *,
        abs(money_units(state_usd)) as weight,
        cast(sum(abs(money_units(state_usd))) over (hour rows unbounded preceding) as hugeint) as running,
        cast(sum(abs(money_units(state_usd))) over (hour rows between unbounded preceding and unbounded following)
            as hugeint) as total,
        row_number() over hour as position
    from hour_states
    window hour as (partition by gpu_key, machine_id, hour_at, purchase_mode order by state_position)
),

-- what the invoice asks for an hour goes to its states as their effective cost does; an estimate is on no invoice
billed_states as (
    select
        *,
        share_money(coalesce(billed_cost_usd, 0), weight, running, total, position) as state_billed_usd
    from weighed_states
),

-- the grain changes: one row per day, machine, purchase mode, team and state
machine_days as (
    select
        usage_date,
        date_trunc('month', usage_date) as usage_month,
        machine_id,
        purchase_mode,
        gpu_model,
        region,
        team,
        is_provisional,
        state,
        state_position,
        cast(sum(state_usd) as decimal(38, 12)) as effective_usd,
        cast(sum(state_billed_usd) as decimal(38, 12)) as billed_usd,
        cast(sum(state_seconds) as decimal(18, 6)) as gpu_seconds
    from billed_states
    group by all
    having sum(abs(state_usd)) != 0 or sum(abs(state_billed_usd)) != 0 or sum(abs(state_seconds)) != 0
),

weighed_days as (
    select
        machine_days.*,
        machine_months.* exclude (machine_id, purchase_mode, usage_month),
        abs(money_units(effective_usd)) as weight,
        cast(sum(abs(money_units(effective_usd))) over (machine_month rows unbounded preceding) as hugeint) as running,
        cast(
            sum(abs(money_units(effective_usd))) over (
                machine_month rows between unbounded preceding and unbounded following
            ) as hugeint
        ) as total,
        row_number() over machine_month as position
    from machine_days
    left join machine_months
        on
            not machine_days.is_provisional
            and machine_days.machine_id = machine_months.machine_id
            and machine_days.purchase_mode = machine_months.purchase_mode
            and machine_days.usage_month = machine_months.usage_month
    window machine_month as (
        partition by
            machine_days.machine_id, machine_days.purchase_mode, machine_days.usage_month, machine_days.is_provisional
        order by usage_date, state_position, gpu_model, region, team
    )
),

-- the list cost of a machine's month goes to its days and states as their effective cost does
gpu_days as (
    select
        *,
        coalesce(share_money(list_cost_usd, weight, running, total, position), effective_usd) as list_usd,
        coalesce(share_money(contracted_cost_usd, weight, running, total, position), effective_usd) as contracted_usd
    from weighed_days
    where usage_date between getvariable('first_date') and getvariable('last_date')
),

-- one row per day: what its GPU-hours have for calls
called_days as (
    select
        usage_date,
        cast(sum(effective_usd) as decimal(38, 12)) as effective_usd,
        cast(sum(billed_usd) as decimal(38, 12)) as billed_usd,
        cast(sum(list_usd) as decimal(38, 12)) as list_usd,
        cast(sum(contracted_usd) as decimal(38, 12)) as contracted_usd,
        bool_or(is_provisional) as is_provisional
    from gpu_days
    where state = 'called'
    group by usage_date
),

call_groups as (
    select
        usage_date,
        sku_name,
        model,
        team,
        task_type,
        counts_tokens,
        is_provisional,
        false as is_remainder,
        cast(sum(sample_weight) as decimal(38, 12)) as calls,
        cast(
            sum((coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) * cast(sample_weight as decimal(14, 6)))
            as decimal(38, 12)
        ) as tokens,
        cast(sum(weighed(cost_usd, sample_weight)) as decimal(38, 12)) as effective_usd
    from calls
    where cost_basis = 'allocated'
    group by all
),

group_days as (
    select
        usage_date,
        cast(sum(effective_usd) as decimal(38, 12)) as effective_usd,
        bool_or(is_provisional) as is_provisional
    from call_groups
    group by usage_date
),

-- a call is on the day on which it starts, the hours that it uses may be on the next: a row with the difference,
-- signed, makes each day the day of its GPU-hours. Over all days these rows add up to 0, but for what the weights of a
-- sampled log round
call_rows as (
    select * from call_groups
    union all by name
    select
        usage_date,
        true as is_remainder,
        coalesce(called_days.is_provisional, group_days.is_provisional) as is_provisional,
        cast(
            coalesce(called_days.effective_usd, 0) - coalesce(group_days.effective_usd, 0) as decimal(38, 12)
        ) as effective_usd
    from called_days
    full outer join group_days using (usage_date)
    where coalesce(called_days.effective_usd, 0) != coalesce(group_days.effective_usd, 0)
        or (group_days.usage_date is null and called_days.billed_usd != 0)
),

-- a row that takes back what the day's hours do not hold has no part in what the invoice asks for them
weighed_calls as (
    select
        call_rows.*,
        coalesce(called_days.billed_usd, 0) as day_billed_usd,
        coalesce(called_days.list_usd, 0) as day_list_usd,
        coalesce(called_days.contracted_usd, 0) as day_contracted_usd,
        row_number() over days as position,
        cast(greatest(money_units(call_rows.effective_usd) * sign(called_days.effective_usd), 0) as hugeint) as weight
    from call_rows
    left join called_days on call_rows.usage_date = called_days.usage_date
    window days as (
        partition by call_rows.usage_date
        order by is_remainder, team, task_type, sku_name, model, counts_tokens, call_rows.is_provisional
    )
),

running_calls as (
    select
        *,
        cast(sum(coalesce(weight, 0)) over (partition by usage_date order by position) as hugeint) as running,
        cast(sum(coalesce(weight, 0)) over (partition by usage_date) as hugeint) as total
    from weighed_calls
),

allocated_rows as (
    select
        *,
        share_money(day_billed_usd, coalesce(weight, 0), running, total, position) as billed_usd,
        share_money(day_list_usd, coalesce(weight, 0), running, total, position) as list_usd,
        share_money(day_contracted_usd, coalesce(weight, 0), running, total, position) as contracted_usd
    from running_calls
),

-- one row per invoice: what its GPU machines cost beyond the share that their GPUs carry (gpu_share_of_node_ratio)
beyond_gpus as (
    select
        walk.source,
        walk.billing_account_id,
        walk.billing_period_start,
        any_value(invoice.known_provider_name) as provider_name,
        any_value(invoice.invoice_issuer_name) as invoice_issuer_name,
        any_value(invoice.billing_account_name) as billing_account_name,
        any_value(invoice.billing_account_type) as billing_account_type,
        max(invoice.billing_period_end) as billing_period_end,
        agreed(invoice.invoice_id) as invoice_id,
        cast(
            any_value(walk.other_usd)
            - coalesce(sum(invoice.effective_cost_usd) filter (where invoice.line_kind in ('other', 'purchase')), 0)
            as decimal(38, 12)
        ) as effective_usd
    from quality.invoice_walk_monthly as walk
    inner join bill_lines as invoice
        on
            walk.source = invoice.source
            and walk.billing_account_id is not distinct from invoice.billing_account_id
            and walk.billing_period_start = invoice.billing_period_start
            and walk.billing_currency = invoice.billing_currency
    where cast(walk.billing_period_start as date) between getvariable('first_date') and getvariable('last_date')
    group by walk.source, walk.billing_account_id, walk.billing_period_start, walk.billing_currency
    having effective_usd != 0
),

-- each kind of row under the names of FOCUS; what a kind does not name is null
charges as (
    select
        cost_usd as BilledCost,
        cost_usd as EffectiveCost,
        list_cost_usd as ListCost,
        cost_usd as ContractedCost,
        cast(usage_date as timestamp) as ChargePeriodStart,
        'Usage' as ChargeCategory,
        sku_name || ', ' || service_tier || ': calls of ' || team || ' for ' || task_type as ChargeDescription,
        case when counts_tokens then tokens else calls end as ConsumedQuantity,
        case when counts_tokens then 'Tokens' else 'Requests' end as ConsumedUnit,
        case when service_tier = 'standard' then 'Standard' else 'Other' end as PricingCategory,
        provider_name || '/' || sku_name as SkuId,
        provider_name || '/' || sku_name || '/' || service_tier as SkuPriceId,
        sku_name as SkuMeter,
        'AI and Machine Learning' as ServiceCategory,
        'Generative AI' as ServiceSubcategory,
        provider_name || ' models' as ServiceName,
        provider_name as BillingAccountId,
        provider_name as InvoiceIssuerName,
        provider_name as ProviderName,
        provider_name as PublisherName,
        to_json({team: team, task_type: task_type}) as Tags,
        'metered' as x_CostBasis,
        calls as x_CallAttempts,
        false as x_IsProvisional,
        model as x_Model,
        task_type as x_TaskType,
        team as x_Team
    from metered_rows
    union all by name
    select
        billed_usd as BilledCost,
        effective_usd as EffectiveCost,
        list_usd as ListCost,
        contracted_usd as ContractedCost,
        cast(usage_date as timestamp) as ChargePeriodStart,
        'Usage' as ChargeCategory,
        case
            when is_remainder
                then 'GPU time of calls that started on another day, less that of this day''s calls on another'
            else sku_name || ', self-hosted: calls of ' || team || ' for ' || task_type
        end as ChargeDescription,
        case when is_remainder then 0 when counts_tokens then tokens else calls end as ConsumedQuantity,
        case when counts_tokens then 'Tokens' else 'Requests' end as ConsumedUnit,
        'Other' as PricingCategory,
        'self-hosted/' || coalesce(sku_name, 'other day') as SkuId,
        'self-hosted/' || coalesce(sku_name, 'other day') as SkuPriceId,
        coalesce(sku_name, 'other day') as SkuMeter,
        'AI and Machine Learning' as ServiceCategory,
        'Generative AI' as ServiceSubcategory,
        'Self-hosted models' as ServiceName,
        'self-hosted' as BillingAccountId,
        'self-hosted' as InvoiceIssuerName,
        'self-hosted' as ProviderName,
        'self-hosted' as PublisherName,
        case when not is_remainder then to_json({team: team, task_type: task_type}) end as Tags,
        'allocated' as x_CostBasis,
        coalesce(calls, 0) as x_CallAttempts,
        'active' as x_IdleState,
        is_provisional as x_IsProvisional,
        model as x_Model,
        task_type as x_TaskType,
        team as x_Team
    from allocated_rows
    union all by name
    select
        gpu_days.billed_usd as BilledCost,
        gpu_days.effective_usd as EffectiveCost,
        gpu_days.list_usd as ListCost,
        gpu_days.contracted_usd as ContractedCost,
        gpu_days.billing_period_start as BillingPeriodStart,
        gpu_days.billing_period_end as BillingPeriodEnd,
        cast(gpu_days.usage_date as timestamp) as ChargePeriodStart,
        'Usage' as ChargeCategory,
        coalesce(machines.instance_type || ', ', '') || coalesce(gpu_days.gpu_model, 'GPU') || ': '
        || case gpu_days.state
            when 'active_without_calls' then 'at work, for no call that was logged'
            when 'loaded_idle' then 'loaded and idle'
            when 'unallocated' then 'held by nobody'
            when 'unknown' then 'no sample tells'
            else 'commitment that nothing used'
        end as ChargeDescription,
        case
            when gpu_days.state != 'unused_commitment'
                then units_money(money_units(gpu_days.gpu_seconds) // 3600)
        end as ConsumedQuantity,
        case when gpu_days.state != 'unused_commitment' then 'GPU-Hours' end as ConsumedUnit,
        case gpu_days.purchase_mode
            when 'on_demand' then 'Standard' when 'spot' then 'Dynamic' when 'committed' then 'Committed' else 'Other'
        end as PricingCategory,
        gpu_days.commitment_discount_id as CommitmentDiscountId,
        gpu_days.commitment_discount_name as CommitmentDiscountName,
        gpu_days.commitment_discount_type as CommitmentDiscountType,
        gpu_days.commitment_discount_category as CommitmentDiscountCategory,
        case
            when gpu_days.commitment_discount_id is null then null
            when gpu_days.state = 'unused_commitment' then 'Unused'
            else 'Used'
        end as CommitmentDiscountStatus,
        gpu_days.capacity_reservation_id as CapacityReservationId,
        case
            when gpu_days.capacity_reservation_id is null then null
            when gpu_days.state = 'unused_commitment' then 'Unused'
            else 'Used'
        end as CapacityReservationStatus,
        case when gpu_days.state != 'unused_commitment' then gpu_days.machine_id end as ResourceId,
        machines.resource_name as ResourceName,
        case when gpu_days.state != 'unused_commitment' then coalesce(machines.resource_type, 'Instance') end
            as ResourceType,
        gpu_days.region as RegionId,
        case when machines.region_id = gpu_days.region then machines.region_name end as RegionName,
        machines.availability_zone as AvailabilityZone,
        coalesce(machines.sku_id, machines.instance_type, gpu_days.gpu_model, 'GPU') as SkuId,
        coalesce(machines.sku_id, machines.instance_type, gpu_days.gpu_model, 'GPU')
        || '/' || gpu_days.purchase_mode as SkuPriceId,
        coalesce(machines.sku_meter, 'GPU time') as SkuMeter,
        case
            when gpu_days.state != 'unused_commitment' then json_merge_patch(
                '{}',
                to_json({
                    GpuCount: machines.gpu_count, InstanceType: machines.instance_type, x_GpuModel: gpu_days.gpu_model
                })
            )
        end as SkuPriceDetails,
        coalesce(machines.service_category, 'Compute') as ServiceCategory,
        machines.service_subcategory as ServiceSubcategory,
        machines.service_name as ServiceName,
        coalesce(machines.billing_account_id, machines.source, 'unknown') as BillingAccountId,
        machines.billing_account_name as BillingAccountName,
        machines.billing_account_type as BillingAccountType,
        machines.sub_account_id as SubAccountId,
        machines.sub_account_name as SubAccountName,
        machines.sub_account_type as SubAccountType,
        gpu_days.invoice_id as InvoiceId,
        machines.invoice_issuer_name as InvoiceIssuerName,
        coalesce(machines.known_provider_name, 'unknown') as ProviderName,
        machines.publisher_name as PublisherName,
        machines.tags as Tags,
        'billed' as x_CostBasis,
        gpu_days.state as x_IdleState,
        gpu_days.is_provisional as x_IsProvisional,
        gpu_days.team as x_Team
    from gpu_days
    left join machines on gpu_days.machine_id = machines.machine_id
    where gpu_days.state != 'called'
    union all by name
    select
        billed_cost_usd as BilledCost,
        effective_cost_usd as EffectiveCost,
        list_cost_usd as ListCost,
        contracted_cost_usd as ContractedCost,
        in_usd(list_unit_price, usd_per_unit) as ListUnitPrice,
        in_usd(contracted_unit_price, usd_per_unit) as ContractedUnitPrice,
        pricing_currency as PricingCurrency,
        pricing_currency_effective_cost as PricingCurrencyEffectiveCost,
        pricing_currency_list_unit_price as PricingCurrencyListUnitPrice,
        pricing_currency_contracted_unit_price as PricingCurrencyContractedUnitPrice,
        charge_period_start as ChargePeriodStart,
        charge_period_end as ChargePeriodEnd,
        billing_period_start as BillingPeriodStart,
        billing_period_end as BillingPeriodEnd,
        charge_category as ChargeCategory,
        charge_class as ChargeClass,
        charge_description as ChargeDescription,
        charge_frequency as ChargeFrequency,
        consumed_quantity as ConsumedQuantity,
        consumed_unit as ConsumedUnit,
        pricing_quantity as PricingQuantity,
        pricing_unit as PricingUnit,
        pricing_category as PricingCategory,
        commitment_discount_id as CommitmentDiscountId,
        commitment_discount_name as CommitmentDiscountName,
        commitment_discount_type as CommitmentDiscountType,
        commitment_discount_category as CommitmentDiscountCategory,
        commitment_discount_status as CommitmentDiscountStatus,
        commitment_discount_quantity as CommitmentDiscountQuantity,
        commitment_discount_unit as CommitmentDiscountUnit,
        capacity_reservation_id as CapacityReservationId,
        capacity_reservation_status as CapacityReservationStatus,
        resource_id as ResourceId,
        resource_name as ResourceName,
        resource_type as ResourceType,
        region_id as RegionId,
        region_name as RegionName,
        availability_zone as AvailabilityZone,
        sku_id as SkuId,
        sku_price_id as SkuPriceId,
        sku_meter as SkuMeter,
        sku_price_details as SkuPriceDetails,
        coalesce(service_category, 'Other') as ServiceCategory,
        service_subcategory as ServiceSubcategory,
        service_name as ServiceName,
        coalesce(billing_account_id, source) as BillingAccountId,
        billing_account_name as BillingAccountName,
        billing_account_type as BillingAccountType,
        sub_account_id as SubAccountId,
        sub_account_name as SubAccountName,
        sub_account_type as SubAccountType,
        invoice_id as InvoiceId,
        invoice_issuer_name as InvoiceIssuerName,
        known_provider_name as ProviderName,
        publisher_name as PublisherName,
        tags as Tags,
        'billed' as x_CostBasis,
        false as x_IsProvisional,
        team as x_Team
    from bill_lines
    where
        line_kind not in ('gpu_usage', 'unused_commitment', 'model_charges')
        and usage_date between getvariable('first_date') and getvariable('last_date')
    union all by name
    select
        0 as BilledCost,
        effective_usd as EffectiveCost,
        0 as ListCost,
        0 as ContractedCost,
        billing_period_start as BillingPeriodStart,
        billing_period_end as BillingPeriodEnd,
        billing_period_start as ChargePeriodStart,
        billing_period_end as ChargePeriodEnd,
        'Usage' as ChargeCategory,
        'GPU machines: what they cost beyond the share of their GPUs' as ChargeDescription,
        'Compute' as ServiceCategory,
        coalesce(billing_account_id, source) as BillingAccountId,
        billing_account_name as BillingAccountName,
        billing_account_type as BillingAccountType,
        invoice_id as InvoiceId,
        invoice_issuer_name as InvoiceIssuerName,
        provider_name as ProviderName,
        'billed' as x_CostBasis,
        false as x_IsProvisional
    from beyond_gpus
)

-- the 57 columns of FOCUS 1.2 by name, then our own
select
    AvailabilityZone,
    cast(BilledCost as decimal(38, 12)) as BilledCost,
    BillingAccountId,
    BillingAccountName,
    coalesce(BillingAccountType, 'Billing account') as BillingAccountType,
    'USD' as BillingCurrency,
    coalesce(
        BillingPeriodEnd,
        date_trunc('month', coalesce(BillingPeriodStart, ChargePeriodStart)) + interval '1' month
    ) as BillingPeriodEnd,
    coalesce(BillingPeriodStart, date_trunc('month', ChargePeriodStart)) as BillingPeriodStart,
    CapacityReservationId,
    CapacityReservationStatus,
    ChargeCategory,
    ChargeClass,
    ChargeDescription,
    coalesce(ChargeFrequency, case when ChargeCategory = 'Usage' then 'Usage-Based' else 'One-Time' end)
        as ChargeFrequency,
    coalesce(ChargePeriodEnd, ChargePeriodStart + interval '1' day) as ChargePeriodEnd,
    ChargePeriodStart,
    CommitmentDiscountCategory,
    CommitmentDiscountId,
    CommitmentDiscountName,
    cast(CommitmentDiscountQuantity as decimal(38, 12)) as CommitmentDiscountQuantity,
    CommitmentDiscountStatus,
    CommitmentDiscountType,
    CommitmentDiscountUnit,
    cast(ConsumedQuantity as decimal(38, 12)) as ConsumedQuantity,
    ConsumedUnit,
    cast(ContractedCost as decimal(38, 12)) as ContractedCost,
    cast(ContractedUnitPrice as decimal(38, 12)) as ContractedUnitPrice,
    cast(EffectiveCost as decimal(38, 12)) as EffectiveCost,
    InvoiceId,
    coalesce(InvoiceIssuerName, ProviderName) as InvoiceIssuerName,
    cast(ListCost as decimal(38, 12)) as ListCost,
    cast(ListUnitPrice as decimal(38, 12)) as ListUnitPrice,
    PricingCategory,
    case when PricingCurrencyEffectiveCost is null then 'USD' else coalesce(PricingCurrency, 'USD') end
        as PricingCurrency,
    cast(PricingCurrencyContractedUnitPrice as decimal(38, 12)) as PricingCurrencyContractedUnitPrice,
    cast(coalesce(PricingCurrencyEffectiveCost, EffectiveCost) as decimal(38, 12)) as PricingCurrencyEffectiveCost,
    cast(PricingCurrencyListUnitPrice as decimal(38, 12)) as PricingCurrencyListUnitPrice,
    cast(case when x_CostBasis = 'billed' and x_IdleState is null then PricingQuantity else ConsumedQuantity end
        as decimal(38, 12)) as PricingQuantity,
    case when x_CostBasis = 'billed' and x_IdleState is null then PricingUnit else ConsumedUnit end as PricingUnit,
    ProviderName,
    coalesce(PublisherName, ProviderName) as PublisherName,
    RegionId,
    coalesce(RegionName, RegionId) as RegionName,
    ResourceId,
    case when ResourceId is not null then ResourceName end as ResourceName,
    case when ResourceId is not null then coalesce(ResourceType, 'Resource') end as ResourceType,
    ServiceCategory,
    coalesce(ServiceName, ProviderName) as ServiceName,
    coalesce(ServiceSubcategory, 'Other (' || ServiceCategory || ')') as ServiceSubcategory,
    SkuId,
    SkuMeter,
    case when coalesce(SkuPriceId, SkuId) is not null then cast(SkuPriceDetails as varchar) end as SkuPriceDetails,
    coalesce(SkuPriceId, SkuId) as SkuPriceId,
    SubAccountId,
    case when SubAccountId is not null then coalesce(SubAccountName, SubAccountId) end as SubAccountName,
    case when SubAccountId is not null then coalesce(SubAccountType, 'Sub-account') end as SubAccountType,
    cast(Tags as varchar) as Tags,
    cast(x_CallAttempts as decimal(38, 12)) as x_CallAttempts,
    x_CostBasis,
    x_IdleState,
    x_IsProvisional,
    x_Model,
    x_TaskType,
    x_Team
from charges;
