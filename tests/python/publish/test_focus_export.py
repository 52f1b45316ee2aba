"""The FOCUS file: its columns and words, and that its dollars are the marts' dollars, each once."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from pertask.cli import cli
from pertask.errors import ExportError, QueryError
from pertask.home import Home
from publish.focus_export import export_focus
from tests.python.homes import SmallHome

# FOCUS 1.2, "Columns": feature level, nullability and data type of each.
NEVER_NULL = {
    *("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "BillingAccountId", "BillingAccountType"),
    *("BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory", "ChargeFrequency"),
    *("ChargePeriodEnd", "ChargePeriodStart", "InvoiceIssuerName", "PricingCurrency", "PricingCurrencyEffectiveCost"),
    *("ProviderName", "PublisherName", "ServiceCategory", "ServiceName", "ServiceSubcategory"),
}
NULLABLE_DECIMALS = {
    *("CommitmentDiscountQuantity", "ConsumedQuantity", "ContractedUnitPrice", "ListUnitPrice", "PricingQuantity"),
    *("PricingCurrencyContractedUnitPrice", "PricingCurrencyListUnitPrice"),
}
NULLABLE_TEXTS = {
    *("AvailabilityZone", "BillingAccountName", "CapacityReservationId", "CapacityReservationStatus", "ChargeClass"),
    *("ChargeDescription", "CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName"),
    *("CommitmentDiscountStatus", "CommitmentDiscountType", "CommitmentDiscountUnit", "ConsumedUnit", "InvoiceId"),
    *("PricingCategory", "PricingUnit", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType"),
    *("SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId", "SubAccountId", "SubAccountName", "SubAccountType", "Tags"),
}
COSTS = {"BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "PricingCurrencyEffectiveCost"}
MOMENTS = {"BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd"}
OWN = {"x_CallAttempts", "x_CostBasis", "x_IdleState", "x_IsProvisional", "x_Model", "x_TaskType", "x_Team"}
WORDS = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"Standard", "Dynamic", "Committed", "Other"},
    "CommitmentDiscountCategory": {"Spend", "Usage"},
    "CommitmentDiscountStatus": {"Used", "Unused"},
    "CapacityReservationStatus": {"Used", "Unused"},
    "BillingCurrency": {"USD"},
    "ServiceCategory": {
        *("AI and Machine Learning", "Analytics", "Business Applications", "Compute", "Databases", "Developer Tools"),
        *("Multicloud", "Identity", "Integration", "Internet of Things", "Management and Governance", "Media"),
        *("Migration", "Mobile", "Networking", "Security", "Storage", "Web", "Other"),
    },
    "x_CostBasis": {"metered", "allocated", "billed"},
    "x_IdleState": {
        *("active", "active_without_calls", "loaded_idle", "unallocated", "unknown", "unused_commitment"),
    },
}
STATES = ("active_without_calls", "loaded_idle", "unallocated", "unknown", "unused_commitment")


@pytest.fixture(scope="module")
def small_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    small = SmallHome(tmp_path_factory.mktemp("focus") / "it's small")
    small.deliver_all()
    bill_of_another_account(small.folder / "landing" / "bill" / "another")
    small.run("run")
    return Home(small.folder)


def bill_of_another_account(folder: Path) -> None:
    """A part of the small company's machine, one of its own, and a line over the end of the month and of a day."""
    line = {
        **{"BillingCurrency": "USD", "BillingAccountId": "0043", "SubAccountId": "sub-43", "ChargeCategory": "Usage"},
        **{"BillingPeriodStart": "2026-08-01T00:00:00Z", "BillingPeriodEnd": "2026-09-01T00:00:00Z"},
        **{"ConsumedUnit": "Hours", "PricingCategory": "Standard", "RegionId": "ap-south-1", "ProviderName": "AWS"},
        **{"ServiceCategory": "Compute", "ServiceName": "GPU cloud"},
        "SkuPriceDetails": '{"GpuCount": 1, "InstanceType": "x1"}',
    }
    rows = [
        # resource, start, end, hours, billed, effective, list and contracted cost
        ("i-a", "2026-08-19T09:00:00Z", "2026-08-19T10:00:00Z", "0.3", "0.37", "0.31", "0.71", "0.41"),
        ("i-a", "2026-08-19T08:00:00Z", "2026-08-19T12:00:00Z", "0", "0", "-0.13", "0", "0"),
        ("i-b", "2026-08-19T09:00:00Z", "2026-08-19T10:00:00Z", "1", "0", "1.7", "3.1", "2.1"),
        ("i-night", "2026-08-31T12:00:00Z", "2026-09-02T18:00:00Z", "54", "54", "27", "100", "72"),
    ]
    names = ("ResourceId", "ChargePeriodStart", "ChargePeriodEnd", "ConsumedQuantity")
    names += ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")
    folder.mkdir(parents=True)
    with open(folder / "part.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*line, *names])
        writer.writeheader()
        writer.writerows({**line, **dict(zip(names, row, strict=True))} for row in rows)


@pytest.fixture(scope="module")
def small_rows(small_home: Home) -> list[dict[str, str]]:
    return read(export_focus(small_home, "csv").path)


def read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def published(home: Home, sql: str) -> tuple:
    with duckdb.connect(str(home.published_file), read_only=True) as connection:
        [row] = connection.execute(sql).fetchall()
    return row


def published_sums(home: Home, sql: str) -> dict[tuple[str, ...], Decimal]:
    """Sums of the marts by key, the last column; without those that are 0."""
    with duckdb.connect(str(home.published_file), read_only=True) as connection:
        return {tuple(map(str, key)): cost for *key, cost in connection.execute(sql).fetchall() if cost}


def sums(
    rows: list[dict[str, str]], keys: tuple[str, ...], column: str, is_meant: Callable[[dict], bool]
) -> dict[tuple[str, ...], Decimal]:
    """Sums of the file by key, moments as dates; without those that are 0."""
    found: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for row in rows:
        if is_meant(row):
            found[tuple(row[key][:10] if key in MOMENTS else row[key] for key in keys)] += Decimal(row[column])
    return {key: cost for key, cost in found.items() if cost}


def is_on_a_bill(row: dict[str, str]) -> bool:
    return row["x_CostBasis"] != "metered" and row["x_IsProvisional"] == "false"


def total(rows: list[dict[str, str]], column: str, is_meant: Callable[[dict], bool] = lambda row: True) -> Decimal:
    return sum((Decimal(row[column]) for row in rows if is_meant(row)), Decimal(0))


def test_the_57_columns_of_focus_1_2_and_ours_have_their_types(small_home):
    path = export_focus(small_home, "parquet").path
    assert path == small_home.published / "exports" / "focus.parquet"
    kinds = dict(duckdb.execute(f"select column_name, column_type from (describe from '{quoted(path)}')").fetchall())
    decimals = COSTS | NULLABLE_DECIMALS
    focus = NEVER_NULL | NULLABLE_DECIMALS | NULLABLE_TEXTS
    assert len(focus) == 57
    assert set(kinds) == focus | OWN
    assert {name for name, kind in kinds.items() if kind == "DECIMAL(38,12)"} == decimals | {"x_CallAttempts"}
    assert {name for name, kind in kinds.items() if kind == "TIMESTAMP WITH TIME ZONE"} == MOMENTS
    assert kinds["x_IsProvisional"] == "BOOLEAN"


def quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def test_csv_and_parquet_hold_the_same_rows(small_home, small_rows):
    path = export_focus(small_home, "parquet").path
    rows = duckdb.execute(f"select BilledCost, ChargePeriodStart from '{quoted(path)}'").fetchall()
    assert [(cost, start.astimezone(UTC)) for cost, start in rows] == [
        (Decimal(row["BilledCost"]), datetime.fromisoformat(row["ChargePeriodStart"])) for row in small_rows
    ]


def test_texts_of_the_csv_are_no_formulas_and_those_of_parquet_are_as_they_are(small_home, small_rows, tmp_path):
    home = Home(tmp_path)
    home.published.mkdir()
    shutil.copyfile(small_home.published_file, home.published_file)
    with duckdb.connect(str(home.published_file)) as connection:
        connection.execute("update core.fct_call_attempts set team = '=1+1', task_type = '@SUM(A1)', model = '-x'")
    rows = read(export_focus(home, "csv").path)
    assert {row["x_Team"] for row in rows if row["x_TaskType"]} == {"'=1+1"}
    assert {row["x_TaskType"] for row in rows} == {"", "'@SUM(A1)"}
    texts = NULLABLE_TEXTS | {"ChargeDescription", "ProviderName", "ServiceName", "x_Team", "x_TaskType", "x_Model"}
    assert [row[name] for row in rows for name in texts if row[name].startswith(("=", "+", "-", "@"))] == []
    assert total(rows, "EffectiveCost") == total(small_rows, "EffectiveCost")
    path = export_focus(home, "parquet").path
    assert duckdb.execute(f"select distinct x_TaskType from '{quoted(path)}' order by 1").fetchall() == [
        ("@SUM(A1)",),
        (None,),
    ]


def test_words_times_and_json_are_those_of_focus(small_rows):
    for column, words in WORDS.items():
        assert {row[column] for row in small_rows} <= words | {""}, column
    for row in small_rows:
        for column in MOMENTS:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[column]), (column, row[column])
        assert row["ChargePeriodStart"] < row["ChargePeriodEnd"]
        assert row["BillingPeriodStart"] < row["BillingPeriodEnd"]
        for column in ("Tags", "SkuPriceDetails"):
            assert not row[column] or isinstance(json.loads(row[column]), dict)
    details = [json.loads(row["SkuPriceDetails"]) for row in small_rows if row["x_IdleState"] == "unknown"]
    assert {"GpuCount": 1, "InstanceType": "x1"} in details


