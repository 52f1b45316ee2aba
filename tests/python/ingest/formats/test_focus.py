"""FOCUS bills: versions, spellings, parts and manifests, and which lines are one line."""

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


@pytest.fixture
def one_line(tmp_path, lake_rows):
    """Ingest a bill of one line and return the named columns of it."""

    def columns(names: str, **changes: object) -> tuple:
        result = bring(tmp_path, write_csv(tmp_path / "bill" / "part.csv", [bill_line(**changes)]))
        assert result.format == "focus"
        assert result.rows_loaded == 1, lake_rows("quarantined_rows", "column_name, reason")
        return lake_rows("bill_lines", names)[0]

    return columns


def test_a_line_in_exact_decimals_and_utc(one_line):
    found = one_line(
        "billed_cost, effective_cost, list_cost, contracted_cost, billing_currency, charge_period_start, "
        "charge_period_end, billing_period_start, consumed_quantity, consumed_unit, resource_id",
        BilledCost="0.000000000001",
        EffectiveCost="1.1e-3",
        ChargePeriodStart="2026-08-05 09:00:00",
        ChargePeriodEnd="2026-08-05T12:00:00+02:00",
        BillingCurrency="usd",
    )
    assert found == (
        Decimal("0.000000000001"),
        Decimal("0.0011"),
        Decimal("2.40"),
        Decimal("2.10"),
        "USD",
        datetime(2026, 8, 5, 9, tzinfo=UTC),
        datetime(2026, 8, 5, 10, tzinfo=UTC),
        datetime(2026, 8, 1, tzinfo=UTC),
        Decimal(1),
        "Hours",
        "i-0abc",
    )


def test_leading_zeros_of_account_ids_stay(one_line):
    found = one_line("billing_account_id, sub_account_id", SubAccountId="000042")
    assert found == ("001234567890", "000042")


@pytest.mark.parametrize("spelling", ["", "NULL", "null", "Null", "NaN", "nan"])
def test_a_missing_value_in_every_spelling(one_line, spelling):
    found = one_line(
        "resource_id, consumed_quantity, list_cost, commitment_discount_status, instance_type, gpu_count",
        ResourceId=spelling,
        ConsumedQuantity=spelling,
        ListCost=spelling,
        CommitmentDiscountStatus=spelling,
        SkuPriceDetails=spelling,
    )
    assert found == (None,) * 6


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # 1.0 and 1.2
        ({"ProviderName": "AWS", "PublisherName": "AWS", "InvoiceIssuerName": "AWS Inc."}, ("AWS", "AWS", "AWS Inc.")),
        # tools that drop the Name, as validators of 1.0 want it
        ({"ProviderName": None, "Provider": "AWS", "Publisher": "P", "InvoiceIssuer": "I"}, ("AWS", "P", "I")),
        # 1.3 renames the provider
        (
            {"ProviderName": None, "ServiceProviderName": "Lambda", "HostProviderName": "Equinix"},
            ("Lambda", None, None),
        ),
        # 1.3 with both while they overlap
        ({"ProviderName": "AWS", "ServiceProviderName": "Amazon"}, ("AWS", None, None)),
    ],
)
def test_the_provider_under_the_names_of_each_version(tmp_path, lake_rows, changes, expected):
    line = {name: value for name, value in bill_line(**changes).items() if value is not None}
    result = bring(tmp_path, write_csv(tmp_path / "bill" / "part.csv", [line]))

    assert lake_rows("bill_lines", "provider_name, publisher_name, invoice_issuer_name") == [expected]
    assert result.message == ""


def test_focus_1_0_without_the_later_columns_and_1_3_with_columns_that_nothing_reads(tmp_path, lake_rows):
    old = bill_line()
    for name in ("SkuPriceDetails", "ContractedCost"):
        del old[name]
    new = bill_line(AllocatedMethodId="m", AllocatedRatio="1", ContractApplied="{}", x_Discount="0.1", ResourceId="i-1")
    bring(tmp_path, write_csv(tmp_path / "old" / "part.csv", [old]))
    result = bring(tmp_path, write_csv(tmp_path / "new" / "part.csv", [new]))

    assert lake_rows("bill_lines", "resource_id, contracted_cost, gpu_count") == [
        ("i-0abc", None, None),
        ("i-1", Decimal("2.10"), 1),
    ]
    # known columns and the vendor's own (x_) are left out in silence, an unknown one is told
    assert result.message == "part.csv: columns not read: AllocatedRatio"


