"""Google Cloud's billing export: credits, the SKUs of a machine, late usage, currencies, and what is appended."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.python.conftest import write_json_lines
from tests.python.ingest.helpers import bring, write_lines

INSTANCE = "//compute.googleapis.com/projects/4415/zones/us-central1-a/instances/573"
MACHINE = "//compute.googleapis.com/zones/us-central1-a/instances/573"
GPU = "Nvidia H100 80GB GPU running in Americas"
CORE = "A3 Instance Core running in Americas"
RAM = "A3 Instance Ram running in Americas"


def record(description: str = GPU, **changes: object) -> dict:
    """A record as BigQuery writes it: an hour of the eight GPUs of an a3-highgpu-8g."""
    return {
        "billing_account_id": "003576-4CB9A5-BC33DB",
        "invoice": {"month": "202608", "publisher_type": "GOOGLE"},
        "cost_type": "regular",
        "service": {"id": "6F81-5844-456A", "description": "Compute Engine"},
        "sku": {"id": "D0AA-3C5D-7B11", "description": description},
        "usage_start_time": "2026-08-05 09:00:00 UTC",
        "usage_end_time": "2026-08-05 10:00:00 UTC",
        "project": {"id": "chat-prod", "number": "4415", "name": "Chat", "labels": [{"key": "unit", "value": "cx"}]},
        "labels": [{"key": "team", "value": "chat"}],
        "system_labels": [
            {"key": "compute.googleapis.com/machine_spec", "value": "a3-highgpu-8g"},
            {"key": "compute.googleapis.com/cores", "value": "208"},
        ],
        "location": {"location": "us-central1-a", "country": "US", "region": "us-central1", "zone": "us-central1-a"},
        "resource": {"name": "gke-a3-0", "global_name": INSTANCE},
        "tags": [],
        "price": {"effective_price": "9.796550569", "tier_start_amount": "0", "unit": "hour"},
        "subscription": {},
        "transaction_type": "GOOGLE",
        "export_time": "2026-08-05 13:49:02.981774 UTC",
        "cost": 78.372404552,
        "currency": "USD",
        "currency_conversion_rate": 1,
        "usage": {"amount": "28800", "unit": "seconds", "amount_in_pricing_units": "8", "pricing_unit": "hour"},
        "credits": [],
        "adjustment_info": {},
        "cost_at_list": 80.5,
        **changes,
    }


def credit(type_: str | None, amount: object, name: str = "a credit") -> dict:
    return {"id": f"id of {name}", "full_name": None, "name": name, "type": type_, "amount": amount}


@pytest.fixture
def lines(tmp_path, lake_rows):
    """Ingest records and return the named columns of the lines that they give."""

    def columns(names: str, *records: dict) -> list[tuple]:
        result = bring(tmp_path, write_json_lines(tmp_path / "export" / "part.jsonl", list(records)))
        assert result.format == "gcp_billing"
        assert result.rows_quarantined == 0, lake_rows("quarantined_rows", "column_name, reason")
        assert result.message == ""
        return lake_rows("bill_lines", names)

    return columns


def test_a_record_with_its_numbers_as_text(lines):
    [found] = lines(
        "billed_cost, effective_cost, contracted_cost, list_cost, contracted_unit_price, billing_currency, "
        "billing_units_per_usd, charge_period_start, charge_period_end, billing_period_start, billing_period_end, "
        "charge_category, charge_class, resource_id, resource_name, sub_account_id, sub_account_name, region_id, "
        "availability_zone, service_name, sku_id, sku_meter",
        record(cost="78.372404552", cost_at_list="80.5", currency_conversion_rate="1.0"),
    )
    cost = Decimal("78.372404552")
    assert found == (
        *(cost, cost, cost, Decimal("80.5"), Decimal("9.796550569"), "USD", Decimal(1)),
        *(datetime(2026, 8, 5, 9, tzinfo=UTC), datetime(2026, 8, 5, 10, tzinfo=UTC)),
        *(datetime(2026, 8, 1, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC), "Usage", None),
        *(MACHINE, "gke-a3-0", "chat-prod", "Chat", "us-central1", "us-central1-a"),
        *("Compute Engine", "D0AA-3C5D-7B11", GPU),
    )


def test_two_credits_on_one_record_do_not_fan_out_its_cost(lines):
    credits = [
        credit("COMMITTED_USAGE_DISCOUNT", "-40.1", "CUD: GPU"),
        credit("PROMOTION", -8.2, "Free trial"),
        credit("SUSTAINED_USAGE_DISCOUNT", -0.3),
        credit(None, "-1", "goodwill"),
    ]
    found = lines(
        "charge_category, billed_cost, effective_cost, contracted_cost, list_cost, consumed_quantity, "
        "charge_description, commitment_discount_name",
        record(cost=100.1, credits=credits),
    )
    nothing = (None, None, None)
    assert found == [
        ("Credit", Decimal("-8.2"), Decimal("-8.2"), *nothing, "Free trial", "CUD: GPU"),
        ("Credit", Decimal(-1), Decimal(-1), *nothing, "goodwill", "CUD: GPU"),
        ("Usage", Decimal("59.7"), Decimal("59.7"), Decimal("100.1"), Decimal("80.5"), 28800, GPU, "CUD: GPU"),
    ]
    # what the invoice asks: 100.1 - 40.1 - 8.2 - 0.3 - 1
    assert sum(row[1] for row in found) == Decimal("50.5")


@pytest.mark.parametrize(
    ("description", "changes", "expected"),
    [
        (GPU, {}, ("a3-highgpu-8g", "Nvidia H100 80GB", "GPU-seconds", "GPU-hour", "Standard")),
        (CORE, {}, ("a3-highgpu-8g", None, "Core-seconds", "Core-hour", "Standard")),
        (
            RAM,
            {"usage": {"amount": "1", "unit": "byte-seconds", "pricing_unit": "gibibyte hour"}},
            ("a3-highgpu-8g", None, "byte-seconds", "gibibyte hour", "Standard"),
        ),
        (
            "Nvidia H100 80GB Mega GPU attached to Spot Preemptible VMs running in Tokyo",
            {},
            ("a3-highgpu-8g", "Nvidia H100 80GB Mega", "GPU-seconds", "GPU-hour", "Dynamic"),
        ),
        (
            "A4 Nvidia B200 (1 gpu slice) running in Americas",
            {},
            ("a3-highgpu-8g", "Nvidia B200", "GPU-seconds", "GPU-hour", "Standard"),
        ),
        (
            "H200 141GB GPU running in Americas",
            {},
            ("a3-highgpu-8g", "H200 141GB", "GPU-seconds", "GPU-hour", "Standard"),
        ),
        # a licence by the hour on a GPU machine is no time of its GPUs
        ("Licensing Fee for Nvidia RTX GPU running in X", {}, (None, None, "seconds", "hour", "Standard")),
        ("Network Internet Egress", {"usage": {"unit": "bytes"}}, (None, None, "bytes", None, "Standard")),
        (
            GPU,
            {"credits": [credit("COMMITTED_USAGE_DISCOUNT", "-1")]},
            ("a3-highgpu-8g", "Nvidia H100 80GB", "GPU-seconds", "GPU-hour", "Committed"),
        ),
        (
            GPU,
            {"consumption_model": {"id": "A-1", "description": "Flex CUD 1 year"}},
            ("a3-highgpu-8g", "Nvidia H100 80GB", "GPU-seconds", "GPU-hour", "Committed"),
        ),
    ],
)
def test_what_a_sku_says_of_the_machine_and_its_price(lines, description, changes, expected):
    columns = "instance_type, gpu_model, consumed_unit, pricing_unit, pricing_category"
    assert lines(columns, record(description, **changes)) == [expected]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"cost_type": "tax", "resource": None}, ("Tax", None, None)),
        ({"cost_type": "rounding_error"}, ("Adjustment", None, None)),
        (
            {"cost_type": "adjustment", "adjustment_info": {"id": "a", "type": "GOODWILL"}},
            ("Adjustment", None, None),
        ),
        ({"adjustment_info": {"id": "a", "type": "USAGE_CORRECTION"}}, ("Usage", "Correction", "Usage-Based")),
        ({"cost_type": None}, ("Usage", None, "Usage-Based")),
        ({"sku": {"description": "Commitment v1: " + GPU + " for 1 Year"}}, ("Purchase", None, "Recurring")),
    ],
)
def test_what_kind_of_charge_a_record_is(lines, changes, expected):
    assert lines("charge_category, charge_class, charge_frequency", record(**changes)) == [expected]


def test_late_usage_stands_on_the_invoice_that_has_it(lines):
    [found] = lines(
        "charge_period_start, billing_period_start, billing_period_end, invoice_id",
        record(usage_start_time="2026-11-30 23:00:00 UTC", usage_end_time="2026-12-01", invoice={"month": 202612}),
    )
    assert found == (
        datetime(2026, 11, 30, 23, tzinfo=UTC),
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
        "202612",
    )


def test_rupees_with_the_rate_of_the_bill(lines):
    found = lines(
        "billing_currency, billing_units_per_usd, billed_cost",
        record(currency="INR", currency_conversion_rate="83.4121500000001", cost="6537.1"),
    )
    assert found == [("INR", Decimal("83.4121500000001").quantize(Decimal("1e-12")), Decimal("6537.1"))]


def test_labels_become_tags_and_the_nearer_one_goes_first(lines):
    projects = {"id": "p", "labels": [{"key": "team", "value": "platform"}, {"key": "unit", "value": "cx"}]}
    [(tags, vendor)] = lines(
        "tags, vendor_columns", record(project=projects, tags=[{"key": "env", "value": "prod", "inherited": "true"}])
    )
    assert json.loads(tags) == {"team": "chat", "unit": "cx", "env": "prod"}
    assert json.loads(vendor) == {
        "cost_type": "regular",
        "export_time": "2026-08-05 13:49:02.981774 UTC",
        "transaction_type": "GOOGLE",
        "publisher_type": "GOOGLE",
        "service_id": "6F81-5844-456A",
    }


def test_a_reservation_that_nothing_used(lines):
    labels = [
        {"key": "compute.googleapis.com/reservation_name", "value": "h100-block"},
        {"key": "compute.googleapis.com/is_unused_reservation", "value": "true"},
    ]
    found = lines("capacity_reservation_id, capacity_reservation_status", record(system_labels=labels))
    assert found == [("h100-block", "Unused")]


def test_an_appended_delivery_adds_corrections_and_repeats_nothing(tmp_path, lake_rows):
    twin, other = record(), record(CORE)
    taken_back = record(cost=-78.372404552, export_time="2026-08-06 01:00:00 UTC")
    with_credit = record(RAM, credits=[credit("FREE_TIER", -1)])
    first = write_json_lines(tmp_path / "first" / "part.jsonl", [twin, twin, with_credit])
    second = write_json_lines(tmp_path / "second" / "part.jsonl", [other, twin, with_credit, twin, taken_back])

    assert bring(tmp_path, first).rows_loaded == 4
    assert bring(tmp_path, second).rows_loaded == 6
    ids = lake_rows("bill_lines", "line_id, billed_cost")
    # the twins are two lines in both deliveries, and the same two
    assert len(ids) == 10
    assert len({line for line, _ in ids}) == 6


def test_parts_of_one_folder_are_one_delivery_packed_or_not(tmp_path, lake_rows):
    write_json_lines(tmp_path / "export" / "a.json", [record(), record(CORE)])
    (tmp_path / "export" / "b.json.gz").write_bytes(gzip.compress(json.dumps(record(RAM)).encode() + b"\n"))
    result = bring(tmp_path, tmp_path / "export")

    assert (result.format, result.rows_loaded) == ("gcp_billing", 3)
    assert lake_rows("bill_lines", "count(distinct line_id), count(distinct batch_id)") == [(3, 1)]


def test_parquet_with_its_nested_columns(tmp_path, lake_rows):
    row = record(
        credits=[credit("DISCOUNT", -0.25), credit("PROMOTION", -2.5)], subscription=None, adjustment_info=None
    )
    row["usage_start_time"] = datetime(2026, 8, 5, 9, tzinfo=UTC)
    row["usage_end_time"] = datetime(2026, 8, 5, 10, tzinfo=UTC)
    del row["tags"]
    path = tmp_path / "export" / "part.parquet"
    path.parent.mkdir()
    pq.write_table(pa.Table.from_pylist([row]), path)
    result = bring(tmp_path, path)

    assert (result.format, result.rows_loaded) == ("gcp_billing", 2)
    assert lake_rows("bill_lines", "charge_category, billed_cost, charge_period_start, tags") == [
        ("Credit", Decimal("-2.5"), row["usage_start_time"], '{"unit":"cx","team":"chat"}'),
        ("Usage", Decimal("78.122404552"), row["usage_start_time"], '{"unit":"cx","team":"chat"}'),
    ]


def test_columns_of_a_later_schema_are_named_and_those_of_a_later_one_may_lack(tmp_path, lake_rows):
    row = record(carbon_footprint={"kg": 1})
    for name in ("price", "tags", "subscription", "cost_at_list", "adjustment_info", "resource"):
        del row[name]
    result = bring(tmp_path, write_json_lines(tmp_path / "export" / "part.jsonl", [row]))

    assert result.message == "part.jsonl: columns not read: carbon_footprint"
    assert lake_rows("bill_lines", "resource_id, list_cost, billed_cost") == [(None, None, Decimal("78.372404552"))]


@pytest.mark.parametrize(
    ("changes", "column", "reason", "rows"),
    [
        ({"cost": "much"}, "billed_cost", "not a number", 2),
        ({"cost": None}, "billed_cost", "missing", 2),
        ({"cost_at_list": "much"}, "list_cost", "not a number", 2),
        ({"usage": {"amount": "1,000"}}, "consumed_quantity", "not a number", 2),
        (
            {"credits": [credit("PROMOTION", -1), credit("DISCOUNT", "some")]},
            "billed_cost",
            "a credit without an amount",
            2,
        ),
        ({"credits": "none"}, "billed_cost", "credits are not a list", 1),
        ({"invoice": {"month": "2026-08"}}, "billing_period_start", "not a time", 2),
        ({"invoice": {"month": "202613"}}, "billing_period_start", "not a time", 2),
        ({"cost_type": "gift"}, "charge_category", "not a known type of cost", 2),
    ],
)
def test_a_wrong_value_costs_the_record_and_its_credits(tmp_path, lake_rows, changes, column, reason, rows):
    bad = record(**{"credits": [credit("PROMOTION", -1)], **changes})
    path = write_lines(tmp_path / "export" / "part.jsonl", [json.dumps(record()), json.dumps(bad), "{half"])
    result = bring(tmp_path, path)

    assert result.rows_loaded == 1
    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [
        *[(2, column, reason)] * rows,
        (3, None, "not valid JSON"),
    ]
