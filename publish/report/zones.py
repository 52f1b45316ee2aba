"""The local time of a site: the IANA zone of a cloud's region.

What is told in pertask.yml (`report: {time_zones: {...}}`) goes before the list that ships with the product. A region
that neither has is shown in UTC.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

_ZONES = Path(__file__).with_name("region_zones.csv")


def zones_of(regions: Iterable[str | None], told: Mapping[str, str]) -> dict[str, str]:
    """The zones of those regions that have a known one, by region."""
    with open(_ZONES, encoding="utf-8", newline="") as file:
        shipped = {row["region"]: row["time_zone"] for row in csv.DictReader(file)}
    zones = {**shipped, **told}
    return {region: zones[region] for region in sorted(set(filter(None, regions))) if region in zones}
