"""What is worth a message: what a run came to, sources that are silent, idle dollars, an old publication.

They are read from the run's outcome, the ledger and the publication; no number is computed that these do not have.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from pertask.errors import QueryError
from pertask.home import Home
from pertask.ingesting import NEW, new_rows

if TYPE_CHECKING:
    import duckdb

    from ingest.ledger import Batch
    from ingest.runner import BatchResult
    from pertask.config import Config

RUN_FAILED = "run_failed"
CHECK_FAILED = "check_failed"
WARNINGS = "warnings"
UNREAD = "unread_deliveries"
QUARANTINED = "quarantined"
STALE_SOURCE = "stale_source"
IDLE_DOLLARS = "idle_dollars"
STALE_PUBLICATION = "stale_publication"
"""Kinds of conditions; a condition is its kind, with ``:`` and a name where there can be several of the kind."""

_NAMED = 3
"""Names that a message lists; the rest is counted."""

STATUS = "pertask status"
_QUARANTINE = (
    "select source, contract, column_name, reason, count(*) as quarantined_rows, max(delivered_at) as last_delivered "
    "from quality.quarantined_rows group by all order by last_delivered desc, quarantined_rows desc"
)


@dataclass(frozen=True)
class Alert:
    """A condition that holds.

    Attributes:
        condition: its stable name, for instance ``stale_source:gateway``.
        what: what is wrong, a sentence without its full stop.
        where: the file, source, day or team.
        dollars_usd: the dollars concerned, USD; None when they are not known, and then ``no_dollars`` says why.
        look: the command that looks closer.
        no_dollars: why there is no amount.
        essence: text whose change makes the condition worth telling again; digits in it do not count.
    """

    condition: str
    what: str
    where: str
    dollars_usd: Decimal | None
    look: str
    no_dollars: str = ""
    essence: str = ""


@dataclass(frozen=True)
class Check:
    """A check that failed or warns.

    Attributes:
        name: its stable name, for instance ``core.fct_tasks.unique``.
        message: what is off, for people.
        dollars_usd: the dollars concerned; None when they are not known.
        look: the command that looks closer; empty where the logs have it.
    """

    name: str
    message: str
    dollars_usd: Decimal | None = None
    look: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a run, as its runner knows it.

    Attributes:
        succeeded: whether every step ran and every check passed.
        message: what failed, for people; empty when nothing did.
        failed_checks: the checks that failed.
        warnings: the checks that warn.
        deliveries: what became of each delivery; None when the run ingested nothing.
    """

    succeeded: bool
    message: str = ""
    failed_checks: tuple[Check, ...] = ()
    warnings: tuple[Check, ...] = ()
    deliveries: tuple[BatchResult, ...] | None = None


@dataclass(frozen=True)
class Situation:
    """The conditions that hold.

    Attributes:
        alerts: one for each condition, most urgent first.
        unjudged: kinds of conditions that may hold unseen, so that none of them counts as over.
        problems: a line for each thing that could not be looked at.
    """

    alerts: tuple[Alert, ...]
    unjudged: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()


def conditions(home: Home, config: Config, outcome: Outcome, now: datetime) -> Situation:
    """What holds at the end of a run.

    Args:
        home: the home that was run.
        config: its pertask.yml.
        outcome: what became of the run.
        now: the time, with its offset.
    """
    import duckdb

    from ingest.errors import LakeError
    from pertask.query import connect

    alerts = _of_the_run(home, config, outcome)
    unjudged: set[str] = set()
    problems: list[str] = []
    # What a failed run did not get to may still hold.
    if not outcome.succeeded:
        unjudged |= {CHECK_FAILED, WARNINGS, UNREAD, QUARANTINED}
    if outcome.deliveries is None:
        unjudged |= {UNREAD, QUARANTINED}
    elif not new_rows(outcome.deliveries)[1]:
        unjudged.add(QUARANTINED)
    try:
        alerts += _stale_sources(home, config, now)
    except (LakeError, OSError) as error:
        unjudged.add(STALE_SOURCE)
        problems.append(f"no source could be judged stale or not: {error}")
    if home.published_file.exists():
        try:
            with connect(home) as connection:
                idle, unrated = _idle_dollars(connection, config, now)
                alerts += [*(idle or []), *_old_publication(connection, home, config, now)]
            if idle is None:
                unjudged.add(IDLE_DOLLARS)
            if unrated:
                problems.append(unrated)
        except (QueryError, duckdb.Error) as error:
            unjudged |= {IDLE_DOLLARS, STALE_PUBLICATION}
            problems.append(f"the publication could not be looked at: {error}")
    return Situation(tuple({alert.condition: alert for alert in alerts}.values()), frozenset(unjudged), tuple(problems))


