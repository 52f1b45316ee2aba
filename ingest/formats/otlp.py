"""OpenTelemetry spans as OTLP JSON: JSON lines (one export request a line), one document, or a list of them.

One record of a file holds many spans, and each span is a candidate row. Three families of attribute names are read: the
GenAI semantic conventions (``gen_ai.*``, current and older), OpenLLMetry (``llm.usage.*``, ``traceloop.*``) and
OpenInference (``openinference.span.kind``, ``llm.*``). What they mean, and where they mislead:

- Input counts include cache reads and writes, output counts include reasoning. Some emitters report Anthropic's own
  count, without the cached tokens: cached above input is quarantined, unless the source's ``token_convention`` says so.
- A cache write whose lifetime is not said is the vendors' default of five minutes.
- Agent, workflow and chain spans repeat the sum of their children, where these have usage in the same file; an agent
  whose usage nothing below repeats is the call. A model's span with another model's answer below it is the same call,
  instrumented twice, unless a tool stands between them; an embedding below it is another call. A tool, retrieval or
  guardrail span stays a call of its own, without the tokens of the models that it calls.
- A span of a model operation is a call even without usage: calls that failed or were cut off have none. Where the span
  around it has the usage, it is the same call again.
- A zero count is no usage when it comes to who repeats whom.
- Ids are hexadecimal (OTLP) or base64 (protobuf's JSON); here always lower-case hexadecimal. No parent is an absent,
  empty or zero id.
- Times are nanoseconds since 1970 as text; 0 means unknown. A number of another size is another unit, not a time.
- The response's model is the exact one, the request's may be an alias. A requested tier ``auto`` says nothing.
- Status UNSET is a success. A finish reason changes nothing: an answer stopped by a content filter was answered and is
  billed; whether it was usable is the application's to say.
- The conventions know no retry: attempts come from the label ``attempt_number``, else ``http.request.resend_count``.
- Costs are in USD, where an emitter puts one on the span.
- Labels are attributes named like the contract's columns, bare or after ``pertask.``, in OpenLLMetry's association
  properties, in OpenInference's metadata, or on the resource. The span goes before its resource. What one span of a
  trace says of its task holds for the others that say nothing, unless the trace has several.
- Events, links, messages, arguments, addresses of clients and the text of a status are not read.

The collector's file exporter with compression writes length-prefixed blocks, which is not a file of lines: export
without it and pack the file afterwards.
"""

from __future__ import annotations

from dataclasses import replace

import duckdb

from ingest.labels import LABELS
from ingest.reading import Head, Reader, Structure, literal, parsed
from ingest.rows import Extract

NAME = "otlp"
VERSION = 1
CONTRACTS = ("llm_calls",)
DELIVERY = "file"
REPLACES_PERIOD = False

_LISTS = ("resourceSpans", "resource_spans", "batches")
_OTHER_SIGNALS = ("resourceMetrics", "resource_metrics", "resourceLogs", "resource_logs")
_SCOPES = ("scopeSpans", "scope_spans", "instrumentationLibrarySpans", "instrumentation_library_spans")


def sniff(head: Head) -> bool:
    """Whether the file's records are export requests of spans, or Tempo's batches of them."""
    if head.kind not in ("json", "jsonl"):
        return False
    names = set(head.columns) if head.columns else {name for name in _LISTS if f'"{name}"' in head.text}
    if not names.isdisjoint(_LISTS[:2]):
        return True
    if not names.isdisjoint(_OTHER_SIGNALS):
        # One file for all signals, whose first lines happen to be of another.
        return any(f'"{name}"' in head.text for name in _LISTS[:2])
    return "batches" in names and any(f'"{name}"' in head.text for name in _SCOPES)


