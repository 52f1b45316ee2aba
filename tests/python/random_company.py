"""Random small companies with GPUs of their own: bills, samples, replica windows, links and calls of three days.

A company is made of groups of machines that share nothing, each of one way to say who answers a call. What it holds is
kept as plain values beside the files, for a test to work out what every call costs.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from pertask.home import Home

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SAMPLE_SECONDS = 300
KINDS = ("named", "sliced", "counted", "whole", "address", "deployment", "linked")
"""How a group's calls find their GPUs: the replica names its GPUs, or slices of one; it holds so many of a machine, or
all; the address is the machine's; the deployment has several machines, by its replicas' windows or by links."""
PROFILES = {2: ("1g.10gb", "1g.10gb"), 3: ("1g.10gb", "1g.10gb", "2g.20gb"), 4: ("1g.10gb", "4g.40gb")}
SOURCES = """\
sources:
  calls: {path: landing/calls.csv, format: mapping, mapping: mappings/calls.yml}
  hourly: {path: landing/hourly.csv, format: mapping, mapping: mappings/bills.yml}
  wide: {path: landing/wide.csv, format: mapping, mapping: mappings/bills.yml}
  samples: {path: landing/samples.csv, format: mapping, mapping: mappings/samples.yml}
  windows: {path: landing/windows.csv, format: mapping, mapping: mappings/windows.yml}
  links: {path: landing/links.csv, format: resource_links}
"""
MAPPINGS = {
    "calls": (
        "llm_calls",
        (
            "call_id started_at ended_at provider model replica_id api_base deployment_id uncached_input_tokens "
            "cache_read_tokens output_tokens sample_weight"
        ),
    ),
    "bills": (
        "bill_lines",
        (
            "line_id billed_cost effective_cost billing_currency charge_category charge_class charge_period_start "
            "charge_period_end billing_period_start consumed_quantity consumed_unit resource_id gpu_count purchase_mode"
        ),
    ),
    "samples": (
        "gpu_samples",
        "gpu_uuid sampled_at interval_seconds hostname gr_engine_active pod namespace mig_profile",
    ),
    "windows": ("replica_windows", "replica_id deployment_id resource_id gpu_uuid gpu_count loaded_at unloaded_at"),
    "links": ("resource_links", "hostname resource_id deployment_id valid_from valid_to"),
}


@dataclass(frozen=True)
class Window:
    """A replica window; without ``gpu_uuid`` and ``gpu_count`` it holds the whole machine."""

    replica_id: str
    deployment_id: str | None
    resource_id: str
    gpu_uuid: str | None
    gpu_count: int | None
    loaded_at: datetime
    unloaded_at: datetime


@dataclass(frozen=True)
class Link:
    """A host and its machine, perhaps a deployment's, and when."""

    hostname: str
    resource_id: str
    deployment_id: str | None
    valid_from: datetime
    valid_to: datetime


@dataclass(frozen=True)
class Sample:
    """Five minutes of a GPU, or of a slice of one; ``active`` in hundredths."""

    gpu_uuid: str
    sampled_at: datetime
    resource_id: str
    active: int
    is_held_by_pod: bool
    mig_profile: str | None


@dataclass(frozen=True)
class Call:
    """A call; ``group`` is None for one that a vendor meters. A row of a sampled log stands for several."""

    call_id: str
    group: str | None
    started_at: datetime
    ended_at: datetime | None
    replica_id: str | None
    api_base: str | None
    deployment_id: str | None
    uncached_input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    sample_weight: Decimal = Decimal(1)

    @property
    def weight(self) -> Fraction:
        """The calls that it stands for."""
        return Fraction(self.sample_weight)


@dataclass
class Company:
    """Everything that was delivered.

    Attributes:
        machines: resource id -> group.
        has_refund: groups with a bill line below zero.
    """

    first_day: date
    machines: dict[str, str] = field(default_factory=dict)
    lines: dict[str, list[dict]] = field(default_factory=lambda: {"hourly": [], "wide": []})
    samples: list[Sample] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    has_refund: set[str] = field(default_factory=set)

    @property
    def start(self) -> datetime:
        """Midnight of the first day."""
        return datetime.combine(self.first_day, datetime.min.time(), UTC)


def random_company(seed: int, first_day: date, groups: int) -> Company:
    """A company of so many groups over three days."""
    chance = Random(seed)
    company = Company(first_day)
    for number in range(groups):
        _add_group(company, chance, f"g{number}", KINDS[number % len(KINDS)])
    for number in range(20):
        started = company.start + timedelta(minutes=chance.randrange(3 * 1440))
        ended = started + timedelta(seconds=chance.randrange(60))
        company.calls.append(Call(f"metered-{number}", None, started, ended, None, None, None, 100, 0, 10))
    return company


