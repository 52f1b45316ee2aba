"""What a run tells the person who started it: a place that the command fills and the graph's steps speak to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ingest.runner import BatchResult
from pertask.checks.results import CheckResult
from publish.conditions import Check


@dataclass
class Progress:
    """The ears of one in-process run; silent unless a command listens.

    Attributes:
        say: called with each line for people.
        on_delivery: called after each delivery with its result, how many are done, and how many there are.
        results: the deliveries of this run.
        checks: what the gates of Great Expectations found in this run.
        warnings: what else went wrong in this run and held back nothing.
        is_unchanged: whether the run found nothing new, and so left the build and the publication as they were.
    """

    say: Callable[[str], None] = lambda line: None
    on_delivery: Callable[[BatchResult, int, int], None] | None = None
    results: list[BatchResult] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    warnings: list[Check] = field(default_factory=list)
    is_unchanged: bool = False

    def clear(self) -> None:
        """Forget the run before."""
        self.results.clear()
        self.checks.clear()
        self.warnings.clear()
        self.is_unchanged = False

    def delivery(self, result: BatchResult, done: int, total: int) -> None:
        """Note a delivery and pass it on."""
        self.results.append(result)
        if self.on_delivery:
            self.on_delivery(result, done, total)


PROGRESS = Progress()
"""The progress of this process's run; ``orchestration.lib.runs.execute`` sets it up."""
