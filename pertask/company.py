"""company/*.csv: what a company says of itself, checked like any delivery and dated.

Each file is optional; without it, its table has no rows. Rows count from ``valid_from`` until before ``valid_to``,
both UTC dates; an empty one leaves that end open.
"""

from __future__ import annotations

import csv
import difflib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pertask.errors import ConfigError, did_you_mean
from pertask.home import Home

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FILES", "CompanyError", "CompanyFile", "load_company"]


class CompanyError(ConfigError):
    """Company files that are wrong; one line for each problem, with file, line and column."""


@dataclass(frozen=True)
class Column:
    """A column of a company file.

    Attributes:
        name: its header.
        about: meaning and unit, for the file's own documentation.
        kind: string, double, decimal (exact, up to 6 decimals), count (whole, 0 or more), bool or date.
        is_required: whether every row must fill it; the column may be left out otherwise.
        default: what an empty value means.
        check: returns what is wrong with a value, or nothing.
    """

    name: str
    about: str
    kind: str = "string"
    is_required: bool = False
    default: Any = None
    check: Callable[[Any], str] = field(default=lambda value: "")


@dataclass(frozen=True)
class CompanyFile:
    """One of the files.

    Attributes:
        name: its name without .csv.
        about: what it holds, for its own documentation.
        own_columns: its columns without the dates.
        key: the columns that identify a row on a day.
        example: a row.
        complete: fills what follows from the other columns of a row that is right by itself; yields (column, what is
            wrong) where they contradict each other.
        ignores_case: whether names that differ in capitals only are one.
    """

    name: str
    about: str
    own_columns: tuple[Column, ...]
    key: tuple[str, ...]
    example: str
    complete: Callable[[dict[str, Any]], Iterator[tuple[str, str]]] = field(default=lambda row: iter(()))
    ignores_case: bool = False

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns in the order of the file."""
        return (*self.own_columns, *_DATES)


def _one_of(*known: str) -> Callable[[str], str]:
    return lambda value: "" if value in known else f"{value!r} is not known.{did_you_mean(value, known)}"


def _within(least: float, most: float, words: str) -> Callable[[float], str]:
    return lambda value: "" if least <= value <= most else f"{value:g} is out of range: {words}."


def _below_one(value: Decimal) -> str:
    return "" if 0 <= value < 1 else f"{value} is out of range: a share from 0 to below 1, as 0.15 for 15 %."


def _price(value: Decimal) -> str:
    if value < 0:
        return f"{value} is out of range: 0 or more."
    return "" if value < _PRICE_LIMIT else f"{value} is out of range: less than {_PRICE_LIMIT:,} USD per million."


_PRICE_LIMIT = 10**12


def _time_of_day(value: str) -> str:
    if re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        return ""
    return f"{value!r} is no time of day. Write hours and minutes in UTC, as in 16:30."


def _complete_price(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The unit follows from the component; a price of some hours has both ends."""
    unit = _UNITS[row["component"]]
    if row["unit"] not in (None, unit):
        yield "unit", f"{row['component']} is counted in {unit}, not in {row['unit']}. Leave it empty."
    row["unit"] = unit
    if (row["daily_from"] is None) != (row["daily_to"] is None):
        empty = "daily_from" if row["daily_from"] is None else "daily_to"
        yield empty, "it is empty; a price of some hours of the day has both daily_from and daily_to."
    elif row["daily_from"] and row["daily_from"] == row["daily_to"]:
        yield "daily_to", "it is the same as daily_from. Leave both empty for a price of the whole day."


_UNITS = {
    **dict.fromkeys(
        (
            "input",
            "cache_read",
            "cache_write_5m",
            "cache_write_1h",
            "output",
            "reasoning",
            "audio_input",
            "audio_output",
            "image_input",
            "image_output",
        ),
        "token",
    ),
    "web_search": "call",
    "call": "call",
    "image": "image",
}
"""What the price book prices, each with the unit that it counts."""


def _match_on(value: str) -> str:
    known = ("resource_id", "namespace", "sub_account_id", "tag:<key>")
    if value in known[:-1] or re.fullmatch(r"tag:\S+", value):
        return ""
    return f"{value!r} is nothing to match on.{did_you_mean(value, known)}"


