"""LiteLLM's ``StandardLoggingPayload`` as its callbacks write it: JSON lines, a list, or one object a file (S3, GCS).

One record per attempt that LiteLLM logged. What the fields mean, and where they mislead:

- ``startTime``, ``endTime`` and ``completionStartTime`` are seconds since 1970 with a fraction; dates as text are read
  too. Where the answer was not streamed, ``completionStartTime`` is the end of the call and tells no first token.
- ``prompt_tokens`` includes cache reads and cache writes, for every vendor; ``completion_tokens`` includes reasoning.
- The counts of the prompt cache are in the usage object: in ``metadata``, else in ``hidden_params``, else in the answer
  itself, of which nothing but the usage and the service tier is read. ``litellm_usage`` says how it is spelled.
- ``response_cost`` is the cost. ``cost_breakdown`` is read nowhere: what its parts contain is told in three ways that
  contradict each other, and some overlap. ``saved_cache_cost`` was never spent.
- ``cache_hit`` is LiteLLM's own response cache, not the vendor's prompt cache.
- ``standard_built_in_tools_params`` are what the caller allowed; only the usage says how often a search ran.
- ``model_parameters`` may hold whole tool definitions; the service tier and the temperature are read.
- ``guardrail_information`` says that a guardrail looked at a call; the call stays a model call.

Which attempts belong together:

- ``trace_id`` groups the attempts of one request, but only where the caller names no session: else it is the session's
  id, and the same for all its requests. Behind the proxy (which tells the caller's key) ``litellm_call_id`` is the same
  for all attempts of a request; in the library it is another one for each.
- ``attempted_retries`` starts again at 0 with each fallback to another group of models, and ``attempted_fallbacks``
  counts those (since August 2026). Where it is missing, attempts in different groups cannot be ordered, so each group
  of a request is a call of its own.
- A success that was neither a retry nor a fallback is a call by itself, with its own id. What failed or was tried again
  is grouped by ``litellm_call_id`` behind the proxy and by ``trace_id`` elsewhere. An application that runs the library
  with sessions of its own should label ``call_id`` and ``attempt_number``.
- Behind the proxy only the first failure of a request is logged, so numbers may be missing between attempts.
"""

from __future__ import annotations

