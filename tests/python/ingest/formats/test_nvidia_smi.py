"""nvidia-smi's CSV log: units, what is missing, clocks without a zone, hosts, headers that come again."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ingest.lake import Lake
from tests.python.ingest.helpers import bring, write_lines

HEADER = "timestamp, index, uuid, name, utilization.gpu [%], memory.used [MiB], power.draw [W]"


def row(second: float = 0, gpu: int = 1, util: str = "37 %", memory: str = "22535 MiB", power: str = "71.40 W") -> str:
    moment = datetime(2026, 8, 19, 10, tzinfo=UTC).timestamp() + second
    text = datetime.fromtimestamp(moment, UTC).strftime("%Y/%m/%d %H:%M:%S.%f")[:-3]
    return f"{text}, {gpu - 1}, GPU-{gpu}, NVIDIA L40S, {util}, {memory}, {power}"


def test_a_row_in_the_columns_units(tmp_path, lake_rows):
    result = bring(tmp_path, write_lines(tmp_path / "smi.csv", [HEADER, row(0.123), row(1.123, util="100 %")]))

    assert (result.format, result.message) == ("nvidia_smi", "")
    columns = "gpu_uuid, hostname, sampled_at, interval_seconds, gpu_model, gpu_util, fb_used_bytes, power_watts"
    assert lake_rows("gpu_samples", columns) == [
        (
            "GPU-1",
            None,
            datetime(2026, 8, 19, 10, 0, second, 123000, tzinfo=UTC),
            Decimal(1),
            "NVIDIA L40S",
            ratio,
            22535 * 1024 * 1024,
            71.4,
        )
        for second, ratio in ((0, 0.37), (1, 1.0))
    ]


def test_values_without_units(tmp_path, lake_rows):
    lines = [HEADER, row(util="37", memory="22535", power="71.40")]
    bring(tmp_path, write_lines(tmp_path / "smi.csv", lines))

    assert lake_rows("gpu_samples", "gpu_util, fb_used_bytes, power_watts") == [(0.37, 22535 * 1024 * 1024, 71.4)]


def test_header_names_without_units_and_with_other_names(tmp_path, lake_rows):
    lines = [
        "timestamp,gpu_uuid,gpu_name,utilization.gpu,memory.used,power.draw.instant [W]",
        "2026/08/19 10:00:00,GPU-1,L4,5,1,30",
    ]
    bring(tmp_path, write_lines(tmp_path / "smi.csv", lines))

    assert lake_rows("gpu_samples", "sampled_at, gpu_uuid, gpu_model, gpu_util, fb_used_bytes, power_watts") == [
        (datetime(2026, 8, 19, 10, tzinfo=UTC), "GPU-1", "L4", 0.05, 1024 * 1024, 30.0)
    ]


@pytest.mark.parametrize("text", ["[N/A]", "[Not Supported]", "[Unknown Error]", "N/A", ""])
def test_what_is_missing_is_null_and_not_zero(tmp_path, lake_rows, text):
    lines = [HEADER, row(0, util=text), row(1, power=text), row(2, util=text, memory=text, power=text)]
    result = bring(tmp_path, write_lines(tmp_path / "smi.csv", lines))

    assert (result.rows_loaded, result.rows_skipped) == (2, 1)
    assert lake_rows("gpu_samples", "gpu_util, power_watts") == [(0.37, None), (None, 71.4)]
    (batch,) = Lake(tmp_path / "lake").batches().values()
    assert batch.counts["gpu_samples"].skip_reasons == {"no data (nothing was measured)": 1}


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        (row(1, util="busy"), "gpu_util", "not a number"),
        (row(1, util="101 %"), "gpu_util", "not a ratio from 0 to 1"),
        (row(1, memory="22 GiB"), "fb_used_bytes", "not a whole number"),
        (row(1, power="-5 W"), "power_watts", "negative"),
        (row(1).replace("2026/08/19", "19.08.26"), "sampled_at", "not a time"),
        (row(1).replace("GPU-1", ""), "gpu_uuid", "missing"),
    ],
)
def test_a_wrong_value_costs_its_row_only(tmp_path, lake_rows, text, column, reason):
    result = bring(tmp_path, write_lines(tmp_path / "smi.csv", [HEADER, row(0), HEADER, text, row(2)]))

    assert (result.rows_loaded, result.rows_quarantined, result.rows_skipped) == (2, 1, 1)
    assert lake_rows("quarantined_rows", "file_name, line_number, column_name, reason") == [
        ("smi.csv", 4, column, reason)
    ]


def test_the_clock_is_of_the_sources_zone(tmp_path, lake_rows):
    bring(tmp_path, write_lines(tmp_path / "smi.csv", [HEADER, row(0)]), time_zone="Asia/Kolkata")

    assert lake_rows("gpu_samples", "sampled_at") == [(datetime(2026, 8, 19, 4, 30, tzinfo=UTC),)]


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        # the loop drifts, and two GPUs of one query are no interval
        ([0.1, 1.107, 2.111, 3.114, 4.12], "1"),
        ([0, 0.501, 1.002, 1.504], "0.5"),
        ([0, 0.02, 0.04, 0.06], "0.02"),
        ([0, 5, 10, 600, 605], "5"),
    ],
)
def test_the_interval_is_the_most_frequent_distance_of_a_gpu(tmp_path, lake_rows, moments, expected):
    lines = [line for moment in moments for line in (row(moment, gpu=1), row(moment + 0.002, gpu=2))]
    bring(tmp_path, write_lines(tmp_path / "smi.csv", [HEADER, *lines]))

    assert lake_rows("gpu_samples", "distinct interval_seconds") == [(Decimal(expected),)]


def test_a_single_query_stands_for_a_minute(tmp_path, lake_rows):
    bring(tmp_path, write_lines(tmp_path / "smi.csv", [HEADER, row(0, gpu=1), row(0.002, gpu=2)]))

    assert lake_rows("gpu_samples", "distinct interval_seconds") == [(Decimal(60),)]


def test_the_host_is_what_a_folder_says(tmp_path, lake_rows):
    bring(tmp_path, write_lines(tmp_path / "host=node-7" / "node-8.csv", [HEADER, row(0)]))
    bring(tmp_path, write_lines(tmp_path / "node-9" / "smi.csv", [HEADER, row(1)]))

    assert lake_rows("gpu_samples", "hostname") == [("node-7",), (None,)]


def test_without_uuid_a_gpu_is_its_host_and_index(tmp_path, lake_rows):
    lines = ["timestamp, index, utilization.gpu [%]", "2026/08/19 10:00:00.123, 3, 5 %"]
    bring(tmp_path, write_lines(tmp_path / "host=node-7" / "smi.csv", lines))
    nameless = bring(tmp_path, write_lines(tmp_path / "smi.csv", [*lines, "2026/08/19 10:00:01.123, 3, 5 %"]))

    assert lake_rows("gpu_samples", "gpu_uuid, hostname") == [("node-7:3", "node-7")]
    assert nameless.state == "failed"
    assert (
        "smi.csv: no column uuid, and no folder names the host. Query uuid as well, or put the log" in nameless.message
    )


def test_logs_that_overlap_share_their_keys(tmp_path, lake_rows):
    bring(tmp_path, write_lines(tmp_path / "a.csv", [HEADER, row(0), row(1)]))
    bring(tmp_path, write_lines(tmp_path / "b.csv", [HEADER, row(1), row(2)]))

    assert lake_rows("gpu_samples", "count(*), count(distinct (gpu_uuid, sampled_at))") == [(4, 3)]
