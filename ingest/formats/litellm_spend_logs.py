"""LiteLLM's ``LiteLLM_SpendLogs`` table as JSON lines, CSV or Parquet: one row per proxied call, failures too.

What the fields mean, and where they mislead:

- ``prompt_tokens`` includes cache reads and cache writes, for every vendor; ``completion_tokens`` includes reasoning.
- The table has no columns for cached tokens: they are in ``metadata.usage_object`` (in older rows in
  ``metadata.additional_usage_values``), in the vendor's own spelling (``litellm_usage``).
- Rows from before the ``status`` column say in ``metadata.status`` whether the call failed.
- ``cache_hit`` is LiteLLM's own response cache, not the vendor's prompt cache.
- Times carry no zone and are UTC.
- ``metadata.spend_logs_metadata`` is the free dictionary in which an application labels its requests.
"""

from __future__ import annotations

from ingest.formats.litellm_usage import (
    CACHE_HIT,
    MODEL,
    OLDER_USAGE,
    TAGS,
    TEXT,
    USAGE,
    call_kind,
    counted,
    first,
    labelled,
    tokens,
    unmapped_usage,
)
from ingest.labels import LABELS
from ingest.reading import Head, Reader, Structure, parsed
from ingest.rows import Extract

NAME = "litellm_spend_logs"
VERSION = 2
CONTRACTS = ("llm_calls",)
DELIVERY = "file"
REPLACES_PERIOD = False

_COLUMNS = (
    "request_id",
    "call_type",
    "spend",
    "prompt_tokens",
    "completion_tokens",
    "startTime",
    "endTime",
    "completionStartTime",
    "model",
    "model_id",
    "custom_llm_provider",
    "api_base",
    "team_id",
    "end_user",
    "cache_hit",
    "request_tags",
    "session_id",
    "status",
)
_LEFT_OUT = (
    "api_key",
    "total_tokens",
    "model_group",
    "user",
    "organization_id",
    "agent_id",
    "request_duration_ms",
    "cache_key",
    "requester_ip_address",
    "messages",
    "response",
    "proxy_server_request",
    "mcp_namespaced_tool_name",
    "mcp_server_name",
    "project_id",
    "created_at",
    "updated_at",
)
"""Known and never stored: keys, addresses and message text, and what other columns already say."""


def sniff(head: Head) -> bool:
    """Whether the file has the table's own column names."""
    return {"request_id", "startTime", "prompt_tokens", "completion_tokens"} <= set(head.columns)


def read(reader: Reader) -> list[Extract]:
    """The spend log's rows as attempts of calls."""
    rows = reader.rows(_COLUMNS, nested={"metadata": _METADATA}, known=_LEFT_OUT)
    return [
        Extract(
            contract="llm_calls",
            rows=counted(
                unmapped_usage(_with_usage(rows), "metadata.usage_object"),
                _usage,
                _label,
                input_includes_cached=reader.options.input_includes_cached is not False,
            ),
            columns=_FIELDS,
            input_includes_cached=True,
            output_includes_reasoning=True,
            hashed_id="call_id",
        )
    ]


_METADATA = {
    "status": TEXT,
    "user_api_key_team_alias": TEXT,
    "attempted_retries": TEXT,
    "attempted_fallbacks": TEXT,
    "error_information": {"error_class": TEXT, "error_code": TEXT},
    "spend_logs_metadata": dict.fromkeys(LABELS, TEXT),
    "usage_object": "JSON",
    "additional_usage_values": OLDER_USAGE,
}
"""The part of the metadata that is read; whatever else it holds stays where it is."""


def _with_usage(rows: str) -> str:
    """SQL of the rows with ``usage``; its text stays beside it, for what no column takes of it."""
    return f"select *, {parsed('metadata.usage_object', USAGE)} as usage from ({rows})"


def _label(key: str) -> str:
    return f"metadata.spend_logs_metadata.{key}"


def _usage(*keys: str) -> str:
    """SQL of a count of the usage, where newer or where older rows keep it."""
    newer = ".".join(["usage", *keys])
    known: Structure = OLDER_USAGE
    for key in keys:
        known = known.get(key)
        if known is None:
            return newer
    return f"coalesce({newer}, {'.'.join(['metadata.additional_usage_values', *keys])})"


_FIELDS = {
    **labelled(_label),
    **tokens(_usage),
    # ids: an application may name the call that an attempt belongs to, where the attempts can be told apart; else each
    # request is a call of its own
    "call_id": f"""case when attempt is null then {first("request_id", _label("call_id"))}
        else {first(_label("call_id"), "request_id")} end""",
    "attempt_number": "attempt",
    "response_id": "request_id",
    "session_id": "session_id",
    # whose call it was
    "call_kind": call_kind(_label),
    "team": first(_label("team"), "metadata.user_api_key_team_alias", "team_id"),
    "customer": first(_label("customer"), "end_user"),
    # times (UTC)
    "started_at": '"startTime"',
    "first_token_at": '"completionStartTime"',
    "ended_at": '"endTime"',
    # what was called
    "provider": "custom_llm_provider",
    "model": MODEL,
    "service_tier": first(_label("service_tier"), _usage("service_tier")),
    "deployment_id": first(_label("deployment_id"), "model_id"),
    "api_base": "api_base",
    # outcome
    "status": f"""case lower({first("status", "metadata.status")})
        when 'failure' then 'failed' when 'success' then 'success' else {first("status", "metadata.status")} end""",
    "error_type": f"""coalesce(nullif({_label("error_type")}, ''), nullif(concat_ws(' ',
        metadata.error_information.error_class, metadata.error_information.error_code), ''))""",
    "response_cache_hit": CACHE_HIT,
    "reported_cost": "spend",
    "reported_currency": "'USD'",
    "temperature": _label("temperature"),
    "tags": TAGS,
}
