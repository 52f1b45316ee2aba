"""The worked examples of the FOCUS specification (1.2): what a commitment costs is what its covered hours cost.

The examples are meant for readers. What the product rightly cannot read of them is told first; then a copy, repaired as
little as possible, goes through the whole product:

- the commitment examples have no currency and no account; USD and one account are added;
- two periods end at hour 30 of a day, which is 6 o'clock of the next;
- the SaaS examples have dates as 4/1/25 and amounts as "$50,000.00 ".
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ingest.runner import IngestRequest, ingest
from tests.realdata.conftest import Home

FOLDER = "focus_spec_worked_examples"
FLEXIBLE = [
    "one_hundred_percent_utilization_with_commitment_discount_flexibility_with_1_resource",
    "one_hundred_percent_utilization_with_commitment_discount_flexibility_with_2_resources",
    "one_hundred_percent_utilization_without_commitment_discount_flexibility",
    "zero_percent_utilization_without_commitment_discount_flexibility",
]
PURCHASES = [f"commitment_discount_purchase_scenario_{number}" for number in (1, 2, 3)]
USAGES = [f"commitment_discount_usage_scenario_{number}" for number in (1, 2, 3, 4)]
ADDED = {"BillingCurrency": "USD", "BillingAccountId": "account"}


def examples(real_data: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted((real_data / FOLDER).rglob("*.csv"))}


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def repaired(text: str) -> str:
    """A cell as FOCUS asks for it."""
    if found := re.fullmatch(r"(\d+)/(\d+)/(\d\d)", text):
        return datetime(2000 + int(found[3]), int(found[1]), int(found[2])).strftime("%Y-%m-%dT00:00:00Z")
    if found := re.fullmatch(r"(.*)T(\d\d):00:00Z", text):
        moment = datetime.fromisoformat(found[1]) + timedelta(hours=int(found[2]))
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return re.sub("[$, ]", "", text) if re.fullmatch(r"\$[\d,.]+ *", text) else text


def written(rows: list[dict[str, str]], path: Path) -> Path:
    path.parent.mkdir(parents=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def amount(row: dict[str, str], column: str) -> Decimal:
    return Decimal(repaired(row[column].strip()))


@pytest.fixture(scope="module")
def lines(home: Home, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict]]:
    """The published bill lines of each example."""
    folder = tmp_path_factory.mktemp("examples")
    sources = ["sources:"]
    for name, path in examples(real_data).items():
        rows = [{**ADDED, **{column: repaired(text) for column, text in row.items()}} for row in rows_of(path)]
        sources.append(f"  {name}: {{path: {written(rows, folder / name / 'part.csv')}, format: focus}}")
    (home.folder / "pertask.yml").write_text("\n".join([*sources, ""]), encoding="utf-8")
    home.run("ingest")
    home.publish()
    found: dict[str, list[dict]] = defaultdict(list)
    for row in home.query(
        """
        select source, charge_category, commitment_discount_id, commitment_discount_status, line_kind,
            cast(billed_cost as varchar) as billed_cost, cast(effective_cost as varchar) as effective_cost,
            date_diff('hour', charge_period_start, charge_period_end) as hours
        from core.fct_bill_lines
        """
    ):
        costs = {name: Decimal(row[name]) for name in ("billed_cost", "effective_cost")}
        found[row["source"]].append({**row, **costs})
    return found


def covered(lines: list[dict]) -> dict[str, Decimal]:
    """Effective cost of what each commitment covers or leaves unused."""
    costs: dict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        if line["commitment_discount_status"] in ("Used", "Unused"):
            costs[line["commitment_discount_id"]] += line["effective_cost"]
    return dict(costs)


def purchased(lines: list[dict]) -> dict[str, Decimal]:
    """Billed cost of each commitment's purchase."""
    costs: dict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        if line["charge_category"] == "Purchase":
            costs[line["commitment_discount_id"]] += line["billed_cost"]
    return dict(costs)


