"""The self-hosted fleets: which machine ran when, who held its GPUs, and how busy they were, minute by minute.

Mumbai: a chat service on demand, a re-ranker on a commitment, an interactive endpoint on spot (evicted now and then), a
nightly batch job on a flagship machine, and one machine that no exporter watches. London: a screening service on
demand, a re-ranker on a commitment, and a notebook machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from ingest.sample import traces
from ingest.sample.world import (
    INDIA,
    LLAMA,
    LONDON,
    QWEN,
    RERANKER,
    SECOND_MS,
    World,
    epoch_ms,
    offset_seconds,
)

HOUR_SECONDS = 3_600
DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Site:
    """A data centre: where it is, how its exporter's samples are delivered, what its machines cost in.

    Attributes:
        interval_seconds: between two samples of one GPU.
        export_days: how many UTC days one export holds.
    """

    name: str
    region: str
    zone: ZoneInfo
    interval_seconds: int
    export_days: int
    metrics_source: str
    bill_source: str
    currency: str


MUMBAI = Site("mumbai", "ap-south-1", INDIA, 60, 1, "gpu_metrics_in", "cloud_bill_in", "INR")
LONDON_SITE = Site("london", "eu-west-2", LONDON, 120, 7, "gpu_metrics_uk", "cloud_bill_uk", "GBP")
SITES = (MUMBAI, LONDON_SITE)


@dataclass(frozen=True)
class Service:
    """What runs on a machine's GPUs.

    Attributes:
        load: mean activity (ratio) at an average hour, before the local day's shape.
        loaded_local_seconds: seconds [from, to) of the local day in which it holds its GPU; past 24 h wraps around.
    """

    deployment: str
    namespace: str
    model: str | None
    load: float
    loaded_local_seconds: tuple[int, int] = (0, DAY_SECONDS)
    is_serving: bool = True


@dataclass(frozen=True)
class Machine:
    """One rented machine, from start to end (seconds since 1970), on each day within ``daily_seconds`` of UTC.

    Attributes:
        purchase_mode: on_demand, spot or committed.
        price: local currency per hour of use, in millionths.
        has_profiling: whether its exporter reports the profiling metrics; else only GPU_UTIL.
        is_sampled: whether an exporter watches it at all.
        is_named_in_bill: its hostname is the bill's resource id, so nothing needs to link the two.
    """

    site: Site
    resource_id: str
    hostname: str
    instance_type: str
    gpu_name: str
    memory_mib: int
    gpu_count: int
    purchase_mode: str
    price: int
    service: Service
    started_at: int
    ended_at: int
    daily_seconds: tuple[int, int] = (0, DAY_SECONDS)
    has_profiling: bool = True
    is_sampled: bool = True
    has_daily_lines: bool = False
    is_named_in_bill: bool = False
    warm_up_seconds: int = 0

    @property
    def gpu_uuids(self) -> list[str]:
        """Its GPUs as the driver names them."""
        return [f"GPU-{self.resource_id[2:]}-{number}" for number in range(self.gpu_count)]


CHAT = Service("assist-summary", "assist", LLAMA, 0.10, (5 * HOUR_SECONDS, 25 * HOUR_SECONDS + 300))
KB_RERANK = Service("kb-rerank", "search", RERANKER, 0.06)
TRANSLATE = Service("live-translate", "assist", LLAMA, 0.08)
BATCH = Service("nightly-distil", "research", None, 0.85, is_serving=False)
UNWATCHED = Service("legacy-ocr", "search", None, 0.0, is_serving=False)
SCREENING = Service("merchant-screening", "fraud", QWEN, 0.12)
CASE_RERANK = Service("case-rerank", "fraud", RERANKER, 0.05)
NOTEBOOK = Service("notebook", "research", None, 0.15, (9 * HOUR_SECONDS, 11 * HOUR_SECONDS), is_serving=False)

BATCH_SECONDS = (20 * HOUR_SECONDS, 23 * HOUR_SECONDS)
_BATCH_TAIL_SECONDS = 1_800
_DOWN_SECONDS = 720


@dataclass(frozen=True)
class Eviction:
    """The spot market takes a machine back; another one is ready some minutes later."""

    at: int
    resource_id: str
    replica_id: str
    next_ready_at: int
    next_replica_id: str


@dataclass
class Fleet:
    """The machines of all sites, the evictions, and the samples of every GPU."""

    machines: list[Machine]
    evictions: list[Eviction]
    samples: dict[str, pl.DataFrame] = field(default_factory=dict)


def replica_id(machine: Machine) -> str:
    """Name of the replica on a machine."""
    return f"{machine.service.deployment}-{machine.resource_id[-4:]}"


def build(world: World) -> Fleet:
    """The whole fleet and everything its exporters saw."""
    start, end = (epoch_ms(day) // SECOND_MS for day in (world.first_date, world.end_date))
    machines, evictions = _spot_machines(world, start, end)

    def machine(site: Site, resource: str, host: str, kind: tuple, price: int, service: Service, **more) -> Machine:
        instance, gpu, memory, count = kind
        values = {"started_at": start, "ended_at": end, "purchase_mode": "on_demand", **more}
        return Machine(site, resource, host, instance, gpu, memory, count, price=price, service=service, **values)

    l40s = ("g6e.xlarge", "NVIDIA L40S", 46_068, 1)
    l4 = ("g6.xlarge", "NVIDIA L4", 23_034, 1)
    a10g = ("g5.xlarge", "NVIDIA A10G", 23_028, 1)
    h100s = ("p5.48xlarge", "NVIDIA H100 80GB HBM3", 81_559, 8)
    later = start + world.days // 6 * DAY_SECONDS
    mumbai, london = MUMBAI, LONDON_SITE
    machines += [
        machine(mumbai, "i-0b1a7c40000000c1", "ip-10-20-1-11", l40s, 214_600_000, CHAT),
        machine(mumbai, "i-0b1a7c40000000c2", "ip-10-20-1-12", l4, 61_800_000, KB_RERANK, purchase_mode="committed"),
        machine(
            mumbai, "i-0b1a7c40000000f1", "ip-10-20-1-40", h100s, 5_412_000_000, BATCH, daily_seconds=BATCH_SECONDS
        ),
        machine(
            mumbai, "i-0b1a7c40000000e1", "ip-10-20-1-77", l4, 92_400_000, UNWATCHED, started_at=later, is_sampled=False
        ),
        machine(london, "i-04f0d2e0000000d1", "i-04f0d2e0000000d1", l40s, 1_960_000, SCREENING, is_named_in_bill=True),
        machine(
            london,
            "i-04f0d2e0000000d2",
            "ip-10-40-2-12",
            a10g,
            720_000,
            CASE_RERANK,
            purchase_mode="committed",
            has_profiling=False,
            has_daily_lines=True,
        ),
        machine(
            london,
            "i-04f0d2e0000000d3",
            "ip-10-40-2-31",
            a10g,
            1_060_000,
            NOTEBOOK,
            daily_seconds=(7 * HOUR_SECONDS, 16 * HOUR_SECONDS),
            has_daily_lines=True,
        ),
    ]
    fleet = Fleet(machines, evictions)
    random = world.random("gpu samples")
    fleet.samples = {site.name: _site_samples(world, random, site, machines) for site in SITES}
    return fleet


def _spot_machines(world: World, start: int, end: int) -> tuple[list[Machine], list[Eviction]]:
    """The interactive endpoint's machines, one after another: each is evicted, in office hours mostly."""
    random = world.random("evictions")
    times = []
    for share in np.linspace(0.12, 0.93, max(2, world.days // 6)):
        day_start = epoch_ms(world.day_at(share)) // SECOND_MS
        # Bills count tenths of an hour exactly: evictions come on the third minute.
        times.append(day_start + 5 * HOUR_SECONDS + int(random.integers(0, 160)) * 180)
    machines, evictions, started = [], [], start
    for number, evicted in enumerate([*sorted(set(times)), end]):
        machine = Machine(
            site=MUMBAI,
            resource_id=f"i-0b1a7c400000{number + 160:04x}",
            hostname=f"ip-10-20-3-{number + 10}",
            instance_type="g6.xlarge",
            gpu_name="NVIDIA L4",
            memory_mib=23_034,
            gpu_count=1,
            purchase_mode="spot",
            price=34_600_000 + 200_000 * (number % 5),
            service=TRANSLATE,
            started_at=started,
            ended_at=evicted,
            warm_up_seconds=360,
        )
        if machines:
            before = machines[-1]
            ready = started + machine.warm_up_seconds
            evictions.append(
                Eviction(before.ended_at, before.resource_id, replica_id(before), ready, replica_id(machine))
            )
        machines.append(machine)
        started = evicted + _DOWN_SECONDS
    return machines, evictions


def running(machine: Machine, world: World) -> list[tuple[int, int]]:
    """Seconds [from, to) in which a machine ran, day by day."""
    spans = []
    for day in world.dates:
        day_start = epoch_ms(day) // SECOND_MS
        first = max(machine.started_at, day_start + machine.daily_seconds[0])
        last = min(machine.ended_at, day_start + machine.daily_seconds[1])
        if first < last:
            spans.append((first, last))
    return spans


def held(machine: Machine, world: World) -> list[tuple[int, int]]:
    """Seconds [from, to) in which a pod held the machine's GPUs, joined where they touch."""
    spans = []
    first_local, last_local = machine.service.loaded_local_seconds
    for first, last in running(machine, world):
        if machine.service is BATCH:
            spans.append((first, last - _BATCH_TAIL_SECONDS))
            continue
        first += machine.warm_up_seconds if first == machine.started_at else 0
        day = first // DAY_SECONDS * DAY_SECONDS
        offset = offset_seconds(machine.site.zone, world.first_date)
        for shift in (-DAY_SECONDS, 0, DAY_SECONDS):
            low = max(first, day + shift + first_local - offset)
            high = min(last, day + shift + last_local - offset)
            if low < high:
                spans.append((low, high))
    joined: list[tuple[int, int]] = []
    for low, high in sorted(set(spans)):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return joined


def _site_samples(world: World, random: np.random.Generator, site: Site, machines: list[Machine]) -> pl.DataFrame:
    """One row per GPU and scrape: activity in hundredths, and the pod that held the GPU, if any."""
    frames = []
    for machine in machines:
        if machine.site is not site or not machine.is_sampled:
            continue
        times = _scrape_times(world, site, machine)
        is_held = _inside(times, held(machine, world))
        for number, uuid in enumerate(machine.gpu_uuids):
            active = np.where(is_held, _activity(world, random, machine, times, number), 0)
            frames.append(
                pl.DataFrame({"sampled_at": times, "active": active, "is_held": is_held}).with_columns(
                    gpu_uuid=pl.lit(uuid),
                    hostname=pl.lit(machine.hostname),
                    resource_id=pl.lit(machine.resource_id),
                    gpu_name=pl.lit(machine.gpu_name),
                    gpu_index=pl.lit(number),
                    has_profiling=pl.lit(machine.has_profiling),
                    memory_mib=pl.lit(machine.memory_mib),
                    namespace=pl.when("is_held").then(pl.lit(machine.service.namespace)),
                    pod=pl.when("is_held").then(pl.lit(f"{replica_id(machine)}-{number}")),
                )
            )
    return pl.concat(frames).sort("gpu_uuid", "sampled_at")


def _scrape_times(world: World, site: Site, machine: Machine) -> np.ndarray:
    spans = [np.arange(first, last, site.interval_seconds) for first, last in running(machine, world)]
    times = np.concatenate(spans)
    if site is MUMBAI:
        gap = epoch_ms(world.gap_day) // SECOND_MS
        first, last = (gap + hour * HOUR_SECONDS for hour in world.gap_hours)
        times = times[(times < first) | (times >= last)]
    return times


def _inside(times: np.ndarray, spans: list[tuple[int, int]]) -> np.ndarray:
    """Which times lie in one of the spans, which are sorted and apart."""
    if not spans:
        return np.zeros(len(times), dtype=bool)
    starts, ends = (np.array(side) for side in zip(*spans, strict=True))
    place = np.searchsorted(starts, times, side="right") - 1
    return (place >= 0) & (times < ends[np.maximum(place, 0)])


def _activity(
    world: World, random: np.random.Generator, machine: Machine, times: np.ndarray, gpu_number: int
) -> np.ndarray:
    """Share of each interval in which the GPU worked, in hundredths: the trace's spread, the local day's shape."""
    count = len(times)
    if machine.service is BATCH:
        busy = np.clip(random.normal(machine.service.load, 0.07, count), 0.3, 1.0)
        # Two of the eight never got enough data to be busy.
        return np.rint(busy * (100 if gpu_number < 6 else 22)).astype(np.int64)
    offset = offset_seconds(machine.site.zone, world.first_date)
    hour = (times + offset) % DAY_SECONDS // HOUR_SECONDS
    shape = np.sqrt(traces.local_hours() * 24)[hour]
    drawn = np.interp(random.random(count), traces.DUTY_LEVELS, traces.DUTY_PERCENT)
    mean = np.interp(np.linspace(0, 1, 2001), traces.DUTY_LEVELS, traces.DUTY_PERCENT).mean()
    return np.rint(np.clip(drawn / mean * machine.service.load * 100 * shape, 0, 100)).astype(np.int64)
