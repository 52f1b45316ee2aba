"""The FOCUS project's sample of real, anonymised bills: 1,000 rows of three providers, 13 of them negative."""

from __future__ import annotations

import csv
from collections import defaultdict
from decimal import Decimal

from tests.realdata.conftest import Home


def test_billed_cost_is_the_files_own_sum_by_provider_period_and_category(home: Home, real_data):
    path = real_data / "focus_sample_1_0" / "focus_sample.csv"
    expected: dict[tuple, Decimal] = defaultdict(Decimal)
    negative = 0
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = row["ProviderName"], row["BillingPeriodStart"][:10], row["ChargeCategory"]
            expected[key] += Decimal(row["BilledCost"])
            negative += Decimal(row["BilledCost"]) < 0

    home.run("ingest", path, "--format", "focus", "--source", "focus_sample")
    home.run("build")
    home.run("publish")
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
