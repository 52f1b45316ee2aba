"""LiteLLM's public price table, ``model_prices_and_context_window.json``, and lists of changes to it.

The table is one JSON document: a key a model, its prices among many other facts. It tells what LiteLLM's maintainers
believed when the file was taken, not since when a vendor charges so: each row is an observation of that moment, and
whether it is believed is decided later. What the fields mean, and where they mislead:

- Prices are USD for one token, image or request, often as 1.5e-07. They are moved to a million by their text, so they
  stay exact. Other units (seconds, characters, pixels, pages, Databricks units) have no component here: such prices are
  skipped and counted. A price key that is not known at all is named in a notice.
- ``cache_creation_input_token_cost`` is a cache write of five minutes, ``..._above_1hr`` one of an hour.
- ``..._above_200k_tokens`` holds for requests with more input than that; ``_batches``, ``_flex`` and ``_priority`` are
  service tiers; ``tiered_pricing`` lists steps of the context, each from the beginning of its range.
- ``search_context_cost_per_query`` has a price for each size of a search. One price is read only where all sizes agree:
  logs do not tell the size.
- ``input_cost_per_image`` is what a generated image costs where the model makes images, elsewhere what an image in the
  request costs, which has no component.
- 0 is given for what is free and for what nobody looked up. It is read as it stands.
- Keys are ``provider/model``, with the region in between for some of Bedrock's, or the model alone where LiteLLM takes
  the vendor for granted; then ``litellm_provider`` says who it is. One price may stand under two keys of a model: the
  key with the provider counts, as LiteLLM looks it up first.

A list of changes is a table with the columns observed_at, model (the key), field, new, and if known old, provider and
commit. ``new`` was seen at observed_at and ``old`` until just before; an empty ``new`` says that the price was dropped.
"""

from __future__ import annotations

import json
import re

from ingest.reading import Head, Reader, literal
from ingest.rows import Extract, NeedsContent

NAME = "litellm_prices"
VERSION = 1
CONTRACTS = ("model_prices",)
DELIVERY = "file"
REPLACES_PERIOD = False
IS_OBSERVATION = True

_CHANGE_COLUMNS = ("observed_at", "model", "field", "new", "old", "provider", "commit")
_EXAMPLE = "sample_spec"
_COMPONENTS = {
    # field without context step and service tier: (component, unit)
    "input_cost_per_token": ("input", "token"),
    "output_cost_per_token": ("output", "token"),
    "cache_read_input_token_cost": ("cache_read", "token"),
    "input_cost_per_token_cache_hit": ("cache_read", "token"),
    "cache_creation_input_token_cost": ("cache_write_5m", "token"),
    "cache_creation_input_token_cost_above_1hr": ("cache_write_1h", "token"),
    "output_cost_per_reasoning_token": ("reasoning", "token"),
    "input_cost_per_audio_token": ("audio_input", "token"),
    "output_cost_per_audio_token": ("audio_output", "token"),
    "input_cost_per_image_token": ("image_input", "token"),
    "output_cost_per_image_token": ("image_output", "token"),
    "output_cost_per_image": ("image", "image"),
    "input_cost_per_image": ("image", "image"),
    "input_cost_per_query": ("call", "call"),
    "input_cost_per_request": ("call", "call"),
    "search_context_cost_per_query": ("web_search", "call"),
}
_SECOND_CHOICE = ("input_cost_per_token_cache_hit", "input_cost_per_image", "input_cost_per_request")
"""Fields that count only where the other field of their component is absent."""

_OTHER_UNITS = (
    "_per_(second|character|pixel|page|credit|session|gb_per_day|1k_tokens|1k_calls|video_token)"
    "|_dbu_cost_|^cache_(creation|read)_input_audio_|^citation_cost_"
)
"""Known prices that no component takes."""

_NUMBER = "[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]{1,3})?"
_TOO_LARGE = 10**12
"""USD per million: what no price reaches, and what later columns cannot hold."""

_VENDORS = {
    # a key without a provider: whom LiteLLM takes for granted
    "^(ft:)?(gpt-|chatgpt-|o[1-9](-|$)|text-embedding-(3|ada)|codex-|(davinci|babbage)-|omni-|text-moderation-|dall-e-|"
    "sora-|tts-|whisper-)": "openai",
    "^(us|us-gov|eu|apac|au|jp|ca|global)?[.]?(ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|"
    "moonshot|moonshotai|nvidia|openai|qwen|stability|twelvelabs|writer|zai)[.]": "bedrock",
    "^claude-.*:[0-9]+$": "bedrock",
    "^claude-": "anthropic",
    "^gemini-(.*(-latest|-native-audio|-live-)|exp-)": "gemini",
    "^(gemini-|medlm-|multimodalembedding|text-(bison|unicorn|embedding-|multilingual-embedding-))": "vertex_ai",
    "^(command|c4ai-aya|embed-(english|multilingual)|rerank-)": "cohere",
    "^(jamba|j2)-": "ai21",
    "^deepseek-": "deepseek",
    "^fireworks-ai-": "fireworks_ai",
    "^together-ai-": "together_ai",
}


