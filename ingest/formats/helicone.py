"""Helicone's requests: the table ``request_response_rmt``, or what the API and its export tool make of it.

JSON lines, a JSON list, CSV or Parquet. The table and the API spell some columns apart (``status`` and
``response_status``, ``latency`` and ``delay_ms``, ``model`` and ``request_model``), and their cost has another unit.
What the fields mean, and where they mislead:

- ``cost`` in the table is a whole number of billionths of a dollar. The API gives dollars under the same name: the unit
  is told by the other columns' spelling, never by the size of the number. A fraction where billionths are expected
  quarantines the row.
- ``prompt_tokens`` excludes cache reads and cache writes. It includes audio, which older rows count beside it: audio
  above its total is taken as beside.
- ``completion_tokens`` excludes ``reasoning_tokens``. Older rows have no such column, and reasoning is in the total.
- ``prompt_cache_write_tokens`` does not say how long the write is kept: five minutes, the vendors' default.
- 0 stands for "not reported" as well: the table has no nulls. ``time_to_first_token`` is 0 when nothing was streamed.
- ``cache_reference_id`` names the request whose answer Helicone's own cache gave again; all zeros means none.
- ``status`` is HTTP's, or Helicone's own: -1 timeout, -2 still pending, -3 cancelled, -4 stopped as a threat, 0 without
  an answer.
- ``response_id`` is mostly Helicone's own UUID, which no other source knows.
- A request is written again when it changes (a score, a property): the newest ``updated_at`` in a file counts.
- ``properties`` hold an application's labels, with any capitals, and hyphens for underscores, as HTTP headers have it.
  ``Helicone-Session-Id`` is the session, ``-Name`` what kind of task it is, ``-Path`` the step. The others are tags.
- Times carry no zone and are UTC. Latency and time to first token are in milliseconds.
"""

from __future__ import annotations

import re

from ingest.labels import LABELS
from ingest.reading import Head, Reader, literal, parsed
from ingest.rows import Extract

NAME = "helicone"
VERSION = 1
CONTRACTS = ("llm_calls",)
DELIVERY = "file"
REPLACES_PERIOD = False

_API_ONLY = ("response_status", "delay_ms", "request_model", "request_user_id", "request_properties", "request_path")
"""Columns of the API's spelling: in their company, ``cost`` is in dollars."""

_COLUMNS = (
    "request_id",
    "response_id",
    "request_created_at",
    "response_created_at",
    "updated_at",
    "latency",
    "status",
    "time_to_first_token",
    "prompt_tokens",
    "prompt_cache_write_tokens",
    "prompt_cache_read_tokens",
    "prompt_audio_tokens",
    "completion_tokens",
    "completion_audio_tokens",
    "reasoning_tokens",
    "model",
    "response_model",
    "model_override",
    "provider",
    "user_id",
    "target_url",
    "properties",
    "cache_reference_id",
    "cost",
    "costUSD",
    "cost_usd",
    "prompt_version",
    *_API_ONLY,
)
_LEFT_OUT = (
    "request_body",
    "response_body",
    "signed_body_url",
    "llmSchema",
    "organization_id",
    "proxy_key_id",
    "auth_hash",
    "helicone_user",
    "country_code",
    "request_referrer",
    "node_id",
    "job_id",
    "threat",
    "total_tokens",
    "ai_gateway_body_mapping",
    "gateway_endpoint_version",
    "gateway_router_id",
    "gateway_deployment_target",
    "scores",
    "assets",
    "asset_ids",
    "asset_urls",
    "cache_enabled",
    "prompt_id",
    "is_passthrough_billing",
    "storage_location",
    "size_bytes",
    "feedback_created_at",
    "feedback_id",
    "feedback_rating",
    "created_at",
)
"""Known and never stored: keys, addresses and message text, and what other columns already say."""

_ONE_OF = ({"latency", "status"}, {"delay_ms", "response_status"}, {"response_id", "response_status"})


def sniff(head: Head) -> bool:
    """Whether the file has Helicone's own column names, in either spelling."""
    names = set(head.columns)
    if not names and head.kind in ("json", "jsonl"):
        # The first record is longer than what is read here: its bodies are in it.
        names = set(re.findall(r'"(\w+)"\s*:', head.text))
        return {"response_id", "response_created_at", "response_status"} <= names
    if not {"request_created_at", "prompt_tokens", "completion_tokens"} <= names:
        return False
    return bool(names & {"request_id", "response_id"}) and any(spelling <= names for spelling in _ONE_OF)


