"""The parts of the benchmark: what each runs on a company's home, and the figures it gives.

A part needs a stage of the home (landing files, lake, warehouse, publication). Where it is not there, it is made first,
unmeasured, so that any part can be run alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import company
import step
from measuring import CommandFailed, Usage, measure

ROOT = Path(__file__).resolve().parents[1]
BENCH = Path(__file__).parent
FOUR_MARTS = ("cost_per_task_daily", "retry_overhead_daily", "gpu_utilisation_hourly", "idle_dollars_daily")
SOURCES = ("gateway", "outcomes", "bill", "telemetry", "windows", "links")
START_UP_ROUNDS = 5
BYTES_A_CALL_OF_A_BUILD = 1200
"""Disk that warehouse, spill and publication take, generously; the log is deleted before a build that lacks it."""
_STAGES = ("landing", "lake", "warehouse", "publication")

Figures = dict[str, Any]


@dataclass(frozen=True)
class Site:
    """One company in the scratch folder.

    Attributes:
        folder: holds the home, stage marks, logs of commands and what baselines write.
        calls: lines of the gateway's log.
        days: its days.
        say: called with each line of progress.
    """

    folder: Path
    calls: int
    days: int
    say: Callable[[str], None]

    @property
    def home(self) -> Path:
        """The home that pertask works in."""
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        """What pertask's commands need."""
        return _environment(self.home)

    def run(self, name: str, *command: str, environment: dict[str, str] | None = None) -> Usage:
        """Measure a command, and say how it went."""
        self.say(f"{name} ...")
        usage = measure(
            command, environment=environment or self.environment, log=self.folder / "logs" / re.sub(r"\W+", "-", name)
        )
        self.say(
            f"{name}: {usage.seconds:.1f} s, {usage.cpu_seconds:.1f} s of processor, {usage.peak_gib:.2f} GiB at most"
        )
        return usage

    def pertask(self, *arguments: str) -> Usage:
        """Measure a command of pertask."""
        shown = " ".join(Path(argument).name if "/" in argument else argument for argument in arguments)
        return self.run(f"pertask {shown[:40]}", sys.executable, "-m", "pertask", *arguments)

    def step(self, name: str, *arguments: object) -> Usage:
        """Measure one of the steps of ``step.py``."""
        return self.run(name, sys.executable, str(BENCH / "step.py"), *map(str, arguments))

    def generate(self, first: date) -> None:
        """Write the company's home."""
        self.step(f"writing {self.calls:,} calls", "generate", self.home, self.calls, self.days, first)

    def has(self, stage: str) -> bool:
        """Whether the home has come as far as a stage."""
        return (self.folder / "stages" / stage).exists()

    def reach(self, stage: str) -> None:
        """Bring the home as far as a stage, unmeasured, where it is not there yet."""
        if self.has(stage):
            return
        place = _STAGES.index(stage)
        if place:
            self.reach(_STAGES[place - 1])
        if stage == "landing":
            self.generate(company.FIRST_DAY)
        else:
            if stage == "warehouse":
                self.make_room()
            self.pertask({"lake": "ingest", "warehouse": "build", "publication": "publish"}[stage])
        self.mark(stage)

    def mark(self, stage: str) -> None:
        """Note that the home has come as far as a stage."""
        (self.folder / "stages").mkdir(parents=True, exist_ok=True)
        (self.folder / "stages" / stage).touch()

    def forget(self, stage: str) -> None:
        """Note that the home has not come as far as a stage."""
        (self.folder / "stages" / stage).unlink(missing_ok=True)

    def has_log(self) -> bool:
        """Whether the gateway's log is there; it may have been deleted to make room."""
        return (self.home / "landing" / "gateway").exists()

    def back_to(self, stage: str) -> None:
        """Bring the home to a stage and delete what later ones made."""
        self.reach(stage)
        for later in _STAGES[_STAGES.index(stage) + 1 :]:
            self.forget(later)
            shutil.rmtree(self.home / {"publication": "published"}.get(later, later), ignore_errors=True)

    def make_room(self) -> None:
        """Delete the gateway's log before a build that the disk could not hold beside it."""
        free = shutil.disk_usage(self.folder).free
        if free < self.calls * BYTES_A_CALL_OF_A_BUILD and self.has_log():
            self.say(f"{free / 1e9:.0f} GB are free: the gateway's log, which is in the lake, is deleted")
            shutil.rmtree(self.home / "landing" / "gateway")


