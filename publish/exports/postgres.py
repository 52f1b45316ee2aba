"""The marts as tables of a PostgreSQL schema, for tools that want a server: ``pertask.core__fct_tasks`` and so on.

All rows are replaced in one transaction: delete, then bulk load over Arrow and COPY. PostgreSQL shows each reader the
rows of before or of after that transaction, over all tables at once, and makes nobody wait. The tables themselves stay,
and with them what others have put on them: grants, policies, views. Only where a new version of a mart has other
columns are these columns dropped or added, in the same transaction.

Beside the marts stand ``marts``, which lists them and says which tables and columns of the schema are ours to replace,
and ``publication``, one row: which publication it is. Columns and tables carry their descriptions as comments. A column
that somebody else has added stops the export, since its values would go with the rows; a generated one does not.

Where the server is comes from the environment alone, and no message shows it but for the host's name.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from pertask.errors import ConfigError, ExportError, TargetError
from pertask.home import Home
from publish.exports.marts import MartColumn, MartsExport, PublishedMart, PublishedMarts, open_marts
from publish.publication import literal, quoted_name

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor

URL_VARIABLE = "PERTASK_POSTGRES_URL"
SCHEMA = "pertask"

_EXAMPLE = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
_LIST = "marts"
_LIST_SIGN = {"mart": "text", "table_name": "text", "description": "text", "row_count": "bigint"}
"""The columns by which the list is known as ours: later versions must have them too."""
_NAME_BYTES = 63
"""The longest name that PostgreSQL takes; it cuts longer ones without a word."""
_FIRST_DAY, _LAST_DAY = "date '4713-01-01 (BC)'", "date '5874897-12-31'"
"""The days that PostgreSQL can hold, as DuckDB writes them."""
_FETCH_ROWS = 50_000
_WAIT = "60s"
_TYPES = {
    "VARCHAR": "text",
    "BOOLEAN": "boolean",
    "SMALLINT": "smallint",
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "HUGEINT": "numeric(38,0)",
    "FLOAT": "real",
    "DOUBLE": "double precision",
    "DATE": "date",
    "TIMESTAMP": "timestamp without time zone",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
}
_COLUMNS = """
select
    tables.relname,
    columns.attname,
    format_type(columns.atttypid, columns.atttypmod),
    columns.attgenerated != '',
    coalesce(col_description(tables.oid, columns.attnum), ''),
    coalesce(obj_description(tables.oid, 'pg_class'), '')
from pg_namespace as schemas
inner join pg_class as tables on schemas.oid = tables.relnamespace and tables.relkind in ('r', 'p', 'v', 'm', 'f')
left join pg_attribute as columns
    on tables.oid = columns.attrelid and columns.attnum > 0 and not columns.attisdropped
where schemas.nspname = $1
order by tables.relname, columns.attnum
"""


@dataclass(frozen=True)
class _Table:
    """A table to fill: its columns with PostgreSQL's types, and the query on the published file that gives its rows."""

    name: str
    description: str
    columns: tuple[MartColumn, ...]
    rows: str


@dataclass
class _Existing:
    """A table that is there: the types and comments of its columns, and its own comment.

    Generated columns are others' by their nature, and need no care: the server fills them.
    """

    comment: str
    types: dict[str, str]
    comments: dict[str, str]


def export_postgres(
    home: Home,
    *,
    schema: str = SCHEMA,
    names: Sequence[str] = (),
    on_mart: Callable[[PublishedMart], None] = lambda mart: None,
) -> MartsExport:
    """Replace the rows of the marts' tables in a PostgreSQL schema, all at once.

    Marts that an earlier export left there and that this one does not have are dropped. Two exports into one schema
    wait for each other. PERTASK_POSTGRES_URL says where the server is, as libpq reads it; a password may also come
    from PGPASSWORD or a password file.

    Args:
        home: the home whose publication is exported.
        schema: which schema; it is made if it is not there.
        names: marts, as ``core.fct_tasks``; none: all.
        on_mart: called before each mart is written.

    Raises:
        ConfigError: PERTASK_POSTGRES_URL is not set, or is no URL.
        QueryError: there is no publication, or it has no mart of a name.
        TargetError: the schema cannot have this name, or holds tables or columns of others where ours would be.
        ExportError: the server cannot be reached or refuses; the schema stays as it was.
    """
    _check_name(schema)
    url = _url()
    with open_marts(home, names) as published, _connected(url) as connection:
        tables = {mart: _table(mart) for mart in published.marts}
        own = _own_tables(published, schema, tables)
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(f"set local lock_timeout = {literal(_WAIT)}")
            cursor.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", (f"pertask export {schema}",))
            existing = _prepare(cursor, schema, [*tables.values(), *own])
            for mart, table in tables.items():
                on_mart(mart)
                _check_days(published, mart)
                _fill(cursor, published, schema, table, existing.get(table.name))
            for table in own:
                _fill(cursor, published, schema, table, existing.get(table.name))
        connection.commit()
        _tidy(connection, schema, [*tables.values(), *own])
    return MartsExport(f"schema {schema} on {_host(url)}", len(tables), sum(mart.row_count for mart in published.marts))