def test_focus_1_4_without_the_provider_that_1_3_deprecated(tmp_path, lake_rows):
    line = bill_line(
        ServiceProviderName="Lambda",
        HostProviderName="Equinix",
        InvoiceIssuerName="Lambda Inc.",
        InvoiceDetailId="d-1",
        CommitmentProgramEligibilityDetails="{}",
    )
    del line["ProviderName"]
    result = bring(tmp_path, write_csv(tmp_path / "bill" / "part.csv", [line]))

    names = "provider_name, publisher_name, invoice_issuer_name, billing_period_status"
    assert lake_rows("bill_lines", names) == [("Lambda", None, "Lambda Inc.", None)]
    assert result.message == ""


def period(status: str, **changes: str) -> dict[str, str]:
    """A row of FOCUS 1.4's dataset Billing Period."""
    return {
        "BillingPeriodStart": "2026-08-01T00:00:00Z",
        "BillingPeriodEnd": "2026-09-01T00:00:00Z",
        "BillingPeriodStatus": status,
        "BillingPeriodCreated": "2026-08-01T00:00:00Z",
        "BillingPeriodLastUpdated": "2026-09-05T00:00:00Z",
        "InvoiceIssuerName": "AWS Inc.",
        **changes,
    }


def test_focus_1_4_says_which_periods_are_closed_in_a_file_beside_the_lines(tmp_path, lake_rows):
    july = {"BillingPeriodStart": "2026-07-01T00:00:00Z", "BillingPeriodEnd": "2026-08-01T00:00:00Z"}
    june = {"BillingPeriodStart": "2026-06-01T00:00:00Z", "BillingPeriodEnd": "2026-07-01T00:00:00Z"}
    lines = [
        bill_line(ResourceId="i-august", InvoiceIssuerName="AWS Inc."),
        bill_line(ResourceId="i-july", InvoiceIssuerName="aws inc.", **july),
        bill_line(ResourceId="i-other", InvoiceIssuerName="A reseller", **july),
        bill_line(ResourceId="i-june", InvoiceIssuerName="AWS Inc.", **june),
    ]
    periods = [
        period("Open"),
        period("Open", **july, BillingPeriodLastUpdated="2026-08-01T00:00:00Z"),
        period("closed", **july | {"BillingPeriodStart": "2026-07-01 00:00:00"}),
        period("Closing", **june),
    ]
    write_csv(tmp_path / "bill" / "lines.csv", lines)
    write_csv(tmp_path / "bill" / "periods.csv", periods)
    result = bring(tmp_path, tmp_path / "bill")

    assert (result.format, result.rows_read, result.rows_loaded) == ("focus", 4, 4)
    assert result.message == "periods.csv: 1 billing periods are neither Open nor Closed"
    assert lake_rows("bill_lines", "resource_id, billing_period_status") == [
        ("i-august", "Open"),
        ("i-july", "Closed"),
        ("i-june", None),
        ("i-other", None),
    ]


def test_a_period_that_is_closed_is_a_new_delivery_of_its_lines(tmp_path, lake_rows):
    issued = bill_line(InvoiceIssuerName="AWS Inc.")
    for status in ("Open", "Closed"):
        folder = tmp_path / status
        write_csv(folder / "lines.csv", [issued])
        write_csv(folder / "periods.csv", [period(status)])
        assert bring(tmp_path, folder).state == "committed"

    assert lake_rows("bill_lines", "billing_period_status, count(distinct line_id) over ()") == [
        ("Closed", 1),
        ("Open", 1),
    ]


def test_periods_without_lines_and_datasets_that_are_not_read(tmp_path, lake_rows):
    write_csv(tmp_path / "alone" / "periods.csv", [period("Open")])
    alone = bring(tmp_path, tmp_path / "alone")
    assert (alone.state, alone.rows_read) == ("committed", 0)
    assert alone.message == "periods.csv: billing periods without their lines beside them; nothing to load"

    write_csv(tmp_path / "bill" / "lines.csv", [bill_line()])
    write_csv(tmp_path / "bill" / "commitments.csv", [{"ContractCommitmentId": "c", "ContractId": "k"}])
    detail = {"InvoiceDetailId": "d", "InvoiceIssueStatus": "Issued", "BilledCost": "2.10", "ChargeCategory": "Usage"}
    write_csv(tmp_path / "bill" / "invoice.csv", [detail | {"BillingPeriodStart": "2026-08-01T00:00:00Z"}])
    result = bring(tmp_path, tmp_path / "bill")
    assert (result.state, result.rows_read, result.rows_loaded) == ("committed", 1, 1)
    assert result.message == (
        "commitments.csv: a FOCUS dataset that is not read, left out; "
        "invoice.csv: a FOCUS dataset that is not read, left out"
    )