def read(reader: Reader) -> list[Extract]:
    """The requests as attempts of calls."""
    rows = reader.rows(_COLUMNS, known=_LEFT_OUT)
    return [
        Extract(
            contract="llm_calls",
            rows=_counted(_newest_marked(reader, rows)),
            columns=_FIELDS,
            skip=_SKIP,
            problem=_PROBLEM,
            input_includes_cached=False,
            output_includes_reasoning=False,
            hashed_id="call_id",
        )
    ]


_SESSION = ("helicone_session_id", "helicone_session_name", "helicone_session_path")
_READ_PROPERTIES = ", ".join(literal(name) for name in (*LABELS, *_SESSION))
"""The properties that become columns; the others are kept as tags."""

_NO_ID = "00000000-0000-0000-0000-000000000000"
_UUID = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"


def _label(key: str) -> str:
    """SQL of a property, null where it is empty."""
    return f"nullif(labels[list_position(keys, {literal(key)})], '')"


def _newest_marked(reader: Reader, rows: str) -> str:
    """SQL of the rows with ``is_older``: whether the file holds a newer version of the same request."""
    names = {name for head in reader.heads for name in head.columns}
    if names and "updated_at" not in names:
        return f"select *, false as is_older from ({rows})"
    # A record is found again by its place, which a join does not keep.
    return f"""
        with requests as materialized (
            select row_number() over () as place, * from ({rows})
        ),

        newest as (
            select
                _file,
                request_id,
                max(struct_pack(
                    at := coalesce(try_cast(updated_at as timestamptz), timestamptz '-infinity'),
                    place := place
                )).place as place
            from requests
            where request_id != ''
            group by _file, request_id
            having count(*) > 1
        )

        select requests.* exclude (place), coalesce(requests.place != newest.place, false) as is_older
        from requests
        left join newest on requests._file = newest._file and requests.request_id = newest.request_id
        order by requests.place"""


def _counted(rows: str) -> str:
    """SQL of the rows with what several columns need: labels, unit of the cost, status, parsed times and counts."""
    is_api = " or ".join(f"{name} is not null" for name in _API_ONLY)
    # The export tool doubles the quotes of an object in a CSV cell twice.
    text = "coalesce(nullif(properties, '{}'), request_properties)"
    plain = f"case when regexp_matches({text}, '^[{{]\"\"[^:]') then replace({text}, '\"\"', '\"') else {text} end"
    return f"""
        select
            *,
            list_transform(map_keys(properties_map), lambda key: lower(replace(key, '-', '_'))) as keys,
            map_values(properties_map) as labels,
            cast(to_json(map_from_entries(list_filter(
                map_entries(properties_map),
                lambda entry: lower(replace(entry.key, '-', '_')) not in ({_READ_PROPERTIES})
            ))) as varchar) as tags,
            try_cast(request_created_at as timestamptz) as begun,
            case when is_api then null else try_cast(cost as decimal(28, 9)) end as billionths,
            coalesce(nullif(status, ''), response_status) as status_text,
            coalesce(cast(try_cast(status_text as integer) as varchar), status_text) as code,
            coalesce(nullif(latency, ''), delay_ms) as milliseconds,
            coalesce(nullif(user_id, ''), request_user_id) as caller,
            coalesce(nullif(model_override, ''), nullif(model, ''), nullif(response_model, ''), request_model)
                as called,
            try_cast(prompt_audio_tokens as bigint) as audio_in,
            try_cast(completion_audio_tokens as bigint) as audio_out
        from (
            select *, {is_api} as is_api, {parsed(plain, "MAP(VARCHAR, VARCHAR)")} as properties_map
            from ({rows})
        )"""


def _later(milliseconds: str) -> str:
    """SQL of the time so long after the request; null where nothing was measured."""
    number = f"try_cast({milliseconds} as decimal(18, 3))"
    return f"case when {number} > 0 then cast(begun + to_microseconds(cast({number} * 1000 as bigint)) as varchar) end"


def _with_audio(total: str, audio: str) -> str:
    """SQL of a total that contains its audio; audio above it was counted beside it."""
    whole = f"try_cast({total} as bigint)"
    return f"case when {audio} > {whole} then cast(try({whole} + {audio}) as varchar) else {total} end"


_SKIP = """case
    when is_older then 'older version of the same request'
    when code = '-2' then 'still pending'
    end"""

_PROBLEM = """case
    when billionths is null and not is_api and cost != '' then 'reported_cost|not a number'
    when billionths != trunc(billionths)
        then 'reported_cost|has a fraction, so it is not in billionths of a dollar'
    end"""

