"""AWS Cost and Usage Reports: both generations, what each type of line costs, commitments, parts and deliveries."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.lake import Lake
from ingest.runner import IngestRequest, ingest
from tests.python.ingest.helpers import bill_line, bring, write_csv

PLAN = "arn:aws:savingsplans::000123456789:savingsplan/sp-1"
RESERVATION = "arn:aws:ec2:us-east-1:000123456789:reserved-instances/ri-1"
CAPACITY = "arn:aws:ec2:us-east-1:000123456789:capacity-reservation/cr-1"


def aws_line(kind: str = "Usage", **changes: object) -> dict[str, object]:
    """A line of CUR 2.0: an hour of an instance with eight GPUs, on demand, less a private discount of none."""
    return {
        "identity_line_item_id": "abc123",
        "bill_bill_type": "Anniversary",
        "bill_billing_period_start_date": "2026-08-01T00:00:00.000Z",
        "bill_billing_period_end_date": "2026-09-01T00:00:00.000Z",
        "bill_invoice_id": "",
        "bill_payer_account_id": "000123456789",
        "line_item_line_item_type": kind,
        "line_item_usage_account_id": "000000000042",
        "line_item_usage_start_date": "2026-08-05T09:00:00.000Z",
        "line_item_usage_end_date": "2026-08-05T10:00:00.000Z",
        "line_item_product_code": "AmazonEC2",
        "line_item_usage_type": "BoxUsage:p5.48xlarge",
        "line_item_operation": "RunInstances",
        "line_item_resource_id": "i-0abc",
        "line_item_usage_amount": "1.0",
        "line_item_currency_code": "USD",
        "line_item_unblended_rate": "55.04",
        "line_item_unblended_cost": "55.04",
        "line_item_line_item_description": "$55.04 per On Demand Linux p5.48xlarge Instance Hour",
        "pricing_term": "OnDemand",
        "pricing_unit": "Hrs",
        "pricing_public_on_demand_cost": "55.04",
        "pricing_public_on_demand_rate": "55.04",
        "product_instance_type": "p5.48xlarge",
        "product_region_code": "us-east-1",
        "product_servicecode": "AmazonEC2",
        "product": {"product_name": "Amazon Elastic Compute Cloud", "gpu": "8"},
        "resource_tags": {"user_team": "support", "aws_createdBy": "me"},
        **changes,
    }


def plan_fee(total: str, used: str, **changes: object) -> dict[str, object]:
    """An hour of a savings plan's recurring fee, in which so much of the commitment was used."""
    return commitment_line(
        "SavingsPlanRecurringFee",
        total,
        savings_plan_savings_plan_a_r_n=PLAN,
        savings_plan_total_commitment_to_date=total,
        savings_plan_used_commitment=used,
        **changes,
    )


def covered(on_demand: str, effective: str, **changes: object) -> list[dict[str, object]]:
    """Usage that a savings plan covers: billed at the on-demand price, which the negation takes back."""
    plan = {"savings_plan_savings_plan_a_r_n": PLAN, "line_item_unblended_cost": on_demand, **changes}
    return [
        aws_line("SavingsPlanCoveredUsage", **plan, savings_plan_savings_plan_effective_cost=effective),
        aws_line("SavingsPlanNegation", **{**plan, "line_item_unblended_cost": f"-{on_demand}"}),
    ]


def commitment_line(kind: str, billed: str, **changes: object) -> dict[str, object]:
    """A line of what a commitment costs: of no machine's own."""
    nothing = dict.fromkeys(("product_instance_type", "line_item_resource_id", "pricing_public_on_demand_cost"), "")
    return aws_line(kind, **nothing, **{"line_item_usage_type": "", "line_item_unblended_cost": billed, **changes})


@pytest.fixture
def one_line(tmp_path, lake_rows):
    """Ingest a report of one line and return the named columns of it."""

    def columns(names: str, line: dict[str, object]) -> tuple:
        result = bring(tmp_path, write_csv(tmp_path / "bill" / "part.csv", [line]))
        assert result.format == "aws_cur"
        assert result.rows_loaded == 1, lake_rows("quarantined_rows", "column_name, reason")
        return lake_rows("bill_lines", names)[0]

    return columns


