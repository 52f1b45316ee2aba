"""Whether the sources still speak: read from what they delivered, not from when the graph ran."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from orchestration.defs.ingest.assets import LAKE_KEYS, landing_key
from pertask.config import Config
from pertask.home import Home
from publish.conditions import silences


def freshness_checks(home: Home, config: Config) -> list[dg.AssetChecksDefinition]:
    """A check of each source that says ``stale_after_hours``; it warns, since what others have delivered still counts.

    A freshness policy alone would be content with any delivery: here the newest event counts too.
    """
    watched = [name for name, source in config.sources.items() if source.stale_after_hours is not None]
    if not watched:
        return []

    @dg.multi_asset_check(
        name="freshness",
        specs=[
            dg.AssetCheckSpec(
                "is_fresh",
                asset=landing_key(name),
                additional_deps=LAKE_KEYS,
                description=f"A delivery and an event within {config.sources[name].stale_after_hours} hours.",
            )
            for name in watched
        ],
    )
    def freshness() -> Iterator[dg.AssetCheckResult]:
        for name, said in silences(home, config, datetime.now(UTC)).items():
            yield dg.AssetCheckResult(
                passed=not said,
                asset_key=landing_key(name),
                check_name="is_fresh",
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"message": said or "fresh"},
            )

    return [freshness]
