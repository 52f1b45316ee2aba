with company_teams as (
    select * from {{ ref('stg_company_teams') }}
),

attempts as (
    select distinct team from {{ ref('fct_call_attempts') }}
),

gpu_hours as (
    select distinct team from {{ ref('fct_gpu_hours') }}
),

-- a team may have a part of an hour and never most of one
gpu_hour_owners as (
    select distinct team from {{ ref('int_gpu_hour_owners') }}
),

-- a team whose entry was dated is known by its latest entry
ranked as (
    select
        *,
        row_number() over (
            partition by team
            order by coalesce(valid_from, date '0001-01-01') desc
        ) as entry_rank
    from company_teams
),

teams as (
    select team from company_teams
    union
    select team from attempts
    union
    select team from gpu_hours
    union
    select team from gpu_hour_owners
)

select
    teams.team,
    ranked.display_name,
    ranked.owner,
    ranked.team is not null as is_in_company_file,
    ranked.valid_from,
    ranked.valid_to
from teams
left join ranked on teams.team = ranked.team and ranked.entry_rank = 1
