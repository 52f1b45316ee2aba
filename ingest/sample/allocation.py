"""What the company's own GPUs did hour by hour, and what each call that they answered cost: exact, in fractions.

Nothing here is shared with the warehouse: calls are cut at every beginning and end, one stretch of time after another.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

import polars as pl

from ingest.sample import bills
from ingest.sample import fleet as fleets
from ingest.sample.bill_files import Rates
from ingest.sample.fleet import HOUR_SECONDS, SITES, Fleet, Machine
from ingest.sample.pricing import UNITS_PER_USD
from ingest.sample.world import SECOND_MS, World

STATES = ("active", "loaded_idle", "unallocated", "unknown")
_HOUR_MS = HOUR_SECONDS * SECOND_MS


@dataclass(frozen=True)
class Hour:
    """A machine's hour of a bill line.

    Attributes:
        start: of the hour, in seconds since 1970.
        billed: billed seconds of all its GPUs.
        seconds: of each state, by its name.
        effective: USD; of it each second costs as much as any other.
        share_of_line: the hour's part of the line, from 0 to 1.
        shares: row of a call in flight -> its seconds, each instant evenly among the calls in flight.
    """

    line: bills.Line
    machine: Machine
    start: int
    billed: Fraction
    seconds: dict[str, Fraction]
    effective: Fraction
    share_of_line: Fraction
    shares: dict[int, Fraction] = field(default_factory=dict)

    def usd(self, seconds: Fraction) -> Fraction:
        """What so many of its seconds cost."""
        return self.effective * seconds / self.billed

    @property
    def called_usd(self) -> Fraction:
        """The part of its active dollars that calls in flight explain."""
        return self.usd(sum(self.shares.values(), Fraction(0)))


def gpu_hours(calls: pl.DataFrame, fleet: Fleet, lines: list[bills.Line], rates: Rates, world: World) -> list[Hour]:
    """Every billed hour of every machine with GPUs.

    Args:
        calls: all attempts, with ``row``; those with a replica_id are in flight on its machine.
        fleet: the machines and what their exporters saw.
        lines: the bills' lines.
        rates: exchange rates.
        world: the sample's dates.
    """
    machines = {machine.resource_id: machine for machine in fleet.machines}
    spans = {resource_id: fleets.running(machine, world) for resource_id, machine in machines.items()}
    sampled = _sampled_seconds(fleet)
    flights = _in_flight(calls, fleet, world)
    hours = []
    for line in lines:
        if line.kind != bills.GPU_USAGE:
            continue
        machine = machines[line.resource_id]
        effective = Fraction(rates.usd(line.effective, machine.site.currency, line.charge_date))
        for start in range(line.start, line.end, HOUR_SECONDS):
            ran = sum(
                max(min(last, start + HOUR_SECONDS) - max(first, start), 0) for first, last in spans[line.resource_id]
            )
            if not ran:
                continue
            key = (line.resource_id, start)
            shares = flights.get(key, {})
            billed = Fraction(ran * machine.gpu_count)
            part = Fraction(ran, line.used_seconds)
            seconds = _states(key, billed, sampled.get(key, (Fraction(0),) * 3), sum(shares.values()))
            hours.append(Hour(line, machine, start, billed, seconds, effective * part, part, shares))
    if len(calls.filter(pl.col("replica_id").is_not_null())) != len({row for hour in hours for row in hour.shares}):
        raise AssertionError("a call to an own server has no billed hour")
    return hours


def _states(
    key: tuple[str, int], billed: Fraction, sampled: tuple[Fraction, ...], in_flight: Fraction
) -> dict[str, Fraction]:
    """Seconds of each state: active as the exporter or the calls in flight say, whichever is more."""
    if sum(sampled) > billed or in_flight > billed:
        raise AssertionError(f"{key} was seen for {sum(sampled)} s and called for {in_flight} s of {billed} s billed")
    active, held, free = sampled
    at_work = max(active, in_flight)
    loaded = max(at_work, active + held)
    unallocated = min(free, billed - loaded)
    return dict(zip(STATES, (at_work, loaded - at_work, unallocated, billed - loaded - unallocated), strict=True))


def _sampled_seconds(fleet: Fleet) -> dict[tuple[str, int], tuple[Fraction, Fraction, Fraction]]:
    """(active, loaded idle, unallocated) seconds that exporters saw, by machine and start of an hour."""
    sums = {}
    for site in SITES:
        grouped = (
            fleet.samples[site.name]
            .group_by("resource_id", (pl.col("sampled_at") // HOUR_SECONDS * HOUR_SECONDS).alias("start"))
            .agg(
                pl.col("active").sum(),
                (100 - pl.col("active")).filter(pl.col("is_held")).sum().alias("held"),
                (100 - pl.col("active")).filter(~pl.col("is_held")).sum().alias("free"),
            )
        )
        for resource_id, start, *hundredths in grouped.iter_rows():
            sums[resource_id, start] = tuple(Fraction(value * site.interval_seconds, 100) for value in hundredths)
    return sums


def _in_flight(calls: pl.DataFrame, fleet: Fleet, world: World) -> dict[tuple[str, int], dict[int, Fraction]]:
    """By machine and start of an hour: each call's row and seconds, an instant shared by all calls in flight in it."""
    serving = {fleets.replica_id(machine): machine for machine in fleet.machines if machine.service.is_serving}
    held = {replica: fleets.held(machine, world) for replica, machine in serving.items()}
    cut = defaultdict(list)
    own = calls.filter(pl.col("replica_id").is_not_null()).select("row", "replica_id", "started_ms", "ended_ms")
    for row, replica, started, ended in own.iter_rows():
        if not any(first * SECOND_MS <= started < ended <= last * SECOND_MS for first, last in held[replica]):
            raise AssertionError(f"a call to {replica} at {started} is in flight while the replica is not loaded")
        for start in range(started // _HOUR_MS * _HOUR_MS, ended, _HOUR_MS):
            key = (serving[replica].resource_id, start // SECOND_MS)
            cut[key].append((max(started, start), min(ended, start + _HOUR_MS), row))
    return {key: _shares(flights) for key, flights in cut.items()}


def _shares(flights: list[tuple[int, int, int]]) -> dict[int, Fraction]:
    """Row of each (from, to, row) in milliseconds -> its seconds."""
    shares: dict[int, Fraction] = defaultdict(Fraction)
    moments = sorted({moment for first, last, _ in flights for moment in (first, last)})
    for start, end in pairwise(moments):
        rows = [row for first, last, row in flights if first <= start and end <= last]
        for row in rows:
            shares[row] += Fraction(end - start, SECOND_MS * len(rows))
    return dict(shares)


def allocate(calls: pl.DataFrame, hours: list[Hour]) -> pl.DataFrame:
    """Fill ``cost`` of the calls to own servers, and add ``fully_loaded_cost`` of all priced calls (1e-12 USD).

    The idle dollars of a machine's day go to that day's calls by what each cost on it.
    """
    days: dict[tuple, list[Hour]] = defaultdict(list)
    for hour in hours:
        days[hour.machine.resource_id, hour.line.charge_date].append(hour)
    costs: dict[int, Fraction] = defaultdict(Fraction)
    idle_shares: dict[int, Fraction] = defaultdict(Fraction)
    for of_day in days.values():
        day_costs: dict[int, Fraction] = defaultdict(Fraction)
        for hour in of_day:
            for row, seconds in hour.shares.items():
                day_costs[row] += hour.usd(seconds)
        idle = sum(hour.usd(hour.seconds["loaded_idle"] + hour.seconds["unallocated"]) for hour in of_day)
        used = sum(day_costs.values())
        for row, cost in day_costs.items():
            costs[row] += cost
            idle_shares[row] += idle * cost / used
    rows = list(costs)
    allocated = pl.DataFrame(
        {
            "row": rows,
            "allocated_cost": [round(costs[row] * UNITS_PER_USD) for row in rows],
            "idle_share": [round(idle_shares[row] * UNITS_PER_USD) for row in rows],
        },
        schema={"row": calls.schema["row"], "allocated_cost": pl.Int64, "idle_share": pl.Int64},
    )
    return (
        calls.join(allocated, on="row", how="left", maintain_order="left")
        .with_columns(cost=pl.coalesce("cost", "allocated_cost"))
        .with_columns(fully_loaded_cost=pl.col("cost") + pl.col("idle_share").fill_null(0))
    )
