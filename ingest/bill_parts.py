"""What formats of bills share: the parts of a delivery that count, and the spellings of a missing value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator

from ingest.errors import IngestError
from ingest.reading import Head, Reader, identifier, literal

_DATA_FILE = re.compile(r"\.(csv|parquet)(\.gz|\.zst)?$")
_NULLS = ("", "null", "nan")
"""How exports spell a missing value, whatever the case."""


def is_manifest(head: Head, keys: Iterable[str]) -> bool:
    """Whether a file is the list of a delivery's parts: a JSON file called so that has one of the keys."""
    return (
        head.kind in ("json", "jsonl")
        and "manifest" in head.path.name.lower()
        and any(f'"{key}"' in head.text for key in keys)
    )


def parts(reader: Reader, is_list: Callable[[Head], bool]) -> list[Head]:
    """The files that count: those that the delivery's manifest lists, else all of them.

    Args:
        reader: the open reader.
        is_list: whether a file is a manifest.

    Raises:
        IngestError: a listed file is missing.
    """
    manifests = [head for head in reader.heads if is_list(head)]
    found = [head for head in reader.heads if not is_list(head)]
    listed = {name for head in manifests for name in _listed_files(head)}
    if not manifests:
        return found
    if not found:
        reader.tell(manifests[0].path, "a manifest without its files beside it; nothing to load")
        return []
    here = {head.path.name for head in found}
    missing = sorted(listed - here)
    if missing:
        raise IngestError(
            f"{manifests[0].path}: the manifest lists {', '.join(missing[:5])}, which is not in the folder. Wait until "
            "the export is complete, or have it delivered again."
        )
    extra = sorted(here - listed) if listed else []
    if extra:
        reader.tell(manifests[0].path, f"not in the manifest, left out: {', '.join(extra[:20])}")
    return [head for head in found if head.path.name not in extra]


def _listed_files(head: Head) -> Iterator[str]:
    try:
        document = json.loads(head.path.read_bytes())
    except (ValueError, OSError) as error:
        raise IngestError(f"{head.path}: this manifest is damaged ({error}). Have it delivered again.") from error
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str) and _DATA_FILE.search(value):
            yield re.split(r"[/\\]", value)[-1]


def first_value(names: Iterable[str]) -> str:
    """SQL of the first of some columns that has a value, with nulls in all their spellings made null."""
    # One `when` a spelling: DuckDB would make a join of each list, dozens in one query.
    values = []
    for column in map(identifier, names):
        nulls = " ".join(f"when {literal(spelling)} then null" for spelling in _NULLS)
        values.append(f"case lower({column}) {nulls} else {column} end")
    return values[0] if len(values) == 1 else f"coalesce({', '.join(values)})"
