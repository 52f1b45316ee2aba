"""Writes the page: picks the month, asks the publication, draws the charts and replaces the file whole."""

from __future__ import annotations

import calendar
import os
import re
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pertask.errors import QueryError
from pertask.home import Home
from pertask.query import as_text, connect
from publish.report import charts, money
from publish.report.questions import Answer, Publication
from publish.report.zones import zones_of

if TYPE_CHECKING:
    from markupsafe import Markup

_HERE = Path(__file__).parent

PART_LABELS = {
    "gpu_active": "GPUs at work",
    "gpu_loaded_idle": "GPUs idle, loaded",
    "gpu_unallocated": "GPUs idle, empty",
    "gpu_unknown": "GPUs, unknown",
    "unused_commitment": "Commitments not used",
    "metered_calls": "Model calls, metered",
    "unlogged_tokens": "Tokens on bills that no log has",
    "other": "Other usage on bills",
    "tax": "Tax",
    "credits": "Credits",
    "refunds": "Refunds, adjustments",
    "commitment_timing": "Commitment timing",
    "other_months": "GPU time of other months",
    "unexplained": "Not explained",
    "total": "Cost of the month",
    "gpu_estimated": "of which estimated: GPU time whose bill has not come",
    "model_charges": "beside it, tokens on cloud bills that the metered calls have: compared and not added",
}
"""The parts of a month's cost, in the order of the page."""

CAUSES = {
    "cancelled": "Cancelled",
    "content_filter": "Content filter",
    "evicted": "Evicted (spot)",
    "rate_limited": "Rate limit",
    "schema_invalid": "Answer not as asked",
    "server_error": "Server error",
    "timeout": "Timeout",
    "tool_error": "Tool error",
    "unknown": "Unknown cause",
}

COVERED = {
    "task_id": "Calls with a task",
    "task_type": "Calls with a task type",
    "team": "Calls with a team",
    "outcome": "Calls whose task has an outcome",
    "priced": "Calls with a price",
    "sampled": "GPU time with samples",
}

RETRY_PARTS = {
    "recovered_cost": ("made good", "var(--work)"),
    "abandoned_cost": ("given up", "var(--idle)"),
    "unresolved_cost": ("end unknown", "var(--unknown)"),
}
IDLE_PARTS = {
    "active_cost": ("at work", "var(--work)"),
    "idle_cost": ("idle", "var(--idle)"),
    "unknown_cost": ("unknown", "var(--unknown)"),
}

_QUESTIONS = (
    *("bill", "trend", "invoices", "tasks", "multiple", "retries", "retry_overhead", "idle", "utilisation"),
    *("coverage", "provisional", "missing"),
)

_LONG_GAP_DAYS = 3
"""Days in a row without rows that make a month incomplete; a weekend may have none."""


Accounts = dict[date, list[tuple[str, str | None]]]
"""source and billing account of the bills of each month"""

_BUILD = re.compile(r'<meta name="pertask-build" content="([^"]*)">')
_HEAD_CHARACTERS = 4_000


class ReportError(Exception):
    """A page that cannot be written; the last one stays as it was."""


@dataclass(frozen=True)
class Period:
    """The month of a report."""

    start: date
    end: date
    dates: dict[str, tuple[date, date]]
    """first and last day of each kind of data in the month"""
    shortfalls: tuple[str, ...]
    """why the month is not complete; empty where it is"""
    notes: tuple[str, ...] = ()
    """what else a reader should know of its days"""


@dataclass(frozen=True)
class Row:
    """A row of an answer, whose figures know how they are written and where they come from."""

    question: str
    number: int
    values: dict[str, Any]
    currency: str

    def __getitem__(self, column: str) -> Any:
        return self.values[column]

    def total(self, column: str, currency: str | None = None) -> Markup:
        """A total of money."""
        return self._figure(column, money.total(self[column], currency or self.currency))

    def unit(self, column: str) -> Markup:
        """The cost of one thing."""
        return self._figure(column, money.unit_cost(self[column], self.currency))

    def count(self, column: str) -> Markup:
        """A whole number."""
        return self._figure(column, money.count(self[column]))

    def share(self, column: str) -> Markup:
        """A ratio, as a percentage."""
        return self._figure(column, money.share(self[column]))

    def times(self, column: str) -> Markup:
        """A multiple."""
        return self._figure(column, money.times(self[column]))

    def plain(self, column: str) -> Markup:
        """A number with all its digits."""
        return self._figure(column, as_text(self[column]))

    def _figure(self, column: str, text: str) -> Markup:
        from markupsafe import Markup

        value = self[column]
        if value is None:
            return Markup('<span class="none" title="not known">{}</span>').format(text)
        return Markup('<data value="{}" data-question="{}" data-row="{}" data-column="{}">{}</data>').format(
            as_text(value), self.question, self.number, column, text
        )


