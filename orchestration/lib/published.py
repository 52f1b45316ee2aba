"""What the last publication says: the totals that a new build is compared with, and the changes that were told before.

A build reads them from its snapshot, so that it can tell what it moved of what readers have seen.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pertask.home import Home

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_MONEY = "decimal(38, 12)"
_TOTALS = (
    # mart, its date, the measure that is added up
    ("unit_economics.cost_per_task_daily", "started_date", "cost_usd"),
    ("unit_economics.retry_overhead_daily", "usage_date", "total_cost_usd"),
    ("capacity.idle_dollars_daily", "usage_date", "effective_cost_usd"),
    ("capacity.idle_dollars_daily", "usage_date", "idle_usd"),
    ("quality.invoice_walk_monthly", "billing_month", "invoice_usd"),
)
_RESTATEMENT_COLUMNS = {
    "build_id": "varchar",
    "detected_at": "timestamp",
    "mart": "varchar",
    "measure": "varchar",
    "total_date": "date",
    "old_amount": _MONEY,
    "new_amount": _MONEY,
    "cause": "varchar",
}


def published_tables(home: Home) -> dict[str, pa.Table]:
    """Tables of the last publication for the snapshot: published_totals and published_restatements.

    Both have no rows where nothing is published yet or the file cannot be read, and a mart that an older publication
    lacks has none: a build must not fail for what it is about to replace.
    """
    import duckdb

    totals: list[pa.Table] = []
    restatements: list[pa.Table] = []
    with contextlib.closing(duckdb.connect()) as connection:
        empty_totals = _empty(
            connection,
            {"mart": "varchar", "measure": "varchar", "total_date": "date", "amount": _MONEY},
        )
        empty_restatements = _empty(connection, _RESTATEMENT_COLUMNS)
        if home.published_file.exists() and _attach(connection, home):
            for mart, date_column, measure in _TOTALS:
                totals += _rows(
                    connection,
                    f"""
                    select
                        '{mart}' as mart,
                        '{measure}' as measure,
                        cast({date_column} as date) as total_date,
                        cast(sum({measure}) as {_MONEY}) as amount
                    from published.{mart} where {date_column} is not null group by {date_column} order by {date_column}
                    """,
                )
            columns = ", ".join(f"cast({name} as {kind}) as {name}" for name, kind in _RESTATEMENT_COLUMNS.items())
            restatements += _rows(
                connection,
                f"select {columns} from published.quality.restatements order by detected_at, mart, measure, total_date",
            )
    return {
        "published_totals": _joined(empty_totals, totals),
        "published_restatements": _joined(empty_restatements, restatements),
    }


def _attach(connection: duckdb.DuckDBPyConnection, home: Home) -> bool:
    import duckdb

    path = str(home.published_file).replace("'", "''")
    try:
        connection.execute(f"attach '{path}' as published (read_only)")
    except duckdb.Error:
        return False
    return True


def _empty(connection: duckdb.DuckDBPyConnection, columns: dict[str, str]) -> pa.Table:
    nulls = ", ".join(f"cast(null as {kind}) as {name}" for name, kind in columns.items())
    return connection.sql(f"select {nulls} where false").to_arrow_table()


def _rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[pa.Table]:
    """The answer; nothing where the publication is of a version without that mart or column."""
    import duckdb

    try:
        return [connection.sql(sql).to_arrow_table()]
    except (duckdb.CatalogException, duckdb.BinderException):
        return []


def _joined(empty: pa.Table, tables: list[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables([empty, *(table.cast(empty.schema) for table in tables)])