def test_nulls_are_where_focus_allows_them(small_rows):
    assert len(small_rows) > 50
    for row in small_rows:
        assert not {column for column in NEVER_NULL if not row[column]}, row
        for part, whole in {
            "ConsumedUnit": "ConsumedQuantity",
            "PricingUnit": "PricingQuantity",
            "CommitmentDiscountUnit": "CommitmentDiscountQuantity",
            "CommitmentDiscountType": "CommitmentDiscountId",
            "ResourceType": "ResourceId",
            "RegionName": "RegionId",
            "SubAccountType": "SubAccountId",
        }.items():
            assert bool(row[part]) == bool(row[whole]), (part, row)
        if row["ChargeCategory"] != "Usage":
            assert not row["ConsumedQuantity"]
            assert not row["x_IdleState"]
        if row["ChargeCategory"] == "Tax":
            assert not row["SkuId"]
        if row["x_CostBasis"] != "billed" or row["x_IdleState"]:
            assert row["PricingCategory"]
            assert row["SkuId"]
            assert row["SkuPriceId"]
            assert bool(row["ConsumedQuantity"]) == (row["x_IdleState"] != "unused_commitment")


def test_the_dollars_are_those_of_the_marts(small_home, small_rows):
    metered, listed = published(
        small_home,
        "select sum(cost_usd), sum(list_cost_usd) from core.fct_call_attempts where cost_basis = 'metered'",
    )
    billed, effective = published(
        small_home,
        "select sum(billed_cost_usd), sum(effective_cost_usd) from core.fct_bill_lines "
        "where line_kind != 'model_charges'",
    )
    [invoices] = published(small_home, "select sum(invoice_usd) from quality.invoice_walk_monthly")
    [provisional] = published(
        small_home, "select coalesce(sum(effective_cost_usd), 0) from core.fct_gpu_hours where is_provisional"
    )
    gpus = published(
        small_home,
        "select sum(effective_cost_usd + unused_commitment_usd), sum(billed_cost_usd) from core.fct_gpu_hours",
    )
    assert metered > 0
    assert total(small_rows, "ListCost", lambda row: row["x_CostBasis"] == "metered") == listed
    assert total(small_rows, "BilledCost") == billed + metered == invoices + metered
    assert total(small_rows, "EffectiveCost") == effective + provisional + metered
    for column, gpu_usd in zip(("EffectiveCost", "BilledCost"), gpus, strict=True):
        assert total(small_rows, column, lambda row: bool(row["x_IdleState"])) == gpu_usd
    assert total(small_rows, "EffectiveCost", lambda row: row["ChargeCategory"] == "Tax") == Decimal("3.33")
    assert total(small_rows, "EffectiveCost", lambda row: row["ChargeCategory"] == "Credit") == Decimal("-1.11")


