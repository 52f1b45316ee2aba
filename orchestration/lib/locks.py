"""One writer a home: whoever builds or publishes holds the home's lock, be it a command or Dagster's daemon.

The kernel lets go of it when the process dies, so there is nothing to clean up by hand. Dagster's pool keeps runs of
one Dagster instance apart; this keeps every process apart.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pertask.home import Home

_HELD: dict[Path, IO[str]] = {}
"""The locks that this process holds: a command's own steps pass through the lock that the command took."""


class HomeInUse(Exception):
    """Another process is running the graph of this home."""


@contextlib.contextmanager
def hold(home: Home, *, is_patient: bool = False) -> Iterator[None]:
    """Hold the home's lock; within a process that holds it already, go on at once.

    Args:
        home: the home to write in.
        is_patient: wait for the other process instead of refusing.

    Raises:
        HomeInUse: another process is at work in this home.
    """
    path = home.warehouse / "lock"
    if path in _HELD:
        yield
        return
    home.warehouse.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if is_patient else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise HomeInUse(
                f"{home.root}: process {_read(lock).get('process', 'unknown')} is running this home's graph. Wait "
                "until it is done; the warehouse has one writer at a time."
            ) from error
        _HELD[path] = lock
        _write(lock, _read(lock).get("run"))
        try:
            yield
        finally:
            del _HELD[path]


def sign(home: Home, run_id: str) -> str | None:
    """Note in the held lock which Dagster run holds it; returns the run that held it before this one."""
    lock = _HELD[home.warehouse / "lock"]
    before = _read(lock).get("run")
    _write(lock, run_id)
    return before


def _read(lock: IO[str]) -> dict:
    lock.seek(0)
    try:
        content = json.loads(lock.read() or "{}")
    except ValueError:
        # half written by a process that died
        return {}
    # an older version wrote the process alone
    return content if isinstance(content, dict) else {"process": content}


def _write(lock: IO[str], run_id: str | None) -> None:
    lock.truncate(0)
    json.dump({"process": os.getpid(), "run": run_id}, lock)
    lock.flush()
