"""The home's lock: one writer, whoever it is, and nothing to clean up after a process that died."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg
import pytest

from orchestration.lib.instance import bury, bury_the_dead, prepare_dagster
from orchestration.lib.locks import HomeInUse, hold, sign
from orchestration.lib.outcome import remember
from pertask.home import Home
from publish.conditions import Outcome

HOLDER = """
import sys
from pathlib import Path
from orchestration.lib.locks import hold, sign
from orchestration.lib.outcome import remember
from pertask.home import Home
from publish.conditions import Outcome

home = Home(Path(sys.argv[1]))
with hold(home):
    sign(home, "a-run")
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(home: Home) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    return process


def test_another_process_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with holder(home) as process:
        with pytest.raises(HomeInUse, match=f"process {process.pid} is running"), hold(home):
            pass
        process.stdin.close()
        process.wait(20)
        with hold(home):
            pass


def test_a_patient_one_waits(tmp_path: Path) -> None:
    home = Home(tmp_path)
    done = threading.Event()

    def wait_for_it() -> None:
        with hold(home, is_patient=True):
            done.set()

    with holder(home) as process:
        waiting = threading.Thread(target=wait_for_it)
        waiting.start()
        assert not done.wait(0.5), "it did not wait"
        process.stdin.close()
        waiting.join(20)
    assert done.is_set()


def test_within_a_process_its_own_lock_is_passed_through(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with hold(home), hold(home):
        assert sign(home, "mine") is None
    with hold(home):
        assert sign(home, "next") == "mine"


def test_who_died_leaves_its_run_and_no_lock(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with holder(home) as process:
        process.kill()
    with hold(home):
        assert sign(home, "next") == "a-run"


@pytest.mark.parametrize("content", ["", "4711", '{"process": 47', '{"process": 4711}'])
def test_what_an_older_version_or_a_crash_left_is_no_obstacle(content: str, tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.warehouse.mkdir()
    (home.warehouse / "lock").write_text(content)
    with hold(home):
        assert sign(home, "next") is None
    assert str(os.getpid()) in (home.warehouse / "lock").read_text()


def test_a_dead_run_is_marked_as_failed_and_frees_its_place_in_the_pool(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with dg.DagsterInstance.local_temp() as instance:

        @dg.job
        def nothing() -> None:
            pass

        dead = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)
        instance.event_log_storage.set_concurrency_slots("duckdb", 1)
        claim = instance.event_log_storage.claim_concurrency_slot("duckdb", dead.run_id, "warehouse")
        assert claim.is_claimed

        bury(home, instance, dead.run_id)
        assert instance.get_run_by_id(dead.run_id).status is dg.DagsterRunStatus.FAILURE
        assert not instance.event_log_storage.get_concurrency_info("duckdb").claimed_slots

        ended = nothing.execute_in_process(instance=instance)
        bury(home, instance, ended.run_id)
        assert instance.get_run_by_id(ended.run_id).status is dg.DagsterRunStatus.SUCCESS
        bury(home, instance, None)
        bury(home, instance, "0b5b5e9e-0000-4000-8000-000000000000")


def started(instance: dg.DagsterInstance) -> dg.DagsterRun:
    @dg.job
    def nothing() -> None:
        pass

    run = instance.create_run_for_job(nothing)
    instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", run.job_name), run.run_id)
    return run


def test_a_run_that_went_down_with_the_machine_is_marked_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    with dg.DagsterInstance.local_temp() as instance:
        run = started(instance)

        def status() -> dg.DagsterRunStatus:
            return instance.get_run_by_id(run.run_id).status

        bury_the_dead(home, instance)
        assert status() is dg.DagsterRunStatus.STARTED, "it may be on its way to the lock"
        monkeypatch.setattr("orchestration.lib.instance._TO_THE_LOCK_SECONDS", -1)
        with holder(home):
            bury_the_dead(home, instance)
            assert status() is dg.DagsterRunStatus.STARTED, "it holds the lock or waits for it"
        bury_the_dead(home, instance)
        assert status() is dg.DagsterRunStatus.FAILURE


def test_a_run_that_told_its_end_may_note_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.warehouse.mkdir()
    with dg.DagsterInstance.local_temp() as instance:
        run = started(instance)
        remember(home, run.run_id, Outcome(succeeded=True))
        end = dg.DagsterEvent("PIPELINE_SUCCESS", run.job_name)
        later = threading.Timer(1, instance.report_dagster_event, (end, run.run_id))
        later.start()
        bury(home, instance, run.run_id)
        later.join()
        assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.SUCCESS
        assert not instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)


def test_a_run_starts_also_where_its_place_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    prepare_dagster(home)
    monkeypatch.setenv("DAGSTER_HOME", str(home.dagster))
    with dg.DagsterInstance.get() as instance:
        config = instance.get_concurrency_config()
        assert not config.run_queue_config.should_block_op_concurrency_limited_runs
        assert config.pool_config.default_pool_limit == 1
