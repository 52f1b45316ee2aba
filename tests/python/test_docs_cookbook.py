"""docs/cookbook.md: every query answers through ``pertask query``, with what the sample's generator knows.

What a query must say is computed here from the truth files, or is an invariant; where the sample has nothing to show
(restatements, true-ups, energy), rows are put into a copy of its publication.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from pertask.cli import cli

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cookbook.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^### (\d+)\. (.+?\?)\n\n```sql\n(.+?)\n```\n(.+?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
MOVED = """
insert into quality.restatements by name
select
    'b1' as build_id, timestamp '2026-09-13' as detected_at, mart, measure, total_date, old_amount, new_amount,
    coalesce(new_amount, 0) - coalesce(old_amount, 0) as change_amount, cause
from (
    values
        ('capacity.idle_dollars_daily', 'idle_usd', date '2026-09-01', 10, 12, 'bill lines'),
        ('capacity.idle_dollars_daily', 'idle_usd', date '2026-09-03', 10, 7, 'bill lines'),
        ('capacity.idle_dollars_daily', 'effective_cost_usd', date '2026-09-03', null, 4, 'bill lines')
) as moved (mart, measure, total_date, old_amount, new_amount, cause);

insert into quality.provisional_true_ups by name
select
    'b1' as build_id, timestamp '2026-09-13' as trued_up_at, date '2026-09-01' as usage_date, resource_id,
    3600 as estimated_seconds, 3600 as billed_seconds, estimated_cost_usd, billed_cost_usd,
    billed_cost_usd - estimated_cost_usd as true_up_usd, 0 as unestimated_seconds, 0.5 as unestimated_cost_usd
from (values ('i-1', 8, 9), ('i-1', 2, 3), ('i-2', 5, 5)) as made (resource_id, estimated_cost_usd, billed_cost_usd);

