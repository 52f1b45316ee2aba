with labels as (
    select * from {{ lake('tasks') }}
),

batches as (
    select
        batch_id,
        delivered_at
    from {{ snapshot('batches') }}
    where contract = 'tasks' and change != 'removed'
),

-- within one delivery the later closing wins; the other columns only make the order of true ties stable
ranked as (
    select
        labels.*,
        row_number() over (
            partition by labels.task_id
            order by
                batches.delivered_at, labels.batch_id, labels.closed_at nulls first, labels.outcome nulls first,
                labels.task_type nulls first, labels.team nulls first, labels.complexity nulls first,
                labels.quality_score nulls first, labels.value nulls first, labels.customer nulls first
        ) as recency
    from labels
    inner join batches on labels.batch_id = batches.batch_id
)

-- the grain changes: from one row per task and delivery to one row per task
select
    task_id,
    {{ newest('task_type') }} as task_type,
    {{ newest('team') }} as team,
    {{ newest('application') }} as application,
    {{ newest('customer') }} as customer,
    {{ newest('environment') }} as environment,
    {{ newest('outcome') }} as outcome,
    cast({{ newest('closed_at') }} as timestamp) as closed_at,
    {{ newest('complexity') }} as complexity,
    {{ newest('quality_score') }} as quality_score,
    {{ newest('value') }} as task_value,
    {{ newest('value_currency') }} as task_value_currency
from ranked
group by task_id
