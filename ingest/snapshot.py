"""The snapshot that one build reads: which batches count, what a newer bill replaced, and what changed.

A build writes its snapshot first and then reads nothing else of the lake's ledger, so batches that commit meanwhile
wait for the next build. What changed is told against the snapshot of the last successful build: files that came or
went, bill periods that a newer delivery replaced, and edited rows of the dated seeds and company files.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.lake import Lake
from ingest.ledger import Batch, BillKey

_TIME = pa.timestamp("us", tz="UTC")

BATCHES = pa.schema(
    [
        ("batch_id", pa.string()),
        ("source", pa.string()),
        ("format", pa.string()),
        ("format_version", pa.int64()),
        ("mapping_hash", pa.string()),
        ("contract", pa.string()),
        ("delivered_at", _TIME),
        ("committed_at", _TIME),
        ("file_names", pa.string()),
        ("file_count", pa.int64()),
        ("byte_count", pa.int64()),
        ("rows_read", pa.int64()),
        ("rows_loaded", pa.int64()),
        ("rows_quarantined", pa.int64()),
        ("rows_skipped", pa.int64()),
        ("skip_reasons", pa.string()),
        ("min_date", pa.date32()),
        ("max_date", pa.date32()),
        ("change", pa.string()),
    ]
)
FILES = pa.schema(
    [
        ("contract", pa.string()),
        ("batch_id", pa.string()),
        ("path", pa.string()),
        ("row_count", pa.int64()),
        ("usage_date", pa.date32()),
        ("min_date", pa.date32()),
        ("max_date", pa.date32()),
        ("change", pa.string()),
    ]
)
SUPERSEDED = pa.schema(
    [
        ("batch_id", pa.string()),
        ("source", pa.string()),
        ("billing_account_id", pa.string()),
        ("billing_period_start", _TIME),
        ("min_date", pa.date32()),
        ("max_date", pa.date32()),
        ("change", pa.string()),
    ]
)
CHANGED_RANGES = pa.schema([("reason", pa.string()), ("valid_from", pa.date32()), ("valid_to", pa.date32())])
SOURCES = pa.schema([("source", pa.string()), ("precedence", pa.int64())])
META = pa.schema(
    [
        ("build_id", pa.string()),
        ("built_at", _TIME),
        ("is_full_refresh", pa.bool_()),
        ("is_previous_unfinished", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class SnapshotInfo:
    """What a build is about to read.

    ``batches_changed`` counts deliveries that came, went or were read another way since the last successful build;
    ``reasons`` names the edited seeds and company files and the requested dates.
    """

    build_id: str
    batches_changed: int
    reasons: tuple[str, ...]


def write_snapshot(
    lake_root: Path,
    snapshot_dir: Path,
    last_dir: Path,
    company: dict[str, pa.Table],
    seeds_dir: Path,
    full_refresh: bool,
    previous_unfinished: bool,
    extra_dates: tuple[date, date] | None = None,
    tables: dict[str, pa.Table] | None = None,
) -> SnapshotInfo:
    """Freeze what a build reads, as Parquet files in ``snapshot_dir``.

    Args:
        lake_root: the lake.
        snapshot_dir: where the snapshot goes; an earlier one is replaced whole.
        last_dir: the snapshot of the last successful build; need not exist.
        company: validated tables of the company's files by name (``teams``, ...), dated by valid_from and valid_to.
        seeds_dir: the product's seeds, CSV.
        full_refresh: the build recomputes everything.
        previous_unfinished: the build before this one did not finish, so its tables may be half moved.
        extra_dates: first and last date to recompute besides.
        tables: further tables that the build reads, by name; a change of theirs touches no date.

    Raises:
        LakeError: the ledger is unreadable, or a part that it lists is missing.
    """
    lake = Lake(lake_root)
    batches = lake.batches()
    lake.check_parts(batches)
    last = None if full_refresh else last_dir
    build_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    batch_rows, file_rows = _with_changes(lake, batches, last)
    superseded = _superseded_with_changes(batches, last)
    dated = {f"company_{name}": pl.from_arrow(table) for name, table in company.items()}
    dated |= {f"seed_{path.stem}": _read_seed(path) for path in sorted(seeds_dir.glob("*.csv"))}
    ranges = _changed_ranges(dated, last)
    if extra_dates:
        ranges.append(
            {"reason": "requested", "valid_from": extra_dates[0], "valid_to": extra_dates[1] + timedelta(days=1)}
        )
    meta = {
        "build_id": build_id,
        "built_at": datetime.now(UTC),
        "is_full_refresh": full_refresh,
        "is_previous_unfinished": previous_unfinished,
    }
    scratch = snapshot_dir.with_name(f".{snapshot_dir.name}-{uuid.uuid4().hex[:8]}")
    scratch.mkdir(parents=True)
    for name, rows, schema in (
        ("batches", batch_rows, BATCHES),
        ("files", file_rows, FILES),
        ("superseded", superseded, SUPERSEDED),
        ("changed_ranges", ranges, CHANGED_RANGES),
        ("meta", [meta], META),
    ):
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), scratch / f"{name}.parquet")
    for name, table in [*((f"company_{name}", table) for name, table in company.items()), *(tables or {}).items()]:
        pq.write_table(table, scratch / f"{name}.parquet")
    for name, frame in dated.items():
        if name.startswith("seed_"):
            frame.write_parquet(scratch / f"{name}.parquet")
    _replace_folder(scratch, snapshot_dir)
    changed = {row["batch_id"] for row in file_rows if row["change"] != "same"}
    changed |= {row["batch_id"] for row in batch_rows if row["change"] != "same"}
    return SnapshotInfo(build_id, len(changed), tuple(dict.fromkeys(row["reason"] for row in ranges)))


def accept_snapshot(snapshot_dir: Path, last_dir: Path) -> None:
    """Remember a snapshot as the one of the last successful build: what later changes are told against."""
    scratch = last_dir.with_name(f".{last_dir.name}-{uuid.uuid4().hex[:8]}")
    shutil.copytree(snapshot_dir, scratch)
    _replace_folder(scratch, last_dir)


def _replace_folder(scratch: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}-old-{uuid.uuid4().hex[:8]}")
    if target.exists():
        os.replace(target, old)
    os.replace(scratch, target)
    shutil.rmtree(old, ignore_errors=True)


def _read_last(last: Path | None, name: str) -> list[dict]:
    if last is None or not (last / f"{name}.parquet").exists():
        return []
    return pq.read_table(last / f"{name}.parquet").to_pylist()


def _with_changes(lake: Lake, batches: dict[str, Batch], last: Path | None) -> tuple[list[dict], list[dict]]:
    """Rows of batches.parquet and files.parquet, each told as same, added or removed since the last build."""
    last_files = [row for row in _read_last(last, "files") if row["change"] != "removed"]
    last_batches = [row for row in _read_last(last, "batches") if row["change"] != "removed"]
    last_paths = {row["path"] for row in last_files}
    last_delivered = {row["batch_id"]: row["delivered_at"] for row in last_batches}
    batch_rows, file_rows = [], []
    for batch in batches.values():
        # A bill that came again is newer than it was: its rows may win where they lost.
        is_same_age = last_delivered.get(batch.batch_id) == batch.delivered_at
        parts = [(part, part.path) for part in batch.parts]
        is_same = is_same_age and all(path in last_paths for _, path in parts)
        change = "same" if is_same else "added"
        file_rows.extend(
            {
                "contract": part.contract,
                "batch_id": batch.batch_id,
                "path": path,
                "row_count": part.row_count,
                "usage_date": part.usage_date,
                "min_date": part.min_date,
                "max_date": part.max_date,
                "change": change,
            }
            for part, path in parts
        )
        batch_rows.extend(_batch_rows(batch, change))
    paths = {row["path"] for row in file_rows}
    ids = {(row["batch_id"], row["contract"]) for row in batch_rows}
    file_rows.extend({**row, "change": "removed"} for row in last_files if row["path"] not in paths)
    batch_rows.extend(
        {**row, "change": "removed"} for row in last_batches if (row["batch_id"], row["contract"]) not in ids
    )
    return batch_rows, file_rows


def _batch_rows(batch: Batch, change: str) -> list[dict]:
    return [
        {
            "batch_id": batch.batch_id,
            "source": batch.source,
            "format": batch.format,
            "format_version": batch.format_version,
            "mapping_hash": batch.options_hash,
            "contract": contract,
            "delivered_at": batch.delivered_at,
            "committed_at": batch.committed_at,
            "file_names": "; ".join(file.name for file in batch.files),
            "file_count": len(batch.files),
            "byte_count": sum(file.size for file in batch.files),
            "rows_read": counts.rows_read,
            "rows_loaded": counts.rows_loaded,
            "rows_quarantined": counts.rows_quarantined,
            "rows_skipped": counts.rows_skipped,
            "skip_reasons": json.dumps(counts.skip_reasons, sort_keys=True),
            "min_date": counts.min_date,
            "max_date": counts.max_date,
            "change": change,
        }
        for contract, counts in batch.counts.items()
    ]


def superseded_keys(batches: dict[str, Batch]) -> list[tuple[Batch, BillKey]]:
    """The (batch, account and period) pairs that a newer delivery of the same source replaced.

    Newer means delivered later; of two delivered at the same moment, the one with the greater batch id.
    """
    holders: dict[tuple[str, str, datetime], list[tuple[Batch, BillKey]]] = {}
    for batch in batches.values():
        if batch.replaces_period:
            for key in batch.bill_keys:
                place = (batch.source, key.billing_account_id, key.billing_period_start)
                holders.setdefault(place, []).append((batch, key))
    lost = []
    for pairs in holders.values():
        pairs.sort(key=lambda pair: (pair[0].delivered_at, pair[0].batch_id))
        lost.extend(pairs[:-1])
    return lost


def _superseded_with_changes(batches: dict[str, Batch], last: Path | None) -> list[dict]:
    def place(row: dict) -> tuple:
        return row["batch_id"], row["billing_account_id"], row["billing_period_start"]

    last_rows = {place(row): row for row in _read_last(last, "superseded") if row["change"] != "removed"}
    rows = []
    for batch, key in superseded_keys(batches):
        row = {
            "batch_id": batch.batch_id,
            "source": batch.source,
            "billing_account_id": key.billing_account_id,
            "billing_period_start": key.billing_period_start,
            "min_date": key.min_date,
            "max_date": key.max_date,
        }
        rows.append({**row, "change": "same" if place(row) in last_rows else "added"})
    now = {place(row) for row in rows}
    rows.extend({**row, "change": "removed"} for where, row in last_rows.items() if where not in now)
    return rows


def _read_seed(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema=False)


def _changed_ranges(dated: dict[str, pl.DataFrame], last: Path | None) -> list[dict]:
    """The date ranges of the rows that were edited, before and after the edit; undated rows count for every date."""
    if last is None or not last.exists():
        return []
    ranges = []
    for name, frame in dated.items():
        path = last / f"{name}.parquet"
        before = pl.read_parquet(path) if path.exists() else frame.clear()
        if before.schema != frame.schema:
            ranges.append({"reason": name, "valid_from": None, "valid_to": None})
            continue
        edited = pl.concat(
            [
                frame.join(before, on=frame.columns, how="anti", nulls_equal=True),
                before.join(frame, on=frame.columns, how="anti", nulls_equal=True),
            ]
        )
        if edited.is_empty():
            continue
        if not {"valid_from", "valid_to"} <= set(frame.columns):
            ranges.append({"reason": name, "valid_from": None, "valid_to": None})
            continue
        spans = edited.select("valid_from", "valid_to").unique(maintain_order=True)
        ranges.extend(
            {"reason": name, "valid_from": _as_date(start), "valid_to": _as_end_date(end)}
            for start, end in spans.iter_rows()
        )
    return ranges


def _as_date(value: str | date | None) -> date | None:
    if value is None or isinstance(value, date):
        return value
    return datetime.fromisoformat(value).date() if value.strip() else None


def _as_end_date(value: str | date | None) -> date | None:
    """The first whole date that a half-open end leaves out: an end within a day still touches that day."""
    if value is None or not isinstance(value, str):
        return value
    if not value.strip():
        return None
    end = datetime.fromisoformat(value)
    return end.date() + timedelta(days=0 if end.time() == datetime.min.time() else 1)
