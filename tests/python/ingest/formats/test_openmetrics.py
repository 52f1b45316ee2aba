"""Metrics as text: units of time, labels, scrapes without times, what is no sample, and both contracts in one file."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ingest.lake import Lake
from tests.python.ingest.helpers import bring, write_lines

NOON = 1_785_585_600  # 2026-08-01T12:00:00Z
DELIVERED = datetime(2026, 8, 1, 12, 30, tzinfo=UTC)
GPU = 'gpu="0",UUID="GPU-1",device="nvidia0",modelName="NVIDIA L40S",Hostname="node-1"'
SKIPPED = "no data (NaN, infinity or a DCGM blank)"


def at(*seconds: float) -> list[datetime]:
    return [datetime.fromtimestamp(NOON + second, UTC) for second in seconds]


def util(value: object, second: float | None = None, labels: str = GPU, unit: int = 1000) -> str:
    """A line of the older format, in milliseconds, or with unit=1 of OpenMetrics, in seconds."""
    time = "" if second is None else f" {(NOON + second) * unit:.{3 if unit == 1 else 0}f}"
    return f"DCGM_FI_DEV_GPU_UTIL{{{labels}}} {value}{time}"


HEADER = ["# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).", "# TYPE DCGM_FI_DEV_GPU_UTIL gauge"]


def skip_reasons(tmp_path, contract: str = "gpu_samples") -> dict[str, int]:
    (batch,) = Lake(tmp_path / "lake").batches().values()
    return batch.counts[contract].skip_reasons


def test_times_are_milliseconds_in_the_older_format_and_seconds_in_openmetrics(tmp_path, lake_rows):
    older = [*HEADER, util(37, 0), util(40, 15), util(41, 30)]
    newer = [*HEADER, util(37, 0.5, unit=1), util(40, 15.5, unit=1), util(41, 30.5, unit=1), "# EOF"]
    assert bring(tmp_path, write_lines(tmp_path / "older.prom", older)).format == "openmetrics"
    assert bring(tmp_path, write_lines(tmp_path / "newer.om", newer)).message == ""

    assert lake_rows("gpu_samples", "sampled_at, interval_seconds, gpu_util") == sorted(
        (moment, Decimal(15), ratio)
        for start in (0, 0.5)
        for moment, ratio in zip(at(start, start + 15, start + 30), (0.37, 0.4, 0.41), strict=True)
    )


def test_several_scrapes_in_one_file_each_with_its_end(tmp_path, lake_rows):
    lines = [*HEADER, util(37, 0, unit=1), "# EOF", *HEADER, util(40, 60, unit=1), "# EOF"]
    result = bring(tmp_path, write_lines(tmp_path / "x.om", lines))

    assert (result.rows_read, result.rows_loaded) == (2, 2)
    assert lake_rows("gpu_samples", "sampled_at, interval_seconds") == [(moment, Decimal(60)) for moment in at(0, 60)]


def test_seconds_without_an_end_are_not_taken_for_milliseconds(tmp_path, lake_rows):
    result = bring(tmp_path, write_lines(tmp_path / "x.om", [*HEADER, util(37, 0, unit=1), util(40, 15, unit=1)]))

    assert (result.rows_loaded, result.rows_quarantined) == (0, 2)
    reason = "seconds in a file without # EOF; its end may be cut off"
    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [(3, None, reason), (4, None, reason)]


def test_milliseconds_with_an_end_are_no_time(tmp_path, lake_rows):
    bring(tmp_path, write_lines(tmp_path / "x.om", [*HEADER, util(37, 0), "# EOF"]))

    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [(3, "sampled_at", "not a time")]


def test_a_scrape_without_times_is_of_the_time_of_its_delivery(tmp_path, lake_rows):
    path = write_lines(tmp_path / "x.prom", [*HEADER, util(37), "python_gc_objects_collected_total 5"])
    result = bring(tmp_path, path, delivered_at=DELIVERED)

    assert (
        "x.prom: samples without a time are taken at the time of the delivery, 2026-08-01 12:30:00 UTC"
        in result.message
    )
    assert "each sample is taken to stand for 60 seconds" in result.message
    assert lake_rows("gpu_samples", "sampled_at, interval_seconds, gpu_util") == [(DELIVERED, Decimal(60), 0.37)]
    # the same text of another moment is another scrape, as an idle GPU's is
    later = datetime(2026, 8, 1, 12, 31, tzinfo=UTC)
    assert bring(tmp_path, path, delivered_at=later).state == "committed"
    assert bring(tmp_path, path, delivered_at=later).state == "unchanged"
    assert lake_rows("gpu_samples", "sampled_at") == [(DELIVERED,), (later,)]


def test_several_scrapes_without_times_cannot_be_told_apart(tmp_path, lake_rows):
    result = bring(tmp_path, write_lines(tmp_path / "x.prom", [*HEADER, util(37), *HEADER, util(40)]))

    assert result.state == "failed"
    assert "x.prom:6: the same series comes again and carries no time" in result.message
    assert "Save each scrape in a file of its own, or with times" in result.message
    assert lake_rows("gpu_samples", "gpu_uuid") == []


def test_a_metric_that_is_not_read_may_come_again_without_a_time(tmp_path):
    lines = [*HEADER, util(37, 0), "process_cpu_seconds_total 5", "process_cpu_seconds_total 5"]
    result = bring(tmp_path, write_lines(tmp_path / "x.prom", lines))

    assert (result.rows_loaded, result.rows_skipped) == (1, 2)
    assert "without a time" not in result.message
    assert skip_reasons(tmp_path) == {"metric process_cpu_seconds_total is not read": 2}


def test_labels_with_escapes_braces_spaces_and_a_last_comma(tmp_path, lake_rows):
    labels = r'UUID="GPU-1", Hostname = "a}b,c=\"d\"\\e\nf",pod="p",'
    bring(tmp_path, write_lines(tmp_path / "x.prom", [*HEADER, util(37, 0, labels)]))

    assert lake_rows("gpu_samples", "gpu_uuid, hostname, pod") == [("GPU-1", 'a}b,c="d"\\e\nf', "p")]


def test_the_name_may_stand_among_the_labels(tmp_path, lake_rows):
    line = f'{{__name__="DCGM_FI_PROF_SM_ACTIVE", {GPU}}} 0.5 {NOON}000'
    result = bring(tmp_path, write_lines(tmp_path / "dump.txt", [line]))

    assert result.format == "openmetrics"
    assert lake_rows("gpu_samples", "gpu_uuid, sm_active") == [("GPU-1", 0.5)]


def test_exemplars_are_left_out(tmp_path, lake_rows):
    lines = [
        "# TYPE vllm:prompt_tokens counter",
        f'vllm:prompt_tokens_total{{pod="a",model_name="m"}} 17 {NOON} # {{trace_id="b}}"}} 9 {NOON}.5',
        'vllm:generation_tokens_total{pod="a",model_name="m"} 18 # {trace_id="c"} 9',
        "# EOF",
    ]
    bring(tmp_path, write_lines(tmp_path / "x.om", lines), delivered_at=DELIVERED)

    assert lake_rows("serving_samples", "sampled_at, input_tokens_total, output_tokens_total") == [
        (at(0)[0], 17, None),
        (DELIVERED, None, 18),
    ]


@pytest.mark.parametrize(
    "line", ["DCGM_FI_DEV_GPU_UTIL{UUID=GPU-1} 5", "DCGM_FI_DEV_GPU_UTIL5", 'x{a="b" 1', "<html>", "a b c d", "5"]
)
def test_a_line_that_is_no_sample_costs_itself_only(tmp_path, lake_rows, line):
    result = bring(tmp_path, write_lines(tmp_path / "x.prom", [*HEADER, util(37, 0), "", line, util(40, 15)]))

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (3, 2, 1)
    assert lake_rows("quarantined_rows", "file_name, line_number, column_name, reason, row_length") == [
        ("x.prom", 5, None, "not a sample of a metric", len(line))
    ]


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        (util("busy", 15), "gpu_util", "not a number"),
        (util(101, 15), "gpu_util", "not a ratio from 0 to 1"),
        (util(50, 15, 'Hostname="node-1"'), "gpu_uuid", "missing"),
        (f"DCGM_FI_DEV_GPU_UTIL{{{GPU}}} 5 noon", "sampled_at", "missing"),
    ],
)
def test_an_impossible_sample_says_its_line(tmp_path, lake_rows, line, column, reason):
    result = bring(tmp_path, write_lines(tmp_path / "x.prom", [*HEADER, util(37, 0), line, util(40, 30)]))

    assert (result.rows_loaded, result.rows_quarantined) == (2, 1)
    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [(4, column, reason)]


@pytest.mark.parametrize("text", ["NaN", "+Inf", "-Inf", "9.223372036854775794e+18", "140737488355328"])
def test_no_data_is_skipped_and_is_not_idle(tmp_path, lake_rows, text):
    result = bring(tmp_path, write_lines(tmp_path / "x.prom", [*HEADER, util(37, 0), util(text, 15), util(40, 30)]))

    assert (result.rows_loaded, result.rows_skipped) == (2, 1)
    assert skip_reasons(tmp_path) == {SKIPPED: 1}
    assert lake_rows("gpu_samples", "gpu_util") == [(0.37,), (0.4,)]


def test_a_mig_slice_has_no_gpu_util_of_its_own(tmp_path, lake_rows):
    mig = f'{GPU},GPU_I_PROFILE="1g.10gb",GPU_I_ID="7"'
    lines = [
        *HEADER,
        f"DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{mig}}} 0.83 {NOON}000",
        f"DCGM_FI_DEV_FB_USED{{{mig}}} 2 {NOON}000",
    ]
    bring(tmp_path, write_lines(tmp_path / "x.prom", lines))

    assert lake_rows("gpu_samples", "gpu_uuid, mig_profile, gr_engine_active, gpu_util, fb_used_bytes") == [
        ("GPU-1/7", "1g.10gb", 0.83, None, None),
        ("GPU-1/7", "1g.10gb", None, None, 2 * 1024 * 1024),
    ]


def test_a_free_gpu_beside_relabelled_ones_has_no_workload(tmp_path, lake_rows):
    exporter = 'pod="exporter-x",namespace="monitoring"'
    lines = [
        *HEADER,
        util(90, 0, f'{GPU},{exporter},exported_pod="llama-0",exported_namespace="assist"'),
        util(0, 0, f'UUID="GPU-2",hostname="node-2",{exporter}'),
    ]
    bring(tmp_path, write_lines(tmp_path / "x.prom", lines))

    assert lake_rows("gpu_samples", "gpu_uuid, hostname, namespace, pod") == [
        ("GPU-1", "node-1", "assist", "llama-0"),
        ("GPU-2", "node-2", None, None),
    ]


def test_a_scrape_of_both_fills_both_contracts(tmp_path, lake_rows):
    server = 'engine="0",model_name="llama"'
    lines = [
        *HEADER,
        util(37),
        f"vllm:num_requests_running{{{server}}} 3.0",
        f'vllm:e2e_request_latency_seconds_bucket{{le="0.5",{server}}} 1.0',
        "python_info 1",
    ]
    result = bring(tmp_path, write_lines(tmp_path / "pod=llama-0" / "x.prom", lines), delivered_at=DELIVERED)

    assert (result.rows_read, result.rows_loaded, result.rows_skipped) == (4, 2, 2)
    assert skip_reasons(tmp_path) == {"metric python_info is not read": 1}
    latency = "metric vllm:e2e_request_latency_seconds_bucket is not read"
    assert skip_reasons(tmp_path, "serving_samples") == {latency: 1}
    assert lake_rows("gpu_samples", "gpu_uuid, gpu_util") == [("GPU-1", 0.37)]
    assert lake_rows("serving_samples", "replica_id, pod, model, running_request_count") == [
        ("llama-0", "llama-0", "llama", 3.0)
    ]


def test_a_server_that_nothing_names_is_told(tmp_path, lake_rows):
    lines = ["# TYPE vllm:num_requests_running gauge", 'vllm:num_requests_running{model_name="m"} 3']
    bring(tmp_path, write_lines(tmp_path / "x.prom", lines))

    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [(2, "replica_id", "missing")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("pack", [False, True])
def test_windows_line_ends_byte_order_marks_and_packed_files(tmp_path, lake_rows, end, pack):
    text = "\ufeff" + end.join([*HEADER, util(37, 0, unit=1), util(40, 15, unit=1), "# EOF", ""])
    path = tmp_path / ("x.om.gz" if pack else "x.om")
    path.write_bytes(gzip.compress(text.encode()) if pack else text.encode())

    assert bring(tmp_path, path).rows_loaded == 2
    assert lake_rows("gpu_samples", "sampled_at, gpu_util") == list(zip(at(0, 15), (0.37, 0.4), strict=True))


def test_a_packed_file_that_is_cut_off_keeps_the_lines_before(tmp_path, lake_rows):
    lines = [*HEADER, *(util(number * 7919 % 101, 15 * number) for number in range(5000))]
    packed = gzip.compress("\n".join(lines).encode())
    (tmp_path / "x.prom.gz").write_bytes(packed[: len(packed) // 2])
    result = bring(tmp_path, tmp_path / "x.prom.gz")

    assert result.state == "committed"
    assert 1000 < result.rows_loaded < 4900
    assert lake_rows("quarantined_rows", "line_number, reason") == [
        (result.rows_loaded + 2, "the compressed file is cut off after this line")
    ]


def test_a_file_of_comments_loads_nothing(tmp_path):
    result = bring(tmp_path, write_lines(tmp_path / "x.om", [*HEADER, "# EOF"]))

    assert (result.state, result.format, result.rows_read) == ("committed", "openmetrics", 0)


@pytest.mark.parametrize("text", ["# A heading", "hello 5", "one,two", "up{", '{"a": 1}'])
def test_other_texts_are_not_taken_for_metrics(tmp_path, text):
    result = bring(tmp_path, write_lines(tmp_path / "x.txt", [text, "and more"]))

    assert result.format != "openmetrics"
    assert result.state == "failed"
