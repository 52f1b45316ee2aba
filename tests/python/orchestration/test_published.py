"""What a build reads of the last publication."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from orchestration.lib.published import published_tables
from pertask.home import Home
from publish.publication import publish
from tests.python.publish.warehouses import make_warehouse

MONEY = pa.decimal128(38, 12)
SECONDS = pa.decimal128(18, 6)
SCHEMAS = {
    "published_totals": pa.schema(
        [("mart", pa.string()), ("measure", pa.string()), ("total_date", pa.date32()), ("amount", MONEY)]
    ),
    "published_restatements": pa.schema(
        [
            ("build_id", pa.string()),
            ("detected_at", pa.timestamp("us")),
            ("mart", pa.string()),
            ("measure", pa.string()),
            ("total_date", pa.date32()),
            ("old_amount", MONEY),
            ("new_amount", MONEY),
            ("cause", pa.string()),
        ]
    ),
    "published_gpu_hours": pa.schema(
        [
            ("usage_date", pa.date32()),
            ("resource_id", pa.string()),
            ("hour_at", pa.timestamp("us")),
            ("is_provisional", pa.bool_()),
            ("seconds", SECONDS),
            ("cost_usd", MONEY),
        ]
    ),
    "published_true_ups": pa.schema(
        [
            ("build_id", pa.string()),
            ("trued_up_at", pa.timestamp("us")),
            ("usage_date", pa.date32()),
            ("resource_id", pa.string()),
            ("estimated_seconds", SECONDS),
            ("billed_seconds", SECONDS),
            ("estimated_cost_usd", MONEY),
            ("billed_cost_usd", MONEY),
            ("unestimated_seconds", SECONDS),
            ("unestimated_cost_usd", MONEY),
        ]
    ),
}


def publish_tables(home: Home, *statements: str) -> None:
    home.published.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(home.published_file)) as connection:
        for statement in statements:
            connection.execute(statement)


def rows(tables: dict[str, pa.Table], name: str) -> list[tuple]:
    return [tuple(row.values()) for row in tables[name].to_pylist()]


@pytest.mark.parametrize("state", ["absent", "empty", "damaged", "other columns"])
def test_the_tables_are_always_there_with_their_types(tmp_path: Path, state: str) -> None:
    home = Home(tmp_path)
    if state == "empty":
        publish_tables(home)
    elif state == "damaged":
        home.published.mkdir()
        home.published_file.write_bytes(b"no database")
    elif state == "other columns":
        publish_tables(
            home,
            "create schema quality",
            "create table quality.restatements as select 'x' as something_else",
            "create schema capacity",
            "create table capacity.idle_dollars_daily as select date '2026-08-01' as day",
        )
    tables = published_tables(home)
    assert {name: table.schema for name, table in tables.items()} == SCHEMAS
    assert {table.num_rows for table in tables.values()} == {0}


def test_totals_by_date(tmp_path: Path) -> None:
    home = make_warehouse(tmp_path)
    publish(home)
    publish_tables(
        home, "insert into unit_economics.cost_per_task_daily (started_date, cost_usd) values ('2026-08-19', 0.5)"
    )
    tables = published_tables(home)
    assert {name: table.schema for name, table in tables.items()} == SCHEMAS
    days = [date(2026, 8, day) for day in (19, 20, 21)]
    assert rows(tables, "published_totals") == [
        ("unit_economics.cost_per_task_daily", "cost_usd", days[0], Decimal("1.5")),
        # published without any price: not the same as never published
        ("unit_economics.cost_per_task_daily", "cost_usd", days[1], None),
        ("unit_economics.retry_overhead_daily", "total_cost_usd", days[0], Decimal(1)),
        ("capacity.idle_dollars_daily", "effective_cost_usd", days[0], Decimal(10)),
        ("capacity.idle_dollars_daily", "effective_cost_usd", days[1], Decimal(10)),
        ("capacity.idle_dollars_daily", "effective_cost_usd", days[2], Decimal(1)),
        ("capacity.idle_dollars_daily", "idle_usd", days[0], Decimal(4)),
        ("capacity.idle_dollars_daily", "idle_usd", days[1], Decimal(5)),
        ("capacity.idle_dollars_daily", "idle_usd", days[2], Decimal(1)),
    ]


def test_earlier_restatements(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish_tables(
        home,
        "create schema quality",
        """
        create table quality.restatements as
        select 'b1' as build_id, timestamp '2026-08-20 02:00:00' as detected_at, 'm' as mart, 'usd' as measure,
            date '2026-08-19' as total_date, cast(1 as decimal(38, 12)) as old_amount,
            cast(null as decimal(38, 12)) as new_amount, 'late calls' as cause, 'more' as another
        """,
    )
    assert rows(published_tables(home), "published_restatements") == [
        ("b1", datetime(2026, 8, 20, 2), "m", "usd", date(2026, 8, 19), Decimal(1), None, "late calls")
    ]


def test_the_days_of_a_resource_on_which_an_hour_is_an_estimate(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish_tables(
        home,
        "create schema core",
        """
        create table core.fct_gpu_hours as select * from (values
            (date '2026-08-19', 'i-1', timestamp '2026-08-19 23:00:00', false, 3600.0, 9.0),
            (date '2026-08-20', 'i-1', timestamp '2026-08-20 11:00:00', false, 3600.0, 2.0),
            (date '2026-08-20', 'i-1', timestamp '2026-08-20 12:00:00', true, 1800.5, 1.25),
            (date '2026-08-20', 'i-1', timestamp '2026-08-20 12:00:00', true, 600.0, 0.25),
            (date '2026-08-20', 'i-2', timestamp '2026-08-20 12:00:00', true, 60.0, null),
            (date '2026-08-20', 'i-2', timestamp '2026-08-20 12:00:00', true, 60.0, 0.5),
            (date '2026-08-20', 'i-3', timestamp '2026-08-20 12:00:00', false, 60.0, 0.5),
            (date '2026-08-20', null, timestamp '2026-08-20 12:00:00', false, 0, 0)
        ) as hours(usage_date, resource_id, hour_at, is_provisional, billed_seconds, effective_cost_usd)
        """,
    )
    day, noon = date(2026, 8, 20), datetime(2026, 8, 20, 12)
    assert rows(published_tables(home), "published_gpu_hours") == [
        (day, "i-1", datetime(2026, 8, 20, 11), False, Decimal(3600), Decimal(2)),
        (day, "i-1", noon, True, Decimal("2400.5"), Decimal("1.5")),
        # a part without a cost: the whole has none
        (day, "i-2", noon, True, Decimal(120), None),
    ]


def test_a_reader_of_the_publication_holds_nothing_up(tmp_path: Path) -> None:
    home = make_warehouse(tmp_path)
    publish(home)
    with duckdb.connect(str(home.published_file), read_only=True):
        assert published_tables(home)["published_totals"].num_rows == 9


def test_a_publication_that_is_damaged_within_stops_no_build(tmp_path: Path) -> None:
    home = make_warehouse(tmp_path)
    publish(home)
    whole = home.published_file.read_bytes()
    # three headers, and then blocks of 256 KiB, each with its checksum
    for start in range(3 * 4096, len(whole), 256 << 10):
        damaged = bytearray(whole)
        damaged[start + 100 : start + 200] = b"\xff" * 100
        home.published_file.write_bytes(damaged)
        assert {name: table.schema for name, table in published_tables(home).items()} == SCHEMAS
