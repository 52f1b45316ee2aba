"""SIGKILL in every stage of a run, then going on: the same marts as an undisturbed run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pertask.home import Home
from publish.publication import publish
from tests.python.building import build, ingest_sources
from tests.python.homes import SmallHome, published_rows

pytestmark = pytest.mark.long

RUN_SECONDS = 240

# What the killed process itself does: the test's own driver kills it inside ingest or publication.
OWN_STAGES = {"part written": "ingest", "part moved": "ingest", "ledger": "ingest", "publication": "run"}
# What dbt reports in its log: the test kills the whole process group when the line appears.
DBT_STAGES = {
    "models": re.compile(r"OK created sql incremental model core\.fct_call_attempts"),
    "tests": re.compile(r"\bPASS \w*fct_tasks"),
}

DRIVER = """
import os, signal, sys
from pathlib import Path

stage, marker, command = sys.argv[1], Path(sys.argv[2]), sys.argv[3]

def kill():
    marker.write_text(stage)
    os.kill(os.getpid(), signal.SIGKILL)

import ingest.lake as lake
import publish.publication as publication

place_parts, record, replace = lake.Lake.place_parts, lake.Lake.record, os.replace

if stage == "part written":
    lake.Lake.place_parts = lambda *arguments: kill()
elif stage == "part moved":
    def replace_then_die(source, target):
        replace(source, target)
        placed = Path(target)
        if placed.suffix == ".parquet" and "llm_calls" in placed.parts and placed.name != "00-no-rows.parquet":
            kill()
    lake.os.replace = replace_then_die
elif stage == "ledger":
    def record_then_die(self, attempt, batch):
        record(self, attempt, batch)
        kill()
    lake.Lake.record = record_then_die
elif stage == "publication":
    def die_instead(source, target):
        if Path(target).name == "pertask.duckdb" and Path(target).parent.name == "published":
            kill()
        replace(source, target)
    publication.os.replace = die_instead

sys.argv = ["pertask", command]
from pertask.cli import main
main()
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    """The marts of a run that nothing disturbed."""
    home = SmallHome(tmp_path_factory.mktemp("undisturbed"))
    home.deliver_all()
    return finish(home)


def finish(small: SmallHome) -> dict[str, list]:
    """Do in this process what a run does; returns the published rows."""
    home = Home(small.folder)
    ingest_sources(home)
    build(home)
    publish(home)
    return published_rows(home.root)


def start(home: SmallHome, *command: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "PERTASK_HOME": str(home.folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.mark.parametrize("stage", [*OWN_STAGES, *DBT_STAGES])
def test_a_killed_run_leaves_nothing_that_the_next_does_not_mend(stage, tmp_path, undisturbed, record_property):
    home = SmallHome(tmp_path / "home")
    home.deliver_all()
    marker = tmp_path / "stage"
    if stage in OWN_STAGES:
        process = start(home, "-c", DRIVER, stage, str(marker), OWN_STAGES[stage])
        process.wait(RUN_SECONDS)
        hit = marker.read_text()
    else:
        process = start(home, "-m", "pertask", "run")
        hit = kill_when_logged(process, home.folder / "warehouse", DBT_STAGES[stage])
    assert process.wait(RUN_SECONDS) == -signal.SIGKILL
    record_property("stage_hit", hit)
    print(f"killed at {stage}: {hit}")
    if stage == "publication":
        assert not (home.folder / "published" / "pertask.duckdb").exists()

    assert finish(home) == undisturbed


def kill_when_logged(process: subprocess.Popen, warehouse: Path, line: re.Pattern[str]) -> str:
    """Kill the process group as soon as a line stands in dbt's log; returns the line's match."""
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before the stage was reached"
        for log in warehouse.rglob("dbt.log"):
            found = line.search(log.read_text(errors="replace"))
            if found:
                os.killpg(process.pid, signal.SIGKILL)
                return found.group()
        time.sleep(0.02)
    raise AssertionError("the stage was never reached")
