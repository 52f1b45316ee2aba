select
    team,
    display_name,
    owner,
    valid_from,
    valid_to
from {{ snapshot('company_teams') }}
