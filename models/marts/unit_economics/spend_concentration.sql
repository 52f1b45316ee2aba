{%- set windows = {
    '7_days': 'bounds.last_date - 6',
    '30_days': 'bounds.last_date - 29',
    'month_to_date': "cast(date_trunc('month', bounds.last_date) as date)",
} %}
{%- set dimensions = ['task_type', 'team'] %}

with days as (
    select * from {{ ref('cost_per_task_daily') }}
),

bounds as (
    select
        min(started_date) as first_date,
        max(started_date) as last_date
    from days
),

-- each window ends with the newest day of tasks; where the log is younger it has what there is
windows as (
    {%- for name, start in windows.items() %}
    {%- if not loop.first %}
    union all
    {%- endif %}
    select
        '{{ name }}' as window_name,
        greatest({{ start }}, bounds.first_date) as window_start_date,
        bounds.last_date as window_end_date
    from bounds
    where bounds.last_date is not null
    {%- endfor %}
),

-- one row per window, dimension and member
members as (
    {%- for dimension in dimensions %}
    {%- if not loop.first %}
    union all
    {%- endif %}
    select
        windows.window_name,
        windows.window_start_date,
        windows.window_end_date,
        '{{ dimension }}' as dimension,
        days.{{ dimension }} as member,
        sum(days.cost_usd) as cost_usd
    from windows
    inner join days on days.started_date between windows.window_start_date and windows.window_end_date
    group by windows.window_name, windows.window_start_date, windows.window_end_date, days.{{ dimension }}
    {%- endfor %}
),

judged as (
    select
        *,
        coalesce(cost_usd < 0, true) as is_excluded
    from members
),

ranked as (
    select
        *,
        cast(row_number() over spend_order as bigint) as spend_rank,
        sum(cost_usd) over (
            partition by window_name, dimension
            order by cost_usd desc, member asc
            rows between unbounded preceding and current row
        ) as cumulative_cost_usd,
        count(*) over (partition by window_name, dimension) as member_count,
        sum(cost_usd) over (partition by window_name, dimension) as total_cost_usd
    from judged
    where not is_excluded
    window spend_order as (partition by window_name, dimension order by cost_usd desc, member asc)
),

-- a member is needed for 80 % where those before it do not reach them
shared as (
    select
        *,
        {{ safe_divide('cost_usd', 'total_cost_usd') }} as share_ratio,
        {{ safe_divide('cumulative_cost_usd', 'total_cost_usd') }} as cumulative_ratio,
        case when total_cost_usd > 0 then 10 * (cumulative_cost_usd - cost_usd) < 8 * total_cost_usd end as is_in_k80
    from ranked
),

-- the grain changes: one row per window and dimension; squares are added as decimals, so that their order is nothing
concentrations as (
    select
        window_name,
        dimension,
        max(member_count) as member_count,
        max(total_cost_usd) as total_cost_usd,
        sum(case when is_in_k80 then 1 when not is_in_k80 then 0 end) as k80_count,
        cast(sum(cast(share_ratio * share_ratio as decimal(38, 15))) as double) as hhi_ratio,
        -- the sum of cumulated spend weighs each member's by its rank from the smallest
        2 * sum(cumulative_cost_usd) - (max(member_count) + 1) * max(total_cost_usd) as uneven_cost_usd
    from shared
    group by window_name, dimension
)

select
    judged.window_name,
    judged.window_start_date,
    judged.window_end_date,
    cast({{ days_between('judged.window_start_date', 'judged.window_end_date') }} + 1 as bigint) as window_days,
    judged.dimension,
    judged.member,
    cast(judged.cost_usd as decimal(38, 12)) as cost_usd,
    judged.is_excluded,
    shared.spend_rank,
    shared.share_ratio,
    shared.cumulative_ratio,
    shared.is_in_k80,
    cast(concentrations.total_cost_usd as decimal(38, 12)) as total_cost_usd,
    concentrations.member_count,
    cast(concentrations.k80_count as bigint) as k80_count,
    concentrations.hhi_ratio,
    {{ safe_divide('1', 'concentrations.hhi_ratio') }} as effective_number,
    {{ safe_divide(
        'concentrations.uneven_cost_usd', 'concentrations.member_count * concentrations.total_cost_usd'
    ) }} as gini_ratio
from judged
left join shared
    on
        judged.window_name = shared.window_name
        and judged.dimension = shared.dimension
        and judged.member = shared.member
left join concentrations
    on
        judged.window_name = concentrations.window_name
        and judged.dimension = concentrations.dimension
