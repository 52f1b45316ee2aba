select
    task_type,
    display_name,
    unit_noun,
    workload_class,
    latency_target_seconds,
    quality_tolerance_ratio,
    may_move,
    valid_from,
    valid_to
from {{ snapshot('company_task_types') }}
