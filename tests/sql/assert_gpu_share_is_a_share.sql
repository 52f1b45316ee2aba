-- The share of a machine's price that its GPUs carry is above 0 and at most 1: 0.95, not 95.
with settings as (
    select cast({{ var('gpu_share_of_node_ratio') }} as decimal(18, 12)) as gpu_share_of_node_ratio
)

select gpu_share_of_node_ratio
from settings
where gpu_share_of_node_ratio <= 0 or gpu_share_of_node_ratio > 1
