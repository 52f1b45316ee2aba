"""Every public mart as DuckDB and as Spark built it, compared row by row: ``python bench/parity.py HOME``.

Both engines must have built the home's lake in the same state (``pertask build`` and ``pertask build --target spark``).
Counts, money, dates and texts must be equal to the last digit, floating-point numbers to 1e-9 of themselves.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import duckdb

from pertask.home import Home

TOLERANCE = 1e-9
FLOATS = ("DOUBLE", "FLOAT")
OF_THE_BUILD = {"build_id", "detected_at", "trued_up_at"}
"""Columns that name the build and its moment: each engine's build has its own."""


class Parity(NamedTuple):
    """What the two engines' rows of a mart came to.

    Attributes:
        mart: schema and table.
        duckdb_rows: rows that DuckDB built.
        spark_rows: rows that Spark built.
        differences: rows of either that the other does not have, a number that is too far off included.
        example: one such row, for people; empty when there is none.
    """

    mart: str
    duckdb_rows: int
    spark_rows: int
    differences: int
    example: str


def compare(home: Home) -> list[Parity]:
    """Compare every mart that DuckDB built with Spark's table of that name.

    Raises:
        FileNotFoundError: one of the engines has built nothing in this home.
    """
    if not home.warehouse_file.exists() or not home.spark_tables.exists():
        raise FileNotFoundError(f"{home.root}: build it on both engines first")
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"attach '{home.warehouse_file}' as warehouse (read_only)")
        marts = connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'warehouse' "
            "and schema_name not in ('staging', 'intermediate', 'seeds', 'main') order by all"
        ).fetchall()
        return [_compare(connection, home, schema, table) for schema, table in marts]


def _compare(connection: duckdb.DuckDBPyConnection, home: Home, schema: str, table: str) -> Parity:
    columns = connection.execute(
        "select column_name, data_type from duckdb_columns() where database_name = 'warehouse' and schema_name = ? "
        "and table_name = ? order by column_index",
        [schema, table],
    ).fetchall()
    exact = [name for name, kind in columns if kind not in FLOATS and name not in OF_THE_BUILD]
    floats = [name for name, kind in columns if kind in FLOATS]
    picked = ", ".join(f'cast("{name}" as {kind}) as "{name}"' for name, kind in columns if name not in OF_THE_BUILD)
    files = f"{home.spark_tables}/{schema}.db/{table}/**/*.parquet"
    sources = {
        "left_rows": f"select {picked} from warehouse.{schema}.{table}",
        # a table's partitions are folders, which name its date
        "right_rows": f"select {picked} from read_parquet('{files}', hive_partitioning = true, union_by_name = true)"
        if list(home.spark_tables.glob(f"{schema}.db/{table}/**/*.parquet"))
        else f"select {picked} from warehouse.{schema}.{table} where false",
    }
    # rows that agree in everything exact are told apart by their floats, in order
    order = ", ".join(f'"{name}"' for name in floats) or "1"
    group = ", ".join(f'"{name}"' for name in exact)
    for name, query in sources.items():
        connection.execute(
            f"create or replace temp table {name} as "
            f"select *, row_number() over (partition by {group} order by {order}) as twin from ({query})"
        )
    same = " and ".join(
        [f'left_rows."{name}" is not distinct from right_rows."{name}"' for name in exact]
        + ["left_rows.twin = right_rows.twin"]
    )
    near = " and ".join(
        f'(left_rows."{name}" is not distinct from right_rows."{name}" '
        f'or abs(left_rows."{name}" - right_rows."{name}") '
        f'<= {TOLERANCE} * greatest(abs(left_rows."{name}"), abs(right_rows."{name}"), {TOLERANCE}))'
        for name in floats
    )
    off = f"left_rows.twin is null or right_rows.twin is null{f' or not coalesce({near}, false)' if near else ''}"
    joined = f"from left_rows full join right_rows on {same} where {off}"
    (differences,) = connection.execute(f"select count(*) {joined}").fetchone()
    example = connection.execute(f"select left_rows, right_rows {joined} order by all limit 1").fetchone()
    counts = [connection.execute(f"select count(*) from {name}").fetchone()[0] for name in sources]
    return Parity(f"{schema}.{table}", *counts, differences, str(example) if example else "")


def table(parities: list[Parity]) -> str:
    """The comparison for people, a line a mart."""
    lines = [f"{'mart':<46} {'DuckDB rows':>12} {'Spark rows':>12} {'differences':>12}"]
    lines += [
        f"{mart.mart:<46} {mart.duckdb_rows:>12,} {mart.spark_rows:>12,} {mart.differences:>12,}" for mart in parities
    ]
    rows, differences = (sum(getattr(mart, name) for mart in parities) for name in ("duckdb_rows", "differences"))
    lines.append(f"{len(parities)} marts, {rows:,} rows compared, {differences:,} differences")
    return "\n".join(lines)


def main() -> None:
    """Print the table; ends with 1 where anything differs or a mart has no rows to compare."""
    parities = compare(Home(Path(sys.argv[1]).absolute()))
    print(table(parities))
    for mart in parities:
        if mart.differences:
            print(f"{mart.mart}: {mart.example}")
    empty = [mart.mart for mart in parities if not mart.duckdb_rows]
    if empty:
        print(f"compared at zero rows: {', '.join(empty)}")
    sys.exit(1 if empty or any(mart.differences for mart in parities) else 0)


if __name__ == "__main__":
    main()
