"""A published file made by hand, with the values that exports get wrong."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import duckdb

from pertask.home import Home

FORMULAS = ("=1+1", '=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\tx", "\rx")
"""Texts that a spreadsheet would run."""
PLAIN = ("ticket", "", "a,b", 'say "no"', "line\nbreak", "Ωmega 🙂", "'quoted", "1-1", "it's 100%", "back\\slash")
SMALLEST = Decimal("-0.000000000001")
LARGEST = Decimal("12345678901234567890.123456789012")
TASK_COLUMNS = {
    "task_id": ("varchar", "id of the task; it's the key"),
    "task_type": ("varchar", "kind of task"),
    "started_date": ("date", "day of its first call (UTC)"),
    "started_at": ("timestamp", "when it started (UTC)"),
    "attempt_count": ("bigint", "attempts"),
    "tokens": ("decimal(18, 0)", "tokens"),
    "cost_usd": ("decimal(38, 12)", "USD; null when unpriced"),
    "success_ratio": ("double", "share, 0 to 1"),
    "is_cut": ("boolean", ""),
}


def make_published(folder: Path, *, tasks: int = 0) -> Home:
    """A home whose publication holds two awkward marts, an empty one, and ``main.publication``.

    Args:
        folder: the home.
        tasks: plain rows to add to core.fct_tasks.
    """
    home = Home(folder)
    home.published.mkdir(parents=True, exist_ok=True)
    home.published_file.unlink(missing_ok=True)
    with duckdb.connect() as connection:
        connection.execute(f"attach '{quoted(home.published_file)}' as published (storage_version 'v1.0.0')")
        connection.execute("use published")
        connection.execute("create schema core; create schema quality")
        columns = ", ".join(f"{name} {kind}" for name, (kind, _) in TASK_COLUMNS.items())
        connection.execute(f"create table core.fct_tasks ({columns})")
        connection.execute("comment on table core.fct_tasks is 'One row per task: what it''s cost.'")
        for name, (_, text) in TASK_COLUMNS.items():
            connection.execute(f"comment on column core.fct_tasks.{name} is '{text.replace(chr(39), 2 * chr(39))}'")
        costs = [SMALLEST, LARGEST, Decimal("0.1"), Decimal(0), None]
        rows = [
            (
                f"t{number}",
                text,
                "2026-08-19",
                "2026-08-19 23:59:59.123456",
                number,
                number,
                costs[number % 5],
                0.1,
                True,
            )
            for number, text in enumerate((*FORMULAS, *PLAIN))
        ]
        rows.append(("none", *[None] * (len(TASK_COLUMNS) - 1)))
        connection.executemany(f"insert into core.fct_tasks values ({', '.join('?' * len(TASK_COLUMNS))})", rows)
        connection.execute(
            "insert into core.fct_tasks (task_id, attempt_count, cost_usd) select 'more' || n, 1, 0.01 "
            f"from range({tasks}) as more (n)"
        )
        connection.execute("create table core.dim_teams (team varchar, owner varchar)")
        connection.execute("insert into core.dim_teams values ('support', 'Ann'), ('fraud', null)")
        connection.execute("create table quality.findings (usage_date date, dollars decimal(38, 12))")
        connection.execute(
            """
            create table main.publication as
            select
                timestamp '2026-08-20 02:03:04.5' as published_at,
                '20260820T020000-abc123' as build_id,
                timestamp '2026-08-20 01:00:00' as newest_delivery_at
            """
        )
        connection.execute("use memory; detach published")
    return home


def rows_of(home: Home, mart: str, columns: str = "*") -> list[tuple]:
    """What the published file holds of a mart, in its order."""
    with duckdb.connect(str(home.published_file), read_only=True) as connection:
        return connection.execute(f"select {columns} from {mart}").fetchall()


def quoted(path: Path) -> str:
    """A path within a SQL literal."""
    return str(path).replace("'", "''")
