select distinct
    source,
    billing_account_id,
    cast(date_trunc('month', billing_period_start) as date) as bill_month
from {{ mart('core.fct_bill_lines') }}
order by bill_month, source, billing_account_id nulls last
