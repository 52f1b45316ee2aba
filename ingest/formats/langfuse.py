"""Langfuse's export to a blob store: files of observations, and of traces and scores beside them.

JSON lines, one JSON list, CSV or Parquet, with the columns of the legacy export (``parent_observation_id``), of the
enriched observations (which carry their trace's session, user, tags and release), of the events table (``span_id``) or
of the interface (``parentObservationId``). All files of one folder are one delivery; where the export has a folder for
each table, the files of one run are, which have one name. What the fields mean, and where they mislead:

- ``usage_details`` is a map with free keys, in Langfuse's spelling or a vendor's. In Langfuse's spelling each key is a
  bucket of its own: ``input`` excludes cached and ``output`` excludes reasoning tokens. Keys in a vendor's spelling
  keep that vendor's convention: ``prompt_tokens`` and ``promptTokenCount`` include cached tokens. Many applications
  send a total that includes its parts under Langfuse's keys; ``total`` then shows it. A total that the application did
  not send is Langfuse's own sum of all keys, so it is no evidence against a vendor's convention.
- ``total_cost`` is what Langfuse stands by, provided or computed, in USD. A 0 without ``cost_details`` means unpriced.
- A row may come more than once: the latest version counts, and ``is_deleted`` takes the observation away.
- Agents and chains often repeat the usage of the calls below them, and so does a generation around generations.
- ``latency`` and ``time_to_first_token`` are seconds or milliseconds, by the age of the integration: times are read
  from ``end_time`` and ``completion_start_time`` alone.
- ``environment`` is ``default`` where the application named none; ``tool_calls`` is empty where none were looked for.
- ``status_message`` is free text: only the class of an error at its beginning is kept.
- The provider is no column. Metadata or a prefix of the model may tell it.
- ``metadata`` is where an application labels its calls; what the trace, or the one root of the trace, says of the task
  holds for all its calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ingest.formats.tasks import OUTCOMES
from ingest.labels import LABELS
from ingest.reading import Head, Reader, Structure, identifier, literal, parsed
from ingest.rows import Extract

NAME = "langfuse"
VERSION = 1
CONTRACTS = ("llm_calls", "tasks")
DELIVERY = "folder"
REPLACES_PERIOD = False

_TABLE_FOLDERS = ("observations", "observations_v2", "events", "traces", "scores", "manifests")


def delivery_place(path: Path) -> Path:
    """What the files of one export run share: the folder above the tables' and the run's name, else their folder."""
    if path.parent.name in _TABLE_FOLDERS:
        return path.parent.parent / path.name.split(".")[0]
    return path.parent


_OBSERVATION = {
    # our name: the columns that carry it, the first one that says something
    "id": ("id", "span_id", "spanId"),
    "trace": ("trace_id", "traceId"),
    "project": ("project_id", "projectId"),
    "parent": ("parent_observation_id", "parentObservationId", "parent_span_id", "parentSpanId"),
    "type": ("type",),
    "name": ("name",),
    "started": ("start_time", "startTime"),
    "ended": ("end_time", "endTime"),
    "first_token": ("completion_start_time", "completionStartTime"),
    "level": ("level",),
    "message": ("status_message", "statusMessage"),
    "model": ("provided_model_name", "providedModelName", "model"),
    "parameters": ("model_parameters", "modelParameters"),
    "usage": ("usage_details", "usageDetails"),
    "older_usage": ("usage",),
    "input_total": ("promptTokens", "inputUsage", "inputTokens"),
    "output_total": ("completionTokens", "outputUsage", "outputTokens"),
    "costs": ("cost_details", "costDetails"),
    "cost": ("total_cost", "totalCost"),
    "prompt": ("prompt_name", "promptName"),
    "prompt_number": ("prompt_version", "promptVersion"),
    "tools": ("tool_call_names", "toolCallNames"),
    "tool_calls": ("tool_calls", "toolCalls"),
    "environment": ("environment",),
    "release": ("release",),
    "version": ("version",),
    "user": ("user_id", "userId"),
    "session": ("session_id", "sessionId"),
    "tags": ("tags",),
    "experiment": ("experiment_name", "experimentName"),
    "metadata": ("metadata",),
    "metadata_names": ("metadata_names", "metadataNames"),
    "metadata_values": ("metadata_values", "metadataValues"),
    "event": ("event_ts", "eventTs"),
    "updated": ("updated_at", "updatedAt"),
    "created": ("created_at", "createdAt"),
    "deleted": ("is_deleted", "isDeleted"),
}
_TRACE = {
    "id": ("id",),
    "moment": ("timestamp",),
    **{
        name: _OBSERVATION[name]
        for name in ("project", "environment", "release", "version", "user", "session", "tags", "metadata")
    },
    **{name: _OBSERVATION[name] for name in ("event", "updated", "created", "deleted")},
}
_SCORE = {
    "id": ("id",),
    "moment": ("timestamp",),
    "trace": _OBSERVATION["trace"],
    "observation": ("observation_id", "observationId"),
    "name": ("name",),
    "number": ("value",),
    "word": ("string_value", "stringValue"),
    "data_type": ("data_type", "dataType"),
    **{name: _OBSERVATION[name] for name in ("project", "event", "updated", "created", "deleted")},
}

_LEFT_OUT = (
    *("input", "output", "input_price", "output_price", "total_price", "inputPrice", "outputPrice"),
    *("totalPrice", "latency", "time_to_first_token", "timeToFirstToken", "model_id", "modelId"),
    *("internal_model_id", "internalModelId", "internalModel", "prompt_id", "promptId", "tool_definitions"),
    *("toolDefinitions", "usage_pricing_tier_id", "usagePricingTierId", "usage_pricing_tier_name"),
    *("usagePricingTierName", "provided_usage_details", "providedUsageDetails", "provided_cost_details"),
    *("providedCostDetails", "calculated_input_cost", "calculated_output_cost", "calculated_total_cost"),
    *("calculatedInputCost", "calculatedOutputCost", "calculatedTotalCost", "input_cost", "output_cost"),
    *("inputCost", "outputCost", "totalTokens", "totalUsage", "unit", "trace_name", "traceName", "bookmarked"),
    *("public", "is_app_root", "isAppRoot", "is_root_observation", "event_bytes", "eventBytes", "source"),
    *("comments", "scores", "experiment_id", "experiment_dataset_id", "experiment_item_id"),
    *("experiment_item_version", "experiment_item_expected_output", "experiment_item_root_span_id"),
    *("experiment_description", "experiment_metadata_names", "experiment_metadata_values"),
    *("experiment_item_metadata_names", "experiment_item_metadata_values", "input_length", "output_length"),
    *("input_truncated", "output_truncated", "metadata_prefixes", "metadata_hashes", "metadata_long_values"),
    *("metadata_json_names", "metadata_json_values", "tool_call_count", "service_name", "service_version"),
    *("scope_name", "scope_version", "telemetry_sdk_language", "telemetry_sdk_name", "telemetry_sdk_version"),
    *("ingestion_sdk_name", "ingestion_sdk_version", "blob_storage_file_path", "file_path"),
    *("s3_first_seen_timestamp", "name", "timestamp", "externalId", "html_path", "htmlPath", "totalCost"),
    *("observations", "comment", "author_user_id", "authorUserId", "config_id", "configId", "queue_id"),
    *("queueId", "dataset_run_id", "datasetRunId", "execution_trace_id", "long_string_value", "session_id"),
    *("sessionId", "environment", "metadata"),
)
"""Known and never stored: message text, prices of another day, and what other columns already say."""

_OBSERVATION_MARKS = ("parent", "usage", "model", "level", "project")


def sniff(head: Head) -> bool:
    """Whether the file holds observations, traces or scores, or is the manifest of an export."""
    return _kind(head) is not None


def read(reader: Reader) -> list[Extract]:
    """The observations as attempts of calls, and what traces and scores say of their tasks."""
    heads = {kind: [head for head in reader.heads if _kind(head) == kind] for kind in _TABLES}
    places = " ".join(f"when {literal(path)} then {literal(delivery_place(path))}" for path in reader.files)
    rows = {}
    # Each table is asked for once, and in the order of the extracts that count what the CSV reader refuses of it.
    for kind, columns in _TABLES.items():
        names = [name for spellings in columns.values() for name in spellings]
        found = reader.rows(names, known=_LEFT_OUT, heads=heads[kind])
        rows[kind] = f"select *, case _file {places} end as _delivery from ({found})"
    tasks = Extract(contract="tasks", rows=_tasks(rows), columns=_TASK_FIELDS, skip="_reason")
    calls = Extract(
        contract="llm_calls",
        rows=_calls(rows, reader, has_traces=bool(heads["trace"])),
        columns=_FIELDS,
        skip="_reason",
        problem="_wrong",
        hashed_id="call_id",
    )
    return [tasks, calls] if heads["trace"] or heads["score"] else [calls]


_TABLES = {"trace": _TRACE, "score": _SCORE, "observation": _OBSERVATION}


def _kind(head: Head) -> str | None:
    """Which of the export's files this is."""
    columns = set(head.columns)

    def has(table: dict[str, tuple[str, ...]], *names: str) -> bool:
        return all(columns.intersection(table[name]) for name in names)

    if has(_OBSERVATION, "id", "trace", "type", "started"):
        return "observation" if any(has(_OBSERVATION, name) for name in _OBSERVATION_MARKS) else None
    if has(_SCORE, "id", "trace", "name", "number") and has(_SCORE, "data_type"):
        return "score"
    if has(_TRACE, "id", "moment") and not has(_OBSERVATION, "trace"):
        marks = (has(_TRACE, "user"), has(_TRACE, "session"), bool(columns & {"bookmarked", "public"}))
        return "trace" if any(marks) and (has(_TRACE, "project") or "bookmarked" in columns) else None
    if head.kind in ("json", "jsonl") and {"exportSource", "files", "tables"} <= columns:
        return "manifest"
    return None