def read(reader: Reader) -> list[Extract]:
    """The spans that are calls, as attempts of calls."""
    spans = f"{reader.catalog}.otlp_spans"
    reader.connection.execute(f"create or replace table {spans} as {_spans(reader)}")
    facts = _Tree(reader, spans).facts()
    return [
        Extract(
            contract="llm_calls",
            rows=_with_facts(reader, spans, facts),
            columns=_FIELDS,
            skip=_SKIP,
            problem=_PROBLEM,
            input_includes_cached=True,
            output_includes_reasoning=True,
            hashed_id="call_id",
            is_unnested=True,
        )
    ]


# What is read of the JSON

_TEXT = "VARCHAR"
# An attribute's value is an object of one key, its type: a map of texts takes every type, in both spellings.
_ATTRIBUTES: Structure = [{"key": _TEXT, "value": "MAP(VARCHAR, VARCHAR)"}]
_SPAN_FIELDS = {
    # our name: the two spellings
    "trace_id": ("traceId", "trace_id"),
    "span_id": ("spanId", "span_id"),
    "parent_id": ("parentSpanId", "parent_span_id"),
    "started": ("startTimeUnixNano", "start_time_unix_nano"),
    "ended": ("endTimeUnixNano", "end_time_unix_nano"),
}
_SPAN: Structure = {
    **{spelling: _TEXT for spellings in _SPAN_FIELDS.values() for spelling in spellings},
    "name": _TEXT,
    "status": {"code": _TEXT},
    "attributes": _ATTRIBUTES,
}
_RESOURCE: Structure = [
    {"resource": {"attributes": _ATTRIBUTES}, **{name: [{"spans": [_SPAN]}] for name in _SCOPES}},
]

_RAW_FIELDS = ",\n".join(
    f'coalesce(span."{one}", span."{other}") as raw_{name}' for name, (one, other) in _SPAN_FIELDS.items()
)
# What is no object comes as null or as an object without values.
_IS_NO_SPAN = 'coalesce(span.name, span."traceId", span.trace_id) is null and span.attributes is null'

_LABELS = (*(name for name in LABELS if name != "temperature"), "session_id")
"""Attributes of an application that are read: contract columns by their own names."""

_TRACE_LABELS = ("task_id", "task_type", "team", "customer", "session_id")
"""Labels that hold for every call of a trace where they stand on one of its spans, unless its spans disagree."""

_RESOURCE_FIELDS = {
    # what may be true of a whole process: the label, then the resource's own attributes
    "task_id": (),
    "task_type": (),
    "workload_kind": (),
    "team": (),
    "application": ("service.name",),
    "customer": (),
    "environment": ("deployment.environment.name", "deployment.environment"),
    "prompt_version": (),
    "release": ("service.version",),
    "experiment": (),
    # where the application runs (cloud.region) is not where the model does
    "region": (),
    "deployment_id": (),
    "replica_id": (),
}

_LABEL_PREFIXES = ("pertask.", "traceloop.association.properties.")

