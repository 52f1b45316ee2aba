"""OpenAI's organization cost report, as the API answers it: one row per result of a day.

``GET /v1/organization/costs`` answers in pages. What the fields mean, and where they mislead:

- ``amount.value`` is in the currency's main unit, as a number or as text with many digits (``"0E-6176"`` is 0). It may
  be negative: a credit.
- ``line_item`` is null unless the report was grouped by it. It is the only place that names a model:
  ``<model>[ <text, image or audio>], <input, cached input, cache writes or output>``, in older reports without the
  comma (``GPT-4o mini cached input``). Where it does not clearly say so, model and token type stay null.
- ``token_type`` is in the lake's words: what ``line_item`` says as "input" is input that no cache served.
- A day is a UTC day. The report changes for some days after it: the newest one of a day counts.
"""

from __future__ import annotations

from ingest.reading import Head, Reader
from ingest.report_pages import is_report, results, utc_date, utc_from_seconds
from ingest.rows import Extract

NAME = "openai_costs"
VERSION = 1
CONTRACTS = ("vendor_costs",)
DELIVERY = "file"
REPLACES_PERIOD = False

_MINE = r'"object"\s*:\s*"organization\.costs\.result"'
_RESULT = {
    "object": "VARCHAR",
    "amount": {"value": "VARCHAR", "currency": "VARCHAR"},
    "line_item": "VARCHAR",
    "project_id": "VARCHAR",
}


def sniff(head: Head) -> bool:
    """Whether the document holds results of the cost report, or buckets without any result."""
    return is_report(head, "start_time", "end_time", _MINE)


def read(reader: Reader) -> list[Extract]:
    """The report's results as vendor costs."""
    rows = results(reader, "start_time", "end_time", _RESULT, known=("start_time_iso", "end_time_iso"))
    return [
        Extract(
            contract="vendor_costs",
            rows=_named(rows),
            columns=_FIELDS,
            problem=_PROBLEM,
            hashed_id="line_id",
            is_unnested=True,
        )
    ]


_ID = "[a-z0-9][a-z0-9._:/-]*"
_FAMILIES = "(?:gpt|chatgpt|o[1-9]|text-embedding|whisper|tts|dall-e|sora|davinci|babbage|omni-moderation|codex|ft[:-])"
_MODALITY = "(?: (text|image|audio))?"
_DIRECTION = "(cached input|input|output|cache writes?)"
_WITH_COMMA = f"^({_ID}){_MODALITY}, {_DIRECTION}$"
_WITHOUT_COMMA = f"^({_FAMILIES}[a-z0-9._: -]*?){_MODALITY} {_DIRECTION}$"
_MODEL_ONLY = f"^{_FAMILIES}[a-z0-9._:/-]*$"

_PARTS = "['model', 'modality', 'direction']"


def _named(rows: str) -> str:
    """SQL of the rows with ``words``: model, modality and direction of the line item, empty where it does not say."""
    return f"""
        select
            *,
            case
                when regexp_matches(item, '{_WITH_COMMA}') then regexp_extract(item, '{_WITH_COMMA}', {_PARTS})
                when regexp_matches(item, '{_WITHOUT_COMMA}') then regexp_extract(item, '{_WITHOUT_COMMA}', {_PARTS})
                when regexp_matches(item, '{_MODEL_ONLY}') then {{'model': item, 'modality': '', 'direction': ''}}
            end as words
        from (select *, lower(trim(result.line_item)) as item from ({rows}))"""


_PROBLEM = """coalesce(_found, case
    when result.object is distinct from 'organization.costs.result' then '|not a result of the cost report'
    end)"""

_TOKEN_TYPE = """case words.direction
    when 'cached input' then 'cache_read_tokens'
    when 'cache writes' then 'cache_write_5m_tokens'
    when 'cache write' then 'cache_write_5m_tokens'
    when 'input' then case when words.modality in ('image', 'audio') then words.modality || '_input_tokens'
        else 'uncached_input_tokens' end
    when 'output' then case when words.modality in ('image', 'audio') then words.modality || '_output_tokens'
        else 'output_tokens' end
    end"""

_FIELDS = {
    "provider": "'openai'",
    "cost_date": utc_date(utc_from_seconds("bucket_start")),
    "model": "replace(words.model, ' ', '-')",
    "line_item": "result.line_item",
    "cost_type": "case when words.direction != '' then 'tokens' end",
    "token_type": _TOKEN_TYPE,
    "amount": "result.amount.value",
    "currency": "upper(result.amount.currency)",
    "project_id": "result.project_id",
}
