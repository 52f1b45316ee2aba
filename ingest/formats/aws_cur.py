"""AWS Cost and Usage Reports, one row per line item: CUR 2.0 (Data Exports) and the legacy report; CSV or Parquet.

All parts of one folder are one delivery; the manifest that AWS writes says which parts count. AWS writes the whole open
month again several times a day, so a newer delivery replaces the billing accounts and periods that it holds. What the
fields mean, and where they mislead:

- CUR 2.0 says ``line_item_unblended_cost`` where the legacy report says ``lineItem/UnblendedCost``. Tags are the map
  ``resource_tags`` there and columns such as ``resourceTags/user:team`` here; the ``user`` before a tag's name is AWS's
  and goes.
- ``identity_line_item_id`` changes from delivery to delivery: ingest makes the id from content and occurrence.
- Billed is the unblended cost, and the net unblended cost where the export has it: then the private discounts are in
  the lines that they lower, and lines of their own (``EdpDiscount``, ...) count with their net cost, if any.
- A savings plan bills the usage that it covers at the on-demand price and takes that back in ``SavingsPlanNegation``.
- Effective is amortised: usage under a commitment costs its share of the commitment; an upfront fee costs nothing; a
  recurring fee (``RIFee``, ``SavingsPlanRecurringFee``) costs what nobody used of the commitment, and is marked Unused.
- Lines of containers (``EKSPod-EC2``, ``ECSTask-EC2``) split the line of their machine and are left out.
- Only EC2's own instance lines name a machine here: fees of other services, software and ``EBSOptimized`` are charged
  beside it, and ``Reservation`` and ``DedicatedRes`` lines repeat, for nothing, the hours of a capacity reservation.
- Times are UTC. Ends are exclusive; an end at 23:59:59 means the midnight after it.
- ``bill_invoice_id`` is blank until the month is final; purchases and refunds have invoices of their own before that.
- Account ids are text of twelve digits, also where a tool has dropped the leading zeros.
- A report that AWS packs as ZIP is not read: have it written as gzip or Parquet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ingest.bill_parts import first_value, is_manifest, parts
from ingest.reading import Head, Reader, identifier, literal
from ingest.rows import Extract

NAME = "aws_cur"
VERSION = 1
CONTRACTS = ("bill_lines",)
DELIVERY = "folder"
REPLACES_PERIOD = True

_COLUMNS = (
    "bill_bill_type",
    "bill_billing_period_end_date",
    "bill_billing_period_start_date",
    "bill_invoice_id",
    "bill_invoicing_entity",
    "bill_payer_account_id",
    "bill_payer_account_name",
    "capacity_reservation_capacity_reservation_arn",
    "capacity_reservation_capacity_reservation_status",
    "cost_category",
    "discount",
    "line_item_availability_zone",
    "line_item_currency_code",
    "line_item_legal_entity",
    "line_item_line_item_description",
    "line_item_line_item_type",
    "line_item_net_unblended_cost",
    "line_item_net_unblended_rate",
    "line_item_operation",
    "line_item_product_code",
    "line_item_resource_id",
    "line_item_unblended_cost",
    "line_item_unblended_rate",
    "line_item_usage_account_id",
    "line_item_usage_account_name",
    "line_item_usage_amount",
    "line_item_usage_end_date",
    "line_item_usage_start_date",
    "line_item_usage_type",
    "pricing_currency",
    "pricing_public_on_demand_cost",
    "pricing_public_on_demand_rate",
    "pricing_rate_code",
    "pricing_term",
    "pricing_unit",
    "product",
    "product_instance_type",
    "product_location",
    "product_product_name",
    "product_region",
    "product_region_code",
    "product_servicecode",
    "product_servicename",
    "product_sku",
    "reservation_effective_cost",
    "reservation_net_effective_cost",
    "reservation_net_unused_amortized_upfront_fee_for_billing_period",
    "reservation_net_unused_recurring_fee",
    "reservation_reservation_a_r_n",
    "reservation_unused_amortized_upfront_fee_for_billing_period",
    "reservation_unused_recurring_fee",
    "resource_tags",
    "savings_plan_net_savings_plan_effective_cost",
    "savings_plan_savings_plan_a_r_n",
    "savings_plan_savings_plan_effective_cost",
    "savings_plan_total_commitment_to_date",
    "savings_plan_used_commitment",
)
"""What is read, under the names of CUR 2.0."""

_SECTIONS = (
    "bill_",
    "billing_period",
    "capacity_reservation_",
    "cost_category_",
    "discount_",
    "identity_",
    "line_item_",
    "pricing_",
    "product_",
    "reservation_",
    "resource_tags_",
    "savings_plan_",
    "split_line_item_",
)
"""How columns begin; hundreds of them hold attributes of products that no model reads."""

_TAGS = re.compile(r"(?:resourceTags/|resource_tags_)(?:user[:_])?(.+)")
_COST_CATEGORIES = re.compile(r"(?:costCategory/|cost_category_)(.+)")
_NEEDED = {"line_item_line_item_type", "line_item_unblended_cost", "line_item_usage_start_date"}
_REPORT_KEYS = ("reportKeys", "assemblyId")
_EXPORT_KEYS = ("dataFiles", "exportArn")


def sniff(head: Head) -> bool:
    """Whether the file has the columns that every report has, or is the manifest of one."""
    return _is_manifest(head) or {_plain_name(name) for name in head.columns} >= _NEEDED


def delivery_place(path: Path) -> Path:
    """The folder of a delivery's parts: an export's manifest is under ``metadata/`` and its parts under ``data/``."""
    names = list(path.parent.parts)
    for number, name in enumerate(names[1:], 1):
        if name.startswith("BILLING_PERIOD=") and names[number - 1] == "metadata":
            names[number - 1] = "data"
    return Path(*names)


def read(reader: Reader) -> list[Extract]:
    """The report's rows as bill lines."""
    # No row has an id that lasts, so every row's content is needed for its hash.
    reader.is_careful = True
    heads = parts(reader, _is_manifest)
    here = list(dict.fromkeys(name for head in heads for name in head.columns))
    spellings = {column: [column, *(name for name in here if _plain_name(name) == column)] for column in _COLUMNS}
    asked = dict.fromkeys(name for names in spellings.values() for name in names)
    tags, cost_categories = _named(_TAGS, here), _named(_COST_CATEGORIES, here)
    asked |= dict.fromkeys([*tags.values(), *cost_categories.values()])
    known = [name for name in here if _plain_name(name).startswith(_SECTIONS)]
    rows = reader.rows(list(asked), known=known, heads=heads)
    columns = [f"{first_value(dict.fromkeys(names))} as {identifier(name)}" for name, names in spellings.items()]
    columns += [f"{_object(tags)} as tag_columns", f"{_object(cost_categories)} as cost_category_columns"]
    rows = f"select _file, _content, _broken, _line, {', '.join(columns)} from ({rows})"
    costs = _costs(heads)
    return [
        Extract(
            contract="bill_lines",
            rows=rows,
            columns={**_FIELDS, **costs},
            skip=_SKIP,
            problem=f"case when {_KIND} in ({_AMORTISED}) and {costs['effective_cost']} is null"
            " then 'effective_cost|the export lacks the amortised cost of this line' end",
            hashed_id="line_id",
        )
    ]


