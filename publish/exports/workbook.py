"""The marts as one Excel workbook: a sheet that lists them, one that explains every column, and a sheet a mart.

Excel has limits that the marts do not: 1,048,576 rows a sheet, 32,767 characters a cell, 15 significant digits a
number. A mart with more rows is left out and said; a longer text is cut and says so in its cell; a whole number with
more digits is written as text. Decimals are rounded to 15 digits, which Parquet and CSV do not do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pertask.home import Home
from publish.exports.marts import MartsExport, PublishedMart, PublishedMarts, open_marts
from publish.exports.targets import export_target, replaced_file, scratch_folder

if TYPE_CHECKING:
    from xlsxwriter import Workbook
    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

ROW_LIMIT = 1_048_576
"""Rows of a sheet, its header included."""
TEXT_LIMIT = 32_767
"""Characters of a cell."""

_EXACT_INTEGER = 10**15
_SHEET_NAME_LENGTH = 31
_FETCH_ROWS = 2000
_OWN_SHEETS = ("marts", "columns")
_OLDEST = date(1900, 3, 1)
"""Excel takes 1900 for a leap year, so earlier days would be off by one."""


@dataclass(frozen=True)
class _Formats:
    bold: Format
    wrapped: Format
    header: Format
    day: Format
    moment: Format
    whole: Format
    decimal: Format

    @classmethod
    def of(cls, workbook: Workbook) -> _Formats:
        return cls(
            bold=workbook.add_format({"bold": True}),
            wrapped=workbook.add_format({"text_wrap": True, "valign": "top"}),
            header=workbook.add_format({"bold": True, "bottom": 1}),
            day=workbook.add_format({"num_format": "yyyy-mm-dd"}),
            moment=workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
            whole=workbook.add_format({"num_format": "#,##0"}),
            # Two places as a total has them, and more where small costs need them.
            decimal=workbook.add_format({"num_format": "#,##0.00##########"}),
        )


def export_workbook(
    home: Home,
    *,
    output: Path | None = None,
    names: Sequence[str] = (),
    on_mart: Callable[[PublishedMart], None] = lambda mart: None,
) -> MartsExport:
    """Write the marts into one workbook; a file of the same name is replaced whole.

    Args:
        home: the home whose publication is exported.
        output: where to; default: published/exports/pertask.xlsx.
        names: marts, as ``core.fct_tasks``; none: all.
        on_mart: called before each mart is written.

    Raises:
        QueryError: there is no publication, or it has no mart of a name.
        ExportError: the file cannot be written.
        TargetError: the file is not named .xlsx, or is in the home outside of published/exports/.
    """
    from xlsxwriter import Workbook
    from xlsxwriter.exceptions import FileCreateError

    path = export_target(home, output, "pertask.xlsx")
    with open_marts(home, names) as published, replaced_file(path) as target, scratch_folder(path) as scratch:
        sheets = _sheet_names(published.marts)
        workbook = Workbook(str(target), {"constant_memory": True, "tmpdir": str(scratch), "in_memory": False})
        workbook.set_properties({"created": published.published_at, "title": "pertask marts"})
        formats = _Formats.of(workbook)
        _write_list(workbook, formats, published, sheets)
        _write_columns(workbook, formats, published)
        shortfalls = [_too_long(mart) for mart in published.marts if mart.name not in sheets]
        written = [mart for mart in published.marts if mart.name in sheets]
        for mart in written:
            on_mart(mart)
            cut = _write_mart(workbook.add_worksheet(sheets[mart.name]), formats, published, mart)
            if cut:
                shortfalls.append(
                    f"{mart.name}: {cut:,} texts are longer than a cell of Excel takes and were cut, as their cells "
                    "say. Use `pertask export parquet` or `csv` for the whole of them."
                )
        try:
            workbook.close()
        except FileCreateError as error:
            raise OSError(str(error)) from error
    return MartsExport(str(path), len(written), sum(mart.row_count for mart in written), tuple(shortfalls))


def _sheet_names(marts: Sequence[PublishedMart]) -> dict[str, str]:
    """The sheet of each mart that fits into one: the table's name, made unique within Excel's 31 characters."""
    names: dict[str, str] = {}
    taken = {*_OWN_SHEETS, "history"}
    for mart in marts:
        if mart.row_count >= ROW_LIMIT:
            continue
        name, number = mart.table[:_SHEET_NAME_LENGTH], 1
        while name.lower() in taken:
            number += 1
            ending = f"~{number}"
            name = mart.table[: _SHEET_NAME_LENGTH - len(ending)] + ending
        taken.add(name.lower())
        names[mart.name] = name
    return names


def _too_long(mart: PublishedMart) -> str:
    return (
        f"{mart.name}: left out, its {mart.row_count:,} rows are more than the {ROW_LIMIT:,} that a sheet of Excel "
        "holds. Use `pertask export parquet`, `csv` or `postgres`, or sum it up with `pertask query --format csv`."
    )


def _write_list(workbook: Workbook, formats: _Formats, published: PublishedMarts, sheets: dict[str, str]) -> None:
    sheet = workbook.add_worksheet(_OWN_SHEETS[0])
    sheet.set_column(0, 0, 44)
    sheet.set_column(1, 1, 32)
    sheet.set_column(2, 2, 14)
    sheet.set_column(3, 3, 110)
    newest = published.newest_delivery_at
    as_of = f"Published {published.published_at:%Y-%m-%d %H:%M:%S} UTC from build {published.build_id}"
    as_of += f", with deliveries until {newest:%Y-%m-%d %H:%M:%S} UTC." if newest else "."
    sheet.write_string(0, 0, as_of, formats.bold)
    sheet.write_string(
        1, 0, "Times are UTC. An empty cell is unknown, not 0. Excel keeps 15 digits of a number; Parquet and CSV all."
    )
    for column, title in enumerate(("mart", "sheet", "rows", "description")):
        sheet.write_string(3, column, title, formats.header)
    for row, mart in enumerate(published.marts, 4):
        sheet.write_string(row, 0, mart.name)
        if mart.name in sheets:
            name = sheets[mart.name]
            sheet.write_url(row, 1, f"internal:'{name}'!A1", string=name)
        else:
            sheet.write_string(row, 1, "left out: too many rows")
        sheet.write_number(row, 2, mart.row_count, formats.whole)
        sheet.write_string(row, 3, mart.description, formats.wrapped)


def _write_columns(workbook: Workbook, formats: _Formats, published: PublishedMarts) -> None:
    sheet = workbook.add_worksheet(_OWN_SHEETS[1])
    for column, (title, width) in enumerate((("mart", 44), ("column", 36), ("type", 16), ("description", 110))):
        sheet.set_column(column, column, width)
        sheet.write_string(0, column, title, formats.header)
    sheet.freeze_panes(1, 0)
    row = 0
    for mart in published.marts:
        for column in mart.columns:
            row += 1
            for place, text in enumerate((mart.name, column.name, column.kind)):
                sheet.write_string(row, place, text)
            sheet.write_string(row, 3, column.description, formats.wrapped)
    sheet.autofilter(0, 0, row, 3)


def _write_mart(sheet: Worksheet, formats: _Formats, published: PublishedMarts, mart: PublishedMart) -> int:
    """Write the mart's rows; returns how many texts were cut."""
    styles = [_style(formats, column.kind) for column in mart.columns]
    for place, column in enumerate(mart.columns):
        sheet.set_column(place, place, max(len(column.name) + 4, _width(column.kind)))
        sheet.write_string(0, place, column.name, formats.header)
    sheet.freeze_panes(1, 0)
    sheet.autofilter(0, 0, mart.row_count, len(mart.columns) - 1)
    cut = row_number = 0
    answer = published.connection.execute(f"select * from {mart.quoted}")
    while rows := answer.fetchmany(_FETCH_ROWS):
        for row in rows:
            row_number += 1
            for place, value in enumerate(row):
                if value is not None:
                    cut += _write_cell(sheet, row_number, place, value, styles[place])
    return cut


