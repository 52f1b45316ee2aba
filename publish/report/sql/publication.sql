select published_at, build_id, built_at, batch_count, newest_delivery_at
from {{ mart('main.publication') }}