def table_name(mart: PublishedMart) -> str:
    """The table of a mart: ``core__fct_tasks``."""
    return f"{mart.schema}__{mart.table}"


def _check_name(schema: str) -> None:
    length = len(schema.encode())
    if not 0 < length <= _NAME_BYTES:
        raise TargetError(
            f"--schema {schema!r}: has {length} bytes, and a name in PostgreSQL has 1 to {_NAME_BYTES}. Choose another."
        )


def _url() -> str:
    """The server's URL, checked, with a limit on how long to try.

    libpq's own words about a URL that it cannot read quote parts of it, which may be parts of the password. So what can
    be told beforehand is told here.
    """
    url = os.environ.get(URL_VARIABLE, "")
    if not url:
        raise ConfigError(f"{URL_VARIABLE} is not set. Set it to where the server is: {_EXAMPLE}")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = None
    is_cut = parts and "@" in url and "@" not in parts.netloc
    if not parts or parts.scheme not in ("postgresql", "postgres") or is_cut or parts.netloc.count("@") > 1:
        raise ConfigError(
            f"{URL_VARIABLE} cannot be read. Write it as {_EXAMPLE}, with special characters of the password as %XX "
            "(@ is %40, / is %2F, # is %23, ? is %3F, a space is %20)."
        )
    if "connect_timeout=" in parts.query:
        return url
    return f"{url}{'&' if '?' in url else '?'}connect_timeout=10"


def _host(url: str) -> str:
    parts = urlsplit(url)
    return parts.hostname or parse_qs(parts.query).get("host", ["the local server"])[0]


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """A connection in a transaction, which an error rolls back; what the server refuses becomes a message."""
    import adbc_driver_postgresql.dbapi as postgres

    try:
        connection = postgres.connect(url)
    except postgres.Error as error:
        raise ExportError(_why_unreachable(str(error), _host(url))) from None
    try:
        with contextlib.closing(connection):
            yield connection
    except postgres.Error as error:
        raise ExportError(_why_refused(str(error), getattr(error, "sqlstate", None), _host(url))) from error


def _why_unreachable(text: str, host: str) -> str:
    """A message of our own: libpq's may hold parts of a URL that it took apart wrongly."""
    reasons = {
        "password authentication failed": f"the user or the password in {URL_VARIABLE} is wrong",
        "no password supplied": f"it wants a password. Put it into {URL_VARIABLE}, PGPASSWORD or a password file",
        "no pg_hba.conf entry": "its pg_hba.conf lets in neither this user from here, nor to this database",
        "could not translate host name": f"there is no host of this name. Look at {URL_VARIABLE}",
        "Connection refused": "nothing answers at this port. Is the server running, and is the port right?",
        "No such file or directory": "there is no socket of a running server. Is it running?",
        "timeout expired": "it does not answer in time. Is there a firewall between?",
        "does not support SSL": "it does not encrypt connections, which the URL's sslmode asks for",
        "certificate": "its certificate cannot be verified; see sslmode and sslrootcert of the URL",
        "too many clients": "it has no connection free. Try again later",
        "too many connections": "it has no connection free. Try again later",
        "starting up": "it is starting. Try again later",
        "is not permitted to log in": f"the user in {URL_VARIABLE} may not log in",
    }
    if re.search(r'(database|role) "[^"]*" does not exist', text):
        why = f"there is no such database or user. Look at {URL_VARIABLE}"
    else:
        unknown = f"the connection failed. Try `psql` with what {URL_VARIABLE} holds to see why"
        why = next((reason for sign, reason in reasons.items() if sign in text), unknown)
    ending = "" if why.endswith("?") else "."
    return f"PostgreSQL on {host}: {why}{ending} Nothing was written."


def _why_refused(text: str, sqlstate: str | None, host: str) -> str:
    said = " ".join(text.split("ERROR:", 1)[-1].split("SQLSTATE:", 1)[0].split()).rstrip(". ")
    advice = {
        "42501": " Grant the user CREATE on the database, or make the schema and let the user own it and its tables.",
        "55P03": " Somebody holds a lock on a table of the schema. Try again later.",
        "2BP01": " A view or another object uses a column or mart that is no longer there. Change or drop it first.",
        "53100": " The server's disk is full.",
    }.get(sqlstate or "", "")
    return f"PostgreSQL on {host}: {said}.{advice} The schema stays as it was."


