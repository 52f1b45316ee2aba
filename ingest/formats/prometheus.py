"""Prometheus ``query_range`` answers with dcgm-exporter metrics: one row per GPU and sample time of one metric.

A file is one JSON document, usually one metric. Each point fills its metric's column only; staging merges the metrics
of one GPU and moment. What the numbers mean, and where they mislead:

- ``DCGM_FI_DEV_GPU_UTIL`` is percent, the profiling metrics are ratios; here all are ratios from 0 to 1.
- ``DCGM_FI_DEV_FB_USED`` is MiB.
- NaN, infinity and DCGM's blanks (9.2e18 and near) mean "no data": such a point is skipped and counted.
- A MIG slice reports as its GPU with ``GPU_I_ID``: its gpu_uuid is ``<GPU's uuid>/<instance>``, a row of its own.
- Under time slicing one GPU has one series per pod, all with the same value: they share gpu_uuid and time, so staging
  counts the GPU once.
- Where the scrape kept its own labels, ``pod`` and ``namespace`` are the exporter's, and ``exported_pod`` and
  ``exported_namespace`` the workload's.
- The step is not in the answer: it is the most frequent distance between two points of a series.
"""

from __future__ import annotations

import duckdb

from ingest.errors import IngestError
from ingest.reading import Head, Reader, literal
from ingest.rows import Extract

NAME = "prometheus"
VERSION = 1
CONTRACTS = ("gpu_samples",)
DELIVERY = "file"
REPLACES_PERIOD = False

_METRICS = {
    # metric: (contract column, SQL that turns the number into the column's unit)
    "DCGM_FI_DEV_GPU_UTIL": ("gpu_util", "number / 100"),
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": ("gr_engine_active", "number"),
    "DCGM_FI_PROF_SM_ACTIVE": ("sm_active", "number"),
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": ("tensor_active", "number"),
    "DCGM_FI_PROF_DRAM_ACTIVE": ("dram_active", "number"),
    "DCGM_FI_DEV_FB_USED": ("fb_used_bytes", "number * 1048576"),
    "DCGM_FI_DEV_POWER_USAGE": ("power_watts", "number"),
}

_LABELS = {
    # our name: the labels that carry it, the first one that is there
    "uuid": ("UUID", "uuid"),
    "hostname": ("Hostname", "hostname"),
    "model": ("modelName", "model_name"),
    "mig_profile": ("GPU_I_PROFILE",),
    "mig_id": ("GPU_I_ID",),
    "exported_namespace": ("exported_namespace", "exported_pod_namespace"),
    "exported_pod": ("exported_pod", "exported_pod_name"),
    "namespace": ("namespace", "pod_namespace"),
    "pod": ("pod", "pod_name"),
}

_NO_DATA_FROM = 9.2e18
_DEFAULT_STEP_SECONDS = 60
_DOCUMENT = """{
    'status': 'VARCHAR',
    'errorType': 'VARCHAR',
    'error': 'VARCHAR',
    'warnings': 'VARCHAR[]',
    'data': 'STRUCT("resultType" VARCHAR, result STRUCT(metric MAP(VARCHAR, VARCHAR), "values" VARCHAR[][])[])'
}"""


def sniff(head: Head) -> bool:
    """Whether the document looks like an answer of Prometheus's HTTP interface."""
    if head.kind not in ("json", "jsonl"):
        return False
    is_answer = '"resultType"' in head.text or ('"metric"' in head.text and '"values"' in head.text)
    return (is_answer and '"data"' in head.text) or ('"errorType"' in head.text and '"status"' in head.text)


def read(reader: Reader) -> list[Extract]:
    """The answers' points as GPU samples."""
    series = [_series(reader, head, number) for number, head in enumerate(reader.heads)]
    rows = _POINTS.format(series="\nunion all\n".join(series)) if series else _no_rows(reader)
    return [Extract(contract="gpu_samples", rows=rows, columns=_FIELDS, skip=_SKIP, problem=_PROBLEM)]


def _no_rows(reader: Reader) -> str:
    names = ("metric", "uuid", "hostname", "model", "mig_profile", "namespace", "pod", "step", "seconds")
    return f"select *, cast(null as double) as number from ({reader.rows(names, heads=())})"


