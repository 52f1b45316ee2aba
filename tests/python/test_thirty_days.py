"""Thirty days in a row, with what goes wrong in a month; at its end the marts of one clean run over the same files.

The sample company delivers day by day, as its files' times say, and `pertask run` runs every morning. Files come late,
a bill is restated, a file is corrupt and comes again, a check fails, a run is killed. The result of the last drill is
docs/drill.md, which this writes.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from ingest.sample import generate
from pertask.home import Home
from publish.publication import read_publication
from tests.python.homes import published_rows
from tests.python.orchestration.test_runs import REPOSITORY, copy_of_the_project

FIRST = date(2026, 8, 17)
DAYS = 30
FAILING_DAY, KILLED_DAY, CORRUPT_DAY = 12, 20, 7
LATE = {
    "landing/gateway/london/spend_logs_2026-08-20.jsonl.gz": 3,
    "landing/gpu/mumbai/2026-08-25": 4,
    "landing/tasks/tasks_2026-09-02.jsonl": 2,
}
"""What comes later than its time, and by how many days."""

BAD_CHECK = "select * from {{ ref('cost_per_task_daily') }} where cost_usd > 0\n"
KILLED_AT = re.compile(r"OK created sql incremental model core\.fct_call_attempts")
TELL_OF_PUBLICATIONS = {"quality.restatements", "quality.provisional_true_ups"}
"""Marts that say what moved between publications: a single clean run has moved nothing."""

RESULT = REPOSITORY / "docs" / "drill.md"


@dataclass(frozen=True)
class Day:
    """What a morning's run came to."""

    number: int
    date: date
    events: str
    exit_code: int
    seconds: float
    build_id: str
    was_published: bool
    cost_usd: str
    digest: str


@pytest.mark.drill
def test_thirty_days_end_as_one_clean_run(tmp_path: Path) -> None:
    generate(tmp_path / "company")
    company = Home(tmp_path / "company")
    project = copy_of_the_project(tmp_path / "project")
    home = Home(tmp_path / "home")
    shutil.copytree(company.root, home.root, ignore=shutil.ignore_patterns("landing", "truth*"))
    arrivals = timetable(company)
    check = project / "tests" / "sql" / "assert_nothing_costs_anything.sql"
    days: list[Day] = []
    for number in range(DAYS + 1):
        today = FIRST + timedelta(days=number - 1)
        events = deliver(company, home, arrivals, today, everything_before=number == 0)
        if number == CORRUPT_DAY:
            path = home.landing / "gateway" / "bengaluru" / f"spend_logs_{today - timedelta(days=1)}.jsonl.gz"
            path.write_bytes(hashlib.sha256(path.read_bytes()).digest() * 400)
            events.append("a log file is corrupt")
        if number == CORRUPT_DAY + 1:
            name = f"gateway/bengaluru/spend_logs_{today - timedelta(days=2)}.jsonl.gz"
            shutil.copy2(company.landing / name, home.landing / name)
            events.append("the corrupt file comes again, whole")
        if number == FAILING_DAY:
            check.write_text(BAD_CHECK, encoding="utf-8")
            events.append("a check fails")
        if number == FAILING_DAY + 1:
            check.unlink()
            events.append("the check is mended")
        before = digest(home)
        started = time.monotonic()
        code = kill_while_building(project, home) if number == KILLED_DAY else run(project, home)
        if number == KILLED_DAY:
            events.append("the run is killed (SIGKILL) while it builds")
        days.append(
            Day(
                number,
                today,
                "; ".join(events),
                code,
                time.monotonic() - started,
                read_publication(home.published_file).build_id,
                digest(home) != before,
                total_cost(home),
                digest(home),
            )
        )
        print(days[-1], flush=True)
        expected = {FAILING_DAY: 1, KILLED_DAY: -signal.SIGKILL, CORRUPT_DAY: 3}.get(number, 0)
        assert code == expected, f"day {number}: exit {code}, expected {expected}"
        assert days[-1].was_published == (number not in (FAILING_DAY, KILLED_DAY))

    clean = Home(tmp_path / "clean")
    shutil.copytree(home.root, clean.root, ignore=shutil.ignore_patterns("lake", "warehouse", "published"))
    assert run(REPOSITORY, clean) == 0
    found, expected = published_rows(home.root), published_rows(clean.root)
    assert found.keys() == expected.keys()
    differing = [mart for mart in expected if mart not in TELL_OF_PUBLICATIONS and found[mart] != expected[mart]]
    compared = {mart: len(rows) for mart, rows in expected.items() if mart not in TELL_OF_PUBLICATIONS}
    write_result(days, compared, differing)
    assert not differing
    assert sum(map(bool, compared.values())) > 20


