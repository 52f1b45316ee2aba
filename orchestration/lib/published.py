"""What the last publication says: totals and estimates that a new build is compared with, and changes told before.

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
_SECONDS = "decimal(18, 6)"
_TOTALS = (
    # mart, its date, the measure that is added up
    ("unit_economics.cost_per_task_daily", "started_date", "cost_usd"),
    ("unit_economics.retry_overhead_daily", "usage_date", "total_cost_usd"),
    ("capacity.idle_dollars_daily", "usage_date", "effective_cost_usd"),
    ("capacity.idle_dollars_daily", "usage_date", "idle_usd"),
    ("quality.invoice_walk_monthly", "billing_month", "invoice_usd"),
)
_COLUMNS = {
    "published_totals": {"mart": "varchar", "measure": "varchar", "total_date": "date", "amount": _MONEY},
    "published_restatements": {
        "build_id": "varchar",
        "detected_at": "timestamp",
        "mart": "varchar",
        "measure": "varchar",
        "total_date": "date",
        "old_amount": _MONEY,
        "new_amount": _MONEY,
        "cause": "varchar",
    },
    "published_gpu_hours": {
        "usage_date": "date",
        "resource_id": "varchar",
        "hour_at": "timestamp",
        "is_provisional": "boolean",
        "seconds": _SECONDS,
        "cost_usd": _MONEY,
    },
    "published_true_ups": {
        "build_id": "varchar",
        "trued_up_at": "timestamp",
        "usage_date": "date",
        "resource_id": "varchar",
        "estimated_seconds": _SECONDS,
        "billed_seconds": _SECONDS,
        "estimated_cost_usd": _MONEY,
        "billed_cost_usd": _MONEY,
        "unestimated_seconds": _SECONDS,
        "unestimated_cost_usd": _MONEY,
    },
}
"""The tables, their columns and types; what each holds is said in models/staging/_sources.yml."""

_QUERIES = {
    "published_totals": [
        f"""
        select '{mart}' as mart, '{measure}' as measure, {date_column} as total_date, sum({measure}) as amount
        from published.{mart} where {date_column} is not null group by {date_column}
        """
        for mart, date_column, measure in _TOTALS
    ],
    "published_restatements": ["from published.quality.restatements"],
    "published_gpu_hours": [
        # whole days of a resource, so that hours which were billed already are told from those that the bill brings
        """
        select
            usage_date,
            resource_id,
            hour_at,
            bool_or(is_provisional) as is_provisional,
            sum(billed_seconds) as seconds,
            case when count(*) = count(effective_cost_usd) then sum(effective_cost_usd) end as cost_usd
        from published.core.fct_gpu_hours
        where (usage_date, resource_id) in (
            select (usage_date, resource_id) from published.core.fct_gpu_hours where is_provisional
        )
        group by usage_date, resource_id, hour_at
        """
    ],
    "published_true_ups": ["from published.quality.provisional_true_ups"],
}


def published_tables(home: Home) -> dict[str, pa.Table]:
    """Tables of the last publication for the snapshot, by name.

    They have no rows where nothing is published yet or the file cannot be read, and a mart that an older publication
    lacks has none: a build must not fail for what it is about to replace.
    """
    import duckdb

    with contextlib.closing(duckdb.connect()) as connection:
        is_attached = home.published_file.exists() and _attach(connection, home)
        return {
            name: _joined(
                _empty(connection, columns),
                [table for query in _QUERIES[name] if is_attached for table in _rows(connection, query, columns)],
            )
            for name, columns in _COLUMNS.items()
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


def _rows(connection: duckdb.DuckDBPyConnection, query: str, columns: dict[str, str]) -> list[pa.Table]:
    """The answer, in order; nothing where the publication is of a version without that mart or column, or damaged."""
    import duckdb

    picked = ", ".join(f"cast({name} as {kind}) as {name}" for name, kind in columns.items())
    try:
        return [connection.sql(f"select {picked} from ({query}) order by all").to_arrow_table()]
    except duckdb.Error:
        return []


def _joined(empty: pa.Table, tables: list[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables([empty, *(table.cast(empty.schema) for table in tables)])