_DATES = (
    Column("valid_from", "first day on which the row counts (UTC); empty: since ever", "date"),
    Column("valid_to", "first day on which it no longer counts (UTC); empty: until further notice", "date"),
)

FILES = (
    CompanyFile(
        "teams",
        "Teams that calls and machines belong to.",
        (
            Column("team", "name as calls and owners.csv carry it", is_required=True),
            Column("display_name", "name for reports; empty: the team itself"),
            Column("owner", "whom to ask, such as a mail address"),
        ),
        ("team",),
        "support,Support desk,support-lead@example.com,,",
    ),
    CompanyFile(
        "task_types",
        "Kinds of task, and what may be done to make them cheaper.",
        (
            Column("task_type", "name as calls and tasks carry it", is_required=True),
            Column("display_name", "name for reports; empty: the task type itself"),
            Column("unit_noun", "what one task is called, such as ticket"),
            Column("workload_class", "interactive (somebody waits) or batch", check=_one_of("interactive", "batch")),
            Column(
                "latency_target_seconds",
                "seconds within which a task should be answered; empty: no target",
                "double",
                check=lambda value: "" if value > 0 else f"{value:g} is out of range: more than 0 seconds.",
            ),
            Column(
                "quality_tolerance_ratio",
                "share of quality that a cheaper way may lose, 0 to 1; empty: unknown",
                "double",
                check=_within(0, 1, "a share from 0 to 1"),
            ),
            Column("may_move", "whether its calls may run in another region: true or false; empty: unknown", "bool"),
        ),
        ("task_type",),
        "support_ticket,Support ticket,ticket,interactive,20,0.03,false,,",
    ),
    CompanyFile(
        "aliases",
        "Other names of a team, model or task type, as logs have them.",
        (
            Column("kind", "team, model or task_type", is_required=True, check=_one_of("team", "model", "task_type")),
            Column("alias", "the name in the logs", is_required=True),
            Column("name", "the name in the marts", is_required=True),
        ),
        ("kind", "alias"),
        "team,cust-support,support,,",
    ),
    CompanyFile(
        "owners",
        "Which team, and which service of it, owns which billed machines.",
        (
            Column(
                "match_on",
                "what is compared: resource_id, namespace, sub_account_id or tag:<key>",
                is_required=True,
                check=_match_on,
            ),
            Column("match_value", "the value that it must have", is_required=True),
            Column("team", "the owner", is_required=True),
            Column("service", "what the machines run for it, such as a product; empty: not told"),
        ),
        ("match_on", "match_value"),
        "namespace,assist,support,assistant,,",
    ),
    CompanyFile(
        "discounts",
        "What providers take off their list prices. Of two rows of one provider, the one that names the model counts.",
        (
            Column("provider", "who sends the invoice, such as openai or bedrock", is_required=True),
            Column("model", "model that the discount is for; empty: all of the provider's"),
            Column(
                "discount_ratio",
                "share that is taken off, 0 to below 1: 0.15 is 15 %",
                "decimal",
                is_required=True,
                check=_below_one,
            ),
        ),
        ("provider", "model"),
        "openai,,0.15,2026-07-01,",
        ignores_case=True,
    ),
    CompanyFile(
        "prices",
        "Prices of your own: negotiated rates, models and tools that the price book does not know, and what you "
        "decided on observed prices that are held back (`pertask prices list --held`). They go before every other "
        "price and are net: no discount is taken off them.",
        (
            Column("provider", "who sends the invoice, such as openai; tool for a tool", is_required=True),
            Column("model", "name by which the provider's API calls the model, or the tool's name", is_required=True),
            Column("region", "region of the request; empty: any"),
            Column(
                "service_tier",
                "standard, batch, flex or priority; empty: standard",
                default="standard",
                check=_one_of("standard", "batch", "flex", "priority"),
            ),
            Column(
                "context_above_tokens",
                "for requests with more tokens than this; empty or 0: for all",
                "count",
                default=0,
            ),
            Column(
                "context_rule",
                "> where the price begins above context_above_tokens, >= where it begins with them; empty: >",
                default=">",
                check=_one_of(">", ">="),
            ),
            Column(
                "context_counts",
                "which tokens are compared: input (all of it), uncached_input or cache_read; empty: input",
                default="input",
                check=_one_of("input", "uncached_input", "cache_read"),
            ),
            Column(
                "daily_from",
                "first minute of the day for which the price holds, HH:MM in UTC; empty: the whole day",
                check=_time_of_day,
            ),
            Column(
                "daily_to",
                "first minute for which it no longer does; before daily_from, it is of the next day",
                check=_time_of_day,
            ),
            Column(
                "component",
                "input (uncached), cache_read, cache_write_5m, cache_write_1h, output, reasoning, audio_input, "
                "audio_output, image_input, image_output, web_search (one search), call (one request) or image (one "
                "generated image)",
                is_required=True,
                check=_one_of(*_UNITS),
            ),
            Column(
                "unit", "token, call or image; empty: as the component has it", check=_one_of("token", "call", "image")
            ),
            Column(
                "usd_per_million",
                "USD for a million of the unit, exact; 0 is free",
                "decimal",
                is_required=True,
                check=_price,
            ),
            Column("origin", "where the price stands, such as a contract"),
        ),
        (
            "provider",
            "model",
            "region",
            "service_tier",
            "context_above_tokens",
            "context_rule",
            "context_counts",
            "daily_from",
            "daily_to",
            "component",
        ),
        "openai,gpt-5.6,,standard,0,>,input,,,input,token,4.25,contract of June 2026,2026-07-01,",
        complete=_complete_price,
        ignores_case=True,
    ),
)
"""The company's files, in the order in which people meet them."""


