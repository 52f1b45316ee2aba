{%- from 'money.sql' import rates, at_rate, money, in_month with context -%}
with {{ rates() -}}
days as (
    select
        daily.team,
        {{ money('daily.effective_cost_usd') }} as effective_cost,
        {{ money('daily.active_usd') }} as active_cost,
        {{ money('daily.idle_usd') }} as idle_cost,
        {{ money('daily.unknown_usd') }} as unknown_cost,
        {{ money('daily.unused_commitment_usd') }} as unused_commitment_cost
    from {{ mart('capacity.idle_dollars_daily') }} as daily {{ at_rate('daily.usage_date') }}
    where {{ in_month('daily.usage_date') }}
),

names as (
    {%- if has('core.dim_teams') %}
    select team, max(display_name) as display_name from {{ mart('core.dim_teams') }} group by team
    {%- else %}
    select distinct team, cast(null as varchar) as display_name from days
    {%- endif %}
),

-- the row without a name is the sum of all
teams as (
    select
        days.team,
        grouping(days.team) as is_sum,
        coalesce(any_value(names.display_name), days.team, 'no team') as team_name,
        sum(effective_cost) as effective_cost,
        sum(active_cost) as active_cost,
        sum(idle_cost) as idle_cost,
        sum(unknown_cost) as unknown_cost,
        sum(unused_commitment_cost) as unused_commitment_cost,
        20 * sum(idle_cost) / nullif(sum(effective_cost), 0) as idle_of_twenty,
        20 * sum(unknown_cost) / nullif(sum(effective_cost), 0) as unknown_of_twenty
    from days
    left join names on days.team = names.team
    group by grouping sets ((days.team), ())
    having count(*) > 0
)

select
    team,
    case
        when is_sum = 1 then null
        when count(*) over (partition by is_sum, team_name) > 1 then concat(team_name, ' (', coalesce(team, 'no team'), ')')
        else team_name
    end as team_name,
    effective_cost,
    active_cost,
    idle_cost,
    unknown_cost,
    unused_commitment_cost,
    idle_of_twenty,
    unknown_of_twenty
from teams
order by is_sum, idle_cost desc nulls last, team