_ATTRIBUTE_NAMES = {
    # our name: the attributes that say it, the first one that is there; newer names go before older ones
    "operation": ("gen_ai.operation.name",),
    "span_kind": ("openinference.span.kind",),
    "entity_kind": ("traceloop.span.kind",),
    "request_type": ("llm.request.type",),
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"),
    "model": (
        "gen_ai.response.model",
        "llm.response.model",
        "gen_ai.request.model",
        "llm.request.model",
        "llm.model_name",
        "embedding.model_name",
        "reranker.model_name",
    ),
    "response_id": ("gen_ai.response.id", "llm.response.id"),
    "conversation": ("gen_ai.conversation.id", "session.id"),
    "end_user": ("enduser.id", "user.id"),
    "address": ("server.address",),
    "tier": ("openai.response.service_tier", "gen_ai.openai.response.service_tier"),
    "asked_tier": ("openai.request.service_tier", "gen_ai.openai.request.service_tier"),
    "heat": ("gen_ai.request.temperature", "llm.request.temperature"),
    "first_chunk_seconds": ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"),
    "error": ("error.type",),
    "prompt_name": ("gen_ai.prompt.name",),
    "resend_count": ("http.request.resend_count",),
    "tool": ("gen_ai.tool.name", "tool.name", "traceloop.entity.name"),
    "data_source": ("gen_ai.data_source.id",),
    "tag_list": ("tag.tags",),
    "span_application": ("gen_ai.application_name",),
    "span_environment": ("deployment.environment.name", "deployment.environment", "gen_ai.environment"),
    "metadata": ("metadata",),
    # usage
    "input_count": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.token_count.prompt",
        "llm.usage.prompt_tokens",
        "llm.usage.input_tokens",
    ),
    "output_count": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
        "llm.usage.completion_tokens",
        "llm.usage.output_tokens",
    ),
    "total_count": ("gen_ai.usage.total_tokens", "llm.token_count.total", "llm.usage.total_tokens"),
    "cache_read": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.cache_read_tokens",
        "gen_ai.usage.cached_input_tokens",
        "llm.token_count.prompt_details.cache_read",
        "llm.usage.cache_read_input_tokens",
    ),
    "cache_write": (
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.cache_write_tokens",
        "llm.token_count.prompt_details.cache_write",
        "llm.usage.cache_creation_input_tokens",
    ),
    "cache_write_5m": (
        "gen_ai.usage.cache_creation.ephemeral_5m_input_tokens",
        "gen_ai.usage.cache_creation_ephemeral_5m_input_tokens",
        "gen_ai.usage.ephemeral_5m_input_tokens",
    ),
    "cache_write_1h": (
        "gen_ai.usage.cache_creation.ephemeral_1h_input_tokens",
        "gen_ai.usage.cache_creation_ephemeral_1h_input_tokens",
        "gen_ai.usage.ephemeral_1h_input_tokens",
    ),
    "reasoning": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
        "llm.usage.reasoning_tokens",
    ),
    "audio_input": ("llm.token_count.prompt_details.audio",),
    "audio_output": ("llm.token_count.completion_details.audio",),
    "cost": ("gen_ai.usage.cost", "llm.cost.total"),
}
_USAGE_NAMES = (
    "input_count",
    "output_count",
    "total_count",
    "cache_read",
    "cache_write",
    "cache_write_5m",
    "cache_write_1h",
    "reasoning",
    "audio_input",
    "audio_output",
    "cost",
)
_USAGE_PREFIXES = ("gen_ai.usage.", "llm.token_count.", "llm.usage.")