def _table(mart: PublishedMart) -> _Table:
    columns = tuple(MartColumn(column.name, _type(mart, column), column.description) for column in mart.columns)
    expressions = ", ".join(map(_expression, mart.columns))
    return _Table(table_name(mart), mart.description, columns, f"select {expressions} from {mart.quoted}")


def _type(mart: PublishedMart, column: MartColumn) -> str:
    if column.kind.startswith("DECIMAL"):
        return column.kind.replace("DECIMAL", "numeric")
    if column.kind not in _TYPES:
        raise ExportError(
            f"{mart.name}.{column.name}: PostgreSQL has no type here for {column.kind}. Leave the mart out: name the "
            "others with --mart."
        )
    return _TYPES[column.kind]


def _check_days(published: PublishedMarts, mart: PublishedMart) -> None:
    """Stop at a day or moment that PostgreSQL cannot hold: the driver would not say which it is."""
    columns = [column for column in mart.columns if column.kind.startswith(("DATE", "TIMESTAMP"))]
    if not columns:
        return
    counts = ", ".join(f"count_if({_is_beyond(column)})" for column in columns)
    [found] = published.connection.execute(f"select {counts} from {mart.quoted}").fetchall()
    for column, count in zip(columns, found, strict=True):
        if count:
            raise ExportError(
                f"{mart.name}.{column.name}: {count:,} rows have an infinite date or one that PostgreSQL cannot hold "
                "(4713 BC to 5874897). Correct it at its source, or leave the mart out: name the others with --mart. "
                "The schema stays as it was."
            )


def _is_beyond(column: MartColumn) -> str:
    name = quoted_name(column.name)
    beyond = f"not isfinite({name}) or {name} < {_FIRST_DAY}"
    # DuckDB's moments end before PostgreSQL's.
    return f"{beyond} or {name} > {_LAST_DAY}" if column.kind == "DATE" else beyond


def _expression(column: MartColumn) -> str:
    name = quoted_name(column.name)
    if column.kind == "VARCHAR":
        # The one character that PostgreSQL's texts cannot hold.
        return f"replace({name}, chr(0), '\N{REPLACEMENT CHARACTER}') as {name}"
    return f"cast({name} as decimal(38, 0)) as {name}" if column.kind == "HUGEINT" else name


def _own_tables(published: PublishedMarts, schema: str, tables: dict[PublishedMart, _Table]) -> list[_Table]:
    rows = ", ".join(
        f"({literal(mart.name)}, {literal(table.name)}, {literal(mart.description)}, "
        f"cast({mart.row_count} as bigint), {literal(json.dumps([column.name for column in table.columns]))})"
        for mart, table in tables.items()
    )
    newest = published.newest_delivery_at
    moment = f"cast({literal(newest)} as timestamp)" if newest else "cast(null as timestamp)"
    return [
        _Table(
            _LIST,
            "One row per mart that pertask keeps in this schema; pertask replaces these tables, and only these.",
            (
                MartColumn("mart", "text", "schema and name of the mart, as in the published file"),
                MartColumn("table_name", "text", "its table in this schema"),
                MartColumn("description", "text", "what a row of it is"),
                MartColumn("row_count", "bigint", "its rows"),
                MartColumn("column_names", "text", "its columns that pertask keeps, as a JSON array"),
            ),
            f"select * from (values {rows}) as listed (mart, table_name, description, row_count, column_names)",
        ),
        _Table(
            "publication",
            f"One row: which publication the marts in schema {schema} are.",
            (
                MartColumn("published_at", _TYPES["TIMESTAMP"], "when the marts were published (UTC)"),
                MartColumn("build_id", "text", "name of the build that they come from"),
                MartColumn(
                    "newest_delivery_at",
                    _TYPES["TIMESTAMP"],
                    "when the newest delivery in them came (UTC); null without any",
                ),
            ),
            f"select cast({literal(published.published_at)} as timestamp) as published_at, "
            f"{literal(published.build_id)} as build_id, {moment} as newest_delivery_at",
        ),
    ]


def _prepare(cursor: Cursor, schema: str, tables: list[_Table]) -> dict[str, _Existing]:
    """Make the schema if it is not there, drop marts that are gone; returns what tables there are."""
    cursor.execute("select count(*) from pg_namespace where nspname = $1", (schema,))
    if cursor.fetchone() == (0,):
        cursor.execute(f"create schema {quoted_name(schema)}")
    existing = _existing(cursor, schema)
    ours = _ours(cursor, schema, existing)
    wanted = {table.name: [column.name for column in table.columns] for table in tables}
    foreign = [name for name in wanted if name in existing and name not in ours]
    if foreign:
        raise TargetError(
            f"schema {schema} has a table {foreign[0]} that is not an export of pertask's. Name another schema with "
            "--schema. Nothing was written."
        )
    for name in sorted(ours.keys() & existing.keys()):
        _check_columns(schema, name, existing[name], {*ours[name], *wanted.get(name, ())})
        if name not in wanted:
            cursor.execute(f"drop table {quoted_name(schema)}.{quoted_name(name)}")
    return existing


