"""LiteLLM's ``LiteLLM_SpendLogs`` table as JSON lines, CSV or Parquet: one row per proxied call, failures too.

What the fields mean, and where they mislead:

- ``prompt_tokens`` includes cache reads and cache writes, for every vendor; ``completion_tokens`` includes reasoning.
- The table has no columns for cached tokens: they are in ``metadata.usage_object`` (in older rows in
  ``metadata.additional_usage_values``), in the vendor's own spelling, sometimes in two at once of which one is 0.
- Rows from before the ``status`` column say in ``metadata.status`` whether the call failed.
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
    rows = reader.rows(_COLUMNS, nested={"metadata": _METADATA}, known=_LEFT_OUT)
    return [
        Extract(
            contract="llm_calls",
            rows=_counted(rows),
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
_USAGE = {
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
}
_METADATA = {
    "status": _TEXT,
    "user_api_key_team_alias": _TEXT,
    "attempted_retries": _TEXT,
    "error_information": {"error_class": _TEXT, "error_code": _TEXT},
    "spend_logs_metadata": dict.fromkeys(_LABELS, _TEXT),
    "usage_object": _USAGE,
    "additional_usage_values": _USAGE,
}
"""The part of the metadata that is read; whatever else it holds stays where it is."""


def _label(key: str) -> str:
    return f"metadata.spend_logs_metadata.{key}"


def _first(*texts: str) -> str:
    """SQL of the first text that says something."""
    return f"coalesce({', '.join(f'nullif({text}, {_EMPTY})' for text in texts)})"


_EMPTY = "''"


def _larger(one: str, other: str) -> str:
    """SQL of a count that vendors spell in two ways, one of which may be a mere 0."""
    is_other = f"{one} is not null and {other} is not null and try_cast({one} as bigint) < try_cast({other} as bigint)"
    return f"case when {is_other} then {other} else coalesce({one}, {other}) end"


def _usage(*keys: str) -> str:
    """SQL of a count of the usage, where newer or where older rows keep it."""
    return f"coalesce({'.'.join(['metadata.usage_object', *keys])}, {'.'.join([_OLDER_USAGE, *keys])})"


_OLDER_USAGE = "metadata.additional_usage_values"
_INPUT = "prompt_tokens_details"
_LIFETIMES = "cache_creation_token_details"
_5M, _1H = "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"


def _counted(rows: str) -> str:
    """SQL of the rows with ``attempt`` and, whatever their spelling, the counts of the prompt cache."""
    cache_read = _larger(_usage(_INPUT, "cached_tokens"), _usage("cache_read_input_tokens"))
    cache_write = _larger(_usage(_INPUT, "cache_creation_tokens"), _usage("cache_creation_input_tokens"))
    cache_write_5m = _larger(_usage(_INPUT, _LIFETIMES, _5M), _usage("cache_creation", _5M))
    cache_write_1h = _larger(_usage(_INPUT, _LIFETIMES, _1H), _usage("cache_creation", _1H))
    return f"""
        select
            *,
            coalesce(
                nullif({_label("attempt_number")}, ''),
                cast(try_cast(metadata.attempted_retries as smallint) + 1 as varchar)
            ) as attempt,
            {cache_read} as cache_read,
            {cache_write} as cache_write,
            {cache_write_5m} as cache_write_5m,
            {cache_write_1h} as cache_write_1h,
            try(try_cast(cache_write as bigint) - coalesce(try_cast(cache_write_1h as bigint), 0)) as not_1h
        from ({rows})"""


_FIELDS = {
    # ids: an application may name the call that an attempt belongs to, where the attempts can be told apart; else each
    # request is a call of its own
    "call_id": f"""case when attempt is null then {_first("request_id", _label("call_id"))}
        else {_first(_label("call_id"), "request_id")} end""",
    "attempt_number": "attempt",
    "parent_call_id": _label("parent_call_id"),
    "response_id": "request_id",
    "task_id": _label("task_id"),
    "session_id": "session_id",
    # labels
    "task_type": _label("task_type"),
    "step_name": _label("step_name"),
    "step_index": _label("step_index"),
    "call_kind": f"""coalesce(nullif({_label("call_kind")}, ''), case
        when call_type in ('embedding', 'aembedding') then 'embedding'
        when call_type in ('rerank', 'arerank') then 'rerank'
        else 'llm' end)""",
    "workload_kind": _label("workload_kind"),
    "team": _first(_label("team"), "metadata.user_api_key_team_alias", "team_id"),
    "application": _label("application"),
    "customer": _first(_label("customer"), "end_user"),
    "environment": _label("environment"),
    "prompt_version": _label("prompt_version"),
    "release": _label("release"),
    "experiment": _label("experiment"),
    # times (UTC)
    "started_at": '"startTime"',
    "first_token_at": '"completionStartTime"',
    "ended_at": '"endTime"',
    # what was called
    "provider": "custom_llm_provider",
    "model": """case
        when starts_with(model, custom_llm_provider || '/') then substr(model, length(custom_llm_provider) + 2)
        else model end""",
    "service_tier": _first(_label("service_tier"), _usage("service_tier")),
    "region": _label("region"),
    "deployment_id": _first(_label("deployment_id"), "model_id"),
    "api_base": "api_base",
    "replica_id": _label("replica_id"),
    # tokens: totals, and the parts that the totals contain
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "cache_read_tokens": "cache_read",
    # a write whose lifetime is not said is the vendors' default of five minutes
    "cache_write_5m_tokens": """case when try_cast(cache_write_5m as bigint) < not_1h then cast(not_1h as varchar)
        else coalesce(cache_write_5m, cast(not_1h as varchar), cache_write) end""",
    "cache_write_1h_tokens": "cache_write_1h",
    "reasoning_tokens": _usage("completion_tokens_details", "reasoning_tokens"),
    "audio_input_tokens": _usage(_INPUT, "audio_tokens"),
    "audio_output_tokens": _usage("completion_tokens_details", "audio_tokens"),
    "tool_call_count": _label("tool_call_count"),
    # outcome
    "status": f"""case lower({_first("status", "metadata.status")})
        when 'failure' then 'failed' when 'success' then 'success' else {_first("status", "metadata.status")} end""",
    "error_type": f"""coalesce(nullif({_label("error_type")}, ''), nullif(concat_ws(' ',
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
