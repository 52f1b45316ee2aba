"""Anthropic's messages usage report, as the API answers it: one row per result of a time bucket.

``GET /v1/organizations/usage_report/messages`` answers in pages. What the fields mean, and where they mislead:

- The counts are disjoint: the whole input is uncached + read from the cache + written for 5 minutes + for an hour.
  ``output_tokens`` includes reasoning, which is not reported apart.
- ``server_tool_use.web_search_requests`` counts searches, not tokens.
- A dimension is null where the report was not grouped by it; a null workspace is also the default workspace. Two
  reports of one time grouped in two ways count the same tokens twice: deliver one of them.
- Tokens of the priority tiers are here, but their cost is not in the cost report.
- There is no count of requests.
- Times are RFC 3339 in UTC, ends exclusive.
"""

from __future__ import annotations

from ingest.reading import Head, Reader
from ingest.report_pages import is_report, results
from ingest.rows import Extract

NAME = "anthropic_usage"
VERSION = 1
CONTRACTS = ("vendor_usage",)
DELIVERY = "file"
REPLACES_PERIOD = False

_MINE = r'"uncached_input_tokens"\s*:'
_TEXT = "VARCHAR"
_RESULT = {
    "uncached_input_tokens": _TEXT,
    "cache_creation": {"ephemeral_5m_input_tokens": _TEXT, "ephemeral_1h_input_tokens": _TEXT},
    "cache_read_input_tokens": _TEXT,
    "output_tokens": _TEXT,
    "server_tool_use": {"web_search_requests": _TEXT},
    "model": _TEXT,
    "workspace_id": _TEXT,
    "service_tier": _TEXT,
    "context_window": _TEXT,
}
"""The keys of a result that are read. Ids of keys and accounts stay where they are."""


def sniff(head: Head) -> bool:
    """Whether the document holds results of the usage report, or buckets without any result."""
    return is_report(head, "starting_at", "ending_at", _MINE)


def read(reader: Reader) -> list[Extract]:
    """The report's results as vendor usage."""
    return [
        Extract(
            contract="vendor_usage",
            rows=results(reader, "starting_at", "ending_at", _RESULT),
            columns=_FIELDS,
            problem=_PROBLEM,
            hashed_id="line_id",
            is_unnested=True,
        )
    ]


_PROBLEM = """coalesce(_found, case
    when result.uncached_input_tokens is null and result.output_tokens is null
        then '|not a result of the usage report'
    end)"""

_FIELDS = {
    "provider": "'anthropic'",
    # times
    "started_at": "bucket_start",
    "ended_at": "bucket_end",
    # dimensions
    "model": "result.model",
    "service_tier": "result.service_tier",
    "context_tier": "result.context_window",
    "project_id": "result.workspace_id",
    # counts
    "uncached_input_tokens": "result.uncached_input_tokens",
    "cache_read_tokens": "result.cache_read_input_tokens",
    "cache_write_5m_tokens": "result.cache_creation.ephemeral_5m_input_tokens",
    "cache_write_1h_tokens": "result.cache_creation.ephemeral_1h_input_tokens",
    "output_text_tokens": "result.output_tokens",
    "web_search_count": "result.server_tool_use.web_search_requests",
}
