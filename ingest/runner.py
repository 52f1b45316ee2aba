"""From configured sources to committed batches: finds the deliveries, reads several at a time, reports each."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import duckdb

from ingest.errors import IngestError
from ingest.formats import MAPPING, load_format, sniff
from ingest.lake import Batch, Lake, SourceFile, batch_id, hash_file
from ingest.reading import Options, Reader, read_head
from ingest.rows import Loaded, NeedsContent, load

_MEMORY_LIMIT_MB = 3000


@dataclass(frozen=True)
class IngestRequest:
    """One source to ingest.

    Attributes:
        source: name stamped on the rows.
        path: a file, a folder (read whole, sub-folders too) or a glob.
        format: a format's name, ``auto``, or ``mapping``.
        mapping_path: the mapping file, for format ``mapping``.
        delivered_at: when the vendor delivered; default: the newest file time of the delivery.
        time_zone: IANA zone of times without an offset.
        token_convention: (input includes cached, output includes reasoning); None keeps the format's own.
    """

    source: str
    path: Path
    format: str = "auto"
    mapping_path: Path | None = None
    delivered_at: datetime | None = None
    time_zone: str = "UTC"
    token_convention: tuple[bool | None, bool | None] | None = None


@dataclass(frozen=True)
class BatchResult:
    """What became of one delivery.

    ``state`` is committed, replaced (same content, read another way), redelivered (same bill content, newer),
    unchanged or failed; ``message`` says why it failed, or what else the user should know.
    """

    source: str
    name: str
    state: str
    format: str = ""
    batch_id: str = ""
    message: str = ""
    rows_read: int = 0
    rows_loaded: int = 0
    rows_quarantined: int = 0
    rows_skipped: int = 0


@dataclass(frozen=True)
class Delivery:
    """The files that arrive as one: each file of a log, all parts of a bill."""

    request: IngestRequest
    paths: tuple[Path, ...]

    @property
    def name(self) -> str:
        """What to call it on screen."""
        first = self.paths[0]
        return str(first) if len(self.paths) == 1 else f"{first.parent}/ ({len(self.paths)} files)"


def ingest(
    lake_root: Path,
    requests: list[IngestRequest],
    *,
    workers: int | None = None,
    progress: Callable[[BatchResult, int, int], None] | None = None,
) -> list[BatchResult]:
    """Bring every delivery of the requests into the lake; deliveries that are there already cost almost nothing.

    Args:
        lake_root: the lake's folder; created when absent.
        requests: the sources.
        workers: deliveries read at once; default: the number of processors.
        progress: called after each delivery with its result, how many are done, and how many there are.

    Returns:
        One result per delivery, in the order in which they were found; a failed delivery loses nothing of the others.
    """
    lake = Lake(lake_root)
    lake.sweep()
    known = _Known(lake.batches())
    results: list[BatchResult] = []
    deliveries: list[Delivery] = []
    for request in requests:
        try:
            deliveries.extend(find_deliveries(request))
        except IngestError as error:
            results.append(BatchResult(request.source, str(request.path), "failed", request.format, message=str(error)))
    workers = max(1, min(workers or os.cpu_count() or 1, len(deliveries) or 1))
    threads = max(1, (os.cpu_count() or 1) // workers)
    total = len(deliveries) + len(results)
    for number, result in enumerate(results, 1):
        if progress:
            progress(result, number, total)
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(_ingest_one, lake, known, delivery, threads, workers) for delivery in deliveries]
        for job in jobs:
            results.append(job.result())
            if progress:
                progress(results[-1], len(results), total)
    return results


def find_deliveries(request: IngestRequest) -> Iterator[Delivery]:
    """Yield the deliveries under a request's path, files in name order; names starting with . or _ are left out.

    Raises:
        IngestError: nothing is there.
    """
    root = Path(request.path)
    if root.is_dir():
        paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
        paths = [path for path in paths if not any(part[0] in "._" for part in path.relative_to(root).parts)]
    elif root.exists():
        paths = [root]
    else:
        paths = [Path(name) for name in sorted(glob.glob(str(root), recursive=True)) if Path(name).is_file()]
        if not paths:
            raise IngestError(f"{root}: there is no such file or folder. Check the path of source {request.source!r}.")
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        if _delivery_kind(request, path) == "folder" and path != root:
            folders.setdefault(path.parent, []).append(path)
        else:
            yield Delivery(request, (path,))
    for parts in folders.values():
        yield Delivery(request, tuple(parts))


def _delivery_kind(request: IngestRequest, path: Path) -> str:
    name = request.format
    if name == "auto":
        try:
            name = sniff(read_head(path))
        except IngestError:
            return "file"
    if name == MAPPING:
        return "file"
    return load_format(name).DELIVERY


class _Known:
    """What the ledger knows: hashes of unchanged files, and batches by id."""

    def __init__(self, batches: dict[str, Batch]) -> None:
        self.batches = batches
        self._hashes = {
            (file.path, file.size, file.mtime_ns): file.sha256 for batch in batches.values() for file in batch.files
        }

    def file(self, path: Path) -> SourceFile:
        """A file with its hash; an unchanged path, size and time skip hashing."""
        status = path.stat()
        absolute = str(path.resolve())
        sha256 = self._hashes.get((absolute, status.st_size, status.st_mtime_ns)) or hash_file(path)
        return SourceFile(absolute, path.name, status.st_size, status.st_mtime_ns, sha256)


def _ingest_one(lake: Lake, known: _Known, delivery: Delivery, threads: int, workers: int) -> BatchResult:
    request = delivery.request
    try:
        return _commit(lake, known, delivery, threads, workers)
    except (IngestError, OSError, duckdb.Error) as error:
        message = str(error) if isinstance(error, IngestError) else f"{delivery.name}: {error}"
        return BatchResult(request.source, delivery.name, "failed", request.format, message=message)


def _commit(lake: Lake, known: _Known, delivery: Delivery, threads: int, workers: int) -> BatchResult:
    request = delivery.request
    files = tuple(known.file(path) for path in delivery.paths)
    format_name = request.format
    if format_name == "auto":
        format_name = sniff(read_head(delivery.paths[0]))
    module = load_format(format_name)
    options = _options(request)
    contracts = module.contracts(options) if format_name == MAPPING else module.CONTRACTS
    identity = batch_id(request.source, contracts, [file.sha256 for file in files])
    recipe = (format_name, module.VERSION, _options_hash(options))
    newest = max(file.mtime_ns for file in files)
    delivered_at = request.delivered_at or datetime.fromtimestamp(newest / 1e9, UTC).replace(microsecond=0)
    existing = known.batches.get(identity)
    if existing and existing.recipe == recipe:
        return _known_already(lake, existing, module, delivery, files, delivered_at)
    with lake.attempt() as attempt:
        reader, extracts = _read(module, delivery, options, attempt.folder, threads, workers)
        with contextlib.closing(reader.connection):
            loaded = _load(reader, module, extracts, batch_id=identity, source=request.source, format_name=format_name)
        batch = Batch(
            batch_id=identity,
            attempt=attempt.name,
            source=request.source,
            format=format_name,
            format_version=module.VERSION,
            options_hash=recipe[2],
            delivered_at=delivered_at,
            committed_at=datetime.now(UTC),
            files=files,
            parts=lake.place_parts(attempt, identity, [part for one in loaded.values() for part in one.parts]),
            counts={contract: one.counts for contract, one in loaded.items()},
            replaces_period=_replaces_period(module, options),
            bill_keys=tuple(key for one in loaded.values() for key in one.bill_keys),
            notices=tuple(dict.fromkeys(reader.notices)),
        )
        lake.record(attempt, batch)
    message = "; ".join(batch.notices)
    if existing:
        was = f"was {existing.format} version {existing.format_version}"
        message = "; ".join(filter(None, [f"read again another way ({was})", message]))
    return _result(batch, delivery, "replaced" if existing else "committed", message)


def _known_already(
    lake: Lake,
    existing: Batch,
    module: ModuleType,
    delivery: Delivery,
    files: tuple[SourceFile, ...],
    delivered_at: datetime,
) -> BatchResult:
    """The same content, read the same way. A bill that comes again later, as another file, is newer all the same."""
    is_other_file = {file.path for file in files}.isdisjoint(file.path for file in existing.files)
    if (
        existing.replaces_period
        and delivered_at > existing.delivered_at
        and (is_other_file or delivery.request.delivered_at)
    ):
        with lake.attempt() as attempt:
            newer = replace(existing, delivered_at=delivered_at, files=files)
            lake.record(attempt, newer)
        return _result(newer, delivery, "redelivered", "the same bill again: it is now the newest of its periods")
    return _result(existing, delivery, "unchanged", "")


def _result(batch: Batch, delivery: Delivery, state: str, message: str) -> BatchResult:
    counts = batch.counts.values()
    return BatchResult(
        source=batch.source,
        name=delivery.name,
        state=state,
        format=batch.format,
        batch_id=batch.batch_id,
        message=message,
        rows_read=sum(count.rows_read for count in counts),
        rows_loaded=sum(count.rows_loaded for count in counts),
        rows_quarantined=sum(count.rows_quarantined for count in counts),
        rows_skipped=sum(count.rows_skipped for count in counts),
    )


def _read(
    module: ModuleType, delivery: Delivery, options: Options, folder: Path, threads: int, workers: int
) -> tuple[Reader, list]:
    """Open the delivery and let its format say how it fills its contracts."""
    connection = duckdb.connect()
    connection.execute(f"set threads = {threads}")
    connection.execute(f"set memory_limit = '{_MEMORY_LIMIT_MB // workers}MB'")
    connection.execute(f"set temp_directory = '{folder / 'spill'}'")
    connection.execute("set autoinstall_known_extensions = false")
    try:
        connection.execute("set TimeZone = ?", [options.time_zone])
    except duckdb.Error as error:
        connection.close()
        raise IngestError(
            f"time zone {options.time_zone!r} of source {delivery.request.source!r} is not known. Use an IANA name, "
            "such as Asia/Kolkata."
        ) from error
    reader = Reader(connection, delivery.paths, folder, options, threads)
    for head in reader.heads:
        if not module.sniff(head):
            connection.close()
            seen = ", ".join(head.columns[:12])
            raise IngestError(
                f"{head.path}: this is not {module.NAME} (a {head.kind} file with: {seen}). Name another format, or "
                "use --format auto."
            )
    return reader, module.read(reader)


def _load(
    reader: Reader, module: ModuleType, extracts: list, *, batch_id: str, source: str, format_name: str
) -> dict[str, Loaded]:
    """Load every extract; a delivery that the fast reader refuses is read line by line, then from a repaired copy."""
    try:
        return {
            extract.contract: load(extract, reader, batch_id=batch_id, source=source, format_name=format_name)
            for extract in extracts
        }
    except (duckdb.Error, NeedsContent):
        if reader.is_careful and not reader.repair():
            raise
        reader.is_careful = True
        reader.notices.clear()
        return _load(reader, module, module.read(reader), batch_id=batch_id, source=source, format_name=format_name)


def _replaces_period(module: ModuleType, options: Options) -> bool:
    """Whether a newer delivery replaces the billing periods it holds: the format's rule, or what the mapping says."""
    return module.replaces_period(options) if module.NAME == MAPPING else module.REPLACES_PERIOD


def _options(request: IngestRequest) -> Options:
    cached, reasoning = request.token_convention or (None, None)
    return Options(request.time_zone, request.mapping_path, cached, reasoning)


def _options_hash(options: Options) -> str:
    """Hash of everything but the format that decides how the content is read; '' when nothing does."""
    if options == Options():
        return ""
    mapping = options.mapping.read_bytes() if options.mapping else b""
    text = f"{options.time_zone}|{options.input_includes_cached}|{options.output_includes_reasoning}|".encode()
    return hashlib.sha256(text + mapping).hexdigest()[:16]
