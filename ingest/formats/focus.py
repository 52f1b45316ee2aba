"""FOCUS cost and usage, 1.0 to 1.4, CSV or Parquet: one row per line of a bill.

All parts of one folder are one delivery; a manifest beside them says which parts count. A newer delivery replaces the
billing accounts and periods that it holds. What the fields mean, and where exports leave the specification:

- FOCUS has no line id, and rows may repeat: ingest makes one from content and occurrence.
- A missing value is spelled null, NULL, NaN or nothing at all.
- Times are UTC, ``2024-09-01T00:00:00Z`` or ``2024-09-01 00:00:00``; ends are exclusive.
- Amounts may be negative: credits, refunds, corrections.
- Account ids are text: they keep their leading zeros.
- 1.3 has ``ServiceProviderName`` beside ``ProviderName``, 1.4 no longer has ``ProviderName`` and ``PublisherName``. The
  new ``HostProviderName`` is whose data centre it is, no publisher.
- The periods of 1.4 are a dataset of its own (Billing Period). In the folder of the lines, it says by period and
  issuer which lines are ``Open`` or ``Closed``. The other datasets (Invoice Detail, Contract Commitment) are left out.
- A charge that the vendor splits among workloads (1.3) is several lines with an ``AllocatedResourceId``: their costs
  and quantities add up to the charge, what is left of it has a line without that id, and ``ResourceId`` is the machine
  on all of them. So every line counts, nothing counts twice, and the columns of the split are left out: who used the
  machine comes from telemetry.
- ``SkuPriceDetails`` is JSON with ``InstanceType`` and ``GpuCount``; no FOCUS column names the GPU model.
- ``x_`` columns are the vendor's own. They are kept as they are in ``vendor_columns``; some tell an instance type.
- Azure: resource ids come in changing letter case (``ingest.rows`` lower-cases them). ``ConsumedUnit`` may be declared
  a number and so be empty or one: then the consumed quantity is in ``PricingUnit``, as ``PricingQuantity`` is the same
  quantity by ``x_PricingBlockSize``. ``x_BillingExchangeRate`` leads from the pricing to the billing currency.
"""

from __future__ import annotations

from collections.abc import Iterable

from ingest.bill_parts import first_value, is_manifest, parts
from ingest.contracts import BILL_LINES, ENUMS
from ingest.reading import Head, Reader, identifier, literal
from ingest.rows import Extract

NAME = "focus"
VERSION = 3
CONTRACTS = ("bill_lines",)
DELIVERY = "folder"
REPLACES_PERIOD = True

_OTHER_NAMES = {
    "provider_name": ("ProviderName", "ServiceProviderName", "Provider"),
    "publisher_name": ("PublisherName", "Publisher"),
    "invoice_issuer_name": ("InvoiceIssuerName", "InvoiceIssuer"),
}
"""Columns with more than one name: FOCUS 1.3 renamed the provider, and 1.0 tools drop the ``Name``."""

_INGEST_COLUMNS = (
    "source",
    "line_id",
    "instance_type",
    "gpu_model",
    "gpu_count",
    "purchase_mode",
    "billing_units_per_usd",
    "vendor_columns",
)
_LEFT_OUT = (
    "AllocatedMethodDetails",
    "AllocatedMethodId",
    "AllocatedResourceId",
    "AllocatedResourceName",
    "AllocatedTags",
    "CommitmentProgramEligibilityDetails",
    "ContractApplied",
    "HostProviderName",
    "InvoiceDetailId",
)
"""FOCUS columns that no model reads."""

_PERSONAL = ("x_accountownerid",)
"""Vendors' own columns that name a person: Azure's is the account owner's e-mail address. They are not kept."""

_HINTS = (
    "x_BillingExchangeRate",
    "x_GpuCount",
    "x_GpuModel",
    "x_InstanceType",
    "x_PricingBlockSize",
    "x_SkuDetails",
    "x_UsageType",
)
"""Vendors' own columns that tell the machine behind a line, its unit or its exchange rate."""

_PERIOD_COLUMNS = (
    "BillingPeriodStart",
    "InvoiceIssuerName",
    "BillingPeriodStatus",
    "BillingPeriodLastUpdated",
    "BillingPeriodCreated",
    "BillingPeriodEnd",
)
_NEEDED_OF_OTHERS = ({"invoicedetailid", "invoiceissuestatus"}, {"contractcommitmentid", "contractid"})
"""What tells the FOCUS datasets that are not read: Invoice Detail and Contract Commitment."""