def test_each_account_and_billing_period_is_its_invoice(small_home, small_rows):
    key = ("BillingAccountId", "BillingPeriodStart")
    invoices = published_sums(
        small_home,
        "select billing_account_id, cast(billing_period_start as date), sum(invoice_usd) "
        "from quality.invoice_walk_monthly group by all",
    )
    assert {account for account, _ in invoices} == {"0042", "0043"}
    assert sums(small_rows, key, "BilledCost", is_on_a_bill) == invoices
    for column in ("effective_cost", "list_cost", "contracted_cost"):
        name = {"effective_cost": "EffectiveCost", "list_cost": "ListCost", "contracted_cost": "ContractedCost"}[column]
        assert sums(small_rows, key, name, is_on_a_bill) == published_sums(
            small_home,
            f"select billing_account_id, cast(billing_period_start as date), sum({column}) from core.fct_bill_lines "
            "where line_kind != 'model_charges' group by all",
        )


def test_each_account_has_its_gpus_of_each_day(small_home, small_rows):
    key = ("ChargePeriodStart", "BillingAccountId", "SubAccountId", "ResourceId")
    for column, name in {"billed_cost_usd": "BilledCost", "list_cost_usd": "ListCost"}.items():
        days = published_sums(
            small_home,
            "select days.usage_date, billing_account_id, coalesce(sub_account_id, ''), days.resource_id, "
            f"sum(days.{column}) from core.fct_gpu_line_days as days "
            "inner join core.fct_bill_lines as lines using (source, line_id) group by all",
        )
        assert len({account for _, account, _, resource in days if resource == "i-a"}) == 2
        assert sums(small_rows, key, name, lambda row: bool(row["x_IdleState"]) and is_on_a_bill(row)) == days