def _series(reader: Reader, head: Head, number: int) -> str:
    """SQL of one document's series: the labels that are read, the step, and the points as a list.

    Raises:
        IngestError: the document is not valid JSON, an error answer, or not a range of samples.
    """
    connection = reader.connection
    table = f"prometheus_series_{number}"
    warnings = _read_document(reader, head, table)
    if warnings:
        reader.notices.append(f"{head.path.name}: Prometheus warned: {'; '.join(warnings)[:300]}")
    step = connection.execute(_STEP.format(table=table)).fetchone()
    if step is None:
        reader.notices.append(
            f"{head.path.name}: no series has two points, so the step is taken as {_DEFAULT_STEP_SECONDS} seconds"
        )
    keeps_own_labels = ", ".join(
        literal(label) for name in ("exported_namespace", "exported_pod") for label in _LABELS[name]
    )
    (is_relabelled,) = connection.execute(
        f"select coalesce(bool_or(list_has_any(map_keys(metric), [{keeps_own_labels}])), false) from {table}"
    ).fetchone()
    # An answer to a function of a metric has lost the metric's name; the file's name may still say it.
    named_after = next((metric for metric in _METRICS if metric in head.path.name), None)
    metric = f"coalesce(metric['__name__'], {literal(named_after) if named_after else 'null'})"
    labels = {name: _label(*names) for name, names in _LABELS.items()}
    namespace, pod = labels["exported_namespace"], labels["exported_pod"]
    if not is_relabelled:
        is_workload = f"not contains(coalesce({labels['pod']}, ''), 'dcgm-exporter')"
        namespace = f"case when {is_workload} then {labels['namespace']} end"
        pod = f"case when {is_workload} then {labels['pod']} end"
    return f"""
        select
            {literal(head.path.name)} as _file,
            {metric} as metric,
            {labels["uuid"]} || coalesce('/' || {labels["mig_id"]}, '') as uuid,
            {labels["hostname"]} as hostname,
            {labels["model"]} as model,
            {labels["mig_profile"]} as mig_profile,
            {namespace} as namespace,
            {pod} as pod,
            '{step[0] if step else _DEFAULT_STEP_SECONDS}' as step,
            "values"
        from {table}"""


def _read_document(reader: Reader, head: Head, table: str) -> list[str] | None:
    """Parse one document into a table of its series; returns Prometheus's warnings."""
    path = reader.document(head)
    source = (
        f"read_json({literal(path)}, format = 'unstructured', columns = {_DOCUMENT}, "
        f"maximum_object_size = {path.stat().st_size + 1024})"
    )
    try:
        header = reader.connection.execute(
            f'select status, "errorType", error, data."resultType", warnings from {source}'
        ).fetchall()
        _check_answer(head, header)
        reader.connection.execute(
            f"create or replace temp table {table} as select unnest(data.result, max_depth := 2) from {source}"
        )
    except duckdb.OutOfMemoryException as error:
        raise IngestError(
            f"{head.path}: too large a document to read at once. Query a shorter range at a time."
        ) from error
    except duckdb.Error as error:
        raise IngestError(
            f"{head.path}: this is not one whole JSON document; it may be cut off. Query and save it again. "
            f"({_first_line(error)})"
        ) from error
    return header[0][-1]


def _check_answer(head: Head, answers: list[tuple]) -> None:
    if len(answers) != 1:
        raise IngestError(f"{head.path}: {len(answers)} JSON documents in one file. Save each answer in its own file.")
    status, error_type, error, result_type, _ = answers[0]
    if status != "success":
        raise IngestError(
            f"{head.path}: Prometheus answered {status or 'without a status'} ({error_type}: {error}). Correct the "
            "query and save its answer again."
        )
    if result_type != "matrix":
        raise IngestError(
            f"{head.path}: the answer is a {result_type}, not a matrix. Use /api/v1/query_range, with start, end and "
            "step."
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:200]


def _label(*names: str) -> str:
    values = ", ".join(f"nullif(metric[{literal(name)}], '')" for name in names)
    return f"coalesce({values}, null)"


_STEP = """
with distances as (
    select
        unnest(list_transform(
            range(2, least(len("values"), 1000) + 1),
            lambda position: try_cast("values"[position][1] as decimal(18, 3))
                - try_cast("values"[position - 1][1] as decimal(18, 3))
        )) as seconds
    from {table}
)

select seconds
from distances
where seconds > 0
group by seconds
order by count(*) desc, seconds
limit 1
"""

_POINTS = """
select
    * exclude (point),
    cast(null as varchar) as _broken,
    point[1] as seconds,
    try_cast(point[2] as double) as number,
    concat_ws(' ', metric, uuid, pod, point[1], point[2]) as _content
from (
    select * exclude ("values"), unnest("values") as point
    from (
    {series}
    )
)
"""

_SKIP = f"""case
    when metric is null then 'series without a metric name'
    when metric not in ({", ".join(literal(metric) for metric in _METRICS)}) then 'metric ' || metric || ' is not read'
    when not isfinite(number) or abs(number) >= {_NO_DATA_FROM} then 'no data (NaN, infinity or a DCGM blank)'
end"""

_PROBLEM = f"""case when number is null then case metric
    {" ".join(f"when {literal(metric)} then '{column}|not a number'" for metric, (column, _) in _METRICS.items())}
end end"""

_FIELDS = {
    "gpu_uuid": "uuid",
    "hostname": "hostname",
    "sampled_at": "make_timestamptz(cast(round(try_cast(seconds as double) * 1000000) as bigint))",
    "interval_seconds": "step",
    "gpu_model": "model",
    "namespace": "namespace",
    "pod": "pod",
    "mig_profile": "mig_profile",
    **{
        column: f"case when metric = {literal(metric)} then {number} end"
        for metric, (column, number) in _METRICS.items()
    },
}
