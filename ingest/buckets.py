"""Sources in S3-compatible buckets: their objects are mirrored into the home, and ingested from there as files.

The mirror of a source is a folder of its own, which holds what the bucket holds now, under the same names and times:
new and changed objects are fetched, and what is gone from the bucket goes; the lake keeps what came from it.
Credentials come from the environment alone, by the usual chain of AWS's tools.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ingest.errors import IngestError

if TYPE_CHECKING:
    import tenacity
    from pyarrow import NativeFile
    from pyarrow.fs import FileInfo, S3FileSystem

SCHEME = "s3://"

_AT_ONCE = 8
_CHUNK_BYTES = 8 << 20
"""With as many at once, fetching takes some 150 MB of memory, whatever the objects are."""

_TRIES = 4
_WAIT_SECONDS = 0.5
"""Before the second try; the later ones wait longer, up to eight seconds."""

_NAME_BYTES = 255
"""The longest file name that common file systems take."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\\]")


class BucketError(IngestError):
    """A bucket that cannot be listed or read; the message names the source and the bucket and says what to do."""


@dataclass(frozen=True)
class Bucket:
    """Where the objects of one source are.

    Attributes:
        source: the source's name.
        address: ``s3://bucket/...``, a folder, an object or a glob, as local paths are.
        mirrors: the folder of all mirrors.
        endpoint: ``https://host[:port]`` of a store that is not AWS's.
        region: the bucket's region; default: what the environment says, else us-east-1.
    """

    source: str
    address: str
    mirrors: Path
    endpoint: str | None = None
    region: str | None = None

    @property
    def name(self) -> str:
        """The bucket's name."""
        return split_address(self.address)[0]

    @property
    def key(self) -> str:
        """What of the bucket: the beginning of keys up to a slash, a key or a glob of keys; '' is all of it."""
        return split_address(self.address)[1]

    @property
    def mirror(self) -> Path:
        """The folder that is this source's alone. Its name is the source's, made safe for a file system."""
        return self.mirrors / quote(self.source, safe="").replace(".", "%2E")

    @property
    def path(self) -> Path:
        """What to ingest of the mirror: a folder, a file or a glob."""
        return self.mirror / self.name / self.key


@dataclass(frozen=True)
class BucketObject:
    """An object as the bucket lists it: its key, its size in bytes, and when it was written (UTC)."""

    key: str
    size: int
    modified_ns: int

    @property
    def modified_at(self) -> datetime:
        """When it was written, as a time."""
        return datetime.fromtimestamp(self.modified_ns / 1e9, UTC)


@dataclass(frozen=True)
class Problem:
    """An object that could not be fetched.

    Attributes:
        address: ``s3://bucket/key``.
        message: why, and what to do.
        path: where it would be in the mirror; of a key that no file can have, a path in the same folder.
    """

    address: str
    message: str
    path: Path


def split_address(address: str) -> tuple[str, str]:
    """The bucket and the rest of an address ``s3://bucket/...``.

    Raises:
        ValueError: it is none; the text says what is wrong.
    """
    name, _, key = address.removeprefix(SCHEME).partition("/")
    shown = without_credentials(address)
    if not address.startswith(SCHEME) or not _BUCKET.fullmatch(name):
        found = " Credentials do not belong in it: they come from the environment." if shown != address else ""
        raise ValueError(f"{shown!r} is no address of a bucket. Write it as s3://bucket/folder/.{found}")
    unusable = _unusable(key.removesuffix("/")) if key else ""
    if unusable:
        raise ValueError(f"{shown!r} cannot be mirrored: {unusable}.")
    return name, key


def without_credentials(address: str) -> str:
    """An address for a message: what stands before an @ may be a secret."""
    return re.sub(r"(?s)(?<=://).*@", "…@", address)


