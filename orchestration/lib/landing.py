"""What lies in the landing places: whether something new came, and whether it is still coming."""

from __future__ import annotations

import glob
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pertask.config import Config
from pertask.home import Home

SETTLED_SECONDS = 30
"""A file that was written to more recently may not be whole yet."""


@dataclass(frozen=True)
class Landing:
    """What lies there: a fingerprint of every file's name, size and time, and whether all have come to rest."""

    fingerprint: str
    is_settled: bool


def look(home: Home, config: Config, *, now: float | None = None) -> Landing:
    """Look at every source's files, without reading any.

    Args:
        home: the home.
        config: its sources.
        now: the time in seconds since 1970; default: the clock's.
    """
    digest = hashlib.sha256()
    newest = 0.0
    for name, source in config.sources.items():
        for path, size, modified in sorted(_files(home.root / source.path)):
            digest.update(f"{name}\0{path}\0{size}\0{modified}\n".encode())
            newest = max(newest, modified)
    is_settled = newest <= (time.time() if now is None else now) - SETTLED_SECONDS
    return Landing(digest.hexdigest()[:32], is_settled)


def _files(path: Path) -> Iterator[tuple[str, int, float]]:
    """Name, size and time of the files that ingest would find; names with . or _ in front are passed over, as there."""
    if path.is_dir():
        for folder, folders, names in os.walk(path):
            folders[:] = [name for name in folders if name[0] not in "._"]
            yield from _stated(os.path.join(folder, name) for name in names if name[0] not in "._")
    else:
        yield from _stated(glob.iglob(str(path), recursive=True))


def _stated(names: Iterator[str]) -> Iterator[tuple[str, int, float]]:
    for name in names:
        try:
            status = os.stat(name)
        except FileNotFoundError:
            # taken away since it was listed
            continue
        yield name, status.st_size, status.st_mtime
