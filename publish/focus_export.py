"""The published marts as a FOCUS 1.2 file: what models, GPUs and the rest cost, in the columns that bill tools read.

It reads the published file and nothing else, and changes no number. focus.sql says what the rows are:

- metered calls, by day, provider, model, tier, team and task type;
- GPU time, by day, machine, purchase mode and place on a bill (account, sub-account, billing period, invoice): the part
  of self-hosted calls by model, team and task type; at work without a logged call; loaded and idle; held by nobody;
  unknown; and commitments that nothing used;
- every other line of the bills: tax, credits, adjustments, purchases, other usage.

Every dollar is there once. Tokens that a cloud's bill charges for are left out: the metered calls have them already,
and those that no log has are counted in what the export returns. So EffectiveCost is metered calls + GPU time + unused
commitment + the other lines, and BilledCost is the invoices (without those tokens) + metered calls. Money is in USD;
what has no price or no exchange rate is no row, and is counted in what the export returns.

A GPU line of a bill is split over its days, list and contracted cost as its effective cost is, so that exports of
single months or days add up to it. No mart tells on which machine a call ran: the calls of a day are shared by what the
day's machines have for calls. So each account, machine, day and task type is exact by itself; what a task type has of a
machine is a share.

A self-hosted call stands on the day on which it starts, while its GPUs may work for it past midnight. One row a day and
machine without team and task type holds the difference, signed, so that each day is the day of its GPU-hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from pertask.errors import QueryError
from pertask.home import Home
from publish.exports.folders import harmless_text
from publish.exports.marts import open_published
from publish.exports.targets import export_target, replaced_file
from publish.publication import literal

if TYPE_CHECKING:
    import duckdb

FORMATS = ("csv", "parquet")

_SQL = Path(__file__).with_name("focus.sql")
_MOMENTS = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
_TEXTS = """
select column_name from duckdb_columns()
where database_name = 'temp' and table_name = 'focus' and data_type = 'VARCHAR'
"""
_TOTALS = "select count(*), coalesce(sum(BilledCost), 0), coalesce(sum(EffectiveCost), 0) from temp.focus"
_UNLOGGED_TOKENS = Path(__file__).with_name("unlogged_tokens.sql")
_LEFT_OUT = """
with days as (select getvariable('first_date') as first_date, getvariable('last_date') as last_date)

select
    (
        select count(*) from core.fct_call_attempts
        where cost_basis = 'unpriced' and usage_date between first_date and last_date
    ),
    (
        select count(*) from core.fct_bill_lines
        where billed_cost_usd is null and line_kind != 'model_charges' and usage_date between first_date and last_date
    ),
    (
        select count(*) from core.fct_gpu_hours
        where is_provisional and effective_cost_usd is null and usage_date between first_date and last_date
    ),
    (
        select count(*) from core.fct_bill_lines
        where line_kind = 'model_charges' and usage_date between first_date and last_date
    ),
    (
        select coalesce(sum(billed_cost_usd), 0) from core.fct_bill_lines
        where line_kind = 'model_charges' and usage_date between first_date and last_date
    ),
    (
        select coalesce(sum(unlogged_usd), 0) from ({unlogged_tokens}) as unlogged_tokens
        where usage_date between first_date and last_date
    )
from days
"""


@dataclass(frozen=True)
class FocusExport:
    """What was written, and what is not in it."""

    path: Path
    row_count: int
    billed_cost_usd: Decimal
    effective_cost_usd: Decimal
    unpriced_attempts: int
    """attempts without a price: their cost is not known"""
    unconverted_lines: int
    """bill lines without an exchange rate: their cost in USD is not known"""
    unconverted_hours: int
    """estimated GPU-hours without an exchange rate, likewise"""
    model_charge_lines: int
    """bill lines of tokens: the metered calls have them already, or no log has them"""
    model_charges_usd: Decimal
    unlogged_charges_usd: Decimal
    """of those, what no log has"""


def export_focus(
    home: Home, output_format: str, *, output: Path | None = None, dates: tuple[date, date] | None = None
) -> FocusExport:
    """Write the published marts as FOCUS 1.2; a file of the same name is replaced whole.

    In CSV a text that a spreadsheet would take for a formula has an apostrophe before it, as in the CSV of the marts.

    Args:
        home: the home whose publication is exported.
        output_format: csv or parquet.
        output: where to; default: published/exports/ of the home.
        dates: first and last day of the charges (a bill's line is on the day on which its charge period starts);
            default: all.

    Raises:
        QueryError: there is no publication, or it lacks a mart.
        ExportError: the file cannot be written.
        TargetError: the file is not named as its format, or is in the home outside of published/exports/.
    """
    import duckdb

    path = export_target(home, output, f"focus.{output_format}")
    first, last = dates or (date.min, date.max)
    left_out_sql = _LEFT_OUT.format(unlogged_tokens=_UNLOGGED_TOKENS.read_text(encoding="utf-8"))
    with open_published(home) as connection, replaced_file(path) as scratch:
        connection.execute(f"set variable first_date = date '{first}'")
        connection.execute(f"set variable last_date = date '{last}'")
        try:
            connection.execute(_SQL.read_text(encoding="utf-8"))
        except duckdb.CatalogException as error:
            raise QueryError(f"{home.published_file}: lacks what FOCUS needs ({error}). Run `pertask run`.") from error
        [totals] = connection.execute(_TOTALS).fetchall()
        [left_out] = connection.execute(left_out_sql).fetchall()
        _write(connection, output_format, scratch)
    return FocusExport(path, *totals, *left_out)


def _write(connection: duckdb.DuckDBPyConnection, output_format: str, path: Path) -> None:
    """Write the table by day and then by every other column: the same marts give the same file."""
    if output_format == "parquet":
        options = "format parquet, compression zstd"
        # Parquet has a type for moments in UTC.
        changed = [f"{name} at time zone 'UTC' as {name}" for name in _MOMENTS]
    else:
        options = "format csv, header, timestampformat '%Y-%m-%dT%H:%M:%SZ'"
        # Team and task type are what a request's sender says, and this file is opened in spreadsheets.
        changed = [harmless_text(name) for (name,) in connection.execute(_TEXTS).fetchall()]
    connection.execute(
        f"copy (select * replace ({', '.join(changed)}) from temp.focus order by ChargePeriodStart, columns(*)) "
        f"to {literal(path)} ({options})"
    )
