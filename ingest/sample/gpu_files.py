"""What the fleets' tools wrote: Prometheus exports, links between names, replica windows and events."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import polars as pl

from ingest.sample import fleet as fleets
from ingest.sample.files import Files
from ingest.sample.fleet import DAY_SECONDS, MUMBAI, SITES, Fleet, Site
from ingest.sample.world import SECOND_MS, World, epoch_ms, midnight

UTILISATION = "DCGM_FI_DEV_GPU_UTIL"
ENGINE_ACTIVE = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
SM_ACTIVE = "DCGM_FI_PROF_SM_ACTIVE"
MEMORY_USED = "DCGM_FI_DEV_FB_USED"
METRICS = (UTILISATION, ENGINE_ACTIVE, SM_ACTIVE, MEMORY_USED)
_PROFILING = (ENGINE_ACTIVE, SM_ACTIVE)

_SERIES = ("gpu_uuid", "hostname", "gpu_name", "gpu_index", "namespace", "pod")


def write_samples(world: World, fleet: Fleet, files: Files) -> dict[str, dict]:
    """query_range answers, one file a metric: daily of Mumbai, weekly of London; returns what a loader has to find.

    Mumbai's exports end with the first sample of the next day, as ranges that include their end do. A week of samples
    every two minutes stays below the 11,000 points that Prometheus gives in one answer.
    """
    return {site.metrics_source: _write_site(world, site, fleet.samples[site.name], files) for site in SITES}


def _write_site(world: World, site: Site, samples: pl.DataFrame, files: Files) -> dict:
    samples = samples.with_columns(day=pl.col("sampled_at") // DAY_SECONDS)
    if site is MUMBAI:
        edge = samples.filter(pl.col("sampled_at") % DAY_SECONDS == 0).with_columns(day=pl.col("day") - 1)
        edge = edge.filter(pl.col("day") >= samples["day"].min())
        samples = pl.concat([samples, edge])
    first_day = epoch_ms(world.first_date) // SECOND_MS // DAY_SECONDS
    samples = samples.with_columns(
        # the edge sample stays in the export of the day before
        export=(pl.col("day") - first_day) // site.export_days * site.export_days + first_day
    )
    samples = samples.sort("export", *_SERIES, "sampled_at", nulls_last=True).with_columns(
        values=_values(),
        has_new_label=pl.col("export") >= epoch_ms(world.label_renamed_day) // SECOND_MS // DAY_SECONDS,
    )
    end = midnight(world.end_date)
    count = written = 0
    for metric in METRICS:
        rows = samples.filter(pl.col("has_profiling")) if metric in _PROFILING else samples
        count += len(rows)
        series = rows.group_by("export", *_SERIES, "has_new_label", maintain_order=True).agg(
            pl.concat_str(
                pl.lit("["),
                pl.col("sampled_at"),
                pl.lit(',"'),
                pl.col("values").struct.field(metric),
                pl.lit('"]'),
            )
            .str.join(",")
            .alias("points")
        )
        for (day_number,), group in series.group_by("export", maintain_order=True):
            start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=int(day_number))
            content = (
                '{"status":"success","data":{"resultType":"matrix","result":[\n'
                + ",\n".join(_one_series(site, metric, row) for row in group.iter_rows(named=True))
                + "\n]}}\n"
            )
            path = f"landing/gpu/{site.name}/{start:%Y-%m-%d}/{metric}.json"
            files.write(path, content, min(start + timedelta(days=site.export_days), end) + timedelta(minutes=20))
            written += 1
    return {
        "contract": "gpu_samples",
        "files": written,
        "deliveries": written,
        "rows_loaded": count,
        "rows_quarantined": 0,
        "rows_skipped": 0,
    }


def _values() -> pl.Expr:
    """Each metric's value as Prometheus writes it: GPU_UTIL in percent, the profiling metrics as ratios, MiB."""
    active = pl.col("active")
    # A kernel that is resident counts as utilisation, whatever it does: always a little above the engine's activity.
    utilisation = (
        pl.when(pl.col("has_profiling") & (active > 0))
        .then(pl.min_horizontal(active + 4 + active // 8, pl.lit(100)))
        .otherwise(active)
    )
    used = pl.when("is_held").then(pl.col("memory_mib") * 9 // 10 + pl.col("sampled_at") % 7).otherwise(4)
    return pl.struct(
        utilisation.cast(pl.String).alias(UTILISATION),
        _ratio(active).alias(ENGINE_ACTIVE),
        _ratio(active * 5 // 8).alias(SM_ACTIVE),
        used.cast(pl.String).alias(MEMORY_USED),
    )


def _ratio(hundredths: pl.Expr) -> pl.Expr:
    texts = [f"{number / 100:g}" for number in range(101)]
    return hundredths.replace_strict(list(range(101)), texts, return_dtype=pl.String)


def _one_series(site: Site, metric: str, row: dict) -> str:
    labels = {
        "__name__": metric,
        "DCGM_FI_DRIVER_VERSION": "570.86.15",
        "hostname" if site is MUMBAI and row["has_new_label"] else "Hostname": row["hostname"],
        "UUID": row["gpu_uuid"],
        "device": f"nvidia{row['gpu_index']}",
        "gpu": str(row["gpu_index"]),
        "modelName": row["gpu_name"],
        "instance": f"{row['hostname']}:9400",
        "job": "dcgm-exporter",
    }
    if row["pod"] is not None:
        labels |= {"namespace": row["namespace"], "pod": row["pod"], "container": "server"}
    return f'{{"metric":{json.dumps(labels, sort_keys=True)},"values":[{row["points"]}]}}'


def write_inventory(world: World, fleet: Fleet, files: Files) -> dict[str, dict]:
    """Links, replica windows and events: one small CSV each, delivered at the end."""
    delivered_at = midnight(world.end_date)
    links = [_LINK_HEADER]
    windows = [_WINDOW_HEADER]
    for machine in fleet.machines:
        machine_ends = _moment(machine.ended_at) if machine.ended_at < epoch_ms(world.end_date) // SECOND_MS else ""
        if machine.is_sampled and not machine.is_named_in_bill:
            node = f"{machine.hostname}.{machine.site.region}.compute.internal"
            links.append(
                f"{machine.hostname},{node},,{machine.resource_id},,,{_moment(machine.started_at)},{machine_ends}"
            )
        if machine.service.is_serving:
            replica = fleets.replica_id(machine)
            links.append(
                f"{machine.hostname},,,{machine.resource_id},{machine.service.deployment},"
                f"http://{machine.hostname}:8000/v1,{_moment(machine.started_at)},{machine_ends}"
            )
            for first, last in fleets.held(machine, world):
                windows.append(
                    f"{replica},{machine.service.deployment},{machine.service.model},bf16,{machine.resource_id},"
                    f"{machine.gpu_uuids[0]},1,{_moment(first)},{_moment(last)}"
                )
    events = [_EVENT_HEADER]
    for eviction in fleet.evictions:
        evicted = f"{eviction.resource_id},{eviction.replica_id}"
        events += [
            f"{evicted},spot-notice,{_moment(eviction.at - 120)},aws instance metadata",
            f"{evicted},spot-terminated,{_moment(eviction.at)},aws instance metadata",
            f",{eviction.next_replica_id},pod-restarted,{_moment(eviction.next_ready_at)},kubernetes events",
        ]
    counts = {}
    for source, path, lines, contract in (
        ("resource_links", "landing/inventory/resource_links.csv", links, "resource_links"),
        ("replica_windows", "landing/inventory/replica_windows.csv", windows, "replica_windows"),
        ("gpu_events", "landing/inventory/gpu_events.csv", events, "gpu_events"),
    ):
        files.write(path, "\n".join(lines) + "\n", delivered_at)
        counts[source] = {
            "contract": contract,
            "files": 1,
            "deliveries": 1,
            "rows_loaded": len(lines) - 1,
            "rows_quarantined": 0,
            "rows_skipped": 0,
        }
    return counts


_LINK_HEADER = "hostname,node_name,gpu_uuid,resource_id,deployment_id,api_base,valid_from,valid_to"
_WINDOW_HEADER = "replica,deployment,served_model,dtype,instance,gpu,gpus,loaded,unloaded"
_EVENT_HEADER = "instance,replica,what,happened,seen_by"


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
