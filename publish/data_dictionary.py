"""The data dictionary: dbt's documentation of every model, column, test and metric, as one page that needs no server.

It stands beside the published file and is read without a network. The types in it come from the published file, so that
making it neither waits for the warehouse nor holds it up. A build leaves compiled SQL in dbt's manifest, with the paths
of the lake; the page has the SQL as it is written, and nothing of the place where it was made.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pertask.home import Home
from publish.publication import PublishError

_PROFILES = Path(__file__).parent
"""Folder of the profile that reads the published file."""
_SHOWN = ("dbt_project.yml", "models/**/*.*", "macros/**/*.sql", "seeds/*.yml", "tests/sql/*.sql")
# What dbt notes of the machine on which it ran, and what it made there.
_OF_THE_MACHINE = {"root_path", "build_path", "compiled_path", "compiled_code", "extra_ctes"}
_OF_THE_RUN = {"env": {}, "user_id": None, "invocation_id": None, "send_anonymous_usage_stats": False}


def write_docs(home: Home, project: Path, manifest: Path, environment: Mapping[str, str]) -> Path:
    """Write published/docs/index.html, which replaces the last one whole; returns its path.

    A page of the same models is left as it is.

    Args:
        home: the home whose publication is documented.
        project: the folder of the dbt project.
        manifest: dbt's manifest of it.
        environment: the variables with which dbt runs for the home.

    Raises:
        PublishError: nothing is published yet, dbt refuses, or the disk does; the last page stays.
    """
    page = home.published / "docs" / "index.html"
    mark = f"<!-- {_digest(project)} -->".encode("ascii")
    if _ends_with(page, mark):
        return page
    if not home.published_file.exists():
        raise PublishError(f"{home.published_file}: nothing is published yet. Run `pertask run` first.")
    scratch = page.with_name(f".{page.name}-{uuid.uuid4().hex[:12]}")
    try:
        home.spill.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="docs-", dir=home.spill) as folder:
            made = _generate(project, manifest, environment, Path(folder))
            page.parent.mkdir(parents=True, exist_ok=True)
            for leftover in page.parent.glob(f".{page.name}-*"):
                leftover.unlink(missing_ok=True)
            scratch.write_bytes(made.read_bytes() + b"\n" + mark)
        os.replace(scratch, page)
    except OSError as error:
        raise PublishError(f"{page}: was not written, and the last one stays: {error}") from error
    finally:
        scratch.unlink(missing_ok=True)
    return page


def _digest(project: Path) -> str:
    """Hash of all that the page is made from: the project's files, dbt's version and this module."""
    digest = hashlib.sha256(version("dbt-core").encode())
    for path in (Path(__file__), *(path for pattern in _SHOWN for path in sorted(project.glob(pattern)))):
        digest.update(os.path.relpath(path, project).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _ends_with(path: Path, mark: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            file.seek(-len(mark), os.SEEK_END)
            return file.read() == mark
    except OSError:
        return False


def _generate(project: Path, manifest: Path, environment: Mapping[str, str], folder: Path) -> Path:
    """Have dbt make the page in a folder of its own; it puts the manifest that it finds there into the page."""
    shown = _without_the_machine(json.loads(manifest.read_bytes()))
    (folder / "manifest.json").write_text(json.dumps(shown), encoding="utf-8")
    # dbt copies some variables of its own into what it writes.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DBT_")}
    paths = {"DBT_PROFILES_DIR": str(_PROFILES), "DBT_TARGET_PATH": str(folder), "DBT_LOG_PATH": str(folder)}
    done = subprocess.run(
        [
            # the one beside this Python: a virtual environment need not be activated
            str(Path(sys.executable).with_name("dbt")),
            *("--quiet", "--no-use-colors", "docs", "generate", "--static", "--no-compile"),
        ],
        cwd=project,
        env={**inherited, **environment, **paths},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PublishError(f"dbt could not document the models: {(done.stdout + done.stderr).strip()}")
    return folder / "static_index.html"


def _without_the_machine(shown: dict[str, Any]) -> dict[str, Any]:
    """The manifest, without what it says of the machine and the run."""
    shown["metadata"].update(_OF_THE_RUN)
    for kind in ("nodes", "unit_tests"):
        for node in shown[kind].values():
            node.update(dict.fromkeys(_OF_THE_MACHINE & node.keys()))
    return shown
