"""What the report asks the publication: one SQL file a question, filled in with dates and currency, and its answer.

An answer keeps the SQL that gave it. The page shows that text and takes each figure from the rows, so what a reader
runs is what the page says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pertask.errors import QueryError

if TYPE_CHECKING:
    import duckdb

_SQL = Path(__file__).with_name("sql")
_SHARED = _SQL.parents[1]
"""SQL that other exports use too"""


class _MartMissing(Exception):
    """The publication does not hold a mart that the question is about."""


@dataclass(frozen=True)
class Answer:
    """Rows of a question, by column, and where they come from."""

    name: str
    sql: str
    marts: tuple[str, ...]
    rows: list[dict[str, Any]]


class Publication:
    """A published file that is asked; it is opened read-only by the caller."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        self._connection = connection
        self._environment = Environment(loader=FileSystemLoader([_SQL, _SHARED]), undefined=StrictUndefined)
        rows = connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables where table_catalog = "
            "current_database()"
        ).fetchall()
        self.marts = {name for (name,) in rows}

    def ask(self, name: str, values: Mapping[str, Any]) -> Answer | None:
        """The answer to a question; None where the publication lacks its mart or the mart has no rows for it.

        Raises:
            QueryError: the publication has the mart, but not its columns.
        """
        import duckdb

        used: dict[str, None] = {}

        def mart(mart_name: str) -> str:
            if mart_name not in self.marts:
                raise _MartMissing(mart_name)
            used[mart_name] = None
            return mart_name

        def one_of(*mart_names: str) -> str:
            if not self.marts.intersection(mart_names):
                raise _MartMissing(mart_names)
            return ""

        template = self._environment.get_template(f"{name}.sql")
        try:
            text = template.render(values, mart=mart, has=self.marts.__contains__, one_of=one_of)
        except _MartMissing:
            return None
        sql = _tidy(text)
        try:
            answer = self._connection.execute(sql)
        except duckdb.Error as error:
            raise QueryError(
                f"the publication cannot answer {name!r} ({error}). It may come from another version of pertask: run "
                "pertask build and pertask publish."
            ) from error
        columns = [column[0] for column in answer.description]
        rows = [dict(zip(columns, row, strict=True)) for row in answer.fetchall()]
        return Answer(name, sql, tuple(used), rows) if rows else None


def _tidy(sql: str) -> str:
    """Without the blank lines that the template's own lines leave at the ends of others."""
    lines = [line.rstrip() for line in sql.strip().splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
