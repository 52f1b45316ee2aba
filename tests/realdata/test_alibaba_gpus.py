"""123 serving pods of Alibaba's 2026 trace: 57-second duty-cycle samples, billed for the sampled seconds at $2.00/h."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.realdata.conftest import MAPPINGS, Home

STEP_SECONDS = 57
USD_PER_HOUR = Decimal("2.00")


def write_bill(trace: Path, path: Path) -> None:
    """One FOCUS line per pod over the span of its samples, with the sampled seconds as consumed quantity."""
    times: dict[str, list[float]] = defaultdict(list)
    with gzip.open(trace, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            times[row["container_ip"]].append(float(row["timestamp_anon"]))
    with open(path, "w", newline="", encoding="utf-8") as file:
        names = [
            "BilledCost",
            "EffectiveCost",
            "ListCost",
            "ContractedCost",
            "BillingCurrency",
            "ChargePeriodStart",
            "ChargePeriodEnd",
            "BillingPeriodStart",
            "BillingPeriodEnd",
            "ChargeCategory",
            "ConsumedQuantity",
            "ConsumedUnit",
            "PricingQuantity",
            "PricingUnit",
            "PricingCategory",
            "ResourceId",
            "RegionId",
            "ServiceCategory",
            "ServiceName",
            "ProviderName",
            "BillingAccountId",
            "SkuPriceDetails",
        ]
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for pod, seconds in sorted(times.items()):
            start = datetime.fromtimestamp(min(seconds), UTC)
            end = datetime.fromtimestamp(max(seconds), UTC) + timedelta(seconds=STEP_SECONDS)
            hours = Decimal(len(seconds) * STEP_SECONDS) / 3600
            cost = (hours * USD_PER_HOUR).quantize(Decimal("1e-12"))
            period = start.replace(day=1, hour=0, minute=0, second=0)
            writer.writerow(
                {
                    **dict.fromkeys(("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"), cost),
                    "BillingCurrency": "USD",
                    "ChargePeriodStart": f"{start:%Y-%m-%dT%H:%M:%SZ}",
                    "ChargePeriodEnd": f"{end:%Y-%m-%dT%H:%M:%SZ}",
                    "BillingPeriodStart": f"{period:%Y-%m-%dT%H:%M:%SZ}",
                    "BillingPeriodEnd": f"{(period + timedelta(days=32)).replace(day=1):%Y-%m-%dT%H:%M:%SZ}",
                    "ChargeCategory": "Usage",
                    "ConsumedQuantity": hours.quantize(Decimal("1e-12")),
                    "ConsumedUnit": "Hours",
                    "PricingQuantity": hours.quantize(Decimal("1e-12")),
                    "PricingUnit": "Hours",
                    "PricingCategory": "Standard",
                    "ResourceId": pod,
                    "RegionId": "cn-test",
                    "ServiceCategory": "Compute",
                    "ServiceName": "GPU",
                    "ProviderName": "test",
                    "BillingAccountId": "1",
                    "SkuPriceDetails": '{"GpuCount": 1}',
                }
            )


@pytest.fixture(scope="module", autouse=True)
def built(home: Home, real_data, tmp_path_factory) -> None:
    """The trace and its bill in the marts."""
    trace = real_data / "alibaba_genai_2026" / "pod_gpu_duty_cycle_anon.dev.csv.gz"
    bill = tmp_path_factory.mktemp("bill") / "bill.csv"
    write_bill(trace, bill)
    home.run(
        "ingest",
        trace,
        *("--format", "mapping", "--mapping", MAPPINGS / "alibaba_gpu.yml", "--source", "pods"),
    )
    home.run("ingest", bill, "--format", "focus", "--source", "bill")
    home.publish()


def test_idle_dollars_are_the_unused_share_of_what_was_paid(home: Home):
    (row,) = home.query(
        """
        select sum(effective_cost_usd) as paid, sum(idle_usd) as idle, sum(active_usd) as active,
            sum(unknown_usd) as unknown
        from capacity.idle_dollars_daily
        """
    )
    assert float(row["paid"]) == pytest.approx(2999.59, abs=0.01)
    assert float(row["idle"]) == pytest.approx(2687.55, abs=0.01)
    assert float(row["unknown"]) == pytest.approx(0, abs=0.01)
    assert float(row["active"]) + float(row["idle"]) + float(row["unknown"]) == pytest.approx(
        float(row["paid"]), abs=1e-6
    )


def test_a_pod_that_came_late_is_not_idle_before_it_came(home: Home):
    (row,) = home.query(
        """
        select count(distinct resource_id) as pods, sum(billed_seconds) as billed_seconds
        from core.fct_gpu_hours
        """
    )
    assert row["pods"] == 123
    assert float(row["billed_seconds"]) == pytest.approx(94_724 * STEP_SECONDS, abs=1)