# Labels

_TASK_LABELS = (
    "task_id",
    "task_type",
    "workload_kind",
    "team",
    "application",
    "customer",
    "environment",
    "release",
    "experiment",
)
"""Labels that hold for all calls of a trace."""

_CALL_LABELS = (
    *(name for name in LABELS if name not in _TASK_LABELS),
    "response_id",
    "provider",
    "api_base",
    "sample_weight",
    "tool_name",
    "response_cache_hit",
)
_OUTCOME_LABELS = ("outcome", "closed_at", "complexity", "quality_score", "value", "value_currency")

_TEXT = "VARCHAR"
_PREFIX = "pertask."
_ATTRIBUTES = {
    # labels that OpenTelemetry's own attributes tell
    "provider": ("gen_ai.provider.name", "gen_ai.system"),
    "response_id": ("gen_ai.response.id",),
    "service_tier": ("openai.response.service_tier",),
    "error_type": ("error.type",),
}
_OTHER_KEYS = {"provider": ("ls_provider",), "response_cache_hit": ("cache_hit",)}
"""Keys that integrations put into the metadata for what we call otherwise."""


def _labels(source: str, names: Iterable[str]) -> str:
    """SQL of the rows of ``source`` with a struct ``label`` of what their metadata says, null where it says nothing."""
    names = tuple(names)
    keys = [key for name in names for key in _spellings(name)]
    attributes = [_PREFIX + name for name in names]
    attributes += [key for name in names for key in _ATTRIBUTES.get(name, ())]

    def told(name: str) -> str:
        found = [f"_m.{identifier(key)}" for key in _spellings(name)]
        found += [f"_a.{identifier(key)}" for key in (_PREFIX + name, *_ATTRIBUTES.get(name, ()))]
        return f"{identifier(name)}: coalesce({', '.join(f'nullif({text}, {_EMPTY})' for text in found)})"

    return f"""
        select * exclude (_m, _a, metadata), {{{", ".join(told(name) for name in names)}}} as label
        from (
            select *, {parsed("_m.attributes", dict.fromkeys(attributes, _TEXT))} as _a
            from (
                select *, {parsed(_object("metadata"), {**dict.fromkeys(keys, _TEXT), "attributes": _TEXT})} as _m
                from ({source})
            )
        )"""


