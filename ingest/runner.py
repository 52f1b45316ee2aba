"""From configured sources to committed batches: finds the deliveries, reads several at a time, reports each."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import duckdb

from ingest.buckets import Bucket, fetch
from ingest.errors import IngestError
from ingest.formats import MAPPING, load_format, sniff
from ingest.lake import Attempt, Lake, batch_id, hash_file
from ingest.ledger import Batch, SourceFile
from ingest.reading import UNSEEN, Options, Reader, literal, names_seen, read_head
from ingest.rows import Loaded, NeedsContent, load

_MEMORY_LIMIT_MB = 3000
_BUNDLE_FILES = 16
_BUNDLE_BYTES = 4 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
        bucket: where the files come from, if not from this machine: ``path`` is then the bucket's mirror.
    """

    source: str
    path: Path
    format: str = "auto"
    mapping_path: Path | None = None
    delivered_at: datetime | None = None
    time_zone: str = "UTC"
    token_convention: tuple[bool | None, bool | None] | None = None
    bucket: Bucket | None = None


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
    is_folder: bool = False

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
    say: Callable[[str], None] | None = None,
) -> list[BatchResult]:
    """Bring every delivery of the requests into the lake; deliveries that are there already cost almost nothing.

    Args:
        lake_root: the lake's folder; created when absent.
        requests: the sources.
        workers: deliveries read at once; default: the number of processors.
        progress: called after each delivery with its result, how many are done, and how many there are.
        say: called with a line about what is fetched from a bucket.

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
            found, failed = _arrived(request, say)
        except IngestError as error:
            name = request.bucket.address if request.bucket else str(request.path)
            results.append(BatchResult(request.source, name, "failed", request.format, message=str(error)))
        else:
            deliveries.extend(found)
            results.extend(failed)
    processors = os.cpu_count() or 1
    deliveries = _joined(deliveries)
    workers = max(1, min(workers or processors, len(deliveries) or 1))
    total = len(deliveries) + len(results)
    for number, result in enumerate(results, 1):
        if progress:
            progress(result, number, total)
    with contextlib.ExitStack() as stack:
        spill = stack.enter_context(lake.attempt()).folder
        database = stack.enter_context(contextlib.closing(_database(spill, processors)))
        run = _Run(lake, known, database, max(1, processors // workers))
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        jobs = [pool.submit(_ingest_some, run, bundle) for bundle in _bundles(deliveries)]
        for job in jobs:
            for result in job.result():
                results.append(result)
                if progress:
                    progress(result, len(results), total)
    return results


def _arrived(request: IngestRequest, say: Callable[[str], None] | None) -> tuple[list[Delivery], list[BatchResult]]:
    """The deliveries of a request that are here as a whole, and what of a bucket could not be fetched.

    Raises:
        IngestError: the path does not exist, or the bucket cannot be read.
    """
    if request.bucket is None:
        return list(find_deliveries(request)), []
    problems = fetch(request.bucket, say)
    lacking = [problem.path for problem in problems]
    failed = [(problem.address, problem.message) for problem in problems]
    whole: list[Delivery] = []
    for delivery in find_deliveries(request):
        if _is_whole(delivery, lacking):
            whole.append(delivery)
        else:
            why = "a part of it could not be fetched, and half a bill would lose the other half"
            failed.append((delivery.name, f"{delivery.name}: held back: {why}."))
    return whole, [BatchResult(request.source, name, "failed", request.format, message=why) for name, why in failed]


def _is_whole(delivery: Delivery, lacking: Sequence[Path]) -> bool:
    """Whether no file that could not be fetched belongs to a delivery."""
    if not (delivery.is_folder and lacking):
        return True
    module = _module(delivery.request, delivery.paths[0])
    return _place(module, delivery.paths[0]) not in [_place(module, path) for path in lacking]


def _bundles(deliveries: list[Delivery]) -> Iterator[list[Delivery]]:
    """Deliveries to be read with one query: planning it takes longer than reading a small file."""
    bundle: list[Delivery] = []
    size = 0
    for delivery in deliveries:
        bytes_ = sum(path.stat().st_size for path in delivery.paths if path.exists())
        fits = (
            bundle
            and bundle[0].request is delivery.request
            and len(delivery.paths) == len(bundle[0].paths) == 1
            and len(bundle) < _BUNDLE_FILES
            and size + bytes_ <= _BUNDLE_BYTES
        )
        if bundle and not fits:
            yield bundle
            bundle, size = [], 0
        bundle.append(delivery)
        size += bytes_
    if bundle:
        yield bundle


def _database(spill: Path, threads: int) -> duckdb.DuckDBPyConnection:
    """The one database of a run: opening one for each delivery would cost more than reading a small file."""
    database = duckdb.connect()
    database.execute(f"set threads = {threads}")
    database.execute(f"set memory_limit = '{_MEMORY_LIMIT_MB}MB'")
    database.execute(f"set temp_directory = {literal(spill)}")
    database.execute("set autoinstall_known_extensions = false")
    return database


def find_deliveries(request: IngestRequest) -> Iterator[Delivery]:
    """Yield the deliveries under a request's path, files in name order; names starting with . or _ are left out.

    Raises:
        IngestError: the path does not exist; a bucket may hold nothing yet.
    """
    root = Path(request.path)
    if root.is_dir():
        paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
        paths = [path for path in paths if not any(part[0] in "._" for part in path.relative_to(root).parts)]
    elif root.exists():
        paths = [root]
    else:
        paths = [Path(name) for name in sorted(glob.glob(str(root), recursive=True)) if Path(name).is_file()]
        if not paths and request.bucket is None:
            raise IngestError(f"{root}: there is no such file or folder. Check the path of source {request.source!r}.")
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        module = _module(request, path)
        if module is None or module.DELIVERY == "file":
            yield Delivery(request, (path,))
        else:
            folders.setdefault(_place(module, path), []).append(path)
    for parts in folders.values():
        yield Delivery(request, tuple(parts), is_folder=True)


def _joined(deliveries: list[Delivery]) -> list[Delivery]:
    """Deliveries with the parts of one folder together, when a command names them one by one.

    Apart, the second part of a bill would replace the periods of the first.
    """
    joined: dict[tuple, Delivery] = {}
    for delivery in deliveries:
        place = (delivery.request, delivery.paths)
        if delivery.is_folder:
            folder = _place(_module(delivery.request, delivery.paths[0]), delivery.paths[0])
            place = (replace(delivery.request, path=folder),)
        known = joined.get(place)
        paths = tuple(dict.fromkeys([*(known.paths if known else ()), *delivery.paths]))
        joined[place] = replace(known or delivery, paths=paths)
    return list(joined.values())


def _module(request: IngestRequest, path: Path) -> ModuleType | None:
    """The format of a file; None where nothing knows it, which is told when it is read."""
    name = request.format
    if name == "auto":
        try:
            name = sniff(read_head(path))
        except IngestError:
            return None
    return load_format(name)


def _place(module: ModuleType, path: Path) -> Path:
    """What the parts of a delivery have in common: their folder, where the format knows no better."""
    return module.delivery_place(path) if hasattr(module, "delivery_place") else path.parent


class _Known:
    """What the ledger knows: hashes of unchanged files, and batches by id. The threads of a run share it."""

    def __init__(self, batches: dict[str, Batch]) -> None:
        self._batches = batches
        self._hashes = {
            (file.path, file.size, file.mtime_ns): file.sha256 for batch in batches.values() for file in batch.files
        }
        self._guard = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}

    def file(self, path: Path) -> SourceFile:
        """A file with its hash; an unchanged path, size and time skip hashing."""
        status = path.stat()
        absolute = str(path.resolve())
        sha256 = self._hashes.get((absolute, status.st_size, status.st_mtime_ns)) or hash_file(path)
        return SourceFile(absolute, path.name, status.st_size, status.st_mtime_ns, sha256)

    @contextlib.contextmanager
    def turns(self, identities: Iterable[str]) -> Iterator[None]:
        """Deliveries of the same content take turns: hold those of some identities."""
        with self._guard:
            # In one order everywhere, so that no two threads wait for each other.
            turns = [self._turns.setdefault(identity, threading.Lock()) for identity in sorted(set(identities))]
        with contextlib.ExitStack() as stack:
            for turn in turns:
                stack.enter_context(turn)
            yield

    def batch(self, identity: str) -> Batch | None:
        """What the ledger has of an identity; to be called within its turn."""
        return self._batches.get(identity)

    def remember(self, batch: Batch) -> None:
        """Note what the ledger has now; to be called within the batch's turn."""
        self._batches[batch.batch_id] = batch


