"""The ECB's reference rates: a row for each day and currency, as the bank publishes them."""

from __future__ import annotations

import gzip
from datetime import date
from decimal import Decimal

import pytest

from ingest.lake import Lake
from tests.python.ingest.helpers import bring, write_lines

HISTORY = [
    "Date,USD,JPY,CYP,INR,",
    "2026-01-05,1.1664,183.05,N/A,105.1295,",
    "2026-01-02,1.1721,183.98,N/A,105.5055,",
    "2007-12-31,1.4721,164.93,0.585274,N/A,",
]
RATES = "rate_date, base, quote, rate, origin"
QUARANTINE = "file_name, line_number, column_name, reason"


def skipped(tmp_path) -> dict[str, int]:
    [batch] = Lake(tmp_path / "lake").batches().values()
    return batch.counts["fx_rates"].skip_reasons


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_history_is_a_row_for_each_day_and_currency(tmp_path, lake_rows, end):
    result = bring(tmp_path, write_lines(tmp_path / "eurofxref-hist.csv", HISTORY, end=end))

    assert (result.format, result.rows_read, result.rows_loaded) == ("ecb_rates", 12, 9)
    assert skipped(tmp_path) == {"a currency without a rate on this day": 3}
    origin = "ECB reference rate"
    assert lake_rows("fx_rates", RATES) == [
        (date(2007, 12, 31), "EUR", "CYP", Decimal("0.585274"), origin),
        (date(2007, 12, 31), "EUR", "JPY", Decimal("164.93"), origin),
        (date(2007, 12, 31), "EUR", "USD", Decimal("1.4721"), origin),
        (date(2026, 1, 2), "EUR", "INR", Decimal("105.5055"), origin),
        (date(2026, 1, 2), "EUR", "JPY", Decimal("183.98"), origin),
        (date(2026, 1, 2), "EUR", "USD", Decimal("1.1721"), origin),
        (date(2026, 1, 5), "EUR", "INR", Decimal("105.1295"), origin),
        (date(2026, 1, 5), "EUR", "JPY", Decimal("183.05"), origin),
        (date(2026, 1, 5), "EUR", "USD", Decimal("1.1664"), origin),
    ]
    # nothing is said of the column after the last comma
    assert "not read" not in result.message


def test_the_file_of_one_day(tmp_path, lake_rows):
    lines = ["Date, USD, JPY, INR, ", "05 January 2026, 1.1664, 183.05, 105.1295, "]
    result = bring(tmp_path, write_lines(tmp_path / "eurofxref.csv", lines))

    assert (result.format, result.rows_loaded) == ("ecb_rates", 3)
    assert lake_rows("fx_rates", "rate_date, quote, rate") == [
        (date(2026, 1, 5), "INR", Decimal("105.1295")),
        (date(2026, 1, 5), "JPY", Decimal("183.05")),
        (date(2026, 1, 5), "USD", Decimal("1.1664")),
    ]


def test_a_packed_history(tmp_path, lake_rows):
    path = tmp_path / "eurofxref-hist.csv.gz"
    path.write_bytes(gzip.compress("\n".join([*HISTORY, ""]).encode()))

    assert bring(tmp_path, path).rows_loaded == 9
    assert lake_rows("fx_rates", "count(*)") == [(9,)]


def test_a_wrong_cell_costs_itself_and_a_wrong_date_its_day(tmp_path, lake_rows):
    lines = [HISTORY[0], "2026-01-05,1.1664,soon,N/A,105.1,", "5.1.26,1.2,183,N/A,105,", "2026-01-02,-1,,N/A,105.2,"]
    result = bring(tmp_path, write_lines(tmp_path / "rates.csv", lines))

    assert (result.rows_loaded, result.rows_quarantined, result.rows_skipped) == (3, 6, 3)
    assert lake_rows("fx_rates", "rate_date, quote") == [
        (date(2026, 1, 2), "INR"),
        (date(2026, 1, 5), "INR"),
        (date(2026, 1, 5), "USD"),
    ]
    assert lake_rows("quarantined_rows", QUARANTINE) == [
        ("rates.csv", 2, "rate", "not a number"),
        *[("rates.csv", 3, "rate_date", "not a date")] * 3,
        ("rates.csv", 4, "rate", "missing"),
        ("rates.csv", 4, "rate", "negative"),
    ]


def test_a_line_that_is_cut_off(tmp_path, lake_rows):
    lines = [*HISTORY[:2], "2026-01-02,1.17", "2026-01-01,1.17,no,N/A,105,"]
    result = bring(tmp_path, write_lines(tmp_path / "rates.csv", lines))

    assert (result.rows_loaded, result.rows_quarantined) == (5, 2)
    assert lake_rows("quarantined_rows", QUARANTINE) == [
        ("rates.csv", 3, None, "not a row of this table (missing columns)"),
        ("rates.csv", 4, "rate", "not a number"),
    ]


@pytest.mark.parametrize("header", ["Date,USD,JPY,spread", "Date,JPY,INR", "day,USD,JPY", "Date,USD"])
def test_another_table_of_dates_is_not_taken_for_rates(tmp_path, header):
    result = bring(tmp_path, write_lines(tmp_path / "x.csv", [header, ",".join("1" for _ in header.split(","))]))

    assert result.state == "failed"
    assert "no known format" in result.message
