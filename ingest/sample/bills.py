"""Three cloud bills, line by line, in millionths of their currency: Mumbai in INR, London in GBP, the rest in USD."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

from ingest.sample import fleet as fleets
from ingest.sample.fleet import DAY_SECONDS, HOUR_SECONDS, LONDON_SITE, MUMBAI, SITES, Fleet, Machine, Site
from ingest.sample.world import SECOND_MS, World, epoch_ms

MICRO = 1_000_000

GPU_USAGE = "gpu_usage"
UNUSED = "unused_commitment"
MODEL_CHARGES = "model_charges"
OTHER = "other"
TAX = "tax"
CREDIT = "credit"
ADJUSTMENT = "adjustment"
PURCHASE = "purchase"
KINDS = (GPU_USAGE, UNUSED, MODEL_CHARGES, OTHER, TAX, CREDIT, ADJUSTMENT, PURCHASE)


@dataclass(frozen=True)
class Account:
    """A billing account, and who taxes it at what rate (percent)."""

    source: str
    folder: str
    account_id: str
    name: str
    currency: str
    tax_name: str
    tax_percent: int
    is_parquet: bool = False


ACCOUNTS = {
    MUMBAI.bill_source: Account(
        MUMBAI.bill_source, "ap-south-1", "acct-in-409112", "Sample Co India", "INR", "GST 18%", 18
    ),
    LONDON_SITE.bill_source: Account(
        LONDON_SITE.bill_source,
        "eu-west-2",
        "acct-uk-733009",
        "Sample Co UK",
        "GBP",
        "VAT 20%",
        20,
        is_parquet=True,
    ),
    "cloud_bill_global": Account(
        "cloud_bill_global", "global", "acct-us-120045", "Sample Co Inc", "USD", "Sales tax 8%", 8
    ),
}
GLOBAL = "cloud_bill_global"

COMMITMENTS = {
    # commitment id, price per committed hour in millionths, of which the machine uses its own price
    MUMBAI.bill_source: ("sp-in-2026-01", 81_000_000),
    LONDON_SITE.bill_source: ("sp-uk-2026-02", 960_000),
}
_ON_DEMAND_PRICES = {"g6.xlarge": 92_400_000, "g5.xlarge": 1_060_000}


@dataclass(frozen=True)
class Line:
    """One line of a bill; money in millionths of the account's currency, times in seconds since 1970 (UTC).

    ``used_seconds`` is the consumed quantity of a machine in seconds of the whole machine, where it has one.
    """

    source: str
    kind: str
    billing_month: date
    start: int
    end: int
    billed: int
    effective: int
    list_cost: int
    description: str
    category: str = "Usage"
    charge_class: str | None = None
    service: str = "Amazon Elastic Compute Cloud"
    service_category: str = "Compute"
    pricing_category: str | None = "Standard"
    machine: Machine | None = None
    used_seconds: int | None = None
    quantity: str | None = None
    unit: str | None = None
    resource_id: str | None = None
    commitment_id: str | None = None
    commitment_status: str | None = None

    @property
    def charge_date(self) -> date:
        """The UTC day on which the charge period starts."""
        return date.fromordinal(date(1970, 1, 1).toordinal() + self.start // DAY_SECONDS)


@dataclass(frozen=True)
class Delivery:
    """One delivery of a billing month: the lines it holds and when it came."""

    account: Account
    month: date
    number: int
    lines: list[Line]


def final_lines(world: World, fleet: Fleet) -> list[Line]:
    """The lines of every bill as the last delivery of each month has them."""
    lines = [line for site in SITES for line in _site_lines(world, fleet, site)]
    lines += list(_global_lines(world))
    gone = _day(world.restated_day)
    lines = [line for line in lines if not _is_gone(line, gone, fleet)]
    return lines + [line for account in ACCOUNTS.values() for line in _month_lines(world, account, lines)]


def deliveries(world: World, fleet: Fleet) -> Iterator[Delivery]:
    """Two deliveries of each month of each account: an estimate, then the bill.

    The estimate has other amounts, neither tax nor credits, and, in August, a day that the bill no longer has.
    """
    final = final_lines(world, fleet)
    full = [line for site in SITES for line in _site_lines(world, fleet, site)] + list(_global_lines(world))
    for account in ACCOUNTS.values():
        for month in world.months:
            of_month = [line for line in full if line.source == account.source and line.billing_month == month]
            estimate = [_estimated(line) for line in of_month if line.category == "Usage"]
            yield Delivery(account, month, 1, estimate)
            yield Delivery(
                account,
                month,
                2,
                [line for line in final if line.source == account.source and line.billing_month == month],
            )


def _is_gone(line: Line, day: int, fleet: Fleet) -> bool:
    """Whether the restatement takes a line away: the USD bill's whole day, and the unwatched machine's in Mumbai."""
    is_on_day = day <= line.start < day + DAY_SECONDS and line.category == "Usage"
    is_unwatched = line.machine is not None and not line.machine.is_sampled
    return is_on_day and (line.source == GLOBAL or is_unwatched)


def _estimated(line: Line) -> Line:
    return replace(line, billed=line.billed * 102 // 100, effective=line.effective * 102 // 100)


def _site_lines(world: World, fleet: Fleet, site: Site) -> Iterator[Line]:
    for machine in fleet.machines:
        if machine.site is site:
            yield from _machine_lines(world, machine)
    commitment_id, committed = COMMITMENTS[site.bill_source]
    used = sum(
        machine.price for machine in fleet.machines if machine.site is site and machine.purchase_mode == "committed"
    )
    for day in world.dates:
        start, month = _day(day), day.replace(day=1)
        yield Line(
            site.bill_source,
            UNUSED,
            month,
            start,
            start + DAY_SECONDS,
            0,
            24 * (committed - used),
            0,
            "Compute Savings Plan: commitment not used",
            pricing_category="Committed",
            commitment_id=commitment_id,
            commitment_status="Unused",
        )
        for description, service, category, daily, resource in _SITE_EXTRAS[site.name]:
            yield Line(
                site.bill_source,
                OTHER,
                month,
                start,
                start + DAY_SECONDS,
                daily,
                daily,
                daily,
                description,
                service=service,
                service_category=category,
                resource_id=resource,
                quantity="24" if resource else "310.5",
                unit="Hours" if resource else "GB",
            )
    for month in world.months:
        covered = [day for day in world.dates if day.replace(day=1) == month]
        fee = committed * 24 * len(covered)
        yield Line(
            site.bill_source,
            PURCHASE,
            month,
            _day(covered[0]),
            _day(covered[-1]) + DAY_SECONDS,
            fee,
            0,
            fee,
            "Compute Savings Plan: recurring fee",
            category="Purchase",
            pricing_category="Committed",
            commitment_id=commitment_id,
        )


_SITE_EXTRAS = {
    "mumbai": (
        ("EBS gp3 storage", "Amazon Elastic Block Store", "Storage", 1_184_300_000, None),
        ("Data transfer out", "AWS Data Transfer", "Networking", 402_750_000, None),
        ("m6i.large gateway", "Amazon Elastic Compute Cloud", "Compute", 201_600_000, "i-0b1a7c4000000901"),
    ),
    "london": (("EBS gp3 storage", "Amazon Elastic Block Store", "Storage", 3_410_000, None),),
}


def _machine_lines(world: World, machine: Machine) -> Iterator[Line]:
    """Hourly lines (or one a day) of a machine, priced by the seconds it was used."""
    step = DAY_SECONDS if machine.has_daily_lines else HOUR_SECONDS
    committed = machine.purchase_mode == "committed"
    for first, last in fleets.running(machine, world):
        for start in range(first // step * step, last, step):
            used = min(last, start + step) - max(first, start)
            cost = machine.price * used // HOUR_SECONDS
            if cost * HOUR_SECONDS != machine.price * used:
                raise AssertionError(f"{machine.resource_id}: {used} seconds do not have an exact price")
            list_price = _ON_DEMAND_PRICES.get(machine.instance_type, machine.price)
            mode = {"on_demand": "", "spot": " Spot", "committed": " covered by Compute Savings Plan"}
            yield Line(
                machine.site.bill_source,
                GPU_USAGE,
                date.fromordinal(date(1970, 1, 1).toordinal() + start // DAY_SECONDS).replace(day=1),
                start,
                start + step,
                0 if committed else cost,
                cost,
                max(list_price, machine.price) * used // HOUR_SECONDS,
                f"{machine.instance_type} Linux{mode[machine.purchase_mode]}",
                pricing_category={"on_demand": "Standard", "spot": "Dynamic", "committed": "Committed"}[
                    machine.purchase_mode
                ],
                machine=machine,
                used_seconds=used,
                quantity=_hours(used),
                unit="Hours",
                resource_id=machine.resource_id,
                commitment_id=COMMITMENTS[machine.site.bill_source][0] if committed else None,
                commitment_status="Used" if committed else None,
            )


def _global_lines(world: World) -> Iterator[Line]:
    """Storage, network and Bedrock: the last is what the model vendor's own price list already counts elsewhere."""
    random = world.random("global bill")
    for day in world.dates:
        start = _day(day)
        for kind, description, service, category, daily in (
            (OTHER, "S3 standard storage", "Amazon Simple Storage Service", "Storage", 41_870_000),
            (OTHER, "Inter-region data transfer", "AWS Data Transfer", "Networking", 12_330_000),
            (OTHER, "CloudWatch logs ingested", "Amazon CloudWatch", "Management and Governance", 8_415_000),
            (
                MODEL_CHARGES,
                "Claude Haiku 4.5 input tokens",
                "Amazon Bedrock",
                "AI and Machine Learning",
                19_200_000,
            ),
            (
                MODEL_CHARGES,
                "Claude Haiku 4.5 output tokens",
                "Amazon Bedrock",
                "AI and Machine Learning",
                23_500_000,
            ),
        ):
            cost = daily + int(random.integers(-200, 200)) * 10_000
            yield Line(
                GLOBAL,
                kind,
                day.replace(day=1),
                start,
                start + DAY_SECONDS,
                cost,
                cost,
                cost,
                description,
                service=service,
                service_category=category,
                quantity="1",
                unit="Units",
            )