def test_as_they_stand_the_examples_are_no_bills(real_data: Path, tmp_path: Path) -> None:
    found: dict[str, Counter] = {}
    for name, path in examples(real_data).items():
        [result] = ingest(tmp_path / name, [IngestRequest("spec", path, "focus")])
        assert (result.rows_read, result.rows_loaded) == (len(rows_of(path)), 0), name
        files = f"read_parquet('{tmp_path / name}/quarantined_rows/**/*.parquet', union_by_name = true)"
        with duckdb.connect() as connection:
            rows = connection.execute(f"select column_name || ' ' || reason from {files}").fetchall()
        found[name] = Counter(reason for (reason,) in rows)
    impossible = {PURCHASES[1]: 1, PURCHASES[2]: 1}
    for name in (*FLEXIBLE, *PURCHASES, *USAGES):
        assert found[name].pop("charge_period_end not a time", 0) == impossible.get(name, 0), name
        assert set(found[name]) == {"billing_currency missing"}, name
    for name in found.keys() - {*FLEXIBLE, *PURCHASES, *USAGES}:
        assert set(found[name]) <= {"charge_period_start not a time", "billed_cost not a number"}, name


@pytest.mark.parametrize("name", FLEXIBLE)
def test_a_purchase_is_what_its_commitment_covers_and_leaves_unused(lines, name) -> None:
    assert covered(lines[name])
    assert covered(lines[name]) == purchased(lines[name])
    assert all(line["effective_cost"] == 0 for line in lines[name] if line["charge_category"] == "Purchase")


@pytest.mark.parametrize("name", USAGES)
def test_an_hour_that_a_commitment_covers_costs_an_hour_of_its_purchase(lines, name) -> None:
    """The purchase and its hours are in files of their own: all of it upfront is a year's price of 8760 hours."""
    [upfront] = lines[PURCHASES[0]]
    assert upfront["hours"] == 8760
    assert {line["hours"] for line in lines[name]} == {1}
    [hour] = covered(lines[name]).values()
    assert hour * upfront["hours"] == upfront["billed_cost"]


def test_the_three_ways_to_pay_cost_the_same_an_hour(lines) -> None:
    [upfront] = lines[PURCHASES[0]]
    assert [line["billed_cost"] for line in lines[PURCHASES[1]]] == [1, 1, 1]
    first, *recurring = sorted(lines[PURCHASES[2]], key=lambda line: -line["billed_cost"])
    assert {first["billed_cost"] / first["hours"] + line["billed_cost"] for line in recurring} == {Decimal(1)}
    assert upfront["billed_cost"] / upfront["hours"] == 1
    assert all(line["effective_cost"] == 0 for name in PURCHASES for line in lines[name])


def test_what_nothing_used_is_in_dollars_and_no_gpus_money(lines) -> None:
    """None of the examples pays for GPUs, so that what is left unused is other cost on the invoice."""
    left = {
        name: [line for line in lines[name] if line["commitment_discount_status"] == "Unused"]
        for name in (*FLEXIBLE, *USAGES)
    }
    assert {line["line_kind"] for lines_left in left.values() for line in lines_left} == {"other"}
    unused = {name: sum(line["effective_cost"] for line in lines_left) for name, lines_left in left.items()}
    assert {name: cost for name, cost in unused.items() if cost} == {
        FLEXIBLE[3]: Decimal("1.5"),
        USAGES[1]: Decimal("1"),
        USAGES[2]: Decimal("0.25"),
    }


def test_every_example_adds_up_to_its_own_sums_and_its_invoice(home: Home, real_data: Path, lines) -> None:
    walks = {
        row["source"]: row
        for row in home.query(
            """
            select source, sum(line_count) as line_count, cast(sum(invoice_usd) as varchar) as invoice_usd,
                cast(max(abs(unexplained_usd)) as varchar) as unexplained_usd
            from quality.invoice_walk_monthly group by source
            """
        )
    }
    for name, path in examples(real_data).items():
        rows = rows_of(path)
        for column, key in (("BilledCost", "billed_cost"), ("EffectiveCost", "effective_cost")):
            expected = sum(amount(row, column) for row in rows)
            assert sum(line[key] for line in lines[name]) == expected, (name, column)
        assert walks[name]["line_count"] == len(rows), name
        assert Decimal(walks[name]["invoice_usd"]) == sum(amount(row, "BilledCost") for row in rows), name
        if name in (*FLEXIBLE, *PURCHASES, *USAGES):
            assert Decimal(walks[name]["unexplained_usd"]) == 0, name


def test_a_spend_agreement_paid_upfront_is_what_its_months_use_and_lose(lines) -> None:
    for name in ("saas_spend_agreements_b1", "saas_spend_agreements_b2"):
        assert sum(line["billed_cost"] for line in lines[name]) == 1200
        assert sum(line["effective_cost"] for line in lines[name]) == 1200
