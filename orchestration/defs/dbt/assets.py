"""Lake to marts: the snapshot that a build reads, every dbt model with its tests as checks, and the days it made."""

import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
from dagster_dbt import dbt_assets

from orchestration.defs.ingest.assets import LAKE_KEYS
from orchestration.lib import builds, dbt
from orchestration.lib.progress import PROGRESS
from orchestration.lib.translator import Translator
from pertask.home import Home
from publish.publication import is_current, published_build, withdrawn_builds
from publish.report import build_of

DAYS_KEY = dg.AssetKey(["warehouse", "days"])
_EARLIEST = date(2020, 1, 1)
"""Partitions begin here at the earliest: a stray row of 1970 must not make twenty thousand of them."""


class BuildConfig(dg.Config):
    """What a build does besides what changed: recompute everything or some dates, test everything."""

    full_refresh: bool = False
    first_date: str | None = None
    last_date: str | None = None
    tests_everything: bool = False

    def dates(self) -> tuple[date, date] | None:
        """The requested dates, both included; None when none are requested."""
        if self.first_date is None or self.last_date is None:
            return None
        return date.fromisoformat(self.first_date), date.fromisoformat(self.last_date)


def daily(home: Home) -> dg.DailyPartitionsDefinition:
    """The UTC days that a home can have numbers of, today included; times to come are no partitions."""
    first = max(builds.first_date(home) or datetime.now(UTC).date(), _EARLIEST)
    return dg.DailyPartitionsDefinition(start_date=first.isoformat(), end_offset=1)


def snapshot_asset(home: Home, manifest: Path) -> dg.AssetsDefinition:
    """What the build reads of the lake and of the company's files, frozen before its first model."""
    sources = dbt.load_manifest(manifest)["sources"].values()
    tables = sorted(source["name"] for source in sources if source["source_name"] == "snapshot")

    @dg.multi_asset(
        name="snapshot",
        specs=[
            dg.AssetSpec(dg.AssetKey(["snapshot", table]), deps=LAKE_KEYS, group_name="snapshot", skippable=True)
            for table in tables
        ],
        pool="duckdb",
        required_resource_keys={"writer"},
    )
    def snapshot(context: dg.AssetExecutionContext, config: BuildConfig) -> Iterator[dg.MaterializeResult]:
        build = builds.prepare(
            home,
            full_refresh=config.full_refresh,
            dates=config.dates() or partition_dates(context.run.tags),
            tests_everything=config.tests_everything,
        )
        PROGRESS.say(build.description)
        PROGRESS.is_unchanged = not build.is_needed and is_current(home, builds.last_build_id(home))
        if PROGRESS.is_unchanged and build_of(home) == published_build(home):
            # What this run would publish is published, or was withdrawn: everything after this step is passed over.
            is_withdrawn = builds.last_build_id(home) in withdrawn_builds(home)
            PROGRESS.say("publish: the last build stays withdrawn" if is_withdrawn else "publish: published already")
            return
        for table in tables:
            yield dg.MaterializeResult(
                dg.AssetKey(["snapshot", table]),
                metadata={"build_id": build.build_id, "full_refresh": build.full_refresh, "reason": build.reason},
            )

    return snapshot


def partition_dates(tags: dict[str, str]) -> tuple[date, date] | None:
    """The first and last day of the partitions that a run was asked for; None for a run of no partition."""
    one = tags.get("dagster/partition")
    first = tags.get("dagster/asset_partition_range_start", one)
    last = tags.get("dagster/asset_partition_range_end", one)
    return (date.fromisoformat(first), date.fromisoformat(last)) if first and last else None


def warehouse_assets(home: Home, manifest: Path) -> dg.AssetsDefinition:
    """Every model and seed; a failed test fails the step, so nothing after it runs."""

    @dbt_assets(
        manifest=manifest,
        name="warehouse",
        dagster_dbt_translator=Translator(),
        pool="duckdb",
        required_resource_keys={"writer"},
    )
    def warehouse() -> Iterator:
        build = builds.prepared(home)
        if build.is_needed:
            builds.check_writable(home)
        # where nothing changed, what the last run made and found still holds, and is told again
        succeeded = not build.is_needed or dbt.run(
            home,
            builds.arguments(home, full_refresh=build.full_refresh, tests_everything=build.tests_everything),
        )
        if build.is_needed or builds.results(home):
            yield from dbt.events(home, dbt.load_manifest(manifest))
        else:
            yield from dbt.standing(dbt.load_manifest(manifest))
        if not succeeded:
            raise dg.Failure(dbt.reason(home), allow_retries=False)
        builds.mark_tested(home)

    return warehouse


def days_asset(home: Home) -> dg.AssetsDefinition:
    """The days that a build recomputed, as partitions: a run that is asked for some recomputes them besides."""
    with warnings.catch_warnings():
        # `backfill_policy` is called beta since 1.4
        warnings.simplefilter("ignore", dg.BetaWarning)
        asset = dg.asset(
            key=DAYS_KEY,
            deps=[dg.AssetKey(["intermediate", "int_touched_dates"])],
            partitions_def=daily(home),
            backfill_policy=dg.BackfillPolicy.single_run(),
            group_name="intermediate",
            description="One partition per UTC day (usage_date): when it was last recomputed. The ledger decides which "
            "days a build recomputes; a run of a range of partitions adds them, in one run.",
        )

    @asset
    def days(context: dg.AssetExecutionContext) -> None:
        build = builds.prepared(home)
        if not build.is_needed:
            return
        for day in builds.recomputed_dates(home):
            context.log_event(
                dg.AssetMaterialization(DAYS_KEY, partition=day.isoformat(), metadata={"build_id": build.build_id})
            )

    return days