def listing(bucket: Bucket) -> list[BucketObject]:
    """What ingest would read of the bucket now, in the order of keys; nothing is fetched.

    Raises:
        BucketError: the bucket cannot be listed.
    """
    with _errors_for_people(bucket):
        return _listing(bucket, _store(bucket))


def fetch(bucket: Bucket, say: Callable[[str], None] | None = None) -> list[Problem]:
    """Make the mirror of a source what the bucket holds now; unchanged objects are not fetched again.

    An object is unchanged when its size and time are. Another process that fetches the same source is waited for.

    Args:
        bucket: the source's bucket.
        say: called with a line about what is fetched, when anything is.

    Returns:
        The objects that could not be fetched, while the others were.

    Raises:
        BucketError: the bucket could not be listed, or fetching broke off: the mirror may be incomplete.
    """
    with _errors_for_people(bucket), _locked(bucket.mirror) as scratch:
        store = _store(bucket)
        wanted, problems = _places(bucket, _listing(bucket, store))
        _prune(bucket.mirror / bucket.name, wanted)
        _prune_other_buckets(bucket)
        changed = {path: found for path, found in wanted.items() if not _is_unchanged(path, found)}
        if say and changed:
            size = sum(found.size for found in changed.values())
            objects = "1 object" if len(changed) == 1 else f"{len(changed):,} objects"
            say(f"ingest: fetching {objects}, {size / 1e6:,.1f} MB, of source {bucket.source}")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            jobs = [pool.submit(_fetch_object, bucket, store, found, path, scratch) for path, found in changed.items()]
            try:
                problems += [problem for job in jobs if (problem := job.result())]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return problems


def _store(bucket: Bucket) -> S3FileSystem:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    return S3FileSystem(
        endpoint_override=bucket.endpoint,
        region=bucket.region,
        connect_timeout=10,
        request_timeout=60,
        # Trying again is this module's, so that it is done once and for torn reads too.
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1),
    )


def _listing(bucket: Bucket, store: S3FileSystem) -> list[BucketObject]:
    """Objects below the address that are of use: not the names that ingest passes over, nor markers of folders."""
    from pyarrow.fs import FileType

    root, patterns = _fixed_part(bucket.key)
    found: list[BucketObject] = []
    for info in _retrying()(_infos, store, bucket, root, patterns):
        key = info.path.removeprefix(f"{bucket.name}/")
        if info.type != FileType.File:
            continue
        names = key.removeprefix(f"{root}/" if root else "").split("/")
        is_wanted = _matches(names, patterns) if patterns else key == root or not _is_passed_over(names)
        if is_wanted:
            found.append(BucketObject(key, info.size, info.mtime_ns))
    folders = {key[:end] for key in (one.key for one in found) for end in _slashes(key)}
    return sorted((one for one in found if one.size or one.key not in folders), key=lambda one: one.key)


def _infos(store: S3FileSystem, bucket: Bucket, root: str, patterns: Sequence[str]) -> list[FileInfo]:
    from pyarrow.fs import FileSelector

    place = f"{bucket.name}/{root}" if root else bucket.name
    try:
        return store.get_file_info(FileSelector(place, recursive=len(patterns) != 1 or patterns == ["**"]))
    except FileNotFoundError:
        # No folder: an object, or nothing yet.
        is_folder = patterns or bucket.key.endswith("/") or not root
        return [] if is_folder else [store.get_file_info(place)]


def _fixed_part(key: str) -> tuple[str, list[str]]:
    """A key's folders before its first glob character, and the rest, a pattern for each level; [] without a glob."""
    names = key.strip("/").split("/")
    first = next((number for number, name in enumerate(names) if glob.has_magic(name)), len(names))
    return "/".join(names[:first]), names[first:]


def _matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether a key may be one of a glob's, level by level; the glob over the mirror decides in the end."""
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(_matches(names[start:], patterns[1:]) for start in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], patterns[0]) and _matches(names[1:], patterns[1:])