def _is_manifest(head: Head) -> bool:
    # An export of AWS in FOCUS columns has a manifest of the same keys.
    return is_manifest(head, _REPORT_KEYS) or (is_manifest(head, _EXPORT_KEYS) and "BilledCost" not in head.text)


def _plain_name(column: str) -> str:
    """A column's name in CUR 2.0: ``savingsPlan/SavingsPlanARN`` is ``savings_plan_savings_plan_a_r_n`` there."""
    if "/" not in column:
        return column.lower()
    section, name = column.split("/", 1)
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", name)
    return f"{re.sub('(?=[A-Z])', '_', section)}_{words}".lower()


def _named(pattern: re.Pattern[str], columns: Iterable[str]) -> dict[str, str]:
    """Columns that are one entry of a map each: the entry's key, and the column."""
    return {found[1]: name for name in columns if (found := pattern.fullmatch(name))}


def _object(values: dict[str, str]) -> str:
    """SQL of a JSON object of the columns that have a value; null where none has."""
    if not values:
        return "cast(null as varchar)"
    pairs = ", ".join(f"{literal(key)}, {first_value((column,))}" for key, column in values.items())
    return _without_nulls(pairs)


def _without_nulls(pairs: str) -> str:
    """SQL of a JSON object of keys and values, less the values that are null; null where nothing is left."""
    return f"nullif(cast(json_merge_patch('{{}}', json_object({pairs})) as varchar), '{{}}')"


_KIND = "line_item_line_item_type"
_COVERED = "'DiscountedUsage', 'SavingsPlanCoveredUsage'"
_USAGE = f"'Usage', {_COVERED}"
_UNUSED = "'RIFee', 'SavingsPlanRecurringFee'"
_AMORTISED = f"{_COVERED}, {_UNUSED}"
"""Types of lines whose effective cost only the columns of their commitment tell."""
_COMMITMENT = "coalesce(savings_plan_savings_plan_a_r_n, reservation_reservation_a_r_n)"
_SKIP = """case when line_item_operation in ('EKSPod-EC2', 'ECSTask-EC2') then 'part of a machine''s line' end"""


