"""Marts to readers: the published file, written only after every check passed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg

from orchestration.lib import builds
from orchestration.lib.progress import PROGRESS
from pertask.config import Config
from pertask.home import Home
from publish.conditions import Check
from publish.publication import public_marts, publish

PUBLICATION_KEY = dg.AssetKey(["published", "pertask"])
REPORT_KEY = dg.AssetKey(["published", "report"])
DICTIONARY_KEY = dg.AssetKey(["published", "docs"])


def publication_asset(home: Home, manifest_path: Path, config: Config) -> dg.AssetsDefinition:
    """The published DuckDB file, replaced whole."""
    marts = [dg.AssetKey([mart.schema, mart.table]) for mart in public_marts(manifest_path)]

    @dg.asset(
        key=PUBLICATION_KEY,
        deps=marts,
        group_name="published",
        kinds={"duckdb"},
        pool="duckdb",
        required_resource_keys={"writer"},
    )
    def publication() -> dg.MaterializeResult:
        """The public marts as tables of one file, which readers open and nobody writes."""
        builds.check_finished(home)
        if PROGRESS.is_unchanged:
            # the run is here for a page that lags behind
            PROGRESS.say("publish: published already")
            return dg.MaterializeResult(metadata={"build_id": builds.last_build_id(home) or ""})
        published = publish(home, keep=config.publication.keep)
        PROGRESS.say(f"published {published.mart_count} marts, {published.row_count:,} rows: {home.published_file}")
        return dg.MaterializeResult(
            metadata={
                "path": str(home.published_file),
                "build_id": published.build_id,
                "rows": published.row_count,
                "marts": published.mart_count,
            }
        )

    return publication


def page_assets(home: Home, manifest_path: Path, config: Config) -> list[dg.AssetsDefinition]:
    """The pages that come with a publication: the report, and the data dictionary where the models changed."""

    def report() -> Path:
        from publish.report import write_report

        return write_report(home, currency=config.report.currency, time_zones=config.report.time_zones)

    def dictionary() -> Path:
        from publish.data_dictionary import write_docs

        return write_docs(home, builds.PROJECT, manifest_path, builds.environment(home))

    return [
        _page(REPORT_KEY, "The page for finance leads.", report, "pertask report"),
        _page(DICTIONARY_KEY, "dbt's documentation of what is published, as one page.", dictionary, "pertask publish"),
    ]


def _page(key: dg.AssetKey, description: str, write: Callable[[], Path], again: str) -> dg.AssetsDefinition:
    """A page; readers have the numbers already, so what keeps it from being written warns and fails nothing.

    ``again`` is the command that tries it again.
    """

    @dg.multi_asset(
        name="__".join(key.path),
        specs=[
            dg.AssetSpec(
                key,
                deps=[PUBLICATION_KEY],
                group_name="published",
                kinds={"html"},
                description=description,
                skippable=True,
            )
        ],
    )
    def page(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        try:
            path = write()
        except Exception as error:
            context.log.exception(f"{key.to_user_string()} was not written")
            told = f"not written, and the last page stays: {error}"
            PROGRESS.warnings.append(Check(key.to_user_string(), told, look=again))
            return
        yield dg.MaterializeResult(metadata={"path": str(path)})

    return page