def test_each_machine_has_its_states_of_each_day(small_home, small_rows):
    found = sums(
        small_rows,
        ("ChargePeriodStart", "ResourceId", "x_IdleState"),
        "EffectiveCost",
        lambda row: bool(row["x_IdleState"]),
    )
    assert found == published_sums(
        small_home,
        "unpivot (select usage_date, resource_id, sum(active_usd - active_without_calls_usd) as active, "
        "sum(active_without_calls_usd) as active_without_calls, sum(loaded_idle_usd) as loaded_idle, "
        "sum(unallocated_usd) as unallocated, sum(unknown_usd) as unknown from core.fct_gpu_hours group by all) "
        "on columns(* exclude (usage_date, resource_id)) into name state value cost",
    )
    assert {resource for _, resource, state in found if state == "active"} >= {"i-a", "i-wide"}


def test_each_task_type_has_its_calls(small_home, small_rows):
    own = (
        "from core.fct_call_attempts where cost_basis = 'allocated' and cost_usd is not null "
        "group by usage_date, task_type, team"
    )
    key = ("ChargePeriodStart", "x_TaskType", "x_Team")

    def is_of_calls(row: dict[str, str]) -> bool:
        return row["x_CostBasis"] == "allocated" and bool(row["x_TaskType"])

    for measure, column in {
        "sum(cost_usd)": "EffectiveCost",
        "cast(count(*) as decimal(18, 0))": "x_CallAttempts",
        "sum(input_tokens + output_tokens)": "ConsumedQuantity",
    }.items():
        expected = published_sums(small_home, f"select usage_date, task_type, team, {measure} {own}")
        assert sums(small_rows, key, column, is_of_calls) == expected
    machines = {row["ResourceId"] for row in small_rows if is_of_calls(row)}
    assert machines >= {"i-a", "i-wide"}


def test_a_group_of_calls_is_one_row_a_machine_and_place(small_rows):
    told_by = (
        *("ChargePeriodStart", "ResourceId", "BillingAccountId", "SubAccountId", "InvoiceId", "BillingPeriodStart"),
        *("PricingCategory", "CommitmentDiscountId", "RegionId", "SkuPriceId", "ConsumedUnit", "x_Team", "x_TaskType"),
        *("x_IsProvisional", "x_Model", "ChargeDescription"),
    )
    keys = [tuple(row[name] for name in told_by) for row in small_rows if row["x_CostBasis"] == "allocated"]
    assert keys
    assert len(keys) == len(set(keys))


def test_month_after_month_adds_up_to_the_line(small_home, small_rows):
    """54 hours from noon of the month's last day: 12, 24 and 18 of them, at a list cost of 100 and at 72 contracted."""
    august = read(export_focus(small_home, "csv", dates=(date(2026, 8, 1), date(2026, 8, 31))).path)
    september = read(export_focus(small_home, "csv", dates=(date(2026, 9, 1), date(2026, 9, 30))).path)
    assert sorted(map(str, august + september)) == sorted(map(str, small_rows))

    def is_night(row: dict[str, str]) -> bool:
        return row["ResourceId"] == "i-night"

    for column, costs in {
        "BilledCost": ("12", "24", "18"),
        "EffectiveCost": ("6", "12", "9"),
        "ListCost": ("22.222222222222", "44.444444444445", "33.333333333333"),
        "ContractedCost": ("16", "32", "24"),
    }.items():
        days = sums(august + september, ("ChargePeriodStart",), column, is_night)
        for day, cost in zip(("2026-08-31", "2026-09-01", "2026-09-02"), costs, strict=True):
            assert abs(days[(day,)] - Decimal(cost)) < Decimal("1e-10"), (column, days)
        assert sum(days.values()) == sum(map(Decimal, costs))


def test_each_day_of_gpus_is_the_day_of_its_hours(small_home, small_rows):
    with duckdb.connect(str(small_home.published_file), read_only=True) as connection:
        days = connection.execute(
            "select usage_date, sum(active_usd - active_without_calls_usd), sum(active_without_calls_usd), "
            "sum(loaded_idle_usd), sum(unallocated_usd), sum(unknown_usd), sum(unused_commitment_usd) "
            "from core.fct_gpu_hours group by usage_date"
        ).fetchall()
    expected = {
        (str(day), state): cost
        for day, *costs in days
        for state, cost in zip(("active", *STATES), costs, strict=True)
        if cost
    }
    found: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in small_rows:
        if row["x_IdleState"]:
            found[row["ChargePeriodStart"][:10], row["x_IdleState"]] += Decimal(row["EffectiveCost"])
    assert {key: cost for key, cost in found.items() if cost} == expected
    assert {state for _, state in expected} >= {"active_without_calls", "unknown"}


