-- Every line of the current bills is in the warehouse once, and the invoice walk holds all of them.
with staged as (
    select
        source,
        count(*) as line_count,
        sum(billed_cost) as billed_cost
    from {{ ref('stg_bill_lines') }}
    group by source
),

facts as (
    select
        source,
        count(*) as line_count,
        sum(billed_cost) as billed_cost
    from {{ ref('fct_bill_lines') }}
    group by source
),

walks as (
    select
        source,
        sum(line_count) as line_count,
        sum(invoice_amount) as billed_cost
    from {{ ref('invoice_walk_monthly') }}
    group by source
)

select
    coalesce(staged.source, facts.source) as source,
    staged.line_count as staged_line_count,
    facts.line_count as fact_line_count,
    walks.line_count as walk_line_count
from staged
full outer join facts on staged.source = facts.source
left join walks on facts.source = walks.source
where
    coalesce(staged.line_count, 0) != coalesce(facts.line_count, 0)
    or coalesce(staged.line_count, 0) != coalesce(walks.line_count, 0)
    or coalesce(staged.billed_cost, 0) != coalesce(facts.billed_cost, 0)
    or coalesce(staged.billed_cost, 0) != coalesce(walks.billed_cost, 0)
