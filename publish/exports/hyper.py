"""The marts as a Tableau extract: one .hyper file, a schema a subject, a table a mart.

Tableau's own library writes it (the optional extra ``tableau``). It reads each mart from a Parquet file beside the
target, so that decimals stay exact and no row passes through Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from pertask.errors import ExportError
from pertask.home import Home
from publish.exports.marts import MartsExport, PublishedMart, open_marts
from publish.exports.targets import export_target, replaced_file, scratch_folder
from publish.publication import literal

_FILE_VERSION = "3"
"""The oldest version of the file format whose decimals have 38 digits."""


def export_hyper(
    home: Home,
    *,
    output: Path | None = None,
    names: Sequence[str] = (),
    on_mart: Callable[[PublishedMart], None] = lambda mart: None,
) -> MartsExport:
    """Write the marts into one Tableau extract; a file of the same name is replaced whole.

    Args:
        home: the home whose publication is exported.
        output: where to; default: published/exports/pertask.hyper.
        names: marts, as ``core.fct_tasks``; none: all.
        on_mart: called before each mart is written.

    Raises:
        QueryError: there is no publication, or it has no mart of a name.
        ExportError: Tableau's library is not installed, or the file cannot be written.
        TargetError: the file is not named .hyper, or is in the home outside of published/exports/.
    """
    path = export_target(home, output, "pertask.hyper")
    api = _library()
    with open_marts(home, names) as published, replaced_file(path) as target, scratch_folder(path) as scratch:
        extract, parquet = scratch / "pertask.hyper", scratch / "mart.parquet"
        # no log file in the current folder
        settings = {"log_config": "", "default_database_version": _FILE_VERSION}
        try:
            with (
                api.HyperProcess(api.Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU, parameters=settings) as process,
                api.Connection(process.endpoint, str(extract), api.CreateMode.CREATE) as connection,
            ):
                for mart in published.marts:
                    on_mart(mart)
                    published.connection.execute(
                        f"copy (from {mart.quoted}) to {literal(parquet)} (format parquet, compression zstd)"
                    )
                    connection.catalog.create_schema_if_not_exists(api.SchemaName(mart.schema))
                    source = f"external({api.escape_string_literal(str(parquet))}, format => 'parquet')"
                    table = api.TableName(mart.schema, mart.table)
                    connection.execute_command(f"create table {table} as (select * from {source})")
                    parquet.unlink()
        except api.HyperException as error:
            raise OSError(f"Tableau's library says: {error.main_message}") from error
        # The library leaves it to the owner and the group alone.
        extract.chmod(0o644)
        extract.rename(target)
    return MartsExport(str(path), len(published.marts), sum(mart.row_count for mart in published.marts))


def _library() -> ModuleType:
    try:
        import tableauhyperapi
    except ImportError as error:
        raise ExportError(
            "Tableau extracts need Tableau's library, which is not installed. Install it with "
            "`uv sync --extra tableau` (or `pip install tableauhyperapi`), or use `pertask export postgres`."
        ) from error
    return tableauhyperapi