def test_the_command_writes_where_it_is_told_and_says_what_it_left_out(small_home, tmp_path, monkeypatch):
    monkeypatch.setenv("PERTASK_HOME", str(small_home.root))
    path = tmp_path / "new" / "costs.csv"
    done = CliRunner().invoke(
        cli, ["export", "focus", "--from", "2026-08-20", "--to", "2026-08-21", "--output", str(path)]
    )
    assert done.exit_code == 0, done.output
    rows = read(path)
    assert f"wrote {path}: {len(rows):,} rows, {total(rows, 'BilledCost'):,.2f} USD billed" in done.output
    assert {row["ChargePeriodStart"][:10] for row in rows} == {"2026-08-20", "2026-08-21"}
    assert [file.name for file in path.parent.iterdir()] == ["costs.csv"]
    for wrong in (["--from", "2026-08-20"], ["--from", "2026-08-21", "--to", "2026-08-20"]):
        assert CliRunner().invoke(cli, ["export", "focus", *wrong]).exit_code == 2


def test_a_file_that_cannot_be_written_is_a_failure_and_no_wrong_usage(small_home, monkeypatch):
    with pytest.raises(ExportError, match=r"/proc/none/focus\.csv: was not written"):
        export_focus(small_home, "csv", output=Path("/proc/none/focus.csv"))
    monkeypatch.setenv("PERTASK_HOME", str(small_home.root))
    assert CliRunner().invoke(cli, ["export", "focus", "--output", "/proc/none/focus.csv"]).exit_code == 1


def test_without_a_publication_it_says_what_to_do(tmp_path):
    with pytest.raises(QueryError, match="nothing is published yet"):
        export_focus(Home(tmp_path), "csv")


