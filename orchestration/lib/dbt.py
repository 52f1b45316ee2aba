"""Running dbt for a home, and telling Dagster what it did.

dbt runs in a process of its own and its results are read when it is done. dagster-dbt's own runner streams them while
dbt runs, at the price of starting dbt twice more a run (once for its version, once for a connection).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.lib import builds
from orchestration.lib.translator import Translator
from pertask.home import Home

_LAST_LINES = 4


def run(home: Home, arguments: list[str]) -> bool:
    """Run dbt to its end, its lines in the home's logs; returns whether everything in it succeeded."""
    # the one beside this Python: a virtual environment need not be activated
    executable = Path(sys.executable).with_name("dbt")
    home.logs.mkdir(parents=True, exist_ok=True)
    with open(home.logs / "dbt_output.log", "w", encoding="utf-8") as log:
        done = subprocess.run(
            [str(executable), "--no-use-colors", *arguments],
            # what an engine drops into the current folder, such as Derby's log, is a log too
            cwd=home.logs,
            env={**os.environ, **builds.environment(home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return done.returncode == 0


def reason(home: Home) -> str:
    """Why the last dbt run failed where none of its models or tests says it: the end of what it printed."""
    log = home.logs / "dbt_output.log"
    said = log.read_text(encoding="utf-8", errors="replace")
    # each line begins with its time; an error goes on in lines that do not
    lines = [re.sub(r"^\d\d:\d\d:\d\d\s*", "", line).strip() for line in said.splitlines()]
    return f"dbt failed: {' '.join(filter(None, lines[-_LAST_LINES:]))} (all of it: {log})"


def events(home: Home, manifest: Mapping[str, Any]) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """What the last dbt run made and checked, as Dagster's results.

    A model that failed, or that was left out because something before it failed, gives nothing; a test that has no
    single model of its own (a sum over several marts) is told by the run as a whole.
    """
    translator = Translator()
    for result in builds.results(home):
        node = manifest["nodes"].get(result["unique_id"])
        if node is None:
            # An exposure: dbt lists it among its results, and nothing was made or checked.
            continue
        seconds = {"seconds": result["execution_time"]}
        if node["resource_type"] in ("model", "seed") and result["status"] == "success":
            yield dg.MaterializeResult(translator.get_asset_key(node), metadata=seconds)
        elif node["resource_type"] == "test" and node.get("attached_node") and result["status"] != "skipped":
            tested = manifest["nodes"].get(node["attached_node"])
            if tested:
                is_warning = result["status"] == "warn"
                yield dg.AssetCheckResult(
                    passed=result["status"] == "pass",
                    asset_key=translator.get_asset_key(tested),
                    check_name=node["name"],
                    severity=dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR,
                    metadata={**seconds, "rows": result["failures"] or 0, "message": result["message"] or ""},
                )


def standing(manifest: Mapping[str, Any]) -> Iterator[dg.MaterializeResult]:
    """The models and seeds of a build that stands, in the order of their making, where what dbt said of it is gone."""
    translator = Translator()
    made = {
        name: node["depends_on"]["nodes"] if node["resource_type"] == "model" else []
        for name, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "seed")
    }
    for name in TopologicalSorter(made).static_order():
        if name in made:
            yield dg.MaterializeResult(translator.get_asset_key(manifest["nodes"][name]))


def load_manifest(path: Path) -> Mapping[str, Any]:
    """The manifest as a dictionary."""
    return json.loads(path.read_bytes())