@dataclass(frozen=True)
class _Run:
    """What the deliveries of one run share: ``threads`` is how many processors each may use."""

    lake: Lake
    known: _Known
    database: duckdb.DuckDBPyConnection
    threads: int


@dataclass(frozen=True)
class _Order:
    """A delivery that is ready to be read: ``batch`` is what it will be, without what reading will tell."""

    delivery: Delivery
    batch: Batch
    module: ModuleType
    options: Options


def _ingest_some(run: _Run, deliveries: list[Delivery]) -> list[BatchResult]:
    """Bring deliveries of one source in, those that are new together where that is possible."""
    results: dict[Delivery, BatchResult] = {}
    orders: list[_Order] = []
    for delivery in deliveries:
        with _failing(results, delivery):
            orders.append(_order(run, delivery))
    with run.known.turns(order.batch.batch_id for order in orders):
        together: dict[tuple, dict[str, _Order]] = {}
        for order in orders:
            known = run.known.batch(order.batch.batch_id)
            if known is None or known.recipe != order.batch.recipe:
                together.setdefault((order.module.NAME, order.options), {}).setdefault(order.batch.batch_id, order)
        for group in together.values():
            results |= _read_and_record(run, list(group.values()))
        for order in orders:
            if order.delivery in results:
                continue
            if run.known.batch(order.batch.batch_id):
                with _failing(results, order.delivery):
                    results[order.delivery] = _known_already(run, order)
            else:
                # The other delivery of the same content failed, and so will this one, under its own name.
                results |= _read_and_record(run, [order])
    return [results[delivery] for delivery in deliveries]