def _spellings(name: str) -> tuple[str, ...]:
    """Keys of the metadata that are a label: what the SDK propagates may have letters and digits only (``taskId``)."""
    first, *others = name.split("_")
    camel = (first + "".join(word.capitalize() for word in others),) if others else ()
    return (name, _PREFIX + name, *camel, *_OTHER_KEYS.get(name, ()))


_EMPTY = "''"


def _object(text: str) -> str:
    """SQL of a map's text as a JSON object, also where a writer made a list of keys and values of it."""
    entries = parsed(text, [{"key": _TEXT, "value": _TEXT}])
    made = f"cast(to_json(map_from_entries(list_filter({entries}, lambda entry: entry.key is not null))) as varchar)"
    return f"case when starts_with({text}, '[') then try({made}) else {text} end"


# Usage


@dataclass(frozen=True)
class _Count:
    """How a count is spelled: in Langfuse's way, or in vendors' ways where a total contains it or stands beside it.

    ``contained`` keys of a total say that it contains its parts, of a part that its total contains it.
    """

    column: str
    apart: tuple[str, ...]
    contained: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        return (*self.apart, *self.contained)


_COUNTS = {
    "input": _Count(
        "input_tokens",
        ("input", "input_tokens", "inputTokens", "input_token_count", "inputTokenCount"),
        ("prompt_tokens", "promptTokens", "prompt_token_count", "promptTokenCount", "prompt"),
    ),
    "input_text": _Count("input_tokens", ("input_text_tokens", "input_text", "input_modality_TEXT")),
    "tool_prompt": _Count("input_tokens", ("toolUsePromptTokenCount", "tool_use_prompt_token_count")),
    "read": _Count(
        "cache_read_tokens",
        (
            *("input_cached_tokens", "input_cached", "input_cache_read", "input_cache_read_tokens"),
            *("input_cache_read_input_tokens", "cache_read_input_tokens", "cache_read_tokens", "cache_read"),
            *("cacheReadInputTokens", "cacheReadInputTokenCount", "cacheReadTokens"),
        ),
        (
            *("cached_tokens", "cachedTokens", "cached_input_tokens", "cachedInputTokens"),
            *("cachedContentTokenCount", "cached_content_token_count", "cached_modality_TEXT"),
            *("cache_read.input_tokens", "prompt_details.cache_read", "prompt_tokens_details.cached_tokens"),
            *("input_tokens_details.cached_tokens", "details.cache_read_tokens", "details.cache_read_input_tokens"),
        ),
    ),
    "write": _Count(
        "cache_write_5m_tokens",
        (
            *("input_cache_creation", "input_cache_creation_tokens", "input_cache_write", "input_cache_write_tokens"),
            *("cache_write_tokens", "cache_write"),
        ),
        ("cache_creation.input_tokens", "prompt_details.cache_write", "details.cache_write_tokens"),
    ),
    # Anthropic's and Bedrock's own count of writes is the sum over their lifetimes.
    "write_sum": _Count(
        "cache_write_5m_tokens",
        (
            *("cache_creation_input_tokens", "cacheCreationInputTokens", "cacheWriteInputTokens", "cache_creation"),
            *("cacheWriteInputTokenCount", "cache_creation_tokens", "input_cache_creation_input_tokens"),
        ),
        ("details.cache_creation_input_tokens",),
    ),
    "write_5m": _Count(
        "cache_write_5m_tokens",
        (
            *("input_cache_creation_5m", "input_cache_write_5m", "input_ephemeral_5m_input_tokens"),
            *("ephemeral_5m_input_tokens", "cache_creation_5m", "cache_write_5m_tokens"),
            "cache_creation.ephemeral_5m_input_tokens",
        ),
    ),
    "write_1h": _Count(
        "cache_write_1h_tokens",
        (
            *("input_cache_creation_1h", "input_cache_write_1h", "input_ephemeral_1h_input_tokens"),
            *("ephemeral_1h_input_tokens", "cache_creation_1h", "cache_write_1h_tokens"),
            "cache_creation.ephemeral_1h_input_tokens",
        ),
    ),
    "input_audio": _Count(
        "audio_input_tokens",
        ("input_audio_tokens", "input_audio", "input_modality_AUDIO", "audio_input_tokens"),
        ("prompt_details.audio", "prompt_tokens_details.audio_tokens"),
    ),
    "input_image": _Count("image_input_tokens", ("input_image_tokens", "input_image", "input_modality_IMAGE")),
    "output": _Count(
        "output_tokens",
        ("output", "candidatesTokenCount", "candidates_token_count"),
        (
            *("output_tokens", "outputTokens", "output_token_count", "outputTokenCount", "generated_token_count"),
            *("completion_tokens", "completionTokens", "completion"),
        ),
    ),
    "output_text": _Count("output_tokens", ("output_text_tokens", "output_text", "output_modality_TEXT")),
    "accepted": _Count("output_tokens", ("output_accepted_prediction_tokens",)),
    "rejected": _Count("output_tokens", ("output_rejected_prediction_tokens",)),
    "reasoning": _Count(
        "reasoning_tokens",
        (
            *("output_reasoning_tokens", "output_reasoning", "reasoning_tokens", "reasoning"),
            *("thoughtsTokenCount", "thoughts_token_count", "thoughts_tokens", "output_thoughts_token_count"),
        ),
        (
            *("reasoningTokens", "reasoning.output_tokens", "completion_details.reasoning"),
            *("completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens"),
            "details.reasoning_tokens",
        ),
    ),
    "output_audio": _Count(
        "audio_output_tokens",
        ("output_audio_tokens", "output_audio", "output_modality_AUDIO", "audio_output_tokens"),
        ("completion_details.audio", "completion_tokens_details.audio_tokens"),
    ),
    "output_image": _Count("image_output_tokens", ("output_image_tokens", "output_image", "output_modality_IMAGE")),
    "searches": _Count("web_search_count", ("web_search_requests", "server_tool_use.web_search_requests")),
    # A total in a vendor's spelling was sent by the application; Langfuse's own may be a mere sum.
    "sent_total": _Count(
        "unmapped_usage", ("total_tokens", "totalTokens", "total_token_count", "totalTokenCount", "total_usage")
    ),
    "total": _Count("unmapped_usage", ("total",)),
}
"""Every spelling of the keys of ``usage_details``: the one table of its units."""