def _add_group(company: Company, chance: Random, group: str, kind: str) -> None:
    machine_count = chance.choice((2, 3)) if kind in ("deployment", "linked") else 1
    gpu_count = {"named": chance.choice((1, 2, 4)), "counted": 4, "whole": 2}.get(kind, 1)
    is_sampled = chance.random() < 0.6 or kind == "sliced"
    replicas = []
    for number in range(machine_count):
        resource = f"i-{group}-{number}"
        company.machines[resource] = group
        _bill(company, chance, resource, gpu_count)
        cards = [f"GPU-{group}-{number}{card}" for card in range(gpu_count)]
        host, valid_from = f"host-{group}-{number}", company.start - DAY
        company.links.append(Link(host, resource, None, valid_from, _END))
        if kind == "linked":
            valid_to = company.start + chance.choice((timedelta(hours=34, minutes=20), 3 * DAY))
            company.links.append(Link(host, resource, f"deployment-{group}", valid_from, valid_to))
        slices = chance.choice(list(PROFILES.values())) if kind == "sliced" else ()
        if kind == "deployment":
            replicas += _load(company, chance, f"{group}-r{number}", resource, [None], None, f"deployment-{group}")
        elif kind == "named":
            replicas += _load(company, chance, f"{group}-a", resource, cards, None, None)
            if chance.random() < 0.7:
                replicas += _load(company, chance, f"{group}-b", resource, cards[-1:], None, None)
        elif kind == "sliced":
            for slice_number in range(len(slices)):
                replica = f"{group}-s{slice_number}"
                replicas += _load(company, chance, replica, resource, [f"{cards[0]}/{slice_number}"], None, None)
        elif kind == "counted":
            for name in "ab":
                replicas += _load(company, chance, f"{group}-{name}", resource, [None], chance.choice((1, 2)), None)
        elif kind == "whole":
            replicas += _load(company, chance, f"{group}-w", resource, [None], None, None)
        if is_sampled:
            _sample(company, chance, resource, cards, slices)
    _call(company, chance, group, kind, replicas)


_END = datetime(2100, 1, 1, tzinfo=UTC)


def _load(
    company: Company,
    chance: Random,
    replica: str,
    resource: str,
    gpus: list[str | None],
    gpu_count: int | None,
    deployment: str | None,
) -> list[str]:
    """One to three windows of a replica, each of all its GPUs; some reload within an hour."""
    moment = company.start + timedelta(minutes=chance.choice((-300, 0, 20, 605, 1435)))
    for _ in range(chance.choice((1, 1, 2, 3))):
        unloaded = moment + timedelta(minutes=chance.choice((15, 130, 900, 2000, 5000)))
        for gpu in gpus:
            company.windows.append(Window(replica, deployment, resource, gpu, gpu_count, moment, unloaded))
        moment = unloaded + timedelta(minutes=chance.choice((5, 10, 400)))
    return [replica]


def _bill(company: Company, chance: Random, resource: str, gpu_count: int) -> None:
    """Lines of an hour (some partial, some in two purchase modes, some taken back), of a day, or of the month."""
    rate = chance.randrange(10, 400)
    width = chance.choice(("hour", "hour", "hour", "day", "month"))
    source = "hourly" if width == "hour" else "wide"
    is_refunded = chance.random() < 0.2
    if is_refunded:
        company.has_refund.add(company.machines[resource])

    def line(start: datetime, length: timedelta, tenths: int, mode: str, **changes: object) -> None:
        lines = company.lines[source]
        cost = f"{rate * tenths / 1000:.4f}"
        lines.append(
            {
                "line_id": f"{source}-{len(lines)}",
                "billed_cost": cost,
                "effective_cost": cost,
                "billing_currency": "USD",
                "charge_category": "Usage",
                "charge_period_start": start,
                "charge_period_end": start + length,
                "billing_period_start": start.replace(day=1, hour=0),
                "consumed_quantity": f"{tenths / 10}",
                "consumed_unit": "Hours",
                "resource_id": resource,
                "gpu_count": gpu_count,
                "purchase_mode": mode,
            }
            | changes
        )

    if width == "month":
        first = company.start.replace(day=1)
        line(first, (first + 32 * DAY).replace(day=1) - first, chance.choice((300, 7200)), "committed")
    for day in range(3 if width == "day" else 0):
        line(company.start + day * DAY, DAY, chance.choice((240, 95, 50)), "on_demand")
    # the hourly bill ends at noon of the third day
    for hour in range(60 if width == "hour" else 0):
        start = company.start + hour * HOUR
        draw = chance.random()
        if draw < 0.1:
            continue
        tenths = 10 if draw < 0.7 else chance.randrange(1, 10)
        line(start, HOUR, tenths, "on_demand")
        if draw > 0.9:
            line(start, HOUR, 10 - tenths, "spot")
        if is_refunded and draw > 0.4:
            back = -chance.randrange(1, 10)
            refund = {"charge_class": "Correction", "consumed_quantity": chance.choice(("0", f"{back / 10}"))}
            line(start, HOUR, back, chance.choice(("on_demand", "committed")), **refund)