def sniff(head: Head) -> bool:
    """Whether the file is a map of models to objects with prices, or a list of changes to one."""
    return _is_changes(head) or (head.kind in ("json", "jsonl") and _is_table(head.text))


def read(reader: Reader) -> list[Extract]:
    """Every price of the tables, and every change of the lists, as an observation."""
    changes = [head for head in reader.heads if _is_changes(head)]
    tables = [head for head in reader.heads if not _is_changes(head)]
    if not reader.is_careful and any(head.kind == "jsonl" for head in tables):
        # a table in one line: its text is needed
        raise NeedsContent
    prices = [_changed(reader, [head]) for head in changes]
    if tables:
        found = f"{reader.catalog}.listed_prices"
        reader.connection.execute(f"create or replace table {found} as\n{_listed(reader, tables)}")
        prices.append(f"select * from {found}")
        _tell(reader, _judged(prices[-1]))
    rows = _judged("\nunion all by name\n".join(prices or [_changed(reader, [])]))
    return [
        Extract(
            contract="model_prices",
            rows=rows,
            columns=_FIELDS,
            skip="skipped",
            problem="problem",
            is_unnested=True,
        )
    ]


def _is_changes(head: Head) -> bool:
    return {"observed_at", "model", "field", "new"} <= set(head.columns)


def _is_table(text: str) -> bool:
    """Whether a document begins as a map whose first value is an object of a model."""
    begins = re.match(r'[\s\ufeff]*\{\s*"(?:[^"\\]|\\.)*"\s*:\s*(?=\{)', text)
    if not begins:
        return False
    try:
        first, _ = json.JSONDecoder().raw_decode(text, begins.end())
    except ValueError:
        return False
    return "litellm_provider" in first or any("_cost_per_" in key for key in first)


def _listed(reader: Reader, heads: list[Head]) -> str:
    """SQL of one row per price of the tables; one for a model without any, and for what is no table."""
    lines = "\nunion all\n".join(_lines_of_entries(reader, head) for head in heads)
    return f"""
        with documents as materialized (
            {reader.rows((_EXAMPLE,), heads=heads)}
        ),

        lines as (
            select _file, model_key, min(line_number) as line_number from ({lines}) group by _file, model_key
        ),

        -- a row for the document itself where it is no map of models
        entries as materialized (
            select row_number() over () as entry_number, *
            from (
                select _file, _broken, _line, {_unnested("_content", "model_key", "entry")}
                from documents where _broken is null
                union all by name
                select _file, _broken, _line from documents where _broken is not null
            )
        ),

        fields as materialized (
            select * from (
                select entry_number, {_unnested("entry", "field", "price")}
                from entries where json_type(entry) = 'OBJECT' and model_key != {literal(_EXAMPLE)}
            )
            where contains(field, 'cost') or field = 'tiered_pricing'
        ),

        steps as (
            select entry_number, unnest(range(cast(json_array_length(price) as bigint))) as step_number,
                unnest(json_extract(price, '$[*]')) as step
            from fields where field = 'tiered_pricing' and json_type(price) = 'ARRAY'
        ),

        prices as (
            select * from fields where field != 'tiered_pricing' or json_type(price) != 'ARRAY'
            union all by name
            select * from (
                select entry_number, step_number, step, {_unnested("step", "field", "price")}
                from steps where json_type(step) = 'OBJECT'
            )
            where contains(field, 'cost')
            union all by name
            select entry_number, step_number, 'tiered_pricing' as field, step as price
            from steps where json_type(step) is distinct from 'OBJECT'
        )

        select
            entries._file,
            concat_ws(': ', field, coalesce(price, entry)) as _content,
            _broken,
            coalesce(_line, lines.line_number, 1) as _line,
            entries.model_key,
            nullif(json_extract_string(entry, '$.litellm_provider'), '') as provider,
            json_extract_string(entry, '$.mode') as mode,
            json_type(entry) as entry_kind,
            field,
            case when field = 'search_context_cost_per_query' and json_type(price) = 'OBJECT' then
                case when {_ALL_SIZES_AGREE} then {_SIZES[0]} else {literal(_BY_SIZE)} end
                else json_extract_string(price, '$') end as amount,
            step is not null as is_step,
            json_extract_string(step, '$.range[0]') as step_from,
            concat_ws('.', 'tiered_pricing[' || step_number || ']', field) as place,
            {literal(reader.options.observed_at or "")} as observed_at,
            cast(null as varchar) as commit,
            false as is_change
        from entries
        left join prices on entries.entry_number = prices.entry_number
        left join lines on entries._file = lines._file and entries.model_key = lines.model_key"""


