"""The marts as a folder of Parquet or CSV files: one file a mart, one sub-folder a schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from pertask.home import Home
from publish.exports.marts import MartColumn, MartsExport, PublishedMart, PublishedMarts, open_marts
from publish.exports.targets import MARKER, export_target, replaced_folder
from publish.publication import literal, quoted_name

FORMATS = ("parquet", "csv")

_CSV = "format csv, header, timestampformat '%Y-%m-%dT%H:%M:%S.%fZ'"


def export_folder(
    home: Home,
    output_format: str,
    *,
    output: Path | None = None,
    names: Sequence[str] = (),
    on_mart: Callable[[PublishedMart], None] = lambda mart: None,
) -> MartsExport:
    """Write a file a mart; a folder of an earlier export is replaced whole, if nothing else is in it.

    Both formats keep every digit. Parquet has moments in UTC and the mart's description in its metadata. CSV has
    moments as ISO 8601 in UTC and null as an empty field (an empty text is ``""``); a text that a spreadsheet would
    take for a formula has an apostrophe before it. ``_export.json`` describes all marts and columns, and says which
    publication they are.

    Args:
        home: the home whose publication is exported.
        output_format: parquet or csv.
        output: which folder; default: one named as the format in published/exports/.
        names: marts, as ``core.fct_tasks``; none: all.
        on_mart: called before each mart is written.

    Raises:
        QueryError: there is no publication, or it has no mart of a name.
        ExportError: the folder cannot be written.
        TargetError: the folder is in the home outside of published/exports/, or holds something that is no export.
    """
    path = export_target(home, output, output_format)
    with open_marts(home, names) as published, replaced_folder(path) as scratch:
        for mart in published.marts:
            on_mart(mart)
            (scratch / mart.schema).mkdir(exist_ok=True)
            target = scratch / mart.schema / f"{mart.table}.{output_format}"
            if output_format == "csv":
                expressions, options = map(_csv_expression, mart.columns), _CSV
            else:
                expressions, options = map(_parquet_expression, mart.columns), _parquet_options(published, mart)
            selected = f"select {', '.join(expressions)} from {mart.quoted}"
            published.connection.execute(f"copy ({selected}) to {literal(target)} ({options})")
        (scratch / MARKER).write_text(_describe(published, output_format), encoding="utf-8")
    return MartsExport(str(path), len(published.marts), sum(mart.row_count for mart in published.marts))


def harmless_text(column: str) -> str:
    """SQL of a text column with an apostrophe before each text that a spreadsheet would run as a formula."""
    name = quoted_name(column)
    return rf"case when regexp_matches({name}, '^[=+\-@\t\r]') then '''' || {name} else {name} end as {name}"


def _csv_expression(column: MartColumn) -> str:
    return harmless_text(column.name) if column.kind == "VARCHAR" else quoted_name(column.name)


def _parquet_expression(column: MartColumn) -> str:
    name = quoted_name(column.name)
    # Parquet has a type for moments in UTC.
    return f"{name} at time zone 'UTC' as {name}" if column.kind == "TIMESTAMP" else name


def _parquet_options(published: PublishedMarts, mart: PublishedMart) -> str:
    facts = {"description": mart.description, "published_at": f"{published.published_at.isoformat()}Z"}
    metadata = ", ".join(f"{key}: {literal(text)}" for key, text in facts.items())
    return f"format parquet, compression zstd, kv_metadata {{{metadata}}}"


def _describe(published: PublishedMarts, output_format: str) -> str:
    newest = published.newest_delivery_at
    facts = {
        "published_at": f"{published.published_at.isoformat()}Z",
        "build_id": published.build_id,
        "newest_delivery_at": newest and f"{newest.isoformat()}Z",
        "marts": [
            {
                "name": mart.name,
                "file": f"{mart.schema}/{mart.table}.{output_format}",
                "description": mart.description,
                "row_count": mart.row_count,
                "columns": [
                    {"name": column.name, "type": column.kind, "description": column.description}
                    for column in mart.columns
                ],
            }
            for mart in published.marts
        ],
    }
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
