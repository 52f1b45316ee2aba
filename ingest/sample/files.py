"""Writing files whose bytes and times are the same in every run."""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path


@dataclass
class Files:
    """The files of one sample, as they are written.

    Attributes:
        home: the folder that paths are relative to.
        written: (path, bytes, delivered at) of each file, in the order of writing.
    """

    home: Path
    written: list[tuple[str, int, datetime]] = field(default_factory=list)

    def write(self, path: str, content: str | bytes, delivered_at: datetime) -> None:
        """Write a file (gzipped when its name ends so) and give it the time at which the vendor delivered it."""
        data = content.encode() if isinstance(content, str) else content
        if path.endswith(".gz"):
            data = gzip.compress(data, compresslevel=4, mtime=0)
        target = self.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        seconds = delivered_at.timestamp()
        os.utime(target, (seconds, seconds))
        self.written.append((path, len(data), delivered_at))