_IS_SUCCESS = "try_cast(code as integer) between 200 and 299"

_FIELDS = {
    # ids: an application may name the call that an attempt belongs to, where the attempts can be told apart; else each
    # request is a call of its own
    "call_id": f"""coalesce(case when {_label("attempt_number")} is not null then {_label("call_id")} end,
        nullif(request_id, ''), nullif(response_id, ''), {_label("call_id")})""",
    "attempt_number": _label("attempt_number"),
    "parent_call_id": _label("parent_call_id"),
    "response_id": f"case when not regexp_matches(response_id, '{_UUID}') then response_id end",
    "task_id": _label("task_id"),
    "session_id": _label("helicone_session_id"),
    # labels
    "task_type": f"coalesce({_label('task_type')}, {_label('helicone_session_name')})",
    "step_name": f"coalesce({_label('step_name')}, {_label('helicone_session_path')})",
    "step_index": _label("step_index"),
    "call_kind": f"""coalesce({_label("call_kind")}, case
        when starts_with(called, 'tool:') then 'tool'
        when called = 'vector_db' or starts_with(called, 'vector_db:') then 'retrieval'
        when regexp_matches(coalesce(target_url, request_path), '/embeddings/?([?#]|$)') then 'embedding'
        when regexp_matches(coalesce(target_url, request_path), '/rerank/?([?#]|$)') then 'rerank'
        end)""",
    "workload_kind": _label("workload_kind"),
    "team": _label("team"),
    "application": _label("application"),
    "customer": f"coalesce({_label('customer')}, case when caller not in ('undefined', 'null') then caller end)",
    "environment": _label("environment"),
    "prompt_version": f"coalesce({_label('prompt_version')}, prompt_version)",
    "release": _label("release"),
    "experiment": _label("experiment"),
    # times (UTC)
    "started_at": "request_created_at",
    "first_token_at": _later("time_to_first_token"),
    "ended_at": f"""case
        when response_created_at = '' or starts_with(response_created_at, '1970-01-01') or response_created_at is null
        then {_later("milliseconds")}
        else response_created_at end""",
    # what was called
    "provider": "case when lower(provider) not in ('custom', 'unknown') then lower(provider) end",
    "model": "case when not regexp_matches(called, '^(tool:|vector_db(:|$))') then called end",
    "tool_name": """case when starts_with(called, 'tool:') then substr(called, 6)
        when starts_with(called, 'vector_db') then called end""",
    "service_tier": _label("service_tier"),
    "region": _label("region"),
    "deployment_id": _label("deployment_id"),
    "api_base": "target_url",
    "replica_id": _label("replica_id"),
    # tokens: cache and reasoning are beside the totals, audio is in them
    "input_tokens": _with_audio("prompt_tokens", "audio_in"),
    "output_tokens": _with_audio("completion_tokens", "audio_out"),
    "cache_read_tokens": "prompt_cache_read_tokens",
    "cache_write_5m_tokens": "prompt_cache_write_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "audio_input_tokens": "prompt_audio_tokens",
    "audio_output_tokens": "completion_audio_tokens",
    "tool_call_count": _label("tool_call_count"),
    # outcome
    "status": f"""case when {_IS_SUCCESS} then 'success'
        when try_cast(code as integer) is not null then 'failed' else code end""",
    "error_type": f"""coalesce({_label("error_type")}, case
        when {_IS_SUCCESS} then null
        when code = '-1' then 'timeout'
        when code = '-3' then 'cancelled'
        when code = '-4' then 'threat'
        when code = '0' then 'no_answer'
        else 'http_' || try_cast(code as integer) end)""",
    "retry_reason": _label("retry_reason"),
    "response_cache_hit": f"case when cache_reference_id != '' then cache_reference_id != '{_NO_ID}' end",
    "reported_cost": """case when is_api then coalesce(nullif("costUSD", ''), nullif(cost_usd, ''), cost)
        else coalesce(cast(billionths * 0.000000001 as varchar), nullif("costUSD", ''), cost_usd) end""",
    "reported_currency": "case when concat(cost, \"costUSD\", cost_usd) != '' then 'USD' end",
    # for caching and routing
    "prompt_hash": _label("prompt_hash"),
    "prefix_hash": _label("prefix_hash"),
    "prefix_tokens": _label("prefix_tokens"),
    "context_tokens": _label("context_tokens"),
    "temperature": _label("temperature"),
    "router_confidence": _label("router_confidence"),
    "tags": "case when tags not in ('', '{}') then tags end",
}
