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

from pathlib import Path

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
    # Rounding takes off the dust of averages: 1.0000000000000002 is 1.
    "DCGM_FI_DEV_GPU_UTIL": ("gpu_util", "round(number / 100, 12)"),
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": ("gr_engine_active", "round(number, 12)"),
    "DCGM_FI_PROF_SM_ACTIVE": ("sm_active", "round(number, 12)"),
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": ("tensor_active", "round(number, 12)"),
    "DCGM_FI_PROF_DRAM_ACTIVE": ("dram_active", "round(number, 12)"),
    "DCGM_FI_DEV_FB_USED": ("fb_used_bytes", "round(number * 1048576)"),
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
_DOCUMENTS = "prometheus_documents"
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
    """The answers' points as GPU samples.

    Raises:
        IngestError: a document is not valid JSON, an error answer, or not a range of samples.
    """
    rows = _POINTS.format(series=_series(reader)) if reader.heads else _no_rows(reader)
    return [Extract(contract="gpu_samples", rows=rows, columns=_FIELDS, skip=_SKIP, problem=_PROBLEM)]


def _no_rows(reader: Reader) -> str:
    names = ("metric", "uuid", "hostname", "model", "mig_profile", "namespace", "pod", "step", "seconds")
    return f"select *, cast(null as double) as number from ({reader.rows(names, heads=())})"


def _series(reader: Reader) -> str:
    """SQL of the documents' series: the labels that are read, the step, and the points as a list."""
    heads = {str(reader.document(head)): head for head in reader.heads}
    _read_documents(reader, heads)
    facts = []
    for name, is_relabelled, step in reader.connection.execute(_SHAPES).fetchall():
        head = heads[name]
        if step is None:
            reader.tell(head.path, f"no series has two points, so the step is taken as {_DEFAULT_STEP_SECONDS} seconds")
        # An answer to a function of a metric has lost the metric's name; the file's name may still say it.
        named_after = next((metric for metric in _METRICS if metric in head.path.name), None)
        facts.append(
            f"{literal(name)}: {{path: {literal(head.path)}, step: '{step or _DEFAULT_STEP_SECONDS}', "
            f"is_relabelled: {is_relabelled}, named_after: {literal(named_after) if named_after else 'null'}}}"
        )
    labels = {name: _label(*names) for name, names in _LABELS.items()}
    is_workload = f"not contains(coalesce({labels['pod']}, ''), 'dcgm-exporter')"
    workload = {
        name: f"""case
                when fact.is_relabelled then {labels[f"exported_{name}"]}
                when {is_workload} then {labels[name]}
            end"""
        for name in ("namespace", "pod")
    }
    return f"""
        select
            fact.path as _file,
            coalesce(metric['__name__'], fact.named_after) as metric,
            {labels["uuid"]} || coalesce('/' || {labels["mig_id"]}, '') as uuid,
            {labels["hostname"]} as hostname,
            {labels["model"]} as model,
            {labels["mig_profile"]} as mig_profile,
            {workload["namespace"]} as namespace,
            {workload["pod"]} as pod,
            fact.step as step,
            "values"
        from (
            select map {{{", ".join(facts)}}}[filename] as fact, unnest(data.result, max_depth := 2) from {_DOCUMENTS}
        )"""


def _read_documents(reader: Reader, heads: dict[str, Head]) -> None:
    """Parse the documents into a temporary table of one row each, and check that each is a range of samples.

    Args:
        reader: the open reader.
        heads: the heads by the path of the document, decompressed where it was packed.
    """
    try:
        largest = max(Path(name).stat().st_size for name in heads)
        reader.connection.execute(
            f"create or replace temp table {_DOCUMENTS} as "
            f"from read_json([{', '.join(literal(name) for name in heads)}], format = 'unstructured', "
            f"columns = {_DOCUMENT}, filename = true, maximum_object_size = {largest + 1024})"
        )
    except duckdb.OutOfMemoryException as error:
        raise IngestError(
            f"{_names(heads)}: too large a document to read at once. Query a shorter range at a time."
        ) from error
    except duckdb.Error as error:
        raise IngestError(
            f"{_names(heads)}: this is not one whole JSON document of series; it may be cut off. Query and save it "
            "again."
        ) from error
    answers: dict[str, list[tuple]] = {name: [] for name in heads}
    for name, *answer in reader.connection.execute(
        f'select filename, status, "errorType", error, data."resultType", warnings from {_DOCUMENTS}'
    ).fetchall():
        answers[name].append(answer)
    for name, head in heads.items():
        _check_answer(head, answers[name])
        warnings = answers[name][0][-1]
        if warnings:
            reader.tell(head.path, f"Prometheus warned: {'; '.join(warnings)[:300]}")


def _names(heads: dict[str, Head]) -> str:
    return ", ".join(str(head.path) for head in heads.values())


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


def _label(*names: str) -> str:
    values = ", ".join(f"nullif(metric[{literal(name)}], '')" for name in names)
    return f"coalesce({values}, null)"


_OWN_LABELS = ", ".join(literal(label) for name in ("exported_namespace", "exported_pod") for label in _LABELS[name])
_SHAPES = f"""
with series as (
    select filename, unnest(data.result, max_depth := 2) from {_DOCUMENTS}
),

relabelled as (
    select filename, bool_or(list_has_any(map_keys(metric), [{_OWN_LABELS}])) as is_relabelled
    from series
    group by filename
),

distances as (
    select
        filename,
        unnest(list_transform(
            range(2, least(len("values"), 1000) + 1),
            lambda position: try_cast("values"[position][1] as decimal(18, 3))
                - try_cast("values"[position - 1][1] as decimal(18, 3))
        )) as seconds
    from series
),

steps as (
    select filename, seconds, row_number() over (partition by filename order by count(*) desc, seconds) as place
    from distances
    where seconds > 0
    group by filename, seconds
)

select documents.filename, coalesce(relabelled.is_relabelled, false), steps.seconds
from {_DOCUMENTS} as documents
left join relabelled on documents.filename = relabelled.filename
left join steps on documents.filename = steps.filename and steps.place = 1
"""
"""SQL of each document's shape: whether the scrape kept its own labels, and the step (null without any distance)."""

_POINTS = """
select
    * exclude (point),
    cast(null as varchar) as _broken,
    cast(null as bigint) as _line,
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
