"""What lies in the landing places: whether something new came, and whether it is still coming."""

from __future__ import annotations

import glob
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ingest.buckets import BucketError, listing
from pertask.config import Config
from pertask.home import Home

SETTLED_SECONDS = 30
"""A file that was written to more recently may not be whole yet."""


@dataclass(frozen=True)
class Landing:
    """What lies there.

    Attributes:
        fingerprint: of every file's and object's name, size and time, and of the buckets that cannot be listed.
        is_settled: whether all files have come to rest; an object of a bucket is whole from the first.
        problems: why a bucket cannot be listed, a line each.
    """

    fingerprint: str
    is_settled: bool
    problems: tuple[str, ...] = ()


def look(home: Home, config: Config, *, now: float | None = None) -> Landing:
    """Look at every source's files and objects, without reading any.

    Args:
        home: the home.
        config: its sources.
        now: the time in seconds since 1970; default: the clock's.
    """
    digest = hashlib.sha256()
    newest = 0.0
    problems = []
    for name, source in config.sources.items():
        bucket = source.bucket(name, home)
        if bucket is None:
            for path, size, modified in sorted(_files(home.root / source.path)):
                digest.update(f"{name}\0{path}\0{size}\0{modified}\n".encode())
                newest = max(newest, modified)
            continue
        try:
            for found in listing(bucket):
                digest.update(f"{name}\0{found.key}\0{found.size}\0{found.modified_ns}\n".encode())
        except BucketError as error:
            # a run will say so where alerts are read, and once only: the fingerprint stays until it can be listed
            digest.update(f"{name}\0not listed\n".encode())
            problems.append(str(error))
    is_settled = newest <= (time.time() if now is None else now) - SETTLED_SECONDS
    return Landing(digest.hexdigest()[:32], is_settled, tuple(problems))


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
