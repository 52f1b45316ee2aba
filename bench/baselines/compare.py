"""Whether a baseline's answer is pertask's: ``python bench/baselines/compare.py WAREHOUSE_FILE OUT``.

A baseline writes one Parquet file a mart into its folder. Rows are matched by their keys; counts must be the same,
money and seconds equal to a millionth, as baselines calculate in floating point.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

TOLERANCE = 1e-6
"""Of an amount."""
FLOOR = 1e-9
"""USD, seconds or ratio: what floating point leaves of a difference of equal amounts."""

_STATES = ("active", "loaded_idle", "unallocated", "unknown")
_SECONDS = ("billed_seconds", *(f"{state}_seconds" for state in _STATES))


@dataclass(frozen=True)
class Mart:
    """One mart of the comparison.

    Attributes:
        schema: where pertask has it.
        keys: columns that name a row.
        counts: whole numbers, compared exactly.
        amounts: USD, seconds and ratios, compared to ``TOLERANCE``.
    """

    schema: str
    keys: tuple[str, ...]
    counts: tuple[str, ...]
    amounts: tuple[str, ...]


MARTS = {
    "cost_per_task_daily": Mart(
        "unit_economics",
        ("started_date", "team", "task_type"),
        (
            "tasks",
            "successful_tasks",
            "failed_tasks",
            "escalated_tasks",
            "unknown_outcome_tasks",
            "fully_priced_tasks",
        ),
        (
            "cost_usd",
            "fully_loaded_cost_usd",
            "fully_priced_cost_usd",
            "known_outcome_cost_usd",
            "cost_per_task_usd",
            "cost_per_successful_task_usd",
            "fully_loaded_cost_per_task_usd",
            "p50_task_cost_usd",
            "p90_task_cost_usd",
            "p99_task_cost_usd",
            "failed_attempt_cost_usd",
            "headline_cost_usd",
            "headline_task_cost_usd",
            "cost_multiple",
        ),
    ),
    "retry_overhead_daily": Mart(
        "unit_economics",
        ("usage_date", "team", "task_type", "model"),
        ("attempts", "failed_attempts"),
        (
            "failed_cost_usd",
            "recovered_cost_usd",
            "abandoned_cost_usd",
            "unresolved_cost_usd",
            "superseded_cost_usd",
            "final_success_cost_usd",
            "total_cost_usd",
            "overhead_ratio",
            "amplification_ratio",
        ),
    ),
    "gpu_utilisation_hourly": Mart(
        "capacity",
        ("resource_id", "hour_at"),
        ("gpu_count",),
        (
            *_SECONDS,
            "effective_cost_usd",
            "active_usd",
            "idle_usd",
            "utilisation_ratio",
            "sample_coverage_ratio",
        ),
    ),
    "idle_dollars_daily": Mart(
        "capacity",
        ("usage_date", "team", "region", "gpu_model", "purchase_mode"),
        (),
        (
            *_SECONDS,
            "effective_cost_usd",
            "active_usd",
            "active_without_calls_usd",
            "loaded_idle_usd",
            "unallocated_usd",
            "unknown_usd",
            "idle_usd",
            "idle_ratio",
        ),
    ),
}


def differences(warehouse_file: Path, out: Path) -> list[str]:
    """What differs between the marts of a pertask warehouse and a baseline's answer; nothing where they are equal.

    Args:
        warehouse_file: pertask's DuckDB file, of the warehouse or published; read, never written.
        out: the baseline's folder, with ``<mart>.parquet`` for each of ``MARTS``.

    Returns:
        One line a column that differs, with the number of rows and the first of them; one line for rows that only one
        side has.

    Raises:
        FileNotFoundError: one of the files is missing.
        ValueError: a mart has no rows on one of the sides, or its keys repeat; then nothing has been compared.
    """
    import duckdb

    for path in (warehouse_file, *(out / f"{name}.parquet" for name in MARTS)):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; build the home and run the baseline first")
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"attach '{warehouse_file}' as warehouse (read_only)")
        return [
            text
            for name, mart in MARTS.items()
            for text in _of_mart(
                connection,
                name,
                mart,
                {
                    "ours": f"warehouse.{mart.schema}.{name}",
                    "theirs": f"read_parquet('{out / name}.parquet')",
                },
            )
        ]


def _of_mart(connection: duckdb.DuckDBPyConnection, name: str, mart: Mart, relations: dict[str, str]) -> Iterator[str]:
    for side, relation in relations.items():
        columns = ", ".join(("true as is_there", *mart.keys, *mart.counts, *mart.amounts))
        connection.execute(f"create or replace temp table {side} as select {columns} from {relation}")
        rows, keys = connection.execute(f"select count(*), count(distinct {_row(side, mart)}) from {side}").fetchone()
        if not rows:
            raise ValueError(f"{relation} has no rows: there is nothing to compare")
        if rows != keys:
            raise ValueError(f"{relation} has {rows} rows of only {keys} different keys")
    matches = " and ".join(f"ours.{key} is not distinct from theirs.{key}" for key in mart.keys)
    for side, other in (("ours", "theirs"), ("theirs", "ours")):
        rows, first = connection.execute(
            f"select count(*), min({_row(side, mart)}) from {side} anti join {other} on {matches}"
        ).fetchone()
        if rows:
            yield f"{name}: {rows} rows are only in {side}, the first is {first}"
    for column in (*mart.counts, *mart.amounts):
        ours, theirs = f"cast(ours.{column} as double)", f"cast(theirs.{column} as double)"
        tolerance = f"{TOLERANCE} * greatest(abs({ours}), abs({theirs})) + {FLOOR}" if column in mart.amounts else "0"
        rows, worst = connection.execute(
            f"""
            select
                count(*),
                max_by(row({_row("ours", mart)}, {ours}, {theirs}), coalesce(abs({ours} - {theirs}), 1e300))
            from ours
            inner join theirs on {matches}
            where ({ours} is null) != ({theirs} is null) or abs({ours} - {theirs}) > {tolerance}
            """
        ).fetchone()
        if rows:
            yield f"{name}.{column}: {rows} rows differ, the furthest (key, ours, theirs) is {worst}"


def _row(side: str, mart: Mart) -> str:
    return f"row({', '.join(f'{side}.{key}' for key in mart.keys)})"


def main() -> None:
    """Print what differs; exit with 1 if anything does."""
    found = differences(Path(sys.argv[1]), Path(sys.argv[2]))
    print("\n".join(found) or "equal")
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
