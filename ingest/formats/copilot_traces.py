"""GitHub Copilot's coding-agent traces: a session a record, as JSON lines, a list, or one document.

A session has turns (what a user asked for), a turn has calls of the model and batches of tool calls. Each model call is
a row, and so is each tool call. What the fields mean, and where they mislead:

- ``tokens.prompt`` includes the cached ones; ``total`` and ``cached_pct`` say the same again.
- A cancelled call (``UserCancel``) was paid for until it was cancelled: it is failed and keeps its tokens.
- ``duration_ms`` is the only end of a call. A tool call tells no time: the calls of a batch start, one after the other,
  when the model call before them ended, so their order and lengths are right and their hours nearly.
- A batch belongs to the model call whose ``message_id`` is its ``request_id``; where none is, to the one before it: the
  n-th batch to the n-th call.
- A tool call's ``status`` is 1 where it worked and 2 where it failed or ran out of time.
- Nothing says which vendor ran a model; Copilot bills it, so the provider is ``github_copilot``.

The session stands for the task, unless the record has labels (contract columns by their own names, at its top or in
``metadata``). A turn is no step: attempts of one step are retries of each other, and the calls of a turn are not. All
model calls of a session are rounds of one loop named ``turn``; the tags say which turn a call was in and who asked.
"""

from __future__ import annotations

from ingest.reading import Head, Reader, Structure, identifier
from ingest.rows import Extract

NAME = "copilot_traces"
VERSION = 1
CONTRACTS = ("llm_calls",)
DELIVERY = "file"
REPLACES_PERIOD = False

_TEXT = "VARCHAR"
_SESSION_IDS = ("session_id", "sessionId", "id")
_LABELS = (
    "task_id",
    "task_type",
    "team",
    "application",
    "customer",
    "environment",
    "workload_kind",
    "release",
    "experiment",
)
"""Contract columns that a record may give by their own names."""


def sniff(head: Head) -> bool:
    """Whether the records are sessions of turns with model calls."""
    if head.kind not in ("json", "jsonl"):
        return False
    if head.columns and not ("turns" in head.columns and set(_SESSION_IDS) & set(head.columns)):
        return False
    return all(f'"{key}"' in head.text for key in ("turns", "llm_calls"))


def read(reader: Reader) -> list[Extract]:
    """The sessions' model calls and tool calls."""
    if not reader.heads:
        return []
    rows = reader.rows((*_SESSION_IDS, *_LABELS), nested={"metadata": _METADATA, "turns": [_TURN]}, known=())
    return [
        Extract(
            contract="llm_calls",
            # The text of a row is only asked for when a delivery is read with care.
            rows=_calls(rows, "cast(to_json({}) as varchar)" if reader.is_careful else "cast(null as varchar)"),
            columns=_FIELDS,
            skip="case when is_empty then 'no call' end",
            problem=_PROBLEM,
            input_includes_cached=True,
            hashed_id="call_id",
            is_unnested=True,
        )
    ]


_METADATA = dict.fromkeys(_LABELS, _TEXT)
_TURN_IDS = ("turn_id", "turnId", "id", "index", "turn_index")
_MESSAGE_IDS = ("message_id", "messageId", "request_id", "requestId", "id")
_BATCH_IDS = ("request_id", "requestId", "message_id", "messageId")
_CALL: Structure = {
    **dict.fromkeys((*_MESSAGE_IDS, "timestamp", "duration_ms", "initiator_type", "model", "result"), _TEXT),
    "status_code": _TEXT,
    "tokens": {"prompt": _TEXT, "completion": _TEXT, "cached": _TEXT},
}
_BATCH: Structure = {
    **dict.fromkeys((*_BATCH_IDS, "duration_ms"), _TEXT),
    "function_calls": [{"name": _TEXT, "status": _TEXT, "duration_ms": _TEXT}],
}
_TURN: Structure = {**dict.fromkeys(_TURN_IDS, _TEXT), "llm_calls": [_CALL], "tool_batches": [_BATCH]}


def _first(names: tuple[str, ...], record: str = "") -> str:
    """SQL of the first of a record's keys that says something."""
    values = ", ".join(f"nullif({record}{identifier(name)}, '')" for name in names)
    return f"coalesce({values}, null)"


def _microseconds(milliseconds: str) -> str:
    """SQL of milliseconds as whole microseconds; null where they are no number."""
    return f"try(cast(try_cast({milliseconds} as decimal(24, 6)) * 1000 as bigint))"