def _unnested(document: str, key: str, value: str) -> str:
    """SQL of two columns with a row per key of a JSON object; a key that stands there twice has both of its values."""
    return f"unnest(json_keys({document})) as {key}, unnest(json_extract({document}, '$.*')) as {value}"


_BY_SIZE = "by size"
_SIZES = [f"json_extract_string(price, '$.search_context_size_{size}')" for size in ("medium", "low", "high")]
_ALL_SIZES_AGREE = f"{_SIZES[0]} = {_SIZES[1]} and {_SIZES[0]} = {_SIZES[2]}"


def _lines_of_entries(reader: Reader, head: Head) -> str:
    """SQL of the lines on which a key and its value begin."""
    return f"""
        select
            {literal(head.path)} as _file,
            try(json_extract_string(regexp_extract(line, {literal(_KEY)}, 1), '$')) as model_key,
            line_number
        from (select row_number() over () as line_number, line from {reader.lines(head)})
        where regexp_matches(line, {literal(_KEY)})"""


_KEY = r'^\s*\{?\s*("(?:[^"\\]|\\.)*")\s*:'


def _changed(reader: Reader, heads: list[Head]) -> str:
    """SQL of one row per value of a list of changes: the new one, and the old one a microsecond before."""
    headers = sum(head.kind == "csv" for head in heads)
    return f"""
        select
            _file,
            _content,
            _broken,
            coalesce(_line, record) as _line,
            model as model_key,
            nullif(provider, '') as provider,
            cast(null as varchar) as mode,
            'OBJECT' as entry_kind,
            nullif(trim(field), '') as field,
            nullif(trim(seen.amount), '') as amount,
            false as is_step,
            cast(null as varchar) as step_from,
            field as place,
            coalesce(
                case when seen.is_old
                    then cast(try_cast(observed_at as timestamptz) - interval 1 microsecond as varchar) end,
                observed_at
            ) as observed_at,
            commit,
            true as is_change
        from (
            select *, unnest(case when trim(coalesce(old, '')) = '' then [] else [{{amount: old, is_old: true}}] end
                || [{{amount: new, is_old: false}}]) as seen
            from (
                select *, {headers} + row_number() over () as record
                from ({reader.rows(_CHANGE_COLUMNS, known=(), heads=heads)})
            )
        )"""


