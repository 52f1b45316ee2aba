"""Bills in rupees and pounds, at the ECB's rates and at the bills' own."""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal

import duckdb
import pytest

from ingest.lake import Lake
from pertask.home import Home
from tests.python.building import build, ingest_sources
from tests.python.ingest.helpers import bill_line, write_csv, write_lines

pytestmark = pytest.mark.long

SOURCES = """\
sources:
  rates: {path: landing/rates, format: ecb_rates}
  rupees: {path: landing/rupees, format: focus}
  pounds: {path: landing/pounds, format: mapping, mapping: mappings/pounds.yml}
"""
POUNDS = """\
contract: bill_lines
format: csv
columns:
  line_id: line
  billed_cost: amount
  billing_currency: "'GBP'"
  billing_units_per_usd: pounds_per_dollar
  charge_category: "'Usage'"
  charge_period_start: day
  charge_period_end: "cast(day as timestamp) + interval 1 day"
  billing_period_start: "date_trunc('month', cast(day as timestamp))"
"""
# 85 rupees for a dollar on the last Friday of July, 88 on the first Monday of August
RATES = ["Date,USD,INR,GBP,CYP,", "2026-08-03,1.1,96.8,0.88,N/A,", "2026-07-31,1.1,93.5,0.85,N/A,"]
LINES = """
    select line_kind, usage_date, usd_per_unit, rate_source, billed_cost_usd, effective_cost_usd
    from core.fct_bill_lines where source = '{source}' order by all
"""


def rupee_line(day: str, amount: str, **more: str) -> dict:
    month = f"{day[:7]}-01T00:00:00Z"
    return {
        **bill_line(**dict.fromkeys(("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"), amount)),
        "BillingCurrency": "INR",
        "BillingPeriodStart": month,
        "BillingPeriodEnd": "2026-08-01T00:00:00Z" if day < "2026-08" else "2026-09-01T00:00:00Z",
        "ChargePeriodStart": f"{day}T09:00:00Z",
        "ChargePeriodEnd": f"{day}T10:00:00Z",
        **more,
    }


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("currencies")
    Lake(folder / "lake")
    (folder / "company").mkdir()
    (folder / "mappings").mkdir()
    (folder / "pertask.yml").write_text(SOURCES, encoding="utf-8")
    (folder / "mappings" / "pounds.yml").write_text(POUNDS, encoding="utf-8")
    landing = folder / "landing"
    write_lines(landing / "rates" / "eurofxref-hist.csv", RATES)
    told = {"PricingCurrency": "USD", "PricingCurrencyEffectiveCost": "-10.01"}
    write_csv(
        landing / "rupees" / "part.csv",
        [
            rupee_line("2026-07-31", "85000"),
            # Sunday: Friday's rate
            rupee_line("2026-08-02", "850", ChargeCategory="Tax"),
            rupee_line("2026-08-03", "96800"),
            rupee_line("2026-08-04", "-850", ChargeCategory="Credit", **told),
            # before any rate
            rupee_line("2026-06-30", "1"),
        ],
    )
    write_lines(landing / "pounds" / "bill.csv", ["line,day,amount,pounds_per_dollar", "a,2026-08-03,100,0.8"])
    home = Home(folder)
    ingest_sources(home)
    build(home)
    with duckdb.connect(str(home.warehouse_file), read_only=True) as connection:
        yield connection


def test_the_bill_goes_before_the_bank(warehouse):
    friday, monday = Decimal("0.011764705882"), Decimal("0.011363636364")
    assert warehouse.execute(LINES.format(source="rupees")).fetchall() == [
        ("credit", date(2026, 8, 4), Decimal("0.011776470588"), "line", Decimal("-10.01"), Decimal("-10.01")),
        ("gpu_usage", date(2026, 6, 30), None, None, None, None),
        ("gpu_usage", date(2026, 7, 31), friday, "published", 85000 * friday, 85000 * friday),
        ("gpu_usage", date(2026, 8, 3), monday, "published", 96800 * monday, 96800 * monday),
        ("tax", date(2026, 8, 2), friday, "published", 850 * friday, 850 * friday),
    ]
    [(_, _, *pounds)] = warehouse.execute(LINES.format(source="pounds")).fetchall()
    assert pounds == [Decimal("1.25"), "own", Decimal(125), Decimal(125)]