def _write_cell(sheet: Worksheet, row: int, column: int, value: Any, style: Format | None) -> bool:
    """Write a value as what it is, never as a formula or a link; returns whether a text was cut."""
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, datetime | date) and _day(value) >= _OLDEST:
        sheet.write_datetime(row, column, value, style)
    elif isinstance(value, int) and abs(value) < _EXACT_INTEGER:
        sheet.write_number(row, column, value, style)
    elif isinstance(value, Decimal) or (isinstance(value, float) and math.isfinite(value)):
        sheet.write_number(row, column, float(value), style)
    else:
        text = str(value)
        if len(text) > TEXT_LIMIT:
            ending = f" … (cut, {len(text):,} characters)"
            sheet.write_string(row, column, text[: TEXT_LIMIT - len(ending)] + ending)
            return True
        sheet.write_string(row, column, text)
    return False


def _day(value: datetime | date) -> date:
    return value.date() if isinstance(value, datetime) else value


def _style(formats: _Formats, kind: str) -> Format | None:
    if kind.startswith("DECIMAL"):
        return formats.whole if kind.endswith(",0)") else formats.decimal
    if kind in ("BIGINT", "INTEGER", "HUGEINT"):
        return formats.whole
    return {"DATE": formats.day, "TIMESTAMP": formats.moment}.get(kind)


def _width(kind: str) -> int:
    return {"DATE": 12, "TIMESTAMP": 20, "VARCHAR": 22}.get(kind, 14)
