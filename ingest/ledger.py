"""The ledger of the lake: one JSON record per committed delivery, which says what came and which parts hold it.

What only tells of deliveries, such as ``pertask status``, reads it here without loading a library of columns.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from ingest.errors import LakeError


@dataclass(frozen=True)
class SourceFile:
    """A delivered file as it was read: ``mtime_ns`` and ``size`` let an unchanged path skip hashing."""

    path: str
    name: str
    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Part:
    """A Parquet file of the lake, its ``path`` relative to the lake's root.

    ``min_date`` and ``max_date`` are the UTC dates its rows overlap; null where a row is open at that end, or where
    the contract is undated.
    """

    contract: str
    path: str
    row_count: int
    usage_date: date | None = None
    min_date: date | None = None
    max_date: date | None = None


@dataclass(frozen=True)
class Counts:
    """Accounting of one batch and contract: read = loaded + quarantined + skipped, in candidate rows."""

    rows_read: int = 0
    rows_loaded: int = 0
    rows_quarantined: int = 0
    rows_skipped: int = 0
    skip_reasons: dict[str, int] = field(default_factory=dict)
    min_date: date | None = None
    max_date: date | None = None


@dataclass(frozen=True)
class BillKey:
    """A billing account and period that a bill delivery holds, and the dates that its lines overlap."""

    billing_account_id: str
    billing_period_start: datetime
    min_date: date
    max_date: date


@dataclass(frozen=True)
class Batch:
    """A committed delivery. ``recipe`` is how it was read: format, its version and the hash of mapping and options."""

    batch_id: str
    attempt: str
    source: str
    format: str
    format_version: int
    options_hash: str
    delivered_at: datetime
    committed_at: datetime
    files: tuple[SourceFile, ...]
    parts: tuple[Part, ...]
    counts: dict[str, Counts]
    replaces_period: bool = False
    bill_keys: tuple[BillKey, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def recipe(self) -> tuple[str, int, str]:
        """Format, format version and options hash: the same content read another way is another recipe."""
        return (self.format, self.format_version, self.options_hash)

    @property
    def came_at(self) -> datetime:
        """When it was delivered; a time that a vendor or an option puts into the future cannot be."""
        return min(self.delivered_at, self.committed_at)

    @property
    def newest_date(self) -> date | None:
        """The latest UTC date that its rows overlap; None for what is undated.

        What begins after it came in is left out: it is a mistake, such as a clock that was wrong.
        """
        days = [
            part.max_date
            for part in self.parts
            if part.min_date and part.max_date and part.min_date <= self.committed_at.date()
        ]
        return max(days, default=None)


def ledger_folder(lake: Path) -> Path:
    """Where a lake keeps its ledger, whether or not it is there."""
    return lake / "_ledger"


def read_ledger(lake: Path) -> dict[str, Batch]:
    """Every committed batch of a lake by id; none where there is no ledger. Nothing is written.

    Raises:
        LakeError: the ledger or a record of it is not readable.
    """
    folder = ledger_folder(lake)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return {}
    except OSError as error:
        # not as Path.glob, which takes a folder that it may not list for an empty one
        raise LakeError(f"{folder}: the ledger cannot be listed ({error.strerror}). Nothing was changed.") from error
    found = [read_record(lake, name.removesuffix(".json")) for name in sorted(names) if name.endswith(".json")]
    return {batch.batch_id: batch for batch in found if batch}


def read_record(lake: Path, batch_id: str) -> Batch | None:
    """The batch of one ledger record; None where the ledger has none of that id.

    Raises:
        LakeError: the record is not readable.
    """
    path = ledger_folder(lake) / f"{batch_id}.json"
    try:
        return _batch_from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LakeError(
            f"{path}: this ledger record cannot be read ({error}). Restore it from a backup, or remove it and "
            "ingest its delivery again."
        ) from error


def write_record(lake: Path, batch: Batch, scratch: Path) -> None:
    """Make a batch count: its record is written to ``scratch``, on the lake's own disk, and appears by one rename."""
    with open(scratch, "w", encoding="utf-8") as file:
        json.dump(asdict(batch), file, default=_to_json, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, ledger_folder(lake) / f"{batch.batch_id}.json")
    _sync_folder(ledger_folder(lake))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _to_json(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"cannot write {type(value).__name__} to the ledger")


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _batch_from_json(record: dict) -> Batch:
    parts = tuple(
        Part(
            **{
                **part,
                "usage_date": _date(part["usage_date"]),
                "min_date": _date(part["min_date"]),
                "max_date": _date(part["max_date"]),
            }
        )
        for part in record["parts"]
    )
    counts = {
        contract: Counts(**{**count, "min_date": _date(count["min_date"]), "max_date": _date(count["max_date"])})
        for contract, count in record["counts"].items()
    }
    keys = tuple(
        BillKey(
            key["billing_account_id"],
            datetime.fromisoformat(key["billing_period_start"]),
            date.fromisoformat(key["min_date"]),
            date.fromisoformat(key["max_date"]),
        )
        for key in record["bill_keys"]
    )
    return Batch(
        **{
            **record,
            "delivered_at": datetime.fromisoformat(record["delivered_at"]),
            "committed_at": datetime.fromisoformat(record["committed_at"]),
            "files": tuple(SourceFile(**file) for file in record["files"]),
            "parts": parts,
            "counts": counts,
            "bill_keys": keys,
            "notices": tuple(record["notices"]),
        }
    )
