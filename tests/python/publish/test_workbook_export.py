"""The Excel workbook, read back by openpyxl: typed cells, nothing that runs, nothing cut in silence."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import openpyxl
import pytest
from click.testing import CliRunner
from openpyxl.utils.escape import unescape

from pertask.cli import cli
from pertask.errors import ExportError
from pertask.home import Home
from publish.exports import workbook
from publish.exports.workbook import export_workbook
from tests.python.publish.published_files import FORMULAS, make_published, rows_of


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_published(tmp_path / "home")


def change(home: Home, sql: str) -> None:
    with duckdb.connect(str(home.published_file)) as connection:
        connection.execute(sql)


def test_the_sheets_hold_the_published_rows(home):
    done = export_workbook(home)
    assert (done.place, done.mart_count, done.shortfalls) == (str(home.published / "exports" / "pertask.xlsx"), 3, ())
    book = openpyxl.load_workbook(done.place)
    assert book.sheetnames == ["marts", "columns", "dim_teams", "fct_tasks", "findings"]
    sheet = book["fct_tasks"]
    found = list(sheet.iter_rows(min_row=2, values_only=True))
    expected = rows_of(home, "core.fct_tasks")
    assert len(found) == len(expected)
    for cells, (task_id, task_type, day, moment, attempts, tokens, cost, ratio, is_cut) in zip(
        found, expected, strict=True
    ):
        # control characters are escaped, as Excel has them
        assert (cells[0], cells[1] and unescape(cells[1])) == (task_id, task_type)
        assert cells[2] == (datetime(day.year, day.month, day.day) if day else None)
        # Excel's clock ticks in milliseconds
        assert cells[3] == (moment.replace(microsecond=123000) if moment else None)
        assert cells[4:6] == (attempts, tokens)
        assert cells[6] == (pytest.approx(float(cost), rel=1e-15) if cost is not None else None)
        assert cells[7:] == (ratio, is_cut)


def test_cells_have_their_types_and_formats(home):
    sheet = openpyxl.load_workbook(export_workbook(home).place)["fct_tasks"]
    [_, day, moment, attempts, tokens, cost] = list(sheet[2])[1:7]
    assert (day.is_date, day.number_format) == (True, "yyyy-mm-dd")
    assert (moment.is_date, moment.number_format) == (True, "yyyy-mm-dd hh:mm:ss")
    assert (attempts.data_type, attempts.number_format) == ("n", "#,##0")
    assert (tokens.data_type, tokens.number_format) == ("n", "#,##0")
    assert (cost.data_type, cost.number_format) == ("n", "#,##0.00##########")
    assert all(cell.font.bold for cell in sheet[1])
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:I19"
    assert sheet.column_dimensions["D"].width > len("2026-08-19 23:59:59")


def test_no_text_runs(home):
    sheet = openpyxl.load_workbook(export_workbook(home).place)["fct_tasks"]
    cells = [row[1] for row in sheet.iter_rows(min_row=2)]
    assert {cell.data_type for cell in cells if cell.value is not None} == {"s"}
    assert {cell.hyperlink for cell in cells} == {None}
    assert set(FORMULAS) <= {unescape(cell.value or "") for cell in cells}


def test_the_first_sheets_say_what_there_is(home):
    book = openpyxl.load_workbook(export_workbook(home).place)
    listed = list(book["marts"].iter_rows(values_only=True))
    assert listed[0][0] == (
        "Published 2026-08-20 02:03:04 UTC from build 20260820T020000-abc123, "
        "with deliveries until 2026-08-20 01:00:00 UTC."
    )
    assert listed[4:] == [
        ("core.dim_teams", "dim_teams", 2, ""),
        ("core.fct_tasks", "fct_tasks", 18, "One row per task: what it's cost."),
        ("quality.findings", "findings", 0, ""),
    ]
    assert ("core.fct_tasks", "cost_usd", "DECIMAL(38,12)", "USD; null when unpriced") in set(
        book["columns"].iter_rows(values_only=True)
    )


def test_names_of_sheets_are_short_and_unique(home):
    long = "a_mart_whose_name_is_longer_than_excel_takes"
    for schema in ("core", "quality"):
        change(home, f"create table {schema}.{long} as select 1 as x; create table {schema}.history as select 1 as x")
    names = openpyxl.load_workbook(export_workbook(home).place).sheetnames
    assert len({name.lower() for name in names}) == len(names) == 9
    assert max(map(len, names)) <= 31
    assert {long[:31], f"{long[:29]}~2", "history~2", "history~3"} <= set(names)


def test_a_mart_that_no_sheet_holds_is_left_out_and_said(home, monkeypatch):
    monkeypatch.setattr(workbook, "ROW_LIMIT", 18)
    done = export_workbook(home)
    [line] = done.shortfalls
    assert line.startswith("core.fct_tasks: left out, its 18 rows are more than")
    assert "pertask export parquet" in line
    assert (done.mart_count, done.row_count) == (2, 2)
    book = openpyxl.load_workbook(done.place)
    assert "fct_tasks" not in book.sheetnames
    assert ("core.fct_tasks", "left out: too many rows", 18) in {
        row[:3] for row in book["marts"].iter_rows(values_only=True)
    }
    monkeypatch.setenv("PERTASK_HOME", str(home.root))
    shown = CliRunner().invoke(cli, ["export", "xlsx"])
    assert shown.exit_code == 0
    assert f"warning: {line}" in shown.output


def test_what_excel_cannot_hold_is_said_or_written_as_text(home):
    change(
        home,
        """
        create table quality.extremes as
        select repeat('x', 40000) as long_text, 9007199254740993 as large, date '0001-01-01' as old_day,
            'nan'::double as not_a_number, 'a' || chr(1) || 'b' as control
        """,
    )
    done = export_workbook(home, names=["quality.extremes"])
    [line] = done.shortfalls
    assert line.startswith("quality.extremes: 1 texts are longer than a cell of Excel takes")
    [_, cells] = openpyxl.load_workbook(done.place)["extremes"].iter_rows(values_only=True)
    assert len(cells[0]) == 32_767
    assert cells[0].endswith("(cut, 40,000 characters)")
    assert cells[1:4] == ("9007199254740993", "0001-01-01", "nan")


def test_decimals_keep_fifteen_digits(home):
    change(home, "create table quality.money as select 123456789.123456::decimal(38, 12) as usd")
    [_, [usd]] = openpyxl.load_workbook(export_workbook(home, names=["quality.money"]).place)["money"].iter_rows(
        values_only=True
    )
    assert Decimal(repr(usd)) == Decimal("123456789.123456")


def test_a_folder_in_the_way_is_said(home, tmp_path):
    (tmp_path / "here").mkdir()
    with pytest.raises(ExportError, match="it is a folder"):
        export_workbook(home, output=tmp_path / "here")
