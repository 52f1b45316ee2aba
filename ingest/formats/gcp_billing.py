"""Google Cloud's usage cost export out of BigQuery, detailed (``gcp_billing_export_resource_v1_*``) or standard.

JSON lines, where whole numbers and NUMERIC come as text, or Parquet: one record per SKU, resource and hour. The export
only grows: a correction is a further record, often a negative one. What the fields mean, and where they mislead:

- ``cost`` is before credits; the invoice asks for ``cost`` and all of ``credits``. Credits that lower the price of the
  usage (committed use, sustained use, contractual discounts, the offset of a commitment's fee) belong to the line: its
  billed and effective cost are net of them, and ``contracted_cost`` is what it was before. Every other credit
  (promotion, free tier, ...) is money off the invoice, and a line of its own with ``charge_category`` Credit. So a
  record gives one line and one more for each such credit, which add up to ``cost`` and its credits.
- The fee of a commitment is a Purchase. The export does not say which usage a fee pays for, so it is not amortised:
  usage that a resource-based commitment covers whole costs nothing here, and the fee stands beside it.
- GPUs, cores and memory of one machine are SKUs of their own on one resource. ``usage.amount`` of GPUs and cores is in
  seconds of single ones: the unit becomes ``GPU-seconds`` or ``Core-seconds``. Memory is in byte-seconds.
- Only the SKU's description tells a GPU, a spot price or a commitment's fee. The GPU is named as Google names it there.
- A machine is its global name, whose project is left out when it is stored: the name has its number, a node its id.
- The machine type is the system label ``compute.googleapis.com/machine_spec``. It is kept on lines of the machine
  itself; a licence or traffic on the machine is not its time.
- ``invoice.month`` is the invoice that has the line; late usage of a month stands on the next one. Google's months are
  in Pacific time; the period here is that month in UTC, as a name and not as a limit of usage.
- ``currency_conversion_rate`` is local currency for one USD. Rounding errors of an invoice are Adjustments.
- A record has no id, and equal ones are both true. The same record in JSON and in Parquet counts as two: stay with one.
"""

from __future__ import annotations

from ingest.reading import Head, Reader, Structure, literal, parsed
from ingest.rows import Extract

NAME = "gcp_billing"
VERSION = 2
CONTRACTS = ("bill_lines",)
DELIVERY = "folder"
REPLACES_PERIOD = False

_NEEDED = {"billing_account_id", "service", "sku", "usage_start_time", "usage_end_time", "cost", "currency"}

_TEXT = "VARCHAR"
_PAIRS: Structure = [{"key": _TEXT, "value": _TEXT}]
_PLAIN = (
    "billing_account_id",
    "usage_start_time",
    "usage_end_time",
    "export_time",
    "cost",
    "cost_at_list",
    "cost_type",
    "currency",
    "currency_conversion_rate",
    "transaction_type",
    "seller_name",
    "credits",
)
_NESTED: dict[str, Structure] = {
    "invoice": {"month": _TEXT, "publisher_type": _TEXT},
    "service": {"id": _TEXT, "description": _TEXT},
    "sku": {"id": _TEXT, "description": _TEXT},
    "project": {"id": _TEXT, "number": _TEXT, "name": _TEXT, "labels": _PAIRS},
    "labels": _PAIRS,
    "system_labels": _PAIRS,
    "tags": _PAIRS,
    "location": {"location": _TEXT, "region": _TEXT, "zone": _TEXT},
    "resource": {"name": _TEXT, "global_name": _TEXT},
    "usage": {"amount": _TEXT, "unit": _TEXT, "amount_in_pricing_units": _TEXT, "pricing_unit": _TEXT},
    "price": {"effective_price": _TEXT, "list_price": _TEXT},
    "subscription": {"instance_id": _TEXT},
    "adjustment_info": {"id": _TEXT, "type": _TEXT, "mode": _TEXT},
    "consumption_model": {"id": _TEXT, "description": _TEXT},
}
_CREDITS: Structure = [{"id": _TEXT, "full_name": _TEXT, "name": _TEXT, "type": _TEXT, "amount": _TEXT}]

_LEFT_OUT = ("cost_at_effective_price_default", "cost_at_list_consumption_model")

_COMMITMENT_CREDITS = ("COMMITTED_USAGE_DISCOUNT", "COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE")
_PRICE_CREDITS = (
    *_COMMITMENT_CREDITS,
    "FEE_UTILIZATION_OFFSET",
    "SUSTAINED_USAGE_DISCOUNT",
    "DISCOUNT",
    "SPENDING_BASED_DISCOUNT",
)
"""Types of credits that lower the price of the usage that they stand on."""

_GPU = r"(?i)\b((?:nvidia|[hb][1-9]00|rtx) [a-z0-9 ]*?)(?: gpu\b| \(1 gpu slice\)| running in)"


