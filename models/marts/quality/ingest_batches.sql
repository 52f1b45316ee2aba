with batches as (
    select * from {{ snapshot('batches') }}
    where change != 'removed'
)

select
    batch_id,
    contract,
    source,
    format,
    format_version,
    mapping_hash,
    cast(delivered_at as timestamp) as delivered_at,
    cast(committed_at as timestamp) as committed_at,
    file_names,
    file_count,
    byte_count,
    rows_read,
    rows_loaded,
    rows_quarantined,
    rows_skipped,
    skip_reasons,
    min_date as first_date,
    max_date as last_date
from batches
