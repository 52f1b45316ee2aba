"""Files and folders that an export replaces whole: a reader finds the old one or the new one, never a mix.

Everything is written beside the target under a hidden name and renamed at the end. What fails before that leaves the
target as it was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from pertask.errors import ExportError

MARKER = "_export.json"
"""The file that says that a folder is an export, and of what: only such a folder is ever replaced."""


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
        ExportError: the folder cannot be written, or ``path`` holds something that is no export; the old one stays.
    """
    scratch, aside = _scratch(path), path.with_name(f".{path.name}.before")
    with _told(path):
        try:
            if aside.exists() and not path.exists():
                os.rename(aside, path)
            _check_replaceable(path)
            scratch.mkdir(parents=True)
            yield scratch
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
        raise ExportError(f"{path}: is no folder. Name another one with --output.")
    if path.exists() and any(path.iterdir()) and not (path / MARKER).exists():
        raise ExportError(
            f"{path}: holds files that are no export, and an export replaces its folder whole. Name another one with "
            "--output."
        )


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