def _spans(reader: Reader) -> str:
    """SQL of one row per span, with its attributes as columns of text.

    What cannot be taken apart (a broken record, a list that is no list) stays one row, with ``lost`` naming the part
    that is missing. A record's parts that are empty lists are no rows.
    """
    rows = reader.rows(
        _OTHER_SIGNALS,
        nested=dict.fromkeys(_LISTS, _RESOURCE),
        known=(),
        heads=[_as_lines(reader, head) for head in reader.heads],
    )
    # A span's own text is needed only by rows without an id or with a fault, which are read with care; cut short, as
    # it may hold messages and the table may be spilled.
    content = f"to_json({{{_CONTENT}}})" if reader.is_careful else "null"
    return f"""
with resources as (
    select
        _file,
        _content,
        _broken,
        _line,
        {_coalesced(*_OTHER_SIGNALS)} is not null as is_other,
        {_coalesced(*_LISTS)} is null as is_lost,
        unnest(coalesce({", ".join(_quoted(name) for name in _LISTS)}, [null])) as part
    from ({rows})
),

scopes as (
    select
        * exclude (part, is_lost, r_names, r_values),
        {_RESOURCE_PICKS},
        case when is_lost then 'resourceSpans' when scope_list is null then 'scopeSpans' end as lost,
        unnest(coalesce(scope_list, [null])) as scope
    from (
        select
            * exclude (part),
            {_names("part.resource.attributes")} as r_names,
            {_values("part.resource.attributes")} as r_values,
            coalesce({", ".join(f"part.{_quoted(name)}" for name in _SCOPES)}) as scope_list,
            part
        from resources
    )
),

spans as (
    select
        * exclude (scope, lost),
        coalesce(lost, case when scope.spans is null then 'spans' end) as lost,
        unnest(coalesce(scope.spans, [null])) as span
    from scopes
),

listed as (
    select
        * exclude (span, lost, _content),
        coalesce(lost, case when {_IS_NO_SPAN} then 'span' end) as lost,
        _content as record_text,
        {_RAW_FIELDS},
        span.name as span_name,
        span.status.code as status_code,
        {_names("span.attributes")} as names,
        {_values("span.attributes")} as "values"
    from spans
),

picked as (
    select
        *,
        {_hexadecimal("raw_trace_id", 16)} as trace_id,
        {_hexadecimal("raw_span_id", 8)} as span_id,
        {_hexadecimal("raw_parent_id", 8)} as parent_id,
        {_moment("raw_started")} as started,
        {_moment("raw_ended")} as ended,
        {_SPAN_PICKS},
        {_UNKNOWN_USAGE} as unknown_usage
    from listed
),

told as (
    select
        * exclude (metadata),
        {parsed("metadata", dict.fromkeys(_LABELS, _TEXT))} as metadata,
        coalesce({", ".join(_USAGE_NAMES)}) is not null or len(unknown_usage) > 0 as has_usage,
        {_AMOUNT} as has_amount,
        {_IS_AGENT} as is_agent,
        error is not null or coalesce(status_code in ('2', 'STATUS_CODE_ERROR'), false) as is_failed
    from picked
),

sorted as (
    select *, {_KIND} as kind
    from told
)

select
    _file,
    case when lost is not null then record_text else cast({content} as varchar) end
        as _content,
    _broken,
    _line,
    lost,
    is_other,
    trace_id,
    span_id,
    nullif(parent_id, span_id) as parent_id,
    started,
    ended,
    is_agent,
    coalesce(has_usage, false) as has_usage,
    has_amount,
    is_failed,
    kind,
    coalesce(kind in {_OWN_KINDS}, false) as is_own,
    {", ".join(f"{text} as {_quoted(name)}" for name, text in _KEPT.items())}
from sorted"""


def _as_lines(reader: Reader, head: Head) -> Head:
    """A head that takes JSON lines for one document, as the first line is longer than the head, set right."""
    if head.kind != "json" or "\n" in head.text.strip() or not head.text.lstrip().startswith("{"):
        return head
    try:
        starts = reader.connection.execute(
            f"select count(*) from (select 1 from {reader.lines(head)} where starts_with(line, '{{') limit 2)"
        ).fetchone()
    except duckdb.Error:
        return head
    return replace(head, kind="jsonl") if starts == (2,) else head


def _quoted(name: str) -> str:
    return f'"{name}"'


def _coalesced(*names: str) -> str:
    """SQL of whether any of some columns of different types has a value: 1, else null."""
    return f"case when {' or '.join(f'{_quoted(name)} is not null' for name in names)} then 1 end"


def _names(attributes: str) -> str:
    """SQL of the names of a list of attributes, labels without their prefix."""
    cases = " ".join(
        f"when starts_with(one.key, {literal(prefix)}) then substr(one.key, {len(prefix) + 1})"
        for prefix in _LABEL_PREFIXES
    )
    return f"list_transform({attributes}, lambda one: case {cases} else one.key end)"


def _values(attributes: str) -> str:
    """SQL of the values of a list of attributes as text; null where they are empty."""
    return f"list_transform({attributes}, lambda one: nullif(map_values(one.value)[1], ''))"


def _pick(names: tuple[str, ...], prefix: str = "") -> str:
    """SQL of the first attribute of some names that has a value.

    Looking a name up in a list of names is faster than building a map, and takes an attribute that is there twice.
    """
    lists = ("r_names", "r_values") if prefix else ("names", '"values"')
    found = [f"{lists[1]}[list_position({lists[0]}, {literal(name)})]" for name in names]
    return found[0] if len(found) == 1 else f"coalesce({', '.join(found)})"