update capacity.energy_daily set calls_with_energy = 5, energy_kwh = 2, output_tokens = 144
where deployment_id = 'kb-rerank' and usage_date in (date '2026-08-01', date '2026-08-02');
"""

Row = dict[str, Any]


class Truth:
    """What the sample's generator knows: truth.json, and the truth files as lists of rows."""

    def __init__(self, home: Path) -> None:
        self.facts: Row = json.loads((home / "truth.json").read_text(encoding="utf-8"))
        self.folder = home / "truth"

    def rows(self, name: str) -> list[Row]:
        with open(self.folder / f"{name}.csv", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def total(self, name: str) -> float:
        return float(self.facts["totals"][name])

    def gpu(self, *columns: str) -> float:
        return sum(float(row[column]) for row in self.facts["gpu"] for column in columns)

    def invoiced(self, kind: str, column: str = "billed_cost_usd") -> float:
        return sum(float(row[column]) for row in self.facts["invoices"] if row["kind"] == kind)


Check = Callable[[list[Row], Truth], None]
CHECKS: dict[int, Check] = {}


def near(value: float | Decimal, tolerance: float = 1e-4) -> Any:
    return pytest.approx(Decimal(value), abs=Decimal(tolerance))


def add(rows: list[Row], *columns: str) -> Decimal:
    """Sum of columns over rows, null counted as nothing."""
    return Decimal(sum(row[column] or 0 for row in rows for column in columns))


def check(number: int) -> Callable[[Check], Check]:
    def register(function: Check) -> Check:
        CHECKS[number] = function
        return function

    return register


@pytest.fixture(scope="module")
def home(sample_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's publication, with something that moved."""
    home = tmp_path_factory.mktemp("cookbook")
    (home / "published").mkdir()
    path = home / "published" / "pertask.duckdb"
    shutil.copyfile(sample_home / "published" / "pertask.duckdb", path)
    with duckdb.connect(str(path)) as connection:
        connection.execute(MOVED)
    return home


@pytest.fixture(scope="module")
def truth(sample_home: Path) -> Truth:
    return Truth(sample_home)


def test_every_question_is_told_apart_and_explained() -> None:
    assert [int(number) for number, *_ in SECTIONS] == list(range(1, len(SECTIONS) + 1))
    assert len(SECTIONS) == PAGE.count("\n### ") == PAGE.count("```sql") >= 20
    for _, question, _, text in SECTIONS:
        assert re.search(r"^Watch: ", text, re.MULTILINE), question
        assert re.search(r"^Read: ", text, re.MULTILINE), question


@pytest.mark.parametrize(
    ("number", "sql"), [(int(number), sql) for number, _, sql, _ in SECTIONS], ids=[found[0] for found in SECTIONS]
)
def test_every_query_answers(number: int, sql: str, home: Path, truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERTASK_HOME", str(home))
    result = CliRunner().invoke(cli, ["query", sql, "--format", "json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout, parse_float=Decimal)
    assert rows
    CHECKS[number](rows, truth)


@check(1)
def task_costs(rows: list[Row], truth: Truth) -> None:
    tasks: dict[str, list[Row]] = defaultdict(list)
    for task in truth.rows("tasks"):
        tasks[task["task_type"]].append(task)
    assert {row["task_type"] for row in rows} >= tasks.keys()
    assert add(rows, "cost_usd") == near(truth.total("cost_usd"))
    for row in rows:
        made = tasks[row["task_type"]]
        cost = sum(float(task["cost_usd"] or 0) for task in made)
        known = sum(float(task["cost_usd"] or 0) for task in made if task["outcome"] != "unknown")
        priced = sum(float(task["cost_usd"]) for task in made if task["is_fully_priced"] == "true")
        successes = sum(task["outcome"] == "success" for task in made)
        count = sum(task["is_fully_priced"] == "true" for task in made)
        unknown = sum(task["outcome"] == "unknown" for task in made)
        assert (row["tasks"], row["fully_priced_tasks"], row["unknown_outcome_tasks"]) == (len(made), count, unknown)
        assert row["cost_per_task_usd"] == (near(priced / count, 1e-9) if count else None)
        assert row["cost_per_successful_task_usd"] == (near(known / successes, 1e-8) if successes else None)
        assert row["cost_per_successful_task_bound_usd"] == (near(cost / successes, 1e-8) if successes else None)


@check(2)
def tail(rows: list[Row], truth: Truth) -> None:
    costs = defaultdict(list)
    for task in truth.rows("tasks"):
        if task["task_id_origin"] == "task" and task["is_fully_priced"] == "true":
            costs[task["task_type"]].append(float(task["cost_usd"]))
    assert {row["task_type"]: row["tasks"] for row in rows} == {name: len(found) for name, found in costs.items()}
    for row in rows:
        ordered = sorted(costs[row["task_type"]])
        place = 0.99 * (len(ordered) - 1)
        below = int(place)
        p99 = ordered[below] + (place - below) * (ordered[min(below + 1, len(ordered) - 1)] - ordered[below])
        assert row["p99_task_cost_usd"] == near(p99, 1e-9)
        assert row["p50_task_cost_usd"] <= row["p90_task_cost_usd"] <= row["p99_task_cost_usd"]
        assert row["largest_task_cost_usd"] == near(ordered[-1], 1e-9)
        assert 0.01 < row["dearest_percent_share"] < 1


@check(3)
def multiple(rows: list[Row], truth: Truth) -> None:
    costs = {row["task_type"]: float(row["cost_usd"]) for row in truth.facts["cost_by_task_type"]}
    by_type = {row["task_type"]: row for row in rows}
    # every ticket is fully priced and has a headline
    assert by_type["support_ticket"]["headline_task_cost_usd"] == near(costs["support_ticket"])
    assert by_type["support_ticket"]["cost_multiple"] > 1
    for row in rows:
        if row["headline_cost_usd"]:
            multiple = row["headline_task_cost_usd"] / row["headline_cost_usd"]
            assert row["cost_multiple"] == near(multiple, 1e-9)
    # an own model has no token price to quote
    assert by_type["kb_rerank"]["cost_multiple"] is None


@check(4)
def anatomy(rows: list[Row], truth: Truth) -> None:
    assert add(rows, "part_cost_usd") == near(truth.total("cost_usd"))
    retries = [row for row in rows if row["component"] == "retry"]
    assert add(retries, "part_cost_usd") == near(truth.total("failed_cost_usd"))
    for task_type in {row["task_type"] for row in rows}:
        assert add([row for row in rows if row["task_type"] == task_type], "share_ratio") == near(1)


@check(5)
def causes(rows: list[Row], truth: Truth) -> None:
    found = {row["cause"]: row for row in rows}
    assert found.keys() == {row["cause"] for row in truth.facts["failed_by_cause"]}
    for expected in truth.facts["failed_by_cause"]:
        row = found[expected["cause"]]
        assert row["failed_attempts"] == expected["failed_attempts"]
        for column in ("failed_cost_usd", "recovered_cost_usd", "abandoned_cost_usd", "unresolved_cost_usd"):
            assert row[column] == near(float(expected[column])), (expected["cause"], column)
        assert row["share_ratio"] == near(float(row["failed_cost_usd"]) / truth.total("failed_cost_usd"), 1e-6)


@check(6)
def retries(rows: list[Row], truth: Truth) -> None:
    assert add(rows, "attempts") == truth.total("attempts")
    assert add(rows, "failed_attempts") == truth.total("failed_attempts")
    assert add(rows, "unpriced_attempts") == truth.facts["totals"]["unpriced_attempts"]["no_price"]
    assert add(rows, "final_success_cost_usd") == near(truth.total("final_success_cost_usd"))
    priced = [row for row in rows if row["final_success_cost_usd"]]
    total = sum(row["amplification_ratio"] * row["final_success_cost_usd"] for row in priced)
    assert total == near(truth.total("cost_usd"))
    for row in rows:
        if row["final_success_cost_usd"]:
            assert row["overhead_ratio"] == near(row["failed_cost_usd"] / row["final_success_cost_usd"], 1e-9)


@check(7)
def concentration(rows: list[Row], truth: Truth) -> None:
    assert [row["spend_rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert add(rows, "share_ratio") == near(1, 1e-9)
    assert sum(row["is_in_k80"] for row in rows) == rows[0]["k80_count"]
    assert (
        rows[rows[0]["k80_count"] - 1]["cumulative_ratio"] >= 0.8 > rows[rows[0]["k80_count"] - 2]["cumulative_ratio"]
    )


@check(8)
def caps(rows: list[Row], truth: Truth) -> None:
    planted = truth.facts["planted"]["iterations_by_complexity"]
    capped = {row["iteration_cap"]: row["capped_tasks"] for row in rows if row["task_type"] == "fraud_alert"}
    # between the medium alerts and the high ones, no alert ends
    middle = {capped[cap] for cap in range(planted["medium"]["most"], planted["high"]["least"])}
    assert len(middle) == 1
    assert middle.pop() > 0 == capped[planted["high"]["most"]]


@check(9)
def complexity(rows: list[Row], truth: Truth) -> None:
    planted = truth.facts["planted"]["iterations_by_complexity"]
    alerts = {row["complexity"]: row for row in rows if row["task_type"] == "fraud_alert"}
    assert alerts.keys() == planted.keys()
    for grade, row in alerts.items():
        assert planted[grade]["least"] <= row["iterations_per_task"] <= planted[grade]["most"]
    made = [task for task in truth.rows("tasks") if (task["task_type"], task["complexity"]) == ("fraud_alert", "high")]
    mean = sum(float(task["cost_usd"]) for task in made) / len(made)
    assert (alerts["high"]["tasks"], alerts["high"]["cost_per_task_usd"]) == (len(made), near(mean, 1e-9))


@check(10)
def customers(rows: list[Row], truth: Truth) -> None:
    assert add(rows, "tasks") == truth.total("tasks")
    assert add(rows, "successful_tasks") == truth.facts["totals"]["tasks_by_outcome"]["success"]
    assert add(rows, "not_fully_priced_tasks") == truth.facts["totals"]["unpriced_attempts"]["no_price"]
    assert add(rows, "cost_usd") == near(sum(float(task["cost_usd"] or 0) for task in truth.rows("tasks")))
    loaded = sum(float(task["fully_loaded_cost_usd"] or 0) for task in truth.rows("tasks"))
    assert add(rows, "fully_loaded_cost_usd") == near(loaded, 1e-3)
    assert add(rows, "share_ratio") == near(1, 1e-9)
    assert len(rows) > 10


@check(11)
def showback(rows: list[Row], truth: Truth) -> None:
    metered = truth.total("cost_usd") - truth.total("allocated_cost_usd")
    unused = truth.invoiced("unused_commitment", "effective_cost_usd")
    assert add(rows, "metered_usd") == near(metered)
    assert add(rows, "active_usd", "idle_usd", "unknown_usd") == near(truth.gpu("effective_cost_usd"))
    assert add(rows, "owed_usd") == near(metered + truth.gpu("effective_cost_usd") + unused)
    assert add(rows, "gpu_rows_without_rate") == 0
    assert {row["team"] for row in rows if row["owner"]} == {"fraud", "platform", "research", "search", "support"}


@check(12)
def own_gpus(rows: list[Row], truth: Truth) -> None:
    assert add(rows, "cost_usd") == near(truth.total("allocated_cost_usd"))
    idle_share = add(rows, "fully_loaded_cost_usd") - add(rows, "cost_usd")
    assert idle_share == near(truth.total("idle_share_usd"), 1e-3)
    assert add(rows, "tasks") == sum(float(task["allocated_cost_usd"] or 0) > 0 for task in truth.rows("tasks"))
    for row in rows:
        assert row["cost_per_task_usd"] == near(row["cost_usd"] / row["tasks"], 1e-9)
        assert row["fully_loaded_cost_per_task_usd"] == near(row["fully_loaded_cost_usd"] / row["tasks"], 1e-9)


def test_own_gpu_cost_counts_calls_on_gpus_that_never_idled_and_no_metered_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample has neither such GPUs nor tasks that call both, so these are made by hand."""
    (tmp_path / "published").mkdir()
    with duckdb.connect(str(tmp_path / "published" / "pertask.duckdb")) as connection:
        connection.execute(
            """
            create schema core;
            create table core.fct_tasks as
            select *, date '2026-08-01' as started_date, date '2026-08-02' as ended_date, 'rank' as task_type
            from (values ('busy', true, 1), ('mixed', true, 2), ('metered', true, 1), ('partly', false, 1))
                as tasks (task_id, is_fully_priced, sample_weight);
            create table core.fct_call_attempts as
            select *, date '2026-08-02' as usage_date
            from (
                values
                    ('busy', 'allocated', 3, 3), ('mixed', 'allocated', 1, 4), ('mixed', 'metered', 50, 50),
                    ('metered', 'metered', 7, 7), ('partly', 'allocated', 1, 1), (null, 'allocated', 1, 1)
            ) as attempts (task_id, cost_basis, cost_usd, fully_loaded_cost_usd);
            """
        )
    monkeypatch.setenv("PERTASK_HOME", str(tmp_path))
    [sql] = [sql for number, _, sql, _ in SECTIONS if number == "12"]
    result = CliRunner().invoke(cli, ["query", sql, "--format", "csv"])
    assert result.stdout.splitlines()[1:] == ["rank,3,5,11,1.6666666666666667,3.6666666666666665"], result.output


@check(13)
def idle(rows: list[Row], truth: Truth) -> None:
    assert add(rows, "effective_cost_usd") == near(truth.gpu("effective_cost_usd"))
    assert add(rows, "idle_usd") == near(truth.gpu("loaded_idle_usd", "unallocated_usd"))
    for state in ("active_usd", "loaded_idle_usd", "unallocated_usd", "unknown_usd"):
        assert add(rows, state) == near(truth.gpu(state))
    assert add(rows, "unused_commitment_usd") == near(truth.invoiced("unused_commitment", "effective_cost_usd"))
    for row in rows:
        if row["effective_cost_usd"]:
            assert row["idle_ratio"] == near(row["idle_usd"] / row["effective_cost_usd"], 1e-9)


@check(14)
def local_hours(rows: list[Row], truth: Truth) -> None:
    assert len(rows) == 48
    assert add(rows, "billed_gpu_hours") == near(truth.gpu("billed_seconds") / 3600, 1e-3)
    assert add(rows, "idle_usd") == near(truth.gpu("loaded_idle_usd", "unallocated_usd"))
    unknown = sum(row["unknown_ratio"] * row["billed_gpu_hours"] for row in rows)
    assert unknown == near(truth.gpu("unknown_seconds") / 3600, 1e-3)
    active = sum(row["utilisation_ratio"] * row["billed_gpu_hours"] * (1 - row["unknown_ratio"]) for row in rows)
    assert active == near(truth.gpu("active_seconds") / 3600, 1e-3)
    # the nightly batch of eight GPUs starts at 01:00 in India
    india = {row["local_hour"]: row["billed_gpu_hours"] for row in rows if row["region"] == "ap-south-1"}
    assert india[1] - india[0] == 480


@check(15)
def unknown(rows: list[Row], truth: Truth) -> None:
    assert [row["usage_month"] for row in rows] == ["2026-07-01", "2026-08-01", "2026-09-01"]
    assert add(rows, "unknown_usd") == near(truth.gpu("unknown_usd"))
    for row in rows:
        known = 1 - row["unknown_usd"] / row["effective_cost_usd"]
        assert (row["known_cost_ratio"], row["provisional_usd"], row["provisional_days"]) == (near(known, 1e-9), 0, 0)


@check(16)
def energy(rows: list[Row], truth: Truth) -> None:
    assert add(rows, "calls") == len(truth.rows("allocations"))
    # the sample's exporters report no power: null, but for the days that were put in
    assert {row["energy_kwh"] for row in rows[1:]} == {None}
    columns = ("calls_with_energy", "energy_kwh", "kwh_per_call", "output_tokens_per_second_per_megawatt")
    assert [rows[0][column] for column in columns] == [10, 4, Decimal("0.4"), 20]


@check(17)
def reconciliation(rows: list[Row], truth: Truth) -> None:
    for column in ("billed_usd", "unexplained_usd", "absolute_unexplained_usd"):
        assert add(rows, column) == near(truth.invoiced("model_charges"))
    assert {(row["basis"], row["unexplained_ratio"], row["suspects"]) for row in rows} == {
        ("cloud_bill", 1, "not_in_log")
    }


@check(18)
def walk(rows: list[Row], truth: Truth) -> None:
    assert add(rows, "invoice_usd") == near(truth.invoiced("total"))
    assert add(rows, "tax_usd") == near(truth.invoiced("tax"))
    for row in rows:
        names = list(row)
        steps = names[names.index("active_usd") : names.index("invoice_usd")]
        assert sum(row[name] for name in steps) == row["invoice_usd"]
        assert row["unexplained_usd"] == 0


@check(19)
def coverage(rows: list[Row], truth: Truth) -> None:
    [row] = rows
    unpriced = truth.facts["totals"]["unpriced_attempts"]["no_price"]
    assert (row["model"], row["unpriced_attempts"], row["no_price_for_model_attempts"]) == (
        "acme-experimental-1",
        unpriced,
        unpriced,
    )
    [model] = [found for found in truth.facts["cost_by_model"] if found["model"] == row["model"]]
    assert row["unpriced_tokens"] == model["input_tokens"] + model["output_tokens"]
    assert (row["attempts"], row["priced_attempts_ratio"], row["usage_missing_attempts"]) == (unpriced, 0, 0)


@check(20)
def restatements(rows: list[Row], truth: Truth) -> None:
    idle, effective = sorted(rows, key=lambda row: -row["dates"])
    assert (idle["measure"], idle["dates"], idle["change_usd"], idle["absolute_change_usd"]) == ("idle_usd", 2, -1, 5)
    assert (idle["first_date"], idle["last_date"]) == ("2026-09-01", "2026-09-03")
    assert (effective["measure"], effective["dates"], effective["change_usd"]) == ("effective_cost_usd", 1, 4)


@check(21)
def true_ups(rows: list[Row], truth: Truth) -> None:
    columns = ("resource_id", "estimated_cost_usd", "billed_cost_usd", "true_up_usd", "true_up_ratio")
    columns += ("unestimated_cost_usd",)
    found = [tuple(row[column] for column in columns) for row in rows]
    assert found == [("i-1", 10, 12, 2, Decimal("0.2"), 1), ("i-2", 5, 5, 0, 0, Decimal("0.5"))]


@check(22)
def exchange_rates(rows: list[Row], truth: Truth) -> None:
    totals = {(row["source"], row["billing_month"]): row for row in truth.facts["invoices"] if row["kind"] == "total"}
    assert len(rows) == 6
    for row in rows:
        expected = totals[row["source"], row["billing_month"]]
        assert row["amount"] == near(float(expected["billed_cost_local"]))
        assert row["amount_usd"] == near(float(expected["billed_cost_usd"]))
        if row["billing_month"] == "2026-07-01":
            assert row["fx_effect_usd"] is None
        else:
            assert row["usage_effect_usd"] + row["fx_effect_usd"] == row["total_change_usd"]


@check(23)
def local_currency(rows: list[Row], truth: Truth) -> None:
    assert add(rows, "cost_usd") == near(truth.total("cost_usd"))
    assert {row["unconverted_usd"] for row in rows} == {None}
    rates = sorted((day, float(rate)) for day, rate in truth.facts["usd_per_unit"]["INR"].items())
    expected = 0.0
    for row in truth.rows("cost_by_day"):
        rate = [rate for day, rate in rates if day <= row["usage_date"]][-1]
        expected += float(row["cost_usd"]) / rate
    assert add(rows, "cost_inr") == near(expected, 0.05)


@check(24)
def deliveries(rows: list[Row], truth: Truth) -> None:
    found = {row["source"]: row for row in rows}
    assert found.keys() == truth.facts["sources"].keys()
    for source, expected in truth.facts["sources"].items():
        for column in ("rows_read", "rows_loaded", "rows_quarantined", "rows_skipped"):
            assert found[source][column] == expected[column], (source, column)
    assert rows[0]["source"] == "gateway"
    for reason in truth.facts["sources"]["gateway"]["quarantine_reasons"]:
        assert reason in rows[0]["reasons"]


@check(25)
def findings(rows: list[Row], truth: Truth) -> None:
    found = {row["kind"]: row for row in rows}
    unpriced = found["unpriced_calls"]
    assert (unpriced["affected_count"], unpriced["amount_usd"]) == (468, None)
    assert unpriced["without_amount"] == unpriced["findings"] == truth.facts["parameters"]["days"]
    [never_sampled] = truth.facts["planted"]["never_sampled"]
    [dark] = [row for row in truth.facts["gpu"] if row["resource_id"] == never_sampled]
    unsampled = found["billed_without_samples"]
    assert (unsampled["subjects"], unsampled["amount_usd"]) == (1, near(float(dark["unknown_usd"])))
