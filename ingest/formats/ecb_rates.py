"""The European Central Bank's euro reference rates, CSV: one row per day, a column per currency.

``eurofxref-hist.csv`` is the whole history since 1999, ``eurofxref.csv`` one day; both come zipped and are read
unpacked. Bring the history once and then the day's file: each delivery of the history is a batch of its own.

- A value is how many units of the column's currency one euro buys.
- ``N/A`` is a currency that is not, or no longer, quoted: skipped and counted.
- Every line ends with a comma, so there is one column more than currencies. It has no name.
- The day's file has blanks after its commas and writes its date as ``02 January 2026``.
- Rates are set on working days about 16:00 in Frankfurt. They are for reference: nobody was charged at them.
"""

from __future__ import annotations

import re

from ingest.reading import Head, Reader, identifier, literal
from ingest.rows import Extract

NAME = "ecb_rates"
VERSION = 1
CONTRACTS = ("fx_rates",)
DELIVERY = "file"
REPLACES_PERIOD = False

ORIGIN = "ECB reference rate"

_LAST = re.compile(r"column_\d+")
"""What reading calls the column after the last comma."""


def sniff(head: Head) -> bool:
    """Whether the columns are a date and currencies, the dollar among them, and nothing else."""
    first, *others = head.columns or ("",)
    currencies = _currencies(head)
    rest = [name for name in others if name not in currencies and not _LAST.fullmatch(name)]
    return head.kind == "csv" and first == "Date" and len(currencies) > 1 and "USD" in currencies and not rest


def read(reader: Reader) -> list[Extract]:
    """A row for each day and currency of the files."""
    days = [_days(reader, head) for head in reader.heads] or [_days(reader, None)]
    rows = f"select * exclude (quoted), unnest(quoted, recursive := true) from ({' union all '.join(days)})"
    return [Extract(contract="fx_rates", rows=rows, columns=_FIELDS, skip=_SKIP, is_unnested=True)]


_SKIP = "case when rate = 'N/A' then 'a currency without a rate on this day' end"

_FIELDS = {
    "rate_date": "coalesce(cast(cast(try_strptime(day, '%d %B %Y') as date) as varchar), day)",
    "base": "'EUR'",
    "quote": "quote",
    "rate": "rate",
    "origin": literal(ORIGIN),
}


def _currencies(head: Head) -> list[str]:
    return [name for name in head.columns if re.fullmatch("[A-Z]{3}", name)]


def _days(reader: Reader, head: Head | None) -> str:
    """SQL of one row per day of a file, its rates in a list; no row without a file."""
    currencies = _currencies(head) if head else ["USD"]
    known = [name for name in head.columns if _LAST.fullmatch(name)] if head else []
    rows = reader.rows(("Date", *currencies), known=known, heads=[head] if head else [])
    quoted = ", ".join(f"{{'quote': {literal(name)}, 'rate': trim({identifier(name)})}}" for name in currencies)
    # a day gives many rows: its line is told here, after the header and the days before it
    return f"""
        select _file, _content, _broken, 1 + row_number() over () as _line, trim("Date") as day, [{quoted}] as quoted
        from ({rows})"""