def test_a_charge_that_the_vendor_splits_counts_once(tmp_path, lake_rows):
    """As the specification's example has it: the machine's own line is 0 where all of it is split."""
    none = {"BilledCost": "0.00", "EffectiveCost": "0.00", "ConsumedQuantity": "0", "AllocatedResourceId": ""}
    parts = [
        {"BilledCost": "144.00", "EffectiveCost": "120.00", "ConsumedQuantity": "12", "AllocatedResourceId": "pod-a"},
        {"BilledCost": "86.40", "EffectiveCost": "72.00", "ConsumedQuantity": "7.2", "AllocatedResourceId": "pod-b"},
        {"BilledCost": "57.60", "EffectiveCost": "48.00", "ConsumedQuantity": "4.8", "AllocatedResourceId": "pod-c"},
    ]
    lines = [bill_line(ResourceId="host-07", AllocatedMethodId="m", **part) for part in (none, *parts)]
    result = bring(tmp_path, write_csv(tmp_path / "bill" / "part.csv", lines))

    assert result.message == ""
    found = lake_rows("bill_lines", "resource_id, billed_cost, effective_cost, consumed_quantity, line_id")
    assert {resource for resource, *_ in found} == {"host-07"}
    assert [sum(row[place] for row in found) for place in (1, 2, 3)] == [288, 240, 24]
    assert len({line_id for *_, line_id in found}) == 4


AZURE = {
    "ProviderName": "Microsoft",
    "ResourceId": "/subscriptions/AB-1/resourceGroups/RG-Ml/providers/Microsoft.Compute/virtualMachines/VM-1",
    "CommitmentDiscountId": "/providers/Microsoft.Capacity/reservationOrders/AB/reservations/CD",
    "BillingCurrency": "EUR",
    "PricingCurrency": "USD",
    "x_BillingExchangeRate": "0.9123",
    "x_ResourceGroupName": "RG-Ml",
    "x_SkuTerm": "",
    "x_SkuMeterCategory": "NULL",
    "x_AccountOwnerId": "someone@example.com",
    "x_SkuDetails": '{"VCPUs": 24, "ServiceType": "Standard_NC24ads_A100_v4"}',
}


def test_vendor_columns_are_kept_as_they_are_where_they_are_filled_and_name_nobody(one_line):
    instance_type, kept = one_line("instance_type, vendor_columns", SkuPriceDetails="", **AZURE)
    assert json.loads(kept) == {
        "x_BillingExchangeRate": "0.9123",
        "x_ResourceGroupName": "RG-Ml",
        "x_SkuDetails": '{"VCPUs": 24, "ServiceType": "Standard_NC24ads_A100_v4"}',
    }
    assert instance_type == "Standard_NC24ads_A100_v4"


def test_a_bill_without_vendor_columns_has_none(one_line):
    assert one_line("vendor_columns") == (None,)


def test_vendor_columns_of_parquet_and_of_parts_with_different_ones(tmp_path, lake_rows):
    folder = tmp_path / "bill"
    write_csv(folder / "part-0.csv", [bill_line(x_Team="A", x_Other="1")])
    typed = bill_line(ResourceId="i-1") | {"x_team": "B", "x_Price": Decimal("1.50"), "x_Details": {"a": 1, "b": None}}
    pq.write_table(pa.Table.from_pylist([typed]), folder / "part-1.parquet")
    result = bring(tmp_path, folder)

    assert result.message == ""
    found = [json.loads(kept) for (kept,) in lake_rows("bill_lines", "vendor_columns")]
    assert found == [
        {"x_Team": "A", "x_Other": "1"},
        {"x_Team": "B", "x_Price": "1.50", "x_Details": '{"a":1,"b":null}'},
    ]


def test_ids_of_azure_mean_the_same_in_any_case_and_those_of_others_do_not(tmp_path, lake_rows):
    others = {"ResourceId": "projects/My-Project/VM", "CommitmentDiscountId": "arn:aws:savingsplans::1:Plan/X"}
    bring(tmp_path, write_csv(tmp_path / "bill" / "part.csv", [bill_line(**AZURE), bill_line(**others)]))

    assert lake_rows("bill_lines", "resource_id, commitment_discount_id, capacity_reservation_id") == [
        (
            "/subscriptions/ab-1/resourcegroups/rg-ml/providers/microsoft.compute/virtualmachines/vm-1",
            "/providers/microsoft.capacity/reservationorders/ab/reservations/cd",
            None,
        ),
        (*others.values(), None),
    ]


