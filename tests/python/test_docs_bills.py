"""docs/bills.md: the invoices in it, through the mappings in it, to GPU-hours and the invoice."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest

from pertask.config import load_config
from pertask.home import Home
from tests.python.building import build, ingest_sources

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "bills.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
[SOURCES] = [text for kind, text in BLOCKS if kind == "yaml" and text.startswith("sources:")]
[RUNPOD, LAMBDA] = [
    (invoice, mapping)
    for (kind, invoice), (next_kind, mapping) in pairwise(BLOCKS)
    if kind == "csv" and next_kind == "yaml"
]
A100_PCIE, A100, A6000, L40S = "A100-PCIE-80GB", "A100-SXM-40GB", "RTX-A6000-48GB", "L40S-48GB"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home that has the page's pertask.yml, mappings and invoices, built."""
    home = Home(tmp_path_factory.mktemp("home"))
    (home.root / "pertask.yml").write_text(SOURCES, encoding="utf-8")
    (home.root / "landing" / "azure").mkdir(parents=True)
    (home.root / "mappings").mkdir()
    for name, (invoice, mapping) in {"runpod": RUNPOD, "lambda": LAMBDA}.items():
        (home.root / "mappings" / f"{name}.yml").write_text(mapping, encoding="utf-8")
        (home.root / "landing" / name).mkdir()
        (home.root / "landing" / name / "2026-08.csv").write_text(invoice, encoding="utf-8")
    ingest_sources(home)
    build(home)
    return home


def rows(home: Home, sql: str) -> list[tuple]:
    with duckdb.connect(str(home.warehouse_file), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_the_sources_are_a_valid_configuration(home: Home) -> None:
    assert load_config(home).sources.keys() == {"azure", "runpod", "lambda"}
    assert rows(home, "select count(*) from quality.quarantined_rows") == [(0,)]


def test_gpu_hours_are_hours_times_gpus_and_cost_what_is_billed(home: Home) -> None:
    found = rows(
        home,
        """
        select resource_id, cast(hour_at as date)::varchar, gpu_model, purchase_mode,
            count(distinct gpu_key), sum(billed_seconds) / 3600, sum(effective_cost_usd)
        from core.fct_gpu_hours where not is_provisional group by all order by all
        """,
    )
    # the six-hour machine of eight GPUs, and one that runs an hour and a half before midnight and one after it
    assert [(*row[:5], Decimal(str(row[5])), row[6]) for row in found] == [
        ("i-a1", "2026-08-05", A100, "on_demand", 8, Decimal(48), Decimal("61.92")),
        ("i-b2", "2026-08-05", A6000, "on_demand", 1, Decimal("1.5"), Decimal("1.20")),
        ("i-b2", "2026-08-06", A6000, "on_demand", 1, Decimal(1), Decimal("0.80")),
        ("pod-7f", "2026-08-05", A100_PCIE, "on_demand", 2, Decimal(48), Decimal("78.72")),
        ("pod-7f", "2026-08-06", A100_PCIE, "on_demand", 2, Decimal(20), Decimal("32.80")),
        ("pod-9c", "2026-08-06", L40S, "on_demand", 1, Decimal("2.5"), Decimal("2.15")),
    ]


def test_the_invoices_add_up(home: Home) -> None:
    found = rows(
        home,
        "select source, invoice_amount, invoice_usd, tax_usd, unexplained_usd, period_status "
        "from quality.invoice_walk_monthly order by source",
    )
    assert found == [
        ("lambda", Decimal("69.04"), Decimal("69.04"), Decimal("5.12"), 0, None),
        ("runpod", Decimal("113.67"), Decimal("113.67"), 0, 0, None),
    ]
