"""The metrics of the semantic layer: what MetricFlow answers is what plain SQL on the published marts answers."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from orchestration.lib import builds
from pertask.home import Home
from pertask.query import connect

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
TASKS = "unit_economics.cost_per_task_daily"
RETRIES = "unit_economics.retry_overhead_daily"
GPUS = "capacity.idle_dollars_daily"
PRICES = "quality.price_coverage_daily"
METRICS = {
    # metric: (mart, its date, numerator, denominator; empty for a total)
    "cost_per_task": (TASKS, "started_date", "fully_priced_cost_usd", "fully_priced_tasks"),
    "cost_per_successful_task": (TASKS, "started_date", "known_outcome_cost_usd", "successful_tasks"),
    "cost_per_successful_task_bound": (
        TASKS,
        "started_date",
        "cost_usd - untagged_call_cost_usd",
        "successful_tasks",
    ),
    "fully_priced_task_ratio": (TASKS, "started_date", "fully_priced_tasks", "tasks"),
    "cost_usd": (TASKS, "started_date", "cost_usd", ""),
    "retry_overhead_ratio": (RETRIES, "usage_date", "failed_cost_usd", "final_success_cost_usd"),
    "attempt_cost_usd": (RETRIES, "usage_date", "total_cost_usd", ""),
    "gpu_utilisation_ratio": (GPUS, "usage_date", "active_seconds", "billed_seconds - unknown_seconds"),
    "gpu_cost_usd": (GPUS, "usage_date", "effective_cost_usd", ""),
    "idle_usd": (GPUS, "usage_date", "idle_usd", ""),
    "unknown_gpu_usd": (GPUS, "usage_date", "unknown_usd", ""),
    "idle_ratio": (GPUS, "usage_date", "idle_usd", "effective_cost_usd"),
    "price_coverage_ratio": (PRICES, "usage_date", "priced_attempts", "priced_attempts + unpriced_attempts"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dbt project as a checkout has it, in a folder of its own, because MetricFlow reads its target/."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copyfile(builds.PROJECT / "dbt_project.yml", folder / "dbt_project.yml")
    for name in ("models", "macros", "seeds", "tests", "publish"):
        (folder / name).symlink_to(builds.PROJECT / name)
    return folder


@pytest.fixture(scope="module")
def published(sample_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home that has nothing but the sample's publication: no warehouse to open."""
    home = Home(tmp_path_factory.mktemp("published"))
    home.published.mkdir()
    shutil.copyfile(sample_home / "published" / "pertask.duckdb", home.published_file)
    return home


def run(project: Path, home: Home, *command: str) -> str:
    """Run a command of this Python's environment in the project, as docs/metrics.md tells; returns what it printed."""
    executable, *arguments = command
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DBT_")}
    done = subprocess.run(
        [str(Path(sys.executable).with_name(executable)), *arguments],
        cwd=project,
        env={**inherited, "PERTASK_HOME": str(home.root), "DBT_PROFILES_DIR": "publish"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def parsed(project: Path, published: Home) -> str:
    """What dbt says when it parses the project."""
    return run(project, published, "dbt", "parse", "--show-all-deprecations")


def ask(project: Path, home: Home, metrics: list[str], group_by: str) -> list[dict[str, str]]:
    """The answer of ``mf query``, every digit."""
    answer = project / "answer.csv"
    run(project, home, "mf", "query", "--metrics", ",".join(metrics), "--group-by", group_by, "--csv", str(answer))
    with open(answer, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def expected(home: Home, metric: str, column: str) -> dict[str, float | None]:
    """The metric by plain SQL: sum over sum, by a column of its mart."""
    mart, _, numerator, denominator = METRICS[metric]
    divided = f" / nullif(sum({denominator}), 0)" if denominator else ""
    with connect(home) as connection:
        rows = connection.execute(
            f"select cast({column} as varchar), cast(sum({numerator}){divided} as double) from {mart} group by all"
        ).fetchall()
    return dict(rows)


def test_the_manifest_holds_each_metric(parsed: str, project: Path) -> None:
    documented = set(METRICS)
    semantic = json.loads((project / "target" / "semantic_manifest.json").read_bytes())
    assert documented <= {metric["name"] for metric in semantic["metrics"]}
    manifest = json.loads((project / "target" / "manifest.json").read_bytes())
    metrics = {metric["name"]: metric for metric in manifest["metrics"].values()}
    assert documented <= metrics.keys()
    assert all(metric["description"] for metric in metrics.values())
    public = {node["name"] for node in manifest["nodes"].values() if node["config"].get("access") == "public"}
    used = {model["node_relation"]["alias"] for model in semantic["semantic_models"]}
    assert used <= public


def test_the_project_parses_without_a_deprecation(parsed: str) -> None:
    assert "deprecat" not in parsed.lower()
    assert "warning" not in parsed.lower()


@pytest.mark.usefixtures("parsed")
@pytest.mark.parametrize(("group_by", "key"), [("metric_time__day", ""), ("team", "team")], ids=["by day", "by team"])
def test_each_metric_is_the_sum_over_sum_of_its_mart(project: Path, published: Home, group_by: str, key: str) -> None:
    asked = [metric for metric, (mart, *_) in METRICS.items() if not (key and mart == PRICES)]
    answer = ask(project, published, asked, group_by)
    assert len(answer) >= 6
    for metric in asked:
        wanted = expected(published, metric, key or METRICS[metric][1])
        found = {row[group_by][:10] if not key else row[key]: row[metric] for row in answer}
        assert wanted.keys() <= found.keys()
        for group, text in found.items():
            value = wanted.get(group)
            assert float(text) == pytest.approx(value, rel=1e-9) if text else value is None, (metric, group)
        # a metric that says nothing at all would pass
        assert any(found.values()), metric


@pytest.mark.usefixtures("parsed")
def test_the_page_says_how_to_ask(project: Path, published: Home) -> None:
    commands = [line for line in PAGE.splitlines() if line.startswith("mf query ")]
    assert len(commands) >= 3
    for command in commands:
        assert "Success" in run(project, published, *command.split())
    for metric in METRICS:
        assert f"`{metric}`" in PAGE


@pytest.mark.usefixtures("parsed")
def test_asking_waits_for_no_build(project: Path, published: Home) -> None:
    published.warehouse.mkdir(exist_ok=True)
    with duckdb.connect(str(published.warehouse_file)):
        # a build holds the warehouse open to write
        assert ask(project, published, ["cost_per_task"], "metric_time__day")
    # and another reader holds the publication
    with connect(published):
        assert ask(project, published, ["idle_usd"], "team")


def test_a_changed_metric_forces_no_full_refresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "seeds").mkdir(parents=True)
    shutil.copytree(builds.PROJECT / "models" / "semantic", project / "models" / "semantic")
    monkeypatch.setattr(builds, "PROJECT", project)
    home = Home(tmp_path / "home")
    home.warehouse.mkdir(parents=True)
    builds.prepare(home)
    home.warehouse_file.touch()
    builds.accept(home)
    metric = project / "models" / "semantic" / "tasks.yml"
    metric.write_text(metric.read_text(encoding="utf-8").replace("Cost per task", "Price per task"), encoding="utf-8")
    assert not builds.prepare(home).is_needed
