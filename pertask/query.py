"""SQL on the published file, and its answer as a table for people, CSV or JSON.

The connection can read the published file and nothing else: no other file, no network, no extension. CSV and JSON are
written row by row as DuckDB produces them. Decimals keep every digit in each of the three.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pertask.errors import QueryError
from pertask.home import Home

if TYPE_CHECKING:
    import duckdb

FORMATS = ("table", "csv", "json")
TABLE_ROWS = 200
"""Rows that a table shows; the rest is counted."""

_FETCH_ROWS = 2000
_QUOTED = re.compile(r'[",\r\n]')
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters that break a line or steer the terminal."""
_NUMERIC = ("DECIMAL", "DOUBLE", "FLOAT", "HUGEINT", "UHUGEINT", "BIGINT", "UBIGINT", "INTEGER", "UINTEGER")
_NUMERIC += ("SMALLINT", "USMALLINT", "TINYINT", "UTINYINT")


def require_publication(home: Home) -> None:
    """Refuse where nothing is published.

    Raises:
        QueryError: it says what to do.
    """
    if not home.published_file.exists():
        raise QueryError(
            f"{home.published_file}: nothing is published yet. Run `pertask run`, or set PERTASK_HOME to the home that "
            "you mean."
        )


def connect(home: Home) -> duckdb.DuckDBPyConnection:
    """A connection that reads the published file and can touch nothing else; times are in UTC.

    Raises:
        QueryError: nothing is published yet, or the file cannot be opened.
    """
    import duckdb

    require_publication(home)
    try:
        connection = duckdb.connect(
            str(home.published_file),
            read_only=True,
            config={
                "enable_external_access": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                # Sorts that do not fit into memory must not leave files beside what is published.
                "temp_directory": str(Path(tempfile.gettempdir()) / f"pertask-query-{os.getpid()}"),
            },
        )
        connection.execute("set TimeZone = 'UTC'")
    except duckdb.Error as error:
        raise QueryError(f"{home.published_file}: cannot be opened: {error}") from error
    return connection


def query(home: Home, sql: str, output_format: str, out: TextIO) -> None:
    """Run SQL on the published marts and write its answer.

    Args:
        home: the home whose publication is asked.
        sql: one statement, or several, of which the last one answers.
        output_format: table, csv or json.
        out: where the answer goes.

    Raises:
        QueryError: there is no publication, or DuckDB refuses the statement.
    """
    import duckdb

    with connect(home) as connection:
        try:
            answer = connection.execute(sql)
            if answer is None or answer.description is None:
                raise QueryError('there is no statement to run. Example: pertask query "from core.fct_tasks limit 5"')
            names = [column[0] for column in answer.description]
            types = [str(column[1]) for column in answer.description]
            rows = _rows(answer)
            if output_format == "json":
                _write_json(names, rows, out)
            elif output_format == "csv":
                _write_csv(names, rows, out)
            else:
                _write_table(names, types, rows, out)
        except duckdb.Error as error:
            raise QueryError(str(error)) from error


def _rows(answer: duckdb.DuckDBPyConnection) -> Iterator[tuple]:
    while rows := answer.fetchmany(_FETCH_ROWS):
        yield from rows


def _write_json(names: list[str], rows: Iterator[tuple], out: TextIO) -> None:
    """An array of objects, one a line."""
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise QueryError(f"two columns are called {', '.join(sorted(twice))}. Give one another name with `as`.")
    keys = [json.dumps(name, ensure_ascii=False) for name in names]
    out.write("[")
    separator = "\n"
    for row in rows:
        pairs = ", ".join(f"{key}: {as_json(value)}" for key, value in zip(keys, row, strict=True))
        out.write(f"{separator}{{{pairs}}}")
        separator = ",\n"
    out.write("\n]\n")


def as_json(value: Any) -> str:
    """A value as JSON: a decimal as a number with all its digits, a time as ISO text, a NaN or infinity as text."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(as_text(key))}: {as_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_json(item) for item in value) + "]"
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return json.dumps(value)
    return json.dumps(as_text(value), ensure_ascii=False)


def as_text(value: Any) -> str:
    """A value as text: all digits of a decimal, ISO times, true and false as DuckDB writes them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, dict | list | tuple):
        return as_json(value)
    return str(value)


def _write_csv(names: list[str], rows: Iterator[tuple], out: TextIO) -> None:
    """A header and a line a row; null is an empty field and an empty text ``""``, as DuckDB writes and reads them."""
    out.write(",".join(map(_csv_field, names)) + "\n")
    out.writelines(",".join(map(_csv_field, row)) + "\n" for row in rows)


def _csv_field(value: Any) -> str:
    if value is None:
        return ""
    text = as_text(value)
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) or not text else text


def _write_table(names: list[str], types: list[str], rows: Iterator[tuple], out: TextIO) -> None:
    """The first rows for people; where a table would not fit the terminal, a block of lines a row."""
    from rich.measure import Measurement
    from rich.text import Text

    from pertask.screen import table_of, wide_console

    def cell(value: Any) -> Text:
        return Text("null", style="dim") if value is None else Text(_CONTROLS.sub(" ", as_text(value)))

    names = [_CONTROLS.sub(" ", name) for name in names]
    shown = list(itertools.islice(rows, TABLE_ROWS))
    more = sum(1 for _ in rows)
    columns = [(name, _is_number(kind)) for name, kind in zip(names, types, strict=True)]
    table = table_of(columns, ([cell(value) for value in row] for row in shown))
    console = wide_console(out)
    needed = Measurement.get(console, console.options, table).maximum
    if console.is_terminal and needed > shutil.get_terminal_size().columns:
        width = max(map(len, names))
        for number, row in enumerate(shown, 1):
            console.print(Text(f"row {number}", style="bold"))
            for name, value in zip(names, row, strict=True):
                console.print(Text(f"  {name.ljust(width)}  ").append(cell(value)))
    else:
        console.print(table)
    total = len(shown) + more
    count = f"{total:,} row" + ("" if total == 1 else "s")
    console.print(Text(f"{count}; {more:,} more are not shown (--format csv has all)" if more else count, style="dim"))


def _is_number(kind: str) -> bool:
    return kind.split("(")[0] in _NUMERIC and not kind.endswith("]")