def test_a_link_names_the_machine_of_azure_as_the_bill_does(tmp_path, lake_rows):
    bring(tmp_path, write_csv(tmp_path / "bill" / "part.csv", [bill_line(**AZURE)]))
    link = {"hostname": "VM-1", "resource_id": AZURE["ResourceId"].upper()}
    bring(tmp_path, write_csv(tmp_path / "links" / "links.csv", [link]))

    [[billed]] = lake_rows("bill_lines", "resource_id")
    assert lake_rows("resource_links", "hostname, resource_id") == [("VM-1", billed)]


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({}, Decimal("0.9123")),
        # the rate leads from the pricing currency, which is not USD
        ({"PricingCurrency": "EUR", "BillingCurrency": "GBP"}, None),
        ({"PricingCurrency": ""}, None),
        ({"BillingCurrency": "usd", "x_BillingExchangeRate": "1"}, None),
        ({"x_BillingExchangeRate": "n/a"}, None),
        ({"x_BillingExchangeRate": "0"}, None),
    ],
)
def test_the_bills_own_exchange_rate(one_line, changes, rate):
    assert one_line("billing_units_per_usd", **AZURE | changes) == (rate,)


@pytest.mark.parametrize(
    ("changes", "unit"),
    [
        ({"ConsumedUnit": "Hours"}, "Hours"),
        # declared a number: empty, or a number that is no unit
        ({"ConsumedUnit": "", "PricingUnit": "Hours", "x_PricingBlockSize": "100"}, "Hours"),
        ({"ConsumedUnit": "1.0", "PricingUnit": "Hours", "x_PricingBlockSize": "1"}, "Hours"),
        # what nobody consumed has no unit
        ({"ConsumedUnit": "", "PricingUnit": "Hours", "x_PricingBlockSize": "1", "ConsumedQuantity": ""}, None),
        # elsewhere the pricing unit may count something else
        ({"ConsumedUnit": "", "PricingUnit": "Units"}, None),
    ],
)
def test_the_consumed_unit_that_azure_declares_a_number(one_line, changes, unit):
    assert one_line("consumed_unit", **changes) == (unit,)


def test_closed_lists_in_the_spellings_of_exports(one_line):
    found = one_line(
        "charge_category, charge_class, charge_frequency, pricing_category, commitment_discount_status, "
        "commitment_discount_category",
        ChargeCategory="usage",
        ChargeClass="CORRECTION",
        ChargeFrequency="usage based",
        PricingCategory="On-Demand",
        CommitmentDiscountStatus="unused",
        CommitmentDiscountCategory="SPEND",
    )
    assert found == ("Usage", "Correction", "Usage-Based", "Standard", "Unused", "Spend")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"SkuPriceDetails": '{"InstanceType": "p5.48xlarge", "GpuCount": 8}'}, ("p5.48xlarge", 8, None)),
        ({"SkuPriceDetails": '{"InstanceType": "g6.xlarge", "GpuCount": "1.0"}'}, ("g6.xlarge", 1, None)),
        ({"SkuPriceDetails": '{"x_GpuModel": "H100"}'}, (None, None, "H100")),
        ({"SkuPriceDetails": "not JSON", "x_InstanceType": "a2-highgpu-1g"}, ("a2-highgpu-1g", None, None)),
        ({"SkuPriceDetails": "", "x_SkuDetails": '{"ServiceType": "Standard_ND96"}'}, ("Standard_ND96", None, None)),
        ({"SkuPriceDetails": "", "x_UsageType": "USE1-BoxUsage:p5.48xlarge"}, ("p5.48xlarge", None, None)),
        ({"SkuPriceDetails": "", "x_UsageType": "APS3-SpotUsage:g6.xlarge"}, ("g6.xlarge", None, None)),
        ({"SkuPriceDetails": "", "x_UsageType": "USE1-DataTransfer-Out-Bytes"}, (None, None, None)),
        # a slice of a GPU is not a count of none
        ({"SkuPriceDetails": '{"GpuCount": 0.25}'}, (None, None, None)),
    ],
)
def test_the_machine_behind_a_line(one_line, changes, expected):
    assert one_line("instance_type, gpu_count, gpu_model", **changes) == expected