from ingest.formats.litellm_usage import (
    CACHE_HIT,
    MODEL,
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
from ingest.reading import Head, Reader, parsed
from ingest.rows import Extract

NAME = "litellm_payload"
VERSION = 1
CONTRACTS = ("llm_calls",)
DELIVERY = "file"
REPLACES_PERIOD = False

_COLUMNS = (
    "id",
    "trace_id",
    "litellm_call_id",
    "call_type",
    "stream",
    "response_cost",
    "status",
    "custom_llm_provider",
    "prompt_tokens",
    "completion_tokens",
    "startTime",
    "endTime",
    "completionStartTime",
    "model",
    "model_id",
    "model_group",
    "api_base",
    "cache_hit",
    "request_tags",
    "end_user",
    "response",
)
_LEFT_OUT = (
    "total_tokens",
    "cost_breakdown",
    "response_cost_failure_debug_info",
    "status_fields",
    "response_time",
    "model_map_information",
    "cache_key",
    "saved_cache_cost",
    "requester_ip_address",
    "user_agent",
    "messages",
    "error_str",
    "guardrail_information",
    "standard_built_in_tools_params",
)
"""Known and never stored: addresses and message text, and what other columns already say."""

_OWN_KEYS = {"id", "call_type", "response_cost", "startTime", "prompt_tokens", "completion_tokens"}


def sniff(head: Head) -> bool:
    """Whether the records have the payload's own keys."""
    if head.kind not in ("json", "jsonl"):
        return False
    if head.columns:
        return set(head.columns) >= _OWN_KEYS and "request_id" not in head.columns
    # A record that is longer than the head has no columns to tell; the keys stand before its messages.
    return all(f'"{key}":' in head.text for key in (*_OWN_KEYS, "custom_llm_provider", "saved_cache_cost"))


def read(reader: Reader) -> list[Extract]:
    """The payloads as attempts of calls."""
    rows = reader.rows(_COLUMNS, nested=_NESTED, known=_LEFT_OUT)
    includes_cached = reader.options.input_includes_cached is not False
    return [
        Extract(
            contract="llm_calls",
            rows=counted(_with_usage(rows), _usage, _label, input_includes_cached=includes_cached),
            columns=_FIELDS,
            input_includes_cached=True,
            output_includes_reasoning=True,
            hashed_id="call_id",
        )
    ]


_NESTED = {
    "metadata": {
        "user_api_key_hash": TEXT,
        "user_api_key_request_route": TEXT,
        "user_api_key_team_alias": TEXT,
        "user_api_key_team_id": TEXT,
        "user_api_key_end_user_id": TEXT,
        "team_alias": TEXT,
        "team_id": TEXT,
        "attempted_retries": TEXT,
        "attempted_fallbacks": TEXT,
        "spend_logs_metadata": dict.fromkeys(LABELS, TEXT),
        "requester_metadata": dict.fromkeys(LABELS, TEXT),
        "usage_object": TEXT,
        "mcp_tool_call_metadata": {"name": TEXT, "namespaced_tool_name": TEXT},
    },
    "hidden_params": {"model_id": TEXT, "api_base": TEXT, "usage_object": TEXT},
    "error_information": {
        "error_class": TEXT,
        "error_code": TEXT,
        "error_rate_limit_category": TEXT,
        "llm_provider": TEXT,
    },
    "model_parameters": {"service_tier": TEXT, "temperature": TEXT},
}
"""What is read of the nested objects; whatever else they hold stays where it is."""


def _label(key: str) -> str:
    """SQL of a label: of the logs' own dictionary, else of the one that came with the request."""
    return first(f"metadata.spend_logs_metadata.{key}", f"metadata.requester_metadata.{key}")


def _usage(*keys: str) -> str:
    """SQL of a count of the usage; an answer of the Responses interface has other names for the details."""
    found = ".".join(["usage", *keys])
    other = _OTHER_NAMES.get(keys[0], {}).get(keys[-1])
    return f"coalesce({found}, usage.{other}.{keys[-1]})" if other else found


_OTHER_NAMES = {
    "prompt_tokens_details": {"cached_tokens": "input_tokens_details", "cache_write_tokens": "input_tokens_details"},
    "completion_tokens_details": {"reasoning_tokens": "output_tokens_details"},
}
_PAYLOAD_USAGE = {
    **USAGE,
    "input_tokens_details": {"cached_tokens": TEXT, "cache_write_tokens": TEXT},
    "output_tokens_details": {"reasoning_tokens": TEXT},
}


def _with_usage(rows: str) -> str:
    """SQL of the rows with ``usage``, read from the first place that has it, and what no column takes of it."""
    answered = f"""
        select * exclude (response), coalesce(own_usage, answer.usage) as usage_text
        from (
            select
                *,
                {first(_object("metadata.usage_object"), _object("hidden_params.usage_object"))} as own_usage,
                case when own_usage is null then {parsed("response", {"usage": TEXT, "service_tier": TEXT})} end
                    as answer
            from ({rows})
        )"""
    return unmapped_usage(f"select *, {parsed('usage_text', _PAYLOAD_USAGE)} as usage from ({answered})", "usage_text")


def _object(text: str) -> str:
    """SQL of a JSON object's text, null where the object is empty."""
    return f"case when {text} not in ('{{}}', 'null') then {text} end"


def _time(seconds: str) -> str:
    """SQL of a time in seconds since 1970 as text in UTC, to the microsecond; any other text stays."""
    microseconds = f"cast(try_cast({seconds} as decimal(24, 6)) * 1000000 as bigint)"
    return f"coalesce(try(cast(make_timestamp({microseconds}) as varchar) || '+00'), {seconds})"


_IS_PROXY = "coalesce(metadata.user_api_key_hash, metadata.user_api_key_request_route, '') != ''"
_IS_FIRST_AND_LAST = "coalesce(retries, 0) = 0 and coalesce(fallbacks, 0) = 0 and lower(status) = 'success'"
_REQUEST = f"""case when {_IS_PROXY} then {first("litellm_call_id", "trace_id")}
    else {first("trace_id", "litellm_call_id")} end"""
_STATUS = f"""coalesce(nullif(status, ''), case
    when {first("error_information.error_class", "error_information.error_code")} is not null then 'failure' end)"""
_TOOL_CALL = "call_type = 'call_mcp_tool'"

_FIELDS = {
    **labelled(_label),
    **tokens(_usage),
    # ids: see above
    "call_id": f"""coalesce(
        case when attempt is not null then nullif({_label("call_id")}, '') end,
        case
            when coalesce(retries, fallbacks) is null or ({_IS_FIRST_AND_LAST}) then null
            when fallbacks is null and model_group != '' then {_REQUEST} || '/' || model_group
            else {_REQUEST} end,
        nullif(id, ''), nullif(litellm_call_id, ''), {_label("call_id")})""",
    "attempt_number": "attempt",
    "response_id": "id",
    "trace_id": "trace_id",
    # whose call it was
    "call_kind": f"""case when {_TOOL_CALL} then {first(_label("call_kind"), "'tool'")} else {call_kind(_label)} end""",
    "tool_name": f"""case when {_TOOL_CALL} then {
        first("metadata.mcp_tool_call_metadata.namespaced_tool_name", "metadata.mcp_tool_call_metadata.name")
    } end""",
    "team": first(
        _label("team"),
        "metadata.user_api_key_team_alias",
        "metadata.team_alias",
        "metadata.user_api_key_team_id",
        "metadata.team_id",
    ),
    "customer": first(_label("customer"), "end_user", "metadata.user_api_key_end_user_id"),
    # times
    "started_at": _time('"startTime"'),
    "first_token_at": f"""case
        when lower(stream) = 'true' or (stream is null and "completionStartTime" != "endTime") then
        {_time('"completionStartTime"')} end""",
    "ended_at": _time('"endTime"'),
    # what was called
    "provider": f"""case when not {_TOOL_CALL} then {
        first("custom_llm_provider", "error_information.llm_provider")
    } end""",
    "model": f"case when not {_TOOL_CALL} then {MODEL} end",
    "service_tier": first(
        _label("service_tier"), "usage.service_tier", "answer.service_tier", "model_parameters.service_tier"
    ),
    "deployment_id": first(_label("deployment_id"), "model_id", "hidden_params.model_id"),
    "api_base": first("api_base", "hidden_params.api_base"),
    # outcome
    "status": f"case lower({_STATUS}) when 'failure' then 'failed' when 'success' then 'success' else {_STATUS} end",
    "error_type": f"""coalesce({_label("error_type")}, nullif(concat_ws(' ',
        nullif(error_information.error_class, ''), nullif(error_information.error_code, ''),
        nullif(error_information.error_rate_limit_category, '')), ''))""",
    "response_cache_hit": CACHE_HIT,
    "reported_cost": "response_cost",
    "reported_currency": "'USD'",
    "temperature": first(_label("temperature"), "model_parameters.temperature"),
    "tags": TAGS,
}