_RESOURCE_PICKS = ",\n".join(f"{_pick((name, *others), 'r')} as r_{name}" for name, others in _RESOURCE_FIELDS.items())
_SPAN_PICKS = ",\n".join(
    [f"{_pick(names)} as {name}" for name, names in _ATTRIBUTE_NAMES.items()]
    + [f"{_pick((name,))} as l_{name}" for name in _LABELS]
)


def _hexadecimal(text: str, length: int) -> str:
    """SQL of an id of so many bytes in lower-case hexadecimal, from that or from base64; null where empty or zero."""
    plain = f"rtrim({text}, '=')"
    padded = f"rpad(translate({plain}, '-_', '+/'), {-(-length // 3) * 4}, '=')"
    is_base64 = f"length({plain}) = {-(-length * 4 // 3)}"
    found = (
        f"case when {is_base64} then coalesce(lower(hex(try(from_base64({padded})))), {text}) else lower({text}) end"
    )
    return f"case when ltrim({found}, '0') != '' then {found} end"


def _moment(text: str) -> str:
    """SQL of a time from nanoseconds, exact to the microsecond; a text that is none stays as it is, and 0 is null."""
    number = f"try_cast({text} as bigint)"
    is_time = f"{number} >= {_EARLIEST_NANOSECONDS}"
    return f"case when {is_time} then cast(make_timestamptz({number} // 1000) as varchar) else nullif({text}, '0') end"


# 1973: smaller numbers are other units.
_EARLIEST_NANOSECONDS = 100_000_000_000_000_000

_CONTENT = """
    'ids': [raw_trace_id, raw_span_id, raw_parent_id],
    'times': [raw_started, raw_ended],
    'name': span_name,
    'status': status_code,
    'names': names,
    'values': list_transform("values", lambda one: left(one, 100))"""

_AMOUNT = " or ".join(
    f"coalesce(try_cast({name} as double) > 0, false)" for name in _USAGE_NAMES if name not in ("cache_write_5m",)
)

_OWN_KINDS = "('tool', 'retrieval', 'guardrail')"
"""Kinds that are calls of their own beside the model calls that they wrap."""

_IS_AGENT = """coalesce(
    lower(operation) in ('invoke_agent', 'create_agent', 'invoke_workflow')
    or upper(span_kind) in ('AGENT', 'CHAIN')
    or (operation is null and span_kind is null and lower(entity_kind) in ('workflow', 'agent', 'task')), false)"""

_KIND = """case when not is_agent then coalesce(
    case lower(operation)
        when 'chat' then 'llm'
        when 'text_completion' then 'llm'
        when 'completion' then 'llm'
        when 'generate_content' then 'llm'
        when 'embeddings' then 'embedding'
        when 'embedding' then 'embedding'
        when 'rerank' then 'rerank'
        when 'retrieval' then 'retrieval'
        when 'execute_tool' then 'tool'
    end,
    case upper(span_kind)
        when 'LLM' then 'llm'
        when 'EMBEDDING' then 'embedding'
        when 'TOOL' then 'tool'
        when 'RETRIEVER' then 'retrieval'
        when 'RERANKER' then 'rerank'
        when 'GUARDRAIL' then 'guardrail'
        when 'EVALUATOR' then case when has_usage then 'judge' end
    end,
    case when lower(entity_kind) = 'tool' then 'tool' end,
    case lower(request_type)
        when 'chat' then 'llm'
        when 'completion' then 'llm'
        when 'embedding' then 'embedding'
        when 'rerank' then 'rerank'
    end,
    l_call_kind,
    case when has_usage then 'llm' end
) end"""

_KNOWN_USAGE = ", ".join(
    literal(name) for usage in _USAGE_NAMES for name in _ATTRIBUTE_NAMES[usage] if name.startswith(_USAGE_PREFIXES)
)
_IS_USAGE = " or ".join(f"starts_with(name, {literal(prefix)})" for prefix in _USAGE_PREFIXES)
# An emitter's costs are no usage.
_UNKNOWN_USAGE = f"""list_filter(names, lambda name: ({_IS_USAGE})
    and name not in ({_KNOWN_USAGE})
    and not contains(name, 'cost')
    and regexp_full_match("values"[list_position(names, name)], '-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?'))"""
