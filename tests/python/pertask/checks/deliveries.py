"""Homes for the checks of deliveries: sources with a few weeks of even days, and a day that may be off."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from ingest.lake import Lake
from ingest.runner import IngestRequest, ingest
from ingest.snapshot import accept_snapshot, write_snapshot
from pertask.checks.profiles import PROFILED
from pertask.home import Home

NEW_DAY = date(2025, 8, 20)
"""The day that is checked; a Wednesday."""
HISTORY = tuple(NEW_DAY - timedelta(days=days) for days in (35, 28, 21, 14, 7, 2, 1))
"""Five Wednesdays, and enough other days for categories."""
ROWS = 100
SECRET = "MARKER-7f3a"
"""Stands in columns that no result may tell."""

Row = dict[str, object]


def _call(day: date, number: int) -> Row:
    started = datetime.combine(day, time(10), UTC) + timedelta(seconds=number)
    return {
        "call_id": f"{day}-{number}",
        "task_id": f"task {SECRET} {number}",
        "task_type": "ticket",
        "team": "support",
        "started_at": started.isoformat(),
        "first_token_at": (started + timedelta(seconds=1)).isoformat(),
        "ended_at": (started + timedelta(seconds=2)).isoformat(),
        "provider": _pick(number, "openai", "anthropic"),
        "model": _pick(number, "gpt-4o", "claude"),
        "uncached_input_tokens": 1000,
        "output_text_tokens": 100,
        "status": _pick(number, "success", "failed"),
        "error_type": f"error {SECRET}",
        "reported_cost": "0.25",
        "reported_currency": _pick(number, "USD", "INR"),
        "tags": f'{{"note": "{SECRET}"}}',
    }


def _task(day: date, number: int) -> Row:
    closed = datetime.combine(day, time(10), UTC)
    return {
        "task_id": f"{SECRET} {day}-{number}",
        "task_type": "ticket",
        "team": "support",
        "outcome": _pick(number, "success", "failure"),
        "closed_at": closed.isoformat(),
    }


def _bill_line(day: date, number: int) -> Row:
    start = datetime.combine(day, time(), UTC)
    return {
        "line_id": f"{day}-{number}",
        "billed_cost": "2.50",
        "effective_cost": "2.00",
        "billing_currency": _pick(number, "USD", "INR"),
        "charge_period_start": start.isoformat(),
        "charge_period_end": (start + timedelta(hours=1)).isoformat(),
        "billing_period_start": start.replace(day=1).isoformat(),
        "charge_category": "Usage",
        "charge_description": f"a machine {SECRET}",
        "consumed_quantity": "1",
        "resource_id": "i-1",
        "region_id": "ap-south-1",
        "service_name": "GPU cloud",
        "provider_name": _pick(number, "AWS", "Azure"),
    }


def _gpu_sample(day: date, number: int) -> Row:
    return {
        "gpu_uuid": "GPU-1",
        "hostname": "node-1",
        "sampled_at": (datetime.combine(day, time(10), UTC) + timedelta(minutes=number)).isoformat(),
        "interval_seconds": "60",
        "gpu_model": _pick(number, "NVIDIA L4", "NVIDIA L40S"),
        "gpu_util": "0.5",
        "gr_engine_active": "0.5",
        "power_watts": "300",
        "pod": f"pod-{SECRET}",
    }


def _serving_sample(day: date, number: int) -> Row:
    return {
        "replica_id": "replica-1",
        "deployment_id": "deployment-1",
        "model": _pick(number, "llama", "qwen"),
        "sampled_at": (datetime.combine(day, time(10), UTC) + timedelta(minutes=number)).isoformat(),
        "interval_seconds": "60",
        "running_request_count": "3",
        "output_tokens_total": "1000",
    }


def _vendor_cost(day: date, number: int) -> Row:
    return {
        "line_id": f"{day}-{number}",
        "provider": _pick(number, "openai", "anthropic"),
        "cost_date": day.isoformat(),
        "model": "gpt-4o",
        "line_item": "gpt-4o, input",
        "token_type": "input",
        "amount": "1.5",
        "currency": _pick(number, "USD", "INR"),
    }


def _vendor_usage(day: date, number: int) -> Row:
    start = datetime.combine(day, time(10), UTC)
    return {
        "line_id": f"{day}-{number}",
        "provider": _pick(number, "openai", "anthropic"),
        "started_at": start.isoformat(),
        "ended_at": (start + timedelta(hours=1)).isoformat(),
        "model": _pick(number, "gpt-4o", "claude"),
        "uncached_input_tokens": 1000,
        "output_text_tokens": 100,
    }


def _fx_rate(day: date, number: int) -> Row:
    return {"rate_date": day.isoformat(), "base": "USD", "quote": f"C{number:02}", "rate": "83.1", "origin": "bank"}


def _pick(number: int, often: str, seldom: str) -> str:
    """One value in four rows of five, the other in the fifth."""
    return seldom if number % 5 == 0 else often


MAKERS: dict[str, Callable[[date, int], Row]] = {
    "llm_calls": _call,
    "tasks": _task,
    "bill_lines": _bill_line,
    "gpu_samples": _gpu_sample,
    "serving_samples": _serving_sample,
    "vendor_costs": _vendor_cost,
    "vendor_usage": _vendor_usage,
    "fx_rates": _fx_rate,
}
UNDATED = ("tasks",)


@dataclass
class Deliveries:
    """A home and what is to be delivered into it."""

    home: Home
    _requests: list[IngestRequest] = field(default_factory=list)

    def add(self, contract: str, source: str, rows: list[Row], delivered: datetime) -> None:
        """Write a delivery as CSV with a mapping of its own columns."""
        folder = self.home.landing / source
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{len(self._requests)}.csv"
        names = list(MAKERS[contract](NEW_DAY, 0))
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
        mapping = self.home.root / f"{contract}.yml"
        columns = "".join(f"  {name}: {name}\n" for name in names)
        mapping.write_text(f"contract: {contract}\nformat: csv\ncolumns:\n{columns}", encoding="utf-8")
        self._requests.append(IngestRequest(source, path, "mapping", mapping_path=mapping, delivered_at=delivered))

    def add_history(self, contract: str, source: str) -> None:
        """The even days before the new one."""
        if contract in UNDATED:
            for day in HISTORY:
                self.add(contract, source, even_day(contract, day), datetime.combine(day, time(12), UTC))
        else:
            rows = [row for day in HISTORY for row in even_day(contract, day)]
            self.add(contract, source, rows, datetime.combine(NEW_DAY, time(1), UTC))

    def add_day(self, contract: str, source: str, rows: list[Row], day: date = NEW_DAY) -> None:
        """The rows of one more day, delivered when it is whole."""
        settled = day + timedelta(days=1 + PROFILED[contract].settles_days)
        at = datetime.combine(day, time(12), UTC) if contract in UNDATED else datetime.combine(settled, time(1), UTC)
        self.add(contract, source, rows, at)

    def bring(self) -> None:
        """Ingest what was added, and freeze the lake as a build does."""
        if self._requests:
            failed = [result.message for result in ingest(self.home.lake, self._requests) if result.state == "failed"]
            assert not failed, failed
        Lake(self.home.lake)
        (self.home.root / "seeds").mkdir(parents=True, exist_ok=True)
        self.home.warehouse.mkdir(exist_ok=True)
        write_snapshot(
            self.home.lake, self.home.snapshot, self.home.last_snapshot, {}, self.home.root / "seeds", False, False
        )

    def accept(self) -> None:
        """Take what was brought for what the last successful build read."""
        accept_snapshot(self.home.snapshot, self.home.last_snapshot)


def even_day(contract: str, day: date = NEW_DAY, rows: int = ROWS) -> list[Row]:
    """A day as every other."""
    return [MAKERS[contract](day, number) for number in range(rows)]


def known_home(folder: Path, *contracts: str) -> Deliveries:
    """A home whose last build has read the history of a source of each contract, named like it."""
    deliveries = Deliveries(Home(folder))
    for contract in contracts:
        deliveries.add_history(contract, contract)
    deliveries.bring()
    deliveries.accept()
    return deliveries
