"""When the graph runs by itself: the schedules at given times, and the sensor as files land."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from orchestration.defs.ingest.sensors import landing_sensor
from orchestration.defs.run.schedules import open_period, schedules
from orchestration.lib.landing import SETTLED_SECONDS, look
from pertask.config import Schedule, load_config
from pertask.home import Home
from tests.python.object_store import Store

JOB = dg.define_asset_job("run", dg.AssetSelection.all())


def scheduled(name: str, moment: datetime, schedule: Schedule | None = None) -> dg.RunRequest:
    [found] = [one for one in schedules(JOB, schedule or Schedule()) if one.name == name]
    data = found.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=moment))
    [request] = data.run_requests
    return request


def test_the_days_of_the_week_are_each_in_one_schedule() -> None:
    daily, weekly = schedules(JOB, Schedule(daily_at="23:05"))
    assert (daily.cron_schedule, weekly.cron_schedule) == ("5 23 * * 1-6", "5 23 * * 0")
    assert {daily.execution_timezone, weekly.execution_timezone} == {"UTC"}
    assert daily.default_status is weekly.default_status is dg.DefaultScheduleStatus.RUNNING


def test_the_daily_run_asks_for_nothing_besides_what_changed() -> None:
    request = scheduled("daily", datetime(2026, 9, 4, 2, 15, tzinfo=UTC))
    assert (request.run_key, request.run_config) == ("2026-09-04", {})


def test_the_weekly_run_recomputes_open_months_and_tests_everything() -> None:
    request = scheduled("weekly", datetime(2026, 9, 6, 2, 15, tzinfo=UTC))
    assert request.run_config == {
        "ops": {
            "snapshot": {"config": {"first_date": "2026-08-01", "last_date": "2026-09-06", "tests_everything": True}}
        }
    }


@pytest.mark.parametrize(
    ("today", "open_days", "first"),
    [
        (date(2026, 9, 10), 10, date(2026, 8, 1)),
        (date(2026, 9, 11), 10, date(2026, 9, 1)),
        (date(2026, 1, 3), 10, date(2025, 12, 1)),
        (date(2026, 9, 1), 0, date(2026, 9, 1)),
        (date(2026, 9, 5), 40, date(2026, 7, 1)),
    ],
)
def test_a_month_is_open_for_some_days_after_its_end(today: date, open_days: int, first: date) -> None:
    assert open_period(today, open_days) == (first, today)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.config_file.write_text(
        "sources: {gateway: {path: landing/gateway}, bill: {path: 'landing/bill/*.csv'}, later: {path: landing/no}}"
    )
    return home


def deliver(home: Home, name: str, text: str = "x", *, seconds_ago: float = SETTLED_SECONDS + 5) -> Path:
    path = home.landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    moment = datetime.now(UTC).timestamp() - seconds_ago
    os.utime(path, (moment, moment))
    return path


def tick(home: Home, instance: dg.DagsterInstance, cursor: str | None) -> tuple[list[dg.RunRequest], str, str]:
    sensor = landing_sensor(home, JOB)
    data = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))
    return data.run_requests, data.skip_message or "", data.cursor or ""


def test_new_files_ask_for_one_run(home: Home) -> None:
    with dg.instance_for_test() as instance:
        deliver(home, "gateway/a.jsonl")
        [request], _, cursor = tick(home, instance, None)
        assert request.run_key == cursor
        assert tick(home, instance, cursor) == ([], "nothing new has landed", cursor)

        deliver(home, "gateway/deep/b.jsonl")
        [request], _, second = tick(home, instance, cursor)
        assert request.run_key == second != cursor


def test_a_file_that_grows_is_new_and_one_that_ingest_passes_over_is_not(home: Home) -> None:
    with dg.instance_for_test() as instance:
        deliver(home, "gateway/a.jsonl")
        _, _, cursor = tick(home, instance, None)
        for name in ("gateway/.part", "gateway/_manifest", "gateway/_old/c.jsonl", "bill/readme.txt", "other/d.jsonl"):
            deliver(home, name)
        assert tick(home, instance, cursor)[0] == []
        deliver(home, "gateway/a.jsonl", "xx")
        assert len(tick(home, instance, cursor)[0]) == 1
        deliver(home, "bill/part.csv")
        assert len(tick(home, instance, cursor)[0]) == 1


def test_a_file_that_is_still_written_waits(home: Home) -> None:
    with dg.instance_for_test() as instance:
        deliver(home, "gateway/a.jsonl")
        deliver(home, "gateway/b.jsonl", seconds_ago=3)
        requests, message, cursor = tick(home, instance, "before")
        assert (requests, cursor) == ([], "before")
        assert "still landing" in message
        found = look(home, load_config(home), now=datetime.now(UTC).timestamp() + SETTLED_SECONDS)
        assert found.is_settled


def test_a_run_under_way_comes_first(home: Home) -> None:
    with dg.instance_for_test() as instance:

        @dg.job
        def run() -> None:
            pass

        deliver(home, "gateway/a.jsonl")
        under_way = instance.create_run_for_job(run, status=dg.DagsterRunStatus.STARTED)
        requests, message, cursor = tick(home, instance, "before")
        assert (requests, cursor) == ([], "before")
        assert "under way" in message
        instance.report_run_failed(under_way)
        assert len(tick(home, instance, "before")[0]) == 1


def test_a_source_that_is_added_counts_from_then_on(home: Home) -> None:
    with dg.instance_for_test() as instance:
        deliver(home, "gateway/a.jsonl")
        deliver(home, "new/a.jsonl")
        _, _, cursor = tick(home, instance, None)
        home.config_file.write_text(home.config_file.read_text().replace("landing/no", "landing/new"))
        assert len(tick(home, instance, cursor)[0]) == 1


def test_an_object_that_lands_in_a_bucket_is_new(home: Home, store: Store) -> None:
    bucket = store.make_bucket("landing-sensor")
    home.config_file.write_text(f"sources: {{gateway: {{path: 's3://{bucket}/logs/', endpoint: '{store.endpoint}'}}}}")
    with dg.instance_for_test() as instance:
        _, _, empty = tick(home, instance, None)
        store.put(bucket, "logs/a.jsonl", b"{}")
        [request], _, cursor = tick(home, instance, empty)
        assert request.run_key == cursor
        assert tick(home, instance, cursor)[0] == []
        store.put(bucket, "elsewhere/a.jsonl", b"{}")
        assert tick(home, instance, cursor)[0] == []
    assert store.gets() == [], "the sensor read an object"


def test_a_bucket_that_cannot_be_listed_asks_for_one_run_which_says_so(home: Home, store: Store) -> None:
    bucket = store.make_bucket("landing-lost")
    home.config_file.write_text(f"sources: {{gateway: {{path: 's3://{bucket}/', endpoint: '{store.endpoint}'}}}}")
    with dg.instance_for_test() as instance:
        _, _, before = tick(home, instance, None)
        store.refuse("GET", bucket, 403, "AccessDenied")
        store.refuse("GET", f"{bucket}/", 403, "AccessDenied")
        requests, _, cursor = tick(home, instance, before)
        assert len(requests) == 1
        assert tick(home, instance, cursor)[0] == []
        store.faults.clear()
        assert len(tick(home, instance, cursor)[0]) == 1
