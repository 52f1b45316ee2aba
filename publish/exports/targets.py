"""Files and folders that an export replaces whole: a reader finds the old one or the new one, never a mix.

Everything is written beside the target under a hidden name and renamed at the end. What fails before that leaves the
target as it was. What is not an earlier export is never replaced, as far as it can be told: a file by its name and
place, a folder by the list of files that its export left in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from pertask.errors import ExportError, TargetError
from pertask.home import Home

MARKER = "_export.json"
"""The file that says that a folder is an export, and of what: only such a folder is ever replaced."""
_NAMED = 5
"""Files that a message names."""


def export_target(home: Home, output: Path | None, default: str) -> Path:
    """Where an export goes, absolute: ``output``, else ``default`` in published/exports/.

    Args:
        home: the home; within it, exports go nowhere else.
        output: what the user asks for; None: nothing.
        default: name of the file or folder; a file has the suffix of its format.

    Raises:
        TargetError: ``output`` has another suffix than the format's, or is in the home and not in published/exports/.
    """
    if output is None:
        return home.exports / default
    path, suffix = output.absolute(), Path(default).suffix
    if suffix and path.suffix.lower() != suffix and not path.is_dir():
        raise TargetError(
            f"{path}: this export is a {suffix} file. Give --output a name that ends in {suffix}, such as "
            f"{path.with_suffix(suffix).name}."
        )
    root, exports = _real(home.root), _real(home.exports)
    # Both the link, if it is one, and what it leads to.
    for place in (_real(path.parent) / path.name, _real(path)):
        if place.is_relative_to(root) and exports not in place.parents:
            raise TargetError(
                f"{path}: is in the home, where exports go to {home.exports} alone. Name a place in that folder or "
                "outside of the home with --output."
            )
    return path


@contextlib.contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of ``path`` at the end of the block.

    Raises:
        ExportError: the file cannot be written; the old one stays.
    """
    scratch = _scratch(path)
    with _told(path):
        try:
            if path.is_dir():
                raise IsADirectoryError(f"it is a folder. Name a file, such as {path / 'pertask'}{path.suffix}")
            path.parent.mkdir(parents=True, exist_ok=True)
            yield scratch
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """A new folder to write into, which takes the place of ``path`` at the end of the block.

    A folder cannot be renamed over another one. So the old one steps aside first: between the two renames there is no
    folder for an instant. Should the process die right there, the next export puts the old one back before it starts.

    Raises:
        ExportError: the folder cannot be written; the old one stays.
        TargetError: ``path`` holds something that is not of an earlier export.
    """
    scratch, aside = _scratch(path), path.with_name(f".{path.name}.before")
    with _told(path):
        try:
            if aside.exists() and not path.exists():
                os.rename(aside, path)
            _check_replaceable(path)
            scratch.mkdir(parents=True)
            yield scratch
            # Once more: somebody may have put a file there meanwhile.
            _check_replaceable(path)
            shutil.rmtree(aside, ignore_errors=True)
            if path.exists():
                os.rename(path, aside)
            try:
                os.rename(scratch, path)
            except OSError:
                if aside.exists():
                    os.rename(aside, path)
                raise
            shutil.rmtree(aside, ignore_errors=True)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` for what is needed only while it is written: on the disk that must have the room."""
    folder = _scratch(path)
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_replaceable(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise TargetError(f"{path}: is no folder. Name another one with --output.")
    if not path.exists():
        return
    foreign = sorted(_files(path) - _exported(path))
    if foreign:
        more = f" and {len(foreign) - _NAMED:,} more" if len(foreign) > _NAMED else ""
        raise TargetError(
            f"{path}: holds files that are no export of pertask's: {', '.join(foreign[:_NAMED])}{more}. An export "
            "replaces its folder whole, so move them elsewhere, or name another folder with --output. Nothing was "
            "written."
        )


def _files(folder: Path) -> set[str]:
    """Everything below a folder but plain folders, as paths within it."""
    found: set[str] = set()
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        found.update(Path(place, name).relative_to(folder).as_posix() for name in (*files, *links))
    return found


def _exported(folder: Path) -> set[str]:
    """The files that the export in a folder is made of, by its own list; none where there is no such list."""
    try:
        facts = json.loads((folder / MARKER).read_bytes())
        return {MARKER, *(mart["file"] for mart in facts["marts"])}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return set()


def _real(path: Path) -> Path:
    """The path without links; of links that go round in a circle too, which Path.resolve refuses."""
    return Path(os.path.realpath(path))


def _scratch(path: Path) -> Path:
    return path.with_name(f".{path.name}-{uuid.uuid4().hex[:12]}")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the disk or DuckDB refuses into a message."""
    import duckdb

    try:
        yield
    except (OSError, duckdb.Error) as error:
        stays = " What was there stays as it was." if path.exists() else ""
        raise ExportError(f"{path}: was not written: {error}.{stays}") from error
