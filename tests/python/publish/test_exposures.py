"""dbt's exposures name every door to readers, and depend on the marts that each door reads."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from orchestration.lib import builds
from pertask.home import Home

ROOT = Path(__file__).resolve().parents[3]
EVERY_MART = ("published_file", "parquet_and_csv_files", "excel_workbook", "postgresql_schema", "tableau_extract")
READ_BY = {"focus_export": ("publish/focus.sql", "publish/focus_export.py")}
"""Doors that read some marts, and the files that name these."""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from dbt.cli.main import dbtRunner

    os.environ.update(builds.environment(Home(tmp_path_factory.mktemp("home"))))
    result = dbtRunner().invoke(["--quiet", "parse"])
    assert result.success, result.exception
    return result.result


@pytest.fixture(scope="module")
def marts(manifest: Any) -> dict[str, str]:
    """The public marts: dbt's id of each by its name."""
    return {
        f"{node.schema}.{node.name}": unique_id
        for unique_id, node in manifest.nodes.items()
        if node.resource_type == "model" and node.config.access == "public"
    }


@pytest.fixture(scope="module")
def doors(manifest: Any) -> dict[str, Any]:
    return {exposure.name: exposure for exposure in manifest.exposures.values()}


def test_every_door_is_there_with_an_owner_and_a_description(doors):
    assert {*EVERY_MART, *READ_BY, "report"} == set(doors)
    for door in doors.values():
        assert door.owner.name
        assert door.description.strip().endswith(".")
        assert door.type.value in ("application", "analysis", "dashboard")


@pytest.mark.parametrize("name", EVERY_MART)
def test_whole_exports_depend_on_every_public_mart(doors, marts, name):
    assert len(marts) >= 33
    assert set(doors[name].depends_on.nodes) == set(marts.values())


@pytest.mark.parametrize("name", READ_BY)
def test_a_door_depends_on_the_marts_that_its_code_reads(doors, marts, name):
    text = "".join((ROOT / path).read_text(encoding="utf-8") for path in READ_BY[name])
    read = {marts[found] for found in re.findall(r"\b[a-z_]+\.[a-z_]+\b", text) if found in marts}
    assert set(doors[name].depends_on.nodes) == read


def test_no_door_depends_on_what_is_not_public(doors, marts):
    for door in doors.values():
        assert set(door.depends_on.nodes) <= set(marts.values())
