"""Great Expectations at two gates: what deliveries brought, and the marts before they are published.

``check_batches`` and ``check_marts`` each give a result for every one of their ``check_specs``. A result that is an
error and did not pass blocks publication. Both write what they found to ``warehouse/data_docs/index.html``.
"""

from __future__ import annotations

from pathlib import Path

from pertask.checks import batches, marts
from pertask.checks.batches import check_batches
from pertask.checks.marts import check_marts
from pertask.checks.results import Asset, CheckResult, CheckSpec

__all__ = ["Asset", "CheckResult", "CheckSpec", "check_batches", "check_marts", "check_specs"]


def check_specs(manifest: Path) -> list[CheckSpec]:
    """Every check of both gates, without importing Great Expectations.

    Args:
        manifest: dbt's manifest, which names the public marts.

    Raises:
        PublishError: there is no manifest, or it names no public mart.
    """
    return [*batches.specs(), *marts.specs(manifest)]
