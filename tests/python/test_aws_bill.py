"""An AWS report through the whole build: what its lines become, and that all of the invoice is explained."""

from __future__ import annotations

import os
from collections.abc import Iterator
from decimal import Decimal

import duckdb
import pytest

from pertask.home import Home
from tests.python.building import build, ingest_sources
from tests.python.ingest.formats.test_aws_cur import CAPACITY, FEE, UNUSED, aws_line, commitment_line, covered, plan_fee
from tests.python.ingest.helpers import write_csv

MONTH = {
    "line_item_usage_start_date": "2026-08-01T00:00:00.000Z",
    "line_item_usage_end_date": "2026-09-01T00:00:00.000Z",
}
G6 = {"product_instance_type": "", "line_item_usage_type": "APS3-SpotUsage:g6.xlarge", "line_item_resource_id": "i-g6"}
G5 = {
    "product_instance_type": "g5.xlarge",
    "line_item_usage_type": "BoxUsage:g5.xlarge",
    "line_item_resource_id": "i-g5",
}
BEDROCK = {
    "product": "",
    "product_instance_type": "",
    "product_servicecode": "AmazonBedrock",
    "line_item_product_code": "AmazonBedrock",
    "line_item_usage_type": "USE1-Claude4Sonnet-input-tokens",
    "pricing_unit": "1K tokens",
}
LINES = [
    aws_line(),
    *covered("55.04", "33", line_item_resource_id="i-plan"),
    plan_fee("40", "33"),
    aws_line(**G6, line_item_usage_amount="0.5", line_item_unblended_cost="0.5"),
    aws_line("DiscountedUsage", **G5, **FEE, line_item_unblended_cost="0", reservation_effective_cost="2.75"),
    commitment_line("RIFee", "100", **MONTH, **UNUSED),
    commitment_line("Fee", "5000", **FEE),
    aws_line(line_item_usage_type="UnusedBox:p5.48xlarge", line_item_resource_id=CAPACITY),
    # the same hours again, or beside them
    aws_line(line_item_usage_type="Reservation:p5.48xlarge", line_item_unblended_cost="0"),
    aws_line(line_item_usage_type="EBSOptimized:p5.48xlarge", line_item_unblended_cost="0"),
    aws_line(line_item_operation="EKSPod-EC2", line_item_unblended_cost="0"),
    aws_line(**BEDROCK, line_item_usage_amount="5000", line_item_unblended_cost="12.5"),
    commitment_line("Tax", "3.3", **MONTH),
    commitment_line("Credit", "-5"),
    commitment_line("Refund", "-9"),
]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A build over two deliveries of one open month, of which the newer comes first by name."""
    home = Home(tmp_path_factory.mktemp("home"))
    home.company.mkdir()
    home.config_file.write_text("sources:\n  aws: {path: landing/aws, format: aws_cur}\n", encoding="utf-8")
    older = [aws_line(line_item_unblended_cost="999"), aws_line(line_item_resource_id="i-gone")]
    for name, lines, delivered in (("a", LINES, 1787000000), ("b", older, 1786900000)):
        path = write_csv(home.landing / "aws" / name / "part.csv", lines)
        os.utime(path, (delivered, delivered))
    ingest_sources(home)
    build(home)
    connection = duckdb.connect(str(home.warehouse_file), read_only=True)
    yield connection
    connection.close()


def test_the_newer_delivery_of_an_open_month_is_what_counts(warehouse):
    found = warehouse.execute("select count(*), count(*) filter (resource_id = 'i-gone') from core.fct_bill_lines")
    assert found.fetchone() == (len(LINES) - 1, 0)


def test_every_dollar_of_the_invoice_has_its_place(warehouse):
    """By hand: invoice 55.04 + 0 + 40 + 0.5 + 0 + 100 + 5000 + 55.04 + 12.5 + 3.3 - 5 - 9."""
    walk = warehouse.execute(
        """
        select active_usd + loaded_idle_usd + unallocated_usd + unknown_usd, unused_commitment_usd, model_charges_usd,
            other_usd, tax_usd, credits_usd, refunds_usd, commitment_timing_usd, unexplained_usd, invoice_usd
        from quality.invoice_walk_monthly
        """
    ).fetchall()
    assert walk == [
        tuple(
            map(
                Decimal,
                (
                    # on demand, under the plan, spot, reserved
                    "91.29",
                    # what the plan, the capacity reservation and the reserved instances left unused
                    "64.04",
                    "12.5",
                    "0",
                    "3.3",
                    "-5",
                    "-9",
                    # (55.04 - 33) - 55.04 + (40 - 7) + (100 - 2) + (0 - 2.75) + 5000
                    "5095.25",
                    "0",
                    "5252.38",
                ),
            )
        )
    ]


def test_the_hours_of_gpus_are_counted_once_and_by_how_they_were_bought(warehouse):
    hours = warehouse.execute(
        """
        select purchase_mode, gpu_model, sum(billed_seconds), sum(effective_cost_usd)
        from core.fct_gpu_hours where billed_seconds > 0 group by all order by all
        """
    ).fetchall()
    assert hours == [
        ("committed", "A10G-24GB", Decimal(3600), Decimal("2.75")),
        ("committed", "H100-SXM-80GB", Decimal(8 * 3600), Decimal(33)),
        ("on_demand", "H100-SXM-80GB", Decimal(8 * 3600), Decimal("55.04")),
        ("spot", "L4-24GB", Decimal(1800), Decimal("0.5")),
    ]
