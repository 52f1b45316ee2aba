"""Lake to marts: the snapshot that a build reads, and every dbt model with its tests as checks."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
from dagster_dbt import dbt_assets

from orchestration.defs.ingest.assets import LAKE_KEYS
from orchestration.lib import builds, dbt
from orchestration.lib.progress import PROGRESS
from orchestration.lib.translator import Translator
from pertask.home import Home


class BuildConfig(dg.Config):
    """What a build recomputes besides what changed: everything, or the dates from first_date to last_date."""

    full_refresh: bool = False
    first_date: str | None = None
    last_date: str | None = None

    def dates(self) -> tuple[date, date] | None:
        """The requested dates, both included; None when none are requested."""
        if self.first_date is None or self.last_date is None:
            return None
        return date.fromisoformat(self.first_date), date.fromisoformat(self.last_date)


def snapshot_asset(home: Home, manifest: Path) -> dg.AssetsDefinition:
    """What the build reads of the lake and of the company's files, frozen before its first model."""
    sources = dbt.load_manifest(manifest)["sources"].values()
    tables = sorted(source["name"] for source in sources if source["source_name"] == "snapshot")

    @dg.multi_asset(
        name="snapshot",
        specs=[
            dg.AssetSpec(dg.AssetKey(["snapshot", table]), deps=LAKE_KEYS, group_name="snapshot") for table in tables
        ],
        pool="duckdb",
    )
    def snapshot(config: BuildConfig) -> Iterator[dg.MaterializeResult]:
        build = builds.prepare(home, full_refresh=config.full_refresh, dates=config.dates())
        PROGRESS.say(describe(build))
        for table in tables:
            yield dg.MaterializeResult(
                dg.AssetKey(["snapshot", table]),
                metadata={"build_id": build.build_id, "full_refresh": build.full_refresh, "reason": build.reason},
            )

    return snapshot


def describe(build: builds.Build) -> str:
    """A line for people: what the build is about to recompute, and why."""
    if build.full_refresh:
        return f"build: everything is recomputed ({build.reason})"
    if not build.is_needed:
        return "build: nothing changed since the last one"
    changed = [f"{build.batches_changed} changed deliveries"] if build.batches_changed else []
    return f"build: {', '.join([*changed, *build.causes])}"


def warehouse_assets(home: Home, manifest: Path) -> dg.AssetsDefinition:
    """Every model and seed; a failed test fails the step, so nothing after it runs."""

    @dbt_assets(manifest=manifest, name="warehouse", dagster_dbt_translator=Translator(), pool="duckdb")
    def warehouse() -> Iterator:
        build = builds.prepared(home)
        # where nothing changed, what the last run made and found still holds, and is told again
        succeeded = not build.is_needed or dbt.run(home, builds.arguments(home, full_refresh=build.full_refresh))
        yield from dbt.events(home, dbt.load_manifest(manifest))
        if not succeeded:
            raise dg.Failure(f"dbt failed; see {home.logs / 'dbt_output.log'}", allow_retries=False)
        builds.accept(home)

    return warehouse
