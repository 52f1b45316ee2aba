"""The history of runs costs a run little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy

from orchestration.lib.instance import open_instance
from pertask.home import Home


def test_a_database_of_the_history_has_one_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    create = sqlalchemy.create_engine

    def counted(url: str, **settings: Any) -> sqlalchemy.Engine:
        made.append(url)
        return create(url, **settings)

    @dg.asset
    def bill() -> None: ...

    monkeypatch.setenv("DAGSTER_HOME", "")
    # the first call loads Dagster's storages, which keep what they find; the second uses the engines of the first
    open_instance(Home(tmp_path))
    monkeypatch.setattr(sqlalchemy, "create_engine", counted)
    done = dg.materialize([bill], instance=open_instance(Home(tmp_path)))
    # the databases that hold over all runs have theirs
    assert [Path(url).name for url in made] == [f"{done.run_id}.db"]
