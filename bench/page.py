"""What the benchmark found: one JSON file of all parts, and docs/benchmarks.md made of it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from step import QUERIES

Figures = dict[str, Any]

_PACKAGES = ("duckdb", "dbt-core", "dbt-duckdb", "dagster", "polars", "pandas", "pyarrow", "chdb")
_LABELS = {
    "duckdb_by_hand": "DuckDB by hand",
    "clickhouse": "ClickHouse (chdb)",
    "pandas_whole": "pandas",
    "polars_whole": "polars",
    "postgres": "PostgreSQL",
}
_TO_BE_AHEAD_OF = ("clickhouse", "pandas_whole", "postgres")

INTRODUCTION = """\
# Benchmarks

`make bench` (bench/run.py) writes a company of any size (bench/company.py), runs pertask's own commands on it, each in
a process of its own, and beside them other ways to the same four marts. This page is what the last runs wrote; a part
can be run again alone (`python bench/run.py --only queries --calls 1000000`).

The company: four teams with five task types each, tasks of 1 to 12 calls, 6 of 100 attempts failed, rejected or asked
again, six metered models, one call of five on own servers with 8 GPUs each, GPU samples by the minute, an hourly bill,
{days} days. Seconds are by the clock, "processor" is user and system time of all threads; memory is what all processes
of a command had resident at one time.
"""

READING = """\
## How to read it

- **Ingest against the bare copy**: the copy is `copy (select * from read_json('*.jsonl')) to parquet` of the same
  files. Ingest also hashes the files, checks every value, splits token counts, names the columns, and commits by date.
- **The four marts from the lake** is `dbt run` of `cost_per_task_daily`, `retry_overhead_daily`,
  `gpu_utilisation_hourly`, `idle_dollars_daily` and all that they are made of. The script by hand
  (bench/baselines/duckdb_by_hand.sql) answers the same and nothing else, in floating point. The models are exact to
  1e-12 USD, are made to be rebuilt by date, and leave what other marts need.
- **Sizes**: other ways run on up to 10,000,000 calls, a day's build on 33,333 calls a day. What has no row at a size
  was not run there: of 50,000,000 calls the page has the build, for its memory.
- **The whole path** is from the landing files to the four marts: for pertask `pertask ingest` and that `dbt run`. Each
  baseline's answer is compared with pertask's: keys and counts are the same, money and seconds to a millionth; one that
  differs has no time here.
- **A day's build** is the morning after one more day of calls: its files and the bill of the month so far. Days that
  share a task with it, or a call over midnight, are recomputed too, and a bill that comes again recomputes its month so
  far: the first morning is the last of January, the other two begin February. Every history ends on the same day, so
  both build the same days. Ingest, build and publication are apart; medians of the three mornings.
- **Queries** are {queries} questions on the published file: the four marts, and breakdowns of the attempts, tasks and
  GPU-hours by day. Cold is a new connection after the system forgot the file; then each runs five times.
- `bench/formats.py` times each log format against a bare copy, `bench/gpus.py` sharing GPU time out against SQL by
  hand, with more replicas and samples than the company has. On 2026-11-26, with nothing beside it, the latter took for
  5,000,000 calls on 64 replicas 14.7 s (by hand 4.9 s) and for 20,000,000 samples 14.8 s (by hand 7.9 s), with 7.87 GiB
  at most.
"""


class Results:
    """What each part found, by part and size, in a JSON file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts: dict[str, dict[str, Figures]] = json.loads(path.read_bytes()) if path.exists() else {}

    def keep(self, part: str, size: int, figures: Figures) -> None:
        """Write down what a part found, in place of what it had found before."""
        figures = {"at": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine(), **figures}
        self._parts.setdefault(part, {})[str(size)] = figures
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self._parts, indent=1), encoding="utf-8")
        partial.replace(self.path)

    def of(self, part: str) -> dict[int, Figures]:
        """What a part found, by size."""
        return {int(size): figures for size, figures in sorted(self._parts.get(part, {}).items(), key=_by_size)}

    def get(self, part: str, size: int) -> Figures:
        """What a part found at a size; nothing where it did not run."""
        return self._parts.get(part, {}).get(str(size), {})

    def parts(self) -> list[str]:
        """Names of the parts that ran."""
        return list(self._parts)