def _is_passed_over(names: Sequence[str]) -> bool:
    # A level that is no name, as in a//b or a/../b, is told as a problem of its key.
    return any(name[:1] in ("_", ".") and name not in ("", ".", "..") for name in names)


def _slashes(key: str) -> Iterator[int]:
    return (match.start() for match in re.finditer("/", key))


def _places(bucket: Bucket, found: list[BucketObject]) -> tuple[dict[Path, BucketObject], list[Problem]]:
    """Where each object goes in the mirror, and those whose key no file can have."""
    folders = {one.key[:end] for one in found for end in _slashes(one.key)}
    root = bucket.mirror / bucket.name
    wanted: dict[Path, BucketObject] = {}
    problems: list[Problem] = []
    for one in found:
        reason = _unusable(one.key)
        if not reason and one.key in folders:
            reason = "other objects have it as their folder"
        if not reason:
            wanted[root / one.key] = one
            continue
        address = _printable(f"{SCHEME}{bucket.name}/{one.key}")
        message = (
            f"{address} (source {bucket.source!r}): cannot be kept as a file: {reason}. Rename the object, or narrow "
            "the path of the source."
        )
        problems.append(Problem(address, message, root.joinpath(*_usable_folders(one.key), "_unnamed")))
    return wanted, problems


def _unusable(key: str) -> str:
    """Why a key cannot be a path below the mirror; '' when it can."""
    if _UNUSABLE.search(key):
        return "a control character or backslash is in its name"
    for name in key.split("/"):
        if name in ("", ".", ".."):
            return "a part between slashes is empty, or made of dots"
        if len(name.encode()) > _NAME_BYTES:
            return f"a part between slashes is longer than {_NAME_BYTES} bytes"
    return ""


def _usable_folders(key: str) -> list[str]:
    """The folders of a key as far down as they can be folders."""
    folders: list[str] = []
    for name in key.split("/")[:-1]:
        if _unusable(name):
            break
        folders.append(name)
    return folders


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@contextlib.contextmanager
def _locked(mirror: Path) -> Iterator[Path]:
    """Hold a mirror, and yield a new scratch folder in it; what a killed process left there goes."""
    scratch = mirror / "_incoming"
    mirror.mkdir(parents=True, exist_ok=True)
    with open(mirror / "_lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _prune(root: Path, wanted: dict[Path, BucketObject]) -> None:
    """Remove from a mirror what is gone from the bucket, and the folders that this leaves empty.

    A folder of which only a part is gone, with nothing newer in it, stays as it was: objects that expire one by one
    do not make a bill of the rest.
    """
    newest: dict[Path, int] = {}
    for path, found in wanted.items():
        newest[path.parent] = max(found.modified_ns, newest.get(path.parent, 0))
    folders = {folder for path in wanted for folder in path.parents}
    for folder, _, names in os.walk(root, topdown=False):
        here = {path: path.stat().st_mtime_ns for path in (Path(folder, name) for name in names)}
        listed = newest.get(Path(folder))
        is_rewritten = listed is None or listed > max(here.values(), default=0)
        for path in here.keys() - wanted.keys():
            if is_rewritten or path in folders:
                path.unlink()
        if not os.listdir(folder):
            os.rmdir(folder)


def _prune_other_buckets(bucket: Bucket) -> None:
    """Remove what a source had of the bucket that it was in before."""
    for path in bucket.mirror.iterdir():
        if path.name not in (bucket.name, "_incoming", "_lock"):
            _prune(path, {})


def _is_unchanged(path: Path, found: BucketObject) -> bool:
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) == (found.size, found.modified_ns)


class _Changed(Exception):
    """The object was written while it was read."""


