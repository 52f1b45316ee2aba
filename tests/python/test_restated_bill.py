"""A bill that is delivered again moves the GPU days and the invoice that it is about, and readers are told."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb

from pertask.home import Home
from publish.publication import publish
from tests.python.building import build, ingest_sources
from tests.python.homes import SmallHome

INVOICE = "select invoice_usd, delivered_at, period_status from quality.invoice_walk_monthly"
DAILY = "select usage_date, sum(effective_cost_usd) from capacity.idle_dollars_daily group by usage_date order by all"
RESTATED = """
    select mart, measure, total_date, old_amount, new_amount, cause from quality.restatements order by all
"""


def run(small: SmallHome, *queries: str) -> list[list[tuple]]:
    """Ingest, build and publish; returns the rows of some queries of the publication."""
    home = Home(small.folder)
    ingest_sources(home)
    build(home)
    publish(home)
    with duckdb.connect(str(home.published_file), read_only=True) as connection:
        return [connection.execute(query).fetchall() for query in queries]


def test_a_bill_that_comes_again_restates_its_gpu_days_and_its_invoice(tmp_path: Path) -> None:
    small = SmallHome(tmp_path / "home")
    small.bill("first", 1, days=(0, 1), rate="2.00")()
    small.samples(0)()
    before_invoice, before = run(small, INVOICE, DAILY)
    small.bill("restated", 2, days=(0,), rate="2.10")()
    after_invoice, after, restated = run(small, INVOICE, DAILY, RESTATED)

    # two days of four hours at 2.00, then one at 2.10; a month of 45.00, tax of 3.33 and a credit of 1.11
    assert before_invoice[0][0] == Decimal("63.22")
    assert after_invoice[0][0] == Decimal("55.62")
    assert after_invoice[0][1] > before_invoice[0][1]
    # the bill does not tell whether its period is open
    assert [before_invoice[0][2], after_invoice[0][2]] == [None, None]

    invoices = [row for row in restated if row[0] == "quality.invoice_walk_monthly"]
    assert [row[1:5] for row in invoices] == [
        ("invoice_usd", date(2026, 8, 1), Decimal("63.22"), Decimal("55.62")),
    ]
    assert "bill lines" in invoices[0][5]
    days = {row[2]: row[3:5] for row in restated if row[:2] == ("capacity.idle_dollars_daily", "effective_cost_usd")}
    was, now = dict(before), dict(after)
    assert days == {day: (was[day], now[day]) for day in was if was[day] != now[day]}
    assert {date(2026, 8, 19), date(2026, 8, 20)} <= days.keys()
    assert now[date(2026, 8, 19)] - was[date(2026, 8, 19)] == Decimal("0.40")
