"""LiteLLM's ``LiteLLM_SpendLogs`` table as JSON lines, CSV or Parquet: one row per proxied call, failures too.

What the fields mean, and where they mislead:

- ``prompt_tokens`` includes cache reads and cache writes, for every vendor; ``completion_tokens`` includes reasoning.
- The table has no columns for cached tokens: they are in ``metadata.usage_object``, in the vendor's own spelling.
- ``cache_hit`` is LiteLLM's own response cache, not the vendor's prompt cache.
- Times carry no zone and are UTC.
- ``metadata.spend_logs_metadata`` is the free dictionary in which an application labels its requests.
"""

from __future__ import annotations

from ingest.reading import Head, Reader
from ingest.rows import Extract

NAME = "litellm_spend_logs"
VERSION = 1
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
    return [
        Extract(
            contract="llm_calls",
            rows=reader.rows(_COLUMNS, nested={"metadata": _METADATA}, known=_LEFT_OUT),
            columns=_FIELDS,
            input_includes_cached=True,
            output_includes_reasoning=True,
            hashed_id="call_id",
        )
    ]


_LABELS = (
    "call_id",
    "attempt_number",
    "parent_call_id",
    "task_id",
    "task_type",
    "step_name",
    "step_index",
    "call_kind",
    "workload_kind",
    "team",
    "application",
    "customer",
    "environment",
    "prompt_version",
    "release",
    "experiment",
    "service_tier",
    "region",
    "deployment_id",
    "replica_id",
    "tool_call_count",
    "error_type",
    "retry_reason",
    "prompt_hash",
    "prefix_hash",
    "prefix_tokens",
    "context_tokens",
    "temperature",
    "router_confidence",
)
"""Keys of ``spend_logs_metadata`` that are read: contract columns by their own names."""

_TEXT = "VARCHAR"
_WRITE_LIFETIMES = {"ephemeral_5m_input_tokens": _TEXT, "ephemeral_1h_input_tokens": _TEXT}
_METADATA = {
    "user_api_key_team_alias": _TEXT,
    "attempted_retries": _TEXT,
    "error_information": {"error_class": _TEXT, "error_code": _TEXT},
    "spend_logs_metadata": dict.fromkeys(_LABELS, _TEXT),
    "usage_object": {
        "service_tier": _TEXT,
        "cache_read_input_tokens": _TEXT,
        "cache_creation_input_tokens": _TEXT,
        "cache_creation": _WRITE_LIFETIMES,
        "prompt_tokens_details": {
            "cached_tokens": _TEXT,
            "audio_tokens": _TEXT,
            "cache_creation_tokens": _TEXT,
            "cache_creation_token_details": _WRITE_LIFETIMES,
        },
        "completion_tokens_details": {"reasoning_tokens": _TEXT, "audio_tokens": _TEXT},
    },
}
"""The part of the metadata that is read; whatever else it holds stays where it is."""


def _label(key: str) -> str:
    return f"metadata.spend_logs_metadata.{key}"


def _usage(*keys: str) -> str:
    return ".".join(["metadata.usage_object", *keys])


_WRITES = ("prompt_tokens_details", "cache_creation_token_details")
_CACHE_WRITE_5M = f"""coalesce({_usage(*_WRITES, "ephemeral_5m_input_tokens")},
    {_usage("cache_creation", "ephemeral_5m_input_tokens")})"""
_CACHE_WRITE_1H = f"""coalesce({_usage(*_WRITES, "ephemeral_1h_input_tokens")},
    {_usage("cache_creation", "ephemeral_1h_input_tokens")})"""
_CACHE_WRITE = f"""coalesce({_usage("prompt_tokens_details", "cache_creation_tokens")},
    {_usage("cache_creation_input_tokens")})"""

_FIELDS = {
    # ids: an application may name the call that an attempt belongs to; else each request is a call of its own
    "call_id": f"coalesce({_label('call_id')}, nullif(request_id, ''))",
    "attempt_number": f"""coalesce({_label("attempt_number")},
        cast(try_cast(metadata.attempted_retries as bigint) + 1 as varchar))""",
    "parent_call_id": _label("parent_call_id"),
    "response_id": "request_id",
    "task_id": _label("task_id"),
    "session_id": "session_id",
    # labels
    "task_type": _label("task_type"),
    "step_name": _label("step_name"),
    "step_index": _label("step_index"),
    "call_kind": f"""coalesce({_label("call_kind")}, case
        when call_type in ('embedding', 'aembedding') then 'embedding'
        when call_type in ('rerank', 'arerank') then 'rerank'
        else 'llm' end)""",
    "workload_kind": _label("workload_kind"),
    "team": f"coalesce({_label('team')}, metadata.user_api_key_team_alias, nullif(team_id, ''))",
    "application": _label("application"),
    "customer": f"coalesce({_label('customer')}, nullif(end_user, ''))",
    "environment": _label("environment"),
    "prompt_version": _label("prompt_version"),
    "release": _label("release"),
    "experiment": _label("experiment"),
    # times (UTC)
    "started_at": '"startTime"',
    "first_token_at": '"completionStartTime"',
    "ended_at": '"endTime"',
    # what was called
    "provider": "nullif(custom_llm_provider, '')",
    "model": """case
        when starts_with(model, custom_llm_provider || '/') then substr(model, length(custom_llm_provider) + 2)
        else model end""",
    "service_tier": f"coalesce({_label('service_tier')}, {_usage('service_tier')})",
    "region": _label("region"),
    "deployment_id": f"coalesce({_label('deployment_id')}, nullif(model_id, ''))",
    "api_base": "api_base",
    "replica_id": _label("replica_id"),
    # tokens: totals, and the parts that the totals contain
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "cache_read_tokens": f"""coalesce({_usage("prompt_tokens_details", "cached_tokens")},
        {_usage("cache_read_input_tokens")})""",
    # a write whose lifetime is not said is the vendors' default of five minutes
    "cache_write_5m_tokens": f"""coalesce({_CACHE_WRITE_5M},
        cast(try_cast({_CACHE_WRITE} as bigint) - coalesce(try_cast({_CACHE_WRITE_1H} as bigint), 0) as varchar))""",
    "cache_write_1h_tokens": _CACHE_WRITE_1H,
    "reasoning_tokens": _usage("completion_tokens_details", "reasoning_tokens"),
    "audio_input_tokens": _usage("prompt_tokens_details", "audio_tokens"),
    "audio_output_tokens": _usage("completion_tokens_details", "audio_tokens"),
    "tool_call_count": _label("tool_call_count"),
    # outcome
    "status": "case when lower(status) = 'failure' then 'failed' when status is null then 'success' else status end",
    "error_type": f"""coalesce({_label("error_type")}, nullif(concat_ws(' ',
        metadata.error_information.error_class, metadata.error_information.error_code), ''))""",
    "retry_reason": _label("retry_reason"),
    "response_cache_hit": "case lower(cache_hit) when 'true' then 'true' when 'false' then 'false' end",
    "reported_cost": "spend",
    "reported_currency": "'USD'",
    # for caching and routing
    "prompt_hash": _label("prompt_hash"),
    "prefix_hash": _label("prefix_hash"),
    "prefix_tokens": _label("prefix_tokens"),
    "context_tokens": _label("context_tokens"),
    "temperature": _label("temperature"),
    "router_confidence": _label("router_confidence"),
    "tags": "case when request_tags not in ('', '[]', '{}') then request_tags end",
}