# Both generations, every kind of file

LEGACY = {
    "identity_line_item_id": "identity/LineItemId",
    "bill_bill_type": "bill/BillType",
    "bill_billing_period_start_date": "bill/BillingPeriodStartDate",
    "bill_billing_period_end_date": "bill/BillingPeriodEndDate",
    "bill_invoice_id": "bill/InvoiceId",
    "bill_payer_account_id": "bill/PayerAccountId",
    "line_item_line_item_type": "lineItem/LineItemType",
    "line_item_usage_account_id": "lineItem/UsageAccountId",
    "line_item_usage_start_date": "lineItem/UsageStartDate",
    "line_item_usage_end_date": "lineItem/UsageEndDate",
    "line_item_product_code": "lineItem/ProductCode",
    "line_item_usage_type": "lineItem/UsageType",
    "line_item_operation": "lineItem/Operation",
    "line_item_resource_id": "lineItem/ResourceId",
    "line_item_usage_amount": "lineItem/UsageAmount",
    "line_item_currency_code": "lineItem/CurrencyCode",
    "line_item_unblended_rate": "lineItem/UnblendedRate",
    "line_item_unblended_cost": "lineItem/UnblendedCost",
    "line_item_line_item_description": "lineItem/LineItemDescription",
    "pricing_term": "pricing/term",
    "pricing_unit": "pricing/unit",
    "pricing_public_on_demand_cost": "pricing/publicOnDemandCost",
    "pricing_public_on_demand_rate": "pricing/publicOnDemandRate",
    "product_instance_type": "product/instanceType",
    "product_region_code": "product/regionCode",
    "product_servicecode": "product/servicecode",
    "savings_plan_savings_plan_a_r_n": "savingsPlan/SavingsPlanARN",
    "savings_plan_savings_plan_effective_cost": "savingsPlan/SavingsPlanEffectiveCost",
    "savings_plan_total_commitment_to_date": "savingsPlan/TotalCommitmentToDate",
    "savings_plan_used_commitment": "savingsPlan/UsedCommitment",
    "reservation_reservation_a_r_n": "reservation/ReservationARN",
    "reservation_effective_cost": "reservation/EffectiveCost",
    "reservation_unused_amortized_upfront_fee_for_billing_period": (
        "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod"
    ),
    "reservation_unused_recurring_fee": "reservation/UnusedRecurringFee",
}
"""Names of CUR 2.0 and what the legacy report calls them."""


def as_export(folder: Path, lines: list[dict]) -> None:
    write_csv(folder / "part.csv", lines)


def as_typed_export(folder: Path, lines: list[dict]) -> None:
    names = dict.fromkeys(name for line in lines for name in line)
    columns = {name: [line.get(name) or None for line in lines] for name in names}
    for name in columns:
        if name.endswith(("start_date", "end_date")):
            columns[name] = [datetime.fromisoformat(text) for text in columns[name]]
        elif name in ("product", "resource_tags"):
            columns[name] = pa.array([list(entries.items()) for entries in columns[name]], pa.map_("string", "string"))
        elif name.endswith(("cost", "amount", "rate", "fee", "commitment", "commitment_to_date", "billing_period")):
            columns[name] = pa.array([text and float(text) for text in columns[name]], pa.float64())
    pq.write_table(pa.table(columns), folder / "part.snappy.parquet")


def as_legacy_report(folder: Path, lines: list[dict]) -> None:
    rows = []
    for line in lines:
        row = {LEGACY[name]: value for name, value in line.items() if name in LEGACY}
        row |= {"product/ProductName": line["product"]["product_name"], "product/gpu": line["product"]["gpu"]}
        row |= {f"resourceTags/{key.replace('_', ':', 1)}": text for key, text in line["resource_tags"].items()}
        rows.append({**row, "resourceTags/user:unset": ""})
    write_csv(folder / "part.csv", rows)