_KEYS = {key: count.column for count in _COUNTS.values() for key in count.keys}
_PARENT_FIRST = ("input", "output")
"""Totals: of several spellings the first one counts. Of a part, the largest: one of two may be a mere 0."""

_DIGITS = "[0-9]{1,15}"


def _key(name: str) -> str:
    return f"_u.{identifier(name)}"


def _count(name: str) -> str:
    keys = [_key(key) for key in _COUNTS[name].keys]
    if name in _PARENT_FIRST:
        return f"coalesce({', '.join(keys)})"
    return f"greatest({', '.join(keys)})" if len(keys) > 1 else keys[0]


def _any(keys: Iterable[str]) -> str:
    """SQL of whether one of the keys has a count."""
    return f"coalesce({', '.join(_key(key) for key in keys)}) is not null"


def _plain_usage() -> str:
    """A pattern of usage in which every key is known and every value is a count."""
    keys = "|".join(key.replace(".", "[.]") for key in _KEYS)
    pair = rf'\s*"(?:{keys})"\s*:\s*(?:{_DIGITS}|"{_DIGITS}"|null)\s*'
    return rf"\s*\{{(?:{pair}(?:,{pair})*)?\s*\}}\s*"


_ENTRIES = "map_entries(try(cast(cast(usage as json) as map(varchar, varchar))))"
_COLUMNS = ", ".join(f"{literal(key)}: {literal(column)}" for key, column in _KEYS.items())
_COLUMN_OF_KEY = f"map {{{_COLUMNS}}}[entry.key]"
_NUMBER = r"-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?"
_WRONG_USAGE = f"""case
    when usage is null or regexp_full_match(usage, {literal(_plain_usage())}) then null
    when {_ENTRIES} is null then '|the usage is not a JSON object'
    else list_filter(
        list_transform({_ENTRIES}, lambda entry: {_COLUMN_OF_KEY} || '|' || case
            when entry.value is null then null
            when regexp_full_match(entry.value, '{_DIGITS}([.]0*)?') then null
            when regexp_full_match(entry.value, '-{_DIGITS}([.]0*)?') then 'negative'
            else 'not a whole number' end),
        lambda found: found is not null
    )[1]
end"""
_UNMAPPED = f"""case
    when usage is null or regexp_full_match(usage, {literal(_plain_usage())}) then null
    else '{{' || nullif(array_to_string(
        list_transform(
            list_filter({_ENTRIES}, lambda entry: entry.key is not null and {_COLUMN_OF_KEY} is null
                and not regexp_matches(entry.key, '[Cc]ost$')
                and regexp_full_match(entry.value, '{_NUMBER}') and try_cast(entry.value as double) <> 0),
            lambda entry: cast(to_json(entry.key) as varchar) || ': ' || entry.value
        ), ', '), '') || '}}'
end"""


