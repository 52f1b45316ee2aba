"""Real public data, where it is present: tests skip, saying so, where it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
REAL_DATA = Path(os.environ.get("PERTASK_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
MAPPINGS = Path(__file__).parent / "mappings"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of public traces and bills; the test is skipped where it does not exist."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data in {REAL_DATA} (set PERTASK_REAL_DATA)")
    return REAL_DATA


class Home:
    """A pertask home that is driven only through the command, as a user would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str | Path) -> str:
        """Run ``pertask`` with arguments; returns its output, fails the test when it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "pertask", *map(str, arguments)],
            env={**os.environ, "PERTASK_HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"pertask {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def query(self, sql: str) -> list[dict]:
        """Rows of the published marts."""
        return json.loads(self.run("query", sql, "--format", "json"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """An empty home for the module's tests."""
    home = Home(tmp_path_factory.mktemp("home"))
    home.run("init", home.folder)
    return home
