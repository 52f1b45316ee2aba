-- Each window of spend_concentration holds its days' cost once, whatever it is cut by; its measures keep their bounds.
with concentrations as (
    select
        window_name,
        window_start_date,
        window_end_date,
        dimension,
        sum(cost_usd) as cost_usd,
        sum(case when not is_excluded then cost_usd end) as included_cost_usd,
        sum(share_ratio) as share_ratio,
        max(cumulative_ratio) as cumulative_ratio,
        max(total_cost_usd) as total_cost_usd,
        max(member_count) as member_count,
        max(hhi_ratio) as hhi_ratio,
        max(gini_ratio) as gini_ratio
    from {{ ref('spend_concentration') }}
    group by window_name, window_start_date, window_end_date, dimension
),

days as (
    select * from {{ ref('cost_per_task_daily') }}
),

windows as (
    select
        concentrations.window_name,
        concentrations.dimension,
        sum(days.cost_usd) as cost_usd
    from concentrations
    inner join days on days.started_date between concentrations.window_start_date and concentrations.window_end_date
    group by concentrations.window_name, concentrations.dimension
)

select
    concentrations.*,
    windows.cost_usd as expected_cost_usd
from concentrations
left join windows
    on
        concentrations.window_name = windows.window_name
        and concentrations.dimension = windows.dimension
where
    concentrations.cost_usd is distinct from windows.cost_usd
    or concentrations.included_cost_usd is distinct from concentrations.total_cost_usd
    or abs(concentrations.share_ratio - 1) > 0.000000001
    or concentrations.cumulative_ratio != 1
    or concentrations.hhi_ratio * concentrations.member_count < 0.999999999
    or concentrations.hhi_ratio > 1.000000001
    or concentrations.gini_ratio < 0
    or concentrations.gini_ratio >= 1