def _counted(source: str, reader: Reader) -> str:
    """SQL of the rows with their disjoint counts, and with what is wrong with them.

    ``n_`` are counts and sums of the input, ``m_`` of the output. The input's parts may stand ``beside`` its total, or
    be ``inside`` it; ``in text`` means that text is a part of its own which contains the cached tokens.
    """
    structure: Structure = dict.fromkeys(_KEYS, "BIGINT")
    cached, reasoning = reader.options.input_includes_cached, reader.options.output_includes_reasoning
    return f"""
        with checked as (
            select *, {_WRONG_USAGE} as _wrong_usage, {_UNMAPPED} as unmapped from ({source})
        ),

        parsed_usage as (
            select *, {parsed("case when _wrong_usage is null then usage end", structure)} as _u from checked
        ),

        counts as (
            select
                * exclude (_u),
                {_INPUT_DEFAULT} as _input_default,
                {_OUTPUT_DEFAULT} as _output_default,
                {", ".join(f"{_count(name)} as n_{name}" for name in _COUNTS)}
            from parsed_usage
        ),

        written as (
            select * exclude (n_write, n_write_sum, n_write_5m), {_WRITTEN_5M} as written_5m from counts
        ),

        parts as (
            select
                * exclude (n_input, n_output, n_sent_total, n_total),
                n_sent_total is not null as _is_sent,
                coalesce(n_sent_total, n_total) as n_total,
                coalesce(n_input, n_input_text, n_tool_prompt) is not null as _has_input,
                coalesce(n_output, n_output_text, n_accepted, n_rejected) is not null as _has_output,
                coalesce(n_input, 0) as n_whole,
                coalesce(n_input_text, 0) as n_text,
                coalesce(n_tool_prompt, 0) as n_tool,
                coalesce(n_read, 0) + coalesce(written_5m, 0) + coalesce(n_write_1h, 0) as n_cached,
                coalesce(n_input_audio, 0) + coalesce(n_input_image, 0) as n_media,
                coalesce(n_output, 0) as m_whole,
                coalesce(n_output_text, 0) + coalesce(n_accepted, 0) + coalesce(n_rejected, 0) as m_text,
                coalesce(n_reasoning, 0) + coalesce(n_output_audio, 0) + coalesce(n_output_image, 0) as m_parts
            from written
        ),

        sums as (
            select
                *,
                n_whole + n_text + n_cached + n_media as n_beside,
                n_whole + n_text + n_media as n_in_text,
                m_whole + m_text + m_parts as m_beside
            from parts
        ),

        inputs as (
            select *, {_decided(cached, _WHICH_INPUT, "'inside'", "'beside'")} as _input from sums
        ),

        whole_inputs as (
            select
                *,
                n_tool + case _input when 'inside' then n_whole when 'in text' then n_in_text else n_beside end
                    as all_input
            from inputs
        ),

        outputs as (
            select *, {_decided(reasoning, _IS_INSIDE_OUTPUT, "true", "false")} as _is_inside from whole_inputs
        )

        select
            *,
            case when _has_input then n_tool + case _input
                when 'inside' then n_whole - n_cached - n_media
                when 'in text' then n_whole + n_text - n_cached
                else n_whole + n_text end end as fresh,
            case when _has_output then
                case when _is_inside then m_whole - m_parts else m_whole + m_text end end as answer,
            case when _is_inside then m_whole else m_beside end as all_output,
            case
                when _wrong_usage is not null then _wrong_usage
                when _input = 'inside' and n_cached > n_whole then 'cache_read_tokens|cached above input'
                when _input = 'inside' and n_cached + n_media > n_whole
                    then 'input_tokens|parts add up to more than the whole'
                when _is_inside and m_parts > m_whole then 'output_tokens|parts add up to more than the whole'
            end as _wrong_count
        from outputs"""


def _decided(declared: bool | None, sql: str, yes: str, no: str) -> str:
    """SQL of a convention: what the source's configuration says of it goes before what the row shows."""
    return sql if declared is None else yes if declared else no


def _keys_of(*names: str, contained: bool) -> tuple[str, ...]:
    return tuple(key for name in names for key in (_COUNTS[name].contained if contained else _COUNTS[name].apart))


_THOUGHTS = tuple(key for key in _COUNTS["reasoning"].apart if "thoughts" in key.lower())
_CACHE = ("read", "write", "write_sum")
_INPUT_DEFAULT = f"""(
    not {_any(_keys_of("input", contained=False))} and {_any(_keys_of("input", contained=True))}
    or {_any(_keys_of(*_CACHE, "input_audio", contained=True))} and not {_any(_keys_of(*_CACHE, contained=False))}
)"""
"""SQL of whether the input contains its parts by the vendor's convention, going by the spelling of its keys."""

_OUTPUT_DEFAULT = f"""(
    {_any(_keys_of("output", contained=True))} and not {_any(_keys_of("output", contained=False))}
        and not {_any(_THOUGHTS)}
    or {_any(_keys_of("reasoning", "output_audio", contained=True))}
)"""
"""The same of the output. Gemini's thoughts are never in it."""

_WHICH_INPUT = """case
    when n_beside = n_whole or n_total is null then case when _input_default then 'inside' else 'beside' end
    when n_total - n_tool - case when _input_default then n_whole else n_beside end in (m_whole, m_beside)
        then case when _input_default then 'inside' else 'beside' end
    when not _input_default and n_cached + n_media <= n_whole and n_total - n_tool - n_whole in (m_whole, m_beside)
        then 'inside'
    when _input_default and _is_sent and n_total - n_tool - n_beside in (m_whole, m_beside)
        then 'beside'
    when n_text > 0 and n_cached <= n_whole + n_text and n_total - n_tool - n_in_text in (m_whole, m_beside)
        then 'in text'
    when _input_default then 'inside'
    else 'beside'
end"""
_IS_INSIDE_OUTPUT = """case
    when m_beside = m_whole or n_total is null then _output_default
    when n_total - all_input = case when _output_default then m_whole else m_beside end then _output_default
    when not _output_default and m_parts <= m_whole and n_total - all_input = m_whole then true
    when _output_default and _is_sent and n_total - all_input = m_beside then false
    else _output_default
end"""
"""SQL of the convention that the total shows, else that of the keys' spelling."""

_WRITTEN_5M = """case
    when n_write is null and n_write_sum is null then n_write_5m
    when n_write_sum is not null or n_write = coalesce(n_write_5m, 0) + coalesce(n_write_1h, 0)
        then greatest(n_write_5m, greatest(n_write, n_write_sum) - coalesce(n_write_1h, 0))
    else n_write + coalesce(n_write_5m, 0)
end"""
"""SQL of the writes that are kept for five minutes: also those whose lifetime is not said, the vendors' default."""


# Calls


def _picked(rows: str, names: dict[str, tuple[str, ...]], *, source: str) -> str:
    """SQL of the rows with our names for their columns, their delivery and their number."""
    columns = ",\n".join(
        f"coalesce({', '.join(f'nullif({identifier(column)}, {_EMPTY})' for column in columns)}, null)"
        f" as {identifier(name)}"
        for name, columns in names.items()
    )
    return f"""
        select
            _file,
            _content,
            _broken,
            _line,
            _delivery,
            row_number() over () as _row,
            {literal(source)} as _source,
            {columns}
        from ({rows})"""