@pytest.fixture
def by_hand(small_home, tmp_path) -> Home:
    """Two days by hand: one machine, calls past midnight, and one case of each thing that has a rule of its own."""
    home = Home(tmp_path / "home")
    home.published.mkdir(parents=True)
    shutil.copy(small_home.published_file, home.published_file)
    day_one, day_two = datetime(2026, 8, 1), datetime(2026, 8, 2)
    line = {
        **{"source": "cloud", "line_kind": "gpu_usage", "resource_id": "i-1", "purchase_mode": "committed"},
        **{"usd_per_unit": 1, "billing_account_id": "acct", "billing_currency": "USD", "gpu_count": 8},
        **{"billing_period_start": day_one, "billing_period_end": datetime(2026, 9, 1), "charge_category": "Usage"},
        **{"commitment_discount_id": "sp", "commitment_discount_type": "Plan", "instance_type": "p5.48xlarge"},
    }
    money = ("billed_cost_usd", "effective_cost_usd", "list_cost", "contracted_cost")
    day_money = ("billed_cost_usd", "effective_cost_usd", "list_cost_usd", "contracted_cost_usd")
    hour = {"gpu_key": "g", "resource_id": "i-1", "purchase_mode": "committed", "team": "ml", "gpu_model": "H100-80GB"}
    parts = ("active", "loaded_idle", "unallocated", "unknown")
    call = {"source": "gateway", "team": "ml", "task_type": "chat", "sample_weight": 1, "call_kind": "llm"}
    compared = {"provider": "bedrock", "basis": "cloud_bill", "billed_lines": 1, "unconverted_lines": 0}
    call |= {"service_tier": "standard", "is_provisional": False, "input_tokens": 90, "output_tokens": 10}

    def a_line(line_id: str, day: datetime, *amounts: object, **more: object) -> dict:
        dates = {"usage_date": day.date(), "charge_period_start": day, "charge_period_end": day.replace(hour=1)}
        return {**line, "line_id": line_id, **dates, **dict(zip(money, amounts, strict=True)), **more}

    def a_line_day(line_id: str, day: datetime, *amounts: object, **more: object) -> dict:
        key = {"source": "cloud", "line_id": line_id, "usage_date": day.date(), "line_kind": "gpu_usage"}
        key |= {"resource_id": "i-1", "purchase_mode": "committed", "billed_seconds": 3600}
        return {**key, **dict(zip(day_money, amounts, strict=True)), **more}

    def an_hour(day: datetime, billed: object, without_calls: object, *costs: object, **more: object) -> dict:
        states = {f"{part}_usd": cost for part, cost in zip(parts, costs, strict=True)}
        seconds = {f"{part}_seconds": 900 if cost else 0 for part, cost in zip(parts, costs, strict=True)}
        sums = {"effective_cost_usd": sum(costs) if None not in costs else None, "billed_cost_usd": billed}
        rest = {"active_without_calls_usd": without_calls, "unused_commitment_usd": 0, "is_provisional": False}
        return {**hour, "usage_date": day.date(), "hour_at": day, **states, **seconds, **sums, **rest, **more}

    rows = {
        "core.fct_bill_lines": [
            a_line("a", day_one, 10, 8, 12, 10),
            a_line("b", day_two, 5, 4, 6, 5),
            a_line("u", day_two, 0, Decimal("0.7"), 0, 0, line_kind="unused_commitment", resource_id=None),
            a_line("m", day_one, 5, 5, 5, 5, line_kind="model_charges", resource_id=None),
            a_line("x", day_one, None, None, 5, 5, line_kind="other", usd_per_unit=None),
        ],
        "core.fct_gpu_line_days": [
            a_line_day("a", day_one, 10, 8, 12, 10),
            a_line_day("b", day_two, 5, 4, 6, 5),
            a_line_day("u", day_two, 0, Decimal("0.7"), 0, 0, line_kind="unused_commitment", resource_id=None),
        ],
        "core.fct_gpu_hours": [
            an_hour(day_one, 10, 1, 4, 2, 1, 1),
            an_hour(day_two, 5, 2, 4, 0, 0, 0),
            an_hour(day_two, None, 0, 0, 0, 0, 1, gpu_key="late", resource_id="i-2", is_provisional=True),
            an_hour(day_two, None, None, None, None, None, None, gpu_key="no rate"),
            an_hour(day_two, 0, 0, 0, 0, 0, 0, gpu_key="unused: sp", resource_id=None, unused_commitment_usd=0.7),
        ],
        "core.fct_call_attempts": [
            {**call, "call_id": "c1", "usage_date": day_one.date(), "cost_basis": "allocated", "model": "llama"}
            | {"cost_usd": Decimal("3.5")},
            {**call, "call_id": "c2", "usage_date": day_two.date(), "cost_basis": "allocated", "model": "llama"}
            | {"cost_usd": Decimal("1.5")},
            {**call, "call_id": "c3", "usage_date": day_one.date(), "cost_basis": "metered", "model": "gpt"}
            | {"provider": "openai", "sample_weight": 10, "cost_usd": Decimal("0.1"), "list_cost_usd": Decimal("0.2")},
            {**call, "call_id": "c4", "usage_date": day_one.date(), "cost_basis": "unpriced", "model": "gpt"},
            {**call, "call_id": "c5", "usage_date": day_one.date(), "cost_basis": "duplicate", "model": "gpt"},
        ],
        "quality.bill_reconciliation_daily": [
            {**compared, "usage_date": day_one.date(), "model": "claude", "billed_usd": 3, "priced_usd": 4},
            {**compared, "usage_date": day_one.date(), "model": "nova", "billed_usd": 2, "priced_usd": 0},
            {**compared, "usage_date": day_two.date(), "model": "nova", "billed_usd": 0, "priced_usd": 9}
            | {"billed_lines": 0},
            {**compared, "usage_date": day_one.date(), "model": "nova", "billed_usd": 8, "basis": "vendor_report"},
        ],
        "quality.invoice_walk_monthly": [
            {"source": "cloud", "billing_account_id": "acct", "billing_period_start": day_one, "other_usd": 2}
            | {"billing_currency": "USD"},
        ],
    }
    with duckdb.connect(str(home.published_file)) as connection:
        for table, table_rows in rows.items():
            connection.execute(f"delete from {table}")
            for row in table_rows:
                marks = ", ".join("?" * len(row))
                connection.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", list(row.values()))
    return home


def test_two_days_by_hand(by_hand):
    """The machine costs 8 and 4 effective, 10 and 5 billed, 12 and 6 by list: 1.25 billed and 1.5 listed per dollar.

    Of day one's 4 active dollars 3 are for calls, of day two's 4 dollars 2. c1 costs 3.5, of which 0.5 fell on day two,
    c2 1.5: -0.5 on day one and +0.5 on day two make the days add up. What day two bills for calls, 2.5, is shared 3
    to 1.
    """
    done = export_focus(by_hand, "csv")
    rows = read(done.path)
    columns = ("ChargePeriodStart", "x_IdleState", "x_Team", "EffectiveCost", "BilledCost", "ListCost")
    found = sorted(
        (day[8:10], state, team, *(Decimal(cost) for cost in costs))
        for day, state, team, *costs in ([row[column] for column in columns] for row in rows)
    )
    expected = [
        ("01", "", "", "2", "0", "0"),
        ("01", "", "ml", "1", "1", "2"),
        ("01", "active", "", "-0.5", "0", "0"),
        ("01", "active", "ml", "3.5", "3.75", "4.5"),
        ("01", "active_without_calls", "ml", "1", "1.25", "1.5"),
        ("01", "loaded_idle", "ml", "2", "2.5", "3"),
        ("01", "unallocated", "ml", "1", "1.25", "1.5"),
        ("01", "unknown", "ml", "1", "1.25", "1.5"),
        ("02", "active", "", "0.5", "0.625", "0.75"),
        ("02", "active", "ml", "1.5", "1.875", "2.25"),
        ("02", "active_without_calls", "ml", "2", "2.5", "3"),
        ("02", "unknown", "ml", "1", "0", "1"),
        ("02", "unused_commitment", "ml", "0.7", "0", "0"),
    ]
    assert found == [(day, state, team, *map(Decimal, costs)) for day, state, team, *costs in expected]
    assert (done.unpriced_attempts, done.unconverted_lines, done.unconverted_hours) == (1, 1, 0)
    assert (done.model_charge_lines, done.model_charges_usd, done.unlogged_charges_usd) == (1, 5, 2)
    assert (done.billed_cost_usd, done.effective_cost_usd) == (10 + 5 + 1, 8 + 4 + 1 + Decimal("0.7") + 1 + 2)


