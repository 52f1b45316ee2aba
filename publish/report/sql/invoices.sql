select
    source,
    billing_account_id,
    billing_currency,
    invoice_amount,
    period_status,
    delivered_at,
    line_count,
    unconverted_line_count,
    invoice_usd,
    unexplained_usd
from {{ mart('quality.invoice_walk_monthly') }}
where billing_month = date '{{ first_date }}'
order by source, billing_account_id nulls last, billing_period_start, billing_currency