def _versioned(source: str) -> str:
    """SQL of the rows with when they were written, and whether that took them away."""
    return f"""
        select
            * exclude (event, updated, created, deleted),
            try_cast(coalesce(event, updated, created) as timestamptz) as _version,
            coalesce(lower(deleted) in ('1', 'true'), false) as _is_deleted
        from ({source})"""


def _older(table: str) -> str:
    """SQL of the row numbers of a table's older versions; rows without an id are rows of their own."""
    return f"""
        select _row, _source from (
            select _row, _source, row_number() over (
                partition by _delivery, _source, project, id order by _version desc nulls last, _row desc
            ) as place
            from {table}
            where (_delivery, _source, coalesce(project, ''), id) in (
                select (_delivery, _source, coalesce(project, ''), id)
                from {table}
                where id is not null
                group by _delivery, _source, coalesce(project, ''), id
                having count(*) > 1
            )
        )
        where place > 1"""


_BY_TYPE = {
    "GENERATION": "llm",
    "EMBEDDING": "embedding",
    "TOOL": "tool",
    "RETRIEVER": "retrieval",
    "EVALUATOR": "judge",
    "GUARDRAIL": "guardrail",
}
_MODEL_TYPES = ("GENERATION", "EMBEDDING")
_JUDGE = "langfuse-llm-as-a-judge"
"""The environment in which Langfuse traces the judges that it runs itself."""

_PREFIXES = (
    *("anthropic", "azure", "azure_ai", "bedrock", "cerebras", "cohere", "databricks", "deepseek"),
    *("fireworks_ai", "gemini", "groq", "hosted_vllm", "huggingface", "mistral", "nvidia_nim", "ollama"),
    *("openai", "openrouter", "perplexity", "replicate", "sambanova", "together_ai", "vertex_ai", "vllm", "xai"),
)
"""Providers as a gateway writes them before a model: ``bedrock/anthropic.claude``."""


def _observations(rows: str, reader: Reader) -> str:
    """SQL of the observations with their labels, counts, kind and version."""
    metadata = """coalesce(metadata, try(cast(to_json(map(
        from_json(metadata_names, '["VARCHAR"]'), from_json(metadata_values, '["VARCHAR"]'))) as varchar)))"""
    flat = """case when coalesce(input_total, output_total) is not null
        then cast(json_object('input', input_total, 'output', output_total) as varchar) end"""
    source = f"""
        select
            * exclude (metadata_names, metadata_values, older_usage, input_total, output_total, parameters, costs, cost,
                tools, tool_calls, message, prompt_number)
            replace (
                {metadata} as metadata,
                {_object("coalesce(usage, older_usage, " + flat + ")")} as usage,
                upper(type) as type,
                nullif(environment, 'default') as environment,
                case when tags not in ('[]', '{{}}') then tags end as tags
            ),
            {parsed("parameters", {"temperature": _TEXT, "service_tier": _TEXT})} as _p,
            {_COST} as cost,
            nullif(coalesce(try(json_array_length(tools)), try(json_array_length(tool_calls))), 0) as tool_calls,
            case when upper(level) = 'ERROR' then {_ERROR} end as error,
            prompt || coalesce(':' || prompt_number, '') as prompt_version
        from ({_picked(rows, _OBSERVATION, source="observation")})"""
    by_type = " ".join(f"when {literal(type_)} then {literal(kind)}" for type_, kind in _BY_TYPE.items())
    return f"""
        select
            *,
            coalesce(
                label.call_kind,
                case when environment = {literal(_JUDGE)} and type = 'GENERATION' then 'judge' end,
                case type {by_type} end
            ) as kind,
            all_input + all_output > 0 or coalesce(try_cast(cost as double), 0) > 0 or unmapped is not null
                or coalesce(n_total, 0) > 0 as has_usage
        from ({_counted(_labels(_versioned(source), (*_TASK_LABELS, *_CALL_LABELS)), reader)})"""


_COST_DETAILS = parsed(_object("costs"), {"total": _TEXT})
_COST = f"""case
    when cost is null then {_COST_DETAILS}.total
    when try_cast(cost as double) = 0 and coalesce(costs, '{{}}') in ('{{}}', '[]') then null
    else cost end"""
_MODULE = "(?:[A-Za-z_][A-Za-z0-9_]{0,40}[.]){0,6}"
_ERROR = rf"""coalesce(
    nullif(regexp_extract(message, '^(?:Error code|HTTP|HTTP status|Status code)[: ]+([1-5][0-9]{{2}})\b', 1), ''),
    nullif(regexp_extract(message, '^{_MODULE}([A-Za-z_]{{0,50}}(?:Error|Exception))\b', 1), ''))"""