def test_the_command_says_which_tokens_no_log_has(by_hand, monkeypatch):
    monkeypatch.setenv("PERTASK_HOME", str(by_hand.root))
    said = CliRunner().invoke(cli, ["export", "focus"]).output
    assert "left out: 1 bill lines of 5.00 USD for tokens, of which the metered calls have 3.00 USD already" in said
    assert "no log has 2.00 USD of those tokens" in said
    [query] = re.findall(r"`(pertask query .*)`", said)
    answer = CliRunner().invoke(cli, [*shlex.split(query)[1:], "--format", "csv"]).output.splitlines()
    assert [line.split(",")[:4] for line in answer[1:]] == [["2026-08-01", "bedrock", "nova", "2.000000000000"]]
    with duckdb.connect(str(by_hand.published_file)) as connection:
        connection.execute("delete from quality.bill_reconciliation_daily where priced_usd = 0")
    assert "no log has" not in CliRunner().invoke(cli, ["export", "focus"]).output


def test_a_machine_on_two_bills_by_hand(by_hand):
    """Day one's 8 dollars are on two bills, 6 and 2, and so is every state: of 3 for calls 2.25 and 0.75.

    c1's 3.5 are 2.625 and 0.875, which is 0.375 and 0.125 more than the day's hours have. The second bill asks for 4,
    half a dollar for each 0.25, and lists 1.
    """
    with duckdb.connect(str(by_hand.published_file)) as connection:
        connection.execute("update core.fct_gpu_line_days set effective_cost_usd = 6 where line_id = 'a'")
        for table in ("core.fct_bill_lines", "core.fct_gpu_line_days"):
            connection.execute(f"create temp table copied as select * from {table} where line_id = 'a'")
            connection.execute("update copied set line_id = 'other', billed_cost_usd = 4, effective_cost_usd = 2")
            if table == "core.fct_bill_lines":
                connection.execute("update copied set billing_account_id = 'other', billing_account_name = 'The other'")
            else:
                connection.execute("update copied set list_cost_usd = 1")
            connection.execute(f"insert into {table} select * from copied")
            connection.execute("drop table copied")
    rows = [row for row in read(export_focus(by_hand, "csv").path) if row["ChargePeriodStart"][8:10] == "01"]
    columns = ("BillingAccountId", "x_IdleState", "x_TaskType", "EffectiveCost", "BilledCost", "ListCost")
    found = sorted(
        (account, state, task, *(Decimal(cost) for cost in costs))
        for account, state, task, *costs in ([row[column] for column in columns] for row in rows if row["x_IdleState"])
    )
    expected = [
        ("acct", "active", "", "-0.375", "0", "0"),
        ("acct", "active", "chat", "2.625", "3.75", "4.5"),
        ("acct", "active_without_calls", "", "0.75", "1.25", "1.5"),
        ("acct", "loaded_idle", "", "1.5", "2.5", "3"),
        ("acct", "unallocated", "", "0.75", "1.25", "1.5"),
        ("acct", "unknown", "", "0.75", "1.25", "1.5"),
        ("other", "active", "", "-0.125", "0", "0"),
        ("other", "active", "chat", "0.875", "1.5", "0.375"),
        ("other", "active_without_calls", "", "0.25", "0.5", "0.125"),
        ("other", "loaded_idle", "", "0.5", "1", "0.25"),
        ("other", "unallocated", "", "0.25", "0.5", "0.125"),
        ("other", "unknown", "", "0.25", "0.5", "0.125"),
    ]
    assert found == [(account, state, task, *map(Decimal, costs)) for account, state, task, *costs in expected]
    hours = sums(rows, ("x_IdleState",), "ConsumedQuantity", lambda row: row["ConsumedUnit"] == "GPU-Hours")
    assert hours == {
        ("active_without_calls",): Decimal("0.0625"),
        **dict.fromkeys([("loaded_idle",), ("unallocated",), ("unknown",)], Decimal("0.25")),
    }
    assert {row["BillingAccountName"] for row in rows if row["BillingAccountId"] == "other"} == {"The other"}


