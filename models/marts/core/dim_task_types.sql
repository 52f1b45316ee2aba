with company_task_types as (
    select * from {{ ref('stg_company_task_types') }}
),

attempts as (
    select distinct task_type from {{ ref('fct_call_attempts') }}
),

-- a task type whose entry was dated is known by its latest entry
ranked as (
    select
        *,
        row_number() over (
            partition by task_type
            order by coalesce(valid_from, date '0001-01-01') desc
        ) as entry_rank
    from company_task_types
),

task_types as (
    select task_type from company_task_types
    union
    select task_type from attempts
)

select
    task_types.task_type,
    ranked.display_name,
    ranked.unit_noun,
    ranked.workload_class,
    ranked.latency_target_seconds,
    ranked.quality_tolerance_ratio,
    ranked.may_move,
    ranked.task_type is not null as is_in_company_file,
    ranked.valid_from,
    ranked.valid_to
from task_types
left join ranked on task_types.task_type = ranked.task_type and ranked.entry_rank = 1