# A total says something only where its parts are not told.
_LONE_TOTAL = "case when kind != 'embedding' and coalesce(input_count, output_count) is null then total_count end"
_UNMAPPED = f"""case when len(unknown_usage) > 0 or {_LONE_TOTAL} is not null then concat('{{', concat_ws(', ',
    case when regexp_full_match({_LONE_TOTAL}, '[0-9]+') then concat('"total_tokens": ', {_LONE_TOTAL}) end,
    nullif(array_to_string(list_transform(list_sort(list_distinct(unknown_usage)), lambda name:
        concat(to_json(name), ': ', "values"[list_position(names, name)])), ', '), '')
), '}}') end"""


def _label(name: str, *others: str) -> str:
    """SQL of a label: the span's, its metadata's, other attributes of the span, and last the resource's."""
    texts = [f"l_{name}", f"metadata.{_quoted(name)}", *others]
    if name in _RESOURCE_FIELDS:
        texts.append(f"r_{name}")
    return f"coalesce({', '.join(texts)})"


# A fallback for what was called; span names are of few values by convention, and the operation goes before the name.
_CALLED = "regexp_replace(span_name, '^(execute_tool|retrieval) ', '')"
_5M, _1H, _WRITE = (f"try_cast({name} as bigint)" for name in ("cache_write_5m", "cache_write_1h", "cache_write"))
_NOT_1H = f"try({_WRITE} - coalesce({_1H}, 0))"
_ERROR_CODE = literal("[A-Za-z0-9_.:/$<>-]{1,120}")
_KEPT = {
    **{name: _label(name) for name in _LABELS if name not in ("call_kind", "attempt_number", "error_type")},
    "attempt": f"""coalesce({_label("attempt_number")}, cast(try_cast(resend_count as smallint) + 1 as varchar))""",
    "session_id": _label("session_id", "conversation"),
    "customer": _label("customer", "end_user"),
    "application": _label("application", "span_application"),
    "environment": _label("environment", "span_environment"),
    "prompt_version": _label("prompt_version", "prompt_name"),
    "service_tier": _label("service_tier", "tier", "nullif(lower(asked_tier), 'auto')"),
    "call_kind": f"coalesce({_label('call_kind')}, kind, case when is_agent and has_amount then 'llm' end)",
    # A code or a class, whatever an emitter puts there.
    "error_type": f"""coalesce({_label("error_type")},
        case when regexp_full_match(error, {_ERROR_CODE}) then error when error is not null then '_OTHER' end)""",
    "provider": "case when kind != 'tool' then provider end",
    "model": "case when kind != 'tool' then model end",
    "response_id": "response_id",
    "api_base": "address",
    "temperature": "heat",
    "first_chunk_seconds": "first_chunk_seconds",
    "tool_name": f"""case
        when kind = 'retrieval' then coalesce(data_source, tool, {_CALLED})
        when kind in {_OWN_KINDS} then coalesce(tool, {_CALLED}) end""",
    "input_tokens": "coalesce(input_count, case when kind = 'embedding' then total_count end)",
    "output_tokens": "output_count",
    "cache_read_tokens": "cache_read",
    # A breakdown may cover a part of the writes only: the rest lives five minutes.
    "cache_write_5m_tokens": f"""case when {_5M} < {_NOT_1H} then cast({_NOT_1H} as varchar)
        else coalesce(cache_write_5m, cast({_NOT_1H} as varchar), cache_write) end""",
    "cache_write_1h_tokens": "cache_write_1h",
    "reasoning_tokens": "reasoning",
    "audio_input_tokens": "audio_input",
    "audio_output_tokens": "audio_output",
    "reported_cost": "cost",
    "unmapped_usage": _UNMAPPED,
    "tags": """cast(to_json(nullif(json_extract_string(
        case when json_valid(tag_list) then tag_list end, '$.*[*].*'), [])) as varchar)""",
}
_IS_MODEL_CALL = "kind is not null and not is_own"
_COUNTS = (*(name for name in _KEPT if name.endswith("_tokens") and name not in _LABELS), "unmapped_usage")