def _of_the_run(home: Home, config: Config, outcome: Outcome) -> list[Alert]:
    stays = "the last publication stays" if home.published_file.exists() else "nothing was published"
    where = f"{home.root}; {stays}"
    alerts = []
    if not outcome.succeeded:
        what = f"The run failed: {outcome.message or 'no reason was given'}"
        alerts.append(Alert(RUN_FAILED, what, where, None, STATUS, "a failed run has no amount", what))
    for check in outcome.failed_checks:
        alerts.append(
            Alert(
                f"{CHECK_FAILED}:{check.name}",
                f"The check {check.name} failed: {check.message}",
                where,
                check.dollars_usd,
                _look(home, check),
                "the check gives none",
                check.message,
            )
        )
    if outcome.warnings:
        alerts.append(_warnings(home, outcome.warnings))
    if outcome.deliveries:
        alerts += _unread(outcome.deliveries)
        alerts += _quarantined(outcome.deliveries, config.limits.quarantined_ratio)
    return alerts


def _look(home: Home, check: Check) -> str:
    return check.look or f"grep -A 5 {shlex.quote(check.name)} {shlex.quote(str(home.logs / 'dbt.log'))}"


def _warnings(home: Home, warnings: Sequence[Check]) -> Alert:
    """All warnings as one: they hold back nothing."""
    largest_first = sorted(warnings, key=lambda check: (-(check.dollars_usd or 0), check.name))
    known = [check.dollars_usd for check in warnings if check.dollars_usd is not None]
    unknown = len(warnings) - len(known)
    count = "1 check warns" if len(warnings) == 1 else f"{len(warnings):,} checks warn"
    return Alert(
        WARNINGS,
        count + (f"; {unknown:,} without an amount" if known and unknown else ""),
        _some([f"{check.name}: {check.message}" for check in largest_first]),
        sum(known, Decimal(0)) if known else None,
        _look(home, largest_first[0]),
        "the checks give none",
        " ".join(sorted(check.name for check in warnings)),
    )


def _unread(deliveries: Sequence[BatchResult]) -> list[Alert]:
    by_source: dict[str, list[BatchResult]] = {}
    for delivery in deliveries:
        by_source.setdefault(delivery.source, []).append(delivery)
    alerts = []
    for source, own in by_source.items():
        failed = [delivery for delivery in own if delivery.state == "failed"]
        if failed:
            alerts.append(
                Alert(
                    f"{UNREAD}:{source}",
                    f"{len(failed):,} of {len(own):,} deliveries of the source {source} could not be read",
                    _some([f"{delivery.name}: {delivery.message}" for delivery in failed]),
                    None,
                    "pertask ingest",
                    "what could not be read has no cost",
                )
            )
    return alerts


def _quarantined(deliveries: Sequence[BatchResult], limit: float) -> list[Alert]:
    quarantined, read = new_rows(deliveries)
    if not read or quarantined / read <= limit:
        return []
    by_source: dict[str, int] = {}
    for delivery in deliveries:
        if delivery.state in NEW and delivery.rows_quarantined:
            by_source[delivery.source] = by_source.get(delivery.source, 0) + delivery.rows_quarantined
    largest_first = sorted(by_source.items(), key=lambda item: (-item[1], item[0]))
    return [
        Alert(
            QUARANTINED,
            f"{quarantined:,} of {read:,} new rows were quarantined ({quarantined / read:.2%}), more than the limit of "
            f"{limit:.2%}",
            _some([f"{source}: {rows:,} rows" for source, rows in largest_first]),
            None,
            _query(_QUARANTINE),
            "what could not be read has no cost",
        )
    ]


def _stale_sources(home: Home, config: Config, now: datetime) -> list[Alert]:
    alerts = []
    for name, said in silences(home, config, now).items():
        source = config.sources[name]
        if said:
            alerts.append(
                Alert(
                    f"{STALE_SOURCE}:{name}",
                    f"The source {name} is stale: {said}; {source.stale_after_hours:,} hours are allowed",
                    str(home.root / source.path),
                    None,
                    STATUS,
                    "what has not come has no cost yet",
                )
            )
    return alerts


def silences(home: Home, config: Config, now: datetime) -> dict[str, str]:
    """How each source that says ``stale_after_hours`` has been silent for longer; empty for one that has not.

    It is judged by its last delivery and by the newest event in what it delivered.

    Raises:
        LakeError: the ledger cannot be read.
    """
    from pertask.status import batches

    watched = {name: source for name, source in config.sources.items() if source.stale_after_hours is not None}
    by_source: dict[str, list[Batch]] = {name: [] for name in watched}
    for batch in batches(home) if watched else []:
        if batch.source in watched:
            by_source[batch.source].append(batch)
    return {
        name: _silence(by_source[name], now, timedelta(hours=source.stale_after_hours))
        for name, source in watched.items()
    }


