"""What LiteLLM's spend logs and logging payloads have in common: labels, attempts, and the usage of a call.

What the shared fields mean, and where they mislead:

- The usage has the vendor's spelling and LiteLLM's: cached tokens stand in two places, cache writes in three, sometimes
  in two at once of which one is 0. One fact in two spellings counts once: the larger count.
- A cache write whose lifetime is not said is the vendors' default of five minutes, and so is what a breakdown by
  lifetime leaves out.
- Image and audio counts of a prompt are parts of it, and some vendors count the cached ones among them as well (xAI: a
  prompt of 100 is 90 cached and 10 fresh, with 80 image tokens). Where they do not fit beside what was cached, they
  overlap with it, and only what is left of the prompt is fresh audio, then fresh images. Counts that are larger than
  the whole prompt are no overlap, and quarantine their row.
- ``attempted_retries`` starts again at 0 with each fallback to another group of models, so the attempts after the n-th
  fallback are numbered from 100 n + 1: 1, 2, 101. The numbers say the order and are not all in use.
- LiteLLM adds the caller's user agent to the request's tags; it is taken out.
"""

from __future__ import annotations

from collections.abc import Callable

TEXT = "VARCHAR"
_WRITE_LIFETIMES = {"ephemeral_5m_input_tokens": TEXT, "ephemeral_1h_input_tokens": TEXT}
USAGE = {
    "service_tier": TEXT,
    "cache_read_input_tokens": TEXT,
    "cache_creation_input_tokens": TEXT,
    "cache_creation": _WRITE_LIFETIMES,
    "prompt_tokens_details": {
        "cached_tokens": TEXT,
        "audio_tokens": TEXT,
        "image_tokens": TEXT,
        "cache_creation_tokens": TEXT,
        "cache_write_tokens": TEXT,
        "cache_creation_token_details": _WRITE_LIFETIMES,
        "web_search_requests": TEXT,
    },
    "completion_tokens_details": {"reasoning_tokens": TEXT, "audio_tokens": TEXT, "image_tokens": TEXT},
    "server_tool_use": {"web_search_requests": TEXT},
}
"""The part of a usage object that is read."""

OLDER_USAGE = {
    "service_tier": TEXT,
    "cache_read_input_tokens": TEXT,
    "cache_creation_input_tokens": TEXT,
    "cache_creation": _WRITE_LIFETIMES,
    "prompt_tokens_details": {
        "cached_tokens": TEXT,
        "audio_tokens": TEXT,
        "cache_creation_tokens": TEXT,
        "cache_creation_token_details": _WRITE_LIFETIMES,
    },
    "completion_tokens_details": {"reasoning_tokens": TEXT, "audio_tokens": TEXT},
}
"""What older rows have of it."""

Path = Callable[..., str]
"""Gives SQL of what stands at a path of keys."""

_EMPTY = "''"
_FALLBACK_STRIDE = 100


def first(*texts: str) -> str:
    """SQL of the first text that says something."""
    return f"coalesce({', '.join(f'nullif({text}, {_EMPTY})' for text in texts)})"


def _larger(one: str, other: str) -> str:
    """SQL of a count that vendors spell in two ways, one of which may be a mere 0."""
    is_other = f"{one} is not null and {other} is not null and try_cast({one} as bigint) < try_cast({other} as bigint)"
    return f"case when {is_other} then {other} else coalesce({one}, {other}) end"


_INPUT, _OUTPUT = "prompt_tokens_details", "completion_tokens_details"
_LIFETIMES = "cache_creation_token_details"
_5M, _1H = "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"


def _whole(text: str) -> str:
    return f"coalesce(try_cast({text} as bigint), 0)"


def counted(rows: str, usage: Path, label: Path, *, input_includes_cached: bool = True) -> str:
    """SQL of the rows with ``attempt`` and, whatever their spelling, the counts of the usage as text.

    Args:
        rows: SQL of the rows, with ``prompt_tokens`` and ``metadata``.
        usage: SQL of a leaf of ``USAGE``.
        label: SQL of one of ``LABELS``.
        input_includes_cached: whether the prompt's tokens contain the cached ones, as LiteLLM has it.
    """
    cached = f" - {_whole('cache_read')} - {_whole('cache_write_5m')} - {_whole('cache_write_1h')}"
    return f"""
        select
            * replace (
                case when is_overlapping and try_cast(audio_input as bigint) > fresh then cast(fresh as varchar)
                    else audio_input end as audio_input,
                case when is_overlapping and image_input is not null then cast(
                        least({_whole("image_input")}, greatest(fresh - {_whole("audio_input")}, 0)) as varchar)
                    else image_input end as image_input
            )
        from (
            select
                *,
                case when audio_input is not null or image_input is not null then
                    try(try_cast(prompt_tokens as bigint){cached if input_includes_cached else ""}) end as fresh,
                case when fresh >= 0 then try({_whole("audio_input")} + {_whole("image_input")})
                    between fresh + 1 and try_cast(prompt_tokens as bigint) end as is_overlapping
            from (
                select
                    *,
                    -- a write whose lifetime is not said is the vendors' default of five minutes
                    case when try_cast(told_5m as bigint) < not_1h then cast(not_1h as varchar)
                        else coalesce(told_5m, cast(not_1h as varchar), cache_write) end as cache_write_5m
                from (
                    select
                        *,
                        try_cast(metadata.attempted_retries as integer) as retries,
                        try_cast(metadata.attempted_fallbacks as integer) as fallbacks,
                        coalesce(
                            nullif({label("attempt_number")}, ''),
                            case when coalesce(retries, fallbacks) is not null then cast(
                                try({_FALLBACK_STRIDE} * coalesce(fallbacks, 0) + coalesce(retries, 0) + 1) as varchar)
                            end
                        ) as attempt,
                        {_larger(usage(_INPUT, "cached_tokens"), usage("cache_read_input_tokens"))} as cache_read,
                        coalesce({usage(_INPUT, "cache_creation_tokens")}, {usage(_INPUT, "cache_write_tokens")})
                            as own_write,
                        {_larger("own_write", usage("cache_creation_input_tokens"))} as cache_write,
                        {_larger(usage(_INPUT, _LIFETIMES, _5M), usage("cache_creation", _5M))} as told_5m,
                        {_larger(usage(_INPUT, _LIFETIMES, _1H), usage("cache_creation", _1H))} as cache_write_1h,
                        try(try_cast(cache_write as bigint) - {_whole("cache_write_1h")}) as not_1h,
                        {usage(_INPUT, "audio_tokens")} as audio_input,
                        {usage(_INPUT, "image_tokens")} as image_input
                    from ({rows})
                )
            )
        )"""


