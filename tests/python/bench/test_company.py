"""The benchmark's company: the same arguments give the same files, and ingest and the models take all of it."""

from __future__ import annotations

import importlib.util
import json
import sys
from datetime import date
from pathlib import Path

import duckdb
import pytest

CALLS, DAYS = 3_000, 3


@pytest.fixture(scope="module")
def company():
    path = Path(__file__).parents[3] / "bench" / "company.py"
    specification = importlib.util.spec_from_file_location("bench_company", path)
    module = importlib.util.module_from_spec(specification)
    with pytest.MonkeyPatch.context() as patch:
        # its dataclass looks its module up
        patch.setitem(sys.modules, "bench_company", module)
        specification.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def home(company, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("company")
    company.generate(folder, calls=CALLS, days=DAYS)
    return folder


def _files(home: Path) -> dict[str, bytes]:
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def _log(home: Path) -> list[dict]:
    lines = [line for path in sorted((home / "landing/gateway").glob("*.jsonl")) for line in path.open()]
    return [json.loads(line) for line in lines]


def test_the_same_arguments_give_the_same_files(company, home, tmp_path):
    company.generate(tmp_path, calls=CALLS, days=DAYS)
    assert _files(tmp_path) == _files(home)


def test_each_day_has_its_share_of_calls_and_none_comes_twice(home):
    files = sorted((home / "landing/gateway").glob("*.jsonl"))
    assert [path.stem for path in files] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert all(len(path.read_text().splitlines()) == CALLS // DAYS for path in files)
    log = _log(home)
    assert len({line["request_id"] for line in log}) == CALLS
    for path in files:
        assert all(json.loads(line)["startTime"].startswith(path.stem) for line in path.open())


def test_a_retry_follows_an_attempt_of_its_step(home):
    labels = [line["metadata"].get("spend_logs_metadata", {}) for line in _log(home)]
    steps: dict[tuple, list[int]] = {}
    for label in filter(None, labels):
        key = (label["task_id"], label["step_name"], label["step_index"])
        steps.setdefault(key, []).append(label["attempt_number"])
    retried = [attempts for attempts in steps.values() if len(attempts) > 1]
    assert 0.03 < sum(len(attempts) - 1 for attempts in retried) / CALLS < 0.09
    assert all(attempts == sorted(set(attempts)) for attempts in retried)
    assert any(label.get("retry_reason") for label in labels)


def test_a_task_lasts_over_midnight(home):
    days: dict[str, set[str]] = {}
    for line in _log(home):
        label = line["metadata"].get("spend_logs_metadata")
        if label:
            days.setdefault(label["task_id"], set()).add(line["startTime"][:10])
    assert any(len(found) == 2 for found in days.values())
    assert max(len(found) for found in days.values()) == 2


def test_own_servers_answer_one_call_in_five_while_they_are_loaded(home):
    own = [line for line in _log(home) if line["custom_llm_provider"] == "hosted_vllm"]
    assert 0.15 < len(own) / CALLS < 0.25
    with duckdb.connect() as connection:
        connection.execute(f"create view windows as from read_csv('{home}/landing/windows/*.csv')")
        assert connection.execute("select count(*) from windows").fetchone() == (2 * DAYS,)
        unloaded = connection.execute(
            f"""
            with calls as (
                select "startTime"::timestamp as started, metadata.spend_logs_metadata.replica_id as replica
                from read_json('{home}/landing/gateway/*.jsonl', sample_size=-1)
                where custom_llm_provider = 'hosted_vllm'
            )
            select calls.*
            from calls
            anti join windows
                on
                    calls.replica = windows.replica
                    and calls.started >= windows.loaded_at::timestamp
                    and calls.started < windows.unloaded_at::timestamp
            """
        ).fetchall()
    assert unloaded == []


def test_one_more_day_adds_files_and_the_bill_of_its_month(company, home, tmp_path):
    company.generate(tmp_path, calls=2_000, days=2)
    bill = tmp_path / "landing/bill/2026-01/part.csv"
    before = bill.read_text().splitlines()
    company.add_day(tmp_path, company.Company.of(2_000, 2), date(2026, 1, 3))
    after = bill.read_text().splitlines()
    assert len(after) == len(before) + 24
    assert set(before) < set(after)
    assert (tmp_path / "landing/telemetry/2026-01-03.csv").exists()
    # the day is the one that a company of three days has
    assert _files(tmp_path)["landing/gateway/2026-01-03.jsonl"] == _files(home)["landing/gateway/2026-01-03.jsonl"]


def test_ingest_takes_every_row(home):
    from ingest.runner import ingest
    from pertask.config import load_config
    from pertask.home import Home

    place = Home(home)
    results = ingest(place.lake, load_config(place).requests(place))
    assert {result.state for result in results} == {"committed"}
    assert sum(result.rows_quarantined + result.rows_skipped for result in results) == 0
    assert sum(result.rows_loaded for result in results if result.source == "gateway") == CALLS
