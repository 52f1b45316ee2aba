"""What became of a run: which step failed, which checks, and what was warned of."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from sqlalchemy.exc import OperationalError

from orchestration.defs.run.resources import writer_resource
from orchestration.lib import builds
from orchestration.lib.outcome import conclude, outcome_of, was_remembered
from orchestration.lib.progress import PROGRESS
from orchestration.lib.runs import execute
from pertask.checks import CheckResult
from pertask.config import Config
from pertask.home import Home
from publish.conditions import Check, Outcome


@pytest.fixture(autouse=True)
def progress() -> Iterator[None]:
    PROGRESS.clear()
    yield
    PROGRESS.clear()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.target.mkdir(parents=True)
    return home


def failed(step: str, *errors: tuple[str, str]) -> SimpleNamespace:
    """The failure of a step; its errors from the outermost to the innermost, each its class and message."""
    error = None
    for name, message in reversed(errors):
        error = SimpleNamespace(cls_name=name, message=f"{name}: {message}\n", cause=error)
    return SimpleNamespace(is_step_failure=True, step_key=step, step_failure_data=SimpleNamespace(error=error))


def dbt_said(home: Home, **outcomes: str) -> None:
    results = [
        {"unique_id": f"test.pertask.{name}.1", "status": status, "message": "3 rows"}
        for name, status in outcomes.items()
    ]
    (home.target / "run_results.json").write_text(json.dumps({"results": results}))


def gate_found(severity: str, check: str = "volume") -> None:
    PROGRESS.checks.append(CheckResult(("core", "fct_tasks"), check, severity, False, "half of it is gone"))


def test_a_good_run_tells_what_warns(home: Home) -> None:
    dbt_said(home, late_prices="warn", keys="pass")
    gate_found("warn")
    PROGRESS.warnings.append(Check("published/report", "not written"))
    outcome = outcome_of(home, [SimpleNamespace(is_step_failure=False)])
    assert (outcome.succeeded, outcome.message, outcome.failed_checks) == (True, "", ())
    assert [check.name for check in outcome.warnings] == ["core.fct_tasks.volume", "late_prices", "published/report"]
    assert outcome.warnings[0].look.endswith("data_docs/index.html")


def test_a_failed_test_of_dbt_is_named(home: Home) -> None:
    dbt_said(home, adds_up="fail", keys="pass")
    outcome = outcome_of(home, [failed("warehouse", ("Failure", "dbt failed: see the log"))])
    assert (outcome.succeeded, outcome.message) == (False, "build: 1 model or check failed")
    assert outcome.failed_checks == (Check("adds_up", "3 rows"),)


def test_where_dbt_itself_fails_its_words_are_told(home: Home) -> None:
    outcome = outcome_of(home, [failed("warehouse", ("Failure", "dbt failed: no such profile"))])
    assert (outcome.message, outcome.failed_checks) == ("dbt failed: no such profile", ())


@pytest.mark.parametrize(("step", "said"), [("mart_checks", "marts"), ("batch_checks", "deliveries")])
def test_a_gate_that_blocks_names_its_check(step: str, said: str, home: Home) -> None:
    dbt_said(home, adds_up="fail")
    gate_found("error")
    outcome = outcome_of(home, [failed(step, ("DagsterAssetCheckFailedError", "1 check failed"))])
    assert outcome.message == f"{said}: 1 check failed"
    assert [check.name for check in outcome.failed_checks] == ["core.fct_tasks.volume"]


def test_a_run_that_ends_before_the_build_does_not_tell_what_dbt_found_before_it(home: Home) -> None:
    dbt_said(home, adds_up="fail", late="warn")
    outcome = outcome_of(
        home, [failed("snapshot", ("DagsterExecutionStepExecutionError", "in op"), ("LakeError", "part x is missing"))]
    )
    assert outcome == Outcome(succeeded=False, message="part x is missing")


def test_the_error_that_speaks_to_people_is_told_and_not_what_lies_beneath(home: Home) -> None:
    errors = ("OpError", "in op"), ("PublishError", "nothing was published: disk full"), ("OSError", "errno 28")
    assert outcome_of(home, [failed("published__pertask", *errors)]).message == "nothing was published: disk full"


def test_a_run_that_finds_nothing_new_keeps_the_warnings_of_the_build_that_stands(home: Home) -> None:
    warned = Check("quality.findings.rate", "no rate", Decimal("12.5"), "pertask query")
    conclude(home, Config(), "first", Outcome(succeeded=True, warnings=(warned,)))
    assert was_remembered(home, "first")
    dbt_said(home, other="warn")
    PROGRESS.is_unchanged = True
    second = outcome_of(home, [])
    assert second.warnings == (warned,)
    conclude(home, Config(), "second", second)
    assert outcome_of(home, []).warnings == (warned,)
    PROGRESS.is_unchanged = False
    assert [check.name for check in outcome_of(home, []).warnings] == ["other"]


def test_a_damaged_note_of_the_last_run_is_no_obstacle(home: Home) -> None:
    home.last_run_file.write_text('{"run_id": "first", "warn')
    PROGRESS.is_unchanged = True
    assert outcome_of(home, []).warnings == ()
    assert not was_remembered(home, "first")


def test_a_disk_that_is_full_for_the_history_of_runs_is_said_and_kept(tmp_path: Path, monkeypatch) -> None:
    home = Home(tmp_path)

    def refuse(home: Home) -> None:
        raise OperationalError("insert", {}, sqlite3.OperationalError("database or disk is full"))

    monkeypatch.setattr("orchestration.lib.instance.open_instance", refuse)
    with monkeypatch.context() as patch:
        for name, value in builds.environment(home).items():
            patch.setenv(name, value)
        outcome = execute(home, ("publish",))
    assert not outcome.succeeded
    assert "cannot be written (database or disk is full). Is the disk full?" in outcome.message
    assert json.loads(home.last_run_file.read_bytes())["message"] == outcome.message


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED])
def test_a_run_that_somebody_cancelled_is_no_success(home: Home, status: dg.DagsterRunStatus) -> None:
    run = SimpleNamespace(run_id="a-run", status=dg.DagsterRunStatus.STARTED)
    instance = SimpleNamespace(all_logs=lambda *_, **__: [], get_run_by_id=lambda run_id: run)
    generator = writer_resource(home, Config()).resource_fn(SimpleNamespace(run=run, instance=instance))
    next(generator)
    run.status = status
    generator.close()
    assert json.loads(home.last_run_file.read_bytes())["message"] == "somebody has cancelled the run"