# Who repeats whom


class _Tree:
    """The spans of a delivery as trees, to find the calls that stand around other calls.

    Attributes:
        reader: the open reader, in whose catalog the tables are.
        spans: the table of the spans.
    """

    def __init__(self, reader: Reader, spans: str) -> None:
        self.reader = reader
        self.spans = spans

    def facts(self) -> str:
        """The table of the spans that have a place in a tree to speak of.

        By row of the spans: whether a call with usage is below it, whether any model call is, and whether it is itself
        inside a call with usage. Ids that occur twice are one node, so a node has one parent at most. The marks climb
        in steps of 1, 2, 4, ... levels: a chain of a million spans takes twenty rounds.
        """
        self._make(
            "nodes",
            f"""
            select
                _file,
                trace_id,
                span_id,
                any_value(parent_id) as parent_id,
                min(rowid) as node,
                bool_or(has_amount) as has_amount,
                bool_or(has_amount and (is_agent or kind = 'llm')) as has_answer,
                bool_or({_IS_MODEL_CALL}) as is_call,
                bool_or(is_own) as is_own
            from {self.spans}
            where trace_id is not null and span_id is not null
            group by _file, trace_id, span_id""",
        )
        self._make(
            "links0",
            f"""
            select child.node, parent.node as above, child.is_own as through,
                child.has_amount, child.has_answer, child.is_call or child.has_amount as is_call,
                parent.has_amount and not parent.is_own as is_inside
            from {self._table("nodes")} as child
            inner join {self._table("nodes")} as parent
                on child._file = parent._file
                    and child.trace_id = parent.trace_id
                    and child.parent_id = parent.span_id""",
        )
        self._make(
            "marks0",
            f"""
            select above as node, bool_or(has_amount) as has_usage, bool_or(has_amount and not through) as is_direct,
                bool_or(has_answer and not through) as is_above_answer
            from {self._table("links0")} where is_call group by above""",
        )
        marks = self._climb()
        self._make(
            "facts",
            f"""
            with places as (
                select
                    coalesce(marks.node, inside.node) as node,
                    marks.node is not null as is_above,
                    coalesce(marks.has_usage, false) as is_above_usage,
                    coalesce(marks.is_direct, false) as is_direct,
                    coalesce(marks.is_above_answer, false) as is_above_answer,
                    inside.node is not null as is_inside
                from {marks} as marks
                full join (select distinct node from {self._table("links0")} where is_inside) as inside
                    on marks.node = inside.node
            )

            select spans.rowid as row, places.* exclude (node)
            from places
            inner join {self._table("nodes")} as nodes on places.node = nodes.node
            inner join {self.spans} as spans
                on nodes._file = spans._file and nodes.trace_id = spans.trace_id and nodes.span_id = spans.span_id""",
        )
        return self._table("facts")

    def _climb(self) -> str:
        """The table of the marks after they have climbed to the roots."""
        marks, links, size = self._table("marks0"), self._table("links0"), self._size("marks0")
        for number in range(1, 64):
            self._make(
                f"marks{number}",
                f"""
                select node, bool_or(has_usage) as has_usage, bool_or(is_direct) as is_direct,
                    bool_or(is_above_answer) as is_above_answer
                from (
                    select * from {marks}
                    union all
                    select links.above, marks.has_usage, marks.is_direct and not links.through,
                        marks.is_above_answer and not links.through
                    from {marks} as marks
                    inner join {links} as links on marks.node = links.node
                )
                group by node""",
            )
            before, size = size, self._size(f"marks{number}")
            self._drop(marks)
            marks = self._table(f"marks{number}")
            if size == before:
                break
            self._make(
                f"links{number}",
                f"""
                select low.node, high.above, low.through or high.through as through
                from {links} as low
                inner join {links} as high on low.above = high.node""",
            )
            if number > 1:
                self._drop(links)
            links = self._table(f"links{number}")
        return marks

    def _size(self, name: str) -> tuple:
        """How much is marked: once nothing more is, the marks are complete."""
        return self.reader.connection.execute(
            f"select count(*), count_if(has_usage), count_if(is_direct), count_if(is_above_answer) "
            f"from {self._table(name)}"
        ).fetchone()

    def _make(self, name: str, query: str) -> None:
        self.reader.connection.execute(f"create or replace table {self._table(name)} as {query}")

    def _drop(self, table: str) -> None:
        self.reader.connection.execute(f"drop table {table}")

    def _table(self, name: str) -> str:
        return f"{self.reader.catalog}.otlp_{name}"