def _calls(rows: dict[str, str], reader: Reader, *, has_traces: bool) -> str:
    """SQL of the observations with their trace's labels, and the reason why one is left out."""
    traces = "select * from roots"
    if has_traces:
        traces = f"""
            select
                coalesce(traces._delivery, roots._delivery) as _delivery,
                coalesce(traces.id, roots.id) as id,
                {{{", ".join(f"{name}: coalesce(traces.label.{name}, roots.label.{name})" for name in _TASK_LABELS)}}}
                    as label,
                {", ".join(f"traces.{name}" for name in _OF_TRACE)}
            from (
                select * from ({_traces(rows["trace"])})
                where id is not null
                qualify row_number() over (
                    partition by _delivery, id order by _version desc nulls last, _row desc
                ) = 1 and not _is_deleted
            ) as traces
            full join roots on traces._delivery = roots._delivery and traces.id = roots.id"""
    return f"""
        with recursive observations as materialized ({_observations(rows["observation"], reader)}),

        older as materialized ({_older("observations")}),

        nodes as materialized (
            select _row, _delivery, coalesce(trace, '') as trace, id, parent, type, has_usage,
                all_input, all_output, coalesce(try_cast(cost as double), 0) as cost
            from observations
            where id is not null and not _is_deleted and _row not in (select _row from older)
        ),

        -- from each row with usage down to the nearest rows with usage below it
        walk as (
            select bearers._row as root, below._row, below._delivery, below.trace, below.id, below.has_usage,
                below.all_input, below.all_output, below.cost
            from nodes as bearers
            inner join nodes as below
                on bearers._delivery = below._delivery and bearers.trace = below.trace and bearers.id = below.parent
            where bearers.has_usage and bearers._row != below._row
            union
            select walk.root, below._row, below._delivery, below.trace, below.id, below.has_usage,
                below.all_input, below.all_output, below.cost
            from walk
            inner join nodes as below
                on walk._delivery = below._delivery and walk.trace = below.trace and walk.id = below.parent
            where not walk.has_usage and walk.root != below._row
        ),

        below as (
            select root, sum(all_input) as all_input, sum(all_output) as all_output, sum(cost) as cost
            from walk where has_usage group by root
        ),

        repeating as materialized (
            select root
            from below
            inner join nodes on below.root = nodes._row
            where nodes.type not in ({", ".join(literal(type_) for type_ in _MODEL_TYPES)})
                or (nodes.all_input >= below.all_input and nodes.all_output >= below.all_output
                    and (below.all_input + below.all_output > 0 or nodes.cost >= below.cost))
        ),

        -- what the one root of a trace says of the task
        roots as (
            select _delivery, trace as id, any_value(label) as label, {", ".join(f"null as {n}" for n in _OF_TRACE)}
            from (
                select _delivery, trace, {{{", ".join(f"{name}: label.{name}" for name in _TASK_LABELS)}}} as label
                from observations
                where parent is null and trace is not null and not _is_deleted
                    and _row not in (select _row from older)
            )
            group by _delivery, trace
            having count(*) = 1
                and coalesce({", ".join(f"any_value(label).{name}" for name in _TASK_LABELS)}) is not null
        ),

        told as materialized ({traces})

        select
            observations.* exclude (release, version, "user", session, tags),
            {", ".join(f"coalesce(observations.label.{name}, told.label.{name}) as _{name}" for name in _TASK_LABELS)},
            coalesce(observations.release, told.release, observations.version, told.version) as release,
            coalesce(observations."user", told."user") as "user",
            coalesce(observations.session, told.session) as session,
            coalesce(observations.tags, told.tags) as tags,
            coalesce(_wrong_count, case when kind is null and type is null then 'call_kind|missing' end) as _wrong,
            case
                when older._row is not null then 'an older version of the same observation'
                when _is_deleted then 'deleted'
                when repeating.root is not null then 'repeats its children'
                when kind is null and type is not null and not has_usage and _wrong_count is null then 'no call'
            end as _reason
        from observations
        left join older on observations._row = older._row
        left join repeating on observations._row = repeating.root
        left join told on observations._delivery = told._delivery and observations.trace = told.id
        order by observations._row"""


_OF_TRACE = ("release", "version", '"user"', "session", "tags")


def _label(name: str) -> str:
    return f"label.{name}"


_OWN_MODEL = """case
    when starts_with(model, called_by || '/') then substr(model, length(called_by) + 2) else model end"""
_PREFIX_OF_MODEL = f"""case when split_part(model, '/', 1) in ({", ".join(literal(name) for name in _PREFIXES)})
    and contains(model, '/') then split_part(model, '/', 1) end"""
_PROVIDER = f"coalesce(label.provider, {_PREFIX_OF_MODEL})"

_FIELDS = {
    # ids: an application may name the call that an attempt belongs to, where the attempts can be told apart
    "call_id": "case when label.attempt_number is null then coalesce(id, label.call_id) "
    "else coalesce(label.call_id, id) end",
    "attempt_number": _label("attempt_number"),
    "parent_call_id": _label("parent_call_id"),
    # LiteLLM makes the observation's id of the time and the response's id
    "response_id": "coalesce(label.response_id, nullif(regexp_extract(id, '^time-[0-9-]+_(.+)$', 1), ''))",
    "trace_id": "trace",
    "span_id": "id",
    "task_id": "_task_id",
    "session_id": "session",
    # labels
    "task_type": "_task_type",
    "step_name": _label("step_name"),
    "step_index": _label("step_index"),
    "call_kind": "coalesce(kind, 'llm')",
    "workload_kind": "coalesce(_workload_kind, case when starts_with(environment, 'langfuse-') then 'eval' end)",
    "team": "_team",
    "application": "_application",
    "customer": 'coalesce(_customer, "user")',
    "environment": "coalesce(_environment, environment)",
    "prompt_version": "coalesce(label.prompt_version, prompt_version)",
    "release": "coalesce(_release, release)",
    "experiment": "coalesce(_experiment, experiment)",
    "sample_weight": _label("sample_weight"),
    # times (UTC)
    "started_at": "started",
    "first_token_at": "first_token",
    "ended_at": "ended",
    # what was called
    "provider": _PROVIDER,
    "model": _OWN_MODEL.replace("called_by", _PROVIDER),
    "service_tier": "coalesce(label.service_tier, _p.service_tier)",
    "region": _label("region"),
    "deployment_id": _label("deployment_id"),
    "api_base": _label("api_base"),
    "replica_id": _label("replica_id"),
    # tokens: disjoint already
    "uncached_input_tokens": "fresh",
    "cache_read_tokens": "n_read",
    "cache_write_5m_tokens": "written_5m",
    "cache_write_1h_tokens": "n_write_1h",
    "output_text_tokens": "answer",
    "reasoning_tokens": "n_reasoning",
    "audio_input_tokens": "n_input_audio",
    "audio_output_tokens": "n_output_audio",
    "image_input_tokens": "n_input_image",
    "image_output_tokens": "n_output_image",
    "web_search_count": "n_searches",
    # a total without its parts belongs to no bucket
    "unmapped_usage": """coalesce(unmapped, case when n_total > 0 and all_input + all_output = 0 and not _has_input
        and not _has_output then '{"total": ' || n_total || '}' end)""",
    "tool_call_count": "coalesce(label.tool_call_count, cast(tool_calls as varchar))",
    "tool_name": "coalesce(label.tool_name, case when kind in ('tool', 'retrieval', 'guardrail') then name end)",
    # outcome
    "status": "case when upper(level) = 'ERROR' then 'failed' end",
    "error_type": "coalesce(label.error_type, error)",
    "retry_reason": _label("retry_reason"),
    "response_cache_hit": "case lower(label.response_cache_hit) when 'true' then 'true' when 'false' then 'false' end",
    "reported_cost": "cost",
    "reported_currency": "case when cost is not null then 'USD' end",
    # for caching and routing
    "prompt_hash": _label("prompt_hash"),
    "prefix_hash": _label("prefix_hash"),
    "prefix_tokens": _label("prefix_tokens"),
    "context_tokens": _label("context_tokens"),
    "temperature": "coalesce(label.temperature, cast(try_cast(_p.temperature as double) as varchar))",
    "router_confidence": _label("router_confidence"),
    "tags": "tags",
}