def _fetch_object(
    bucket: Bucket, store: S3FileSystem, found: BucketObject, path: Path, scratch: Path
) -> Problem | None:
    """Bring one object into the mirror; a problem that is the object's own is returned, others are raised."""
    try:
        _retrying()(_copy, store, f"{bucket.name}/{found.key}", found, path, scratch / uuid.uuid4().hex)
    except (_Changed, OSError) as error:
        reason = _object_reason(error)
        if not reason:
            raise
        address = _printable(f"{SCHEME}{bucket.name}/{found.key}")
        return Problem(address, f"{address} (source {bucket.source!r}): {reason}", path)
    return None


def _copy(store: S3FileSystem, remote: str, found: BucketObject, path: Path, scratch: Path) -> None:
    with store.open_input_stream(remote) as stream, open(scratch, "wb") as file:
        before = _version(stream)
        while chunk := stream.read(_CHUNK_BYTES):
            file.write(chunk)
    # Each chunk is a request of its own: two versions of an object must not be joined.
    with store.open_input_stream(remote) as stream:
        if _version(stream) != before:
            raise _Changed
    path.parent.mkdir(parents=True, exist_ok=True)
    # The time as listed: other requests tell it less precisely.
    os.utime(scratch, ns=(found.modified_ns, found.modified_ns))
    os.replace(scratch, path)


def _version(stream: NativeFile) -> tuple[bytes | None, ...]:
    """What tells one version of an object from another."""
    metadata = stream.metadata()
    return tuple(metadata.get(name) for name in ("ETag", "Last-Modified", "Content-Length"))


def _retrying() -> tenacity.Retrying:
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

    return Retrying(
        retry=retry_if_exception(_is_passing),
        stop=stop_after_attempt(_TRIES),
        wait=wait_random_exponential(multiplier=_WAIT_SECONDS, max=8),
        reraise=True,
    )


# What went wrong. Only codes are taken from the store's answers: their texts may repeat what was sent to it.

_CODE = re.compile(r"AWS Error (?:UNKNOWN \(HTTP status (\d+)\)|\[code (\d+)\]|([A-Z_]+))")
_NAME = re.compile(r"ExceptionName: (\w{1,60}) ")
_CURL = re.compile(r"curlCode: \d+, ([^;]{1,80})")
_REAL_REGION = re.compile(r"bucket is located in '([a-z0-9-]{1,40})'")

_PASSING = {
    "INTERNAL_FAILURE",
    "NETWORK_CONNECTION",
    "REQUEST_TIMEOUT",
    "SERVICE_UNAVAILABLE",
    "SLOW_DOWN",
    "THROTTLING",
}
_CREDENTIALS = {
    "ACCESS_KEY_DISABLED",
    "EXPIRED_TOKEN",
    "ExpiredToken",
    "INCOMPLETE_SIGNATURE",
    "INVALID_ACCESS_KEY_ID",
    "INVALID_CLIENT_TOKEN_ID",
    "INVALID_SIGNATURE",
    "InvalidToken",
    "MISSING_AUTHENTICATION_TOKEN",
    "REQUEST_EXPIRED",
    "SIGNATURE_DOES_NOT_MATCH",
    "TokenRefreshRequired",
    "UNRECOGNIZED_CLIENT",
}
_REGION = {
    "301",
    "307",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "TemporaryRedirect",
}
_FAULT_OF_THE_STORE = re.compile(r"HTTP status (5\d\d|429)\)")
_UNREADABLE_REFUSAL = "Failed to flush response stream"
"""What the AWS SDK makes of a refusal that is longer than the object would be."""

_DENIED = {"403", "ACCESS_DENIED", "AllAccessDisabled"}
_ARCHIVED = "136"
"""What the AWS SDK makes of InvalidObjectState."""


def _code(error: BaseException) -> str:
    """The code of a store's refusal: a name, else an HTTP status; '' when it is none."""
    text = str(error)
    found = _CODE.search(text)
    if not found:
        return ""
    name = _NAME.search(text)
    return name[1] if name else next(filter(None, found.groups()))


