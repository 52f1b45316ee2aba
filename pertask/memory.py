"""How much memory DuckDB may use, for a build and for what stands around it, before it goes to disk."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_MOST_MIB = 6 * 1024
_CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def duckdb_memory() -> str:
    """6 GiB, or half of a smaller machine's or container's memory, or what PERTASK_BUILD_MEMORY says; for DuckDB."""
    if asked := os.environ.get("PERTASK_BUILD_MEMORY"):
        return asked
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CONTAINER_LIMITS:
        # a container without a limit says "max", or more than any machine has
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(path).read_text(encoding="ascii")))
    return f"{min(_MOST_MIB, min(limits) // 2**21)}MiB"


def duckdb_limits(spill: Path) -> dict[str, str]:
    """Settings of a DuckDB connection that keeps to ``duckdb_memory`` and goes to the folder ``spill`` beyond it."""
    return {"memory_limit": duckdb_memory(), "temp_directory": str(spill)}