_NEEDED = {"billedcost", "billingperiodstart", "chargeperiodstart", "chargecategory"}
_MANIFEST_KEYS = ("blobs", "dataFiles", "dataRowCount", "exportArn")


def _focus_name(column: str) -> str:
    return "".join(word.capitalize() for word in column.split("_"))


_FOCUS_NAMES = {
    column: _OTHER_NAMES.get(column, (_focus_name(column),))
    for column in BILL_LINES.column_names
    if column not in _INGEST_COLUMNS
}
"""Contract column -> the FOCUS columns that fill it, the first one that has a value."""


def sniff(head: Head) -> bool:
    """Whether the file has the columns that every FOCUS version has, or belongs to an export beside such files."""
    return _is_manifest(head) or _is_periods(head) or _is_other_dataset(head) or _names(head) >= _NEEDED


def read(reader: Reader) -> list[Extract]:
    """The bill's rows as bill lines."""
    # No row has an id, so every row's content is needed for its hash.
    reader.is_careful = True
    delivered = parts(reader, _is_manifest)
    for head in filter(_is_other_dataset, delivered):
        reader.tell(head.path, "a FOCUS dataset that is not read, left out")
    periods = [head for head in delivered if _is_periods(head)]
    heads = [head for head in delivered if not _is_periods(head) and not _is_other_dataset(head)]
    if periods and not heads:
        reader.tell(periods[0].path, "billing periods without their lines beside them; nothing to load")
    vendor_names: dict[str, str] = {}
    for name in (name for head in heads for name in head.columns if name.lower().startswith("x_")):
        # Two parts may write a name in different case; it is one column all the same.
        if name.lower() not in _PERSONAL:
            vendor_names.setdefault(name.lower(), name)
    hints = [name for name in _HINTS if name.lower() not in vendor_names]
    columns = [name for names in _FOCUS_NAMES.values() for name in names]
    others = [*vendor_names.values(), *hints]
    rows = reader.rows([*columns, *others], known=(*_LEFT_OUT, *_PERSONAL), heads=heads)
    fields = {
        **_FIELDS,
        "billing_period_status": f"coalesce({_STATUS}, {_status_of_period(reader, periods)})",
        "vendor_columns": _as_json(vendor_names.values()),
    }
    return [Extract(contract="bill_lines", rows=_cleaned(rows, others), columns=fields, hashed_id="line_id")]


def _names(head: Head) -> set[str]:
    return {name.lower() for name in head.columns}


def _is_periods(head: Head) -> bool:
    """Whether the file is the dataset Billing Period, and no lines that have a status themselves."""
    names = _names(head)
    return names >= {"billingperiodstart", "billingperiodstatus"} and "billedcost" not in names


def _is_other_dataset(head: Head) -> bool:
    return any(_names(head) >= needed for needed in _NEEDED_OF_OTHERS) and not _names(head) >= _NEEDED


def _is_manifest(head: Head) -> bool:
    # AWS's own reports have a manifest of the same keys.
    return is_manifest(head, _MANIFEST_KEYS) and "line_item_" not in head.text


def _status_of_period(reader: Reader, heads: list[Head]) -> str:
    """SQL of the status of a line's billing period by the dataset Billing Period; null where that does not say.

    The periods are few, so they become a list of cases: a join would not keep the lines in their order.
    """
    if not heads:
        return "null"
    rows = reader.rows(_PERIOD_COLUMNS, known=(), heads=heads)
    periods = reader.connection.execute(
        f"""
        select {_period_key("BillingPeriodStart", "InvoiceIssuerName")} as period_key, max_by(status, updated_at)
        from (
            select
                *,
                {_spelled("BillingPeriodStatus", open="Open", closed="Closed")} as status,
                coalesce(try_cast(BillingPeriodLastUpdated as timestamptz), timestamptz '-infinity') as updated_at
            from ({rows})
        )
        group by period_key order by period_key
        """
    ).fetchall()
    known = [(key, status) for key, status in periods if key and status in ENUMS["billing_period_status"]]
    if len(known) < len(periods):
        reader.tell(heads[0].path, f"{len(periods) - len(known)} billing periods are neither Open nor Closed")
    if not known:
        return "null"
    cases = " ".join(f"when {literal(key)} then {literal(status)}" for key, status in known)
    return f"case {_period_key('billing_period_start', 'invoice_issuer_name')} {cases} end"