def timetable(company: Home) -> dict[Path, date]:
    """When each file of the company arrives: at its own time, but for those that are late."""
    found = {}
    for path in sorted(company.landing.rglob("*")):
        if path.is_file():
            arrives = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
            late = [days for name, days in LATE.items() if path.is_relative_to(company.root / name)]
            found[path.relative_to(company.root)] = arrives + timedelta(days=sum(late))
    assert all(any(path.is_relative_to(name) for path in found) for name in LATE), "a late file is not there"
    return found


def deliver(
    company: Home, home: Home, arrivals: dict[Path, date], today: date, *, everything_before: bool
) -> list[str]:
    """Bring what arrives today; what is late has today's time."""
    events: dict[str, None] = {}
    if everything_before:
        events["a month of history"] = None
    for path, arrives in arrivals.items():
        if arrives != today and not (everything_before and arrives < today):
            continue
        target = home.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(company.root / path, target)
        if any(path.is_relative_to(name) for name in LATE):
            moment = datetime.combine(arrives, datetime.min.time(), UTC).timestamp() + 3600
            os.utime(target, (moment, moment))
            events[f"late: {'/'.join(path.parts[1:4])}"] = None
        elif "bills" in path.parts and not everything_before:
            first = "delivery_1" in str(path)
            events[f"{'a bill' if first else 'a restated bill'}: {path.parent.name[:7]}"] = None
    return list(events)


def command(project: Path, home: Home) -> dict:
    return {
        "args": [sys.executable, "-m", "pertask", "run"],
        "cwd": project,
        "env": {**os.environ, "PERTASK_HOME": str(home.root), "PYTHONPATH": str(project)},
        "stdout": subprocess.DEVNULL,
    }


def run(project: Path, home: Home) -> int:
    return subprocess.run(**command(project, home), check=False).returncode


def kill_while_building(project: Path, home: Home) -> int:
    """Kill the run and what it started as soon as a model is built."""
    log = home.logs / "dbt.log"
    seen = log.stat().st_size
    process = subprocess.Popen(**command(project, home), start_new_session=True)
    while not KILLED_AT.search(log.read_bytes()[seen:].decode(errors="replace")):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    return process.wait(60)


def digest(home: Home) -> str:
    path = home.published_file
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.exists() else ""


def total_cost(home: Home) -> str:
    with duckdb.connect(str(home.published_file), read_only=True) as connection:
        [(cost,)] = connection.execute("select sum(cost_usd) from core.fct_call_attempts").fetchall()
    return f"{cost:,.2f}"


def write_result(days: list[Day], compared: dict[str, int], differing: list[str]) -> None:
    """The drill's page in docs/."""
    ordinary = sorted(day.seconds for day in days if day.exit_code == 0 and day.number)
    rows = "\n".join(
        f"| {day.number} | {day.date} | {day.events} | {day.exit_code} | {'yes' if day.was_published else '**no**'} "
        f"| {day.build_id} | {day.cost_usd} | {day.digest} | {day.seconds:.0f} |"
        for day in days
    )
    verdict = f"**{len(differing)} differ: {', '.join(differing)}**" if differing else "none differs"
    RESULT.write_text(
        f"""\
# Thirty days

`make drill` (tests/python/test_thirty_days.py): the sample company delivers day by day, `pertask run` runs every
morning, and a month's mishaps happen. A day that fails leaves the publication of the day before byte for byte. This
page is what the last drill wrote, on {datetime.now(UTC):%Y-%m-%d}, with Python {platform.python_version()}, DuckDB
{duckdb.__version__} and {os.cpu_count()} processors.

| day | morning of | what happens | exit | published | build in force | USD of calls | SHA-256 | seconds |
|---|---|---|---|---|---|---|---|---|
{rows}

Exit 0 is done, 1 a failed check, 3 done but a delivery could not be read, -9 killed. A day's run took
{ordinary[len(ordinary) // 2]:.0f} s in the middle and {ordinary[-1]:.0f} s at most.

At the end the publication was compared with that of one clean run over the same files: {len(compared)} marts,
{sum(compared.values()):,} rows, row by row, without the moments of ingest; {verdict}. Left out are
{" and ".join(sorted(TELL_OF_PUBLICATIONS))}, which tell what moved from one publication to the next.
""",
        encoding="utf-8",
    )