def as_legacy_parquet(folder: Path, lines: list[dict]) -> None:
    rows = [{name: text for name, text in line.items() if isinstance(text, str)} for line in lines]
    for row, line in zip(rows, lines, strict=True):
        row["product_product_name"] = line["product"]["product_name"]
        row |= {f"resource_tags_{key}": text for key, text in line["resource_tags"].items()}
    names = dict.fromkeys(name for row in rows for name in row)
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), folder / "part.parquet")


@pytest.mark.parametrize("write", [as_export, as_typed_export, as_legacy_report, as_legacy_parquet])
def test_the_same_report_in_both_generations_and_every_kind_of_file(tmp_path, lake_rows, write):
    (tmp_path / "bill").mkdir()
    write(tmp_path / "bill", [aws_line(), *covered("30", "19.5"), plan_fee("20", "19.5")])
    result = bring(tmp_path, tmp_path / "bill")

    assert (result.format, result.rows_loaded, result.message) == ("aws_cur", 4, "")
    nine, ten = (datetime(2026, 8, 5, hour, tzinfo=UTC) for hour in (9, 10))
    [hour] = lake_rows(
        "bill_lines",
        "billed_cost, effective_cost, list_cost, contracted_cost, charge_period_start, charge_period_end, "
        "billing_period_start, billing_period_end, consumed_quantity, consumed_unit, instance_type, resource_id, "
        "service_name, region_id, billing_account_id, sub_account_id, billing_currency, provider_name",
    )[3:]
    money = Decimal("55.04")
    assert hour == (
        *(money, money, money, money, nine, ten),
        *(datetime(2026, 8, 1, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC)),
        *(Decimal(1), "Hours", "p5.48xlarge", "i-0abc", "Amazon Elastic Compute Cloud", "us-east-1"),
        *("000123456789", "000000000042", "USD", "AWS"),
    )
    assert lake_rows("bill_lines", "billed_cost, effective_cost") == [
        (Decimal(-30), Decimal(0)),
        (Decimal(20), Decimal("0.5")),
        (Decimal(30), Decimal("19.5")),
        (money, money),
    ]
    for (text,) in lake_rows("bill_lines", "tags"):
        tags = json.loads(text)
        assert tags.pop("team") == "support"
        assert set(tags) <= {"aws_createdBy", "aws:createdBy"}


# What each type of line costs

FEE = {"reservation_reservation_a_r_n": RESERVATION}
UNUSED = {
    **FEE,
    "reservation_unused_amortized_upfront_fee_for_billing_period": "1.25",
    "reservation_unused_recurring_fee": "0.75",
}


@pytest.mark.parametrize(
    ("line", "category", "status", "billed", "effective"),
    [
        (aws_line(), "Usage", None, "55.04", "55.04"),
        (covered("55.04", "33")[0], "Usage", "Used", "55.04", "33"),
        (covered("55.04", "33")[1], "Usage", "Used", "-55.04", "0"),
        (plan_fee("40", "33.000000000001"), "Purchase", "Unused", "40", "6.999999999999"),
        (
            commitment_line("SavingsPlanUpfrontFee", "9000", savings_plan_savings_plan_a_r_n=PLAN),
            *("Purchase", None, "9000", "0"),
        ),
        (
            aws_line("DiscountedUsage", **FEE, line_item_unblended_cost="0", reservation_effective_cost="2.75"),
            *("Usage", "Used", "0", "2.75"),
        ),
        (commitment_line("RIFee", "744", **UNUSED), "Purchase", "Unused", "744", "2"),
        (
            commitment_line("RIFee", "744", **{**UNUSED, "reservation_unused_recurring_fee": "7.5E-1"}),
            *("Purchase", "Unused", "744", "2"),
        ),
        (commitment_line("Fee", "5000", **FEE), "Purchase", None, "5000", "0"),
        (commitment_line("Fee", "12"), "Purchase", None, "12", "12"),
        (
            commitment_line("Refund", "-90", line_item_product_code="ComputeSavingsPlans"),
            "Adjustment",
            None,
            "-90",
            "0",
        ),
        (commitment_line("Refund", "-9"), "Adjustment", None, "-9", "-9"),
        (commitment_line("Credit", "-5"), "Credit", None, "-5", "-5"),
        (commitment_line("Tax", "3.3"), "Tax", None, "3.3", "3.3"),
        (commitment_line("EdpDiscount", "-4"), "Credit", None, "-4", "-4"),
        (commitment_line("BundledDiscount", "-1"), "Credit", None, "-1", "-1"),
    ],
)
def test_what_each_type_of_line_costs(one_line, line, category, status, billed, effective):
    names = "charge_category, commitment_discount_status, billed_cost, effective_cost"
    assert one_line(names, line) == (category, status, Decimal(billed), Decimal(effective))