def _environment(home: Path) -> dict[str, str]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PERTASK_HOME": str(home), "PYTHONPATH": os.pathsep.join(paths)}


def ingest(site: Site) -> Figures:
    """A bare copy of the log; each source through ``pertask ingest``; then all of them at once, into an empty lake."""
    if not site.has_log():
        site.forget("landing")
    site.back_to("landing")
    landing, out = site.home / "landing", site.folder / "bare.parquet"
    copied = site.step("bare copy", "copy", landing, out)
    out.unlink()
    figures: Figures = {"bare copy": {**copied.figures(), "bytes": _size(landing / "gateway")}}
    for source in SOURCES:
        usage = site.pertask("ingest", str(landing / source), "--source", source)
        figures[source] = {**usage.figures(), "bytes": _size(landing / source)}
    site.back_to("landing")
    figures["everything"] = site.pertask("ingest").figures()
    _check_all_loaded(site)
    site.mark("lake")
    figures["lake_bytes"] = _size(site.home / "lake")
    return figures


def _check_all_loaded(site: Site) -> None:
    """Refuse a lake that lacks calls: nothing in the company's log is wrong."""
    import duckdb

    loaded = duckdb.execute(f"select count(*) from read_parquet('{site.home}/lake/llm_calls/*/*.parquet')").fetchone()
    written = site.calls // site.days * site.days
    if loaded != (written,):
        raise CommandFailed(f"of {written:,} calls that were written, {loaded[0]:,} are in the lake")


def build(site: Site) -> Figures:
    """The first ``pertask build`` of a lake: models, tests, checks."""
    site.back_to("lake")
    site.make_room()
    usage = site.pertask("build")
    site.mark("warehouse")
    results = json.loads((site.home / "warehouse" / "target" / "run_results.json").read_bytes())["results"]
    sums = {"model": 0.0, "seed": 0.0, "test": 0.0}
    for result in results:
        kind = result["unique_id"].split(".")[0]
        sums[kind] = sums.get(kind, 0) + result["execution_time"]
    return {
        **usage.figures(),
        "sums": {kind: round(seconds, 1) for kind, seconds in sums.items()},
        "warehouse_bytes": (site.home / "warehouse" / "pertask.duckdb").stat().st_size,
    }


def models(site: Site) -> Figures:
    """What dbt takes alone, without a test: for what the four marts need of its models, then for all of them.

    The warehouse is deleted before and after: two do not fit on a small disk, and nothing stands behind this one.
    """
    site.back_to("lake")
    site.make_room()
    from orchestration.lib import builds
    from pertask.home import Home

    home = Home(site.home)
    builds.prepare(home, full_refresh=True)
    environment = {**site.environment, **builds.environment(home)}
    variables = (home.snapshot / "variables.json").read_text(encoding="ascii")
    dbt = [str(Path(sys.executable).with_name("dbt")), "--no-use-colors"]
    site.run("dbt seed", *dbt, "seed", "--vars", variables, environment=environment)
    figures: Figures = {}
    for name, selection in {"four marts": ["--select", *(f"+{mart}" for mart in FOUR_MARTS)], "all models": []}.items():
        usage = site.run(
            f"dbt run, {name}", *dbt, "run", "--full-refresh", "--vars", variables, *selection, environment=environment
        )
        results = json.loads((home.target / "run_results.json").read_bytes())["results"]
        times = {result["unique_id"].split(".")[-1]: round(result["execution_time"], 2) for result in results}
        figures[name] = {**usage.figures(), "sum": round(sum(times.values()), 1), "models": times}
    site.back_to("lake")
    return figures


def publish(site: Site) -> Figures:
    """``pertask publish`` of a build that is not published yet."""
    site.back_to("warehouse")
    usage = site.pertask("publish")
    site.mark("publication")
    return {**usage.figures(), "bytes": (site.home / "published" / "pertask.duckdb").stat().st_size}