def sniff(head: Head) -> bool:
    """Whether the file has the export's own columns."""
    return set(head.columns) >= _NEEDED


def read(reader: Reader) -> list[Extract]:
    """The export's records as bill lines, each credit that is money off the invoice as one more."""
    # No record has an id, so every record's content is needed for its hash.
    reader.is_careful = True
    rows = reader.rows(_PLAIN, nested=_NESTED, known=_LEFT_OUT)
    return [
        Extract(
            contract="bill_lines",
            rows=_lines(rows),
            columns=_FIELDS,
            problem=_PROBLEM,
            hashed_id="line_id",
            is_unnested=True,
        )
    ]


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"coalesce({column} in ({', '.join(map(literal, values))}), false)"


def _lines(rows: str) -> str:
    """SQL of one row per line: the record's own (``credit`` null), then one for each credit off the invoice."""
    is_price_credit = _one_of("one.type", _PRICE_CREDITS)
    is_commitment_credit = _one_of("one.type", _COMMITMENT_CREDITS)
    return f"""
        select
            * exclude (_content),
            own_credits[line_number] as credit,
            -- a credit's line has its own content, so that its id does not hang on the order of lines
            case when line_number = 0 then _content else concat(_content, ' credit ', line_number) end as _content
        from (
            select
                *,
                list_filter(all_credits, lambda one: {is_price_credit}) as price_credits,
                list_filter(all_credits, lambda one: {is_commitment_credit})[1] as commitment_credit,
                list_filter(all_credits, lambda one: not {is_price_credit}) as own_credits,
                unnest(range(0, coalesce(len(own_credits), 0) + 1)) as line_number
            from (
                select
                    *,
                    {parsed("credits", _CREDITS)} as all_credits,
                    coalesce(lower(cost_type), 'regular') as cost_kind,
                    list_filter(system_labels, lambda one: one.key = 'compute.googleapis.com/machine_spec')[1].value
                        as machine,
                    list_filter(system_labels, lambda one: one.key = 'compute.googleapis.com/reservation_name')[1].value
                        as reservation,
                    list_filter(
                        system_labels, lambda one: one.key = 'compute.googleapis.com/is_unused_reservation'
                    )[1].value as is_unused_reservation,
                    regexp_matches(sku.description, '^Commitment') as is_fee,
                    case
                        when not regexp_matches(sku.description, '(?i)licensing fee')
                            then nullif(regexp_extract(sku.description, {literal(_GPU)}, 1), '')
                    end as gpu_name,
                    regexp_matches(sku.description, '(?i)\\bcore\\b') as is_core,
                    regexp_matches(sku.description, '(?i)\\bram\\b') as is_memory
                from ({rows})
            )
        )"""


def _amount(text: str) -> str:
    return f"try_cast({text} as decimal(38, 12))"


# what the common check would say of the record's own line must hold for the lines of its credits too
_NUMBERS = {
    "billed_cost": "cost",
    "list_cost": "cost_at_list",
    "consumed_quantity": "usage.amount",
    "pricing_quantity": "usage.amount_in_pricing_units",
    "list_unit_price": "price.list_price",
    "contracted_unit_price": "price.effective_price",
}
_NOT_NUMBERS = "\n".join(
    f"when {text} is not null and {_amount(text)} is null then '{column}|not a number'"
    for column, text in _NUMBERS.items()
)
_PROBLEM = f"""case
    when cost is null then 'billed_cost|missing'
    when cost_kind not in ('regular', 'tax', 'adjustment', 'rounding_error', 'rounding error')
        then 'charge_category|not a known type of cost'
    {_NOT_NUMBERS}
    when credits is not null and all_credits is null then 'billed_cost|credits are not a list'
    when len(list_filter(all_credits, lambda one: {_amount("one.amount")} is null)) > 0
        then 'billed_cost|a credit without an amount'
    end"""


def _own(text: str) -> str:
    """SQL of a value that only the record's own line has."""
    return f"case when credit is null then {text} end"


_NET_COST = f"""cast(
    case
        when credit is not null then {_amount("credit.amount")}
        else {_amount("cost")}
            + coalesce(list_sum(list_transform(price_credits, lambda one: {_amount("one.amount")})), 0)
    end as varchar)"""

_CATEGORY = """case
    when credit is not null then 'Credit'
    when cost_kind = 'tax' then 'Tax'
    when cost_kind != 'regular' then 'Adjustment'
    when is_fee then 'Purchase'
    else 'Usage'
    end"""

# consumption_model says since July 2025 by which model the price was made; what is not the default is a commitment's
_PRICING = """case
    when credit is not null or cost_kind != 'regular' or is_fee then null
    when regexp_matches(sku.description, '(?i)\\bpreemptible\\b') then 'Dynamic'
    when commitment_credit is not null or lower(consumption_model.description) != 'default' then 'Committed'
    else 'Standard'
    end"""


