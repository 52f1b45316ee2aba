"""What a command says while it works: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress

    from ingest.runner import BatchResult

_UNLIMITED = 1 << 20
_PLAIN_SECONDS = 10
"""Without a terminal, a line about progress at most this often."""

_NOTES = 20
"""Notes on single deliveries: one mistake in a mapping fails every file of a source in the same words."""


class Screen:
    """The screen of one command, used as a context manager around long work.

    It keeps the standard output of its beginning: libraries that are called in between may send theirs to a log.
    """

    def __init__(self) -> None:
        self.console = wide_console(sys.stdout)
        self._progress: Progress | None = None
        self._said_at = time.monotonic()
        self._notes = 0

    def __enter__(self) -> Screen:
        if self.console.is_terminal:
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TimeElapsedColumn(),
                console=self.console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task = self._progress.add_task("working", total=None)
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.stop()
            self._progress = None

    def say(self, line: str) -> None:
        """Print a line for people."""
        self.console.print(Text(line))
        self._said_at = time.monotonic()
        if self._progress:
            self._progress.update(self._task, description="working", total=None)

    def delivery(self, result: BatchResult, done: int, total: int) -> None:
        """Show that a delivery is done; say what became of it when it is not just in the lake."""
        if self._progress:
            self._progress.update(self._task, description=f"delivery {done} of {total}", completed=done, total=total)
        elif done < total and time.monotonic() - self._said_at > _PLAIN_SECONDS:
            self.say(f"ingest: {done} of {total} deliveries")
        if not result.message:
            return
        self._notes += 1
        if self._notes <= _NOTES:
            not_read = "NOT READ: " if result.state == "failed" else ""
            where = "" if result.name in result.message else f"{result.name}: "
            self.console.print(Text(f"ingest: {not_read}{where}{result.message}"))
        elif self._notes == _NOTES + 1:
            self.console.print("ingest: further notes on deliveries are counted below and not listed")


def wide_console(out: TextIO) -> Console:
    """A console that cuts nothing off: what is wider than the terminal wraps there."""
    return Console(file=out, width=_UNLIMITED, highlight=False, markup=False)


def table_of(columns: Sequence[tuple[str, bool]], rows: Iterable[Sequence[Any]]) -> Table:
    """A table in full width; a column is its name and whether it holds numbers, which are aligned to the right."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name, is_number in columns:
        table.add_column(Text(name), justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            *(value if isinstance(value, Text) else Text("" if value is None else str(value)) for value in row)
        )
    return table


def print_table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; a column whose name begins with > holds numbers."""
    console.print(table_of([(name.removeprefix(">"), name.startswith(">")) for name in columns], rows))