def _costs(heads: list[Head]) -> dict[str, str]:
    """SQL of the costs that a private discount or a commitment changes."""
    net = "line_item_net_unblended_cost"
    with_net = [literal(head.path) for head in heads if net in map(_plain_name, head.columns)]
    billed = f"coalesce({net}, line_item_unblended_cost)"
    if with_net:
        # Such a discount is in the other lines' net costs already: its unblended cost would count it twice.
        is_counted = f"{_KIND} like '%Discount' and _file in ({', '.join(with_net)})"
        billed = f"coalesce({net}, case when {is_counted} then '0' else line_item_unblended_cost end)"
    return {
        "billed_cost": billed,
        "effective_cost": f"""case
            when {_KIND} = 'SavingsPlanCoveredUsage'
                then coalesce(savings_plan_net_savings_plan_effective_cost, savings_plan_savings_plan_effective_cost)
            when {_KIND} = 'DiscountedUsage'
                then coalesce(reservation_net_effective_cost, reservation_effective_cost)
            when {_KIND} = 'SavingsPlanRecurringFee'
                then cast({_money("savings_plan_total_commitment_to_date")}
                    - {_money("savings_plan_used_commitment")} as varchar)
            when {_KIND} = 'RIFee'
                then cast({_unused("amortized_upfront_fee_for_billing_period")}
                    + {_unused("recurring_fee")} as varchar)
            when {_KIND} in ('SavingsPlanNegation', 'SavingsPlanUpfrontFee') then '0'
            when {_KIND} = 'Fee' and reservation_reservation_a_r_n is not null then '0'
            -- the refund of a savings plan's upfront fee, which cost nothing either
            when {_KIND} = 'Refund' and line_item_product_code like '%SavingsPlans' then '0'
            else {billed} end""",
        # A commitment's discount is not in these: they are at the price that is agreed without one.
        "contracted_cost": f"case when {_KIND} in ('Usage', 'SavingsPlanCoveredUsage') then {billed} end",
    }


def _money(column: str) -> str:
    return f"try_cast({column} as decimal(38, 12))"


def _unused(part: str) -> str:
    """SQL of a part of what nobody used of a reservation."""
    return _money(f"coalesce(reservation_net_unused_{part}, reservation_unused_{part})")


def _exclusive(column: str) -> str:
    """SQL of an end: the midnight after it where it is the last second of a day."""
    midnight = f"date_trunc('second', try_cast({column} as timestamptz)) + interval 1 second"
    return (
        f"case when {column} like '%23:59:59%' then coalesce(cast({midnight} as varchar), {column}) else {column} end"
    )


def _account(column: str) -> str:
    """SQL of an account id with the zeros that a tool has dropped."""
    return f"case when regexp_full_match({column}, '\\d{{1,11}}') then lpad({column}, 12, '0') else {column} end"


_UNIT = "case when pricing_unit in ('Hrs', 'Hr') then 'Hours' else pricing_unit end"
_MACHINE = "(?:BoxUsage|SpotUsage|DedicatedUsage|HeavyUsage|MediumUsage|LightUsage|SchedUsage|UnusedBox|UnusedDed)"
"""What the usage type of an EC2 instance has before its colon, after the region."""

