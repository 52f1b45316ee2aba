{%- from 'parts.sql' import converted_parts with context -%}
with {{ converted_parts(trend_date) }}

select bill_month, part, amount
from parts
where part not in ('gpu_estimated', 'model_charges') and bill_month between date '{{ trend_date }}' and date '{{ first_date }}'
order by bill_month, list_position({{ part_names }}, part)