def test_negative_lines_are_as_good_as_others(tmp_path, lake_rows):
    lines = [
        bill_line(ChargeCategory="Credit", BilledCost="-5", EffectiveCost="-5", ListCost="0"),
        bill_line(ChargeClass="Correction", BilledCost="-2.10", EffectiveCost="-1.95", ConsumedQuantity="-1"),
        bill_line(ChargeCategory="Tax", BilledCost="0.30", ResourceId="", ConsumedQuantity=""),
    ]
    result = bring(tmp_path, write_csv(tmp_path / "bill" / "part.csv", lines))

    assert result.rows_quarantined == 0
    assert lake_rows("bill_lines", "billed_cost, consumed_quantity, charge_category") == [
        (Decimal("-5"), Decimal(1), "Credit"),
        (Decimal("-2.10"), Decimal(-1), "Usage"),
        (Decimal("0.30"), None, "Tax"),
    ]


def test_twins_that_are_truly_two_lines_stay_two_across_parts(tmp_path, lake_rows):
    write_csv(tmp_path / "bill" / "part-0.csv", [bill_line(), bill_line(), bill_line(ResourceId="i-1")])
    write_csv(tmp_path / "bill" / "part-1.csv", [bill_line()])
    result = bring(tmp_path, tmp_path / "bill")

    assert result.rows_loaded == 4
    found = lake_rows("bill_lines", "line_id, resource_id")
    assert len({line_id for line_id, _ in found}) == 4
    assert sorted(resource for _, resource in found) == ["i-0abc", "i-0abc", "i-0abc", "i-1"]


def test_the_same_line_has_the_same_id_in_csv_whatever_its_place(tmp_path, lake_rows):
    write_csv(tmp_path / "one" / "part.csv", [bill_line(), bill_line(ResourceId="i-1")])
    write_csv(tmp_path / "two" / "part.csv", [bill_line(ResourceId="i-1"), bill_line(BilledCost="7")])
    bring(tmp_path, tmp_path / "one")
    bring(tmp_path, tmp_path / "two")

    assert lake_rows("bill_lines", "count(*), count(distinct line_id)") == [(4, 3)]


def test_parts_of_a_folder_are_one_delivery_with_its_keys(tmp_path):
    bill = tmp_path / "bill"
    write_csv(
        bill / "part-0.csv",
        [
            bill_line(),
            bill_line(BillingAccountId="0002", ChargePeriodStart="2026-08-07", ChargePeriodEnd="2026-08-08"),
            bill_line(
                BillingPeriodStart="2026-07-01T00:00:00Z",
                BillingPeriodEnd="2026-08-01T00:00:00Z",
                ChargePeriodStart="2026-07-31T23:00:00Z",
                ChargePeriodEnd="2026-08-01T00:00:00Z",
            ),
        ],
    )
    write_csv(bill / "part-1.csv", [bill_line(ChargePeriodStart="2026-08-09", ChargePeriodEnd="2026-08-11")])
    write_csv(tmp_path / "bill" / "later" / "part-0.csv", [bill_line(ProviderName="GCP")])
    result = bring(tmp_path, bill / "*.csv")

    assert result.rows_loaded == 4
    (batch,) = Lake(tmp_path / "lake").batches().values()
    assert [file.name for file in batch.files] == ["part-0.csv", "part-1.csv"]
    assert batch.replaces_period
    keys = [
        (key.billing_account_id, key.billing_period_start.date(), key.min_date, key.max_date) for key in batch.bill_keys
    ]
    assert keys == [
        ("0002", date(2026, 8, 1), date(2026, 8, 7), date(2026, 8, 7)),
        # an hour that ends at midnight does not reach into the next day
        ("001234567890", date(2026, 7, 1), date(2026, 7, 31), date(2026, 7, 31)),
        ("001234567890", date(2026, 8, 1), date(2026, 8, 5), date(2026, 8, 10)),
    ]


def test_parts_that_are_named_one_by_one_are_one_delivery_too(tmp_path):
    parts = [
        write_csv(tmp_path / "bill" / f"part{number}.csv", [bill_line(ResourceId=f"i-{number}")]) for number in (1, 2)
    ]
    results = ingest(tmp_path / "lake", [IngestRequest("bill", part, "focus") for part in parts])

    assert [(result.state, result.rows_loaded) for result in results] == [("committed", 2)]
    [batch] = Lake(tmp_path / "lake").batches().values()
    assert [file.name for file in batch.files] == ["part1.csv", "part2.csv"]