def test_net_costs_hold_the_private_discounts(tmp_path, lake_rows):
    net = {"line_item_net_unblended_cost": "49.536", "line_item_net_unblended_rate": "49.536"}
    plan = {
        "line_item_net_unblended_cost": "27",
        "savings_plan_net_savings_plan_effective_cost": "17",
    }
    reserved = {
        "line_item_net_unblended_cost": "700",
        "reservation_net_unused_amortized_upfront_fee_for_billing_period": "1",
        "reservation_net_unused_recurring_fee": "0.5",
    }
    lines = [
        aws_line(**net),
        # a net cost of nothing is told
        aws_line(line_item_net_unblended_cost="0", line_item_unblended_cost="8"),
        covered("30", "19.5", **plan)[0],
        aws_line(
            "DiscountedUsage",
            **{**FEE, "line_item_unblended_cost": "0", "line_item_net_unblended_cost": "0"},
            **{"reservation_effective_cost": "3", "reservation_net_effective_cost": "2.7"},
        ),
        commitment_line("RIFee", "744", **UNUSED, **reserved),
        # what the discount takes off is in the lines above already, told as nothing or not told
        commitment_line("EdpDiscount", "-5.504", line_item_net_unblended_cost="0"),
        commitment_line("PrivateRateDiscount", "-8", line_item_net_unblended_cost=""),
        commitment_line("Tax", "3", line_item_net_unblended_cost=""),
    ]
    bring(tmp_path, write_csv(tmp_path / "bill" / "part.csv", lines))

    def money(*texts: str | None) -> tuple:
        return tuple(text and Decimal(text) for text in texts)

    assert lake_rows("bill_lines", "charge_category, billed_cost, effective_cost, contracted_cost, list_cost") == [
        ("Credit", *money("0", "0", None, None)),
        ("Credit", *money("0", "0", None, None)),
        ("Purchase", *money("700", "1.5", None, None)),
        ("Tax", *money("3", "3", None, None)),
        ("Usage", *money("0", "0", "0", "55.04")),
        ("Usage", *money("0", "2.7", None, "55.04")),
        ("Usage", *money("27", "17", "27", "55.04")),
        ("Usage", *money("49.536", "49.536", "49.536", "55.04")),
    ]


def test_a_discounts_own_line_counts_where_the_parts_tell_no_net_cost(tmp_path, lake_rows):
    """A bundle of deliveries is read together: what one file has says nothing of another."""
    discount = commitment_line("EdpDiscount", "-4")
    write_csv(tmp_path / "bills" / "july" / "part.csv", [aws_line(), discount])
    write_csv(tmp_path / "bills" / "august" / "part.csv", [{**discount, "line_item_net_unblended_cost": ""}])
    ingest(tmp_path / "lake", [IngestRequest("aws", tmp_path / "bills", "aws_cur")])

    assert lake_rows("bill_lines", "billed_cost") == [(Decimal(-4),), (Decimal(0),), (Decimal("55.04"),)]


