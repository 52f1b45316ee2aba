select
    match_on,
    match_value,
    team,
    service,
    coalesce(valid_from, date '0001-01-01') as valid_from,
    coalesce(valid_to, date '9999-12-31') as valid_to
from {{ snapshot('company_owners') }}
