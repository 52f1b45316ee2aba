with calls as (
    select * from {{ lake('llm_calls') }}
)

-- names are resolved once, not once a call; a tool that is no model is priced by its name
select distinct
    provider as logged_provider,
    model as logged_model,
    case when model is null then tool_name end as logged_tool,
    usage_date
from calls
