"""What the metrics of GPU exporters and model servers mean, however they were saved (Prometheus's JSON or text).

A sample is one value of one series at one moment, and fills the column of its metric only; staging merges the metrics
of one moment. Metrics and labels, and where they mislead:

- ``DCGM_FI_DEV_GPU_UTIL`` is percent, the profiling metrics are ratios, and so are Triton's ``nv_gpu_utilization`` and
  the cache usage of vLLM, its name ``..._perc`` notwithstanding. Here all are ratios from 0 to 1.
- ``DCGM_FI_DEV_FB_USED`` is MiB, ``nv_gpu_memory_used_bytes`` bytes.
- NaN, infinity and DCGM's blanks (9.2e18 and near; 2^47 and the three after it) mean "no data": such a sample is
  skipped and counted.
- A MIG slice reports as its GPU with ``GPU_I_ID``: its gpu_uuid is ``<GPU's uuid>/<instance>``, a row of its own. Its
  GPU_UTIL is absent or 0; GR_ENGINE_ACTIVE tells what it does.
- Under time slicing one GPU has one series per pod, all with the same value: they share gpu_uuid and time, so staging
  counts the GPU once.
- Where the scrape kept its own labels, ``pod`` and ``namespace`` are the exporter's, and ``exported_pod`` and
  ``exported_namespace`` the workload's.
- A model server is known by its pod, else by ``instance``. vLLM's engines after the first, and SGLang's ranks, count
  for themselves: their replica_id is ``<pod>/<engine>``.
- The name under which a server answers for its model is both the model and the deployment.
- Counters go on from the server's start, and fall back to 0 when it starts again.
- A query that is aligned to a step repeats the last value for up to five minutes after a series has ended without
  saying so. Nothing in the answer tells such a repetition from a value that stayed the same, as an idle GPU's does, so
  every point is taken as it is. A query of ``last_over_time(<metric>[<step>])`` has no such repetitions.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from ingest.reading import Reader, literal
from ingest.rows import Extract

CONTRACTS = ("gpu_samples", "serving_samples")
DEFAULT_STEP_SECONDS = 60
"""What a sample stands for where no series has two moments."""

_WHOLE = "coalesce(cast(case when number = round(number) then try_cast(number as decimal(18, 0)) end as varchar), text)"

_METRICS = {
    # metric: (contract column, SQL that turns the number into the column's unit)
    # Rounding takes off the dust of averages: 1.0000000000000002 is 1.
    "gpu_samples": {
        "DCGM_FI_DEV_GPU_UTIL": ("gpu_util", "round(number / 100, 12)"),
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE": ("gr_engine_active", "round(number, 12)"),
        "DCGM_FI_PROF_SM_ACTIVE": ("sm_active", "round(number, 12)"),
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": ("tensor_active", "round(number, 12)"),
        "DCGM_FI_PROF_DRAM_ACTIVE": ("dram_active", "round(number, 12)"),
        "DCGM_FI_DEV_FB_USED": ("fb_used_bytes", "round(number * 1048576)"),
        "DCGM_FI_DEV_POWER_USAGE": ("power_watts", "number"),
        "nv_gpu_utilization": ("gpu_util", "round(number, 12)"),
        "nv_gpu_memory_used_bytes": ("fb_used_bytes", "round(number)"),
        "nv_gpu_power_usage": ("power_watts", "number"),
    },
    "serving_samples": {
        "vllm:num_requests_running": ("running_request_count", "number"),
        "vllm:num_requests_waiting": ("waiting_request_count", "number"),
        "vllm:kv_cache_usage_perc": ("kv_cache_usage", "round(number, 12)"),
        "vllm:gpu_cache_usage_perc": ("kv_cache_usage", "round(number, 12)"),
        "vllm:prompt_tokens_total": ("input_tokens_total", _WHOLE),
        "vllm:generation_tokens_total": ("output_tokens_total", _WHOLE),
        "vllm:prefix_cache_queries_total": ("prefix_cache_query_tokens_total", _WHOLE),
        "vllm:prefix_cache_hits_total": ("prefix_cache_hit_tokens_total", _WHOLE),
        "vllm:gpu_prefix_cache_queries_total": ("prefix_cache_query_tokens_total", _WHOLE),
        "vllm:gpu_prefix_cache_hits_total": ("prefix_cache_hit_tokens_total", _WHOLE),
        "vllm:num_preemptions_total": ("preemption_count_total", _WHOLE),
        "sglang:num_running_reqs": ("running_request_count", "number"),
        "sglang:num_queue_reqs": ("waiting_request_count", "number"),
        "sglang:token_usage": ("kv_cache_usage", "round(number, 12)"),
        "sglang:prompt_tokens_total": ("input_tokens_total", _WHOLE),
        "sglang:generation_tokens_total": ("output_tokens_total", _WHOLE),
    },
}
METRICS = tuple(metric for metrics in _METRICS.values() for metric in metrics)
"""Names of the metrics that are read."""

IS_SERVING = "coalesce(regexp_matches(metric, '^(vllm|sglang):'), false)"
"""SQL of whether a metric is a model server's; all others, known or not, are counted with the GPUs'."""


def _label(*names: str) -> str:
    """SQL of the first of some labels that has a value."""
    values = ", ".join(f"nullif(labels[{literal(name)}], '')" for name in names)
    return f"coalesce({values}, null)"


_WORKLOAD = {
    # our name: (labels of the exporter itself, or of the workload where the exporter's are told apart; the workload's)
    "namespace": (("namespace", "pod_namespace"), ("exported_namespace", "exported_pod_namespace")),
    "pod": (("pod", "pod_name"), ("exported_pod", "exported_pod_name")),
}
OWN_LABELS = tuple(label for _, labels in _WORKLOAD.values() for label in labels)
"""Labels that say that the scrape kept its own: a file that has them anywhere is relabelled."""

_IS_WORKLOAD = f"not contains(coalesce({_label(*_WORKLOAD['pod'][0])}, ''), 'dcgm-exporter')"
_ENGINE = f"nullif({_label('engine', 'dp_rank')}, '0')"
_SERVER = _label("exported_pod", "pod", "exported_instance", "instance")

_SERIES = {
    # our name: SQL over a series' labels
    "gpu_samples": {
        "uuid": f"{_label('UUID', 'uuid', 'gpu_uuid')} || coalesce('/' || {_label('GPU_I_ID')}, '')",
        "hostname": _label("Hostname", "hostname"),
        "model": _label("modelName", "model_name"),
        "mig_profile": _label("GPU_I_PROFILE"),
        **{
            name: f"case when is_relabelled then {_label(*exported)} when {_IS_WORKLOAD} then {_label(*plain)} end"
            for name, (plain, exported) in _WORKLOAD.items()
        },
    },
    "serving_samples": {
        "replica": f"{_SERVER} || coalesce('/' || {_ENGINE}, '')",
        "model": _label("model_name"),
        "namespace": _label("exported_namespace", "namespace"),
        "pod": _label("exported_pod", "pod"),
    },
}

_COMMON_FIELDS = {
    "sampled_at": "try(make_timestamptz(try_cast(round(try_cast(seconds as double) * 1000000) as bigint)))",
    "interval_seconds": "step",
    "namespace": "namespace",
    "pod": "pod",
}
_FIELDS = {
    "gpu_samples": {"gpu_uuid": "uuid", "hostname": "hostname", "gpu_model": "model", "mig_profile": "mig_profile"},
    "serving_samples": {"replica_id": "replica", "deployment_id": "model", "model": "model"},
}

_NO_DATA = {
    # contract: (SQL of whether a number means that there is none, how to call that)
    "gpu_samples": (
        "not isfinite(number) or abs(number) >= 9.2e18 or number between 140737488355328 and 140737488355331",
        "no data (NaN, infinity or a DCGM blank)",
    ),
    "serving_samples": ("not isfinite(number)", "no data (NaN or infinity)"),
}


def series_of(contract: str, series: str) -> str:
    """SQL of the series that belong to a contract, with what their labels say in columns of their own.

    Args:
        contract: one of ``CONTRACTS``.
        series: SQL of series: ``metric``, ``labels`` (a map of texts), ``is_relabelled``, and what else is needed.
    """
    columns = ",\n".join(f"{text} as {name}" for name, text in _SERIES[contract].items())
    is_mine = IS_SERVING if contract == "serving_samples" else f"not {IS_SERVING}"
    return f"select * exclude (labels, is_relabelled),\n{columns}\nfrom (\n{series}\n)\nwhere {is_mine}"


def extract(contract: str, samples: str) -> Extract:
    """The samples of a contract's metrics as its rows.

    Args:
        contract: one of ``CONTRACTS``.
        samples: SQL of the place columns and what ``series_of`` gives, with ``seconds`` (text, Unix time), ``step``
            (text, seconds) and ``text`` (the value).
    """
    metrics = _METRICS[contract]
    is_no_data, no_data = _NO_DATA[contract]
    columns: dict[str, list[str]] = {}
    for metric, (column, number) in metrics.items():
        columns.setdefault(column, []).append(f"when {literal(metric)} then cast({number} as varchar)")
    fields = {name: f"case metric {' '.join(cases)} end" for name, cases in columns.items()}
    names = " ".join(f"when {literal(metric)} then {literal(column)}" for metric, (column, _) in metrics.items())
    return Extract(
        contract=contract,
        rows=f"select *, try_cast(text as double) as number from (\n{samples}\n)",
        columns={**_FIELDS[contract], **_COMMON_FIELDS, **fields},
        skip=f"""case
            when _broken is not null then null
            when metric is null then 'series without a metric name'
            when metric not in ({", ".join(map(literal, metrics))}) then 'metric ' || metric || ' is not read'
            when {is_no_data} then {literal(no_data)}
        end""",
        problem=f"case when number is null then (case metric {names} end) || '|not a number' end",
    )


def contracts_of(connection: duckdb.DuckDBPyConnection, series: str) -> list[str]:
    """The contracts that some series belong to; the GPUs' where there are no series.

    Args:
        connection: the reader's connection.
        series: SQL of series with their ``metric``.
    """
    kinds = {
        is_serving for (is_serving,) in connection.execute(f"select distinct {IS_SERVING} from ({series})").fetchall()
    }
    return [name for name in CONTRACTS if (name == "serving_samples") in (kinds or {False})]


def nothing(reader: Reader) -> list[Extract]:
    """What a delivery of empty files gives."""
    names = ("metric", "seconds", "step", "text", *_SERIES["gpu_samples"])
    columns = ", ".join(f"cast(null as varchar) as {name}" for name in names)
    return [extract("gpu_samples", f"select *, {columns} from ({reader.rows((), heads=())})")]


def most_frequent(distances: str) -> str:
    """SQL of each file's step: the distance between two samples of a series that occurs most often.

    Args:
        distances: SQL of one row per distance: ``_file`` and ``seconds``.
    """
    return f"""
        select _file, seconds
        from (
            select _file, seconds, row_number() over (partition by _file order by count(*) desc, seconds) as place
            from ({distances})
            where seconds > 0
            group by _file, seconds
        )
        where place = 1"""


def named_in_path(path: Path) -> dict[str, str]:
    """The labels that a file's folders name, as ``pod=llama-0/``.

    A scrape of one server does not say which server that is, nor nvidia-smi its host; whoever saves it may.
    """
    return dict(part.split("=", 1) for part in path.resolve().parent.parts if "=" in part)