@contextlib.contextmanager
def _failing(results: dict[Delivery, BatchResult], delivery: Delivery) -> Iterator[None]:
    """Turn what can go wrong with a delivery into its result: a failed delivery loses nothing of the others."""
    try:
        yield
        return
    except IngestError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename or delivery.name}: {error.strerror or error}"
    except duckdb.Error as error:
        message = f"{delivery.name}: {_reason(error)}"
    request = delivery.request
    results[delivery] = BatchResult(request.source, delivery.name, "failed", request.format, message=message)


def _reason(error: duckdb.Error) -> str:
    """Why DuckDB could not read a delivery, in words of our own: its messages quote the rows that they are about."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return "too large to read in memory and on the disk of the lake. Split it, or make room."
    if isinstance(error, duckdb.IOException):
        return f"cannot be read or written ({str(error).splitlines()[0]})."
    if isinstance(error, duckdb.BinderException | duckdb.CatalogException | duckdb.ParserException):
        # These speak of our own query.
        return f"pertask could not ask for its rows, which is a fault of pertask ({str(error).splitlines()[0]})."
    return f"cannot be read ({type(error).__name__}). It may be damaged: have it delivered again."


def _order(run: _Run, delivery: Delivery) -> _Order:
    request = delivery.request
    files = tuple(run.known.file(path) for path in delivery.paths)
    format_name = request.format
    if format_name == "auto":
        format_name = sniff(read_head(delivery.paths[0]))
    module = load_format(format_name)
    newest = _EPOCH + timedelta(microseconds=max(file.mtime_ns for file in files) // 1000)
    delivered_at = request.delivered_at or newest
    # What a delivery was seen to say at another time is another observation, be the content the same.
    observed_at = delivered_at if getattr(module, "IS_OBSERVATION", False) else None
    options = replace(_options(request), observed_at=observed_at)
    contents = [file.sha256 for file in files] + ([observed_at.isoformat()] if observed_at else [])
    contracts = module.contracts(options) if format_name == MAPPING else module.CONTRACTS
    batch = Batch(
        batch_id=batch_id(request.source, contracts, contents),
        attempt="",
        source=request.source,
        format=format_name,
        format_version=module.VERSION,
        options_hash=_options_hash(options),
        delivered_at=delivered_at,
        committed_at=datetime.now(UTC),
        files=files,
        parts=(),
        counts={},
        replaces_period=_replaces_period(module, options),
    )
    return _Order(delivery, batch, module, options)


def _read_and_record(run: _Run, orders: list[_Order]) -> dict[Delivery, BatchResult]:
    """Read deliveries of one format, place their parts and commit each; one by one where together fails."""
    results: dict[Delivery, BatchResult] = {}
    try:
        with run.lake.attempt() as attempt:
            with _reader(run, orders, attempt) as reader:
                loaded = _load(reader, orders)
            for order in orders:
                results[order.delivery] = _record(run, order, attempt, loaded[order.batch.batch_id], reader)
    except (IngestError, OSError, duckdb.Error):
        if len(orders) > 1:
            for order in orders:
                if order.delivery not in results:
                    results |= _read_and_record(run, [order])
        else:
            with _failing(results, orders[0].delivery):
                raise
    return results


def _record(run: _Run, order: _Order, attempt: Attempt, loaded: dict[str, Loaded], reader: Reader) -> BatchResult:
    """Place a batch's parts and commit it."""
    existing = run.known.batch(order.batch.batch_id)
    parts = [part for one in loaded.values() for part in one.parts]
    batch = replace(
        order.batch,
        attempt=attempt.name,
        committed_at=datetime.now(UTC),
        parts=run.lake.place_parts(attempt, order.batch.batch_id, parts),
        counts={contract: one.counts for contract, one in loaded.items()},
        bill_keys=tuple(key for one in loaded.values() for key in one.bill_keys),
        notices=reader.notices_of(order.delivery.paths),
    )
    committed = run.lake.commit(attempt, batch, existing)
    run.known.remember(committed)
    if committed is not batch:
        return _result(committed, order.delivery, "unchanged", "another process has brought it in meanwhile")
    message = "; ".join(batch.notices)
    if existing:
        was = f"was {existing.format} version {existing.format_version}"
        message = "; ".join(filter(None, [f"read again another way ({was})", message]))
    return _result(batch, order.delivery, "replaced" if existing else "committed", message)