@dataclass(frozen=True)
class Answered:
    """An answer as the template reads it."""

    answer: Answer
    currency: str

    @property
    def rows(self) -> list[Row]:
        """All rows."""
        return [Row(self.answer.name, number, values, self.currency) for number, values in enumerate(self.answer.rows)]

    def where(self, column: str, value: Any) -> Row | None:
        """The first row with a value in a column."""
        return next((row for row in self.rows if row[column] == value), None)


def write_report(
    home: Home, *, currency: str = "USD", time_zones: Mapping[str, str] | None = None, month: date | None = None
) -> Path:
    """Write the page of a home's publication to published/report/index.html; the last page is replaced whole.

    Args:
        home: the home; nothing of it is read but its published file.
        currency: USD, INR or GBP; amounts are converted at the rate of each day.
        time_zones: IANA zone of regions, before those that ship with the product.
        month: first day of the month to show; default: the latest of which every kind of data has its days.

    Raises:
        QueryError: nothing is published, the publication lacks columns, it has no rate of the currency, or no data of
            the month.
        ReportError: the page cannot be written.
    """
    with closing(connect(home)) as connection:
        publication = Publication(connection)
        html = _render(publication, currency, dict(time_zones or {}), month)
    return _replace(_page_of(home), html)


def build_of(home: Home) -> str | None:
    """The build whose publication the page of a home shows; None without a page, or where it does not say."""
    try:
        with open(_page_of(home), encoding="utf-8", errors="replace") as file:
            found = _BUILD.search(file.read(_HEAD_CHARACTERS))
    except OSError:
        return None
    return unescape(found[1]) if found else None


def _page_of(home: Home) -> Path:
    return home.published / "report" / "index.html"


