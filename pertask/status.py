"""The state of a home: what came in, what was set aside, how much is covered, what is old, what may still change.

It reads the ledger, the quarantine and the published file, and writes nothing.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from ingest.ledger import Batch, read_ledger
from pertask.config import load_config
from pertask.errors import QueryError
from pertask.home import Home
from pertask.query import connect
from pertask.screen import print_table
from publish.publication import history, withdrawn_builds

if TYPE_CHECKING:
    import duckdb

_LAST_BATCHES = 10
_QUARANTINE_LINES = 20


def print_status(home: Home, console: Console) -> None:
    """Print the state of a home, also of one that holds nothing yet.

    Raises:
        ConfigError: pertask.yml is wrong.
        LakeError: the ledger cannot be read.
    """
    config = load_config(home, with_mappings=False)
    deliveries = batches(home)
    console.print(Text(f"home {home.root}"))
    _print_deliveries(console, deliveries)
    _print_sources(console, deliveries, [absent.source for absent in config.undelivered(home)])
    _print_quarantine(console, home, deliveries)
    _print_last_run(console, home)
    _print_publication(console, home, deliveries)


def ask(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple]:
    """Rows of the published marts; none where the publication is of a version without that mart or column."""
    import duckdb

    try:
        return connection.execute(sql).fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):
        return []


COVERAGE = """
select 'priced' as what, count(cost_usd) as covered, count(*) as attempts
from core.fct_call_attempts where cost_basis != 'duplicate' having count(*) > 0
"""
TAG_COVERAGE = """
select 'with ' || replace(field, '_', ' '), sum(tagged_attempts), sum(attempts)
from quality.tag_coverage_daily group by field having sum(attempts) > 0
order by sum(tagged_attempts) / sum(attempts) desc, field
"""
_PROVISIONAL = """
select min(usage_date), max(usage_date), count(distinct usage_date), sum(effective_cost_usd)
from capacity.idle_dollars_daily where is_provisional having count(*) > 0
"""


def coverage_lines(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    """Share of calls that have a price, and each tag: what, share, and the two numbers behind it."""
    rows = [*ask(connection, COVERAGE), *ask(connection, TAG_COVERAGE)]
    return [(what, f"{covered / total:.1%}", f"{covered:,} of {total:,}") for what, covered, total in rows]


def batches(home: Home) -> list[Batch]:
    """Committed deliveries, newest first. A home without a lake gets none by being looked at."""
    return sorted(read_ledger(home.lake).values(), key=lambda batch: batch.committed_at, reverse=True)


def _print_deliveries(console: Console, batches: list[Batch]) -> None:
    _head(console, f"Deliveries: {len(batches):,} in the lake" if batches else "Deliveries: none yet")
    if not batches:
        console.print("  pertask ingest PATH reads one; sources for every day go into pertask.yml.")
        return
    rows = []
    for batch in batches[:_LAST_BATCHES]:
        counts = batch.counts.values()
        files = batch.files[0].name + (f" and {len(batch.files) - 1} more" if len(batch.files) > 1 else "")
        rows.append(
            (
                _moment(batch.committed_at),
                batch.source,
                batch.format,
                f"{sum(count.rows_loaded for count in counts):,}",
                f"{sum(count.rows_quarantined for count in counts):,}",
                f"{sum(count.rows_skipped for count in counts):,}",
                files,
            )
        )
    columns = ("came in (UTC)", "source", "format", ">rows loaded", ">quarantined", ">skipped", "file")
    print_table(console, columns, rows)


def _print_sources(console: Console, batches: list[Batch], undelivered: list[str]) -> None:
    """When each source delivered last, and how far its events reach; what reaches least far comes first."""
    delivered: dict[str, datetime] = {}
    newest: dict[str, date] = {}
    for batch in batches:
        delivered[batch.source] = max(batch.delivered_at, delivered.get(batch.source, batch.delivered_at))
        day = batch.newest_date
        if day:
            newest[batch.source] = max(day, newest.get(batch.source, day))
    today = datetime.now(UTC).date()
    # The line of a bill for a whole month ends in the future while the month runs.
    rows = [
        (source, f"{delivered[source].date()}", day, f"{max(0, (today - day).days):,}")
        for source, day in sorted(newest.items(), key=lambda item: (item[1], item[0]))
    ]
    rows += [(source, f"{delivered[source].date()}", "undated", "") for source in sorted(delivered.keys() - newest)]
    rows += [(source, "nothing yet", "", "") for source in undelivered if source not in delivered]
    if rows:
        _head(console, "Sources")
        print_table(console, ("source", "last delivery", "newest event", ">days ago"), rows)


def _print_quarantine(console: Console, home: Home, batches: list[Batch]) -> None:
    total = sum(count.rows_quarantined for batch in batches for count in batch.counts.values())
    if not batches:
        return
    _head(console, f"Quarantine: {total:,} rows" if total else "Quarantine: empty")
    if not total:
        return
    rows = _quarantine_reasons(home.lake, batches)
    print_table(
        console,
        ("source", "contract", "column", "reason", ">rows", "first delivered", "last delivered", "for example"),
        rows[:_QUARANTINE_LINES],
    )
    if len(rows) > _QUARANTINE_LINES:
        console.print(f"  and {len(rows) - _QUARANTINE_LINES:,} more reasons, in quality.quarantined_rows")


def _quarantine_reasons(lake: Path, batches: list[Batch]) -> list[tuple]:
    """Reasons by source, most rows first. From the lake, not the publication: a reason is wanted before a build."""
    import duckdb

    delivered = {batch.batch_id: batch.delivered_at.date() for batch in batches}
    parts = [str(lake / part.path) for batch in batches for part in batch.parts if part.contract == "quarantined_rows"]
    with duckdb.connect() as connection:
        found = connection.execute(
            """
            select
                source, contract, column_name, reason, count(*), list(distinct batch_id),
                min(file_name || coalesce(':' || line_number, ''))
            from read_parquet(?, union_by_name = true)
            group by all order by count(*) desc, source, contract, column_name, reason
            """,
            [parts],
        ).fetchall()
    rows = []
    for source, contract, column, reason, count, batch_ids, example in found:
        days = [delivered[batch_id] for batch_id in batch_ids]
        rows.append((source, contract, column, reason, f"{count:,}", min(days), max(days), example))
    return rows


def _print_last_run(console: Console, home: Home) -> None:
    """What became of the last run, and what failed in it."""
    try:
        run = json.loads(home.last_run_file.read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        _head(console, f"Last run: {home.last_run_file} cannot be read; the next run writes it anew")
        return
    ended_at = datetime.fromisoformat(run["ended_at"])
    if run["succeeded"]:
        _head(console, f"Last run: {_moment(ended_at)} UTC, every check passed")
    else:
        _head(console, f"Last run: {_moment(ended_at)} UTC, FAILED, so it published nothing")
        console.print(Text(f"  {run['message']}"))
    for check in run["failed_checks"]:
        console.print(Text(f"  check failed: {check['name']}: {check['message']}"))
    for warning in run["warnings"]:
        console.print(Text(f"  warning: {warning['name']}: {warning['message']}"))


def _print_publication(console: Console, home: Home, batches: list[Batch]) -> None:
    try:
        connection = connect(home)
    except QueryError:
        if home.published_file.exists():
            raise
        _head(console, "Publication: none yet")
        console.print("  pertask run makes one; after pertask ingest, pertask build and pertask publish do.")
        return
    with connection:
        facts = ask(connection, "select published_at, build_id, built_at, mart_count, row_count from main.publication")
        if not facts:
            _head(console, "Publication: by another version of pertask; pertask publish replaces it")
        for published_at, build_id, built_at, mart_count, row_count in facts:
            _head(console, f"Publication: {_moment(published_at)} UTC, build {build_id}")
            console.print(f"  {mart_count} marts, {row_count:,} rows, as of {_moment(built_at)} UTC")
            withdrawn = [build for build in withdrawn_builds(home) if build != build_id]
            if withdrawn:
                console.print(f"  withdrawn: {', '.join(withdrawn)}; pertask publish takes the last build back.")
            earlier = history(home)
            if earlier:
                console.print(f"  earlier publications kept: {len(earlier)}; pertask publish --rollback goes back one.")
            later = sum(batch.committed_at.replace(tzinfo=None) > built_at for batch in batches)
            if later:
                console.print(f"  deliveries since its build: {later:,}; pertask run publishes them.")
        covered = coverage_lines(connection)
        if covered:
            _head(console, "Coverage of calls")
            print_table(console, ("", ">share", ">calls"), covered)
        for first, last, days, dollars in ask(connection, _PROVISIONAL):
            _head(console, "Provisional: GPU days whose bill has not come")
            console.print(f"  {days:,} days from {first} to {last}, {dollars:,.2f} USD as estimated")


def _head(console: Console, line: str) -> None:
    console.print(Text(f"\n{line}", style="bold"))


def _moment(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M}"
