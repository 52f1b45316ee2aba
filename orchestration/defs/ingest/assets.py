"""Landing files to lake: one asset per configured source, one per lake contract."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from ingest.contracts import CONTRACTS
from pertask.config import Config
from pertask.home import Home

LAKE_KEYS = [dg.AssetKey(["lake", name]) for name in CONTRACTS]
_NEW = ("committed", "replaced", "redelivered")


def landing_key(source: str) -> dg.AssetKey:
    """Key of what a source delivers."""
    return dg.AssetKey(["landing", source])


def landing_specs(config: Config) -> list[dg.AssetSpec]:
    """The sources of pertask.yml, which vendors fill and nobody here makes; ingest reports what they delivered."""
    return [
        dg.AssetSpec(
            landing_key(name),
            group_name="landing",
            description=f"Files of source {name} in {source.path}, read as {source.format}.",
            freshness_policy=(
                dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=source.stale_after_hours))
                if source.stale_after_hours
                else None
            ),
        )
        for name, source in config.sources.items()
    ]


def lake_assets(home: Home, config: Config) -> dg.AssetsDefinition:
    """The ingest of every source, several deliveries at a time."""
    deps = [landing_key(name) for name in config.sources]

    @dg.multi_asset(
        name="ingest",
        specs=[
            dg.AssetSpec(
                key, deps=deps, group_name="lake", kinds={"parquet"}, description=f"One row per {contract.grain}."
            )
            for key, contract in zip(LAKE_KEYS, CONTRACTS.values(), strict=True)
        ],
        pool="lake",
        # A disk or a network that fails for a moment; what is wrong with a delivery itself fails only that delivery.
        retry_policy=dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.FULL),
    )
    def ingest(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        from ingest.errors import IngestError, LakeError
        from ingest.lake import Lake
        from ingest.runner import ingest as bring
        from orchestration.lib.progress import PROGRESS
        from pertask.errors import ConfigError

        PROGRESS.results.clear()
        try:
            results = bring(home.lake, config.requests(home), progress=PROGRESS.delivery, say=PROGRESS.say)
        except (ConfigError, IngestError, LakeError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        for result in results:
            if result.state == "failed":
                context.log.error(result.message)
        for source in dict.fromkeys(result.source for result in results if result.state in _NEW):
            new = [result for result in results if result.source == source and result.state in _NEW]
            context.log_event(
                dg.AssetMaterialization(
                    landing_key(source),
                    metadata={"deliveries": len(new), "rows": sum(result.rows_loaded for result in new)},
                )
            )
        batches = Lake(home.lake).batches().values()
        for key in LAKE_KEYS:
            counts = [batch.counts[key.path[-1]] for batch in batches if key.path[-1] in batch.counts]
            yield dg.MaterializeResult(
                key,
                metadata={
                    "batches": len(counts),
                    "rows": sum(count.rows_loaded for count in counts),
                    "quarantined": sum(count.rows_quarantined for count in counts),
                    "failed_deliveries": sum(result.state == "failed" for result in results),
                },
            )

    return ingest