def _is_passing(error: BaseException) -> bool:
    """Whether the next try may succeed."""
    return isinstance(error, _Changed) or _code(error) in _PASSING or bool(_FAULT_OF_THE_STORE.search(str(error)))


def _object_reason(error: BaseException) -> str:
    """What is wrong with an object alone, and what to do; '' when the trouble is not the object's."""
    if isinstance(error, _Changed):
        return "it was written to while it was fetched. It is tried again each time."
    if _is_gone(error):
        return "it was listed, but is gone now. If the vendor puts others in its place, they are fetched the next time."
    if _code(error) in (*_DENIED, _ARCHIVED) or _UNREADABLE_REFUSAL in str(error):
        return (
            "access to this object is denied. Allow s3:GetObject on it, and the use of its key if it is encrypted; "
            f"restore it if it is archived.{_unset_hint()}"
        )
    return ""


def _is_gone(error: BaseException) -> bool:
    return (isinstance(error, FileNotFoundError) and error.filename is None) or _code(error) == "NO_SUCH_KEY"


@contextlib.contextmanager
def _errors_for_people(bucket: Bucket) -> Iterator[None]:
    """Turn what the store or the disk refuses into a BucketError."""
    from pyarrow import ArrowException

    try:
        yield
    except (OSError, ArrowException) as error:
        # The cause is left out: a trace would print the store's own text.
        raise BucketError(f"{bucket.address} (source {bucket.source!r}): {_reason(bucket, error)}") from None


def _reason(bucket: Bucket, error: Exception) -> str:
    code = _code(error)
    at = f"the endpoint {bucket.endpoint}" if bucket.endpoint else "AWS"
    if isinstance(error, OSError) and error.errno:
        full = " Make room." if error.errno == errno.ENOSPC else ""
        return f"{error.filename or bucket.mirror}: cannot be written ({error.strerror}).{full}"
    if code in ("NO_SUCH_BUCKET", "RESOURCE_NOT_FOUND"):
        return f"there is no bucket {bucket.name!r} at {at}. Check path and endpoint of the source in pertask.yml."
    if code in _CREDENTIALS:
        return (
            f"{at} does not accept the credentials ({code}). Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for "
            "temporary ones, AWS_SESSION_TOKEN in the environment."
        )
    if code == "REQUEST_TIME_TOO_SKEWED":
        return f"{at} finds that the clock of this machine is wrong. Set the clock."
    if code in _DENIED:
        return (
            f"access to the bucket {bucket.name!r} is denied. Allow s3:ListBucket on it and s3:GetObject on its "
            f"objects.{_unset_hint()}"
        )
    if code in _REGION:
        real = _real_region(bucket)
        where = f", but in {real}" if real else ""
        return (
            f"the bucket {bucket.name!r} is not in the region that was asked{where}. Set `region: "
            f"{real or '<region of the bucket>'}` for the source in pertask.yml."
        )
    if code == "NETWORK_CONNECTION":
        detail = _CURL.search(str(error))
        return (
            f"{at} cannot be reached{f' ({detail[1]})' if detail else ''}. Check endpoint in pertask.yml and the "
            "network."
        )
    if _is_passing(error):
        return f"{at} could not answer, {_TRIES} times ({code}). It is tried again each time."
    return f"{at} refuses to be read ({code or type(error).__name__}). Check path, endpoint and region of the source."


def _real_region(bucket: Bucket) -> str:
    """The region that the store names for a bucket, '' if it names none. A listing does not tell, an object does."""
    try:
        _store(bucket).get_file_info(f"{bucket.name}/region")
    except OSError as error:
        found = _REAL_REGION.search(str(error))
        return found[1] if found else ""
    return ""


def _unset_hint() -> str:
    if os.environ.get("AWS_PROFILE"):
        return ""
    unset = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not os.environ.get(name)]
    verb = "is" if len(unset) == 1 else "are"
    return f" {' and '.join(unset)} {verb} not set in this environment." if unset else ""
