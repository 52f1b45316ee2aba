"""Lake to marts: the snapshot that a build reads, and every dbt model with its tests as checks."""

import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
from dagster_dbt import DbtCliResource, DbtProject, dbt_assets

from orchestration.defs.ingest.assets import LAKE_KEYS
from orchestration.lib import builds
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
    sources = json.loads(manifest.read_bytes())["sources"].values()
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
    changed = [f"{build.batches_changed} changed deliveries"] if build.batches_changed else []
    causes = ", ".join([*changed, *build.causes])
    return f"build: {causes}" if causes else "build: nothing changed since the last one"


def warehouse_assets(home: Home, manifest: Path) -> dg.AssetsDefinition:
    """Every model and seed; a failed test fails the step, so nothing after it runs."""
    project = DbtProject(project_dir=builds.PROJECT, profiles_dir=builds.PROJECT, target_path=home.target)

    @dbt_assets(
        manifest=manifest, project=project, name="warehouse", dagster_dbt_translator=Translator(), pool="duckdb"
    )
    def warehouse(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator:
        call = builds.arguments(full_refresh=builds.is_full_refresh(home))
        yield from dbt.cli(call, context=context, target_path=home.target).stream()
        builds.accept(home)

    return warehouse


def dbt_resource() -> DbtCliResource:
    """How dbt is run."""
    return DbtCliResource(
        # the one beside this Python: a virtual environment need not be activated
        dbt_executable=str(Path(sys.executable).with_name("dbt")),
        project_dir=str(builds.PROJECT),
        profiles_dir=str(builds.PROJECT),
        global_config_flags=["--no-use-colors"],
    )
