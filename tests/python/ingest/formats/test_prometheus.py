"""Prometheus answers with metrics of GPUs and of model servers: units, labels, sentinels, chunks, wrong answers."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ingest.lake import Lake
from tests.python.ingest.helpers import bring, gpu_answer, gpu_series, write_answer, write_lines

NOON = 1_785_585_600  # 2026-08-01T12:00:00Z


def at(*minutes: float) -> list[datetime]:
    return [datetime.fromtimestamp(NOON + 60 * minute, UTC) for minute in minutes]


def points(*values: str, step: int = 60) -> list[list]:
    return [[NOON + step * number, value] for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("metric", "text", "column", "expected"),
    [
        ("DCGM_FI_DEV_GPU_UTIL", "37", "gpu_util", 0.37),
        ("DCGM_FI_DEV_GPU_UTIL", "100", "gpu_util", 1.0),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "0.37", "gr_engine_active", 0.37),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "1.0000000000000002", "gr_engine_active", 1.0),
        ("DCGM_FI_PROF_SM_ACTIVE", "1", "sm_active", 1.0),
        ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "1.5e-2", "tensor_active", 0.015),
        ("DCGM_FI_PROF_DRAM_ACTIVE", "0", "dram_active", 0.0),
        ("DCGM_FI_DEV_FB_USED", "23034", "fb_used_bytes", 23034 * 1024 * 1024),
        ("DCGM_FI_DEV_POWER_USAGE", "71.4", "power_watts", 71.4),
        # Triton's own: a ratio where dcgm-exporter has percent, bytes where it has MiB
        ("nv_gpu_utilization", "0.37", "gpu_util", 0.37),
        ("nv_gpu_memory_used_bytes", "1048576", "fb_used_bytes", 1048576),
        ("nv_gpu_power_usage", "71.4", "power_watts", 71.4),
    ],
)
def test_each_metric_fills_its_column_in_the_columns_unit(tmp_path, lake_rows, metric, text, column, expected):
    result = bring(tmp_path, write_answer(tmp_path / "x.json", gpu_series(points(text, text), metric)))

    assert (result.format, result.rows_loaded) == ("prometheus", 2)
    assert lake_rows("gpu_samples", f"sampled_at, interval_seconds, {column}") == [
        (moment, Decimal(60), expected) for moment in at(0, 1)
    ]


@pytest.mark.parametrize("label", ["Hostname", "hostname"])
def test_the_host_under_its_old_and_its_new_label(tmp_path, lake_rows, label):
    series = gpu_series(points("1", "2"), **{"Hostname": None, label: "node-7"})
    bring(tmp_path, write_answer(tmp_path / "x.json", series))

    assert lake_rows("gpu_samples", "distinct gpu_uuid, hostname, gpu_model") == [("GPU-1", "node-7", "NVIDIA L40S")]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"pod": "llama-0", "namespace": "assist"}, ("llama-0", "assist")),
        ({"pod_name": "llama-0", "pod_namespace": "assist"}, ("llama-0", "assist")),
        # the scrape kept its own labels: pod is the exporter's
        (
            {
                "pod": "dcgm-exporter-x",
                "namespace": "gpu-operator",
                "exported_pod": "llama-0",
                "exported_namespace": "assist",
            },
            ("llama-0", "assist"),
        ),
        # the exporter's own pod is nobody's workload
        ({"pod": "nvidia-dcgm-exporter-x", "namespace": "gpu-operator"}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_the_workload_of_a_sample(tmp_path, lake_rows, labels, expected):
    bring(tmp_path, write_answer(tmp_path / "x.json", gpu_series(points("1", "2"), **labels)))

    assert lake_rows("gpu_samples", "distinct pod, namespace") == [expected]


def test_an_idle_gpu_beside_relabelled_ones_has_no_workload(tmp_path, lake_rows):
    exporter = {"pod": "exporter-x", "namespace": "monitoring"}
    busy = gpu_series(points("9", "9"), **exporter, exported_pod="llama-0", exported_namespace="assist")
    free = gpu_series(points("0", "0"), UUID="GPU-2", **exporter)
    bring(tmp_path, write_answer(tmp_path / "x.json", busy, free))

    assert lake_rows("gpu_samples", "distinct gpu_uuid, pod") == [("GPU-1", "llama-0"), ("GPU-2", None)]


@pytest.mark.parametrize(
    "text",
    # the last two are DCGM's blanks of a double: no value, and not permitted
    ["NaN", "+Inf", "-Inf", "9223372036854775794", "9223372036854775807", "140737488355328", "140737488355331"],
)
def test_no_data_is_skipped_and_counted_and_is_not_idle(tmp_path, lake_rows, text):
    result = bring(tmp_path, write_answer(tmp_path / "x.json", gpu_series(points("50", text, "0"))))

    assert (result.rows_read, result.rows_loaded, result.rows_skipped) == (3, 2, 1)
    assert lake_rows("gpu_samples", "sampled_at, gpu_util") == list(zip(at(0, 2), (0.5, 0.0), strict=True))
    (batch,) = Lake(tmp_path / "lake").batches().values()
    assert batch.counts["gpu_samples"].skip_reasons == {"no data (NaN, infinity or a DCGM blank)": 1}


@pytest.mark.parametrize(
    ("metric", "text", "column", "reason"),
    [
        ("DCGM_FI_DEV_GPU_UTIL", "101", "gpu_util", "not a ratio from 0 to 1"),
        ("DCGM_FI_DEV_GPU_UTIL", "-1", "gpu_util", "not a ratio from 0 to 1"),
        ("DCGM_FI_PROF_SM_ACTIVE", "37", "sm_active", "not a ratio from 0 to 1"),
        ("DCGM_FI_DEV_FB_USED", "-5", "fb_used_bytes", "negative"),
        ("DCGM_FI_DEV_GPU_UTIL", "busy", "gpu_util", "not a number"),
    ],
)
def test_an_impossible_value_costs_its_point_only(tmp_path, lake_rows, metric, text, column, reason):
    result = bring(tmp_path, write_answer(tmp_path / "x.json", gpu_series(points("1", text, "1"), metric)))

    assert (result.rows_loaded, result.rows_quarantined) == (2, 1)
    assert lake_rows("quarantined_rows", "file_name, line_number, column_name, reason") == [
        ("x.json", 2, column, reason)
    ]


def test_a_series_without_a_gpu_is_told(tmp_path, lake_rows):
    result = bring(tmp_path, write_answer(tmp_path / "x.json", gpu_series(points("1", "1"), UUID=None)))

    assert result.rows_quarantined == 2
    assert lake_rows("quarantined_rows", "distinct column_name, reason") == [("gpu_uuid", "missing")]


def test_chunks_that_overlap_at_their_edges_give_the_edge_twice_under_one_key(tmp_path, lake_rows):
    write_answer(tmp_path / "in" / "a.json", gpu_series([[NOON, "1"], [NOON + 60, "2"]]))
    write_answer(tmp_path / "in" / "b.json", gpu_series([[NOON + 60, "2"], [NOON + 120, "3"]]))
    for name in ("a.json", "b.json"):
        bring(tmp_path, tmp_path / "in" / name)

    keys = "count(*), count(distinct (gpu_uuid, sampled_at)), sum(distinct gpu_util)"
    assert lake_rows("gpu_samples", keys) == [(4, 3, pytest.approx(0.06))]


def test_a_mig_slice_is_a_gpu_of_its_own(tmp_path, lake_rows):
    slices = [
        gpu_series(points("0.5", "0.5"), "DCGM_FI_PROF_GR_ENGINE_ACTIVE", GPU_I_ID=number, GPU_I_PROFILE="1g.10gb")
        for number in ("7", "8")
    ]
    bring(tmp_path, write_answer(tmp_path / "x.json", *slices))

    assert lake_rows("gpu_samples", "distinct gpu_uuid, mig_profile") == [
        ("GPU-1/7", "1g.10gb"),
        ("GPU-1/8", "1g.10gb"),
    ]


def test_pods_that_share_a_gpu_in_time_share_its_samples_keys(tmp_path, lake_rows):
    shared = [gpu_series(points("80", "80"), pod=pod, namespace="assist") for pod in ("a", "b")]
    bring(tmp_path, write_answer(tmp_path / "x.json", *shared))

    assert lake_rows("gpu_samples", "count(*), count(distinct (gpu_uuid, sampled_at))") == [(4, 2)]


@pytest.mark.parametrize(
    ("moments", "expected"),
    [([0, 30, 60, 90], "30"), ([0, 60, 600, 660], "60"), ([0.5, 15.5, 30.5], "15"), ([0, 7.5, 15], "7.5")],
)
def test_the_step_is_the_most_frequent_distance(tmp_path, lake_rows, moments, expected):
    bring(tmp_path, write_answer(tmp_path / "x.json", gpu_series([[NOON + moment, "1"] for moment in moments])))

    assert lake_rows("gpu_samples", "distinct interval_seconds") == [(Decimal(expected),)]


def test_a_single_point_takes_a_minute_and_says_so(tmp_path, lake_rows):
    result = bring(tmp_path, write_answer(tmp_path / "x.json", gpu_series(points("1"))))

    assert "the step is taken as 60 seconds" in result.message
    assert lake_rows("gpu_samples", "interval_seconds") == [(Decimal(60),)]


def test_a_metric_that_is_not_read_is_skipped_and_named(tmp_path):
    result = bring(tmp_path, write_answer(tmp_path / "x.json", gpu_series(points("1", "2"), "DCGM_FI_DEV_GPU_TEMP")))

    assert (result.rows_read, result.rows_skipped) == (2, 2)
    (batch,) = Lake(tmp_path / "lake").batches().values()
    assert batch.counts["gpu_samples"].skip_reasons == {"metric DCGM_FI_DEV_GPU_TEMP is not read": 2}


def test_a_function_of_a_metric_is_named_by_its_file(tmp_path, lake_rows):
    series = gpu_series(points("20", "40"), __name__=None)
    bring(tmp_path, write_answer(tmp_path / "avg_DCGM_FI_DEV_GPU_UTIL.json", series))
    other = bring(tmp_path, write_answer(tmp_path / "other.json", gpu_series(points("1", "3"), __name__=None)))

    assert lake_rows("gpu_samples", "gpu_util") == [(0.2,), (0.4,)]
    assert other.rows_skipped == 2


@pytest.mark.parametrize("pack", ["", ".gz"])
def test_several_metrics_in_one_indented_and_packed_document(tmp_path, lake_rows, pack):
    series = [gpu_series(points("50", "60")), gpu_series(points("0.4", "0.5"), "DCGM_FI_PROF_SM_ACTIVE")]
    text = json.dumps(gpu_answer(*series), indent=2).encode()
    path = tmp_path / f"x.json{pack}"
    path.write_bytes(gzip.compress(text) if pack else text)

    assert bring(tmp_path, path).rows_loaded == 4
    assert lake_rows("gpu_samples", "gpu_util, sm_active") == [(0.5, None), (0.6, None), (None, 0.4), (None, 0.5)]


def test_samples_over_midnight_lie_in_two_parts(tmp_path):
    midnight = NOON + 12 * 3600
    bring(tmp_path, write_answer(tmp_path / "x.json", gpu_series([[midnight - 60, "1"], [midnight, "1"]])))

    (batch,) = Lake(tmp_path / "lake").batches().values()
    assert [(part.usage_date.isoformat(), part.row_count) for part in batch.parts] == [
        ("2026-08-01", 1),
        ("2026-08-02", 1),
    ]


def test_warnings_of_prometheus_are_passed_on(tmp_path):
    result = bring(tmp_path, write_answer(tmp_path / "x.json", gpu_series(points("1", "2")), warnings=["slow store"]))

    assert "Prometheus warned: slow store" in result.message


def test_a_value_that_stays_the_same_to_the_end_is_kept(tmp_path, lake_rows):
    # A step-aligned query repeats the last value after a series has ended; an idle GPU's series looks just so.
    series = gpu_series(points("50", "0", "0", "0", "0", "0"))
    assert bring(tmp_path, write_answer(tmp_path / "x.json", series)).rows_loaded == 6

    assert lake_rows("gpu_samples", "count(*), sum(gpu_util)") == [(6, 0.5)]


def serving_series(values: list[list], metric: str, **labels: str | None) -> dict:
    """One series as Prometheus labels a scraped vLLM pod."""
    own = {"gpu": None, "UUID": None, "Hostname": None, "modelName": None}
    target = {"instance": "10.0.0.5:8000", "pod": "llama-0", "namespace": "assist", "engine": "0"}
    return gpu_series(values, metric, **own, **{"model_name": "llama", **target, **labels})


@pytest.mark.parametrize(
    ("metric", "text", "column", "expected"),
    [
        ("vllm:num_requests_running", "3", "running_request_count", 3.0),
        ("vllm:num_requests_waiting", "0", "waiting_request_count", 0.0),
        # a ratio, its name notwithstanding, under its newer and its older name
        ("vllm:kv_cache_usage_perc", "0.8", "kv_cache_usage", 0.8),
        ("vllm:gpu_cache_usage_perc", "1.0000000000000002", "kv_cache_usage", 1.0),
        ("vllm:prompt_tokens_total", "8.128902e+06", "input_tokens_total", 8128902),
        ("vllm:generation_tokens_total", "7557572", "output_tokens_total", 7557572),
        ("vllm:prefix_cache_queries_total", "900", "prefix_cache_query_tokens_total", 900),
        ("vllm:prefix_cache_hits_total", "450", "prefix_cache_hit_tokens_total", 450),
        ("vllm:gpu_prefix_cache_queries_total", "900", "prefix_cache_query_tokens_total", 900),
        ("vllm:gpu_prefix_cache_hits_total", "450", "prefix_cache_hit_tokens_total", 450),
        ("vllm:num_preemptions_total", "2", "preemption_count_total", 2),
        ("sglang:num_running_reqs", "3", "running_request_count", 3.0),
        ("sglang:num_queue_reqs", "4", "waiting_request_count", 4.0),
        ("sglang:token_usage", "0.28", "kv_cache_usage", 0.28),
        ("sglang:prompt_tokens_total", "17", "input_tokens_total", 17),
        ("sglang:generation_tokens_total", "18", "output_tokens_total", 18),
    ],
)
def test_each_metric_of_a_server_fills_its_column(tmp_path, lake_rows, metric, text, column, expected):
    result = bring(tmp_path, write_answer(tmp_path / "x.json", serving_series(points(text, text), metric)))

    assert (result.format, result.rows_read, result.rows_loaded) == ("prometheus", 2, 2)
    (batch,) = Lake(tmp_path / "lake").batches().values()
    assert batch.counts.keys() == {"serving_samples"}
    names = "replica_id, deployment_id, model, namespace, pod"
    assert lake_rows("serving_samples", f"{names}, sampled_at, interval_seconds, {column}") == [
        ("llama-0", "llama", "llama", "assist", "llama-0", moment, Decimal(60), expected) for moment in at(0, 1)
    ]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"pod": None}, "10.0.0.5:8000"),
        ({"engine": None}, "llama-0"),
        # engines of one server side by side
        ({"engine": "1"}, "llama-0/1"),
        # brought by a gateway or a federation, whose own names stand in pod and instance
        ({"exported_pod": "mistral-1"}, "mistral-1"),
        ({"pod": None, "exported_instance": "10.0.0.9:8000"}, "10.0.0.9:8000"),
    ],
)
def test_a_server_is_its_pod_else_its_address(tmp_path, lake_rows, labels, expected):
    series = serving_series(points("1", "2"), "vllm:num_requests_running", **labels)
    bring(tmp_path, write_answer(tmp_path / "x.json", series))

    assert lake_rows("serving_samples", "distinct replica_id") == [(expected,)]


@pytest.mark.parametrize(
    ("metric", "text", "column", "reason"),
    [
        ("vllm:kv_cache_usage_perc", "37", "kv_cache_usage", "not a ratio from 0 to 1"),
        ("vllm:num_requests_running", "-1", "running_request_count", "negative"),
        ("vllm:prompt_tokens_total", "12.5", "input_tokens_total", "not a whole number"),
        ("vllm:prompt_tokens_total", "1e+30", "input_tokens_total", "not a whole number"),
        ("vllm:prompt_tokens_total", "many", "input_tokens_total", "not a number"),
    ],
)
def test_an_impossible_count_of_a_server_costs_its_point_only(tmp_path, lake_rows, metric, text, column, reason):
    result = bring(tmp_path, write_answer(tmp_path / "x.json", serving_series(points("1", text, "1"), metric)))

    assert (result.rows_loaded, result.rows_quarantined) == (2, 1)
    assert lake_rows("quarantined_rows", "contract, file_name, line_number, column_name, reason") == [
        ("serving_samples", "x.json", 2, column, reason)
    ]


def test_an_answer_with_both_fills_both_contracts(tmp_path, lake_rows):
    series = [
        gpu_series(points("50", "NaN")),
        serving_series(points("3", "NaN"), "vllm:num_requests_running"),
        serving_series(points("1", "1"), "vllm:request_success_total"),
        gpu_series(points("60", "60"), "DCGM_FI_DEV_GPU_TEMP"),
    ]
    result = bring(tmp_path, write_answer(tmp_path / "x.json", *series))

    assert (result.rows_read, result.rows_loaded, result.rows_skipped) == (8, 2, 6)
    (batch,) = Lake(tmp_path / "lake").batches().values()
    assert {name: counts.skip_reasons for name, counts in batch.counts.items()} == {
        "gpu_samples": {
            "metric DCGM_FI_DEV_GPU_TEMP is not read": 2,
            "no data (NaN, infinity or a DCGM blank)": 1,
        },
        "serving_samples": {"metric vllm:request_success_total is not read": 2, "no data (NaN or infinity)": 1},
    }
    assert lake_rows("gpu_samples", "sampled_at, gpu_util") == [(at(0)[0], 0.5)]
    assert lake_rows("serving_samples", "sampled_at, running_request_count") == [(at(0)[0], 3.0)]


ERROR = '{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution of 11,000 points"}'
VECTOR = '{"status":"success","data":{"resultType":"vector","result":[{"metric":{"UUID":"GPU-1"},"value":[1,"1"]}]}}'
TWO = json.dumps(gpu_answer(gpu_series(points("1")))) + "\n" + json.dumps(gpu_answer(gpu_series(points("2"))))
CUT = json.dumps(gpu_answer(gpu_series(points("1", "2"))))[:-30]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            ERROR,
            "Prometheus answered error (bad_data: exceeded maximum resolution of 11,000 points). Correct the query",
        ),
        (VECTOR, "the answer is a vector, not a matrix. Use /api/v1/query_range"),
        (TWO, "2 JSON documents in one file. Save each answer in its own file"),
        (CUT, "this is not one whole JSON document of series; it may be cut off"),
        ('{"status":"success","data":{"resultType":"matrix","result":{}}}', "not one whole JSON document of series"),
    ],
)
def test_an_answer_that_holds_no_range_says_what_to_do(tmp_path, lake_rows, text, message):
    result = bring(tmp_path, write_lines(tmp_path / "x.json", [text]))

    assert result.state == "failed"
    assert "x.json: " in result.message
    assert message in result.message
    assert lake_rows("gpu_samples", "gpu_uuid") == []


def test_an_answer_without_series_loads_nothing(tmp_path):
    result = bring(tmp_path, write_answer(tmp_path / "x.json"))

    assert (result.state, result.rows_read) == ("committed", 0)
