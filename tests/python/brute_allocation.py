"""What every call on a random company's GPUs costs, worked out the slow way: instant by instant, in fractions.

From the marts it takes what each GPU-hour was billed, which other tests hold; all else comes from the company itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import cached_property
from itertools import pairwise

from tests.python.random_company import DAY, HOUR, SAMPLE_SECONDS, Call, Company, Link

Pool = tuple[str, str]
MICRO = timedelta(microseconds=1)
TINY = Fraction(1, 1_000)
"""Makes of round, which rounds halves to even, one that rounds them up."""


@dataclass
class GpuHour:
    """A GPU's billed hour. ``slot``: its place among the machine's GPUs in the hour, from 1."""

    gpu_key: str
    resource_id: str
    hour_at: datetime
    slot: int
    billed: Fraction
    cost: Fraction
    parts: dict[str, Part] = field(default_factory=dict)
    active: Fraction = Fraction(0)
    loaded_idle: Fraction = Fraction(0)
    unallocated: Fraction = Fraction(0)
    called_usd: Fraction = Fraction(0)

    def usd(self, seconds: Fraction) -> Fraction:
        """What so many of its seconds cost; nothing where no second is billed."""
        return self.cost * seconds / self.billed if self.billed > 0 else Fraction(0)


@dataclass
class Part:
    """A GPU or a slice of it in one hour: who holds it, from first to last."""

    pools: frozenset[Pool]
    replica_id: str | None
    start: datetime
    end: datetime
    share_of_card: Fraction
    busy: Fraction = Fraction(0)

    @property
    def lane(self) -> tuple:
        """What it shares with the GPUs on which the same calls are in flight: pools, and the time they hold it.

        Any server of a deployment may answer, so that its GPUs stay together whenever they are held.
        """
        if any(kind == "deployment" for kind, _ in self.pools):
            return (self.pools,)
        return self.pools, self.start, self.end


class Brute:
    """Costs of a company's calls.

    Attributes:
        costs: call id -> cost of all the calls that a row stands for; calls that no billed GPU answers are not in it.
        idle_shares: call id -> its share of idle dollars.
        unweighed: ids of calls that do not tell how long they took, where others beside them do, on each of their GPUs.
        idle_by_group: (group, date) -> idle dollars of the GPUs on which calls cost something.
    """

    def __init__(self, company: Company, hours: list[GpuHour]) -> None:
        self.company = company
        self.hours = hours
        self.costs: dict[str, Fraction] = {}
        self.unweighed: set[str] = set()
        self.idle_shares: dict[str, Fraction] = defaultdict(Fraction)
        self._allocate()

    def _allocate(self) -> None:
        for hour in self.hours:
            hour.parts = self._parts(hour)
        lanes = defaultdict(list)
        for hour in self.hours:
            for part in hour.parts.values():
                lanes[hour.hour_at, part.lane].append(part)
        shares = {key: self._shares(key[0], parts[0].pools, parts) for key, parts in lanes.items()}
        lane_costs: dict[tuple, Fraction] = defaultdict(Fraction)
        lane_gpus: dict[tuple, dict] = defaultdict(lambda: defaultdict(Fraction))
        for hour in self.hours:
            self._judge(hour, shares)
            for pools, usd in self._split_gpu(hour, shares):
                lane_costs[hour.hour_at, pools] += usd
                lane_gpus[hour.hour_at.date(), hour.resource_id, hour.gpu_key][hour.hour_at, pools] += usd
        call_weights: dict[tuple, Fraction] = {}
        weighed = set()
        for (hour_at, pools), usd in lane_costs.items():
            got = shares[hour_at, pools]
            if any(got.values()):
                self.unweighed |= got.keys() & self._untimed_calls
            else:
                weighed |= got.keys()
            for call_id, weight in _normal(got, self._calls).items():
                self.costs[call_id] = self.costs.get(call_id, Fraction(0)) + usd * weight
                call_weights[hour_at, pools, call_id] = weight
        self.unweighed -= weighed
        self._share_idle(lane_gpus, call_weights)

    @cached_property
    def _calls(self) -> dict[str, Call]:
        return {call.call_id: call for call in self.company.calls if call.group}

    @cached_property
    def _flights(self) -> dict[datetime, list[tuple[str, Pool, datetime, datetime]]]:
        """By hour: calls in flight in it, each with its pool and its part of the hour; without an end, a moment."""
        found = defaultdict(list)
        for call in self._calls.values():
            pool = self._pools[call.started_at.date()].get(_names(call))
            if pool is None:
                continue
            end = min(call.ended_at or call.started_at, call.started_at + DAY)
            hour = call.started_at.replace(minute=0, second=0, microsecond=0)
            while hour < max(end, call.started_at + MICRO):
                found[hour].append((call.call_id, pool, max(call.started_at, hour), min(end, hour + HOUR)))
                hour += HOUR
        return found

    @cached_property
    def _pools(self) -> dict[date, dict[tuple, Pool]]:
        """By date: what calls name of their server -> the pool that answers them."""
        by_date = defaultdict(set)
        for call in self._calls.values():
            by_date[call.started_at.date()].add(_names(call))
        return {day: self._pools_of(day, names) for day, names in by_date.items()}

    def _pools_of(self, day: date, names: set[tuple]) -> dict[tuple, Pool]:
        def overlaps(first: datetime, last: datetime) -> bool:
            start = datetime(day.year, day.month, day.day, tzinfo=first.tzinfo)
            return first < start + DAY and last > start

        loaded = {w.replica_id: w.deployment_id for w in self.company.windows if overlaps(w.loaded_at, w.unloaded_at)}
        links = [link for link in self._links if overlaps(link.valid_from, link.valid_to)]
        machines = {f"http://{link.hostname}:8000/v1": link.resource_id for link in links}
        deployments = {*loaded.values(), *(link.deployment_id for link in links)} - {None}

        def deployment(replica: str | None, told: str | None) -> str | None:
            known = told or loaded.get(replica)
            return known if known in deployments else None

        pooled = {
            deployment(replica, told)
            for replica, address, told in names
            if replica not in loaded and address not in machines and deployment(replica, told)
        }
        pools = {}
        for replica, address, told in names:
            if replica in loaded and deployment(replica, told) not in pooled:
                pools[replica, address, told] = ("replica", replica)
            elif replica not in loaded and address in machines:
                pools[replica, address, told] = ("machine", machines[address])
            elif deployment(replica, told) in pooled:
                pools[replica, address, told] = ("deployment", deployment(replica, told))
        return pools

    @cached_property
    def _called_pools(self) -> dict[date, set[Pool]]:
        found = defaultdict(set)
        for hour, flights in self._flights.items():
            found[hour.date()] |= {pool for _, pool, *_ in flights}
        return found

    def _ways(self, hour: GpuHour) -> Iterator[tuple[str, Pool, str, datetime, datetime]]:
        """Every hold on a GPU in an hour by a pool with calls on that date: part, pool, replica, from, to."""
        pools = self._called_pools[hour.hour_at.date()]
        end = hour.hour_at + HOUR
        windows = [w for w in self.company.windows if w.loaded_at < end and w.unloaded_at > hour.hour_at]
        taken, slots = 0, {}
        machine = self._sizes[hour.resource_id, hour.hour_at]
        claims, first_loaded = defaultdict(int), {}
        for window in windows:
            if window.resource_id == hour.resource_id and window.gpu_uuid is None and window.gpu_count:
                claims[window.replica_id] = max(claims[window.replica_id], window.gpu_count)
                first_loaded[window.replica_id] = min(
                    first_loaded.get(window.replica_id, window.loaded_at), window.loaded_at
                )
        for replica in sorted(claims, key=lambda name: (first_loaded[name], name)):
            slots[replica] = {place % machine + 1 for place in range(taken, taken + claims[replica])}
            taken += claims[replica]
        for window in windows:
            if window.gpu_uuid is not None:
                holds = window.gpu_uuid.split("/")[0] == hour.gpu_key
            else:
                holds = window.resource_id == hour.resource_id
                holds = holds and hour.slot in slots.get(window.replica_id, (hour.slot,))
            for pool in (("replica", window.replica_id), ("deployment", window.deployment_id)):
                if holds and pool in pools:
                    part = window.gpu_uuid or hour.gpu_key
                    yield part, pool, window.replica_id, window.loaded_at, window.unloaded_at
        if ("machine", hour.resource_id) in pools:
            yield hour.gpu_key, ("machine", hour.resource_id), hour.resource_id, hour.hour_at, end
        for link in self._links:
            pool = ("deployment", link.deployment_id)
            is_valid = link.valid_from < end and link.valid_to > hour.hour_at
            is_valid = is_valid and link.deployment_id not in self._windowed[hour.hour_at.date()]
            if link.resource_id == hour.resource_id and pool in pools and is_valid:
                yield hour.gpu_key, pool, hour.resource_id, link.valid_from, link.valid_to

    def _parts(self, hour: GpuHour) -> dict[str, Part]:
        held = defaultdict(list)
        for part, *way in self._ways(hour):
            held[part].append(way)
        weights = {
            sample.gpu_uuid: int(sample.mig_profile[0])
            for sample in self._samples.get((hour.resource_id, hour.gpu_key, hour.hour_at), ())
            if sample.mig_profile
        }
        return {
            part: Part(
                frozenset(pool for pool, *_ in ways),
                min(replica for _, replica, *_ in ways),
                max(min(start for *_, start, _ in ways), hour.hour_at),
                min(max(end for *_, end in ways), hour.hour_at + HOUR),
                self._share_of_card(hour, part, weights, sum("/" in other for other in held)),
            )
            for part, ways in held.items()
        }

    def _share_of_card(self, hour: GpuHour, part: str, weights: dict[str, int], slice_count: int) -> Fraction:
        """By the profiles seen in the hour, else as on the same date, else alike among the slices."""
        if "/" not in part:
            return Fraction(1)
        if part in weights:
            return Fraction(weights[part], sum(weights.values()))
        return self._slice_days.get((part, hour.hour_at.date()), Fraction(1, slice_count))

    @cached_property
    def _links(self) -> list[Link]:
        """Names of machines count from the date on which a bill first has the machine."""
        first = {}
        for line in (*self.company.lines["hourly"], *self.company.lines["wide"]):
            day = line["charge_period_start"].replace(hour=0, minute=0, second=0, microsecond=0)
            first[line["resource_id"]] = min(first.get(line["resource_id"], day), day)
        return [
            replace(link, valid_from=max(link.valid_from, first[link.resource_id]))
            for link in self.company.links
            if link.resource_id in first
        ]

    @cached_property
    def _slice_days(self) -> dict[tuple, Fraction]:
        found = {}
        for (_, _, hour_at), samples in self._samples.items():
            weights = {s.gpu_uuid: int(s.mig_profile[0]) for s in samples if s.mig_profile}
            for uuid, weight in weights.items():
                key, share = (uuid, hour_at.date()), Fraction(weight, sum(weights.values()))
                found[key] = max(found.get(key, share), share)
        return found

    @cached_property
    def _sizes(self) -> dict[tuple, int]:
        found = defaultdict(int)
        for hour in self.hours:
            key = hour.resource_id, hour.hour_at
            found[key] = max(found[key], hour.slot)
        return found

    @cached_property
    def _windowed(self) -> dict[date, set[str]]:
        found = defaultdict(set)
        for window in self.company.windows:
            for hour in self.hours:
                if window.loaded_at < hour.hour_at + HOUR and window.unloaded_at > hour.hour_at:
                    found[hour.hour_at.date()].add(window.deployment_id)
        return found

    def _shares(self, hour_at: datetime, pools: frozenset[Pool], parts: list[Part]) -> dict[str, Fraction] | None:
        """Seconds of the lane's servers that each call got; notes how long each of its parts was busy. None: no calls.

        In a deployment several replicas answer, and so many calls keep at most so many of them busy.
        """
        flights = [flight for flight in self._flights.get(hour_at, ()) if flight[1] in pools]
        if not flights:
            return None
        shares = {call_id: Fraction(0) for call_id, *_ in flights}
        is_deployment = len(pools) == 1 and next(iter(pools))[0] == "deployment"
        spans = defaultdict(list)
        for part in parts if is_deployment else ():
            spans[part.replica_id].append(part)
        moments = {moment for *_, start, end in flights for moment in (start, end)}
        moments |= {moment for part in parts for moment in (part.start, part.end)}
        for start, end in pairwise(sorted(moments)):
            calls = [call_id for call_id, _, first, last in flights if first <= start and end <= last]
            held = [part for part in parts if part.start <= start and end <= part.end]
            if not calls or not held:
                continue
            up = sum(
                min(part.start for part in of) <= start and end <= max(part.end for part in of) for of in spans.values()
            )
            servers = max(up, 1)
            weights = {call_id: self._calls[call_id].weight for call_id in calls}
            in_flight = sum(weights.values())
            seconds = Fraction((end - start) // MICRO, 1_000_000) * min(max(in_flight, Fraction(1)), servers)
            for call_id, weight in weights.items():
                shares[call_id] += seconds * weight / in_flight
            for part in held:
                part.busy += seconds / servers
        return shares

    @cached_property
    def _samples(self) -> dict[tuple, list]:
        found = defaultdict(list)
        for sample in self.company.samples:
            hour = sample.sampled_at.replace(minute=0, second=0)
            found[sample.resource_id, sample.gpu_uuid.split("/")[0], hour].append(sample)
        return found

    @cached_property
    def _untimed_calls(self) -> set[str]:
        return {call.call_id for call in self.company.calls if (call.ended_at or call.started_at) <= call.started_at}

    @cached_property
    def _watched_days(self) -> set[tuple]:
        return {(resource, card, hour.date()) for resource, card, hour in self._samples}

    @cached_property
    def _logged_days(self) -> set[tuple]:
        return {(hour.resource_id, hour.gpu_key, hour.hour_at.date()) for hour in self.hours if hour.parts}

    def _windows_of(self, hour: GpuHour, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        """What of [start, end) windows hold the GPU: they name it, or its machine without saying which GPU."""
        return [
            (max(window.loaded_at, start), min(window.unloaded_at, end))
            for window in self.company.windows
            if window.loaded_at < end and window.unloaded_at > start
            and (window.gpu_uuid or hour.gpu_key).split("/")[0] == hour.gpu_key
            and window.resource_id == hour.resource_id
        ]  # fmt: skip

    def _judge(self, hour: GpuHour, shares: dict) -> None:
        """Seconds of each state, and what of the active dollars the calls in flight explain."""
        samples = self._samples.get((hour.resource_id, hour.gpu_key, hour.hour_at), ())
        active = held = free = Fraction(0)
        total = sum(int(profile[0]) for profile in {s.gpu_uuid: s.mig_profile or "1" for s in samples}.values())
        for sample in samples:
            seconds = Fraction(SAMPLE_SECONDS * int((sample.mig_profile or "1")[0]), total)
            worked = seconds * sample.active / 100
            is_held = sample.is_held_by_pod or bool(
                self._windows_of(hour, sample.sampled_at, sample.sampled_at + MICRO)
            )
            active += worked
            held += seconds - worked if is_held else 0
            free += 0 if is_held else seconds - worked
        in_flight = min(
            sum((part.busy * part.share_of_card for part in hour.parts.values()), Fraction(0)), Fraction(3600)
        )
        is_untimed = any(
            call_id in self._untimed_calls
            for part in hour.parts.values()
            for call_id in shares[hour.hour_at, part.lane] or ()
        )
        seen = max(active, in_flight)
        loaded = max(seen, active + held)
        day = hour.hour_at.replace(hour=0)
        key = (hour.resource_id, hour.gpu_key, hour.hour_at.date())
        if key in self._logged_days and key not in self._watched_days:
            is_told = bool(self._windows_of(hour, day, day + DAY))
            window_seconds = _union(self._windows_of(hour, hour.hour_at, hour.hour_at + HOUR))
            loaded = max(seen, window_seconds) if is_told else Fraction(3600)
            free = 3600 - loaded
        room = max(hour.billed, Fraction(0))
        hour.active = min(seen, room)
        hour.loaded_idle = min(hour.active + loaded - seen, room) - hour.active
        hour.unallocated = min(hour.active + hour.loaded_idle + free, room) - hour.active - hour.loaded_idle
        called = in_flight or (seen if is_untimed else Fraction(0))
        hour.called_usd = hour.usd(hour.active) * called / seen if seen else Fraction(0)

    def _split_gpu(self, hour: GpuHour, shares: dict) -> Iterator[tuple[frozenset, Fraction]]:
        """A GPU's dollars go to its lanes by how long each was busy; where no call tells its time, evenly."""
        called = [part for part in hour.parts.values() if shares[hour.hour_at, part.lane] is not None]
        timed = [part for part in called if any(shares[hour.hour_at, part.lane].values())]
        weights = [part.busy * part.share_of_card if part in timed else Fraction(0) for part in called]
        if not timed:
            weights = [Fraction(1)] * len(called)
        for part, weight in zip(called, weights, strict=True):
            yield part.lane, hour.called_usd * weight / (sum(weights) or 1)

    def _share_idle(self, lane_gpus: dict, call_weights: dict) -> None:
        """A GPU's idle dollars of a day go to its lanes and hours of that day by what each cost, then as costs do."""
        idle = defaultdict(Fraction)
        for hour in self.hours:
            key = (hour.hour_at.date(), hour.resource_id, hour.gpu_key)
            idle[key] += hour.usd(hour.loaded_idle + hour.unallocated)
        lane_idle = defaultdict(Fraction)
        for key, lanes in lane_gpus.items():
            weights = {lane: max(usd, Fraction(0)) for lane, usd in lanes.items()}
            for lane, weight in weights.items():
                if weight:
                    lane_idle[lane] += idle[key] * weight / sum(weights.values())
        for (*lane, call_id), weight in call_weights.items():
            self.idle_shares[call_id] += lane_idle[tuple(lane)] * weight


def _names(call: Call) -> tuple:
    return call.replica_id, call.api_base, call.deployment_id


def _normal(shares: dict[str, Fraction], calls: dict[str, Call]) -> dict[str, Fraction]:
    """Parts of a whole: by time; where none has time by tokens, output twice; else alike."""
    if not any(shares.values()):
        shares = {
            call_id: Fraction(round((call.uncached_input_tokens + 2 * call.output_tokens) * call.weight + TINY))
            for call_id, call in ((call_id, calls[call_id]) for call_id in shares)
        }
    if not any(shares.values()):
        shares = {call_id: calls[call_id].weight for call_id in shares}
    total = sum(shares.values())
    return {call_id: share / total for call_id, share in shares.items()}


def _union(spans: list[tuple[datetime, datetime]]) -> Fraction:
    """Seconds that at least one of the spans covers."""
    moments = sorted({moment for span in spans for moment in span})
    covered = [
        (end - start) // MICRO
        for start, end in pairwise(moments)
        if any(first <= start and end <= last for first, last in spans)
    ]
    return Fraction(sum(covered), 1_000_000)
