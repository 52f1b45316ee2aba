"""Prometheus ``query_range`` answers with metrics of GPU exporters and model servers.

A file is one JSON document, usually one metric. Each point is one sample; what metrics and labels mean is said in
``ingest.formats.telemetry``. Of the answers:

- A query for more than 11,000 points a series is refused, so exports come in chunks that overlap at their edges: the
  same point twice is one sample.
- The step is not in the answer: it is the most frequent distance between two points of a series.
- An answer to a function of a metric has lost the metric's name; the file's name may still say it.
- A file with metrics of GPUs and of model servers fills both contracts. A metric that is not read is counted once, with
  the GPUs' unless its name begins as a model server's.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from ingest.errors import IngestError
from ingest.formats import telemetry
from ingest.reading import Head, Reader, literal
from ingest.rows import Extract

NAME = "prometheus"
VERSION = 2
CONTRACTS = telemetry.CONTRACTS
DELIVERY = "file"
REPLACES_PERIOD = False

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
    """The answers' points as samples of GPUs and of model servers.

    Raises:
        IngestError: a document is not valid JSON, an error answer, or not a range of samples.
    """
    if not reader.heads:
        return telemetry.nothing(reader)
    series = _series(reader)
    return [
        telemetry.extract(name, _POINTS.format(series=telemetry.series_of(name, series)))
        for name in telemetry.contracts_of(reader.connection, series)
    ]


def _series(reader: Reader) -> str:
    """SQL of the documents' series: their labels, the step, and the points as a list."""
    heads = {str(reader.document(head)): head for head in reader.heads}
    _read_documents(reader, heads)
    facts = []
    for name, is_relabelled, step in reader.connection.execute(_SHAPES).fetchall():
        head = heads[name]
        if step is None:
            seconds = telemetry.DEFAULT_STEP_SECONDS
            reader.tell(head.path, f"no series has two points, so the step is taken as {seconds} seconds")
        named_after = next((metric for metric in telemetry.METRICS if metric in head.path.name), None)
        facts.append(
            f"{literal(name)}: {{path: {literal(head.path)}, step: '{step or telemetry.DEFAULT_STEP_SECONDS}', "
            f"is_relabelled: {is_relabelled}, named_after: {literal(named_after) if named_after else 'null'}}}"
        )
    return f"""
        select
            fact.path as _file,
            coalesce(metric['__name__'], fact.named_after) as metric,
            metric as labels,
            fact.is_relabelled as is_relabelled,
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


_OWN_LABELS = ", ".join(map(literal, telemetry.OWN_LABELS))
_DISTANCES = f"""
    select
        filename as _file,
        unnest(list_transform(
            range(2, least(len("values"), 1000) + 1),
            lambda position: try_cast("values"[position][1] as decimal(18, 3))
                - try_cast("values"[position - 1][1] as decimal(18, 3))
        )) as seconds
    from (select filename, unnest(data.result, max_depth := 2) from {_DOCUMENTS})"""

_SHAPES = f"""
with series as (
    select filename, unnest(data.result, max_depth := 2) from {_DOCUMENTS}
),

relabelled as (
    select filename, bool_or(list_has_any(map_keys(metric), [{_OWN_LABELS}])) as is_relabelled
    from series
    group by filename
),

steps as ({telemetry.most_frequent(_DISTANCES)}
)

select documents.filename, coalesce(relabelled.is_relabelled, false), steps.seconds
from {_DOCUMENTS} as documents
left join relabelled on documents.filename = relabelled.filename
left join steps on documents.filename = steps._file
"""
"""SQL of each document's shape: whether the scrape kept its own labels, and the step (null without any distance)."""

_POINTS = """
select
    * exclude (point),
    cast(null as varchar) as _broken,
    cast(null as bigint) as _line,
    point[1] as seconds,
    point[2] as text,
    concat_ws(' ', metric, pod, point[1], point[2]) as _content
from (
    select * exclude ("values"), unnest("values") as point
    from (
    {series}
    )
)
"""
