with quarantined_rows as (
    select * from {{ lake('quarantined_rows') }}
),

batches as (
    select distinct
        batch_id,
        delivered_at
    from {{ snapshot('batches') }}
    where change != 'removed'
)

select
    quarantined_rows.batch_id,
    quarantined_rows.source,
    quarantined_rows.format,
    quarantined_rows.contract,
    cast(batches.delivered_at as timestamp) as delivered_at,
    quarantined_rows.file_name,
    quarantined_rows.line_number,
    quarantined_rows.column_name,
    quarantined_rows.reason,
    quarantined_rows.row_length,
    quarantined_rows.row_hash
from quarantined_rows
inner join batches on quarantined_rows.batch_id = batches.batch_id