# Tasks

_OUTCOME_SCORES = ("outcome", "success")
"""Names of scores that say what became of a task. All other scores are left out."""

_TASK_COLUMNS = (
    *("task_type", "team", "application", "customer", "environment"),
    *("outcome", "closed_at", "complexity", "quality_score", "value", "value_currency"),
)


def _traces(rows: str) -> str:
    """SQL of the traces with their labels and version."""
    source = f"""
        select * replace (
            nullif(environment, 'default') as environment,
            case when tags not in ('[]', '{{}}') then tags end as tags
        ) from ({_picked(rows, _TRACE, source="trace")})"""
    return _labels(_versioned(source), (*_TASK_LABELS, *_OUTCOME_LABELS))


def _tasks(rows: dict[str, str]) -> str:
    """SQL of traces and outcome scores, each task's values in the newest of its rows, the others with a reason."""
    values = {
        **{name: f"label.{name}" for name in _TASK_COLUMNS},
        "customer": 'coalesce(label.customer, "user")',
        "environment": "coalesce(label.environment, environment)",
        "outcome": _outcome("label.outcome"),
    }
    said = ", ".join(values[name] for name in _TASK_COLUMNS if name != "environment")
    merged = ",\n".join(f"last_value({name} ignore nulls) over task as {name}" for name in _TASK_COLUMNS)
    places = "_file, _content, _broken, _line, _row, _source, _delivery"
    return f"""
        with traces as materialized ({_traces(rows["trace"])}),

        scores as materialized ({_versioned(_picked(rows["score"], _SCORE, source="score"))}),

        older as materialized ({_older("traces")} union all {_older("scores")}),

        told as (
            select {places}, _is_deleted, moment, coalesce(label.task_id, id) as task_id,
                case when coalesce({said}) is null then 'no label' end as _silent,
                {", ".join(f"{values[name]} as {name}" for name in _TASK_COLUMNS)}
            from traces
            union all by name
            select {places}, _is_deleted, moment, coalesce(task, trace) as task_id, outcome,
                case when outcome is null then 'not the outcome of a task' end as _silent
            from (
                select scores.*, traced.task, case
                    when name not in ({", ".join(literal(name) for name in _OUTCOME_SCORES)}) then null
                    when observation is not null or trace is null then null
                    when upper(data_type) in ('CATEGORICAL', 'TEXT') then {_known_outcome("word")}
                    when upper(data_type) = 'NUMERIC' and name != 'success' then null
                    when try_cast(number as double) = 1 then 'success'
                    when try_cast(number as double) = 0 then 'failure' end as outcome
                from scores
                left join (
                    select _delivery, id, max(label.task_id) as task from traces group by _delivery, id
                ) as traced on scores._delivery = traced._delivery and scores.trace = traced.id
            )
        ),

        counted as (
            select told.*, case
                when told._broken is not null then null
                when older._row is not null then 'an older version of the same ' || told._source
                when told._is_deleted then 'deleted'
                else told._silent end as _left_out
            from told
            left join older on told._row = older._row and told._source = older._source
        ),

        merged as (
            select
                {places}, task_id, null as _reason, {merged},
                row_number() over (
                    partition by _delivery, task_id
                    order by try_cast(moment as timestamptz) desc nulls last, _source desc, _row desc
                ) as place
            from counted
            where _left_out is null and task_id is not null and _broken is null
            window task as (
                partition by _delivery, task_id
                order by try_cast(moment as timestamptz) nulls first, _source, _row
                rows between unbounded preceding and unbounded following
            )
        )

        select * exclude (place, _reason),
            case when place > 1 then 'merged into the newest row of its task' end as _reason
        from merged
        union all by name
        select {places}, task_id, _left_out as _reason, {", ".join(_TASK_COLUMNS)}
        from counted
        where _left_out is not null or task_id is null or _broken is not null
        order by _source desc, _row"""


def _outcome(word: str) -> str:
    """SQL of an outcome in the contract's spelling; any other word stays, and quarantines its row."""
    return f"coalesce({_known_outcome(word)}, {word})"


def _known_outcome(word: str) -> str:
    spelled = ", ".join(
        f"{literal(spelling)}: {literal(outcome)}" for outcome, spellings in OUTCOMES.items() for spelling in spellings
    )
    return f"map {{{spelled}}}[replace(replace(lower({word}), '_', ' '), '-', ' ')]"


_TASK_FIELDS = {"task_id": "task_id", **{name: name for name in _TASK_COLUMNS}}
_TASK_FIELDS["value_currency"] = "upper(value_currency)"