def _sample(company: Company, chance: Random, resource: str, cards: list[str], slices: tuple[str, ...]) -> None:
    """Samples of all cards of a machine at the same times, with gaps, on some of the days."""
    days = [day for day in range(3) if chance.random() < 0.7]
    for day in days:
        gap = chance.randrange(0, 1440)
        first, last = company.start + day * DAY + timedelta(minutes=gap), chance.choice((0, 30, 300))
        gap_end = first + timedelta(minutes=last)
        for step in range(1440 * 60 // SAMPLE_SECONDS):
            moment = company.start + day * DAY + timedelta(seconds=step * SAMPLE_SECONDS)
            if first <= moment < gap_end:
                continue
            is_held = chance.random() < 0.3
            for card in cards:
                units = [(f"{card}/{number}", profile) for number, profile in enumerate(slices)] or [(card, None)]
                for unit, profile in units:
                    active = chance.choice((0, 0, 1, 8, 40, 100))
                    company.samples.append(Sample(unit, moment, resource, active, is_held, profile))


def _call(company: Company, chance: Random, group: str, kind: str, replicas: list[str]) -> None:
    """Calls around a few moments, so that they overlap; some over midnight, some for days, some without an end."""
    moments = [company.start + timedelta(minutes=chance.randrange(3 * 1440)) for _ in range(4)]
    moments += [company.start + DAY - timedelta(minutes=2), company.start + timedelta(minutes=1)]
    silent_days = {day for day in range(3) if chance.random() < 0.5}
    sample_weights = ("1", "1", "2.5", "10", "0.5") if chance.random() < 0.4 else ("1",)
    for number in range(40):
        # hundredths of 6 ms divide evenly by up to three replicas
        started = chance.choice(moments) + timedelta(milliseconds=6 * chance.randrange(-50_000, 150_000))
        length = chance.choice((None, 0, 6, 600, 6_000, 60_000, 600_000, 9_000_000, 100_000_002))
        ended = None if length is None else started + timedelta(milliseconds=length)
        replica = deployment = address = None
        if kind == "address":
            address = f"http://host-{group}-0:8000/v1"
        elif kind == "linked":
            deployment = f"deployment-{group}"
        elif kind == "deployment" and (started - company.start).days not in silent_days:
            deployment = f"deployment-{group}"
            replica = chance.choice((None, *replicas))
        else:
            replica = chance.choice(replicas)
        tokens = chance.randrange(0, 5_000)
        company.calls.append(
            Call(
                f"{group}-{number}", group, started, ended, replica, address, deployment,
                tokens, chance.randrange(0, tokens + 1), chance.choice((0, chance.randrange(0, 900))),
                Decimal(chance.choice(sample_weights)),
            )
        )  # fmt: skip


def deliver(company: Company, folder: Path) -> Home:
    """Write the company's files into a new home. Windows tell their times by London's clock."""
    (folder / "company").mkdir(parents=True)
    (folder / "mappings").mkdir()
    (folder / "landing").mkdir()
    (folder / "pertask.yml").write_text(SOURCES, encoding="utf-8")
    for name, (contract, columns) in MAPPINGS.items():
        names = "".join(f"  {column}: {column}\n" for column in columns.split())
        text = f"contract: {contract}\nformat: csv\ncolumns:\n{names}"
        (folder / "mappings" / f"{name}.yml").write_text(text, encoding="utf-8")
    london = ZoneInfo("Europe/London")
    tables = {
        "calls": (
            "calls",
            [vars(call) | {"provider": "hosted_vllm" if call.group else "openai",
                           "model": "qwen" if call.group else "gpt-4o"} for call in company.calls],
        ),
        "hourly": ("bills", company.lines["hourly"]),
        "wide": ("bills", company.lines["wide"]),
        "samples": (
            "samples",
            [
                vars(sample) | {
                    "interval_seconds": SAMPLE_SECONDS,
                    "hostname": sample.resource_id.replace("i-", "host-", 1),
                    "gr_engine_active": f"{sample.active / 100}",
                    "pod": "server" if sample.is_held_by_pod else None,
                    "namespace": "serving" if sample.is_held_by_pod else None,
                }
                for sample in company.samples
            ],
        ),
        "windows": (
            "windows",
            [
                vars(window) | {
                    "loaded_at": window.loaded_at.astimezone(london),
                    "unloaded_at": window.unloaded_at.astimezone(london),
                }
                for window in company.windows
            ],
        ),
        "links": ("links", [vars(link) for link in company.links]),
    }  # fmt: skip
    for name, (mapping, rows) in tables.items():
        with open(folder / "landing" / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, MAPPINGS[mapping][1].split(), restval="", extrasaction="ignore")
            writer.writeheader()
            for row in rows:
                texts = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}
                writer.writerow(texts)
    return Home(folder)
