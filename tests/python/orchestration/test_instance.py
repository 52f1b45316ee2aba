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
    monkeypatch.setattr(sqlalchemy, "create_engine", counted)
    done = dg.materialize([bill], instance=open_instance(Home(tmp_path)))
    databases = [Path(url).name for url in made]
    # what holds of the run, what holds over all runs, and the list of runs
    for name in (f"{done.run_id}.db", "index.db", "runs.db"):
        assert databases.count(name) == 1
