"""What the commands share about deliveries: what a run took in, and what of it needs a look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pertask.config import Config
from pertask.home import Home
from pertask.screen import Screen, print_table

if TYPE_CHECKING:
    from ingest.runner import BatchResult

NEW = ("committed", "replaced")
"""States of a delivery whose rows were read by this run."""


def report_deliveries(screen: Screen, results: Sequence[BatchResult]) -> None:
    """Print a line a source: what came, and what became of its rows. Nothing is printed when nothing was looked at."""
    if not results:
        return
    by_source: dict[str, list[BatchResult]] = {}
    for result in results:
        by_source.setdefault(result.source, []).append(result)
    rows = []
    for source, own in by_source.items():
        states = Counter(result.state for result in own)
        new = [result for result in own if result.state in NEW]
        rows.append(
            (
                source,
                ", ".join(dict.fromkeys(result.format for result in own if result.format)),
                ", ".join(f"{count:,} {state}" for state, count in sorted(states.items())),
                *(
                    f"{sum(counts):,}"
                    for counts in (
                        [result.rows_loaded for result in new],
                        [result.rows_quarantined for result in new],
                        [result.rows_skipped for result in new],
                    )
                ),
            )
        )
    print_table(screen.console, ("source", "format", "deliveries", ">rows loaded", ">quarantined", ">skipped"), rows)


def report_undelivered(screen: Screen, home: Home, config: Config, results: Sequence[BatchResult]) -> None:
    """Say which configured sources hold nothing yet: no error, but nothing to be silent about.

    A source with a result has told its own story: it has delivered, or could not be read.
    """
    told = {result.source for result in results}
    for absent in config.undelivered(home):
        if absent.source in told:
            continue
        screen.say(f"ingest: source {absent.source} has delivered nothing yet ({absent.path})")


def new_rows(results: Sequence[BatchResult]) -> tuple[int, int]:
    """How many rows were quarantined of how many that the run has read: what the limit of a run counts."""
    new = [result for result in results if result.state in NEW]
    return sum(result.rows_quarantined for result in new), sum(result.rows_read for result in new)


def shortfalls(results: Sequence[BatchResult], quarantined_ratio: float) -> list[str]:
    """What keeps a run that is done from being good: a line for each, none when all is well.

    Args:
        results: what became of the run's deliveries.
        quarantined_ratio: share of the newly read rows that may be quarantined.
    """
    lines = []
    failed = sum(result.state == "failed" for result in results)
    if failed:
        lines.append(
            f"{failed} of {len(results)} deliveries could not be read (see NOT READ above). They are tried again "
            "each time."
        )
    quarantined, read = new_rows(results)
    if read and quarantined / read > quarantined_ratio:
        lines.append(
            f"{quarantined:,} of {read:,} new rows were quarantined ({quarantined / read:.2%}), more than the limit of "
            f"{quarantined_ratio:.2%} (limits.quarantined_ratio in pertask.yml). See pertask status for the reasons."
        )
    return lines
