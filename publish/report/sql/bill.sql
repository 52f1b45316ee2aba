{%- from 'parts.sql' import converted_parts with context -%}
with {{ converted_parts(first_date) }}

select
    part,
    amount,
    case when part != 'gpu_estimated' then amount / nullif(max(amount) filter (part = 'total') over (), 0) end
        as share_ratio
from parts
where bill_month = date '{{ first_date }}'
order by list_position({{ part_names }}, part)