def _unit(unit: str) -> str:
    """SQL of a unit: seconds and hours of GPUs and cores say of what they are."""
    thing = "case when gpu_name is not null then 'GPU-' when is_core then 'Core-' else '' end"
    is_time = f"lower({unit}) in ('second', 'seconds', 'hour', 'hours')"
    return f"case when {is_time} then {thing} || {unit} else {unit} end"


_MONTH = "substr(invoice.month, 1, 4) || '-' || substr(invoice.month, 5) || '-01'"
_IS_MONTH = "regexp_matches(invoice.month, '^[0-9]{6}$')"


def _object(pairs: str) -> str:
    return f"coalesce(try(to_json(map_from_entries(list_filter({pairs}, lambda one: one.key is not null)))), '{{}}')"


# the nearer label goes first
_TAGS = f"json_merge_patch({_object('project.labels')}, {_object('tags')}, {_object('labels')})"

_VENDOR_COLUMNS = {
    "cost_type": "cost_type",
    "export_time": "export_time",
    "transaction_type": "transaction_type",
    "publisher_type": "invoice.publisher_type",
    "service_id": "service.id",
    "project_number": "project.number",
    "consumption_model": "consumption_model.description",
    "adjustment_id": "adjustment_info.id",
    "adjustment_type": "adjustment_info.type",
    "adjustment_mode": "adjustment_info.mode",
    "credit_id": "credit.id",
    "credit_type": "credit.type",
}
_PACKED = ", ".join(f"{literal(name)}, {text}" for name, text in _VENDOR_COLUMNS.items())

_FIELDS = {
    "billed_cost": _NET_COST,
    "effective_cost": _NET_COST,
    "list_cost": _own("cost_at_list"),
    "contracted_cost": _own("cost"),
    "list_unit_price": _own("price.list_price"),
    "contracted_unit_price": _own("price.effective_price"),
    "billing_currency": "upper(currency)",
    "billing_units_per_usd": "currency_conversion_rate",
    "charge_period_start": "usage_start_time",
    "charge_period_end": "usage_end_time",
    "billing_period_start": f"case when {_IS_MONTH} then {_MONTH} || 'T00:00:00Z' else invoice.month end",
    "billing_period_end": f"cast(try_cast({_MONTH} as date) + interval 1 month as varchar) || 'Z'",
    "charge_category": _CATEGORY,
    "charge_class": "case when ends_with(adjustment_info.type, '_CORRECTION') then 'Correction' end",
    "charge_description": "coalesce(credit.full_name, credit.name, sku.description)",
    "charge_frequency": _own("case when is_fee then 'Recurring' when cost_kind = 'regular' then 'Usage-Based' end"),
    "consumed_quantity": _own("usage.amount"),
    "consumed_unit": _own(_unit("usage.unit")),
    "pricing_quantity": _own("usage.amount_in_pricing_units"),
    "pricing_unit": _own(_unit("usage.pricing_unit")),
    "pricing_category": _PRICING,
    "commitment_discount_id": "coalesce(subscription.instance_id, commitment_credit.id)",
    "commitment_discount_name": "coalesce(commitment_credit.full_name, commitment_credit.name)",
    "commitment_discount_category": """case commitment_credit.type
        when 'COMMITTED_USAGE_DISCOUNT' then 'Usage' when 'COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE' then 'Spend' end""",
    "capacity_reservation_id": "reservation",
    "capacity_reservation_status": """case
        when lower(is_unused_reservation) = 'true' then 'Unused' when reservation is not null then 'Used' end""",
    "resource_id": "coalesce(resource.global_name, resource.name)",
    "resource_name": "resource.name",
    "region_id": "coalesce(location.region, location.location)",
    "availability_zone": "location.zone",
    "sku_id": "sku.id",
    "sku_meter": "sku.description",
    "service_category": """case
        when service.description in ('Compute Engine', 'Kubernetes Engine') then 'Compute'
        when service.description = 'Vertex AI' then 'AI and Machine Learning' end""",
    "service_name": "service.description",
    "provider_name": "'Google Cloud'",
    "publisher_name": "coalesce(seller_name, 'Google Cloud')",
    "invoice_issuer_name": "'Google Cloud'",
    "invoice_id": "invoice.month",
    "billing_account_id": "billing_account_id",
    "sub_account_id": "project.id",
    "sub_account_name": "project.name",
    "sub_account_type": "case when project.id is not null then 'Project' end",
    "tags": f"nullif(cast({_TAGS} as varchar), '{{}}')",
    "instance_type": "case when gpu_name is not null or is_core or is_memory then machine end",
    "gpu_model": "gpu_name",
    # a patch of nulls leaves out what the record does not say
    "vendor_columns": f"cast(json_merge_patch('{{}}', json_object({_PACKED})) as varchar)",
}