def _replace(path: Path, html: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=".writing-", suffix=".html", delete=False
        ) as scratch:
            try:
                scratch.write(html)
                scratch.flush()
                os.fsync(scratch.fileno())
                # Temporary files are private; what is published is for all who may read the folder.
                os.chmod(scratch.name, 0o644)
                os.replace(scratch.name, path)
            except BaseException:
                Path(scratch.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise ReportError(f"{path}: was not written, and the last page stays: {error}") from error
    return path


def _render(publication: Publication, currency: str, time_zones: dict[str, str], month: date | None) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(day=_day, days=_days, month=_month_name, moment=lambda value: f"{value:%d %B %Y, %H:%M}")
    build = publication.ask("publication", {})
    months = publication.ask("months", {})
    period = _period(months, _accounts(publication.ask("accounts", {})), month)
    answers = _ask_all(publication, currency, time_zones, period) if period else {}
    if period:
        period = replace(period, shortfalls=period.shortfalls + tuple(_unknown_dollars(answers, period, currency)))
    month_names = _month_names(months)
    answered = {name: Answered(answer, currency) for name, answer in answers.items()}
    return environment.get_template("page.html").render(
        css=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=(_HERE / "page.js").read_text(encoding="utf-8"),
        libraries=_libraries() if answered else "",
        currency=currency,
        currency_name={"USD": "US dollars", "INR": "Indian rupees", "GBP": "pounds sterling"}[currency],
        symbol=money.SYMBOLS[currency],
        build=build.rows[0] if build else None,
        period=period,
        questions=answered,
        asked=answers,
        month_names=month_names,
        bounds=_bounds(answers),
        charts=_charts(answers, money.SYMBOLS[currency], month_names),
        part_labels=PART_LABELS,
        causes=CAUSES,
        covered=COVERED,
        site_name=charts.site_name,
        total=money.total,
    )


def _period(months: Answer | None, accounts: Accounts, month: date | None) -> Period | None:
    """The month that was asked for, or the latest whose days are all there, or the latest."""
    periods: dict[date, dict[str, dict[str, Any]]] = {}
    for row in months.rows if months else []:
        periods.setdefault(row["month_start"], {})[row["kind"]] = row
    if month and month not in periods:
        known = ", ".join(f"{start:%Y-%m}" for start in sorted(periods)) or "none"
        raise QueryError(f"there is no data of {month:%Y-%m}. Months with data: {known}.")
    if not periods:
        return None
    extents: dict[str, tuple[date, date]] = {}
    for row in months.rows if months else []:
        extents[row["kind"]] = (row["first_date_ever"], row["last_date_ever"])
    if month:
        return _described(month, periods[month], extents, accounts)
    described = [_described(start, kinds, extents, accounts) for start, kinds in sorted(periods.items())]
    complete = [period for period in described if not period.shortfalls]
    return (complete or described)[-1]


def _described(
    start: date, kinds: dict[str, dict[str, Any]], extents: dict[str, tuple[date, date]], accounts: Accounts
) -> Period:
    end = _month_end(start)
    shortfalls, notes = [], []
    for kind, (first, last) in extents.items():
        if last < start or first > end:
            shortfalls.append(f"no {kind}")
            continue
        if first > start:
            shortfalls.append(f"{kind} begin{'s' if kind == 'GPU time' else ''} on {_day(first)}")
        if last < end:
            shortfalls.append(f"{kind} end{'s' if kind == 'GPU time' else ''} on {_day(last)}")
        days = kinds[kind]["days"] if kind in kinds else []
        gap = _longest_gap(days, max(first, start), min(last, end))
        if gap:
            told = shortfalls if gap >= _LONG_GAP_DAYS else notes
            told.append(f"{kind} on {len(days)} of {end.day} days")
        if kind in kinds and kinds[kind]["is_provisional"]:
            shortfalls.append("part of the GPU time is estimated, because its bill has not come")
    before = (start - timedelta(days=1)).replace(day=1)
    if accounts.get(start):
        for source, account in accounts.get(before, ()):
            if (source, account) not in accounts[start]:
                whose = f"{source}, account {account}" if account else source
                shortfalls.append(f"no bill of {whose}, which has one of {_month_name(before)}")
    dates = {kind: (row["first_date"], row["last_date"]) for kind, row in kinds.items()}
    return Period(start, end, dates, tuple(shortfalls), tuple(notes))


def _longest_gap(days: Sequence[date], first: date, last: date) -> int:
    """The most days in a row, from first to last, that are not among the days."""
    edges = [first - timedelta(days=1), *days, last + timedelta(days=1)]
    return max((after - before).days - 1 for before, after in pairwise(edges))


def _accounts(answer: Answer | None) -> Accounts:
    found: Accounts = {}
    for row in answer.rows if answer else []:
        found.setdefault(row["bill_month"], []).append((row["source"], row["billing_account_id"]))
    return found


def _unknown_dollars(answers: dict[str, Answer], period: Period, currency: str) -> Iterator[str]:
    """What the month's total is without, because its dollars or their rate are not known."""
    reasons = {
        "bill_lines": ("bill line", "no exchange rate"),
        "gpu_hours": ("GPU-hour", "no cost, for want of an exchange rate"),
        "gpu_estimates": ("estimated GPU-hour", "no cost, for want of an exchange rate"),
        "calls": ("call", "no price"),
    }
    numbers: dict[str, Decimal] = {}
    for row in answers["missing"].rows if "missing" in answers else []:
        if row["bill_month"] == period.start:
            numbers[row["what"]] = numbers.get(row["what"], Decimal(0)) + row["item_count"]
    for what, number in numbers.items():
        noun, reason = reasons[what]
        is_one = number == 1
        yield f"{money.count(number)} {noun}{'' if is_one else 's'} {'has' if is_one else 'have'} {reason}"
    without_rate = [
        row["what"]
        for row in (answers["unconverted"].rows if "unconverted" in answers else [])
        if period.start in row["bill_months"]
    ]
    if without_rate:
        yield f"part of {', '.join(without_rate)} is of days without a rate to {currency}"


def _bounds(answers: dict[str, Answer]) -> dict[date, str]:
    """What is written before the total of each month that lacks dollars.

    It is a lower bound, unless what is missing is a credit.
    """
    lacking = [(row["bill_month"], row["amount"]) for row in (answers["missing"].rows if "missing" in answers else [])]
    for row in answers["unconverted"].rows if "unconverted" in answers else []:
        lacking += [(month, row["amount_usd"]) for month in row["bill_months"]]
    bounds: dict[date, str] = {}
    for month, amount in lacking:
        is_credit = amount is not None and amount < 0
        bounds[month] = "known:" if is_credit else bounds.get(month, "at least")
    return bounds


def _ask_all(publication: Publication, currency: str, time_zones: dict[str, str], period: Period) -> dict[str, Answer]:
    if currency != "USD" and "core.dim_fx_rates" not in publication.marts:
        raise QueryError(f"there are no exchange rates in the publication (core.dim_fx_rates), so none of {currency}.")
    regions = publication.ask("regions", {})
    values = {
        "currency": currency,
        "first_date": period.start,
        "last_date": period.end,
        # thirteen months: the same month of the year before stands in it
        "trend_date": period.start.replace(year=period.start.year - 1),
        "part_names": textwrap.fill(str(list(PART_LABELS)), 110, subsequent_indent="    "),
        "zones": zones_of((row["region"] for row in regions.rows), time_zones) if regions else {},
    }
    found = {name: publication.ask(name, values) for name in _QUESTIONS}
    if currency != "USD":
        found["unconverted"] = publication.ask("unconverted", values)
        rate = publication.ask("rate", values)
        if not rate:
            raise QueryError(
                f"core.dim_fx_rates has no {currency} rate of {period.start:%Y-%m}, so nothing can be shown in "
                f"{currency}. Bring in exchange rates (format ecb_rates), or use --currency USD."
            )
        found["rate"] = rate
    return {name: answer for name, answer in found.items() if answer}


def _month_names(months: Answer | None) -> dict[date, str]:
    """Each month, and from or up to which of its days there are data when that is not all."""
    spans: dict[date, tuple[date, date]] = {}
    for row in months.rows if months else []:
        start, first, last = row["month_start"], row["first_date"], row["last_date"]
        known = spans.get(start, (first, last))
        spans[start] = (max(first, known[0]), min(last, known[1]))
    names = {}
    for start in sorted({row["month_start"] for row in months.rows} if months else ()):
        first, last = spans[start]
        if first > last:
            days = ", in part"
        else:
            days = "" if (first, last) == (start, _month_end(start)) else f", {first.day}\N{EN DASH}{last.day}"
        names[start] = f"{start:%b %Y}{days}"
    return names


def _charts(answers: dict[str, Answer], symbol: str, month_names: dict[date, str]) -> dict[str, dict]:
    """The specification of each chart that has something to show, by name."""
    found: dict[str, dict] = {}
    if "bill" in answers:
        found["bill"] = charts.bill(answers["bill"].rows, PART_LABELS, symbol)
    if "trend" in answers:
        months = sorted({row["bill_month"] for row in answers["trend"].rows})
        if len(months) > 1:
            names = {month: month_names.get(month, f"{month:%b %Y}") for month in months}
            found["trend"] = charts.trend(answers["trend"].rows, names, symbol)
    if "tasks" in answers and any(row["p50_cost"] for row in answers["tasks"].rows):
        found["tails"] = charts.tails(answers["tasks"].rows, symbol)
    if "retries" in answers and any(row["failed_cost"] for row in answers["retries"].rows):
        found["retries"] = charts.stacked(answers["retries"].rows, "cause", RETRY_PARTS, symbol, CAUSES)
    if "idle" in answers and any(row["effective_cost"] for row in answers["idle"].rows):
        teams = [row for row in answers["idle"].rows if row["team_name"] is not None]
        found["idle"] = charts.stacked(teams, "team_name", IDLE_PARTS, symbol)
    if "utilisation" in answers:
        found["utilisation"] = charts.heat(answers["utilisation"].rows)
    return found


@cache
def _libraries() -> str:
    """Vega, Vega-Lite and the embedder in one script, so that the page needs no network."""
    import vl_convert

    return re.sub(r"</(script)", r"<\\/\1", vl_convert.javascript_bundle(), flags=re.IGNORECASE)


def _day(value: date) -> str:
    return f"{value.day} {value:%B %Y}"


def _days(first: date, last: date) -> str:
    """A range of days, without saying a month or year twice."""
    if first == last:
        return _day(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}\N{EN DASH}{_day(last)}"
    if first.year == last.year:
        return f"{first.day} {first:%B} \N{EN DASH} {_day(last)}"
    return f"{_day(first)} \N{EN DASH} {_day(last)}"


def _month_end(start: date) -> date:
    return start.replace(day=calendar.monthrange(start.year, start.month)[1])


def _month_name(value: date) -> str:
    return f"{value:%B %Y}"
