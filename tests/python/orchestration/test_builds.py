"""What a build recomputes, and why."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ingest.lake import Lake
from ingest.runner import IngestRequest, ingest
from ingest.snapshot import SOURCES
from orchestration.defs.dbt.assets import BuildConfig
from orchestration.lib import builds
from pertask.errors import ConfigError
from pertask.home import Home
from publish.publication import publish
from tests.python.conftest import spend_log_row, write_json_lines
from tests.python.publish.warehouses import make_warehouse

DATES = (date(2026, 8, 1), date(2026, 8, 3))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    Lake(home.lake)
    return home


def succeed(home: Home) -> None:
    """As if dbt had run: the warehouse is there, and the build is accepted."""
    home.warehouse_file.touch()
    builds.accept(home)


def test_the_first_build_recomputes_everything(home: Home) -> None:
    build = builds.prepare(home)
    assert (build.full_refresh, build.reason) == (True, "there is no warehouse yet")
    assert builds.prepared(home) == build
    assert build.is_needed
    assert build.description == "build: everything is recomputed (there is no warehouse yet)"


def test_a_build_after_a_good_one_is_incremental(home: Home) -> None:
    builds.prepare(home)
    succeed(home)
    build = builds.prepare(home)
    assert not build.full_refresh
    assert not build.is_needed
    assert build.description == "build: nothing changed since the last one"


def test_a_requested_refresh_says_so(home: Home) -> None:
    builds.prepare(home)
    succeed(home)
    build = builds.prepare(home, full_refresh=True)
    assert (build.reason, build.is_needed) == ("requested", True)


def test_changed_models_force_a_full_refresh(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    (project / "seeds").mkdir()
    (project / "models" / "one.sql").write_text("select 1", encoding="utf-8")
    monkeypatch.setattr(builds, "PROJECT", project)
    builds.prepare(home)
    succeed(home)
    assert builds.prepare(home).reason == ""
    (project / "models" / "one.sql").write_text("select 2", encoding="utf-8")
    assert builds.prepare(home).reason == "the models changed"


def test_a_build_that_did_not_finish_is_noticed_by_the_next(home: Home) -> None:
    builds.prepare(home)
    succeed(home)
    builds.prepare(home, dates=DATES)
    builds.prepare(home)
    assert pq.read_table(home.snapshot / "meta.parquet").to_pylist()[0]["is_previous_unfinished"]
    assert builds.prepared(home).is_needed
    assert builds.prepared(home).description == "build: the last build did not finish"


def test_what_no_good_build_stands_behind_is_not_published(home: Home) -> None:
    with pytest.raises(builds.BuildError, match="nothing has been built yet"):
        builds.check_finished(home)
    builds.prepare(home)
    succeed(home)
    builds.check_finished(home)
    builds.prepare(home)
    builds.check_finished(home)
    builds.prepare(home, dates=DATES)
    with pytest.raises(builds.BuildError, match="did not succeed"):
        builds.check_finished(home)


def test_a_build_that_has_nothing_to_do_keeps_the_last_ones_name(home: Home) -> None:
    assert builds.last_build_id(home) is None
    first = builds.prepare(home)
    succeed(home)
    assert builds.prepare(home).build_id != first.build_id
    builds.accept(home)
    assert builds.last_build_id(home) == first.build_id


def test_a_run_can_ask_for_every_test(home: Home) -> None:
    build = builds.prepare(home, dates=DATES, tests_everything=True)
    assert builds.prepared(home).tests_everything
    variables = builds.arguments(home, full_refresh=False, tests_everything=build.tests_everything)[-1]
    assert json.loads(variables)["test_everything"] is True
    succeed(home)
    assert builds.prepare(home).reason == ""


def test_requested_dates_are_added(home: Home) -> None:
    builds.prepare(home)
    succeed(home)
    config = BuildConfig(first_date="2026-08-01", last_date="2026-08-03")
    assert config.dates() == (date(2026, 8, 1), date(2026, 8, 3))
    build = builds.prepare(home, dates=config.dates())
    assert build.causes == ("requested",)
    (row,) = pq.read_table(home.snapshot / "changed_ranges.parquet").to_pylist()
    assert (row["valid_from"], row["valid_to"]) == (date(2026, 8, 1), date(2026, 8, 4))
    assert BuildConfig().dates() is None


def test_how_dbt_is_called(home: Home) -> None:
    home.config_file.write_text("allocation: {idle: even}\n", encoding="utf-8")
    builds.prepare(home)
    *command, variables = builds.arguments(home, full_refresh=False)
    assert command == ["build", "--target", "duckdb", "--exclude-resource-type", "unit_test", "--vars"]
    expected = {
        "allocation_weights": "time",
        "allocation_output_token_weight": 2,
        "allocation_idle": "even",
        "gpu_share_of_node_ratio": 1,
    }
    assert json.loads(variables) == expected
    assert builds.arguments(home, full_refresh=True)[-1] == "--full-refresh"


def test_another_allocation_forces_a_full_refresh(home: Home) -> None:
    builds.prepare(home)
    succeed(home)
    assert not builds.prepare(home).full_refresh
    home.config_file.write_text("allocation: {weights: tokens}\n", encoding="utf-8")
    assert builds.prepare(home).reason == "the allocation in pertask.yml changed"


def test_a_file_of_the_last_build_that_is_gone_forces_a_full_refresh(home: Home) -> None:
    log = write_json_lines(home.root / "log.jsonl", [spend_log_row("r1")])
    (result,) = ingest(home.lake, [IngestRequest("gateway", log)])
    builds.prepare(home)
    succeed(home)
    # what the message about a missing part says to do
    (home.lake / "_ledger" / f"{result.batch_id}.json").unlink()
    for part in (home.lake / "llm_calls").rglob(f"{result.batch_id}*.parquet"):
        part.unlink()
    ingest(home.lake, [IngestRequest("gateway", log)])
    assert builds.prepare(home).reason == "files that the last build read are gone from the lake"


def write_sources(home: Home, text: str) -> None:
    home.config_file.write_text(f"sources: {{{text}}}\n", encoding="utf-8")


def test_the_sources_of_pertask_yml_go_into_the_snapshot_in_their_order(home: Home) -> None:
    write_sources(home, "gateway: {path: x}, tracer: {path: x, precedence: 1}")
    builds.prepare(home)
    assert pq.read_table(home.snapshot / "sources.parquet").to_pylist() == [
        {"source": "tracer", "precedence": 1},
        {"source": "gateway", "precedence": 2},
    ]


def test_without_sources_the_table_is_empty(home: Home) -> None:
    builds.prepare(home)
    assert pq.read_table(home.snapshot / "sources.parquet").schema.equals(SOURCES)


@pytest.mark.parametrize(
    ("before", "after", "is_changed"),
    [
        ("gateway: {path: x}, tracer: {path: x}", "tracer: {path: x}, gateway: {path: x}", True),
        ("gateway: {path: x}, tracer: {path: x}", "gateway: {path: x}, tracer: {path: x, precedence: 1}", True),
        ("gateway: {path: x}, tracer: {path: x}", "gateway: {path: x, precedence: 3}, tracer: {path: x}", False),
        ("gateway: {path: x}, tracer: {path: x}", "gateway: {path: y}, later: {path: x}, tracer: {path: x}", False),
        # what pertask.yml does not name comes last, by name
        ("gateway: {path: x}, tracer: {path: x}", "tracer: {path: x}", True),
        ("gateway: {path: x}, tracer: {path: x}", "", False),
        ("", "tracer: {path: x}", True),
    ],
)
def test_another_precedence_forces_a_full_refresh(home: Home, before: str, after: str, is_changed: bool) -> None:
    for source in ("gateway", "tracer"):
        log = write_json_lines(home.root / f"{source}.jsonl", [spend_log_row(source)])
        ingest(home.lake, [IngestRequest(source, log)])
    write_sources(home, before)
    builds.prepare(home)
    succeed(home)
    assert builds.prepare(home).reason == ""
    write_sources(home, after)
    build = builds.prepare(home)
    assert build.reason == ("the precedence of sources in pertask.yml changed" if is_changed else "")
    assert build.full_refresh == is_changed


def test_a_last_build_that_knew_no_precedence_is_no_change(home: Home) -> None:
    write_sources(home, "tracer: {path: x}")
    builds.prepare(home)
    succeed(home)
    (home.last_snapshot / "sources.parquet").unlink()
    assert builds.prepare(home).reason == ""


def test_a_wrong_configuration_stops_before_anything_is_written(home: Home) -> None:
    home.config_file.write_text("sources: {a: {path: x, precedence: 0}}", encoding="utf-8")
    with pytest.raises(ConfigError, match="precedence"):
        builds.prepare(home)
    assert not home.snapshot.exists()


def test_the_last_publication_goes_into_the_snapshot(tmp_path: Path) -> None:
    home = make_warehouse(tmp_path / "published")
    publish(home)
    Lake(home.lake)
    builds.prepare(home)
    totals = pq.read_table(home.snapshot / "published_totals.parquet").to_pylist()
    assert {row["mart"] for row in totals} >= {"unit_economics.cost_per_task_daily", "capacity.idle_dollars_daily"}
    assert pq.read_table(home.snapshot / "published_restatements.parquet").num_rows == 0


def test_a_home_that_moved_is_the_same_home(home: Home, tmp_path: Path) -> None:
    log = write_json_lines(home.root / "log.jsonl", [spend_log_row("r1")])
    ingest(home.lake, [IngestRequest("gateway", log)])
    builds.prepare(home)
    succeed(home)
    moved = Home(tmp_path / "moved")
    moved.root.mkdir()
    for name in ("lake", "warehouse"):
        (home.root / name).rename(moved.root / name)
    assert not builds.prepare(moved).is_needed


def test_a_build_whose_marts_were_not_accepted_is_unfinished(home: Home) -> None:
    builds.prepare(home)
    assert not builds.is_tested(home)
    builds.mark_tested(home)
    assert builds.is_tested(home)
    with pytest.raises(builds.BuildError, match="nothing has been built yet"):
        builds.check_finished(home)
    succeed(home)
    builds.prepare(home, dates=DATES)
    assert not builds.is_tested(home)
    builds.mark_tested(home)
    with pytest.raises(builds.BuildError, match="did not succeed"):
        builds.check_finished(home)
    assert "the last build did not finish" in builds.prepare(home).causes


def test_what_a_failed_build_was_to_test_is_tested_by_the_next(home: Home) -> None:
    builds.prepare(home)
    succeed(home)
    builds.prepare(home, dates=DATES, tests_everything=True)
    assert builds.prepare(home).tests_everything
    assert builds.prepare(home).tests_everything
    succeed(home)
    assert not builds.prepare(home, dates=DATES).tests_everything


@pytest.mark.parametrize("content", [b"", b"PAR1 cut off"])
@pytest.mark.parametrize("name", ["meta", "files", "batches"])
def test_a_damaged_note_of_the_last_build_recomputes_everything(home: Home, name: str, content: bytes) -> None:
    builds.prepare(home)
    succeed(home)
    (home.last_snapshot / f"{name}.parquet").write_bytes(content)
    builds.first_date(home)
    builds.last_build_id(home)
    (home.warehouse / ".last_snapshot-old-0123").mkdir()
    assert builds.prepare(home).reason == "no earlier build succeeded"
    succeed(home)
    assert builds.prepare(home).reason == ""
    assert not list(home.warehouse.glob(".*snapshot-*"))


def test_a_manifest_that_was_cut_off_is_made_anew(home: Home) -> None:
    path = builds.manifest(home)
    whole = path.read_bytes()
    path.write_bytes(whole[:500_000])
    assert json.loads(builds.manifest(home).read_bytes())["nodes"].keys() == json.loads(whole)["nodes"].keys()
    changed = path.stat().st_mtime_ns
    builds.manifest(home)
    assert path.stat().st_mtime_ns == changed


def test_what_was_prepared_must_be_readable(home: Home) -> None:
    builds.prepare(home)
    (home.snapshot / "build.json").write_text('{"build_id": ')
    with pytest.raises(builds.BuildError, match=r"build\.json: cannot be read .* Run pertask build"):
        builds.prepared(home)


def test_a_build_may_use_as_much_memory_as_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERTASK_BUILD_MEMORY", raising=False)
    said = builds.environment(Home(tmp_path))["PERTASK_BUILD_MEMORY"]
    assert 0 < int(said.removesuffix("MiB")) <= 6 * 1024
    monkeypatch.setenv("PERTASK_BUILD_MEMORY", "12GiB")
    assert builds.environment(Home(tmp_path))["PERTASK_BUILD_MEMORY"] == "12GiB"
