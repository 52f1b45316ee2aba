"""The graph: every arrow from a vendor's file to the publication is an asset."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from ingest.contracts import CONTRACTS
from ingest.runner import IngestRequest, ingest
from orchestration.definitions import graph
from orchestration.lib import builds
from pertask.home import Home
from tests.python.conftest import spend_log_row, write_json_lines


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    home.config_file.write_text(
        "sources:\n  gateway: {path: landing/gateway, format: litellm_spend_logs, stale_after_hours: 30}\n"
        "  bill: {path: landing/bill}\n",
        encoding="utf-8",
    )
    return home


@pytest.fixture(scope="module")
def definitions(home: Home) -> dg.Definitions:
    os.environ.update(builds.environment(home))
    return graph(home)


def keys_of_the_lake() -> set[dg.AssetKey]:
    return {dg.AssetKey(["lake", name]) for name in CONTRACTS}


def keys(*paths: str) -> set[dg.AssetKey]:
    return {dg.AssetKey(path.split("/")) for path in paths}


def test_the_graph_loads(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)
    assert {job.name for job in definitions.jobs} == {"run", "run_ingest", "run_build", "run_publish"}
    assert {schedule.name for schedule in definitions.schedules} == {"daily", "weekly"}
    assert {sensor.name for sensor in definitions.sensors} == {"landing", "dead_runs"}


def test_writers_share_a_pool_and_the_lock(definitions: dg.Definitions) -> None:
    nodes = definitions.resolve_asset_graph().assets_defs
    pools = {asset.op.name: asset.op.pool for asset in nodes if asset.is_executable}
    assert pools == {
        "ingest": "lake",
        "freshness": None,
        "snapshot": "duckdb",
        "batch_checks": "duckdb",
        "warehouse": "duckdb",
        "warehouse__days": None,
        "mart_checks": "duckdb",
        "published__pertask": "duckdb",
        "published__report": None,
        "published__docs": None,
    }
    for asset in nodes:
        if asset.is_executable and asset.op.pool == "duckdb":
            assert "writer" in asset.required_resource_keys


def test_ingest_is_tried_again_with_growing_pauses(definitions: dg.Definitions) -> None:
    [ingest] = [asset for asset in definitions.resolve_asset_graph().assets_defs if asset.keys == keys_of_the_lake()]
    policy = ingest.op.retry_policy
    assert (policy.max_retries, policy.backoff) == (3, dg.Backoff.EXPONENTIAL)


def test_a_source_that_says_so_has_a_freshness_policy(definitions: dg.Definitions) -> None:
    assets = definitions.resolve_asset_graph()
    policy = assets.get(dg.AssetKey(["landing", "gateway"])).freshness_policy
    assert policy.fail_window.to_timedelta() == timedelta(hours=30)
    assert assets.get(dg.AssetKey(["landing", "bill"])).freshness_policy is None


def test_every_arrow_is_an_asset(definitions: dg.Definitions) -> None:
    found = definitions.resolve_asset_graph().get_all_asset_keys()
    assert keys("landing/gateway", "landing/bill", "published/pertask") <= found
    assert keys(*(f"lake/{name}" for name in CONTRACTS)) <= found
    assert keys("snapshot/files", "snapshot/company_teams", "intermediate/int_touched_dates") <= found
    assert keys("core/fct_call_attempts", "core/fct_gpu_hours", "quality/findings") <= found
    assert keys("warehouse/days") <= found


def test_the_arrows_lead_from_the_files_to_the_publication(definitions: dg.Definitions) -> None:
    assets = definitions.resolve_asset_graph()

    def upstream(path: str) -> set[dg.AssetKey]:
        return set(assets.get(dg.AssetKey(path.split("/"))).parent_keys)

    assert upstream("lake/llm_calls") == keys("landing/gateway", "landing/bill")
    assert keys("lake/llm_calls", "lake/quarantined_rows") <= upstream("snapshot/files")
    assert keys("lake/llm_calls", "snapshot/batches") <= upstream("staging/stg_llm_calls")
    assert keys("core/fct_tasks") <= upstream("unit_economics/cost_per_task_daily")
    marts = upstream("published/pertask")
    assert keys("unit_economics/cost_per_task_daily", "capacity/idle_dollars_daily", "quality/findings") <= marts
    assert not keys("intermediate/int_call_attempts", "staging/stg_llm_calls") & marts


def test_each_dbt_test_of_a_model_is_a_check_of_its_asset(definitions: dg.Definitions, home: Home) -> None:
    checks = {key.name: key.asset_key for key in definitions.resolve_asset_graph().asset_check_keys}
    nodes = json.loads((home.target / "manifest.json").read_bytes())["nodes"]
    tests = {
        node["name"]
        for node in nodes.values()
        if node["resource_type"] == "test" and (node.get("attached_node") or "").startswith("model.")
    }
    assert len(tests) > 50
    assert tests <= checks.keys()
    assert checks["unique_combination_fct_tasks_task_id__started_date"] == dg.AssetKey(["core", "fct_tasks"])


def test_the_jobs_are_the_commands(definitions: dg.Definitions) -> None:
    steps = {
        name: {node.name for node in definitions.resolve_job_def(name).nodes}
        for name in ("run", "run_ingest", "run_build", "run_publish")
    }
    assert steps["run_ingest"] == {"ingest", "freshness"}
    assert steps["run_build"] == {"snapshot", "batch_checks", "warehouse", "warehouse__days", "mart_checks"}
    assert steps["run_publish"] == {"mart_checks", "published__pertask", "published__report", "published__docs"}
    assert steps["run"] == steps["run_ingest"] | steps["run_build"] | steps["run_publish"]


def test_a_source_more_is_an_asset_more(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path)
    assert not [key for key in graph(other).resolve_asset_graph().get_all_asset_keys() if key.path[0] == "landing"]


def test_a_source_is_judged_by_its_newest_event(home: Home, definitions: dg.Definitions) -> None:
    def judge() -> dg.AssetCheckEvaluation:
        job = definitions.resolve_job_def("run_ingest")
        done = job.execute_in_process(asset_selection=[], op_selection=["freshness"])
        [evaluation] = done.get_asset_check_evaluations()
        return evaluation

    assert not judge().passed
    now = datetime.now(UTC)
    path = home.landing / "gateway" / "old.jsonl"
    write_json_lines(path, [spend_log_row("old", f"{now - timedelta(days=9):%Y-%m-%dT%H:%M:%S}")])
    ingest(home.lake, [IngestRequest("gateway", path)])
    stale = judge()
    assert (stale.passed, stale.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "nothing newer than" in stale.metadata["message"].value
    write_json_lines(path, [spend_log_row("new", f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}")])
    ingest(home.lake, [IngestRequest("gateway", path)])
    assert judge().passed
