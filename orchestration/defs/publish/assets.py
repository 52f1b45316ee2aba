"""Marts to readers: the published file, written only after every check passed."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from orchestration.lib import builds
from orchestration.lib.progress import PROGRESS
from pertask.config import Config
from pertask.home import Home
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


def report_asset(home: Home, config: Config) -> dg.AssetsDefinition:
    """The report on the published file. Readers have the numbers already, so what keeps it from being drawn warns."""

    @dg.asset(key=REPORT_KEY, deps=[PUBLICATION_KEY], group_name="published", kinds={"html"})
    def report() -> dg.MaterializeResult:
        """The page for finance leads."""
        from publish.report import write_report

        path = write_report(home, currency=config.report.currency, time_zones=config.report.time_zones)
        PROGRESS.say(f"report: {path}")
        return dg.MaterializeResult(metadata={"path": str(path)})

    return report


def dictionary_asset(home: Home) -> dg.AssetsDefinition:
    """The data dictionary, made again where the models changed."""

    @dg.asset(key=DICTIONARY_KEY, deps=[PUBLICATION_KEY], group_name="published", kinds={"html"})
    def dictionary() -> dg.MaterializeResult:
        """Dbt's documentation of what is published, as one page."""
        from publish.data_dictionary import write_docs

        return dg.MaterializeResult(metadata={"path": str(write_docs(home))})

    return dictionary