def queries(site: Site) -> Figures:
    """Each query on the publication, cold and then warm."""
    site.reach("publication")
    result = site.folder / "queries.json"
    publication = site.home / "published" / "pertask.duckdb"
    site.step("queries", "queries", publication, result)
    seconds = json.loads(result.read_bytes())
    warm = {name: statistics.median(times["warm"]) for name, times in seconds.items()}
    return {
        "queries": {
            name: {"cold": round(times["cold"], 4), "warm": round(warm[name], 4)} for name, times in seconds.items()
        },
        "median": round(statistics.median(time for times in seconds.values() for time in times["warm"]), 4),
        "worst": round(max(time for times in seconds.values() for time in times["warm"]), 4),
        "worst_cold": round(max(times["cold"] for times in seconds.values()), 4),
    }


def start_up(site: Site) -> Figures:
    """Commands that people wait for, and the start of the slowest of all commands."""
    from pertask.cli import cli

    site.reach("publication")
    commands = {
        "help": ("--help",),
        "query": ("query", "select sum(cost_usd) from unit_economics.cost_per_task_daily"),
        "status": ("status",),
    }
    found = {name: _median_of(site, *command) for name, command in commands.items()}
    starts = {name: _median_of(site, name, "--help") for name in cli.commands}
    slowest = max(starts, key=lambda name: starts[name]["seconds"])
    return {**found, "slowest start": {"command": slowest, "of": len(starts), **starts[slowest]}}


def _median_of(site: Site, *arguments: str) -> Figures:
    return _median([site.pertask(*arguments) for _ in range(START_UP_ROUNDS)])


def unchanged(site: Site) -> Figures:
    """``pertask run`` where nothing is new."""
    site.reach("publication")
    # what a command of its own leaves for the first whole run to note, such as the report's
    site.pertask("run")
    usage = site.pertask("run")
    if "nothing changed" not in usage.output:
        raise CommandFailed(f"the run found something new:\n{usage.output}")
    return usage.figures()


def baselines(site: Site, name: str) -> Figures:
    """Another way from the landing files, and maybe from the lake, to the four marts, checked against pertask's."""
    site.reach("warehouse")
    differences = step.baseline("compare").differences
    source = (step.BASELINES / f"{name}.py").read_text(encoding="utf-8")
    return {
        way: _baseline(site, name, way, differences)
        for way, function in (("whole-path", "whole_path"), ("from-lake", "from_lake"))
        if f"def {function}(" in source
    }


def _baseline(site: Site, name: str, way: str, differences: Callable[[Path, Path], list[str]]) -> Figures:
    if way == "whole-path" and not site.has_log():
        return {"failure": "the log was deleted for want of space"}
    out = site.folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    try:
        usage = site.step(f"{name} {way}", way, name, site.home, out)
    except CommandFailed as error:
        site.say(str(error))
        # the last line of a traceback; a process that was killed for its memory says nothing
        return {"failure": str(error).strip().splitlines()[-1]}
    found = differences(site.home / "warehouse" / "pertask.duckdb", out)
    shutil.rmtree(out)
    if found:
        site.say("\n".join([f"{name}: its answer differs", *found[:10]]))
        return {"failure": f"its answer differs in {len(found)} places: {found[0]}"}
    return usage.figures()


def incremental(site: Site, fresh_days: int) -> Figures:
    """Mornings after one more day each: ``pertask ingest``, ``build`` and ``publish``.

    Every home ends on the same day, however long its history is.
    """
    last = company.FIRST_DAY + timedelta(29)
    first = last - timedelta(site.days - 1)
    site.generate(first)
    figures: Figures = {"first": {name: site.pertask(name).figures() for name in ("ingest", "build", "publish")}}
    usages: dict[str, list[Usage]] = {"ingest": [], "build": [], "publish": []}
    touched = []
    for number in range(1, fresh_days + 1):
        fresh = last + timedelta(number)
        site.step(f"writing {fresh}", "add-day", site.home, site.calls, site.days, first, fresh)
        for name, taken in usages.items():
            taken.append(site.pertask(name))
        touched.append(_recomputed_days(site.home))
    return {
        **figures,
        "calls_a_day": site.calls // site.days,
        "recomputed_days": touched,
        "builds": [taken.figures() for taken in usages["build"]],
        **{name: _median(taken) for name, taken in usages.items()},
    }


def _recomputed_days(home: Path) -> int:
    from orchestration.lib import builds
    from pertask.home import Home

    return len(builds.recomputed_dates(Home(home)))


def _median(usages: list[Usage]) -> dict[str, float]:
    figures = [usage.figures() for usage in usages]
    return {name: statistics.median(figure[name] for figure in figures) for name in figures[0]}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