def manifest(folder: Path, *names: str) -> None:
    listing = {"manifestVersion": "2024-04-01", "blobs": [{"blobName": f"exports/run/{name}"} for name in names]}
    (folder / "manifest.json").write_text(json.dumps(listing, indent=2))


def test_a_manifest_says_which_parts_count(tmp_path, lake_rows):
    write_csv(tmp_path / "bill" / "part-0.csv", [bill_line(ResourceId="i-0")])
    write_csv(tmp_path / "bill" / "part-1.csv", [bill_line(ResourceId="i-1")])
    write_csv(tmp_path / "bill" / "stale.csv", [bill_line(ResourceId="i-stale")])
    manifest(tmp_path / "bill", "part-0.csv", "part-1.csv")
    result = bring(tmp_path, tmp_path / "bill")

    assert lake_rows("bill_lines", "resource_id") == [("i-0",), ("i-1",)]
    assert "not in the manifest, left out: stale.csv" in result.message


def test_a_part_that_the_manifest_lists_and_is_not_there_stops_the_delivery(tmp_path, lake_rows):
    write_csv(tmp_path / "bill" / "part-0.csv", [bill_line()])
    manifest(tmp_path / "bill", "part-0.csv", "part-1.csv")
    result = bring(tmp_path, tmp_path / "bill")

    assert result.state == "failed"
    assert "lists part-1.csv, which is not in the folder. Wait until" in result.message
    assert lake_rows("bill_lines", "line_id") == []


def test_a_damaged_manifest_names_itself(tmp_path):
    write_csv(tmp_path / "bill" / "part-0.csv", [bill_line()])
    (tmp_path / "bill" / "manifest.json").write_text('{"blobs": [\n{"blobName": "part-0.csv"},')
    result = bring(tmp_path, tmp_path / "bill", "focus")

    assert result.state == "failed"
    assert "manifest.json: this manifest is damaged" in result.message


def as_csv(folder: Path, lines: list[dict]) -> None:
    write_csv(folder / "part.csv", lines)


def as_parquet_of_text(folder: Path, lines: list[dict]) -> None:
    pq.write_table(pa.table({name: [line[name] for line in lines] for name in lines[0]}), folder / "part.parquet")


def as_parquet_of_types(folder: Path, lines: list[dict]) -> None:
    columns: dict[str, list] = {name: [line[name] for line in lines] for name in lines[0]}
    for name in columns:
        if name.endswith(("Start", "End")):
            columns[name] = [datetime.fromisoformat(text) for text in columns[name]]
        elif name.endswith("Cost"):
            columns[name] = pa.array([float(text) for text in columns[name]], pa.float64())
        elif name == "ConsumedQuantity":
            columns[name] = pa.array([Decimal(text) for text in columns[name]], pa.decimal128(20, 6))
    columns["Tags"] = [{"team": "support"}] * len(lines)
    pq.write_table(pa.table(columns), folder / "part.parquet")


@pytest.mark.parametrize("write", [as_csv, as_parquet_of_text, as_parquet_of_types])
def test_the_same_bill_in_every_kind_of_file(tmp_path, lake_rows, write):
    (tmp_path / "bill").mkdir()
    write(tmp_path / "bill", [bill_line(), bill_line(BilledCost="-0.10", ResourceId="i-1")])
    result = bring(tmp_path, tmp_path / "bill")

    assert (result.format, result.rows_loaded) == ("focus", 2)
    names = "resource_id, billed_cost, effective_cost, consumed_quantity, charge_period_start, gpu_count"
    hour = datetime(2026, 8, 5, 9, tzinfo=UTC)
    assert lake_rows("bill_lines", names) == [
        ("i-0abc", Decimal("2.10"), Decimal("1.95"), Decimal(1), hour, 1),
        ("i-1", Decimal("-0.10"), Decimal("1.95"), Decimal(1), hour, 1),
    ]


def test_parts_of_different_kinds_and_columns_are_one_bill(tmp_path, lake_rows):
    write_csv(tmp_path / "bill" / "part-0.csv", [bill_line(Tags='{"team": "support"}')])
    as_parquet_of_text(tmp_path / "bill", [bill_line(ResourceId="i-1")])
    result = bring(tmp_path, tmp_path / "bill")

    assert result.rows_loaded == 2
    assert lake_rows("bill_lines", "resource_id, tags") == [("i-0abc", '{"team": "support"}'), ("i-1", None)]