def load_company(home: Home) -> dict[str, pa.Table]:
    """Read and check every company file.

    Returns:
        A table by name for each of FILES, its columns in the order declared there; no rows where there is no file.

    Raises:
        CompanyError: some file is wrong; the message has a line for each problem of all files.
    """
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "double": pa.float64(),
        "decimal": pa.decimal128(18, 6),
        "count": pa.int64(),
        "bool": pa.bool_(),
        "date": pa.date32(),
    }
    problems = list(_misnamed(home.company))
    tables = {}
    for file in FILES:
        reader = _FileReader(home.company / f"{file.name}.csv", file)
        rows = reader.read()
        problems.extend(reader.problems)
        if not problems:
            schema = pa.schema([(column.name, types[column.kind]) for column in file.columns])
            tables[file.name] = pa.Table.from_pylist(rows, schema=schema)
    if problems:
        raise CompanyError("\n".join(problems))
    return tables


def _misnamed(folder: Path) -> Iterator[str]:
    """A file whose name is nearly right would otherwise be passed over without a word."""
    known = [f"{file.name}.csv" for file in FILES]
    for path in sorted(folder.glob("*.csv")):
        near = difflib.get_close_matches(path.name, known, 1, 0.8)
        if path.name not in known and near:
            yield f"{path}: a file of this name is not read. Rename it to {near[0]}, or move it out of {folder.name}/."