_ACCOUNTED = {
    # object of the usage: keys of it that a column takes, that say a total again, or that are no count
    "": (
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "input_tokens",
        "output_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
        "input_tokens_details",
        "output_tokens_details",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation",
        "server_tool_use",
        "service_tier",
        "inference_geo",
        "speed",
        "cost",
    ),
    _INPUT: (
        "text_tokens",
        "cached_tokens",
        "audio_tokens",
        "image_tokens",
        "cache_creation_tokens",
        "cache_write_tokens",
        "cache_creation_token_details",
        "web_search_requests",
    ),
    _OUTPUT: ("text_tokens", "reasoning_tokens", "audio_tokens", "image_tokens"),
}


def unmapped_usage(rows: str, text: str) -> str:
    """SQL of the rows with ``unmapped``: the numbers of a usage object that no column takes, by key; zeros say nothing.

    Args:
        rows: SQL of the rows.
        text: the column that holds the usage object as JSON text.
    """
    names = {"": "top", _INPUT: "input", _OUTPUT: "output"}
    keys, entries = [], []
    for key, name in names.items():
        path = f", '$.{key}'" if key else ""
        accounted = ", ".join(f"'{known}'" for known in _ACCOUNTED[key])
        keys.append(
            f"list_filter(try(json_keys({text}{path})), lambda key: key not in ({accounted})) as unknown_{name}"
        )
        prefix = f"{key}." if key else ""
        entries.append(
            f"""list_transform(
                list_filter(map_entries(from_json({text if not key else f"{text} -> '{key}'"}, '"MAP(VARCHAR, JSON)"')),
                    lambda entry: list_contains(unknown_{name}, entry.key)
                    and coalesce(try_cast(cast(entry.value as varchar) as double), 0) != 0),
                lambda entry: struct_pack(key := '{prefix}' || entry.key, value := entry.value))"""
        )
    found = ", ".join(
        f"case when unknown_{name} != [] then {e} else [] end" for name, e in zip(names.values(), entries, strict=True)
    )
    return f"""
        select
            * exclude ({", ".join(f"unknown_{name}" for name in names.values())}),
            case when {text} is null then null
                when {" or ".join(f"unknown_{name} != []" for name in names.values())} then nullif(cast(to_json(
                map_from_entries(flatten([{found}]))
            ) as varchar), '{{}}') end as unmapped
        from (select *, {", ".join(keys)} from ({rows}))"""


def labelled(label: Path) -> dict[str, str]:
    """The contract columns that only a label fills."""
    return {
        name: label(name)
        for name in (
            "parent_call_id",
            "task_id",
            "task_type",
            "step_name",
            "step_index",
            "workload_kind",
            "application",
            "environment",
            "prompt_version",
            "release",
            "experiment",
            "region",
            "replica_id",
            "tool_call_count",
            "retry_reason",
            "prompt_hash",
            "prefix_hash",
            "prefix_tokens",
            "context_tokens",
            "router_confidence",
        )
    }


def tokens(usage: Path) -> dict[str, str]:
    """The contract's counts over ``counted`` rows: totals, and the parts that the totals contain."""
    return {
        "input_tokens": "prompt_tokens",
        "output_tokens": "completion_tokens",
        "cache_read_tokens": "cache_read",
        "cache_write_5m_tokens": "cache_write_5m",
        "cache_write_1h_tokens": "cache_write_1h",
        "reasoning_tokens": usage(_OUTPUT, "reasoning_tokens"),
        "audio_input_tokens": "audio_input",
        "audio_output_tokens": usage(_OUTPUT, "audio_tokens"),
        "image_input_tokens": "image_input",
        "image_output_tokens": usage(_OUTPUT, "image_tokens"),
        "web_search_count": _larger(
            usage("server_tool_use", "web_search_requests"), usage(_INPUT, "web_search_requests")
        ),
        "unmapped_usage": "unmapped",
    }


def call_kind(label: Path) -> str:
    """SQL of the kind of a call: as labelled, else by the type of the call."""
    return f"""coalesce(nullif({label("call_kind")}, ''), case
        when call_type in ('embedding', 'aembedding', 'embeddings') then 'embedding'
        when call_type in ('rerank', 'arerank') then 'rerank'
        else 'llm' end)"""


MODEL = """case
    when starts_with(model, custom_llm_provider || '/') then substr(model, length(custom_llm_provider) + 2)
    else model end"""

CACHE_HIT = "case lower(cache_hit) when 'true' then 'true' when 'false' then 'false' end"

TAGS = """case
    when request_tags in ('', '[]', '{}') then null
    when contains(lower(request_tags), 'user-agent') then nullif(cast(to_json(list_filter(
        try(from_json(request_tags, '["VARCHAR"]')), lambda tag: not contains(lower(tag), 'user-agent')
    )) as varchar), '[]')
    else request_tags end"""
