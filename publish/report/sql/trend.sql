{%- from 'parts.sql' import converted_parts with context -%}
with {{ converted_parts() }}

select bill_month, part, amount
from parts
where part not in ('gpu_estimated', 'model_charges') and bill_month <= date '{{ first_date }}'
order by bill_month, list_position({{ part_names }}, part)
