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
        coalesce(provider_name, source) as known_provider_name
    from core.fct_bill_lines
),

-- the days of the bill's GPU lines, under the names that the GPU-hours have
gpu_lines as (
    select
        days.usage_date,
        days.purchase_mode,
        coalesce(
            days.resource_id,
            'unused: ' || coalesce(
                lines.commitment_discount_id, lines.capacity_reservation_id, lines.billing_account_id, lines.source
            )
        ) as machine_id,
        days.effective_cost_usd,
        coalesce(days.billed_cost_usd, 0) as billed_cost_usd,
        coalesce(days.list_cost_usd, days.contracted_cost_usd, days.effective_cost_usd) as list_cost_usd,
        coalesce(days.contracted_cost_usd, days.effective_cost_usd) as contracted_cost_usd,
        lines.* exclude (
            usage_date, purchase_mode, effective_cost_usd, billed_cost_usd, list_cost_usd, contracted_cost_usd
        )
    from core.fct_gpu_line_days as days
    inner join bill_lines as lines on days.source = lines.source and days.line_id = lines.line_id
    where days.effective_cost_usd is not null
),

gpu_hours as (
    select
        *,
        coalesce(resource_id, gpu_key) as machine_id
    from core.fct_gpu_hours
    where
        effective_cost_usd is not null
        and unused_commitment_usd is not null
        and usage_date between getvariable('first_date') and getvariable('last_date')
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

-- the grain changes: one row per day, machine, purchase mode and place on a bill; its newest line tells more of it
bill_places as (
    select
        usage_date,
        machine_id,
        purchase_mode,
        false as is_provisional,
        source,
        billing_account_id,
        sub_account_id,
        billing_period_start,
        invoice_id,
        max(billing_period_end) as billing_period_end,
        agreed(commitment_discount_id) as commitment_discount_id,
        agreed(commitment_discount_name) as commitment_discount_name,
        agreed(commitment_discount_type) as commitment_discount_type,
        agreed(commitment_discount_category) as commitment_discount_category,
        agreed(capacity_reservation_id) as capacity_reservation_id,
        -- the cores and memory beside a machine's GPUs tell less of it
        first(line_id order by charge_period_start desc, gpu_count desc nulls last, line_id) as newest_line_id,
        money_units(sum(effective_cost_usd)) as place_units,
        cast(sum(billed_cost_usd) as decimal(38, 12)) as place_billed_usd,
        cast(sum(list_cost_usd) as decimal(38, 12)) as place_list_usd,
        cast(sum(contracted_cost_usd) as decimal(38, 12)) as place_contracted_usd
    from gpu_lines
    where usage_date between getvariable('first_date') and getvariable('last_date')
    group by
        usage_date, machine_id, purchase_mode, source, billing_account_id, sub_account_id, billing_period_start,
        invoice_id
),

-- an estimate is on no bill yet: it stands where the machine's newest line does
estimated_places as (
    select
        estimated.*,
        gpu_lines.source,
        gpu_lines.billing_account_id,
        gpu_lines.sub_account_id,
        gpu_lines.line_id as newest_line_id
    from (
        select distinct usage_date, machine_id, purchase_mode, is_provisional
        from gpu_hours
        where is_provisional
    ) as estimated
    left join gpu_lines on estimated.machine_id = gpu_lines.machine_id
    qualify row_number() over (
        partition by estimated.usage_date, estimated.machine_id, estimated.purchase_mode
        order by charge_period_start desc nulls last, gpu_count desc nulls last, line_id
    ) = 1
),

places as (
    select
        *,
        cast(sum(place_units) over machine_day as hugeint) as running_units,
        row_number() over machine_day as place
    from (select * from bill_places union all by name select * from estimated_places)
    window machine_day as (
        partition by usage_date, machine_id, purchase_mode, is_provisional
        order by source, billing_account_id, sub_account_id, billing_period_start, invoice_id
        rows unbounded preceding
    )
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
    where (states.state = 'unused_commitment') = (gpu_hours.resource_id is null)
),

-- the grain changes: one row per day, machine, purchase mode, team and state
state_days as (
    select
        usage_date,
        machine_id,
        purchase_mode,
        is_provisional,
        gpu_model,
        region,
        team,
        state,
        state_position,
        money_units(sum(state_usd)) as state_units,
        cast(sum(state_seconds) as decimal(18, 6)) as state_seconds
    from hour_states
    group by all
),

weighed_states as (
    select
        *,
        abs(state_units) as weight,
        cast(sum(abs(state_units)) over (machine_day rows unbounded preceding) as hugeint) as running,
        cast(sum(abs(state_units)) over (machine_day rows between unbounded preceding and unbounded following)
            as hugeint) as total,
        row_number() over machine_day as position
    from state_days
    window machine_day as (
        partition by usage_date, machine_id, purchase_mode, is_provisional
        order by state_position, gpu_model, region, team
    )
),

-- the grain changes: one row per state and place on a bill. What the places cost up to one, less what they cost before
-- it, is shared by the states
state_places as (
    select
        states.* exclude (weight, running, total, position),
        places.* exclude (usage_date, machine_id, purchase_mode, is_provisional),
        share_units(running_units, weight, running, total, position)
        - share_units(running_units - place_units, weight, running, total, position) as shared_units
    from weighed_states as states
    left join places
        on
            states.usage_date = places.usage_date
            and states.machine_id = places.machine_id
            and states.purchase_mode = places.purchase_mode
            and states.is_provisional = places.is_provisional
),

-- the first place has what the others leave of each state, so that states and places both add up to the last unit
placed_states as (
    select
        * exclude (place),
        coalesce(place, 1) as place,
        case
            when place > 1 then shared_units
            else state_units - cast(coalesce(sum(shared_units) filter (where place > 1) over state_day, 0) as hugeint)
        end as units
    from state_places
    window state_day as (
        partition by usage_date, machine_id, purchase_mode, is_provisional, state, gpu_model, region, team
    )
),

-- what the invoice asks at a place, and its list cost, go to its states as its effective cost does; the time of a state
-- goes to its places likewise
weighed_places as (
    select
        *,
        abs(units) as weight,
        cast(sum(abs(units)) over (place_day rows unbounded preceding) as hugeint) as running,
        cast(sum(abs(units)) over (place_day rows between unbounded preceding and unbounded following) as hugeint)
            as total,
        row_number() over place_day as position,
        cast(sum(abs(units)) over (state_day rows unbounded preceding) as hugeint) as state_running,
        cast(sum(abs(units)) over (state_day rows between unbounded preceding and unbounded following) as hugeint)
            as state_total
    from placed_states
    window
        place_day as (
            partition by usage_date, machine_id, purchase_mode, is_provisional, place
            order by state_position, gpu_model, region, team
        ),
        state_day as (
            partition by usage_date, machine_id, purchase_mode, is_provisional, state, gpu_model, region, team
            order by place
        )
),

gpu_days as (
    select
        * exclude (weight, running, total, position),
        units_money(units) as effective_usd,
        share_money(coalesce(place_billed_usd, 0), weight, running, total, position) as billed_usd,
        coalesce(share_money(place_list_usd, weight, running, total, position), units_money(units)) as list_usd,
        coalesce(share_money(place_contracted_usd, weight, running, total, position), units_money(units))
            as contracted_usd,
        units_money(share_units(money_units(state_seconds), weight, state_running, state_total, place) // 3600)
            as used_gpu_hours
    from weighed_places
),

call_groups as (
    select
        usage_date,
        sku_name,
        model,
        team,
        task_type,
        counts_tokens,
        bool_or(is_provisional) as is_provisional,
        cast(sum(sample_weight) as decimal(38, 12)) as calls,
        cast(
            sum((coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) * cast(sample_weight as decimal(14, 6)))
            as decimal(38, 12)
        ) as tokens,
        money_units(sum(weighed(cost_usd, sample_weight))) as group_units
    from calls
    where cost_basis = 'allocated'
    group by usage_date, sku_name, model, team, task_type, counts_tokens
),

running_groups as (
    select
        * exclude (is_provisional),
        cast(sum(group_units) over (
            partition by usage_date
            order by team, task_type, sku_name, model, counts_tokens
            rows unbounded preceding
        ) as hugeint) as running_units
    from call_groups
),

group_days as (
    select
        usage_date,
        bool_or(is_provisional) as is_provisional,
        cast(sum(group_units) as hugeint) as day_units
    from call_groups
    group by usage_date
),

-- the grain changes: the teams that own a machine on a day are one row, as the row is about the team of the call
called_days as (
    select
        * exclude (
            team, running_units, state_units, state_seconds, shared_units, state_running, state_total, units,
            effective_usd, billed_usd, list_usd, contracted_usd, used_gpu_hours
        ),
        cast(sum(units) as hugeint) as units,
        cast(sum(effective_usd) as decimal(38, 12)) as effective_usd,
        cast(sum(billed_usd) as decimal(38, 12)) as billed_usd,
        cast(sum(list_usd) as decimal(38, 12)) as list_usd,
        cast(sum(contracted_usd) as decimal(38, 12)) as contracted_usd,
        cast(sum(used_gpu_hours) as decimal(38, 12)) as used_gpu_hours
    from gpu_days
    where state = 'called'
    group by all
    having sum(units) != 0 or sum(billed_usd) != 0
),

-- what the GPUs of a day have for calls, by machine and place on a bill; calls of a day without any are on no machine
weighed_calls as (
    select
        *,
        abs(units) as weight,
        cast(sum(abs(units)) over (days rows unbounded preceding) as hugeint) as running,
        cast(sum(abs(units)) over (days rows between unbounded preceding and unbounded following) as hugeint) as total,
        row_number() over days as position
    from (
        select * from called_days
        union all by name
        select
            usage_date,
            is_provisional,
            'called' as state,
            cast(0 as hugeint) as units,
            cast(0 as decimal(38, 12)) as billed_usd,
            cast(0 as decimal(38, 12)) as list_usd,
            cast(0 as decimal(38, 12)) as contracted_usd
        from group_days
        where usage_date not in (select usage_date from called_days)
    )
    window days as (
        partition by usage_date
        order by machine_id, purchase_mode, is_provisional, place, gpu_model, region
    )
),

-- the grain changes: one row per machine and group of calls. No mart tells on which machine a call ran: each group is
-- shared by what the day's machines have for calls. Its hours may be on the next day, as a call is on the day on which
-- it starts: a row with the difference, signed, makes each machine's day the day of its GPU-hours. Over all days these
-- rows add up to 0, but for what the weights of a sampled log round
call_rows as (
    select
        places.*,
        groups.* exclude (usage_date, group_units, running_units, calls, tokens),
        false as is_remainder,
        share_money(calls, weight, running, total, position) as calls,
        share_money(tokens, weight, running, total, position) as tokens,
        share_units(running_units, weight, running, total, position)
        - share_units(running_units - group_units, weight, running, total, position) as call_units
    from weighed_calls as places
    inner join running_groups as groups on places.usage_date = groups.usage_date
    union all by name
    select
        places.*,
        true as is_remainder,
        units - share_units(coalesce(day_units, 0), weight, running, total, position) as call_units
    from weighed_calls as places
    left join group_days on places.usage_date = group_days.usage_date
    where call_units != 0 or group_days.usage_date is null
),

-- a row that takes back what the day's hours do not hold has no part in what the invoice asks for them
running_calls as (
    select
        * exclude (weight, running, total, position),
        cast(greatest(call_units * sign(units), 0) as hugeint) as weight,
        cast(sum(greatest(call_units * sign(units), 0)) over (machine_day rows unbounded preceding) as hugeint)
            as running,
        cast(
            sum(greatest(call_units * sign(units), 0)) over (
                machine_day rows between unbounded preceding and unbounded following
            ) as hugeint
        ) as total,
        row_number() over machine_day as position
    from call_rows
    window machine_day as (
        partition by usage_date, call_rows.position
        order by is_remainder, team, task_type, sku_name, model, counts_tokens
    )
),

allocated_rows as (
    select
        * replace (
            units_money(call_units) as effective_usd,
            share_money(billed_usd, weight, running, total, position) as billed_usd,
            share_money(list_usd, weight, running, total, position) as list_usd,
            share_money(contracted_usd, weight, running, total, position) as contracted_usd
        )
    from running_calls
),

-- GPU time on calls and without, and the lines that tell more of its machines
gpu_rows as (
    select
        gpu.*,
        coalesce(lines.instance_type || ', ', '') || coalesce(gpu.gpu_model, 'GPU') as machine_name,
        coalesce(lines.sku_id, lines.instance_type, gpu.gpu_model, 'GPU') as machine_sku,
        lines.* exclude (
            usage_date, purchase_mode, gpu_model, team, source, billing_account_id, sub_account_id, invoice_id,
            billing_period_start, billing_period_end, commitment_discount_id, commitment_discount_name,
            commitment_discount_type, commitment_discount_category, capacity_reservation_id
        )
    from (
        select * from gpu_days
        where state != 'called'
        union all by name
        select * from allocated_rows
    ) as gpu
    left join bill_lines as lines on gpu.source = lines.source and gpu.newest_line_id = lines.line_id
    where
        effective_usd != 0 or billed_usd != 0 or list_usd != 0 or contracted_usd != 0 or used_gpu_hours != 0
        or calls != 0
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
    where
        invoice.billed_cost_usd is not null
        and cast(walk.billing_period_start as date) between getvariable('first_date') and getvariable('last_date')
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
        billing_period_start as BillingPeriodStart,
        billing_period_end as BillingPeriodEnd,
        cast(usage_date as timestamp) as ChargePeriodStart,
        'Usage' as ChargeCategory,
        case
            when is_remainder
                then 'GPU time of calls that started on another day, less that of this day''s calls on another'
            when state = 'called' then sku_name || ', self-hosted: calls of ' || team || ' for ' || task_type
            else machine_name || ': ' || case state
                when 'active_without_calls' then 'at work, for no call that was logged'
                when 'loaded_idle' then 'loaded and idle'
                when 'unallocated' then 'held by nobody'
                when 'unknown' then 'no sample tells'
                else 'commitment that nothing used'
            end
        end as ChargeDescription,
        case
            when is_remainder then 0
            when state = 'called' then case when counts_tokens then tokens else calls end
            when state != 'unused_commitment' then used_gpu_hours
        end as ConsumedQuantity,
        case
            when state = 'called' then case when counts_tokens or is_remainder then 'Tokens' else 'Requests' end
            when state != 'unused_commitment' then 'GPU-Hours'
        end as ConsumedUnit,
        case purchase_mode
            when 'on_demand' then 'Standard' when 'spot' then 'Dynamic' when 'committed' then 'Committed' else 'Other'
        end as PricingCategory,
        commitment_discount_id as CommitmentDiscountId,
        commitment_discount_name as CommitmentDiscountName,
        commitment_discount_type as CommitmentDiscountType,
        commitment_discount_category as CommitmentDiscountCategory,
        case
            when commitment_discount_id is null then null
            when state = 'unused_commitment' then 'Unused'
            else 'Used'
        end as CommitmentDiscountStatus,
        capacity_reservation_id as CapacityReservationId,
        case
            when capacity_reservation_id is null then null
            when state = 'unused_commitment' then 'Unused'
            else 'Used'
        end as CapacityReservationStatus,
        case when state != 'unused_commitment' then machine_id end as ResourceId,
        resource_name as ResourceName,
        coalesce(resource_type, 'Instance') as ResourceType,
        region as RegionId,
        case when region_id = region then region_name end as RegionName,
        availability_zone as AvailabilityZone,
        case when state = 'called' then 'self-hosted/' || coalesce(sku_name, 'other day') else machine_sku end
            as SkuId,
        case
            when state = 'called' then 'self-hosted/' || coalesce(sku_name, 'other day')
            else machine_sku || '/' || purchase_mode
        end as SkuPriceId,
        case when state = 'called' then coalesce(sku_name, 'other day') else coalesce(sku_meter, 'GPU time') end
            as SkuMeter,
        case
            when state not in ('called', 'unused_commitment') then json_merge_patch(
                '{}', to_json({GpuCount: gpu_count, InstanceType: instance_type, x_GpuModel: gpu_model})
            )
        end as SkuPriceDetails,
        case when state = 'called' then 'AI and Machine Learning' else coalesce(service_category, 'Compute') end
            as ServiceCategory,
        case when state = 'called' then 'Generative AI' else service_subcategory end as ServiceSubcategory,
        case when state = 'called' then 'Self-hosted models' else service_name end as ServiceName,
        coalesce(billing_account_id, source, case when state = 'called' then 'self-hosted' else 'unknown' end)
            as BillingAccountId,
        billing_account_name as BillingAccountName,
        billing_account_type as BillingAccountType,
        sub_account_id as SubAccountId,
        sub_account_name as SubAccountName,
        sub_account_type as SubAccountType,
        invoice_id as InvoiceId,
        invoice_issuer_name as InvoiceIssuerName,
        coalesce(known_provider_name, case when state = 'called' then 'self-hosted' else 'unknown' end)
            as ProviderName,
        publisher_name as PublisherName,
        case when sku_name is not null then to_json({team: team, task_type: task_type}) else tags end as Tags,
        case when state = 'called' then 'allocated' else 'billed' end as x_CostBasis,
        case when state = 'called' then coalesce(calls, 0) end as x_CallAttempts,
        case when state = 'called' then 'active' else state end as x_IdleState,
        is_provisional as x_IsProvisional,
        model as x_Model,
        task_type as x_TaskType,
        team as x_Team
    from gpu_rows
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
        billed_cost_usd is not null
        and line_kind not in ('gpu_usage', 'unused_commitment', 'model_charges')
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