def _ours(cursor: Cursor, schema: str, existing: dict[str, _Existing]) -> dict[str, list[str]]:
    """The tables that earlier exports left in the schema, by their list, with the columns that they gave them."""
    if _LIST not in existing or not _LIST_SIGN.items() <= existing[_LIST].types.items():
        return {}
    # The list of an early version does not say which columns: then it is those that are wanted now.
    columns = "column_names" if "column_names" in existing[_LIST].types else "'[]'"
    cursor.execute(f"select table_name, {columns} from {quoted_name(schema)}.{_LIST}")
    return {_LIST: [], "publication": []} | {name: json.loads(names or "[]") for name, names in cursor.fetchall()}


def _check_columns(schema: str, table: str, existing: _Existing, ours: Collection[str]) -> None:
    foreign = [name for name in existing.types if name not in ours]
    if foreign:
        raise TargetError(
            f"table {schema}.{table} has columns that are not an export of pertask's: {', '.join(foreign)}. An export "
            "replaces all rows, and what is in these columns with them. Move them to a table of your own, joined on "
            "the mart's key, and drop them here; or make them generated columns, which stay. Nothing was written."
        )


def _existing(cursor: Cursor, schema: str) -> dict[str, _Existing]:
    cursor.execute(_COLUMNS, (schema,))
    found: dict[str, _Existing] = {}
    for table, column, kind, is_generated, column_comment, comment in cursor.fetchall():
        entry = found.setdefault(table, _Existing(comment, {}, {}))
        if column is not None and not is_generated:
            entry.types[column] = kind
            entry.comments[column] = column_comment
    return found


def _fill(cursor: Cursor, published: PublishedMarts, schema: str, table: _Table, existing: _Existing | None) -> None:
    """Give the table the mart's columns, comments and rows."""
    full_name = f"{quoted_name(schema)}.{quoted_name(table.name)}"
    if existing:
        cursor.execute(f"delete from {full_name}")
        _change_columns(cursor, full_name, table, existing)
    else:
        columns = ", ".join(f"{quoted_name(column.name)} {column.kind}" for column in table.columns)
        cursor.execute(f"create table {full_name} ({columns})")
    _comment(cursor, full_name, table, existing or _Existing("", {}, {}))
    reader = published.connection.sql(table.rows).to_arrow_reader(_FETCH_ROWS)
    cursor.adbc_ingest(table.name, reader, mode="append", db_schema_name=schema)


def _change_columns(cursor: Cursor, full_name: str, table: _Table, existing: _Existing) -> None:
    """Drop and add the columns that are not as the mart has them; usually none, and then nobody waits."""
    wanted = {column.name: column.kind for column in table.columns}
    changes = [f"drop column {quoted_name(name)}" for name, kind in existing.types.items() if wanted.get(name) != kind]
    changes += [
        f"add column {quoted_name(name)} {kind}" for name, kind in wanted.items() if existing.types.get(name) != kind
    ]
    if changes:
        cursor.execute(f"alter table {full_name} {', '.join(changes)}")


def _comment(cursor: Cursor, full_name: str, table: _Table, existing: _Existing) -> None:
    if table.description != existing.comment:
        cursor.execute(f"comment on table {full_name} is {_text(table.description)}")
    wanted = {column.name: column.kind for column in table.columns}
    for column in table.columns:
        is_kept = existing.types.get(column.name) == wanted[column.name]
        if column.description != (existing.comments.get(column.name, "") if is_kept else ""):
            cursor.execute(f"comment on column {full_name}.{quoted_name(column.name)} is {_text(column.description)}")


def _text(value: Any) -> str:
    """A literal that means the same whatever the server's standard_conforming_strings says."""
    escaped = str(value).replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"


def _tidy(connection: Connection, schema: str, tables: list[_Table]) -> None:
    """Free the room of the old rows for the next export, and tell the planner of the new ones."""
    import adbc_driver_postgresql.dbapi as postgres

    connection.adbc_connection.set_autocommit(True)
    with contextlib.closing(connection.cursor()) as cursor:
        for table in tables:
            # The rows are in; the server does this by itself later if it cannot be done now.
            with contextlib.suppress(postgres.Error):
                cursor.execute(f"vacuum (analyze) {quoted_name(schema)}.{quoted_name(table.name)}")
