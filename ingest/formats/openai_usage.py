"""OpenAI's organization usage reports, as the API answers them: one row per result of a time bucket.

``GET /v1/organization/usage/<endpoint>`` answers in pages; ``results[].object`` names the endpoint. What the fields
mean, and where they mislead:

- ``input_tokens`` includes cached tokens and, in newer reports, tokens written to the cache; ``output_tokens`` includes
  reasoning, which is not reported apart.
- Written tokens are kept for 30 minutes (``input_cache_write_tokens``) or for 12 hours
  (``input_cache_write_12h_tokens``). Here they are the short-lived and the long-lived bucket.
- ``input_audio_tokens``, ``input_image_tokens`` and ``input_text_tokens`` are without cached tokens; older descriptions
  of the report say with. Where the three add up to the whole input, they are with, and the cached ones are taken out.
- ``input_uncached_tokens`` repeats what the other counts say: a result where it does not add up is quarantined.
- A dimension is null where the report was not grouped by it. Two reports of one time grouped in two ways count the same
  tokens twice: deliver one of them.
- ``batch`` is a flag of its own; here it is the service tier.
- Times are Unix seconds, ends exclusive.
- Storage of vector stores, file searches and sessions of the code interpreter are no calls of a model: skipped.
"""

from __future__ import annotations

from ingest.reading import Head, Reader
from ingest.report_pages import is_report, results, utc_from_seconds
from ingest.rows import Extract

NAME = "openai_usage"
VERSION = 1
CONTRACTS = ("vendor_usage",)
DELIVERY = "file"
REPLACES_PERIOD = False

_MINE = r'"object"\s*:\s*"organization\.usage\.'
_TOKENS = (
    "input_tokens",
    "input_cached_tokens",
    "input_cache_write_tokens",
    "input_cache_write_12h_tokens",
    "input_uncached_tokens",
    "input_text_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "input_cached_text_tokens",
    "input_cached_audio_tokens",
    "input_cached_image_tokens",
)
_KEYS = (
    "object",
    *_TOKENS,
    "output_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "num_model_requests",
    "num_requests",
    "images",
    "characters",
    "seconds",
    "model",
    "batch",
    "service_tier",
    "project_id",
)
"""The keys of a result that are read. Ids of keys and users stay where they are."""

_NO_CALLS = ("vector_stores", "file_search_calls", "code_interpreter_sessions")


def sniff(head: Head) -> bool:
    """Whether the document holds results of a usage endpoint, or buckets without any result."""
    return is_report(head, "start_time", "end_time", _MINE)


def read(reader: Reader) -> list[Extract]:
    """The reports' results as vendor usage."""
    rows = results(
        reader, "start_time", "end_time", dict.fromkeys(_KEYS, "VARCHAR"), known=("start_time_iso", "end_time_iso")
    )
    return [
        Extract(
            contract="vendor_usage",
            rows=_counted(rows),
            columns=_FIELDS,
            skip=_SKIP,
            problem=_PROBLEM,
            input_includes_cached=True,
            output_includes_reasoning=True,
            hashed_id="line_id",
            is_unnested=True,
        )
    ]


def _count(key: str) -> str:
    return f"coalesce(try_cast(result.{key} as bigint), 0)"


def _counted(rows: str) -> str:
    """SQL of the rows with ``endpoint``, and the sums that tell how the counts of a result belong together."""
    return f"""
        select
            *,
            regexp_extract(result.object, '^organization[.]usage[.]([a-z_]{{1,40}})[.]result$', 1) as endpoint,
            try({_count("input_cache_write_tokens")} + {_count("input_cache_write_12h_tokens")}) as written,
            try(try_cast(result.input_tokens as bigint) - {_count("input_cached_tokens")}) as uncached,
            try({_count("input_text_tokens")} + {_count("input_audio_tokens")} + {_count("input_image_tokens")})
                as modalities,
            result.input_text_tokens is not null and modalities = try_cast(result.input_tokens as bigint)
                and modalities not in (uncached, uncached - written) as is_with_cached
        from ({rows})"""


def _fresh(modality: str) -> str:
    """SQL of a modality's tokens without its cached ones."""
    cached = f"try(try_cast(result.input_{modality}_tokens as bigint) - {_count(f'input_cached_{modality}_tokens')})"
    return f"case when is_with_cached then cast({cached} as varchar) else result.input_{modality}_tokens end"


_SKIP = f"case when endpoint in ({', '.join(f'{chr(39)}{name}{chr(39)}' for name in _NO_CALLS)}) then 'no call' end"

_PROBLEM = """coalesce(_found, case
    when coalesce(endpoint, '') = '' then '|not a result of the usage report'
    when try_cast(result.input_uncached_tokens as bigint) not in (uncached, try(uncached - written))
        then 'input_tokens|does not add up with input_uncached_tokens'
    end)"""

_FIELDS = {
    "provider": "'openai'",
    # times
    "started_at": utc_from_seconds("bucket_start"),
    "ended_at": utc_from_seconds("bucket_end"),
    # dimensions
    "model": "result.model",
    "service_tier": "case when lower(result.batch) = 'true' then 'batch' else result.service_tier end",
    "project_id": "result.project_id",
    # counts
    "request_count": "result.num_model_requests",
    "input_tokens": "result.input_tokens",
    "cache_read_tokens": "result.input_cached_tokens",
    "cache_write_5m_tokens": "result.input_cache_write_tokens",
    "cache_write_1h_tokens": "result.input_cache_write_12h_tokens",
    "audio_input_tokens": _fresh("audio"),
    "image_input_tokens": _fresh("image"),
    "output_tokens": "result.output_tokens",
    "audio_output_tokens": "result.output_audio_tokens",
    "image_output_tokens": "result.output_image_tokens",
    "image_count": "result.images",
    "audio_seconds": "result.seconds",
    "character_count": "result.characters",
    "web_search_count": "case when endpoint = 'web_search_calls' then result.num_requests end",
}
