"""SkyPilot's catalogue: what one GPU of a machine costs, on demand and on spot, and what makes no quote."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.lake import Lake
from tests.python.ingest.helpers import bring, write_csv, write_lines

SEEN = datetime(2026, 8, 1, tzinfo=UTC)


def machine(**changes: str) -> dict[str, str]:
    """A row as the catalogue of AWS has it."""
    return {
        "InstanceType": "p4d.24xlarge",
        "AcceleratorName": "A100",
        "AcceleratorCount": "8.0",
        "vCPUs": "96.0",
        "MemoryGiB": "1152.0",
        "GpuInfo": gpu_info("A100"),
        "Price": "32.7726",
        "SpotPrice": "6.791500",
        "Region": "us-east-1",
        "AvailabilityZone": "use1-az1",
        "Arch": "x86_64",
        **changes,
    }


def gpu_info(name: str) -> str:
    memory = "{'SizeInMiB': 40960}"
    return f"{{'Gpus': [{{'Name': '{name}', 'Manufacturer': 'NVIDIA', 'Count': 8, 'MemoryInfo': {memory}}}]}}"


def test_a_machine_gives_a_price_on_demand_and_one_on_spot_for_a_gpu(tmp_path, lake_rows):
    path = write_csv(tmp_path / "v7" / "aws" / "vms.csv", [machine()])
    result = bring(tmp_path, path, delivered_at=SEEN)

    assert (result.format, result.rows_read, result.rows_loaded, result.message) == ("skypilot_catalog", 2, 2, "")
    names = "provider, gpu_model, region, purchase_mode, low_usd_per_gpu_hour, quote_status, term, seen_at, origin"
    place = ("quote", None, SEEN, "SkyPilot aws/vms.csv p4d.24xlarge use1-az1")
    assert lake_rows("gpu_quotes", names) == [
        ("aws", "A100", "us-east-1", "on_demand", Decimal("4.096575"), *place),
        ("aws", "A100", "us-east-1", "spot", Decimal("0.8489375"), *place),
    ]


@pytest.mark.parametrize(
    ("price", "count", "expected"),
    [
        ("1", "3", "0.333333333333"),
        ("2", "3", "0.666666666667"),
        # half of the last digit goes up
        ("0.000000000001", "2.0", "0.000000000001"),
        ("0.000000000003", "8", "0"),
        # a slice of a GPU
        ("0.454", "0.166667", "2.723994552011"),
        ("999999999", "1", "999999999"),
    ],
)
def test_the_division_is_exact_and_rounded_once(tmp_path, lake_rows, price, count, expected):
    bring(tmp_path, write_csv(tmp_path / "aws_1.csv", [machine(Price=price, AcceleratorCount=count, SpotPrice="")]))
    assert lake_rows("gpu_quotes", "low_usd_per_gpu_hour") == [(Decimal(expected),)]


def test_what_has_no_price_or_no_gpu_makes_no_quote_and_is_counted(tmp_path, lake_rows):
    rows = [
        machine(Price=""),
        machine(SpotPrice="", AvailabilityZone=""),
        machine(AcceleratorName="", AcceleratorCount=""),
        machine(InstanceType="", Region="us-central1"),
    ]
    result = bring(tmp_path, write_csv(tmp_path / "gcp" / "vms.csv", rows))

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (8, 2, 0)
    [batch] = Lake(tmp_path / "lake").batches().values()
    assert batch.counts["gpu_quotes"].skip_reasons == {
        "no price on demand": 1,
        "no spot price": 1,
        "a machine without a GPU": 2,
        "a GPU without its machine": 2,
    }
    assert lake_rows("gpu_quotes", "purchase_mode, origin") == [
        ("on_demand", "SkyPilot gcp/vms.csv p4d.24xlarge"),
        ("spot", "SkyPilot gcp/vms.csv p4d.24xlarge use1-az1"),
    ]


def test_a_wrong_price_or_count_costs_its_row_alone(tmp_path, lake_rows):
    rows = [
        machine(Price="n/a"),
        machine(Price="-1"),
        machine(Price="1000000000"),
        machine(AcceleratorCount="0", SpotPrice=""),
        machine(AcceleratorCount="many", SpotPrice=""),
    ]
    path = write_csv(tmp_path / "aws" / "vms.csv", rows)
    with open(path, "a", encoding="utf-8", newline="") as file:
        file.write("p5.48xlarge,H100\r\n")
    result = bring(tmp_path, path)

    assert (result.rows_loaded, result.rows_quarantined) == (3, 6), result.message
    assert lake_rows("gpu_quotes", "purchase_mode, low_usd_per_gpu_hour") == [("spot", Decimal("0.8489375"))] * 3
    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [
        (2, "low_usd_per_gpu_hour", "not a number"),
        (3, "low_usd_per_gpu_hour", "negative"),
        (4, "low_usd_per_gpu_hour", "too large for a price"),
        (5, "AcceleratorCount", "not a number above 0"),
        (6, "AcceleratorCount", "not a number above 0"),
        (7, None, "not a row of this table (missing columns)"),
    ]


def test_a_machine_under_two_names_of_its_gpu_keeps_skypilots(tmp_path, lake_rows):
    twice = [
        machine(InstanceType="p4de.24xlarge", AcceleratorName="A100-80GB", GpuInfo=gpu_info("A100-80GB"), SpotPrice=""),
        machine(InstanceType="p4de.24xlarge", AcceleratorName="A100-80GB", GpuInfo=gpu_info("A100")),
    ]
    result = bring(tmp_path, write_csv(tmp_path / "aws" / "vms.csv", [machine(), *twice]))

    assert result.rows_skipped == 1
    found = lake_rows("gpu_quotes", "purchase_mode, gpu_model, origin")
    assert [row for row in found if "p4de" in row[2]] == [
        ("on_demand", "A100-80GB", "SkyPilot aws/vms.csv p4de.24xlarge use1-az1"),
        ("on_demand", "A100-80GB", "SkyPilot aws/vms.csv p4de.24xlarge use1-az1"),
        ("spot", "A100-80GB", "SkyPilot aws/vms.csv p4de.24xlarge use1-az1"),
    ]


def test_names_that_mean_another_card_on_runpod(tmp_path, lake_rows):
    rows = [machine(AcceleratorName=name, SpotPrice="") for name in ("A100-80GB", "A100-80GB-SXM", "H100", "L40S")]
    bring(tmp_path, write_csv(tmp_path / "runpod" / "vms.csv", rows))
    assert lake_rows("gpu_quotes", "gpu_model") == [("A100-80GB-SXM",), ("A100-PCIE-80GB",), ("H100-PCIE",), ("L40S",)]


def test_the_same_catalogue_seen_again_later_is_another_observation(tmp_path, lake_rows):
    path = write_csv(tmp_path / "aws" / "vms.csv", [machine(SpotPrice="")])
    for day in (1, 2, 2):
        bring(tmp_path, path, delivered_at=datetime(2026, 8, day, tzinfo=UTC))
    assert [seen.day for (seen,) in lake_rows("gpu_quotes", "seen_at")] == [1, 2]


def test_parquet_and_a_file_cut_off(tmp_path, lake_rows):
    (tmp_path / "aws").mkdir()
    pq.write_table(
        pa.Table.from_pylist([machine() | {"AcceleratorCount": 8.0, "Price": 8.5}]), tmp_path / "aws_x.parquet"
    )
    assert bring(tmp_path, tmp_path / "aws_x.parquet").rows_loaded == 2
    assert lake_rows("gpu_quotes", "provider, low_usd_per_gpu_hour")[0] == ("aws", Decimal("0.8489375"))
    assert lake_rows("gpu_quotes", "low_usd_per_gpu_hour")[1] == (Decimal("1.0625"),)

    header = ",".join(machine())
    assert bring(tmp_path, write_lines(tmp_path / "aws" / "vms.csv", [header])).rows_read == 0
