-- Every row of the lake's files that this build lists is read: engines may pass over a file that is not there.
{%- set dated = ['llm_calls', 'gpu_samples'] %}
{%- set undated = ['bill_lines', 'tasks', 'replica_windows', 'resource_links', 'fx_rates'] %}

with files as (
    select * from {{ snapshot('files') }}
),

listed as (
    select
        contract,
        sum(row_count) as row_count
    from files
    where change != 'removed' and (usage_date is null or {{ in_tested_dates('usage_date', of_lake=true) }})
    group by contract
),

read_rows as (
    {%- for contract in dated + undated %}
    select
        '{{ contract }}' as contract,
        count(*) as row_count
    from {{ lake(contract) }}
    {%- if contract in dated %}
    where {{ in_tested_dates('usage_date', of_lake=true) }}
    {%- endif %}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)

select
    read_rows.contract,
    listed.row_count as listed_rows,
    read_rows.row_count as read_rows
from read_rows
left join listed on read_rows.contract = listed.contract
where read_rows.row_count != coalesce(listed.row_count, 0)
