"""The benchmark: ``python bench/run.py [--calls 1000000 10000000 50000000] [--only PART ...] ...``.

Per size it writes a company (``company.py``), measures each part of pertask on it and the baselines beside it
(``parts.py``), and deletes it. What a part found is kept in one JSON file, and docs/benchmarks.md is written anew from
all that is in there after each part, so that a part can be run again alone.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

# The packages must be found wherever this is started from.
BENCH = Path(__file__).resolve().parent
sys.path[0] = str(BENCH.parent)
sys.path.append(str(BENCH))

import page  # noqa: E402
import parts  # noqa: E402
import step  # noqa: E402
from measuring import CommandFailed  # noqa: E402

SIZES = (1_000_000, 10_000_000, 50_000_000)
DAYS = 30
HISTORIES = (30, 365)
CALLS_A_DAY = 33_333
FRESH_DAYS = 3
LARGEST_FOR_BASELINES = 10_000_000
PARTS: dict[str, Callable[[parts.Site], parts.Figures]] = {
    "ingest": parts.ingest,
    "build": parts.build,
    "publish": parts.publish,
    "queries": parts.queries,
    "start-up": parts.start_up,
    "unchanged": parts.unchanged,
    "models": parts.models,
}
"""What each size measures, in the order in which the parts need each other; baselines follow the build."""
NEEDED = ("ingest", "build", "publish")
"""Parts that later ones stand on: where one fails, the rest of the size is passed over."""
BASELINES, INCREMENTAL = "baselines", "incremental"


def main() -> None:
    """Run the parts that are asked for; exit code 1 when one failed."""
    asked = _arguments()
    scratch = asked.scratch
    scratch.mkdir(parents=True, exist_ok=True)
    results = page.Results(scratch / "results.json")
    failed = []

    def done(name: str, size: int, work: Callable[[], parts.Figures]) -> bool:
        """Do a part and keep what it found; one that fails is told and stops no other. Returns whether it succeeded."""
        began = time.perf_counter()
        try:
            figures = work()
        except Exception as error:
            failed.append(f"{name} at {size:,}")
            _say(f"{name} FAILED: {error}")
            if not isinstance(error, CommandFailed):
                traceback.print_exc()
            return False
        results.keep(name, size, {**figures, "part_seconds": round(time.perf_counter() - began)})
        page.write(results, asked.page)
        _say(f"{name} at {size:,}: {time.perf_counter() - began:.0f} s in all; kept in {results.path}")
        return True

    wanted = asked.only or [*PARTS, BASELINES, INCREMENTAL]
    for calls in asked.calls:
        site = parts.Site(scratch / str(calls), calls, DAYS, _say)
        for name, part in PARTS.items():
            if name in wanted and not done(name, calls, lambda part=part, site=site: part(site)) and name in NEEDED:
                break
            if name == "build" and BASELINES in wanted and calls <= LARGEST_FOR_BASELINES:
                for baseline in asked.baselines:
                    done(
                        f"{BASELINES}/{baseline}",
                        calls,
                        lambda baseline=baseline, site=site: parts.baselines(site, baseline),
                    )
        _clear(site, asked.keep)
    for days in asked.history if INCREMENTAL in wanted else ():
        site = parts.Site(scratch / f"{days}-days", asked.calls_a_day * days, days, _say)
        shutil.rmtree(site.folder, ignore_errors=True)
        done(INCREMENTAL, days, lambda site=site: parts.incremental(site, FRESH_DAYS))
        _clear(site, asked.keep)
    page.write(results, asked.page)
    print(page.targets(results))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found = sorted(path.stem for path in step.BASELINES.glob("*.py") if "def whole_path" in path.read_text("utf-8"))
    parser.add_argument("--calls", type=int, nargs="*", default=SIZES, help="sizes of the company, in calls")
    parser.add_argument("--only", nargs="+", metavar="PART", choices=[*PARTS, BASELINES, INCREMENTAL])
    parser.add_argument("--baselines", nargs="*", default=found, choices=found, help="default: all")
    parser.add_argument("--history", type=int, nargs="*", default=HISTORIES, help="days of history of a day's build")
    parser.add_argument("--calls-a-day", type=int, default=CALLS_A_DAY, help="of the company with a history")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "pertask-bench")
    parser.add_argument("--page", type=Path, default=BENCH.parent / "docs" / "benchmarks.md")
    parser.add_argument("--keep", action="store_true", help="keep the companies in the scratch folder")
    return parser.parse_args()


def _clear(site: parts.Site, keep: bool) -> None:
    if not keep:
        shutil.rmtree(site.folder, ignore_errors=True)


def _say(line: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {line}", flush=True)


if __name__ == "__main__":
    main()