def test_a_commitment_costs_over_its_term_what_its_fees_are(tmp_path, lake_rows):
    """A plan of 10 an hour for two hours; a reservation of 4 upfront and 1 an hour for two hours, used in one."""
    lines = [
        plan_fee("10", "7.5"),
        *covered("9", "4.5"),
        *covered("6", "3"),
        plan_fee("10", "10"),
        *covered("20", "10"),
        commitment_line("Fee", "4", **FEE),
        commitment_line(
            "RIFee",
            "2",
            **FEE,
            reservation_unused_amortized_upfront_fee_for_billing_period="2",
            reservation_unused_recurring_fee="1",
        ),
        aws_line("DiscountedUsage", **FEE, line_item_unblended_cost="0", reservation_effective_cost="3"),
    ]
    bring(tmp_path, write_csv(tmp_path / "bill" / "part.csv", lines))

    found = lake_rows("bill_lines", "commitment_discount_id, charge_category, billed_cost, effective_cost")
    for commitment, usage, unused in ((PLAN, "17.5", "2.5"), (RESERVATION, "3", "3")):
        mine = [row[1:] for row in found if row[0] == commitment]
        assert sum(effective for category, _, effective in mine if category == "Usage") == Decimal(usage)
        assert sum(effective for category, _, effective in mine if category == "Purchase") == Decimal(unused)
        fees = sum(billed for category, billed, _ in mine if category == "Purchase")
        assert sum(billed for _, billed, _ in mine) == fees == Decimal(usage) + Decimal(unused)


@pytest.mark.parametrize(
    "line",
    [
        aws_line("SavingsPlanCoveredUsage", savings_plan_savings_plan_a_r_n=PLAN),
        aws_line("DiscountedUsage", reservation_reservation_a_r_n=RESERVATION),
        commitment_line("SavingsPlanRecurringFee", "40", savings_plan_used_commitment="3"),
        commitment_line("RIFee", "40", reservation_unused_recurring_fee="3"),
    ],
)
def test_an_export_without_the_amortised_columns_is_not_taken_for_free(tmp_path, lake_rows, line):
    result = bring(tmp_path, write_csv(tmp_path / "bill" / "part.csv", [aws_line(), line]))

    assert (result.rows_loaded, result.rows_quarantined) == (1, 1)
    assert lake_rows("quarantined_rows", "file_name, line_number, column_name, reason") == [
        ("part.csv", 3, "effective_cost", "the export lacks the amortised cost of this line")
    ]


def test_lines_that_split_a_machines_line_are_left_out_and_counted(tmp_path, lake_rows):
    lines = [
        aws_line(),
        aws_line(line_item_operation="EKSPod-EC2", split_line_item_split_cost="20"),
        aws_line(line_item_operation="ECSTask-EC2", line_item_usage_start_date="whenever"),
    ]
    result = bring(tmp_path, write_csv(tmp_path / "bill" / "part.csv", lines))

    assert (result.rows_read, result.rows_loaded, result.rows_skipped) == (3, 1, 2)
    [batch] = Lake(tmp_path / "lake").batches().values()
    assert batch.counts["bill_lines"].skip_reasons == {"part of a machine's line": 2}


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"line_item_unblended_cost": "much"}, "billed_cost"),
        ({"line_item_unblended_cost": ""}, "billed_cost"),
        ({"line_item_usage_end_date": "23:59:59"}, "charge_period_end"),
        ({"bill_billing_period_start_date": ""}, "billing_period_start"),
        ({"line_item_line_item_type": "Surprise"}, "charge_category"),
        ({"line_item_line_item_type": ""}, "charge_category"),
        ({"line_item_usage_amount": "one"}, "consumed_quantity"),
    ],
)
def test_a_wrong_value_costs_its_line_only(tmp_path, lake_rows, changes, column):
    result = bring(tmp_path, write_csv(tmp_path / "bill" / "part.csv", [aws_line(), aws_line(**changes)]))

    assert (result.rows_loaded, result.rows_quarantined) == (1, 1)
    assert lake_rows("quarantined_rows", "line_number, column_name") == [(3, column)]