def _judged(prices: str) -> str:
    """SQL of the prices with what each one is the price of, and why it is left out or wrong."""
    base = "regexp_replace(regexp_replace(field, '_above_[0-9]+k_tokens', ''), '_(batch|batches|flex|priority)$', '')"
    steps = "regexp_extract(field, '_above_([0-9]+)k_tokens', 1)"
    components, units = (
        " ".join(f"when {literal(name)} then {literal(of[part])}" for name, of in _COMPONENTS.items())
        for part in (0, 1)
    )
    second_choice = ", ".join(literal(name) for name in _SECOND_CHOICE)
    vendors = " ".join(
        f"when regexp_matches(model_key, {literal(pattern)}) then {literal(vendor)}"
        for pattern, vendor in _VENDORS.items()
    )
    return f"""
        with prices as (
            {prices}
        ),

        named as (
            select
                *,
                {base} as base,
                split_part(model_key, '/', 1) as first_part,
                contains(model_key, '/') and not regexp_full_match(first_part, {literal(_IMAGE_PART)}) as has_prefix,
                coalesce(provider, case when has_prefix then first_part {vendors} end) as vendor,
                has_prefix and (
                    vendor = first_part
                    or starts_with(vendor, first_part || '-')
                    or starts_with(vendor, first_part || '_')
                ) as is_prefixed,
                case when is_prefixed then substr(model_key, length(first_part) + 2) else model_key end as path,
                nullif(regexp_extract(path, {literal(_REGION_PART)}, 1), '') as region,
                case when region is null then path else substr(path, length(region) + 2) end as model,
                case regexp_extract(field, '_(batch|batches|flex|priority)(_above_|$)', 1)
                    when 'batch' then 'batch' when 'batches' then 'batch' when 'flex' then 'flex'
                    when 'priority' then 'priority' else 'standard' end as service_tier,
                case when is_step then regexp_replace(step_from, '[.]0*$', '')
                    when {steps} != '' then {steps} || '000' else '0' end as context,
                case when base = 'input_cost_per_image' and mode is distinct from 'image_generation' then null
                    else case base {components} end end as component,
                case base {units} end as unit,
                regexp_full_match(trim(amount), {literal(_NUMBER)}) as is_number,
                split_part(lower(trim(amount)), 'e', 1) || 'e' || cast(
                    coalesce(try_cast(nullif(split_part(lower(trim(amount)), 'e', 2), '') as integer), 0) + 6 as varchar
                ) as usd,
                try_cast(usd as decimal(38, 12)) as usd_per_million,
                model != '' and try_cast(observed_at as timestamptz) is not null as is_told
            from prices
        ),

        ranked as (
            select
                *,
                row_number() over price_order as choice,
                first_value(usd_per_million) over price_order as chosen
            from named
            window price_order as (
                partition by _file, vendor, model, region, service_tier, context, component, observed_at
                order by
                    coalesce(is_number, false) desc, base in ({second_choice}), is_step,
                    is_prefixed desc, model_key, place
            )
        )

        select
            *,
            component is null and base is distinct from 'input_cost_per_image' and field != 'tiered_pricing'
                and not regexp_matches(field, {literal(_OTHER_UNITS)}) as is_unknown,
            case
                when _broken is not null or entry_kind is distinct from 'OBJECT' then null
                when model_key = {literal(_EXAMPLE)} then 'an example, no model'
                when field is null and not is_change then 'no price'
                when field = 'tiered_pricing' then case when amount is null then 'no price' end
                when is_unknown and field is not null then 'a price key that is not known'
                when component is null and field is not null then 'a price of another unit'
                when amount is null and is_change then 'the price was dropped'
                when amount is null then 'no price'
                when is_step and context is null then 'a step of something else than tokens'
                when amount = {literal(_BY_SIZE)} then 'a price that depends on the size of the search'
                when choice > 1 and is_number and component is not null and is_told then 'the price stands there twice'
            end as skipped,
            case
                when _broken is not null then null
                when entry_kind is distinct from 'OBJECT' then '|not a JSON object'
                when field is null then 'field|missing'
                when field = 'tiered_pricing' then 'tiered_pricing|not a list of steps'
                when not coalesce(is_number, false) then base || '|not a number'
                when usd_per_million < 0 then base || '|negative'
                when usd_per_million is null or usd_per_million >= {_TOO_LARGE} then base || '|too large for a price'
            end as problem
        from ranked"""


_IMAGE_PART = "low|medium|high|standard|hd|auto|max-x-max|[0-9]+-x-[0-9]+"
_REGION_PART = "^([a-z]{2}(?:-[a-z]+)+-[0-9])/."


def _tell(reader: Reader, rows: str) -> None:
    """Name the price keys that nobody here knows, and count the prices that two keys of a model disagree about."""
    found = reader.connection.execute(
        f"""
        select
            _file,
            list(distinct field order by field) filter (
                where skipped = 'a price key that is not known' and regexp_full_match(field, '[A-Za-z_][A-Za-z0-9_]*')
            ),
            count(*) filter (where skipped = 'the price stands there twice' and usd_per_million != chosen)
        from ({rows}) group by _file
        """
    ).fetchall()
    by_name = {str(head.path): head.path for head in reader.heads}
    for file, unknown, differing in found:
        if unknown:
            more = f" and {len(unknown) - 20} more" if len(unknown) > 20 else ""
            reader.tell(by_name[file], f"price keys not read: {', '.join(unknown[:20])}{more}")
        if differing:
            reader.tell(
                by_name[file], f"{differing} prices differ from those under another key of the model, which count"
            )


_FIELDS = {
    # whose price
    "provider": "vendor",
    "model": "model",
    "region": "region",
    # of what
    "service_tier": "service_tier",
    "context_above_tokens": "context",
    "component": "component",
    "unit": "unit",
    # exact: moved from a unit to a million by the exponent
    "usd_per_million": "usd",
    # when it was seen (UTC), and where
    "observed_at": "observed_at",
    "origin": "concat_ws(' ', 'litellm', model_key, place, commit)",
}