def test_calls_of_a_day_without_gpus_are_on_no_machine(by_hand):
    with duckdb.connect(str(by_hand.published_file)) as connection:
        connection.execute("delete from core.fct_gpu_hours where usage_date = date '2026-08-01'")
    rows = [row for row in read(export_focus(by_hand, "csv").path) if row["ChargePeriodStart"][8:10] == "01"]
    own = [row for row in rows if row["x_CostBasis"] == "allocated"]
    assert sorted(Decimal(row["EffectiveCost"]) for row in own) == [Decimal("-3.5"), Decimal("3.5")]
    assert {(row["BillingAccountId"], row["ResourceId"]) for row in own} == {("self-hosted", "")}


def test_what_rows_by_hand_say_of_themselves(by_hand):
    rows = read(export_focus(by_hand, "csv").path)
    [metered] = [row for row in rows if row["x_CostBasis"] == "metered"]
    assert (metered["SkuPriceId"], metered["x_CallAttempts"], metered["ConsumedQuantity"], metered["ConsumedUnit"]) == (
        "openai/gpt/standard",
        "10.000000000000",
        "1000.000000000000",
        "Tokens",
    )
    assert json.loads(metered["Tags"]) == {"team": "ml", "task_type": "chat"}
    [unused] = [row for row in rows if row["x_IdleState"] == "unused_commitment"]
    assert (unused["CommitmentDiscountId"], unused["CommitmentDiscountStatus"]) == ("sp", "Unused")
    assert (unused["ConsumedQuantity"], unused["PricingQuantity"], unused["ResourceId"]) == ("", "", "")
    [provisional] = [row for row in rows if row["x_IsProvisional"] == "true"]
    assert (provisional["ResourceId"], provisional["BilledCost"]) == ("i-2", "0.000000000000")
    idle = next(row for row in rows if row["x_IdleState"] == "loaded_idle")
    assert (idle["CommitmentDiscountStatus"], idle["PricingCategory"], idle["ResourceId"]) == (
        "Used",
        "Committed",
        "i-1",
    )
    assert (idle["ConsumedQuantity"], idle["ConsumedUnit"]) == ("0.250000000000", "GPU-Hours")
    called = next(row for row in rows if row["x_TaskType"] == "chat" and row["x_IdleState"] == "active")
    assert [called[column] for column in ("ResourceId", "BillingAccountId", "SkuId", "PricingCategory")] == [
        *("i-1", "acct", "self-hosted/llama", "Committed"),
    ]
    assert (called["CommitmentDiscountId"], called["ProviderName"]) == ("sp", "cloud")
    assert json.loads(idle["SkuPriceDetails"]) == {
        "GpuCount": 8,
        "InstanceType": "p5.48xlarge",
        "x_GpuModel": "H100-80GB",
    }


def test_a_day_alone_has_the_rows_that_it_has_among_all(by_hand):
    everything = read(export_focus(by_hand, "csv").path)
    day = read(export_focus(by_hand, "csv", dates=(date(2026, 8, 2), date(2026, 8, 2))).path)
    assert day == [row for row in everything if row["ChargePeriodStart"].startswith("2026-08-02")]
    assert len(day) == 5


def test_a_sum_that_does_not_divide_is_kept_to_the_last_digit(by_hand):
    with duckdb.connect(str(by_hand.published_file)) as connection:
        connection.execute(
            "update core.fct_gpu_hours set billed_cost_usd = 10.000000000001, active_usd = 3, "
            "active_without_calls_usd = 3, loaded_idle_usd = 3, unallocated_usd = 3, unknown_usd = 0, "
            "effective_cost_usd = 9 where gpu_key = 'g' and usage_date = date '2026-08-01'"
        )
        connection.execute(
            "update core.fct_gpu_line_days set billed_cost_usd = 10.000000000001, effective_cost_usd = 9 "
            "where line_id = 'a'"
        )
        connection.execute("delete from core.fct_call_attempts where cost_basis = 'allocated'")
    rows = [row for row in read(export_focus(by_hand, "csv").path) if row["ChargePeriodStart"][8:10] == "01"]
    thirds = [row["BilledCost"] for row in rows if row["x_IdleState"] in STATES and Decimal(row["EffectiveCost"])]
    assert sorted(thirds) == ["3.333333333333", "3.333333333334", "3.333333333334"]