# How a machine was bought, and which machine it is


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (aws_line(), ("Standard", None, None, None)),
        (aws_line(line_item_usage_type="APS3-SpotUsage:g6.xlarge"), ("Dynamic", None, None, None)),
        (aws_line(pricing_term="Spot"), ("Dynamic", None, None, None)),
        (covered("5", "3")[0], ("Committed", PLAN, "Savings Plan", "Spend")),
        (covered("5", "3")[1], ("Committed", PLAN, "Savings Plan", "Spend")),
        (plan_fee("5", "3"), ("Committed", PLAN, "Savings Plan", "Spend")),
        (
            aws_line("DiscountedUsage", **FEE, reservation_effective_cost="1"),
            ("Committed", RESERVATION, "Reserved Instance", "Usage"),
        ),
        (commitment_line("RIFee", "1", **UNUSED), ("Committed", RESERVATION, "Reserved Instance", "Usage")),
        (commitment_line("Fee", "1", **FEE), ("Committed", RESERVATION, "Reserved Instance", "Usage")),
        # exports write ids of subscriptions on plain usage too
        (aws_line(reservation_subscription_id="123"), ("Standard", None, None, None)),
        (commitment_line("Fee", "1"), (None, None, None, None)),
        (commitment_line("Tax", "1", savings_plan_savings_plan_a_r_n=PLAN), (None, PLAN, "Savings Plan", "Spend")),
        (commitment_line("Credit", "-1", pricing_term="Spot"), (None, None, None, None)),
    ],
)
def test_how_a_line_was_bought(one_line, line, expected):
    names = "pricing_category, commitment_discount_id, commitment_discount_type, commitment_discount_category"
    assert one_line(names, line) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "p5.48xlarge"),
        ({"product_instance_type": "", "line_item_usage_type": "USE1-BoxUsage:p5.48xlarge"}, "p5.48xlarge"),
        ({"product_instance_type": "", "line_item_usage_type": "APS3-SpotUsage:g6.xlarge"}, "g6.xlarge"),
        ({"product_instance_type": "", "line_item_usage_type": "UnusedBox:p4d.24xlarge"}, "p4d.24xlarge"),
        ({"product_instance_type": "", "line_item_usage_type": "USW2-HostBoxUsage:g5.xlarge"}, "g5.xlarge"),
        (
            {
                "product_instance_type": "",
                "line_item_usage_type": "SpotUsage",
                "line_item_line_item_description": "g6e.xlarge Linux/UNIX Spot Instance-hour in US East (Virginia)",
            },
            "g6e.xlarge",
        ),
        # beside the machine, or its hours again
        ({"line_item_usage_type": "EBSOptimized:p5.48xlarge"}, None),
        ({"line_item_usage_type": "USE1-Reservation:p5.48xlarge"}, None),
        ({"line_item_usage_type": "USE1-DedicatedRes:p5.48xlarge"}, None),
        ({"line_item_product_code": "ElasticMapReduce"}, None),
        ({"line_item_product_code": "9abcdefgh", "line_item_usage_type": "SoftwareUsage:p5.48xlarge"}, None),
        ({"line_item_usage_type": "USE1-DataTransfer-Out-Bytes"}, None),
        ({"line_item_line_item_type": "SavingsPlanNegation"}, None),
    ],
)
def test_the_machine_behind_a_line(one_line, changes, expected):
    assert one_line("instance_type", aws_line(**changes)) == (expected,)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (None, None)),
        ({"line_item_usage_type": "UnusedBox:p5.48xlarge", "line_item_resource_id": CAPACITY}, (CAPACITY, "Unused")),
        ({"line_item_usage_type": "Reservation:p5.48xlarge", "line_item_resource_id": CAPACITY}, (CAPACITY, None)),
        (
            {
                "capacity_reservation_capacity_reservation_arn": CAPACITY,
                "capacity_reservation_capacity_reservation_status": "Used",
            },
            (CAPACITY, "Used"),
        ),
        (
            {
                "capacity_reservation_capacity_reservation_arn": CAPACITY,
                "capacity_reservation_capacity_reservation_status": "Reserved",
            },
            (CAPACITY, None),
        ),
    ],
)
def test_capacity_reservations(one_line, changes, expected):
    assert one_line("capacity_reservation_id, capacity_reservation_status", aws_line(**changes)) == expected