_FIELDS = {
    "list_cost": "pricing_public_on_demand_cost",
    "list_unit_price": "pricing_public_on_demand_rate",
    "contracted_unit_price": f"""case when {_KIND} in ('Usage', 'SavingsPlanCoveredUsage')
        then coalesce(line_item_net_unblended_rate, line_item_unblended_rate) end""",
    "billing_currency": "upper(line_item_currency_code)",
    "pricing_currency": "upper(pricing_currency)",
    "charge_period_start": "line_item_usage_start_date",
    "charge_period_end": _exclusive("line_item_usage_end_date"),
    "billing_period_start": "bill_billing_period_start_date",
    "billing_period_end": _exclusive("bill_billing_period_end_date"),
    # a line of no money may never get an invoice, so it says nothing
    "billing_period_status": f"""case
        when coalesce(bill_bill_type, 'Anniversary') != 'Anniversary' then null
        when bill_invoice_id is not null then 'Closed'
        when {_money("line_item_unblended_cost")} != 0 then 'Open' end""",
    "charge_category": f"""case
        when {_KIND} in ({_USAGE}, 'SavingsPlanNegation') then 'Usage'
        when {_KIND} in ({_UNUSED}, 'SavingsPlanUpfrontFee', 'Fee') then 'Purchase'
        when {_KIND} = 'Refund' then 'Adjustment'
        when {_KIND} like '%Discount' then 'Credit'
        else {_KIND} end""",
    "charge_class": f"case when 'Refund' in ({_KIND}, bill_bill_type) then 'Correction' end",
    "charge_description": "line_item_line_item_description",
    "charge_frequency": f"""case
        when {_KIND} in ({_USAGE}, 'SavingsPlanNegation') then 'Usage-Based'
        when {_KIND} in ({_UNUSED}) then 'Recurring'
        when {_KIND} in ('SavingsPlanUpfrontFee', 'Fee') then 'One-Time' end""",
    "consumed_quantity": f"case when {_KIND} in ({_USAGE}) then line_item_usage_amount end",
    "consumed_unit": f"case when {_KIND} in ({_USAGE}) then {_UNIT} end",
    "pricing_quantity": f"case when {_KIND} in ({_USAGE}) then line_item_usage_amount end",
    "pricing_unit": f"case when {_KIND} in ({_USAGE}) then {_UNIT} end",
    "pricing_category": f"""case
        when {_KIND} not in ({_USAGE}, {_UNUSED}, 'SavingsPlanNegation', 'SavingsPlanUpfrontFee', 'Fee') then null
        when {_COMMITMENT} is not null or {_KIND} in ({_AMORTISED}) then 'Committed'
        when {_KIND} != 'Usage' then null
        when contains(line_item_usage_type, 'Spot') or pricing_term = 'Spot' then 'Dynamic'
        else 'Standard' end""",
    "commitment_discount_id": _COMMITMENT,
    "commitment_discount_type": """case
        when savings_plan_savings_plan_a_r_n is not null then 'Savings Plan'
        when reservation_reservation_a_r_n is not null then 'Reserved Instance' end""",
    "commitment_discount_category": """case
        when savings_plan_savings_plan_a_r_n is not null then 'Spend'
        when reservation_reservation_a_r_n is not null then 'Usage' end""",
    "commitment_discount_status": f"""case
        when {_KIND} in ({_COVERED}, 'SavingsPlanNegation') then 'Used'
        when {_KIND} in ({_UNUSED}) then 'Unused' end""",
    "capacity_reservation_id": """coalesce(
        capacity_reservation_capacity_reservation_arn,
        case when contains(line_item_resource_id, ':capacity-reservation/') then line_item_resource_id end)""",
    "capacity_reservation_status": """case
        when capacity_reservation_capacity_reservation_status in ('Used', 'Unused')
            then capacity_reservation_capacity_reservation_status
        when regexp_matches(line_item_usage_type, 'Unused(Box|Ded)') then 'Unused' end""",
    "resource_id": "line_item_resource_id",
    "region_id": "coalesce(product_region_code, product_region)",
    "region_name": "product_location",
    "availability_zone": "line_item_availability_zone",
    "sku_id": "product_sku",
    "sku_price_id": "pricing_rate_code",
    "service_name": """coalesce(
        product_product_name, try(json_extract_string(product, '$.product_name')), product_servicename,
        product_servicecode, line_item_product_code)""",
    "provider_name": "'AWS'",
    "publisher_name": "line_item_legal_entity",
    "invoice_issuer_name": "bill_invoicing_entity",
    "invoice_id": "bill_invoice_id",
    "billing_account_id": _account("bill_payer_account_id"),
    "billing_account_name": "bill_payer_account_name",
    "sub_account_id": _account("line_item_usage_account_id"),
    "sub_account_name": "line_item_usage_account_name",
    "tags": r"""coalesce(
        regexp_replace(nullif(resource_tags, '{}'), '([{,]\s*")user[:_]', '\1', 'g'), tag_columns)""",
    "instance_type": f"""case
        when {_KIND} != 'SavingsPlanNegation' and line_item_product_code = 'AmazonEC2'
            and regexp_matches(line_item_usage_type, '{_MACHINE}(:|$)')
        then coalesce(
            product_instance_type,
            nullif(regexp_extract(line_item_usage_type, ':([a-z0-9-]+\\.[a-z0-9-]+)$', 1), ''),
            nullif(regexp_extract(line_item_line_item_description, '([a-z0-9-]+\\.[a-z0-9-]+) .*Spot Instance', 1), ''))
        end""",
    "vendor_columns": _without_nulls(
        f"""'line_item_line_item_type', {_KIND},
        'line_item_usage_type', line_item_usage_type,
        'line_item_operation', line_item_operation,
        'discount', nullif(discount, '{{}}'),
        'cost_category', coalesce(nullif(cost_category, '{{}}'), cost_category_columns)"""
    ),
}
