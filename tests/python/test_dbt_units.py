"""The models' unit tests, on a warehouse that was built with no source at all."""

from __future__ import annotations

from pathlib import Path

import duckdb

from ingest.contracts import CONTRACTS
from ingest.lake import Lake
from pertask.home import Home
from tests.python.building import build, run_dbt


def test_a_home_without_any_source_builds_and_the_formulas_hold(tmp_path: Path) -> None:
    home = Home(tmp_path)
    Lake(home.lake)
    build(home)
    with duckdb.connect(str(home.warehouse_file)) as connection:
        marts = connection.execute(
            "select schema_name || '.' || table_name, estimated_size from duckdb_tables() "
            "where schema_name in ('core', 'unit_economics', 'capacity')"
        ).fetchall()
        assert len(marts) >= 15
        only_of_the_product = {"core.dim_models"}
        assert {name for name, rows in marts if rows} <= only_of_the_product
        _register_sources(connection, home)
    run_dbt(home, "test", "--select", "test_type:unit")


def _register_sources(connection: duckdb.DuckDBPyConnection, home: Home) -> None:
    """Unit tests look up the columns of the sources that they stand in for: empty views with the right columns."""
    files = {f"lake.{name}": home.lake / name / "00-no-rows.parquet" for name in CONTRACTS}
    files |= {f"snapshot.{path.stem}": path for path in home.snapshot.glob("*.parquet")}
    for schema in ("lake", "snapshot"):
        connection.execute(f"create schema if not exists {schema}")
    for name, path in files.items():
        connection.execute(f"create or replace view {name} as select * from read_parquet('{path}')")
