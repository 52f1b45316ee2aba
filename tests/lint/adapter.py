"""What sqlfluff renders where a model calls a macro that differs by engine: a function of the macro's name."""

from __future__ import annotations

from collections.abc import Callable


def dispatch(name: str, _package: str) -> Callable[..., str]:
    """Stand-in for dbt's ``adapter.dispatch``."""
    return lambda *arguments, **_: f"{name}({', '.join(str(argument) for argument in arguments)})"


def quote(identifier: str) -> str:
    """Stand-in for dbt's ``adapter.quote``."""
    return f'"{identifier}"'
