"""Shared by the Python tests: small vendor files and a lake to ingest them into."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from ingest.contracts import CONTRACTS

if TYPE_CHECKING:
    from tests.python.object_store import Store


def spend_log_row(request_id: str, started_at: str = "2026-08-01T10:00:00", **changes: object) -> dict:
    """One LiteLLM spend-log row; ``labels`` go to spend_logs_metadata, ``usage`` to usage_object."""
    labels = changes.pop("labels", {})
    usage = changes.pop("usage", {})
    row = {
        "request_id": request_id,
        "call_type": "acompletion",
        "spend": 0.0035,
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "startTime": started_at,
        "endTime": started_at,
        "model": "gpt-4o",
        "custom_llm_provider": "openai",
        "team_id": "support",
        "status": "success",
        "metadata": {"spend_logs_metadata": labels, "usage_object": usage},
    }
    return {**row, **changes}


def write_json_lines(path: Path, rows: list[dict]) -> Path:
    """Write rows as JSON lines, making the folder; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def lake_rows(tmp_path: Path) -> Callable[[str, str], list[tuple]]:
    """Query the rows of a contract in the test's lake: ``lake_rows("tasks", "task_id, outcome")``."""

    def query(contract: str, columns: str = "*", lake: Path = tmp_path / "lake") -> list[tuple]:
        assert contract in CONTRACTS
        files = f"read_parquet('{lake}/{contract}/**/*.parquet', union_by_name = true, hive_partitioning = false)"
        connection = duckdb.connect()
        connection.execute("set TimeZone = 'UTC'")
        return connection.execute(f"select {columns} from {files} order by all").fetchall()

    return query


@pytest.fixture(scope="session")
def running_store() -> Iterator[Store]:
    from tests.python.object_store import object_store

    with object_store() as store:
        yield store


@pytest.fixture
def store(running_store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An S3-compatible store on this machine, without faults, and its credentials in the environment."""
    from tests.python.object_store import KEY, SECRET

    running_store.faults.clear()
    running_store.requests.clear()
    running_store.before_answer = lambda method, path: None
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("ingest.buckets._WAIT_SECONDS", 0.001)
    return running_store


@pytest.fixture(scope="session")
def sample_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample company as a new user has it after ``pertask demo``; made once a run, so nothing may write to it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # beside the workers' own folders
        folder = folder.parent
    home, made = folder / "sample", folder / "sample.made"
    with open(folder / "sample.lock", "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            make_sample(home)
            made.touch()
    return home


def make_sample(home: Path) -> None:
    """Run the demo in a folder; fails the test when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "pertask", "demo", str(home)],
        env={**os.environ, "PERTASK_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    print(done.stdout)
