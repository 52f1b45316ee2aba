{%- from 'money.sql' import in_month with context -%}
select min(usd_per_unit) as lowest_usd_per_unit, max(usd_per_unit) as highest_usd_per_unit, count(*) as days
from {{ mart('core.dim_fx_rates') }}
where currency = '{{ currency }}' and {{ in_month('rate_day') }} and usd_per_unit is not null
having count(*) > 0
