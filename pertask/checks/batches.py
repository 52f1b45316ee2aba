"""The first gate: what deliveries brought, against what their source usually brings.

What a row must be is checked where it is read (ingest quarantines it) and what tables must add up to by dbt. Here the
question is whether a day of a source looks like the days before it: rows, nulls, values and categories. It is compared
with the same weekdays before it, so that a quiet Sunday is no news. Faults of the data warn; ``limits.blocking`` of
pertask.yml makes them block.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pertask.checks import site
from pertask.checks.profiles import OTHERS, PROFILED, Profiled, refresh
from pertask.checks.results import CheckResult, CheckSpec
from pertask.checks.suites import PLACE, Failure, Rule, Suite, run
from pertask.home import Home
from publish.publication import literal

if TYPE_CHECKING:
    import polars as pl

    from pertask.config import Config, Limits

GATE = "batches"

MIN_HISTORY = 3
"""Fewer earlier days of the same weekday say nothing of what is usual."""
MAX_HISTORY = 8
"""Earlier days of the same weekday that count: older ones say little of today."""
MIN_CATEGORY_DAYS = 7
CATEGORY_DAYS = 35
"""A value is new when the source had days in the five weeks before, a month's first among them, and it on none."""
CHANCE = 4
"""Standard deviations by which chance alone moves a count; a change within them is no news."""
NOTABLE_SHARE = 0.05
"""Share of a day's rows below which a value may vanish without a word."""
NEW_SHARE = 0.01
"""Share of a day's rows below which a value may appear without a word."""
FIRST_LOAD_DAYS = 14
"""Newest days that are judged of a source's first load; the rest is history that they are compared with."""
_MAX_PLACES = 5

_ABOUT = {
    "row_count": "Rows of a day against the same weekdays before.",
    "null_ratio": "Share of rows without a value against the same weekdays before.",
    "range": "Rows with values that cannot be right.",
    "categories": "Values that are new, vanished, or took over.",
}


class _Count(NamedTuple):
    """Rows, and what they cost; null without a cost, or in several currencies."""

    rows: int = 0
    amount: Decimal | None = None


