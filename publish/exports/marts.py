"""The published marts as an export sees them: tables, columns and descriptions, all from the published file itself."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pertask.errors import QueryError, did_you_mean
from pertask.home import Home
from pertask.memory import duckdb_limits
from pertask.query import require_publication
from publish.publication import literal, quoted_name

if TYPE_CHECKING:
    import duckdb

_MARTS = """
with tables as (
    select schema_name, table_name, coalesce(comment, '') as description
    from duckdb_tables()
    where database_name = 'published' and schema_name != 'main'
),

columns as (
    select
        schema_name,
        table_name,
        list(
            {'name': column_name, 'kind': data_type, 'description': coalesce(comment, '')} order by column_index
        ) as columns
    from duckdb_columns()
    where database_name = 'published'
    group by schema_name, table_name
)

select tables.schema_name, tables.table_name, tables.description, columns.columns
from tables
inner join columns on tables.schema_name = columns.schema_name and tables.table_name = columns.table_name
order by tables.schema_name, tables.table_name
"""
_PUBLICATION = "select published_at, build_id, newest_delivery_at from published.main.publication"


@dataclass(frozen=True)
class MartColumn:
    """A column: its DuckDB type, and what it means."""

    name: str
    kind: str
    description: str


@dataclass(frozen=True)
class PublishedMart:
    """A mart of the published file."""

    schema: str
    table: str
    description: str
    columns: tuple[MartColumn, ...]
    row_count: int

    @property
    def name(self) -> str:
        """Schema and table, as readers write it."""
        return f"{self.schema}.{self.table}"

    @property
    def quoted(self) -> str:
        """The name as SQL."""
        return f"published.{quoted_name(self.schema)}.{quoted_name(self.table)}"


@dataclass(frozen=True)
class PublishedMarts:
    """The marts that an export is of, an open connection to read them, and what publication they are."""

    connection: duckdb.DuckDBPyConnection
    marts: tuple[PublishedMart, ...]
    published_at: datetime
    build_id: str
    newest_delivery_at: datetime | None
    """when the newest delivery that is in it came; null without any"""


@dataclass(frozen=True)
class MartsExport:
    """What was written."""

    place: str
    """path, or the server's schema"""
    mart_count: int
    row_count: int
    shortfalls: tuple[str, ...] = ()
    """what is not in it, or not whole, and what to do; a line each"""


@contextlib.contextmanager
def open_published(home: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that reads the published file, can write other files, and keeps times in UTC.

    A publication that comes meanwhile changes nothing for it.

    Raises:
        QueryError: nothing is published yet, or the file cannot be opened.
    """
    import duckdb

    require_publication(home)
    spill = Path(tempfile.gettempdir()) / f"pertask-export-{os.getpid()}"
    with contextlib.closing(duckdb.connect(config=duckdb_limits(spill))) as connection:
        connection.execute("set autoinstall_known_extensions = false")
        connection.execute("set TimeZone = 'UTC'")
        try:
            connection.execute(f"attach {literal(home.published_file)} as published (read_only)")
        except duckdb.Error as error:
            raise QueryError(f"{home.published_file}: cannot be opened: {error}") from error
        connection.execute("use published")
        yield connection


@contextlib.contextmanager
def open_marts(home: Home, names: Sequence[str] = ()) -> Iterator[PublishedMarts]:
    """The published marts, by name.

    Args:
        home: the home whose publication is read.
        names: the marts that are meant, as ``core.fct_tasks``; none: all.

    Raises:
        QueryError: nothing is published yet, the file cannot be read, or it has no mart of a name.
    """
    with open_published(home) as connection:
        marts, published_at, build_id, newest_delivery_at = _read(connection, home, names)
        yield PublishedMarts(connection, marts, published_at, build_id, newest_delivery_at)


def _read(
    connection: duckdb.DuckDBPyConnection, home: Home, names: Sequence[str]
) -> tuple[tuple[PublishedMart, ...], datetime, str, datetime | None]:
    import duckdb

    try:
        found = {f"{row[0]}.{row[1]}": row for row in connection.execute(_MARTS).fetchall()}
        for name in names:
            if name not in found:
                raise QueryError(f"there is no mart {name}.{did_you_mean(name, found)}")
        [publication] = connection.execute(_PUBLICATION).fetchall()
        marts = tuple(
            PublishedMart(
                schema,
                table,
                description,
                tuple(MartColumn(**column) for column in columns),
                _count(connection, schema, table),
            )
            for name, (schema, table, description, columns) in found.items()
            if not names or name in names
        )
    except duckdb.Error as error:
        raise QueryError(f"{home.published_file}: cannot be read: {error}. Run `pertask publish`.") from error
    return (marts, *publication)


def _count(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> int:
    [(count,)] = connection.execute(
        f"select count(*) from published.{quoted_name(schema)}.{quoted_name(table)}"
    ).fetchall()
    return count
