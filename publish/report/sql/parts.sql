{#
The parts of each month's cost, by day: GPU time on its own days, metered calls on theirs, lines of bills in the month of
their billing period. Tokens on a cloud's bill that a log has too are the metered calls seen from the other side: shown,
never added. Those that no log has are a part of their own.
#}
{%- from 'money.sql' import rates, at_rate, money with context -%}
{%- from 'unlogged.sql' import unlogged_tokens with context -%}
{%- macro converted_parts(since) -%}
{{ one_of('core.fct_gpu_hours', 'core.fct_call_attempts', 'core.fct_bill_lines') -}}
{{ rates() -}}
{{ unlogged_tokens() -}}
amounts as (
    {%- set union = joiner('\n    union all') %}
    {%- if has('core.fct_gpu_hours') %}{{ union() }}
    unpivot (
        select
            cast(date_trunc('month', usage_date) as date) as bill_month,
            usage_date,
            sum(active_usd) as gpu_active,
            sum(loaded_idle_usd) as gpu_loaded_idle,
            sum(unallocated_usd) as gpu_unallocated,
            sum(unknown_usd) as gpu_unknown,
            sum(unused_commitment_usd) as unused_commitment,
            sum(case when is_provisional then effective_cost_usd + unused_commitment_usd end) as gpu_estimated
        from {{ mart('core.fct_gpu_hours') }}
        where usage_date between date '{{ since }}' and date '{{ last_date }}'
        group by all
    )
    on gpu_active, gpu_loaded_idle, gpu_unallocated, gpu_unknown, unused_commitment, gpu_estimated
    into name part value amount_usd
    {%- endif %}
    {%- if has('core.fct_call_attempts') %}{{ union() }}
    select
        cast(date_trunc('month', usage_date) as date) as bill_month,
        usage_date,
        'metered_calls' as part,
        -- a row of a sampled log stands for sample_weight calls
        sum(cast(cost_usd as decimal(24, 12)) * cast(sample_weight as decimal(14, 6))) as amount_usd
    from {{ mart('core.fct_call_attempts') }}
    where cost_basis = 'metered' and usage_date between date '{{ since }}' and date '{{ last_date }}'
    group by all
    {%- endif %}
    {%- if has('core.fct_bill_lines') %}{{ union() }}
    unpivot (
        select
            cast(date_trunc('month', bill_lines.billing_period_start) as date) as bill_month,
            bill_lines.usage_date,
            -- what a machine costs beyond the share of its GPUs is other cost
            sum(
                case
                    when line_kind in ('other', 'purchase') then effective_cost_usd
                    when line_kind = 'gpu_usage'
                        then effective_cost_usd - coalesce(gpu_shares.gpu_cost_usd, effective_cost_usd)
                end
            ) as other,
            sum(case when line_kind = 'tax' then billed_cost_usd end) as tax,
            sum(case when line_kind = 'credit' then billed_cost_usd end) as credits,
            sum(case when line_kind = 'adjustment' then billed_cost_usd end) as refunds,
            -- what purchases bill now and what they cover amortises, or the other way round
            sum(
                case
                    when is_under_commitment and line_kind not in ('tax', 'credit', 'adjustment', 'model_charges')
                        then billed_cost_usd - effective_cost_usd
                end
            ) as commitment_timing,
            sum(case when line_kind != 'model_charges' then billed_cost_usd end) as invoiced,
            sum(case when line_kind = 'model_charges' then billed_cost_usd end) as model_charges
        from {{ mart('core.fct_bill_lines') }} as bill_lines
        left join (
            select source, line_id, sum(effective_cost_usd) as gpu_cost_usd
            from {{ mart('core.fct_gpu_line_days') }}
            where line_kind = 'gpu_usage'
            group by all
        ) as gpu_shares on bill_lines.source = gpu_shares.source and bill_lines.line_id = gpu_shares.line_id
        where cast(bill_lines.billing_period_start as date) between date '{{ since }}' and date '{{ last_date }}'
        group by all
    )
    on other, tax, credits, refunds, commitment_timing, invoiced, model_charges
    into name part value amount_usd
    union all
    -- GPU time that is billed in another month than it was used in: it counts where it was used, and evens out here
    select
        unnest([line_days.bill_month, line_days.usage_month]) as bill_month,
        line_days.usage_date,
        'other_months' as part,
        unnest([line_days.effective_cost_usd, -line_days.effective_cost_usd]) as amount_usd
    from (
        select
            days.usage_date,
            days.effective_cost_usd,
            cast(date_trunc('month', days.usage_date) as date) as usage_month,
            cast(date_trunc('month', bill_lines.billing_period_start) as date) as bill_month
        from {{ mart('core.fct_gpu_line_days') }} as days
        inner join {{ mart('core.fct_bill_lines') }} as bill_lines
            on days.source = bill_lines.source and days.line_id = bill_lines.line_id
    ) as line_days
    where line_days.bill_month != line_days.usage_month
    {%- if has('quality.bill_reconciliation_daily') %}
    union all
    -- the comparison knows days: where bills of two months charge for one, each has its share
    select
        bill_month,
        usage_date,
        unnest(['unlogged_tokens', 'model_charges']) as part,
        unnest([unlogged_usd, -unlogged_usd]) as amount_usd
    from (
        select
            token_days.bill_month,
            token_days.usage_date,
            case
                when token_days.billed_usd = token_days.day_usd then unlogged_tokens.unlogged_usd
                else cast(
                    unlogged_tokens.unlogged_usd * (token_days.billed_usd / nullif(token_days.day_usd, 0))
                    as decimal(38, 12)
                )
            end as unlogged_usd
        from (
            select
                cast(date_trunc('month', billing_period_start) as date) as bill_month,
                usage_date,
                sum(billed_cost_usd) as billed_usd,
                sum(sum(billed_cost_usd)) over (partition by usage_date) as day_usd
            from {{ mart('core.fct_bill_lines') }}
            where line_kind = 'model_charges'
            group by bill_month, usage_date
        ) as token_days
        inner join unlogged_tokens on token_days.usage_date = unlogged_tokens.usage_date
    ) as unlogged
    where bill_month between date '{{ since }}' and date '{{ last_date }}'
    {%- endif %}
    {%- endif %}
),

converted as (
    select bill_month, part, sum({{ money('amount_usd') }}) as amount
    from amounts {{ at_rate('amounts.usage_date') }}
    group by all
),

-- what was asked for: the invoices with tokens that no log has, the calls that vendors meter, and GPU time whose bill
-- has not come
totals as (
    select
        bill_month,
        sum(amount) filter (part in ('invoiced', 'unlogged_tokens', 'metered_calls', 'gpu_estimated')) as total,
        sum(amount) filter (part not in ('invoiced', 'gpu_estimated', 'model_charges')) as explained
    from converted
    group by bill_month
),

parts as (
    select bill_month, part, amount from converted where part != 'invoiced'
    union all
    select bill_month, 'unexplained' as part, total - explained as amount from totals
    union all
    select bill_month, 'total' as part, total as amount from totals
)
{%- endmacro -%}