def _with_facts(reader: Reader, spans: str, facts: str) -> str:
    """SQL of the spans with their places in the trees."""
    rows = f"from {spans} as spans left join {facts} as facts on spans.rowid = facts.row"
    heads = {str(head.path): head for head in reader.heads}
    # A record of a document has no line: its spans are numbered.
    starts = reader.connection.execute(f"select _file, min(rowid) from {spans} group by _file").fetchall()
    documents = [file for file, head in heads.items() if _as_lines(reader, head).kind == "json"]
    cases = " ".join(f"when {literal(file)} then {1 - first}" for file, first in starts if file in documents)
    line = f"coalesce(_line, case spans._file {cases} end + spans.rowid)" if cases else "_line"
    shared = ", ".join(f"coalesce(spans.{name}, traces.{name}) as {name}" for name in _TRACE_LABELS)
    said = ", ".join(
        f"case when count(distinct {name}) = 1 then any_value({name}) end as {name}" for name in _TRACE_LABELS
    )
    return f"""
select
    spans.* replace ({line} as _line, {shared}),
    facts.* exclude (row),
    {_IS_MODEL_CALL} as is_model_call
{rows}
left join (
    select _file, trace_id, {said}
    from {spans}
    where coalesce({", ".join(_TRACE_LABELS)}) is not null
    group by _file, trace_id
) as traces on spans._file = traces._file and spans.trace_id = traces.trace_id"""


_SKIP = """case when _broken is null then case
    when lost is not null then case when is_other then 'metrics or logs' end
    when is_agent and has_usage and is_above_usage then 'repeats its children'
    when is_agent and has_amount then null
    when kind is null then 'no call'
    when is_own then null
    when has_amount and case when kind = 'llm' then is_above_answer else is_direct end then 'repeats its children'
    when has_amount then null
    when is_above then 'repeats its children'
    when is_inside and not is_failed then 'repeats its parent'
end end"""

_PROBLEM = "case when _broken is null and lost is not null then lost || '|missing' end"

_FIELDS = {
    # ids: an application may name the call that an attempt belongs to, where the attempts can be told apart
    "call_id": """case
        when attempt is null then coalesce(trace_id || ':' || span_id, call_id)
        else coalesce(call_id, trace_id || ':' || span_id) end""",
    "attempt_number": "attempt",
    "trace_id": "trace_id",
    "span_id": "span_id",
    "started_at": "started",
    "first_token_at": """strftime(
        to_timestamp(0) + to_microseconds(epoch_us(try_cast(started as timestamptz))
            + cast(try_cast(first_chunk_seconds as decimal(18, 9)) * 1000000 as bigint)),
        '%Y-%m-%d %H:%M:%S.%f%z')""",
    "ended_at": "ended",
    "status": "case when is_failed then 'failed' else 'success' end",
    "reported_currency": "case when reported_cost is not null then 'USD' end",
    **{name: f"case when not (is_own and coalesce(is_above, false)) then {_quoted(name)} end" for name in _COUNTS},
    **{name: _quoted(name) for name in _KEPT if name not in (*_COUNTS, "call_id", "attempt", "first_chunk_seconds")},
}