def _known_already(run: _Run, order: _Order) -> BatchResult:
    """The same content, read the same way. A bill that comes again later, as another file, is newer all the same."""
    batch, delivery = order.batch, order.delivery
    existing = run.known.batch(batch.batch_id)
    is_other_file = not any(_is_same_file(run.lake, old, new) for old in existing.files for new in batch.files)
    comes_again = is_other_file or delivery.request.delivered_at
    if existing.replaces_period and batch.delivered_at > existing.delivered_at and comes_again:
        newer = run.lake.redeliver(existing, batch.delivered_at, batch.files)
        run.known.remember(newer)
        return _result(newer, delivery, "redelivered", "the same bill again: it is now the newest of its periods")
    return _result(existing, delivery, "unchanged", "")


def _is_same_file(lake: Lake, old: SourceFile, new: SourceFile) -> bool:
    """Whether two files are one by their path; within the home by their place in it.

    A home that was moved or restored has the same files, and their times, which a copy may have lost, must not make an
    old bill the newest.
    """
    if old.path == new.path:
        return True
    home = lake.root.resolve().parent
    path = Path(new.path)
    return path.is_relative_to(home) and old.path.endswith(f"/{path.relative_to(home).as_posix()}")


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


@contextlib.contextmanager
def _reader(run: _Run, orders: list[_Order], attempt: Attempt) -> Iterator[Reader]:
    """A reader of the deliveries, with a connection and a catalog of its own that go when it ends."""
    catalog = f"attempt_{attempt.name}"
    options = orders[0].options
    paths = tuple(path for order in orders for path in order.delivery.paths)
    with contextlib.closing(run.database.cursor()) as connection:
        try:
            connection.execute("set TimeZone = ?", [options.time_zone])
        except duckdb.Error as error:
            raise IngestError(
                f"time zone {options.time_zone!r} of source {orders[0].batch.source!r} is not known. Use an IANA "
                "name, such as Asia/Kolkata."
            ) from error
        # Compressed in memory is faster than on disk and spills when it does not fit.
        connection.execute(f"attach ':memory:' as {catalog} (compress)")
        try:
            yield Reader(connection, paths, attempt.folder, options, run.threads, catalog)
        finally:
            connection.execute(f"detach {catalog}")


def _load(reader: Reader, orders: list[_Order]) -> dict[str, dict[str, Loaded]]:
    """Load deliveries; what the fast reader refuses is read line by line, then from a repaired copy.

    Returns:
        By batch and contract, what was loaded.

    Raises:
        IngestError: a file is not of the format.
    """
    module, first = orders[0].module, orders[0].batch
    for head in reader.heads:
        if not module.sniff(head):
            raise IngestError(
                f"{head.path}: this is not {module.NAME} (a {head.kind} file with: {names_seen(head)}). Name another "
                "format, or use --format auto."
            )
    batches = {path: order.batch.batch_id for order in orders for path in order.delivery.paths}
    while True:
        loaded: dict[str, dict[str, Loaded]] = {batch: {} for batch in batches.values()}
        try:
            for extract in module.read(reader):
                found = load(extract, reader, batches=batches, source=first.source, format_name=first.format)
                for batch, one in found.items():
                    loaded[batch][extract.contract] = one
            return loaded
        except (duckdb.Error, NeedsContent) as error:
            if reader.trusts_samples and UNSEEN in str(error):
                reader.trusts_samples = False
                reader.notices.clear()
                continue
            if reader.is_careful and not reader.repair():
                raise
            reader.is_careful = True
            reader.notices.clear()
            if first.replaces_period and reader.truncated:
                path, line, _ = reader.truncated[0]
                raise IngestError(
                    f"{path}: the compressed file is cut off after line {line}. A bill replaces its periods, so half a "
                    "bill would lose the other half: have it delivered again."
                ) from None


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
    text = f"{options.time_zone}|{options.input_includes_cached}|{options.output_includes_reasoning}|"
    if options.observed_at:
        text += f"{options.observed_at.isoformat()}|"
    return hashlib.sha256(text.encode() + mapping).hexdigest()[:16]
