"""The sample company in two states for the comparison of engines: before and after a morning on which much comes late.

Between the two, bills are restated (one of them without a day), a day's log, outcomes and prices come, and a log is
read in another way, so that all its rows leave their day and nothing of that day is left but what others have of it.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from ingest.sample import generate
from orchestration.lib.builds import Build
from pertask.home import Home
from publish.publication import publish
from tests.python.building import build, ingest_sources

DAYS, SCALE = 4, 0.05
SOURCES = """\
  own_log: {path: landing/own, format: mapping, mapping: mappings/own.yml}
  kept_log: {path: landing/kept, format: mapping, mapping: mappings/kept.yml}
  prices: {path: landing/prices, format: litellm_prices}
  quotes: {path: landing/quotes, format: mapping, mapping: mappings/quotes.yml}
"""
OWN_LOG = """\
contract: llm_calls
format: csv
columns:
  call_id: id
  task_id: id
  started_at: %s
  provider: "'openai'"
  model: "'gpt-4o'"
  input_tokens: read
  output_tokens: written
"""
QUOTES = """\
contract: gpu_quotes
format: csv
columns:
  gpu_model: gpu
  provider: seller
  purchase_mode: "'on_demand'"
  low_usd_per_gpu_hour: usd
  seen_at: seen
  quote_status: "'quote'"
  origin: "'a page'"
"""
MACHINES = "ap-south-1"
"""The region whose bill comes before its last days are over."""

KEPT_DATE = "2026-06-01"
"""A day that nothing of the morning touches."""

LONE_DATE, MOVED_DATE = "2026-07-01", "2026-07-02"
"""The day of the own log's calls, far from all others, and the day on which the other reading puts them."""


def before(folder: Path) -> Home:
    """The first state: ingested, built by DuckDB and published; Spark has built nothing."""
    generate(folder, days=DAYS, scale=SCALE)
    home = Home(folder)
    late = folder / "late"
    _first_bill(home)
    for path in _late(home):
        target = late / path.relative_to(home.landing)
        target.parent.mkdir(parents=True, exist_ok=True)
        # a whole folder keeps the times of its files too
        shutil.move(path, target)
    text = home.config_file.read_text(encoding="utf-8")
    home.config_file.write_text(text.replace("limits:", f"{SOURCES}limits:"), encoding="utf-8")
    _write(folder / "mappings" / "own.yml", OWN_LOG % "begun")
    _write(folder / "mappings" / "quotes.yml", QUOTES)
    _write(folder / "mappings" / "kept.yml", OWN_LOG % "begun")
    header = "id,begun,began,read,written"
    _write(home.landing / "own" / "calls.csv", "\n".join([header, *_own_calls(), ""]))
    _write(
        home.landing / "kept" / "calls.csv", f"{header}\nkept-1,{KEPT_DATE}T01:00:00Z,{KEPT_DATE}T01:00:00Z,1000,100\n"
    )
    _write(home.landing / "quotes" / "seen.csv", "gpu,seller,usd,seen\nH100,a,2.5,2026-08-20\nH100,b,6,2026-08-20\n")
    _write(home.landing / "prices" / "first.json", _prices(0.000003), "2026-08-19")
    ingest_sources(home)
    build(home, is_tested=False)
    publish(home)
    return home


def after(home: Home) -> Build:
    """The second state: everything that was late, built by DuckDB for the dates that it touches; not published."""
    late = home.root / "late"
    for path in sorted(late.rglob("*")):
        if path.is_file():
            target = home.landing / path.relative_to(late)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
    _write(home.root / "mappings" / "own.yml", OWN_LOG % "began")
    _write(home.landing / "prices" / "second.json", _prices(0.000002), "2026-08-21")
    ingest_sources(home)
    prepared = build(home, is_tested=False)
    assert not prepared.full_refresh
    return prepared


def _late(home: Home) -> list[Path]:
    logs = sorted((home.landing / "gateway" / "bengaluru").glob("*.json*"))
    outcomes = sorted((home.landing / "tasks").glob("*.jsonl"))
    bills = home.landing / "bills"
    return [*bills.glob("*/*_delivery_2"), bills / MACHINES / "2026-08_delivery_1", logs[-1], *outcomes[-2:]]


def _first_bill(home: Home) -> None:
    """A bill before the first: the same without its last days, so that their hours are estimates."""
    first = home.landing / "bills" / MACHINES / "2026-08_delivery_1"
    for path in first.glob("*.csv"):
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        start = header.index("ChargePeriodStart")
        last = sorted({row[start][:10] for row in rows})[-2]
        earlier = first.with_name("2026-08_delivery_0") / path.name
        earlier.parent.mkdir(exist_ok=True)
        with open(earlier, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *(row for row in rows if row[start] < last)])
        moment = path.stat().st_mtime - 86_400
        os.utime(earlier, (moment, moment))


def _own_calls() -> list[str]:
    return [
        f"own-{number},{LONE_DATE}T0{number}:00:00Z,{MOVED_DATE}T0{number}:00:00Z,{1000 + number},{100 + number}"
        for number in range(5)
    ]


def _prices(input_usd: float) -> str:
    costs = {"input_cost_per_token": input_usd, "output_cost_per_token": 0.00001}
    return json.dumps({"no-such-model": {"litellm_provider": "openai", "mode": "chat", **costs}})


def _write(path: Path, text: str, day: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    if day:
        moment = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
        os.utime(path, (moment, moment))
