"""The FOCUS project's sample of real, anonymised bills: 1,000 rows of three providers, 13 of them negative."""

from __future__ import annotations

import csv
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from tests.realdata.conftest import Home


@pytest.fixture(scope="module")
def path(home: Home, real_data: Path) -> Path:
    """The file, after it has gone through the whole product."""
    path = real_data / "focus_sample_1_0" / "focus_sample.csv"
    home.run("ingest", path, "--format", "focus", "--source", "focus_sample")
    home.publish()
    return path


def test_billed_cost_is_the_files_own_sum_by_provider_period_and_category(home: Home, path):
    expected: dict[tuple, Decimal] = defaultdict(Decimal)
    negative = 0
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = row["ProviderName"], row["BillingPeriodStart"][:10], row["ChargeCategory"]
            expected[key] += Decimal(row["BilledCost"])
            negative += Decimal(row["BilledCost"]) < 0

    rows = home.query(
        """
        select provider_name, cast(cast(billing_period_start as date) as varchar) as period, charge_category,
            sum(billed_cost) as billed_cost, count(*) as lines, count(*) filter (where billed_cost < 0) as negative
        from core.fct_bill_lines group by 1, 2, 3
        """
    )
    found = {
        (row["provider_name"], row["period"], row["charge_category"]): Decimal(str(row["billed_cost"])) for row in rows
    }
    assert {key: value.quantize(Decimal("1e-12")) for key, value in found.items()} == {
        key: value.quantize(Decimal("1e-12")) for key, value in expected.items()
    }
    assert sum(row["lines"] for row in rows) == 1000
    assert sum(row["negative"] for row in rows) == negative == 13
    (walk,) = home.query("select sum(invoice_usd) as invoice_usd from quality.invoice_walk_monthly")
    assert Decimal(str(walk["invoice_usd"])).quantize(Decimal("1e-6")) == sum(expected.values()).quantize(
        Decimal("1e-6")
    )


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("ChargeCategory", "charge_category"),
        ("ServiceName", "service_name"),
        ("ServiceCategory", "service_category"),
        ("ProviderName", "provider_name"),
        ("PublisherName", "publisher_name"),
        ("InvoiceIssuerName", "invoice_issuer_name"),
        ("CommitmentDiscountStatus", "commitment_discount_status"),
    ],
)
def test_every_amount_is_the_files_own_sum(home: Home, path, name, column):
    amounts = {"BilledCost": "billed_cost", "EffectiveCost": "effective_cost"}
    amounts |= {"ListCost": "list_cost", "ContractedCost": "contracted_cost"}
    expected: dict[str | None, list[Decimal]] = defaultdict(lambda: [Decimal(0)] * (len(amounts) + 1))
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = None if row[name] == "NULL" else row[name]
            # seven rows of one vendor have no contracted cost; the product keeps 12 digits of each amount
            costs = [Decimal(0 if row[amount] == "NULL" else row[amount]) for amount in amounts]
            costs = [cost.quantize(Decimal("1e-12"), ROUND_HALF_UP) for cost in costs]
            expected[key] = [total + more for total, more in zip(expected[key], [*costs, 1], strict=True)]
    sums = ", ".join(f"cast(sum({amount}) as varchar) as {amount}" for amount in amounts.values())
    rows = home.query(f"select {column} as name, {sums}, count(*) as lines from core.fct_bill_lines group by 1")
    found = {row["name"]: [*(Decimal(row[a] or 0) for a in amounts.values()), Decimal(row["lines"])] for row in rows}
    assert found == expected
