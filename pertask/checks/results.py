"""What a check is and what it found: plain values that need no Great Expectations to be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Asset = tuple[str, str]
"""``("lake", contract)`` or (schema, table) of a public mart."""

Severity = Literal["error", "warn"]


class CheckSpec(NamedTuple):
    """A check that a gate makes in every run, whatever it finds.

    ``severity`` is that of the check by itself; a check of the data that ``limits.blocking`` of pertask.yml names comes
    out as an error when it fails.
    """

    asset: Asset
    check: str
    severity: Severity
    description: str


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check.

    Attributes:
        asset: what was checked.
        check: name of the check, such as ``row_count``.
        severity: an ``error`` that did not pass blocks publication, a ``warn`` does not.
        passed: whether all is as expected.
        message: for people: what is off, where, by how much, and how to look closer; one line for each place.
        observed: small numbers by name; never a value of a row.
    """

    asset: Asset
    check: str
    severity: Severity
    passed: bool
    message: str
    observed: dict[str, int | float | str] = field(default_factory=dict)
