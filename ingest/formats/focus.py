"""FOCUS cost and usage (1.0 to 1.2, with the names that 1.3 changed), CSV or Parquet: one row per line of a bill.

All parts of one folder are one delivery; a manifest beside them says which parts count. A newer delivery replaces the
billing accounts and periods that it holds. What the fields mean, and where exports leave the specification:

- FOCUS has no line id, and rows may repeat: ingest makes one from content and occurrence.
- A missing value is spelled null, NULL, NaN or nothing at all.
- Times are UTC, ``2024-09-01T00:00:00Z`` or ``2024-09-01 00:00:00``; ends are exclusive.
- Amounts may be negative: credits, refunds, corrections.
- Account ids are text: they keep their leading zeros.
- ``SkuPriceDetails`` is JSON with ``InstanceType`` and ``GpuCount``; no FOCUS column names the GPU model.
- ``x_`` columns are the vendor's own; of those only the ones that tell an instance type are read.
"""

from __future__ import annotations

from ingest.bill_parts import first_value, is_manifest, parts
from ingest.contracts import BILL_LINES
from ingest.reading import Head, Reader, identifier, literal
from ingest.rows import Extract

NAME = "focus"
VERSION = 1
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
)
"""FOCUS columns that no model reads."""

_HINTS = ("x_InstanceType", "x_GpuCount", "x_GpuModel", "x_SkuDetails", "x_UsageType")
"""Vendors' own columns that tell the machine behind a line."""

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
    """Whether the file has the columns that every FOCUS version has, or is the manifest of an export."""
    return _is_manifest(head) or {name.lower() for name in head.columns} >= _NEEDED


def read(reader: Reader) -> list[Extract]:
    """The bill's rows as bill lines."""
    # No row has an id, so every row's content is needed for its hash.
    reader.is_careful = True
    heads = parts(reader, _is_manifest)
    columns = [name for names in _FOCUS_NAMES.values() for name in names] + list(_HINTS)
    vendor_columns = {name for head in heads for name in head.columns if name.lower().startswith("x_")}
    rows = reader.rows(columns, known={*_LEFT_OUT, *vendor_columns}, heads=heads)
    return [Extract(contract="bill_lines", rows=_cleaned(rows), columns=_FIELDS, hashed_id="line_id")]


def _is_manifest(head: Head) -> bool:
    # AWS's own reports have a manifest of the same keys.
    return is_manifest(head, _MANIFEST_KEYS) and "line_item_" not in head.text


def _cleaned(rows: str) -> str:
    """SQL of the rows with their FOCUS columns under contract names, nulls in all their spellings made null."""
    columns = [f"{first_value(names)} as {identifier(column)}" for column, names in _FOCUS_NAMES.items()]
    columns += [f"{first_value((name,))} as {identifier(name)}" for name in _HINTS]
    return f"select _file, _content, _broken, _line, {', '.join(columns)} from ({rows})"


def _spelled(column: str, **spellings: str) -> str:
    """SQL of a closed list's value in FOCUS's own spelling; any other value stays as it is."""
    letters = f"replace(replace(lower({column}), '-', ''), ' ', '')"
    cases = " ".join(f"when {literal(letter)} then {literal(name)}" for letter, name in spellings.items())
    return f"case {letters} {cases} else {column} end"


_MACHINE = r"(?:Box|Spot|Dedicated|DedicatedRes|HostBox|Unused|Reserv)[A-Za-z]*:([a-z0-9-]+\.[a-z0-9-]+)$"


def _detail(*keys: str, column: str = "sku_price_details") -> str:
    """SQL of the first of the keys that JSON text has; null where it is not JSON."""
    looks = ", ".join(f"json_extract_string({column}, {literal('$.' + key)})" for key in keys)
    return f"try(coalesce({looks}))"


_FIELDS = {
    **{column: identifier(column) for column in _FOCUS_NAMES},
    "billing_currency": "upper(billing_currency)",
    "pricing_currency": "upper(pricing_currency)",
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