@dataclass(frozen=True)
class Day:
    """What a source brought for one day; amounts are what its rows cost, in ``currency`` where that is one."""

    source: str
    day: date
    row_count: int
    amount: Decimal | None
    currency: str | None
    nulls: dict[str, _Count] = field(default_factory=dict)
    ranges: dict[str, _Count] = field(default_factory=dict)
    categories: dict[str, dict[str, _Count]] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The day as results name it."""
        return f"{self.source} {self.day}"

    def share(self, column: str, value: str) -> float:
        """Share of the rows that have a value."""
        return self.categories.get(column, {}).get(value, _Count()).rows / self.row_count

    def null_ratio(self, name: str) -> float:
        """Share of the rows without a value."""
        return self.nulls.get(name, _Count()).rows / self.row_count

    def worth(self, amount: Decimal | None) -> str:
        """An amount for people; nothing where it is not known."""
        return f", worth {amount:,.2f} {self.currency}" if amount is not None and self.currency else ""


def specs() -> list[CheckSpec]:
    """The checks of this gate."""
    return [
        CheckSpec(("lake", profiled.contract), check, "warn", _ABOUT[check])
        for profiled in PROFILED.values()
        for check in _checks(profiled)
    ]


def _checks(profiled: Profiled) -> list[str]:
    return [
        *(["row_count"] if profiled.counts_rows else []),
        *(["null_ratio"] if profiled.nulls else []),
        *(["range"] if profiled.ranges else []),
        *(["categories"] if profiled.categories else []),
    ]


def check_batches(home: Home, config: Config) -> list[CheckResult]:
    """Check what the snapshot holds that the last successful build has not seen.

    A day of a source is compared when a delivery of after its end has come; until then it may still grow.

    Returns:
        One result for each of ``specs``; they pass where nothing new came, without importing Great Expectations.
    """
    new = _new_deliveries(home)
    profiles = refresh(home) if new else {}
    judged: dict[str, dict[str, _Judged]] = {}
    for contract, profiled in PROFILED.items():
        of_contract = {source: delivered for (name, source), delivered in new.items() if name == contract}
        days = _days(profiles[contract]) if of_contract else {}
        judged[contract] = {found.day.place: found for found in _judged(profiled, days, of_contract)}
    suites = [
        Suite(
            contract,
            [_row(profiled, found, config.limits) for found in judged[contract].values()],
            _rules(profiled, config.limits),
        )
        for contract, profiled in PROFILED.items()
    ]
    failures = defaultdict(list)
    is_checked = any(suite.rows for suite in suites)
    if is_checked:
        for failure in run(suites, site.folder(home, GATE)):
            failures[failure.suite, failure.rule.check].append(failure)
    results = [
        _result(home, spec, judged[spec.asset[1]], failures[spec.asset[1], spec.check], config.limits)
        for spec in specs()
    ]
    if is_checked:
        site.write(home, GATE, results)
    return results


@dataclass(frozen=True)
class _Judged:
    """A day, the earlier days of its weekday, and all days of the weeks before."""

    day: Day
    history: list[Day]
    recent: list[Day]

    @property
    def is_known(self) -> bool:
        return len(self.history) >= MIN_HISTORY


@dataclass(frozen=True)
class _Deliveries:
    """What came of a source and contract.

    Attributes:
        until: when the newest delivery came: a day that was over by then is whole.
        last_until: the same at the last successful build; None where the source had brought nothing.
        spans: first and last day of each file that the last build had not read.
    """

    until: datetime
    last_until: datetime | None
    spans: tuple[tuple[date, date], ...]

    def is_whole(self, day: date, profiled: Profiled) -> bool:
        """Whether no more rows of a day are to come."""
        return not profiled.day or _whole_at(day, profiled) <= self.until

    def is_new(self, day: date, profiled: Profiled) -> bool:
        """Whether a day has other rows than at the last build, or could not be judged then."""
        if any(first <= day <= last for first, last in self.spans):
            return True
        if not profiled.day or self.last_until is None:
            return False
        return self.last_until < _whole_at(day, profiled) <= self.until


def _whole_at(day: date, profiled: Profiled) -> datetime:
    return datetime.combine(day, time(), UTC) + timedelta(days=1 + profiled.settles_days)


def _new_deliveries(home: Home) -> dict[tuple[str, str], _Deliveries]:
    """By contract and source; nothing where all is as at the last successful build."""
    import polars as pl

    def read(folder: Path, name: str) -> pl.DataFrame:
        path = folder / f"{name}.parquet"
        frame = pl.read_parquet(path if path.exists() else home.snapshot / f"{name}.parquet")
        return frame.filter(pl.col("change") != "removed") if path.exists() else frame.clear()

    def until(batches: pl.DataFrame) -> dict[tuple[str, str], datetime]:
        newest = batches.group_by("contract", "source").agg(pl.col("delivered_at").max())
        return {(contract, source): moment for contract, source, moment in newest.iter_rows()}

    batches, last_batches = read(home.snapshot, "batches"), read(home.last_snapshot, "batches")
    last_files = read(home.last_snapshot, "files")
    files = read(home.snapshot, "files").join(
        batches.select("batch_id", "contract", "source", "delivered_at"), on=["batch_id", "contract"]
    )
    new_files = files.filter(~pl.col("path").is_in(last_files["path"].to_list()))
    spans = defaultdict(list)
    for row in new_files.iter_rows(named=True):
        delivered = row["delivered_at"].date()
        is_dated = row["contract"] in PROFILED and PROFILED[row["contract"]].day
        first = (row["usage_date"] or row["min_date"] or date.min) if is_dated else delivered
        last = (row["usage_date"] or row["max_date"] or date.max) if is_dated else delivered
        spans[row["contract"], row["source"]].append((first, last))
    last_until = until(last_batches)
    return {
        place: _Deliveries(moment, last_until.get(place), tuple(spans[place]))
        for place, moment in until(batches).items()
        if place[0] in PROFILED and (spans[place] or moment != last_until.get(place))
    }


def _judged(profiled: Profiled, days: dict[tuple[str, date], Day], deliveries: dict[str, _Deliveries]) -> list[_Judged]:
    """The days of a contract to judge; of one that is not over only its ranges are."""
    found = []
    for source, delivered in sorted(deliveries.items()):
        new = sorted(when for name, when in days if name == source and delivered.is_new(when, profiled))
        over = [when for when in new if delivered.is_whole(when, profiled)]
        if delivered.last_until is None:
            over = over[-FIRST_LOAD_DAYS:]
            new = [when for when in new if when >= over[0]] if over else new
        for when in new:
            day = days[source, when]
            is_over = when in over
            found.append(_Judged(day, _history(days, day) if is_over else [], _recent(days, day) if is_over else []))
    return found


def _days(profile: pl.DataFrame) -> dict[tuple[str, date], Day]:
    days: dict[tuple[str, date], Day] = {}
    rows = [row for row in profile.iter_rows(named=True) if row["kind"] != "sum"]
    for row in rows:
        if row["kind"] == "rows":
            days[row["source"], row["day"]] = Day(
                row["source"], row["day"], row["row_count"], row["high"], row["value"]
            )
    for row in rows:
        day = days[row["source"], row["day"]]
        count = _Count(row["row_count"], row["high"])
        if row["kind"] == "null":
            day.nulls[row["name"]] = count
        elif row["kind"] == "range":
            day.ranges[row["name"]] = count
        elif row["kind"] == "category":
            day.categories.setdefault(row["name"], {})[row["value"]] = count
    return days


def _history(days: dict[tuple[str, date], Day], day: Day) -> list[Day]:
    weeks = [(day.source, day.day - timedelta(weeks=number)) for number in range(1, MAX_HISTORY + 1)]
    return [days[place] for place in weeks if place in days]


def _recent(days: dict[tuple[str, date], Day], day: Day) -> list[Day]:
    before = [(day.source, day.day - timedelta(days=number)) for number in range(1, CATEGORY_DAYS + 1)]
    return [days[place] for place in before if place in days]


def _row(profiled: Profiled, judged: _Judged, limits: Limits) -> dict[str, Any]:
    """What Great Expectations sees of a day: counts and shares, and between what they should be."""
    day = judged.day
    row: dict[str, Any] = {PLACE: day.place, "row_count": day.row_count}
    if profiled.counts_rows:
        least, most = _row_bounds(judged, limits)
        row |= {"row_count_at_least": least, "row_count_at_most": most}
    for name in profiled.nulls:
        row[f"{name}_null_ratio"] = day.null_ratio(name)
        row[f"{name}_null_ratio_at_most"] = _null_bound(judged, name, limits)
    for name in profiled.ranges:
        row[name] = day.ranges.get(name, _Count()).rows
    for column in profiled.categories:
        row[f"{column}_new_values"] = len(_new_values(judged, column))
        row[f"{column}_vanished_values"] = len(_vanished_values(judged, column))
        row[f"{column}_share_moved"] = max((move for _, move in _moves(judged, column)), default=0.0)
    return row


def _rules(profiled: Profiled, limits: Limits) -> list[Rule]:
    def rule(check: str, column: str, bound: float | str, about: str, is_floor: bool = False) -> Rule:
        return Rule(check, column, bound, "error" if check in limits.blocking else "warn", about, is_floor)

    rules = []
    if profiled.counts_rows:
        about = "the median of the same weekdays before, less or more by limits.row_count_change_ratio"
        rules.append(rule("row_count", "row_count", "row_count_at_least", about, is_floor=True))
        rules.append(rule("row_count", "row_count", "row_count_at_most", about))
    for name in profiled.nulls:
        about = f"{name}: the usual share of nulls and limits.null_ratio_change"
        rules.append(rule("null_ratio", f"{name}_null_ratio", f"{name}_null_ratio_at_most", about))
    rules += [rule("range", name, 0, name.replace("_", " ")) for name in profiled.ranges]
    for column in profiled.categories:
        rules.append(
            rule("categories", f"{column}_new_values", 0, f"values of {column} that the five weeks before did not have")
        )
        rules.append(rule("categories", f"{column}_vanished_values", 0, f"frequent values of {column} are still there"))
        about = f"the largest move of a value's share of {column}; limits.category_share_change"
        rules.append(rule("categories", f"{column}_share_moved", limits.category_share_change, about))
    return rules


def _usual_rows(judged: _Judged) -> float:
    return statistics.median(day.row_count for day in judged.history)


def _row_bounds(judged: _Judged, limits: Limits) -> tuple[float | None, float | None]:
    """Least and most rows: off by the limit (half of the usual is as far off as twice), and beyond chance."""
    if not judged.is_known:
        return None, None
    usual = _usual_rows(judged)
    deviation = 1.4826 * statistics.median(abs(day.row_count - usual) for day in judged.history)
    chance = CHANCE * max(sqrt(usual), deviation)
    kept = 1 - limits.row_count_change_ratio
    return min(usual * kept, usual - chance), max(usual / kept, usual + chance)


def _usual_nulls(judged: _Judged, name: str) -> float:
    return statistics.median(day.null_ratio(name) for day in judged.history)


def _null_bound(judged: _Judged, name: str, limits: Limits) -> float | None:
    if not judged.is_known:
        return None
    usual = _usual_nulls(judged, name)
    return usual + max(limits.null_ratio_change, CHANCE * _chance(usual, judged.day.row_count))


def _chance(share: float, count: int) -> float:
    """Standard deviation of a share among so many rows."""
    return sqrt(share * (1 - share) / count)


def _new_values(judged: _Judged, column: str) -> list[str]:
    if len(judged.recent) < MIN_CATEGORY_DAYS:
        return []
    known = {value for day in judged.recent for value in day.categories.get(column, {})}
    values = judged.day.categories.get(column, {})
    return [value for value in values if value not in known | {OTHERS} and judged.day.share(column, value) > NEW_SHARE]


def _usual_shares(judged: _Judged, column: str) -> dict[str, float]:
    if not judged.is_known:
        return {}
    values = {value for day in judged.history for value in day.categories.get(column, {})} - {OTHERS}
    return {value: statistics.median(day.share(column, value) for day in judged.history) for value in sorted(values)}


def _vanished_values(judged: _Judged, column: str) -> list[str]:
    return [
        value
        for value, share in _usual_shares(judged, column).items()
        if share >= NOTABLE_SHARE
        and share > CHANCE * _chance(share, judged.day.row_count)
        and not judged.day.share(column, value)
    ]


def _moves(judged: _Judged, column: str) -> list[tuple[str, float]]:
    """Values whose share is another than usual, beyond chance, and by how much; a vanished one is told as such."""
    vanished = _vanished_values(judged, column)
    found = []
    for value, share in _usual_shares(judged, column).items():
        move = abs(judged.day.share(column, value) - share)
        if value not in vanished and move > CHANCE * _chance(share, judged.day.row_count):
            found.append((value, move))
    return found


def _result(
    home: Home, spec: CheckSpec, judged: dict[str, _Judged], failures: list[Failure], limits: Limits
) -> CheckResult:
    severity = "error" if spec.check in limits.blocking else spec.severity
    observed: dict[str, int | float | str] = {"days_checked": len(judged), "days_failed": 0}
    if not judged:
        return CheckResult(spec.asset, spec.check, severity, True, "Nothing new to check.", observed)
    unknown = [found for found in judged.values() if not found.is_known]
    if spec.check != "range":
        observed["days_without_history"] = len(unknown)
    if not failures:
        source_count = len({found.day.source for found in judged.values()})
        told = f"As usual: {_number(len(judged), 'day')} of {_number(source_count, 'source')}."
        if spec.check != "range" and unknown:
            told += (
                f" Not enough history for {len(unknown)} of them: fewer than {MIN_HISTORY} earlier days of the weekday,"
                " or not over yet."
            )
        return CheckResult(spec.asset, spec.check, severity, True, told, observed)
    by_place: dict[str, list[Rule]] = defaultdict(list)
    for failure in failures:
        by_place[failure.place].append(failure.rule)
    # the newest first: they are what somebody can still mend
    places = sorted(by_place, key=lambda place: (judged[place].day.day, place), reverse=True)
    lines = []
    for place in places[:_MAX_PLACES]:
        told = "; ".join(_tell(judged[place], rule) for rule in by_place[place])
        lines.append(f"{place}: {told}. Look closer: {_query(home, spec, judged[place].day)}")
    if len(places) > _MAX_PLACES:
        lines.append(f"and {_number(len(places) - _MAX_PLACES, 'more day')}: {site.page(home, GATE, spec.asset[1])}")
    observed["days_failed"] = len(places)
    return CheckResult(spec.asset, spec.check, severity, False, "\n".join(lines), observed)


def _tell(judged: _Judged, rule: Rule) -> str:
    """What is off, by how much, and what it is worth."""
    day = judged.day
    if rule.check == "row_count":
        usual = _usual_rows(judged)
        told = f"{day.row_count:,} rows, on a {day.day:%A} usually {usual:,.0f} ({day.row_count / usual - 1:+.0%})"
        amounts = [other.amount for other in judged.history if other.currency == day.currency]
        if day.worth(day.amount) and amounts and None not in amounts:
            told += f"{day.worth(day.amount)} instead of {statistics.median(amounts):,.2f}"
        return told
    if rule.check == "null_ratio":
        name = rule.column.removesuffix("_null_ratio")
        told = f"{name} is null in {day.null_ratio(name):.1%} of {day.row_count:,} rows"
        return f"{told}, usually in {_usual_nulls(judged, name):.1%}{day.worth(day.nulls[name].amount)}"
    if rule.check == "range":
        count = day.ranges[rule.column]
        return f"{count.rows:,} of {day.row_count:,} rows: {rule.about}{day.worth(count.amount)}"
    if rule.column.endswith("_new_values"):
        column = rule.column.removesuffix("_new_values")
        values = _new_values(judged, column)
        counts = [day.categories[column][value] for value in values]
        amounts = [count.amount for count in counts]
        worth = day.worth(None if None in amounts else sum(amounts))
        return f"new in {column}: {_listed(values)}, {sum(count.rows for count in counts):,} rows{worth}"
    if rule.column.endswith("_vanished_values"):
        column = rule.column.removesuffix("_vanished_values")
        return f"vanished from {column}: {_listed(_vanished_values(judged, column))}"
    column = rule.column.removesuffix("_share_moved")
    value, _ = max(_moves(judged, column), key=lambda move: move[1])
    worth = day.worth(day.categories[column].get(value, _Count()).amount)
    usual = _usual_shares(judged, column)[value]
    return f"{_listed([value])} has {day.share(column, value):.0%} of the rows in {column}, usually {usual:.0%}{worth}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _listed(values: list[str]) -> str:
    """Values of a category for a line of text: a few, and none of them long."""
    told = ", ".join(value if len(value) <= 40 else f"{value[:37]}..." for value in values[:3])
    return f"{told} and {len(values) - 3} more" if len(values) > 3 else told


def _query(home: Home, spec: CheckSpec, day: Day) -> str:
    """A query of the lake: the marts that readers have do not hold the rows yet."""
    contract = spec.asset[1]
    profiled = PROFILED[contract]
    pattern = f"usage_date={day.day}/*.parquet" if profiled.day == "usage_date" else "*.parquet"
    path = literal(f"{home.lake}/{contract}/{pattern}")
    when = f" and {profiled.day} = '{day.day}'" if profiled.day and profiled.day != "usage_date" else ""
    return f"from read_parquet({path}) where source = {literal(day.source)}{when}"