def _silence(own: Sequence[Batch], now: datetime, allowed: timedelta) -> str:
    """How a source has been silent for too long; empty when it has not."""
    if not own:
        return "it has delivered nothing yet"
    delivered_at = max(batch.came_at for batch in own)
    if now - delivered_at > allowed:
        return f"its last delivery is of {_moment(delivered_at)}, {_hours(now - delivered_at)} ago"
    event_times = [moment for batch in own if (moment := _newest_event_at(batch))]
    if event_times and now - max(event_times) > allowed:
        return f"it delivers, but nothing newer than {_moment(max(event_times))}, {_hours(now - max(event_times))} ago"
    return ""


def _newest_event_at(batch: Batch) -> datetime | None:
    """The latest time that its rows can speak of; None for what is undated. The ledger knows days, so a day's end.

    A delivery tells nothing of what comes after it, even where it holds a bill's line of a month that still runs.
    """
    newest = batch.newest_date
    if newest is None:
        return None
    return min(datetime.combine(newest + timedelta(days=1), time(), UTC), batch.came_at)


def _idle_dollars(
    connection: duckdb.DuckDBPyConnection, config: Config, now: datetime
) -> tuple[list[Alert] | None, str]:
    """Idle GPUs of the newest day whose hours are all there, and what of them has no dollars, for people.

    Days above the line in a row are one condition. There is no judgement (None) where there is no such day, or what
    is known of it is not above the line while some of it has no dollars.
    """
    from pertask.status import ask

    if config.alerts.idle_usd_per_day is None:
        return [], ""
    line = Decimal(str(config.alerts.idle_usd_per_day))
    rows = ask(
        connection,
        f"""
        with covered as (select max(hour_at) + interval 1 hour as covered_until from core.fct_gpu_hours),

        newest as (
            select max(usage_date) as usage_date from capacity.idle_dollars_daily
            where usage_date < date '{now.astimezone(UTC).date()}'
                and usage_date < (select cast(covered_until as date) from covered)
        )

        select
            usage_date,
            coalesce(team, 'no team') as team,
            sum(idle_usd) as idle_usd,
            sum(unknown_usd) as unknown_usd,
            bool_or(is_provisional) as is_provisional,
            count(*) filter (where idle_usd is null) as unrated_rows,
            count(*) as all_rows
        from capacity.idle_dollars_daily
        where usage_date = (select usage_date from newest)
        group by usage_date, coalesce(team, 'no team')
        order by idle_usd desc nulls last, team
        """,
    )
    if not rows:
        return None, ""
    day = rows[0][0]
    idle = sum((row[2] for row in rows if row[2] is not None), Decimal(0))
    unrated, count = sum(row[5] for row in rows), sum(row[6] for row in rows)
    if idle <= line:
        if not unrated:
            return [], ""
        return None, (
            f"idle dollars of {day} are not known for {unrated:,} of {count:,} rows of capacity.idle_dollars_daily: "
            "their bill has no exchange rate"
        )
    teams = [f"{row[1]} {row[2]:,.2f} USD" for row in rows if row[2]]
    unknown = sum((row[3] for row in rows if row[3] is not None), Decimal(0))
    notes = [f"by team: {_some(teams, ', ')}"]
    if unknown:
        notes.append(f"{unknown:,.2f} USD more are of hours without samples")
    if any(row[4] for row in rows):
        notes.append("provisional: the bill has not come")
    if unrated:
        notes.append(f"{unrated:,} of {count:,} rows more have no dollars, for want of an exchange rate")
    query = (
        "select team, service, region, gpu_model, purchase_mode, idle_usd, loaded_idle_usd, unallocated_usd, "
        f"effective_cost_usd, is_provisional from capacity.idle_dollars_daily where usage_date = '{day}' "
        "order by idle_usd desc"
    )
    return [
        Alert(
            IDLE_DOLLARS,
            f"Idle GPUs cost {idle:,.2f} USD on {day}, above the line of {line:,.2f} USD a day",
            "; ".join(notes),
            idle,
            _query(query),
        )
    ], ""


def _old_publication(connection: duckdb.DuckDBPyConnection, home: Home, config: Config, now: datetime) -> list[Alert]:
    from pertask.status import ask

    allowed = timedelta(hours=config.alerts.publication_stale_after_hours)
    for (published_at,) in ask(connection, "select published_at from main.publication"):
        age = now - published_at.replace(tzinfo=UTC)
        if age > allowed:
            return [
                Alert(
                    STALE_PUBLICATION,
                    f"What readers see is {_hours(age)} old: no run has published since {_moment(published_at)}",
                    str(home.published_file),
                    None,
                    STATUS,
                    "what is not published has no cost yet",
                )
            ]
    return []


def _query(sql: str) -> str:
    return f'pertask query "{sql}"'


def _some(names: Sequence[str], separator: str = "; ") -> str:
    more = [f"and {len(names) - _NAMED:,} more"] if len(names) > _NAMED else []
    return separator.join([*names[:_NAMED], *more])


def _moment(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M} UTC"


def _hours(value: timedelta) -> str:
    hours = int(value.total_seconds() // 3600)
    return "1 hour" if hours == 1 else f"{hours:,} hours"
