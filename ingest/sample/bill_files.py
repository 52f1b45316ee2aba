"""The bills as their vendors deliver them: FOCUS 1.2, a folder per delivery, in parts; and the exchange rates."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.sample.bills import ACCOUNTS, MICRO, Delivery, Line, deliveries
from ingest.sample.files import Files
from ingest.sample.fleet import Fleet
from ingest.sample.world import World, midnight

_PARTS = 2
_REGIONS = {
    "ap-south-1": ("ap-south-1", "Asia Pacific (Mumbai)"),
    "eu-west-2": ("eu-west-2", "Europe (London)"),
    "global": ("us-east-1", "US East (N. Virginia)"),
}
_MONEY_COLUMNS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")
_NUMBER_COLUMNS = (*_MONEY_COLUMNS, "ConsumedQuantity", "PricingQuantity")
_TIME_COLUMNS = ("ChargePeriodStart", "ChargePeriodEnd", "BillingPeriodStart", "BillingPeriodEnd")


def write_bills(world: World, fleet: Fleet, files: Files) -> dict[str, dict]:
    """Write every delivery; returns what a loader has to find, by source."""
    counts = {
        source: {
            "contract": "bill_lines",
            "files": 0,
            "deliveries": 0,
            "rows_loaded": 0,
            "rows_quarantined": 0,
            "rows_skipped": 0,
        }
        for source in ACCOUNTS
    }
    for delivery in deliveries(world, fleet):
        rows = pl.DataFrame([_row(delivery, line) for line in delivery.lines], schema=_SCHEMA, orient="row")
        folder = f"landing/bills/{delivery.account.folder}/{delivery.month:%Y-%m}_delivery_{delivery.number}"
        size = -(-len(rows) // _PARTS)
        for part in range(_PARTS):
            piece = rows[part * size : (part + 1) * size]
            if delivery.account.is_parquet:
                content, suffix = _parquet(piece), ".parquet"
            else:
                content, suffix = piece.write_csv().encode(), ".csv"
            files.write(f"{folder}/part-{part:05d}{suffix}", content, _delivered_at(world, delivery))
        count = counts[delivery.account.source]
        count["files"] += _PARTS
        count["deliveries"] += 1
        count["rows_loaded"] += len(rows)
    return counts


def _delivered_at(world: World, delivery: Delivery) -> datetime:
    """The estimate comes two days after the month (or the sample) ends, the bill five days after the estimate."""
    next_month = (delivery.month + timedelta(days=32)).replace(day=1)
    return midnight(min(next_month, world.end_date)) + timedelta(days=2 if delivery.number == 1 else 7, hours=9)


_COLUMNS = (
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
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ConsumedQuantity",
    "ConsumedUnit",
    "PricingQuantity",
    "PricingUnit",
    "PricingCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountType",
    "CommitmentDiscountCategory",
    "CommitmentDiscountStatus",
    "ResourceId",
    "ResourceType",
    "RegionId",
    "RegionName",
    "SkuId",
    "SkuPriceDetails",
    "ServiceCategory",
    "ServiceName",
    "ProviderName",
    "PublisherName",
    "InvoiceIssuerName",
    "InvoiceId",
    "BillingAccountId",
    "BillingAccountName",
    "SubAccountId",
    "SubAccountName",
    "Tags",
)
_SCHEMA = dict.fromkeys(_COLUMNS, pl.String)


def _row(delivery: Delivery, line: Line) -> tuple[str | None, ...]:
    account, machine = delivery.account, line.machine
    next_month = (delivery.month + timedelta(days=32)).replace(day=1)
    region_id, region_name = _REGIONS[account.folder]
    is_usage = line.category == "Usage"
    details = tags = None
    if machine:
        details = {"InstanceType": machine.instance_type, "OperatingSystem": "Linux"}
        # Machines billed by the day do not say how many GPUs they have: the instance type does.
        if not machine.has_daily_lines:
            details["GpuCount"] = machine.gpu_count
        tags = {"service": machine.service.deployment}
    elif line.resource_id:
        details = {"InstanceType": "m6i.large", "OperatingSystem": "Linux"}
    return (
        money(line.billed),
        money(line.effective),
        money(line.list_cost),
        money(line.effective if line.kind != "purchase" else line.billed),
        account.currency,
        _time(line.start),
        _time(line.end),
        f"{delivery.month}T00:00:00Z",
        f"{next_month}T00:00:00Z",
        line.category,
        line.charge_class,
        line.description,
        "Usage-Based" if is_usage else "Recurring" if line.category == "Purchase" else "One-Time",
        line.quantity if line.commitment_status != "Unused" else None,
        line.unit if line.commitment_status != "Unused" else None,
        line.quantity,
        line.unit,
        line.pricing_category,
        line.commitment_id,
        "Compute Savings Plan" if line.commitment_id else None,
        "Savings Plan" if line.commitment_id else None,
        "Spend" if line.commitment_id else None,
        line.commitment_status,
        line.resource_id,
        "Instance" if line.resource_id else None,
        region_id if is_usage else None,
        region_name if is_usage else None,
        f"sku-{machine.instance_type}" if machine else None,
        json.dumps(details) if details else None,
        line.service_category,
        line.service,
        "AWS",
        "AWS",
        "Amazon Web Services",
        f"inv-{account.folder}-{delivery.month:%Y%m}" if delivery.number == 2 else None,
        account.account_id,
        account.name,
        f"{account.account_id}-prod",
        f"{account.name} production",
        json.dumps(tags) if tags else None,
    )


def money(micro: int) -> str:
    """A decimal string of millionths."""
    sign, micro = ("-" if micro < 0 else ""), abs(micro)
    text = f"{sign}{micro // MICRO}.{micro % MICRO:06d}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parquet(rows: pl.DataFrame) -> bytes:
    """Parquet with real types: decimals and UTC timestamps."""
    typed = rows.with_columns(
        *(pl.col(name).cast(pl.Decimal(30, 6)) for name in _NUMBER_COLUMNS),
        *(pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC") for name in _TIME_COLUMNS),
    ).to_arrow()
    # Plain 32-bit strings: what every writer of such exports uses.
    schema = pa.schema(
        [pa.field(field.name, pa.string() if pa.types.is_large_string(field.type) else field.type)
         for field in typed.schema]
    )  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(typed.cast(schema), buffer, compression="zstd")
    return buffer.getvalue()


@dataclass
class Rates:
    """Published exchange rates: 1 USD = so many of the currency, on working days.

    Attributes:
        published: rate by (currency, day).
    """

    published: dict[tuple[str, date], Decimal]

    def usd_per_unit(self, currency: str, day: date) -> Decimal:
        """USD for one unit at the last rate published on or before a day, to 12 decimal places."""
        if currency == "USD":
            return Decimal(1)
        while (currency, day) not in self.published:
            day -= timedelta(days=1)
        return (1 / self.published[currency, day]).quantize(Decimal("1e-12"), ROUND_HALF_UP)

    def usd(self, micro: int, currency: str, day: date) -> Decimal:
        """An amount in millionths of a currency, in USD."""
        return Decimal(micro) / MICRO * self.usd_per_unit(currency, day)


def make_rates(world: World) -> Rates:
    """A random walk of each currency, from the month before the sample's first month on."""
    random = world.random("exchange rates")
    first = (world.months[0] - timedelta(days=8)).replace(day=1)
    published: dict[tuple[str, date], Decimal] = {}
    for currency, start, step, places in (("INR", 86.42, 0.14, 4), ("GBP", 0.7461, 0.0016, 5)):
        rate, day = start, first
        while day < world.end_date:
            if day.weekday() < 5:
                rate += float(random.normal(0, step)) + (start - rate) * 0.05
                published[currency, day] = Decimal(f"{rate:.{places}f}")
            day += timedelta(days=1)
    return Rates(published)


def write_rates(world: World, rates: Rates, files: Files) -> dict:
    """The treasury desk's list; returns what a loader has to find in it."""
    lines = ["rate_day,from_currency,to_currency,mid,publisher"]
    for (currency, day), rate in sorted(rates.published.items(), key=lambda item: (item[0][1], item[0][0])):
        lines.append(f"{day},USD,{currency},{rate},treasury desk")
    files.write("landing/fx/fx_rates.csv", "\n".join(lines) + "\n", midnight(world.end_date))
    return {
        "contract": "fx_rates",
        "files": 1,
        "deliveries": 1,
        "rows_loaded": len(lines) - 1,
        "rows_quarantined": 0,
        "rows_skipped": 0,
    }
