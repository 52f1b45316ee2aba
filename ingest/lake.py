"""The lake: plain Parquet files and the ledger that says which of them count.

One delivery is one batch. Its parts are written in an attempt's own folder, moved into place, and become visible by
one atomic step: the appearance of ``_ledger/<batch_id>.json``, which lists every part with its row count. A process
killed before that step leaves nothing visible; the sweeper removes what it left once its lock is free.

Layout::

    lake/_ledger/<batch_id>.json                  one record per committed batch
    lake/_incoming/<attempt>/                     an attempt's scratch folder, locked while it lives
    lake/<contract>/00-no-rows.parquet            zero rows, the full schema
    lake/<contract>/[usage_date=.../]<part>.parquet
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from ingest.contracts import CONTRACTS
from ingest.errors import LakeError
from ingest.ledger import Batch, Part, SourceFile, ledger_folder, read_ledger, read_record, write_record

_HASH_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Attempt:
    """One process's try at a delivery, or at several small ones: a locked scratch folder under ``_incoming``."""

    name: str
    folder: Path


class Lake:
    """The lake under ``root``; creating it makes its folders and the zero-row file of every contract."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ledger = ledger_folder(root)
        self._incoming = root / "_incoming"
        self._ledger.mkdir(parents=True, exist_ok=True)
        self._incoming.mkdir(parents=True, exist_ok=True)
        for contract in CONTRACTS.values():
            empty = root / contract.name / "00-no-rows.parquet"
            if not self._has_columns(empty, contract.name):
                self._write_empty(empty, contract.name)

    def batches(self) -> dict[str, Batch]:
        """Return every committed batch by id.

        Raises:
            LakeError: a ledger record is not readable.
        """
        return read_ledger(self.root)

    @contextlib.contextmanager
    def _ledger_locked(self) -> Iterator[None]:
        """Hold the ledger for the moment in which a record is compared and written."""
        with open(self._ledger / ".lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def check_parts(self, batches: dict[str, Batch]) -> None:
        """Raise LakeError when a part that the ledger lists is missing: it must never read as empty."""
        for batch in batches.values():
            for part in batch.parts:
                if not (self.root / part.path).exists():
                    names = ", ".join(file.path for file in batch.files)
                    raise LakeError(
                        f"{self.root / part.path}: the ledger lists this part of batch {batch.batch_id}, and it is "
                        f"missing. Restore it, or remove _ledger/{batch.batch_id}.json and ingest again: {names}"
                    )

    @contextlib.contextmanager
    def attempt(self) -> Iterator[Attempt]:
        """A locked scratch folder, removed at the end whatever happens; parts placed in vain go with it."""
        name = uuid.uuid4().hex[:12]
        unlocked, folder = self._incoming / f".{name}", self._incoming / name
        unlocked.mkdir()
        with open(unlocked / "lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # The sweeper looks at folders under their final name only, and those are locked from the start.
            os.replace(unlocked, folder)
            try:
                yield Attempt(name, folder)
            except BaseException:
                self._remove_uncommitted(folder)
                raise
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def place_parts(self, attempt: Attempt, batch_id: str, parts: list[Part]) -> tuple[Part, ...]:
        """Move an attempt's parts to their places in the lake; they stay invisible until ``record``.

        Args:
            attempt: the attempt that wrote the parts.
            batch_id: the batch they belong to.
            parts: the parts, ``path`` relative to the attempt's folder.

        Returns:
            The parts with their paths relative to the lake's root.
        """
        placed = []
        for number, part in enumerate(parts):
            folder = Path(part.contract)
            if part.usage_date is not None:
                folder /= f"usage_date={part.usage_date.isoformat()}"
            target = folder / f"{batch_id}-{attempt.name}-{number}.parquet"
            placed.append(replace(part, path=target.as_posix()))
        listing = attempt.folder / "placed.json"
        earlier = _placed_paths(listing) if listing.exists() else []
        listing.write_text(json.dumps([*earlier, *(part.path for part in placed)]), encoding="utf-8")
        for part, target in zip(parts, placed, strict=True):
            (self.root / target.path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(attempt.folder / part.path, self.root / target.path)
        return tuple(placed)

    def record(self, attempt: Attempt, batch: Batch) -> None:
        """Commit: the ledger record appears by one rename, after which the batch counts."""
        write_record(self.root, batch, attempt.folder / "record.json")

    def commit(self, attempt: Attempt, batch: Batch, expected: Batch | None) -> Batch:
        """Record a batch, unless another process recorded the same delivery, read the same way, meanwhile.

        Args:
            attempt: the attempt that placed the batch's parts.
            batch: what to record.
            expected: what the ledger had of this delivery when the attempt began.

        Returns:
            What the ledger has now: ``batch``, or the other process's; the parts of ``batch`` are then removed.
        """
        with self._ledger_locked():
            found = read_record(self.root, batch.batch_id)
            if found and found != expected and found.recipe == batch.recipe:
                for part in batch.parts:
                    (self.root / part.path).unlink(missing_ok=True)
                return found
            self.record(attempt, batch)
        return batch

    def redeliver(self, batch: Batch, delivered_at: datetime, files: tuple[SourceFile, ...]) -> Batch:
        """Note that a known delivery came again, later, in other files; returns its record as it is now."""
        with self.attempt() as attempt, self._ledger_locked():
            found = read_record(self.root, batch.batch_id) or batch
            if found.delivered_at < delivered_at:
                found = replace(found, delivered_at=delivered_at, files=files)
                self.record(attempt, found)
        return found

    def sweep(self) -> int:
        """Remove what dead attempts left (a live attempt holds its lock); return how many were removed."""
        removed = 0
        for folder in self._incoming.glob("[!.]*"):
            try:
                with open(folder / "lock", "r+", encoding="ascii") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._remove_uncommitted(folder)
                    shutil.rmtree(folder, ignore_errors=True)
                    removed += 1
            except (BlockingIOError, FileNotFoundError, NotADirectoryError):
                continue
        return removed

    def _remove_uncommitted(self, folder: Path) -> None:
        """Remove the parts that an attempt placed, unless it got as far as its commit."""
        placed = folder / "placed.json"
        if placed.exists():
            committed = {part.path for batch in self.batches().values() for part in batch.parts}
            for path in _placed_paths(placed):
                if path not in committed:
                    (self.root / path).unlink(missing_ok=True)

    def _has_columns(self, path: Path, contract: str) -> bool:
        """Whether a zero-row file is there with the contract's columns of today: contracts gain some."""
        import pyarrow.parquet as pq

        return path.exists() and pq.read_schema(path).equals(CONTRACTS[contract].schema)

    def _write_empty(self, path: Path, contract: str) -> None:
        import pyarrow.parquet as pq

        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self._incoming / f"{contract}-{uuid.uuid4().hex}.empty"
        pq.write_table(CONTRACTS[contract].schema.empty_table(), scratch)
        os.replace(scratch, path)


def batch_id(source: str, contracts: tuple[str, ...], hashes: list[str]) -> str:
    """Identity of a delivery: its source, the contracts that it fills and its content, whatever the file names."""
    text = "\n".join([source, *sorted(contracts), *sorted(hashes)])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _placed_paths(record: Path) -> list[str]:
    """What an attempt was about to move; a record that was itself cut off came before any move."""
    try:
        return json.loads(record.read_bytes())
    except ValueError:
        return []