def test_a_line_without_a_rate_is_found_with_its_money(warehouse):
    found = "select subject, affected_count, detail from quality.findings where kind = 'missing_exchange_rate'"
    [(subject, count, detail)] = warehouse.execute(found).fetchall()
    assert (subject, count) == ("rupees INR", 1)
    assert detail.startswith("1.00 INR billed without a rate")


def test_the_rupees_fall_is_told_from_usage(warehouse):
    rows = warehouse.execute(
        """
        select
            source, cast(billing_month as varchar), amount, amount_usd, previous_usd_per_unit,
            usage_effect_usd, fx_effect_usd, total_change_usd
        from quality.fx_effect_monthly order by source desc, billing_month
        """
    ).fetchall()
    july_usd = 85000 * Decimal("0.011764705882")
    august_usd = 850 * Decimal("0.011764705882") + 96800 * Decimal("0.011363636364") - Decimal("10.01")
    usage = 11800 * Decimal("0.011764705882")
    change = august_usd - july_usd
    assert rows == [
        ("rupees", "2026-06-01", 1, None, None, None, None, None),
        # the month before has no rate
        ("rupees", "2026-07-01", 85000, july_usd, None, None, None, None),
        ("rupees", "2026-08-01", 96800, august_usd, Decimal("0.011764705882"), usage, change - usage, change),
        ("pounds", "2026-08-01", 100, 125, None, None, None, None),
    ]
    assert change - usage < 0


def test_a_dollar_comes_back_from_rupees_and_a_pound_by_way_of_them(warehouse):
    rates = {
        (currency, str(day)): usd
        for currency, day, usd in warehouse.execute(
            "select currency, rate_day, usd_per_unit from core.dim_fx_rates where currency != 'USD'"
        ).fetchall()
    }
    for day, *per_euro in csv.reader(line.rstrip(",") for line in RATES[1:]):
        dollars, rupees, pounds = (Decimal(text) for text in per_euro[:3])
        usd_per_inr, usd_per_gbp = rates["INR", day], rates["GBP", day]
        assert abs(rupees / dollars * usd_per_inr - 1) < Decimal("1e-9")
        assert abs(usd_per_gbp * (pounds / rupees) - usd_per_inr) < Decimal("1e-12")


def test_a_rate_that_comes_again_with_another_date_or_origin_is_told_so(tmp_path):
    (tmp_path / "mappings").mkdir()
    columns = "columns: {rate_date: day, base: base, quote: quote, rate: rate, origin: origin}"
    write_lines(tmp_path / "mappings" / "rates.yml", ["contract: fx_rates", "format: csv", columns])
    sources = [
        "sources:",
        "  rates: {path: landing/rates, format: mapping, mapping: mappings/rates.yml}",
        "  rupees: {path: landing/rupees, format: focus}",
    ]
    write_lines(tmp_path / "pertask.yml", sources)
    write_csv(tmp_path / "landing" / "rupees" / "part.csv", [rupee_line(f"2026-08-0{day}", "80") for day in (1, 2, 3)])
    home = Home(tmp_path)
    header, friday = "day,base,quote,rate,origin", "2026-07-31,USD,INR,80,desk"

    def rates_after(name, *rows):
        write_lines(tmp_path / "landing" / "rates" / name, [header, *rows])
        ingest_sources(home)
        build(home, is_tested=False)
        with duckdb.connect(str(home.warehouse_file), read_only=True) as connection:
            found = "select rate_day, published_date, origin from core.dim_fx_rates where currency = 'INR' order by all"
            return [
                (f"{day:%d}", f"{published:%d}", origin) for day, published, origin in connection.sql(found).fetchall()
            ]

    assert rates_after("first.csv", friday) == [("01", "31", "desk"), ("02", "31", "desk"), ("03", "31", "desk")]
    # the same rate, published again on the 2nd by the desk and on the 3rd by the bank
    again = rates_after("second.csv", friday, "2026-08-02,USD,INR,80,desk", "2026-08-03,USD,INR,80,bank")
    assert again == [("01", "31", "desk"), ("02", "02", "desk"), ("03", "03", "bank")]
