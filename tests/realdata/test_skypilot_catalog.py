"""A slice of SkyPilot's catalogue, with the dirt that its SOURCE.md lists: all of it is caught, none of it fans out."""

from __future__ import annotations

import csv
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from tests.realdata.conftest import REPOSITORY, Home

FOLDER = "skypilot_gpu_catalog_slice"
FILES = {"aws": "aws_p_family.csv", "runpod": "runpod_rows.csv", "lambda": "lambda_rows.csv"}
MODES = {"on_demand": "Price", "spot": "SpotPrice"}


def catalogue(real_data: Path, cloud: str) -> list[dict[str, str]]:
    with open(real_data / FOLDER / FILES[cloud], newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def quotes(home: Home, real_data: Path) -> dict[tuple[str, str, str, str], dict]:
    """The published quotes by cloud, machine, zone and purchase mode."""
    for name in FILES.values():
        path = real_data / FOLDER / name
        home.run("ingest", path, "--source", "skypilot", "--delivered-at", "2026-08-01T00:00:00Z")
    home.publish()
    rows = home.query(
        """
        select * replace (
            cast(low_usd_per_gpu_hour as varchar) as low_usd_per_gpu_hour,
            cast(high_usd_per_gpu_hour as varchar) as high_usd_per_gpu_hour,
            cast(on_demand_usd_per_gpu_hour as varchar) as on_demand_usd_per_gpu_hour
        )
        from quality.quote_observations
        """
    )
    found = {}
    for row in rows:
        _, _, machine, *zone = row["origin"].split(" ")
        key = row["provider"], machine, "".join(zone), row["purchase_mode"]
        assert key not in found, key
        found[key] = row
    return found


def of(quotes: dict, machine: str, mode: str) -> dict[str, dict]:
    return {zone: row for (_, name, zone, how), row in quotes.items() if (name, how) == (machine, mode)}


def test_every_price_is_the_machines_by_its_gpus_rounded_once(quotes, real_data) -> None:
    expected = {}
    for cloud in FILES:
        for row in catalogue(real_data, cloud):
            for mode, column in MODES.items():
                if row[column]:
                    price = Decimal(row[column]) / Decimal(row["AcceleratorCount"])
                    key = cloud, row["InstanceType"], row.get("AvailabilityZone", ""), mode
                    expected[key] = price.quantize(Decimal("1e-12"), ROUND_HALF_UP)
    assert {key: Decimal(row["low_usd_per_gpu_hour"]) for key, row in quotes.items()} == expected
    assert all(row["low_usd_per_gpu_hour"] == row["high_usd_per_gpu_hour"] for row in quotes.values())


def test_every_gpu_is_the_one_that_the_instance_catalogue_has(quotes) -> None:
    with open(REPOSITORY / "seeds" / "gpu_instances.csv", newline="", encoding="utf-8") as file:
        known = {row["instance_type"]: row["gpu_model"] for row in csv.DictReader(file)}
    found = {machine.lower(): row["gpu_model"] for (_, machine, _, _), row in quotes.items()}
    assert {"p4de.24xlarge", "p5.48xlarge", "gpu_8x_a100"} <= found.keys()
    compared = found.keys() & known.keys()
    assert len(compared) >= 7
    assert {machine: found[machine] for machine in compared} == {machine: known[machine] for machine in compared}


def test_a_machine_under_two_gpu_names_is_one_quote_and_is_told(quotes) -> None:
    on_demand, spot = of(quotes, "p4de.24xlarge", "on_demand"), of(quotes, "p4de.24xlarge", "spot")
    assert (len(on_demand), len(spot)) == (10, 5)
    twice = {zone for zone, row in on_demand.items() if row["listed_count"] == 2}
    assert twice == spot.keys() == {"use1-az4", "use1-az6", "usw2-az1", "usw2-az2", "usw2-az3"}
    assert {row["gpu_model"] for row in (*on_demand.values(), *spot.values())} == {"A100-SXM-80GB"}
    assert {row["listed_count"] for row in quotes.values()} == {1, 2}
    # both names have the same price on demand, so it is as good as any
    assert {row["state"] for row in on_demand.values()} == {"usable"}
    assert all(row["on_demand_usd_per_gpu_hour"] == "5.120718750000" for row in spot.values())


def test_a_machine_that_is_not_sold_on_demand_has_no_such_price(quotes, home: Home) -> None:
    assert of(quotes, "p5e.48xlarge", "on_demand") == {}
    spot = of(quotes, "p5e.48xlarge", "spot")
    assert spot.keys() == {"apse3-az1", "use2-az1", "use2-az3", "usw2-az3"}
    assert {row["on_demand_usd_per_gpu_hour"] for row in spot.values()} == {None}


def test_rows_without_a_price_are_counted(home: Home, quotes) -> None:
    rows = home.query(
        "select sum(rows_read) as rows_read, sum(rows_loaded) as loaded, sum(rows_quarantined) as quarantined, "
        "sum(rows_skipped) as skipped from quality.ingest_batches where contract = 'gpu_quotes'"
    )
    # 136 machines and zones, on demand and spot; 7 without the one, 36 without the other
    assert rows == [{"rows_read": 272, "loaded": 229, "quarantined": 0, "skipped": 43}]


def test_spot_prices_that_are_none_are_held(quotes) -> None:
    held = {(machine, zone): row["held_reason"] for (_, machine, zone, _), row in quotes.items() if row["held_reason"]}
    assert held == {
        ("p3.8xlarge", "apne2-az3"): "spot equals on demand",
        ("p5.48xlarge", "cac1-az4"): "spot equals on demand",
        ("p5.48xlarge", "apse2-az2"): "spot within 1 percent of on demand",
        ("2x_L40S_SECURE", "US-CA-1"): "spot above on demand",
        ("4x_L40S_SECURE", "US-CA-1"): "spot above on demand",
        ("8x_L40S_SECURE", "US-CA-1"): "spot above on demand",
    }


def test_spot_prices_of_zones_far_apart_are_told(quotes) -> None:
    apart = {row["region"] for row in of(quotes, "p3.8xlarge", "spot").values() if row["is_far_apart_in_region"]}
    # 1.6936 and 16.936 for the machine in Seoul; 5.2892 and 5.1184 in Tokyo
    assert "ap-northeast-2" in apart and "ap-northeast-1" not in apart
    [row] = [row for zone, row in of(quotes, "p5.48xlarge", "spot").items() if zone == "apse2-az3"]
    assert row["is_far_apart_in_region"] and row["state"] == "usable"


def test_quotes_are_by_region_and_name_the_zone_in_their_origin_alone(quotes) -> None:
    rows = [row for (cloud, *_), row in quotes.items() if cloud == "aws"]
    assert {row["region"] for row in rows} & {"us-east-1", "eu-west-2"} == {"us-east-1", "eu-west-2"}
    assert not any("-az" in (row["region"] or "") for row in rows)
