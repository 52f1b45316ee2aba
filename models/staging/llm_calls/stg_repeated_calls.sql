{{ config(materialized='table') }}

-- found once a build, as several models read stg_llm_calls
select
    call_id,
    usage_date
from {{ lake('llm_calls') }}
group by call_id, usage_date
having count(*) > 1