def _time(text: str) -> str:
    """SQL of a time: text with a date, or seconds or milliseconds since 1970, which are eleven digits apart."""
    number = f"try_cast({text} as decimal(24, 6))"
    microseconds = f"cast({number} * case when abs({number}) >= 100000000000 then 1000 else 1000000 end as bigint)"
    return f"coalesce(try(make_timestamptz({microseconds})), try_cast({text} as timestamptz))"


_LABELLED = ", ".join(_LABELS)


def _calls(rows: str, as_text: str) -> str:
    """SQL of one row per model call and tool call, and of one per record that has none or has a turn without a list.

    Args:
        rows: SQL of the sessions.
        as_text: how a row becomes text.
    """
    labels = ", ".join(f"coalesce(nullif({name}, ''), nullif(metadata.{name}, '')) as {name}" for name in _LABELS)
    functions = "list_sum(list_transform(turn.tool_batches, lambda batch: len(batch.function_calls)))"
    return f"""
        with sessions as (
            select
                _file,
                _content,
                _broken,
                _line,
                row_number() over () as record,
                {_first(_SESSION_IDS)} as session,
                {labels},
                turns,
                coalesce(list_sum(list_transform(turns, lambda turn:
                    coalesce(len(turn.llm_calls), 0) + coalesce({functions}, 0))), 0) as size,
                list_count(list_transform(turns, lambda turn: turn.llm_calls)) as readable
            from ({rows})
        ),

        each_turn as (
            select
                * exclude (_content, turns, size, readable, turn_ids),
                unnest(turns) as turn,
                generate_subscripts(turns, 1) as turn_number,
                -- ids that are not all there, or not all different, name no turn
                unnest(case when list_unique(turn_ids) = len(turns) then turn_ids end) as turn_id
            from (
                select *, list_transform(turns, lambda turn: {_first(_TURN_IDS, "turn.")}) as turn_ids
                from sessions where _broken is null and size > 0
            )
        ),

        timed_turns as (
            select
                *,
                coalesce(turn_id, cast(turn_number as varchar)) as turn_key,
                turn.tool_batches as batches,
                list_transform(turn.llm_calls, lambda call: {_first(_MESSAGE_IDS, "call.")}) as ids,
                list_transform(turn.llm_calls, lambda call: {_time("call.timestamp")}) as starts,
                list_transform(turn.llm_calls, lambda call: {_microseconds("call.duration_ms")}) as lengths,
                list_transform(turn.tool_batches, lambda batch: {_first(_BATCH_IDS, "batch.")}) as batch_ids
            from each_turn
        ),

        linked_turns as (
            select
                *,
                list_transform(batch_ids, lambda id: nullif(list_position(ids, id), 0)) as told_owners,
                list_transform(batch_ids, lambda id, number:
                    coalesce(nullif(list_position(ids, id), 0), least(number, len(ids)))) as owners
            from timed_turns
        ),

        llm_calls as (
            select
                _file,
                _broken,
                _line,
                record,
                session,
                {_LABELLED},
                turn_number,
                turn_key,
                unnest(turn.llm_calls) as call,
                generate_subscripts(turn.llm_calls, 1) as number,
                unnest(ids) as message_id,
                unnest(starts) as started,
                unnest(lengths) as length,
                batches,
                told_owners
            from linked_turns
        ),

        batches as (
            select
                * exclude (turn, batches, batch_ids, told_owners, owners),
                unnest(batches) as batch,
                generate_subscripts(batches, 1) as batch_number,
                unnest(told_owners) as told_owner,
                unnest(owners) as owner,
                owners,
                list_transform(batches, lambda batch: {_microseconds("batch.duration_ms")}) as batch_lengths
            from linked_turns
        ),

        functions as (
            select
                *,
                unnest(batch.function_calls) as call,
                generate_subscripts(batch.function_calls, 1) as number,
                unnest(function_lengths) as length
            from (
                select *, list_transform(batch.function_calls, lambda call: {_microseconds("call.duration_ms")})
                    as function_lengths
                from batches
            )
        ),

        timed_functions as (
            select
                *,
                starts[owner] + to_microseconds(cast(coalesce(lengths[owner], 0) + case
                    -- one after the other, where the batch lasts as long; else at once, in their order
                    when list_sum(function_lengths) <= batch_lengths[batch_number]
                        then coalesce(list_sum(function_lengths[1:number - 1]), 0)
                    else number - 1 end + case
                    when batch_number > 1 and owners[batch_number - 1] = owner then coalesce(list_sum(
                        list_transform(owners[1:batch_number - 1], lambda other, place:
                            case when other = owner then batch_lengths[place] end)), 0)
                    else 0 end as bigint)) as started
            from functions
        )

        select
            _file,
            {as_text.format("struct_pack(session, turn_number, number, call)")} as _content,
            _broken,
            _line,
            session,
            {_LABELLED},
            turn_number,
            false as is_empty,
            false as is_tool,
            coalesce(session || '/', '') || coalesce(message_id, turn_key || '/' || number) as call_key,
            -- a message that comes again is another attempt; nothing else tells one
            case when message_id is not null then
                nullif(row_number() over (partition by record, message_id order by turn_number, number), 1)
            end as attempt,
            message_id,
            cast(null as varchar) as parent_key,
            coalesce(cast(started as varchar), call.timestamp) as started_text,
            started + to_microseconds(length) as ended,
            call.duration_ms as duration,
            call.initiator_type as initiator,
            call.model as model,
            call.result as result,
            call.status_code as status_code,
            call.tokens.prompt as prompt,
            call.tokens.completion as completion,
            call.tokens.cached as cached,
            -- told where batches name their calls: 0 only where all of them do, and none names this one
            case when list_contains(told_owners, number) or list_count(told_owners) = len(told_owners) then
                coalesce(list_sum(list_transform(batches, lambda batch, place:
                    case when told_owners[place] = number then len(batch.function_calls) end)), 0) end as tools,
            cast(null as varchar) as tool
        from llm_calls
        union all by name
        select
            _file,
            {as_text.format("struct_pack(session, turn_number, batch_number, number, started, call)")} as _content,
            _broken,
            _line,
            session,
            {_LABELLED},
            turn_number,
            false as is_empty,
            true as is_tool,
            session || '/' || turn_key || '/tool/' || batch_number || '/' || number as call_key,
            coalesce(session || '/', '') || ids[told_owner] as parent_key,
            cast(started as varchar) as started_text,
            started + to_microseconds(length) as ended,
            call.duration_ms as duration,
            call.status as result,
            call.name as tool
        from timed_functions
        union all by name
        select _file, _content, _broken, _line, coalesce(readable = len(turns), false) as is_empty
        from sessions where _broken is not null or size = 0 or readable < len(turns)"""


