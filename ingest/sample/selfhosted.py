"""Calls to the company's own GPU servers: in the gateway's log, with the replica that answered, and without a price."""

from __future__ import annotations

import numpy as np
import polars as pl

from ingest.sample import fleet as fleets
from ingest.sample import traces
from ingest.sample.attempts import OK, charge, expand, finish, schedule
from ingest.sample.fleet import Fleet, Machine, Service
from ingest.sample.world import SECOND_MS, World

_ONE_OF_A_KIND = (
    # service, gateway, team, task type, calls a day, call kind, local hours without calls
    (fleets.CHAT, "bengaluru", "cx-blr", "ticket_summary", 100, "llm", (1, 5)),
    (fleets.KB_RERANK, "bengaluru", None, "kb_rerank", 70, "rerank", None),
    (fleets.TRANSLATE, "bengaluru", "cx-blr", "live_translation", 60, "llm", None),
    (fleets.SCREENING, "london", "fraud-uk", "merchant_screening", 80, "llm", None),
    (fleets.CASE_RERANK, "london", "fraud-uk", "case_rerank", 40, "rerank", None),
)


def make(world: World, fleet: Fleet) -> pl.DataFrame:
    """All attempts that the company's own replicas answered, or lost by an eviction."""
    return pl.concat([_service(world, fleet, *row) for row in _ONE_OF_A_KIND])


def _service(
    world: World,
    fleet: Fleet,
    service: Service,
    gateway: str,
    team_alias: str | None,
    task_type: str,
    calls_a_day: float,
    call_kind: str,
    closed_hours: tuple[int, int] | None,
) -> pl.DataFrame:
    random = world.random(service.deployment)
    machines = [machine for machine in fleet.machines if machine.service is service]
    zone = machines[0].site.zone
    counts = [world.tasks_on(day, calls_a_day, least=4, grows=False) for day in world.dates]
    started = traces.arrivals(world, random, zone, counts, closed_hours=closed_hours)
    evictions = fleet.evictions if service is fleets.TRANSLATE else []
    started = _away_from_evictions(started, evictions, len(machines) > 1)
    planted = np.array([eviction.at * SECOND_MS - 4_000 for eviction in evictions], dtype=np.int64)
    plan = np.array([OK] * len(started) + ["evicted"] * len(planted))
    started = np.concatenate([started, planted])
    count = len(started)
    is_rerank = call_kind == "rerank"
    output = np.zeros(count, np.int64) if is_rerank else traces.lengths(random, traces.AZURE_CONVERSATION_OUTPUT, count)
    calls = pl.DataFrame(
        {
            "task": np.arange(count),
            "task_ms": started,
            "step_index": np.ones(count, np.int64),
            "plan": plan,
            "input_tokens": traces.lengths(random, traces.AZURE_CONVERSATION_INPUT, count),
            "output_tokens": output,
        }
    )
    attempts = schedule(charge(expand(calls)), random)
    attempts = _around_evictions(attempts, evictions, count - len(planted))
    attempts = _on_replicas(attempts, machines)
    attempts = attempts.with_columns(
        source=pl.lit("gateway"),
        gateway=pl.lit(gateway),
        model=pl.lit(service.model),
        task_label=pl.format(f"{task_type}-{{}}", pl.col("task").cast(pl.String).str.zfill(6)),
        call_label=pl.when(pl.col("has_retries")).then(pl.format(f"{task_type}-{{}}-1", "task")),
        task_type=pl.lit(task_type),
        team_alias=pl.lit(team_alias),
        team_label=pl.lit(None if team_alias else "search"),
        application=pl.lit(service.deployment),
        step_name=pl.lit("call"),
        call_kind=pl.lit(call_kind),
        call_type=pl.lit("arerank" if is_rerank else "acompletion"),
        workload_kind=pl.lit("serving"),
        deployment_id=pl.lit(service.deployment),
        region=pl.lit(machines[0].site.region),
    )
    return finish(attempts, random, "vllm-")


def _away_from_evictions(started: np.ndarray, evictions: list, is_spot: bool) -> np.ndarray:
    """Around an eviction nothing is sent but the call that shows it; callers wait for the next replica."""
    if not is_spot:
        return started
    started = started.copy()
    for eviction in evictions:
        low, high = (eviction.at - 90) * SECOND_MS, eviction.next_ready_at * SECOND_MS
        waits = (started >= low) & (started < high)
        started[waits] = high + 5_000 + (started[waits] - low) // 50
    return started


def _around_evictions(attempts: pl.DataFrame, evictions: list, first_planted: int) -> pl.DataFrame:
    """Move the evicted calls' times: the first attempt ends with the machine, the second waits for the next one."""
    if not evictions:
        return attempts
    moments = pl.DataFrame(
        {
            "task": np.arange(first_planted, first_planted + len(evictions)),
            "evicted_ms": [eviction.at * SECOND_MS for eviction in evictions],
            "ready_ms": [eviction.next_ready_at * SECOND_MS + 2_000 for eviction in evictions],
        }
    )
    is_lost, is_second = pl.col("kind") == "evicted", pl.col("ready_ms").is_not_null()
    moved = attempts.join(moments, on="task", how="left", maintain_order="left").with_columns(
        new_start=pl.when(is_lost).then(pl.col("evicted_ms") - 4_000).when(is_second).then(pl.col("ready_ms"))
    )
    return moved.with_columns(
        started_ms=pl.coalesce("new_start", "started_ms"),
        ended_ms=pl.when(is_lost)
        .then(pl.col("evicted_ms"))
        .otherwise(pl.coalesce("new_start", "started_ms") + pl.col("duration_ms")),
        first_token_ms=pl.col("first_token_ms") - pl.col("started_ms") + pl.coalesce("new_start", "started_ms"),
    )


def _on_replicas(attempts: pl.DataFrame, machines: list[Machine]) -> pl.DataFrame:
    """The replica that was up when the attempt started."""
    machines = sorted(machines, key=lambda machine: machine.started_at)
    starts = np.array([machine.started_at for machine in machines]) * SECOND_MS
    place = np.searchsorted(starts, attempts["started_ms"].to_numpy(), side="right") - 1
    replicas = np.array([fleets.replica_id(machine) for machine in machines])
    hosts = np.array([machine.hostname for machine in machines])
    return attempts.with_columns(
        pl.Series("replica_id", replicas[place]),
        pl.Series("api_base", np.char.add(np.char.add("http://", hosts[place]), ":8000/v1")),
    )