def _period_key(start: str, issuer: str) -> str:
    """SQL of what lines and periods are matched by: the first moment of the period, and who invoices."""
    return f"epoch_us(try_cast({start} as timestamptz)) || '|' || lower(trim(coalesce({issuer}, '')))"


def _cleaned(rows: str, vendor_names: Iterable[str]) -> str:
    """SQL of the rows with their FOCUS columns under contract names, nulls in all their spellings made null."""
    columns = [f"{first_value(names)} as {identifier(column)}" for column, names in _FOCUS_NAMES.items()]
    columns += [f"{first_value((name,))} as {identifier(name)}" for name in vendor_names]
    return f"select _file, _content, _broken, _line, {', '.join(columns)} from ({rows})"


def _spelled(column: str, **spellings: str) -> str:
    """SQL of a closed list's value in FOCUS's own spelling; any other value stays as it is."""
    letters = f"replace(replace(lower({column}), '-', ''), ' ', '')"
    cases = " ".join(f"when {literal(letter)} then {literal(name)}" for letter, name in spellings.items())
    return f"case {letters} {cases} else {column} end"


_STATUS = _spelled("billing_period_status", open="Open", closed="Closed")


def _as_json(names: Iterable[str]) -> str:
    """SQL of a JSON object of those of the columns that are filled; null where none is."""
    pairs = ", ".join(f"{identifier(name)} := {identifier(name)}" for name in names)
    if not pairs:
        return "null"
    # Merging takes out the keys whose value is null.
    return f"nullif(cast(json_merge_patch('{{}}', to_json(struct_pack({pairs}))) as varchar), '{{}}')"


_MACHINE = r"(?:Box|Spot|Dedicated|DedicatedRes|HostBox|Unused|Reserv)[A-Za-z]*:([a-z0-9-]+\.[a-z0-9-]+)$"


def _detail(*keys: str, column: str = "sku_price_details") -> str:
    """SQL of the first of the keys that JSON text has; null where it is not JSON."""
    looks = ", ".join(f"json_extract_string({column}, {literal('$.' + key)})" for key in keys)
    return f"try(coalesce({looks}))"


_FIELDS = {
    **{column: identifier(column) for column in _FOCUS_NAMES},
    "billing_currency": "upper(billing_currency)",
    "pricing_currency": "upper(pricing_currency)",
    # a wrong rate is no reason to lose a line with money on it
    "billing_units_per_usd": """case
        when upper(pricing_currency) = 'USD' and upper(billing_currency) != 'USD'
            and try_cast("x_BillingExchangeRate" as decimal(38, 12)) > 0
            then "x_BillingExchangeRate"
        end""",
    "consumed_unit": """coalesce(
        case when try_cast(consumed_unit as double) is null then consumed_unit end,
        case when consumed_quantity is not null and "x_PricingBlockSize" is not null then pricing_unit end)""",
    "charge_category": _spelled(
        "charge_category",
        usage="Usage",
        purchase="Purchase",
        tax="Tax",
        credit="Credit",
        adjustment="Adjustment",
    ),
    "charge_class": _spelled("charge_class", correction="Correction"),
    "charge_frequency": _spelled(
        "charge_frequency", usagebased="Usage-Based", onetime="One-Time", recurring="Recurring"
    ),
    "pricing_category": _spelled(
        "pricing_category",
        standard="Standard",
        ondemand="Standard",
        dynamic="Dynamic",
        committed="Committed",
        commitmentbased="Committed",
        other="Other",
    ),
    "commitment_discount_category": _spelled("commitment_discount_category", spend="Spend", usage="Usage"),
    "commitment_discount_status": _spelled("commitment_discount_status", used="Used", unused="Unused"),
    "capacity_reservation_status": _spelled("capacity_reservation_status", used="Used", unused="Unused"),
    # the machine: a wrong detail is no reason to lose a line with money on it
    "instance_type": f"""coalesce(
        {_detail("InstanceType", "x_InstanceType")},
        "x_InstanceType",
        {_detail("InstanceType", "ServiceType", column='"x_SkuDetails"')},
        nullif(regexp_extract("x_UsageType", {literal(_MACHINE)}, 1), ''))""",
    "gpu_model": f"""coalesce({_detail("x_GpuModel", "GpuModel")}, "x_GpuModel")""",
    "gpu_count": f"""cast(nullif(try_cast(coalesce({_detail("GpuCount", "x_GpuCount")}, "x_GpuCount") as bigint), 0)
        as varchar)""",
}
