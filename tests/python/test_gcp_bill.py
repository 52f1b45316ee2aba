"""A Google Cloud bill, from the export to the marts: GPU dollars, other, credits and tax are the invoice, exactly."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb

from pertask.home import Home
from tests.python.building import build, ingest_sources
from tests.python.conftest import write_json_lines
from tests.python.ingest.formats.test_gcp_billing import CORE, GPU, RAM, credit, record

# Rupees at 80 to the dollar, so that every amount below is a whole number of millionths of a dollar.
FX = "rate_date,base,quote,rate,origin\n2026-08-01,USD,INR,80,test\n"
FX_MAPPING = """\
contract: fx_rates
format: csv
columns: {rate_date: rate_date, base: base, quote: quote, rate: rate, origin: origin}
"""
SOURCES = """\
sources:
  google: {path: landing/google, format: gcp_billing}
  rates: {path: landing/rates, format: mapping, mapping: mappings/rates.yml}
"""
WALK = """
    select
        billing_month, active_usd + loaded_idle_usd + unallocated_usd + unknown_usd, other_usd, credits_usd, tax_usd,
        refunds_usd, commitment_timing_usd, unexplained_usd, invoice_usd, invoice_amount
    from quality.invoice_walk_monthly order by all
"""
HOURS = """
    select
        count(distinct gpu_key), sum(billed_seconds), sum(effective_cost_usd), sum(billed_cost_usd),
        string_agg(distinct purchase_mode)
    from core.fct_gpu_hours group by hour_at order by hour_at
"""


def hour(description: str, cost: str, start: datetime, **changes: object) -> dict:
    """A record in rupees of an hour of the machine."""
    times = [f"{moment:%Y-%m-%d %H:%M:%S} UTC" for moment in (start, start + timedelta(hours=1))]
    money = {"cost": cost, "currency": "INR", "currency_conversion_rate": "80"}
    return record(description, usage_start_time=times[0], usage_end_time=times[1], **money, **changes)


def machine(start: datetime, gpu_credits: list[dict]) -> list[dict]:
    """An hour of an a3-highgpu-8g: 6,400 rupees of GPUs, 360 of cores and 408 of memory, before credits."""
    cores = {"amount": "748800", "unit": "seconds", "amount_in_pricing_units": "208", "pricing_unit": "hour"}
    memory = {
        "amount": "7.2e15",
        "unit": "byte-seconds",
        "amount_in_pricing_units": 1872,
        "pricing_unit": "gibibyte hour",
    }
    return [
        hour(GPU, "6400", start, credits=gpu_credits),
        hour(CORE, "360", start, usage=cores, credits=[credit("COMMITTED_USAGE_DISCOUNT", "-160")]),
        hour(RAM, "408", start, usage=memory),
    ]


NINE, TEN = datetime(2026, 8, 3, 9, tzinfo=UTC), datetime(2026, 8, 3, 10, tzinfo=UTC)
NO_MACHINE = {"resource": None, "system_labels": [], "usage": None}
FIRST = [
    *machine(NINE, [credit("SUSTAINED_USAGE_DISCOUNT", -400), credit("PROMOTION", "-800"), credit("FREE_TIER", -8)]),
    machine(TEN, [])[0],
    hour("Storage PD Capacity", "80.000008", NINE, **NO_MACHINE),
    hour("Tax", "1440", NINE, **NO_MACHINE, cost_type="tax"),
    hour("Rounding", "-0.000016", NINE, **NO_MACHINE, cost_type="rounding_error"),
]
LATE = hour(CORE, "8", NINE, invoice={"month": "202609"}, usage={"amount": "9", "unit": "seconds"})
SECOND = [*FIRST[:3], *machine(TEN, [])[1:], LATE]
"""The export has grown: the cores and memory of the second hour, and late usage that stands on the next invoice."""


def test_every_part_of_the_invoice_has_a_name(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (tmp_path / "pertask.yml").write_text(SOURCES, encoding="utf-8")
    for name, text in (("landing/rates/rates.csv", FX), ("mappings/rates.yml", FX_MAPPING)):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text, encoding="utf-8")

    def deliver(name: str, records: list[dict]) -> None:
        write_json_lines(tmp_path / "landing" / "google" / name / "part.jsonl", records)
        ingest_sources(home)

    def rows(sql: str) -> list[tuple]:
        with duckdb.connect(str(home.warehouse_file), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    deliver("first", FIRST)
    build(home, is_tested=False)
    # 6,000 and 200 and 408 rupees of the first hour; 6,400 of the second, whose cores have not come
    assert rows(HOURS) == [
        (8, 28800, Decimal("82.6"), Decimal("82.6"), "on_demand"),
        (8, 28800, Decimal(80), Decimal(80), "on_demand"),
    ]

    deliver("second", SECOND)
    assert not build(home).full_refresh
    # 8 late rupees on the first hour, which have no seconds of their own; 6,400 and 200 and 408 on the second
    assert rows(HOURS) == [
        (8, 28800, Decimal("82.7"), Decimal("82.7"), "on_demand"),
        (8, 28800, Decimal("87.6"), Decimal("87.6"), "on_demand"),
    ]
    assert rows(WALK) == [
        (
            date(2026, 8, 1),
            Decimal("170.2"),  # GPUs, cores and memory, less their discounts
            Decimal("1.0000001"),  # storage
            Decimal("-10.1"),  # promotion and free tier
            Decimal(18),  # tax
            Decimal("-0.0000002"),  # rounding of the invoice
            0,
            0,
            Decimal("179.0999999"),
            # cost: 2 x (6,400 + 360 + 408) + 80.000008 + 1,440 - 0.000016; credits: 400 + 800 + 8 + 2 x 160
            Decimal("14327.999992"),
        ),
        (date(2026, 9, 1), Decimal("0.1"), 0, 0, 0, 0, 0, 0, Decimal("0.1"), 8),
    ]

    with home.config_file.open("a", encoding="utf-8") as config:
        config.write("\nallocation: {gpu_share_of_node_ratio: 0.95}\n")
    assert build(home).full_refresh
    august, september = rows(WALK)
    # 0.95 of 170.2, and 8.51 beside the storage; the invoice stays what it is
    assert august[1:3] == (Decimal("161.69"), Decimal("9.5100001"))
    assert september[1:3] == (Decimal("0.095"), Decimal("0.005"))
    assert [row[7:9] for row in (august, september)] == [(0, Decimal("179.0999999")), (0, Decimal("0.1"))]
    assert [row[2:4] for row in rows(HOURS)] == [
        (Decimal("78.565"), Decimal("82.7")),
        (Decimal("83.22"), Decimal("87.6")),
    ]
