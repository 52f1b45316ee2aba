"""Anthropic's cost report, as the API answers it: one row per result of a day.

``GET /v1/organizations/cost_report`` answers in pages. What the fields mean, and where they mislead:

- ``amount`` is decimal text in the currency's smallest unit: ``"123.78912"`` USD is 1.2378912 dollars. A number instead
  of text has the same unit. It may be negative: a credit.
- ``description``, ``model``, ``cost_type``, ``token_type``, ``service_tier`` and ``context_window`` are null unless the
  report was grouped by description; a null workspace is also the default workspace.
- The priority tiers' cost is never in this report, so usage and costs do not tie where they are used.
- ``token_type`` is in the lake's words here.
- A day is a UTC day. The report changes for some days after it: the newest one of a day counts.
"""

from __future__ import annotations

from ingest.reading import Head, Reader
from ingest.report_pages import is_report, results, utc_date
from ingest.rows import Extract

NAME = "anthropic_costs"
VERSION = 1
CONTRACTS = ("vendor_costs",)
DELIVERY = "file"
REPLACES_PERIOD = False

_MINE = (r'"amount"\s*:', r'"currency"\s*:')
_KEYS = (
    "amount",
    "currency",
    "cost_type",
    "token_type",
    "model",
    "service_tier",
    "context_window",
    "description",
    "workspace_id",
)


def sniff(head: Head) -> bool:
    """Whether the document holds results of the cost report, or buckets without any result."""
    return is_report(head, "starting_at", "ending_at", *_MINE)


def read(reader: Reader) -> list[Extract]:
    """The report's results as vendor costs."""
    return [
        Extract(
            contract="vendor_costs",
            rows=_scaled(results(reader, "starting_at", "ending_at", dict.fromkeys(_KEYS, "VARCHAR"))),
            columns=_FIELDS,
            problem=_PROBLEM,
            hashed_id="line_id",
            is_unnested=True,
        )
    ]


_WHOLE_UNIT = """('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'VND', 'XAF', 'XOF',
    'XPF')"""
_THOUSANDTHS = "('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND')"
"""Currencies whose smallest unit is not a hundredth (ISO 4217)."""


def _scaled(rows: str) -> str:
    """SQL of the rows with ``currency`` and ``amount``, in the currency's main unit: exact, with ten decimals."""
    return f"""
        select
            *,
            upper(result.currency) as currency,
            try_cast(result.amount as decimal(34, 10)) * case
                when currency in {_WHOLE_UNIT} then 1.000
                when currency in {_THOUSANDTHS} then 0.001
                else 0.010
            end as amount
        from ({rows})"""


_PROBLEM = """coalesce(_found, case
    when result.amount is null and result.currency is null then '|not a result of the cost report'
    when result.amount != '' and amount is null then 'amount|not a number'
    end)"""

_TOKEN_TYPE = """case result.token_type
    when 'cache_read_input_tokens' then 'cache_read_tokens'
    when 'cache_creation.ephemeral_5m_input_tokens' then 'cache_write_5m_tokens'
    when 'cache_creation.ephemeral_1h_input_tokens' then 'cache_write_1h_tokens'
    else result.token_type end"""

_FIELDS = {
    "provider": "'anthropic'",
    "cost_date": utc_date("bucket_start"),
    "model": "result.model",
    "line_item": "result.description",
    "cost_type": "result.cost_type",
    "token_type": _TOKEN_TYPE,
    "service_tier": "result.service_tier",
    "context_tier": "result.context_window",
    "amount": "amount",
    "currency": "currency",
    "project_id": "result.workspace_id",
}
