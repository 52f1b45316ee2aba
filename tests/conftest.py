"""Modules run side by side, two at a time; the longest begin first, so that none of them is left over at the end."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the modules marked ``long`` before the others."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
