"""Real public data, where it is present: tests skip, saying so, where it is not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

import pertask.home
from pertask.cli import cli
from publish.publication import publish
from tests.python.building import build

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
    """A pertask home that is driven as a user would, in this process: starting the program each time costs minutes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str | Path) -> str:
        """Run ``pertask`` with arguments; returns what it printed, fails the test when it fails."""
        done = CliRunner().invoke(cli, [*map(str, arguments)], env={"PERTASK_HOME": str(self.folder)})
        assert done.exit_code == 0, f"pertask {' '.join(map(str, arguments))}\n{done.output}\n{done.exception!r}"
        return done.stdout

    def build(self) -> None:
        """Build the models and check them, without the graph around them."""
        build(pertask.home.Home(self.folder))

    def publish(self) -> None:
        """Build, and publish the marts."""
        self.build()
        publish(pertask.home.Home(self.folder))

    def query(self, sql: str) -> list[dict]:
        """Rows of the published marts."""
        return json.loads(self.run("query", sql, "--format", "json"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """An empty home for the module's tests."""
    home = Home(tmp_path_factory.mktemp("home"))
    home.run("init", home.folder)
    return home