def _by_size(item: tuple[str, Figures]) -> int:
    return int(item[0])


def machine() -> dict[str, str]:
    """Where the benchmark runs: processors, memory, versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = {"processors": str(os.cpu_count()), "memory": f"{memory:.0f} GiB", "Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    server = shutil.which("postgres") or next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))), None)
    if server:
        said = subprocess.run([str(server), "--version"], capture_output=True, text=True, check=False).stdout
        found["PostgreSQL"] = said.split()[2] if said else "?"
    return found


def write(results: Results, path: Path) -> None:
    """Write the page from all that is known."""
    histories = results.of("incremental")
    blocks = [
        INTRODUCTION.format(days=30),
        _where(results),
        "## Targets\n",
        targets(results),
        "## Parts of pertask\n",
        _table(("part", "calls", "seconds", "processor", "GiB"), _parts(results)),
        _table(("bytes a call", "calls", "log", "lake", "warehouse", "publication"), _sizes(results)),
        "## Other ways to the four marts\n",
        _table(("way", "calls", "seconds", "processor", "GiB", "of pertask's seconds"), _ways(results)),
        "## A day's build\n",
        _table(
            ("history", "ingest", "build", "publication", "each build (days recomputed)", "processor of build"),
            _days(histories),
        ),
        "## Slowest models and queries\n",
        _table(("model", "calls", "seconds"), _slowest_models(results)),
        _table(("query", "calls", "cold", "warm"), _slowest_queries(results)),
        Path(__file__).with_name("profile.md").read_text(encoding="utf-8"),
        READING.format(queries=len(QUERIES)),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(block for block in blocks if block), encoding="utf-8")


def targets(results: Results) -> str:
    """What was asked for beside what was measured, as a table."""
    return _table(("", "calls", "measured", "target", ""), _targets(results))


def _where(results: Results) -> str:
    """The machine and the versions of the newest results; older ones of another machine are named."""
    all_figures = [figures for part in results.parts() for figures in results.of(part).values()]
    if not all_figures:
        return "Nothing has been measured yet.\n"
    newest = max(all_figures, key=lambda figures: figures["at"])
    told = ", ".join(
        f"{name} {value}" for name, value in newest["machine"].items() if name not in ("processors", "memory")
    )
    dates = sorted({figures["at"] for figures in all_figures})
    span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    others = sum(figures["machine"] != newest["machine"] for figures in all_figures)
    older = f" {others} parts ran on another machine or other versions." if others else ""
    hardware = f"{newest['machine']['processors']} processors, {newest['machine']['memory']} of memory"
    return f"Measured {span}: {hardware}; {told}.{older}\n"


def _table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [" | ".join(row) for row in rows]
    if not lines:
        return "Not measured yet.\n"
    ruler = "|".join("---" for _ in heads)
    return "\n".join([f"| {' | '.join(heads)} |", f"|{ruler}|", *(f"| {line} |" for line in lines)]) + "\n"


def _targets(results: Results) -> Iterator[tuple[str, ...]]:
    for size, figures in results.of("ingest").items():
        ratio = figures["gateway"]["seconds"] / figures["bare copy"]["seconds"]
        yield _judged("ingest of the log, of a bare copy", size, f"{ratio:.2f} x", "2 x", ratio <= 2)
    for size, figures in results.of("models").items():
        by_hand = _ok(results.get("baselines/duckdb_by_hand", size).get("from-lake"))
        if by_hand:
            ratio = figures["four marts"]["seconds"] / by_hand["seconds"]
            is_met = ratio <= 3 if size == 10_000_000 else None
            yield _judged("the four marts from the lake, of the script by hand", size, f"{ratio:.2f} x", "3 x", is_met)
    for size, figures in results.of("build").items():
        if size == 50_000_000:
            peak = figures["peak_gib"]
            yield _judged("memory of a build", size, f"{peak:.1f} GiB", "10 GiB", peak < 10)
    for size, figures in results.of("queries").items():
        for name, limit in (("median", 0.2), ("worst", 2.0)):
            is_met = figures[name] < limit if size == 10_000_000 else None
            yield _judged(f"queries, {name}", size, f"{figures[name] * 1000:.0f} ms", f"{limit * 1000:.0f} ms", is_met)
    for size, figures in results.of("start-up").items():
        for name in ("query", "status", "help"):
            seconds = figures[name]["seconds"]
            shown = "--help" if name == "help" else name
            yield _judged(f"`pertask {shown}`", size, f"{seconds:.2f} s", "1 s", seconds < 1)
    for size, figures in results.of("unchanged").items():
        yield _judged("a run with nothing new", size, f"{figures['seconds']:.1f} s", "15 s", figures["seconds"] < 15)
    yield from _history_target(results.of("incremental"))
    for size in results.of("models"):
        ours = _whole_path(results, size)
        for name, theirs in _baselines(results, size):
            if ours and theirs and name in _TO_BE_AHEAD_OF:
                ratio = theirs["seconds"] / ours["seconds"]
                yield _judged(f"the whole path, {_label(name)} of pertask", size, f"{ratio:.2f} x", "> 1 x", ratio > 1)


def _history_target(histories: dict[int, Figures]) -> Iterator[tuple[str, ...]]:
    if len(histories) < 2:
        return
    short, long = min(histories), max(histories)
    ratio = histories[long]["build"]["seconds"] / histories[short]["build"]["seconds"]
    is_met = ratio <= 1.25 if (short, long) == (30, 365) else None
    name = f"a day's build on {long} days of history, of {short} days"
    yield (name, f"{histories[long]['calls_a_day']:,} a day", f"{ratio:.2f} x", "1.25 x", _verdict(is_met))


def _judged(name: str, size: int, measured: str, target: str, is_met: bool | None) -> tuple[str, ...]:
    return name, f"{size:,}", measured, target, _verdict(is_met)


def _verdict(is_met: bool | None) -> str:
    """Met or missed; nothing where the target is of another size."""
    return "" if is_met is None else "met" if is_met else "**missed**"


def _parts(results: Results) -> Iterator[tuple[str, ...]]:
    rows: list[tuple[str, str, Callable[[Figures], Figures]]] = [
        *((f"ingest: {name}", "ingest", lambda figures, name=name: figures[name]) for name in ("gateway", "bare copy")),
        *(
            (f"ingest: {name}", "ingest", lambda figures, name=name: figures[name])
            for name in ("outcomes", "bill", "telemetry", "windows", "links", "everything")
        ),
        ("build, with every test and check", "build", lambda figures: figures),
        ("all models alone", "models", lambda figures: figures["all models"]),
        ("what the four marts need", "models", lambda figures: figures["four marts"]),
        ("publication", "publish", lambda figures: figures),
        *(
            (f"`pertask {'--help' if name == 'help' else name}`", "start-up", lambda figures, name=name: figures[name])
            for name in ("query", "status", "help")
        ),
        ("the slowest start of a command, with `--help`", "start-up", lambda figures: figures["slowest start"]),
        ("a run with nothing new", "unchanged", lambda figures: figures),
    ]
    for name, part, pick in rows:
        for size, figures in results.of(part).items():
            yield name, f"{size:,}", *_usage(pick(figures))


def _sizes(results: Results) -> Iterator[tuple[str, ...]]:
    """What a call takes on disk at each stage, with its share of all that is not calls."""
    for size, figures in results.of("ingest").items():
        stages = (
            figures["gateway"]["bytes"],
            figures["lake_bytes"],
            results.get("build", size).get("warehouse_bytes"),
            results.get("publish", size).get("bytes"),
        )
        yield "", f"{size:,}", *("" if taken is None else f"{taken / size:.0f}" for taken in stages)


def _usage(figures: Figures) -> tuple[str, str, str]:
    digits = 2 if figures["seconds"] < 10 else 1
    return f"{figures['seconds']:.{digits}f}", f"{figures['cpu_seconds']:.{digits}f}", f"{figures['peak_gib']:.2f}"


def _whole_path(results: Results, size: int) -> Figures | None:
    """What pertask takes from the landing files to the four marts; None where a part of it did not run."""
    ingested, modelled = results.get("ingest", size), results.get("models", size)
    if not ingested or not modelled:
        return None
    steps = (ingested["everything"], modelled["four marts"])
    return {
        "seconds": sum(figures["seconds"] for figures in steps),
        "cpu_seconds": sum(figures["cpu_seconds"] for figures in steps),
        "peak_gib": max(figures["peak_gib"] for figures in steps),
    }


def _baselines(results: Results, size: int) -> Iterator[tuple[str, Figures | None]]:
    for part in results.parts():
        if part.startswith("baselines/") and results.get(part, size):
            yield part.removeprefix("baselines/"), _ok(results.get(part, size).get("whole-path"))


def _ok(figures: Figures | None) -> Figures | None:
    return figures if figures and "failure" not in figures else None


def _label(name: str) -> str:
    return _LABELS.get(name, name)


def _ways(results: Results) -> Iterator[tuple[str, ...]]:
    sizes = sorted({size for part in results.parts() for size in results.of(part) if part != "incremental"})
    for size in sizes:
        ours = _whole_path(results, size)
        models = results.get("models", size)
        if ours:
            yield "**pertask, the whole path**", f"{size:,}", *_usage(ours), "1"
        if models:
            yield "**pertask, from the lake**", f"{size:,}", *_usage(models["four marts"]), "1"
        for part in results.parts():
            if not part.startswith("baselines/"):
                continue
            for way, mine, words in (
                ("whole-path", ours, "the whole path"),
                ("from-lake", models.get("four marts") if models else None, "from the lake"),
            ):
                theirs = results.get(part, size).get(way)
                if not theirs:
                    continue
                name = f"{_label(part.removeprefix('baselines/'))}, {words}"
                if "failure" in theirs:
                    yield name, f"{size:,}", theirs["failure"].replace("|", "/"), "", "", ""
                else:
                    ratio = f"{theirs['seconds'] / mine['seconds']:.2f}" if mine else ""
                    yield name, f"{size:,}", *_usage(theirs), ratio


def _days(histories: dict[int, Figures]) -> Iterator[tuple[str, ...]]:
    for days, figures in histories.items():
        mornings = zip(figures["builds"], figures["recomputed_days"], strict=True)
        yield (
            f"{days} days of {figures['calls_a_day']:,} calls",
            *(f"{figures[name]['seconds']:.1f} s" for name in ("ingest", "build", "publish")),
            ", ".join(f"{build['seconds']:.1f} s ({count})" for build, count in mornings),
            f"{figures['build']['cpu_seconds']:.1f} s",
        )


def _slowest_models(results: Results) -> Iterator[tuple[str, ...]]:
    for size, figures in results.of("models").items():
        times = figures["four marts"]["models"]
        for name in sorted(times, key=times.get, reverse=True)[:6]:
            yield f"`{name}`", f"{size:,}", f"{times[name]:.1f}"


def _slowest_queries(results: Results) -> Iterator[tuple[str, ...]]:
    for size, figures in results.of("queries").items():
        times = figures["queries"]
        for name in sorted(times, key=lambda query: times[query]["warm"], reverse=True)[:5]:
            yield name, f"{size:,}", f"{times[name]['cold'] * 1000:.0f} ms", f"{times[name]['warm'] * 1000:.0f} ms"
