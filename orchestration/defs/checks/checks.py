"""The two gates of Great Expectations, each a step whose results are checks of the assets before it.

What deliveries brought is looked at between the snapshot and the models, the marts between the models and the
publication. A result that blocks holds what comes after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import dagster as dg

from orchestration.lib import builds
from orchestration.lib.progress import PROGRESS
from pertask.checks import CheckResult, CheckSpec, check_batches, check_marts, check_specs
from pertask.config import Config
from pertask.home import Home

BATCHES_KEY = dg.AssetKey(["snapshot", "batches"])
"""What the first gate looks at: the deliveries as the build is about to read them."""


def batch_checks(home: Home, config: Config, manifest: Path) -> dg.AssetChecksDefinition:
    """The first gate; where nothing new came it looks at nothing."""
    specs = [spec for spec in check_specs(manifest) if spec.asset[0] == "lake"]
    return _gate("batch_checks", specs, lambda: check_batches(home, config))


def mart_checks(home: Home, config: Config, manifest: Path) -> dg.AssetChecksDefinition:
    """The second gate; a build that passes it is one that may be published."""
    specs = [spec for spec in check_specs(manifest) if spec.asset[0] != "lake"]

    def check() -> list[CheckResult]:
        results = check_marts(home, config)
        if builds.is_tested(home) and all(result.passed or result.severity == "warn" for result in results):
            builds.accept(home)
        return results

    return _gate("mart_checks", specs, check)


def _gate(name: str, specs: list[CheckSpec], check: Callable[[], Iterable[CheckResult]]) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(
        name=name,
        specs=[
            dg.AssetCheckSpec(
                _check_name(spec.asset, spec.check),
                asset=_asset_key(spec.asset),
                blocking=True,
                description=spec.description,
            )
            for spec in specs
        ],
        pool="duckdb",
        required_resource_keys={"writer"},
    )
    def gate() -> Iterator[dg.AssetCheckResult]:
        for result in check():
            PROGRESS.checks.append(result)
            yield dg.AssetCheckResult(
                passed=result.passed,
                asset_key=_asset_key(result.asset),
                check_name=_check_name(result.asset, result.check),
                severity=dg.AssetCheckSeverity.ERROR if result.severity == "error" else dg.AssetCheckSeverity.WARN,
                metadata={"message": result.message, **result.observed},
            )

    return gate


def _asset_key(asset: tuple[str, str]) -> dg.AssetKey:
    return BATCHES_KEY if asset[0] == "lake" else dg.AssetKey(list(asset))


def _check_name(asset: tuple[str, str], check: str) -> str:
    """The deliveries of all contracts are one asset, so their checks say which one they are about."""
    return f"{asset[1]}_{check}" if asset[0] == "lake" else check