# Quantities, periods, names


def test_a_quantity_is_of_usage_only_and_in_its_own_unit(tmp_path, lake_rows):
    lines = [
        aws_line(line_item_usage_amount="0.5"),
        aws_line(line_item_usage_amount="7", pricing_unit="1K tokens"),
        commitment_line("RIFee", "1", **UNUSED, line_item_usage_amount="744"),
        covered("5", "3")[1],
        commitment_line("Tax", "1", line_item_usage_amount="1"),
    ]
    bring(tmp_path, write_csv(tmp_path / "bill" / "part.csv", lines))

    assert lake_rows("bill_lines", "consumed_quantity, consumed_unit, pricing_quantity, pricing_unit") == [
        (Decimal("0.5"), "Hours", Decimal("0.5"), "Hours"),
        (Decimal(7), "1K tokens", Decimal(7), "1K tokens"),
        *[(None, None, None, None)] * 3,
    ]


def test_an_end_in_the_last_second_of_a_day_means_midnight(one_line):
    line = commitment_line(
        "RIFee",
        "1",
        **UNUSED,
        line_item_usage_end_date="2026-08-31T23:59:59Z",
        bill_billing_period_end_date="2026-08-31T23:59:59.999Z",
    )
    midnight = datetime(2026, 9, 1, tzinfo=UTC)
    assert one_line("charge_period_end, billing_period_end", line) == (midnight, midnight)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "Open"),
        ({"bill_invoice_id": "E1"}, "Closed"),
        # on no invoice, in an open month or not
        ({"line_item_unblended_cost": "0.0"}, None),
        # has its invoice at once, while the month goes on
        ({"bill_bill_type": "Purchase", "bill_invoice_id": "E2"}, None),
        ({"bill_bill_type": "Refund", "bill_invoice_id": "E3"}, None),
    ],
)
def test_a_month_is_closed_when_its_lines_have_an_invoice(one_line, changes, expected):
    assert one_line("billing_period_status", aws_line(**changes)) == (expected,)


def test_a_refund_corrects_an_earlier_invoice(one_line):
    assert one_line("charge_class", commitment_line("Refund", "-1")) == ("Correction",)


@pytest.mark.parametrize("spelling", ["", "NULL", "null", "NaN"])
def test_a_missing_value_in_every_spelling(one_line, spelling):
    names = "resource_id, list_cost, instance_type, region_id, commitment_discount_id, invoice_id, tags"
    missing = dict.fromkeys(
        (
            "line_item_resource_id",
            "pricing_public_on_demand_cost",
            "product_instance_type",
            "product_region_code",
            "savings_plan_savings_plan_a_r_n",
            "bill_invoice_id",
            "resource_tags",
        ),
        spelling,
    )
    assert one_line(names, aws_line(**missing, line_item_usage_type="BoxUsage")) == (None,) * 7


@pytest.mark.parametrize(("text", "expected"), [("123456789", "000123456789"), ("987654321098", "987654321098")])
def test_account_ids_have_their_leading_zeros(one_line, text, expected):
    line = aws_line(bill_payer_account_id=text, line_item_usage_account_id=text)
    assert one_line("billing_account_id, sub_account_id", line) == (expected, expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"product": {"product_name": "Claude Sonnet (Amazon Bedrock Edition)"}},
            "Claude Sonnet (Amazon Bedrock Edition)",
        ),
        ({"product": "", "product_servicecode": "AmazonBedrock"}, "AmazonBedrock"),
        ({"product": "not JSON", "product_servicecode": ""}, "AmazonEC2"),
    ],
)
def test_the_name_of_the_service(one_line, changes, expected):
    assert one_line("service_name", aws_line(**changes)) == (expected,)


