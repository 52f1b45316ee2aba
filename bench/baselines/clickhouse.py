"""The four marts in ClickHouse, embedded (chdb): ``clickhouse.sql``, a statement after another."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.baselines.facts import PRICES

SCRIPT = Path(__file__).with_suffix(".sql")
SETTINGS = {
    # an attempt without a price is null, not 0
    "join_use_nulls": 1,
    "date_time_input_format": "'best_effort'",
    # the files have more fields than the marts need
    "input_format_skip_unknown_fields": 1,
}


def whole_path(home: Path, out: Path) -> None:
    """The marts of the landing files of a home, as Parquet files in ``out``."""
    from chdb.session import Session

    out.mkdir(parents=True, exist_ok=True)
    # a table function inserts into no file that is there
    for path in out.glob("*.parquet"):
        path.unlink()
    prices = ", ".join(
        f"('{model}', {', '.join(str(price / 1e6) for price in prices)})" for model, prices in PRICES.items()
    )
    script = SCRIPT.read_text(encoding="utf-8")
    for name, value in {"landing": home.resolve() / "landing", "out": out.resolve(), "prices": prices}.items():
        script = script.replace(f"{{{name}}}", str(value))
    with tempfile.TemporaryDirectory(prefix="pertask-clickhouse-") as folder, Session(folder) as session:
        for name, value in SETTINGS.items():
            session.query(f"set {name} = {value}")
        for statement in script.split(";\n"):
            if statement.strip():
                session.query(statement)