def _month_lines(world: World, account: Account, lines: list[Line]) -> Iterator[Line]:
    """What a bill adds once a month: a credit, a refund of the month before, and the tax on all of it."""
    for month in world.months:
        next_month = (month + timedelta(days=32)).replace(day=1)
        before = (month - timedelta(days=1)).replace(day=1)
        start, end = _day(month), _day(next_month)
        of_month = [line for line in lines if line.source == account.source and line.billing_month == month]
        untaxed = sum(line.billed for line in of_month)
        added = []
        if account.source == MUMBAI.bill_source:
            refund = -9_870_500_000
            refunded = _day(before) + 9 * DAY_SECONDS
            added.append(
                Line(
                    account.source, ADJUSTMENT, month, refunded, refunded + DAY_SECONDS, refund, refund, 0,
                    "Refund: instance impaired by a host failure", category="Adjustment", charge_class="Correction",
                    pricing_category=None,
                )
            )  # fmt: skip
        if account.source in (MUMBAI.bill_source, GLOBAL):
            credit = -25_000_000_000 if account.source == MUMBAI.bill_source else -150_000_000
            added.append(
                Line(
                    account.source, CREDIT, month, start, end, credit, credit, 0, "Migration credit",
                    category="Credit", pricing_category=None,
                )
            )  # fmt: skip
        untaxed += sum(line.billed for line in added)
        # Tax is rounded to hundredths of the currency, as on the invoice.
        tax = (untaxed * account.tax_percent + 500_000) // 1_000_000 * 10_000
        added.append(
            Line(
                account.source, TAX, month, start, end, tax, tax, 0, account.tax_name,
                category="Tax", pricing_category=None, service="Tax", service_category="Other",
            )
        )  # fmt: skip
        yield from added


def _day(day: date) -> int:
    return epoch_ms(day) // SECOND_MS


def _hours(seconds: int) -> str:
    """Hours of a number of seconds that is a multiple of 36, exactly."""
    hundredths = seconds // 36
    if hundredths * 36 != seconds:
        raise AssertionError(f"{seconds} seconds are no exact number of hundredths of an hour")
    return f"{hundredths // 100}.{hundredths % 100:02d}" if hundredths % 100 else str(hundredths // 100)