def test_what_no_column_takes_is_kept_under_awss_names(one_line):
    line = aws_line(cost_category={"Owner": "search"}, discount={}, line_item_iam_principal="arn:someone")
    (text,) = one_line("vendor_columns", line)
    assert json.loads(text) == {
        "line_item_line_item_type": "Usage",
        "line_item_usage_type": "BoxUsage:p5.48xlarge",
        "line_item_operation": "RunInstances",
        "cost_category": '{"Owner": "search"}',
    }


def test_a_tags_own_name_may_begin_with_user(one_line):
    line = aws_line(resource_tags={"user_user_group": 'a, "user_b"', "user_team": "{user_x"})
    (text,) = one_line("tags", line)
    assert json.loads(text) == {"user_group": 'a, "user_b"', "team": "{user_x"}


# Parts and deliveries


def test_twins_are_two_lines_and_ids_of_aws_are_none_of_ours(tmp_path, lake_rows):
    result = bring(tmp_path, write_csv(tmp_path / "bill" / "part.csv", [aws_line(), aws_line()]))

    assert result.rows_loaded == 2
    ids = {line_id for (line_id,) in lake_rows("bill_lines", "line_id")}
    assert len(ids) == 2
    assert all(line_id.startswith("h_") for line_id in ids)


def test_a_delivery_replaces_the_account_and_month_that_it_holds(tmp_path):
    open_month = write_csv(tmp_path / "one" / "part.csv", [aws_line(), aws_line(identity_line_item_id="x")])
    bring(tmp_path, open_month)

    [batch] = Lake(tmp_path / "lake").batches().values()
    assert batch.replaces_period
    assert [(key.billing_account_id, key.billing_period_start.date()) for key in batch.bill_keys] == [
        ("000123456789", date(2026, 8, 1))
    ]


def manifest(path: Path, **changes: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(changes, indent=2))


def test_the_manifest_of_a_legacy_report_says_which_parts_count(tmp_path, lake_rows):
    bill = tmp_path / "bill"
    for number in (1, 2, 3):
        write_csv(bill / f"report-{number}.csv", [aws_line(line_item_resource_id=f"i-{number}")])
    manifest(
        bill / "report-Manifest.json",
        assemblyId="a",
        columns=[{"category": "lineItem", "name": "UnblendedCost"}],
        reportKeys=["prefix/report/20260801-20260901/a/report-1.csv", "prefix/report/20260801-20260901/a/report-2.csv"],
    )
    result = bring(tmp_path, bill)

    assert result.format == "aws_cur"
    assert lake_rows("bill_lines", "resource_id") == [("i-1",), ("i-2",)]
    assert "not in the manifest, left out: report-3.csv" in result.message


def test_the_manifest_of_an_export_stands_in_a_folder_beside_its_parts(tmp_path, lake_rows):
    export = tmp_path / "prefix" / "export"
    month = "BILLING_PERIOD=2026-08"
    write_csv(export / "data" / month / "export-00001.csv", [aws_line()])
    listing = {"exportArn": "arn", "columns": [{"name": "line_item_unblended_cost"}]}
    files = [f"s3://bucket/prefix/export/data/{month}/export-0000{number}.csv" for number in (1, 2)]
    manifest(export / "metadata" / month / "export-Manifest.json", dataFiles=files, **listing)
    result = bring(tmp_path, export)

    assert result.state == "failed"
    assert "the manifest lists export-00002.csv, which is not in the folder. Wait until" in result.message
    write_csv(export / "data" / month / "export-00002.csv", [aws_line(line_item_resource_id="i-2")])
    assert bring(tmp_path, export).rows_loaded == 2
    assert lake_rows("bill_lines", "resource_id") == [("i-0abc",), ("i-2",)]


def test_an_export_of_aws_in_focus_columns_is_focus(tmp_path):
    write_csv(tmp_path / "bill" / "export-00001.csv", [bill_line()])
    manifest(tmp_path / "bill" / "Manifest.json", dataFiles=["data/export-00001.csv"], columns=[{"name": "BilledCost"}])

    result = bring(tmp_path, tmp_path / "bill")
    assert (result.format, result.rows_loaded) == ("focus", 1)