_RESULT = "lower(result)"
_PROBLEM = """case
    when is_empty = false and is_tool is null then '|not turns of calls'
    when duration != '' and ended is null and started_text is not null and try_cast(duration as double) is null
        then 'ended_at|not a number of milliseconds'
    end"""

_FIELDS = {
    "call_id": "case when session is not null or message_id is not null then call_key end",
    "attempt_number": "attempt",
    "response_id": "message_id",
    "parent_call_id": "parent_key",
    "session_id": "session",
    **{name: name for name in _LABELS},
    "step_name": "case when not is_tool then 'turn' end",
    "call_kind": "case when is_tool then 'tool' else 'llm' end",
    "started_at": "started_text",
    "ended_at": "ended",
    "provider": "case when not is_tool then 'github_copilot' end",
    "model": "model",
    "input_tokens": "prompt",
    "output_tokens": "completion",
    "cache_read_tokens": "cached",
    "tool_call_count": "tools",
    "tool_name": "tool",
    "status": f"""case
        when is_tool then case result when '1' then 'success' when '2' then 'failed' else result end
        when {_RESULT} in ('success', 'usercancel') then if({_RESULT} = 'success', 'success', 'failed')
        when {_RESULT} in ('error', 'failure', 'failed', 'timeout') then 'failed'
        when coalesce(result, '') = '' and try_cast(status_code as integer) >= 400 then 'failed'
        else result end""",
    "error_type": f"""case
        when is_tool then if(result = '2', 'tool_error', null)
        when {_RESULT} = 'usercancel' then 'cancelled'
        when {_RESULT} = 'success' then null
        when try_cast(status_code as integer) >= 400 then status_code
        when {_RESULT} in ('error', 'failure', 'failed', 'timeout') then {_RESULT} end""",
    "tags": """cast(case when initiator is null then to_json(struct_pack(turn := turn_number))
        else to_json(struct_pack(turn := turn_number, initiator_type := initiator)) end as varchar)""",
}
