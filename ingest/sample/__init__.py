"""The sample company: a deterministic generator of vendor files, and of the truth about them.

``generate`` writes what the vendors of a small company would deliver in sixty days: request logs of two gateways, task
lists, three cloud bills in three currencies, GPU metrics of two sites, exchange rates, evaluations. Beside them it
writes truth.json, worked out from its own state and never from the files, which the marts must equal.
"""

from __future__ import annotations

import csv
from pathlib import Path

__all__ = ["generate"]


def generate(home: Path, *, days: int = 60, scale: float = 1.0, seed: int = 7) -> None:
    """Write the sample company into a home folder: landing/, company/, mappings/, pertask.yml, truth.json, truth/.

    The same arguments give the same bytes and the same file times. A home that holds an earlier sample loses that
    sample's files first, and nothing else.

    Args:
        home: an empty or absent folder, or one that an earlier call wrote.
        days: days of history, 4 to 60; fewer lie around the price cut of 2026-08-21.
        scale: multiplies the number of tasks; every planted case is there at any scale.
        seed: of the random streams.

    Raises:
        ValueError: days or scale is out of range.
        FileExistsError: the home has files of its own that the sample would overwrite.
    """
    import polars as pl

    from ingest.sample import (
        adhoc,
        bill_files,
        embedding,
        fleet,
        gateway_files,
        gpu_files,
        pricing,
        selfhosted,
        support,
        tables,
        triage,
        truth,
    )
    from ingest.sample.files import Files
    from ingest.sample.world import World, epoch_ms

    world = World(days, scale, seed)
    home = Path(home)
    _remove_sample(home)
    files = Files(home)

    made = [workload.make(world) for workload in (support, triage, embedding, adhoc)]
    machines = fleet.build(world)
    attempts = pricing.price(pl.concat([*(calls for calls, _ in made), selfhosted.make(world, machines)]))
    if attempts["started_ms"].max() >= epoch_ms(world.end_date):
        raise AssertionError("an attempt starts after the sample's last day")
    labels = pl.concat([listed for _, listed in made], how="diagonal_relaxed")
    rates = bill_files.make_rates(world)

    sources = {
        "gateway": gateway_files.write_gateways(world, attempts, files),
        "embeddings": gateway_files.write_embeddings(world, attempts, files),
        "tasks": tables.write_tasks(labels, files),
        **bill_files.write_bills(world, machines, files),
        **gpu_files.write_samples(world, machines, files),
        **gpu_files.write_inventory(world, machines, files),
        "evals": tables.write_evals(world, files),
        "fx_rates": bill_files.write_rates(world, rates, files),
    }
    tables.write_company(world, files)
    tables.write_configuration(world, files)
    truth.write_truth(world, attempts, labels, machines, rates, sources, files)


def _remove_sample(home: Path) -> None:
    """Remove the files of an earlier sample, which its own list names; refuse a home that is no sample."""
    listing = home / "truth" / "files.csv"
    if not listing.exists():
        for name in ("pertask.yml", "truth.json"):
            if (home / name).exists():
                raise FileExistsError(
                    f"{home / name} is already there and is not of a sample. Choose an empty folder for the sample."
                )
        return
    with open(listing, newline="") as file:
        for row in csv.DictReader(file):
            (home / row["path"]).unlink(missing_ok=True)