class _FileReader:
    """Reads one file and collects what is wrong with it."""

    def __init__(self, path: Path, file: CompanyFile) -> None:
        self.path = path
        self.file = file
        self.problems: list[str] = []

    def read(self) -> list[dict[str, Any]]:
        """Its rows with typed values; only to be used when there are no problems."""
        if not self.path.exists():
            return []
        try:
            with open(self.path, encoding="utf-8-sig", newline="") as text:
                return self._rows(csv.reader(text, strict=True))
        except UnicodeDecodeError as error:
            self.problems.append(
                f"{self.path}: not UTF-8 text ({error.reason} at byte {error.start}). Save it as CSV UTF-8."
            )
        except OSError as error:
            self.problems.append(f"{self.path}: cannot be read ({error.strerror}).")
        return []

    def _rows(self, reader: Any) -> list[dict[str, Any]]:
        rows: list[tuple[int, dict[str, Any]]] = []
        header: list[str] | None = None
        line = 1
        try:
            for cells in reader:
                values = [cell.strip() for cell in cells]
                if header is None:
                    header = values
                    if not self._is_good_header(header):
                        return []
                elif len(values) not in (0, len(header)):
                    self._problem(line, f"{len(values)} values, and the header has {len(header)} columns.")
                elif any(values):
                    rows.append((line, self._typed(line, dict(zip(header, values, strict=True)))))
                line = reader.line_num + 1
        except csv.Error as error:
            self._problem(line, f"not valid CSV: {error}. Close every quote.")
        if header is None:
            self._problem(1, f"the file is empty. Its first line is {','.join(_names(self.file))}")
        if not self.problems:
            self._check_overlaps(rows)
        return [row for _, row in rows]

    def _is_good_header(self, header: list[str]) -> bool:
        known = _names(self.file)
        before = len(self.problems)
        for number, name in enumerate(header):
            if name not in known:
                hint = did_you_mean(name, known)
                if ";" in name or "\t" in name:
                    hint = " Separate the columns with commas."
                self._problem(1, f"there is no column {name!r}.{hint}")
            elif name in header[:number]:
                self._problem(1, f"column {name} is there twice. Remove one.")
        missing = [column.name for column in self.file.columns if column.is_required and column.name not in header]
        if missing and len(self.problems) == before:
            self._problem(1, f"column {', '.join(missing)} is missing. Add it to the header and to every row.")
        return len(self.problems) == before

    def _typed(self, line: int, texts: dict[str, str]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        before = len(self.problems)
        for column in self.file.columns:
            text = texts.get(column.name, "")
            row[column.name] = column.default
            if not text:
                if column.is_required:
                    self._problem(line, f"it is empty; every row needs it: {column.about}.", column.name)
                continue
            try:
                value = _PARSERS[column.kind](text)
            except ValueError:
                self._problem(line, f"{text!r} is {_EXPECTED[column.kind]}", column.name)
                continue
            wrong = column.check(value)
            if wrong:
                self._problem(line, wrong, column.name)
            row[column.name] = value
        start, end = row["valid_from"], row["valid_to"]
        if start and end and end <= start:
            self._problem(
                line, f"{end} is not after valid_from {start}: it is the first day that no longer counts.", "valid_to"
            )
        if len(self.problems) == before:
            for name, wrong in self.file.complete(row):
                self._problem(line, wrong, name)
        return row

    def _check_overlaps(self, rows: list[tuple[int, dict[str, Any]]]) -> None:
        """One key has one row on each day."""
        by_key: dict[tuple, list[tuple[int, dict[str, Any]]]] = {}
        for line, row in rows:
            key = tuple("" if row[name] is None else str(row[name]) for name in self.file.key)
            by_key.setdefault(tuple(map(str.lower, key)) if self.file.ignores_case else key, []).append((line, row))
        for key, same in by_key.items():
            same.sort(key=lambda numbered: (numbered[1]["valid_from"] or date.min, numbered[0]))
            for (earlier_line, earlier), (line, row) in pairwise(same):
                if (earlier["valid_to"] or date.max) > (row["valid_from"] or date.min):
                    self._problem(
                        line,
                        f"{' '.join(filter(None, key))} is valid on the same days in line {earlier_line}. End the one "
                        "where the other begins (valid_to is the first day that no longer counts), or remove one.",
                        "valid_from",
                    )

    def _problem(self, line: int, text: str, column: str = "") -> None:
        where = f" {column}:" if column else ""
        self.problems.append(f"{self.path}:{line}:{where} {text}")


def _names(file: CompanyFile) -> list[str]:
    return [column.name for column in file.columns]


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _exact(text: str) -> Decimal:
    """A decimal of the file's 12 digits before and 6 after the point; what has more is refused, never rounded."""
    if not re.fullmatch(r"[-+]?[0-9.]+([eE][-+]?[0-9]{1,2})?", text):
        raise ValueError(text)
    try:
        value = Decimal(text)
        if value != value.quantize(Decimal("0.000001")) or abs(value) >= _PRICE_LIMIT * 10:
            raise ValueError(text)
    except InvalidOperation as error:
        raise ValueError(text) from error
    return value


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_PARSERS: dict[str, Callable[[str], Any]] = {
    "string": str,
    "double": _number,
    "decimal": _exact,
    "count": _count,
    "bool": _boolean,
    "date": date.fromisoformat,
}
_EXPECTED = {
    "double": "not a number. Write it with a point, without unit or thousands separators, as in 0.05.",
    "decimal": "not a number with up to 6 decimals. Write it with a point, without unit or thousands separators, as in "
    "0.05.",
    "count": "not a whole number, 0 or more. Write it without thousands separators, as in 200000.",
    "bool": "neither true nor false.",
    "date": "not a date. Write year, month and day, as in 2026-08-31.",
}
