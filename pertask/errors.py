"""Errors that the front raises for people: each says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(Exception):
    """pertask.yml, a mapping file or a company file that is wrong; one line for each problem."""


class QueryError(Exception):
    """SQL that DuckDB refuses, or nothing published to ask."""


class ExportError(Exception):
    """An export that could not be written; what it would have replaced stays as it was."""


class TargetError(ExportError):
    """A place that an export does not write to: it was named wrongly, or others' things are there."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint to append to a message: the closest known name, else all of them."""
    names = list(known)
    matches = difflib.get_close_matches(name, names, 1, 0.6)
    return f" Did you mean {matches[0]}?" if matches else f" Known: {', '.join(names)}."
