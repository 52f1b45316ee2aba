"""Running a command in a process of its own: how long it takes, how much processor and how much memory."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.2
"""Seconds between two looks at the memory: close together at first, as many commands are short."""
_LAST_CHARACTERS = 2000
_PAGE = resource.getpagesize()


class CommandFailed(Exception):
    """A measured command that did not succeed; the message ends with the last of what it printed."""


@dataclass(frozen=True)
class Usage:
    """What a command took.

    Attributes:
        seconds: by the clock.
        cpu_seconds: of the process and all that it waited for, user and system.
        peak_gib: the most memory that the process and its descendants had resident at one time, sampled; at least the
            peak that the system noted of the largest of them.
        output: what it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_gib: float
    output: str

    def figures(self) -> dict[str, float]:
        """The three figures, rounded."""
        return {
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "peak_gib": round(self.peak_gib, 3),
        }


def measure(command: Sequence[str], *, environment: dict[str, str], log: Path) -> Usage:
    """Run a command to its end.

    Args:
        command: program and arguments.
        environment: what is set besides this process's own environment.
        log: where its output goes.

    Raises:
        CommandFailed: it ended with another code than 0.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        ended, peaks = threading.Event(), [0]
        sampler = threading.Thread(target=_sample, args=(process.pid, ended, peaks), daemon=True)
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        sampler.join()
    printed = log.read_text(encoding="utf-8", errors="replace")
    if process.returncode:
        raise CommandFailed(
            f"{' '.join(command)}\nended with {process.returncode}; the end of {log}:\n{printed[-_LAST_CHARACTERS:]}"
        )
    # not the `ru_maxrss` of the child: it begins with what this process had when it started the child
    return Usage(seconds, usage.ru_utime + usage.ru_stime, peaks[0] / 2**30, printed)


def _sample(root: int, ended: threading.Event, peaks: list[int]) -> None:
    pause = _SHORTEST_PAUSE
    while not ended.wait(pause):
        peaks[0] = max(peaks[0], _resident(root))
        pause = min(pause * 1.1, _LONGEST_PAUSE)


def _resident(root: int) -> int:
    """Bytes that a process and its descendants have resident, or the largest of them had."""
    parents, sizes = {}, {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            with open(f"/proc/{entry.name}/stat", "rb") as file:
                # after the name, which may hold anything but ends with the last parenthesis
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        parents[int(entry.name)], sizes[int(entry.name)] = int(fields[1]), int(fields[21]) * _PAGE
    family = {root}
    while True:
        more = {process for process, parent in parents.items() if parent in family} - family
        if not more:
            now = sum(sizes.get(process, 0) for process in family)
            return max(now, *(_high_water(process) for process in family))
        family |= more


def _high_water(process: int) -> int:
    """The most bytes that a process ever had resident; 0 when it is gone."""
    try:
        with open(f"/proc/{process}/status", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(b"VmHWM:")), 0)
