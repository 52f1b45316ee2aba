"""A warehouse as a build leaves it, without a build: a few marts, dbt's manifest, the accepted snapshot."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.snapshot import BATCHES, META
from pertask.home import Home

BUILD_ID = "20260820T020000-abc123"
MARTS = {
    "core.fct_call_attempts": (
        "One row per attempt of a call; it's what the rest is made of.",
        {
            "usage_date": ("date", "day of the call (UTC)"),
            "call_id": ("varchar", "id of the call"),
            "cost_usd": ("decimal(38, 12)", "what it cost, USD; null when unpriced"),
            "cost_basis": ("varchar", ""),
        },
        """
        (date '2026-08-20', 'b', 0.000000000001, 'metered'), (date '2026-08-19', 'c', null, 'unpriced'),
        (date '2026-08-19', 'a', 12345678901234567890.123456789012, 'metered'),
        (date '2026-08-19', 'd', null, 'duplicate')
        """,
    ),
    "unit_economics.cost_per_task_daily": (
        "One row per day, team and task type.",
        {
            "started_date": ("date", "day of the task's first call"),
            "task_type": ("varchar", "kind of task"),
            "tasks": ("bigint", "tasks"),
            "successful_tasks": ("bigint", "tasks that succeeded"),
            "fully_priced_tasks": ("bigint", "tasks whose every attempt has a cost"),
            "cost_usd": ("decimal(38, 12)", "USD"),
            "fully_priced_cost_usd": ("decimal(38, 12)", "USD"),
            "known_outcome_cost_usd": ("decimal(38, 12)", "USD"),
        },
        """
        (date '2026-08-19', 'ticket', 4, 2, 4, 1.0, 1.0, 0.9), (date '2026-08-20', 'alert', 1, 0, 0, null, null, null)
        """,
    ),
    "unit_economics.retry_overhead_daily": (
        "One row per day.",
        {"usage_date": ("date", "day"), "failed_cost_usd": ("decimal(38, 12)", ""), "total_cost_usd": ("decimal", "")},
        "(date '2026-08-19', 0.25, 1.0)",
    ),
    "capacity.idle_dollars_daily": (
        "One row per day.",
        {
            "usage_date": ("date", "day"),
            "effective_cost_usd": ("decimal(38, 12)", ""),
            "idle_usd": ("decimal(38, 12)", ""),
            "unknown_usd": ("decimal(38, 12)", ""),
            "is_provisional": ("boolean", ""),
        },
        "(date '2026-08-19', 10, 4, 1, false), (date '2026-08-20', 10, 5, 0, true), (date '2026-08-21', 1, 1, 0, true)",
    ),
    "quality.tag_coverage_daily": (
        "One row per day, source and field.",
        {
            "usage_date": ("date", ""),
            "source": ("varchar", ""),
            "field": ("varchar", ""),
            "attempts": ("bigint", ""),
            "tagged_attempts": ("bigint", ""),
        },
        "(date '2026-08-19', 'gateway', 'task_id', 4, 3), (date '2026-08-19', 'gateway', 'team', 4, 4)",
    ),
}


def make_warehouse(folder: Path) -> Home:
    """A home whose warehouse is ready to be published."""
    home = Home(folder)
    home.target.mkdir(parents=True)
    home.last_snapshot.mkdir()
    nodes = {"test.pertask.x": {"resource_type": "test", "config": {"access": "public"}}}
    with duckdb.connect(str(home.warehouse_file)) as connection:
        for name, (description, columns, rows) in MARTS.items():
            schema, table = name.split(".")
            connection.execute(f"create schema if not exists {schema}")
            connection.execute(
                f"create table {name} ({', '.join(f'{column} {kind}' for column, (kind, _) in columns.items())})"
            )
            connection.execute(f"insert into {name} values {rows}")
            nodes[f"model.pertask.{table}"] = {
                "resource_type": "model",
                "schema": schema,
                "alias": table,
                "description": description + "\n",
                "columns": {column: {"description": text} for column, (_, text) in columns.items()},
                "config": {"access": "public", "meta": {"date_column": next(iter(columns))}},
            }
        connection.execute("create schema staging; create view staging.stg_tasks as select 1 as task_id")
    nodes["model.pertask.stg_tasks"] = {
        **nodes["model.pertask.fct_call_attempts"],
        "schema": "staging",
        "alias": "stg_tasks",
        "config": {"access": "protected"},
    }
    write_manifest(home, nodes)
    meta = {
        "build_id": BUILD_ID,
        "built_at": datetime(2026, 8, 20, 2, tzinfo=UTC),
        "is_full_refresh": True,
        "is_previous_unfinished": False,
    }
    batches = [
        {
            "batch_id": "one",
            "contract": "llm_calls",
            "delivered_at": datetime(2026, 8, 20, 1, tzinfo=UTC),
            "change": "added",
        },
        {
            "batch_id": "one",
            "contract": "tasks",
            "delivered_at": datetime(2026, 8, 20, 1, tzinfo=UTC),
            "change": "added",
        },
        {
            "batch_id": "two",
            "contract": "tasks",
            "delivered_at": datetime(2026, 8, 19, 1, tzinfo=UTC),
            "change": "same",
        },
        {
            "batch_id": "gone",
            "contract": "tasks",
            "delivered_at": datetime(2026, 9, 1, tzinfo=UTC),
            "change": "removed",
        },
    ]
    pq.write_table(pa.Table.from_pylist([meta], schema=META), home.last_snapshot / "meta.parquet")
    pq.write_table(pa.Table.from_pylist(batches, schema=BATCHES), home.last_snapshot / "batches.parquet")
    return home


def read_manifest(home: Home) -> dict:
    """The nodes of dbt's manifest."""
    return json.loads((home.target / "manifest.json").read_text())["nodes"]


def write_manifest(home: Home, nodes: dict) -> None:
    """Replace dbt's manifest."""
    (home.target / "manifest.json").write_text(json.dumps({"nodes": nodes}))
