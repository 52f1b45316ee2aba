"""From rows of text to typed rows of a contract: the one place where types, rules and accounting live.

A format says, per contract column, which text of the vendor's record fills it (an ``Extract``). Here the text is
cast, the contract's rules are checked, and each candidate row is loaded, quarantined (with the column and the reason,
never its text) or skipped (with a reason that is counted). All of it is one DuckDB query over the delivery.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa

from ingest.contracts import CONTRACTS, ENUMS, QUARANTINED_ROWS, Contract
from ingest.ledger import BillKey, Counts, Part
from ingest.reading import NO_PLACES, Reader, identifier, literal

COUNTED = ("llm_calls", "vendor_usage")
"""Contracts with token buckets, whose totals a format may give instead."""

_GOOD = "_skip is null and _problem is null and not _is_blank"


class NeedsContent(Exception):
    """The delivery must be read again, more carefully.

    Some rows have no id or no place of their own, so that their records' text is needed, or lines were joined.
    """


@dataclass(frozen=True)
class Extract:
    """What a format found for one contract.

    Attributes:
        contract: name of the contract.
        rows: SQL of the candidate rows: the place columns of ``ingest.reading`` and the vendor's columns.
        columns: SQL text expression over ``rows`` for each contract column that the format fills. For ``llm_calls``
            and ``vendor_usage`` also ``input_tokens`` and ``output_tokens`` (totals); for ``llm_calls`` ``session_id``.
        skip: SQL over ``rows`` giving the reason why a record is rightly left out, else null.
        problem: SQL over ``rows`` giving what the format itself finds wrong with a record, as ``column|reason`` (the
            column may be empty), else null.
        input_includes_cached: whether the input total contains cache reads and writes (llm_calls).
        output_includes_reasoning: whether the output total contains reasoning tokens (llm_calls).
        hashed_id: the id column that gets a content hash where the record has none.
        is_unnested: whether a record of the file may give several rows, whose order then tells no line.
    """

    contract: str
    rows: str
    columns: dict[str, str]
    skip: str = "null"
    problem: str = "null"
    input_includes_cached: bool = True
    output_includes_reasoning: bool = True
    hashed_id: str | None = None
    is_unnested: bool = False


@dataclass
class Loaded:
    """The outcome of one extract for one batch: parts in the attempt's folder, the accounting, and the bill keys."""

    parts: list[Part] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    bill_keys: list[BillKey] = field(default_factory=list)


def load(
    extract: Extract, reader: Reader, *, batches: dict[Path, str], source: str, format_name: str
) -> dict[str, Loaded]:
    """Check one extract's rows and write them as parts under the reader's scratch folder.

    Args:
        extract: the candidate rows and how they fill the contract.
        reader: the open reader of one or more deliveries.
        batches: id of the batch that each of the reader's files belongs to, stamped on its rows.
        source: name of the configured source, stamped on every row.
        format_name: named in the quarantine.

    Returns:
        For each batch, the parts written (paths relative to the scratch folder), counts and bill keys.

    Raises:
        NeedsContent: the reader must be careful.
    """
    contract = CONTRACTS[extract.contract]
    extract = _with_declared_tokens(extract, reader)
    connection = reader.connection
    table = f"{reader.catalog}.candidate_{contract.name}"
    rejects_before = len(reader.rejects())
    columns, rows = _candidates(_without_empty(extract, reader), contract, source)
    connection.execute(f"create or replace table {table} as\n{reader.without_unseen(rows)}")
    rejects = [*reader.rejects()[rejects_before:], *reader.take_truncated()]
    if rejects and reader.mixes_line_ends():
        raise NeedsContent
    tallies = _tally(connection, table, contract, columns, batches, rejects)
    lacking = {
        batch
        for batch, tally in tallies.items()
        if extract.hashed_id and tally.rows and tally.filled[extract.hashed_id] < tally.rows
    }
    has_problems = extract.is_unnested and any(tally.quarantined for tally in tallies.values())
    if (lacking or has_problems) and not reader.is_careful:
        raise NeedsContent
    loaded = {batch: Loaded(counts=tally.counts()) for batch, tally in tallies.items()}
    for number, (batch, tally) in enumerate(tallies.items()):
        files = [path for path, name in batches.items() if name == batch]
        selected = _Selected(table, batch, number, files if len(tallies) > 1 else None)
        if tally.rows:
            hashed_id = extract.hashed_id if batch in lacking else None
            loaded[batch].parts.extend(_write_rows(contract, reader, selected, tally, hashed_id))
        if contract.name == "bill_lines":
            loaded[batch].bill_keys = list(_bill_keys(connection, selected))
    if any(tally.quarantined for tally in tallies.values()):
        found = _quarantined(reader, table, rejects, contract.name, batches, source, format_name)
        for number, (batch, rows_of_batch) in enumerate(found.items()):
            loaded[batch].parts.append(_write_quarantine(rows_of_batch, reader.folder, f"{contract.name}-{number}"))
    connection.execute(f"drop table {table}")
    return loaded


def _with_declared_tokens(extract: Extract, reader: Reader) -> Extract:
    """What the source's configuration says of its token counts goes before what the format says."""
    cached, reasoning = reader.options.input_includes_cached, reader.options.output_includes_reasoning
    return replace(
        extract,
        input_includes_cached=extract.input_includes_cached if cached is None else cached,
        output_includes_reasoning=extract.output_includes_reasoning if reasoning is None else reasoning,
    )


def _without_empty(extract: Extract, reader: Reader) -> Extract:
    """The extract without the columns that cannot have a value in this delivery, as DuckDB's planner knows."""
    rows = reader.over_samples(extract.rows)
    if rows is None:
        return extract
    values = ", ".join(f"stats(cast({text} as varchar)).has_no_null" for text in extract.columns.values())
    told = reader.connection.execute(reader.without_unseen(f"select {values} from ({rows}) limit 1")).fetchone()
    if told is None:
        return extract
    filled = {name for name, may_be_filled in zip(extract.columns, told, strict=True) if may_be_filled}
    # A hashed id is filled later, and of a total only what is left goes into a bucket that the format does not fill.
    filled |= {extract.hashed_id, *(rest for rest, *_ in _TOTALS.values())}
    kept = {name: text for name, text in extract.columns.items() if name in filled}
    return replace(extract, columns=kept)


def _candidates(extract: Extract, contract: Contract, source: str) -> tuple[list[str], str]:
    """The contract's columns that the extract fills or that loading needs, and SQL of the typed candidate rows.

    Besides those columns the rows have ``_problem`` ('column|reason' or null) and ``_skip``. The SQL is kept short:
    planning it takes longer than running it over a small file.
    """
    texts = {**extract.columns, "source": literal(source)}
    picked = ",\n".join(
        f"{_stored(name, _type(contract, name), f'cast({text} as varchar)')} as {identifier(name)}"
        for name, text in texts.items()
    )
    casts = "".join(
        f",\n{_cast(name, _type(contract, name))} as {_typed(contract, name)}"
        for name in texts
        if _type(contract, name) != pa.string()
    )
    final = {name: _typed(contract, name) for name in contract.column_names if name in texts}
    problems = list(_cast_problems(contract, texts))
    if contract.name in COUNTED:
        problems.extend(_token_problems(extract, contract, texts))
    problems.extend(_rule_problems(contract, final, extract.hashed_id))
    if contract.name in COUNTED:
        final |= _token_rests(extract, contract, texts)
    if contract.name == "llm_calls":
        final |= _call_values(contract, texts)
    for name in {*contract.key, *contract.date_columns, *_BILL_KEY} & {*contract.column_names}:
        final.setdefault(name, f"cast(null as {_sql_type(contract.type_of(name))})")
    columns = [name for name in contract.column_names if name in final]
    picked_columns = ",\n".join(f"{final[name]} as {identifier(name)}" for name in columns)
    needs_hash = "_problem is not null"
    if extract.hashed_id:
        needs_hash += f" or {final[extract.hashed_id]} is null"
    usage_date = "cast(null as date)"
    if contract.partitioned:
        # What `at time zone 'UTC'` gives, without its look at the calendar.
        usage_date = f"cast(make_timestamp(epoch_us({final[contract.date_columns[0]]})) as date)"
    cases = "\n".join(f"when {condition} then {literal(f'{name}|{reason}')}" for name, reason, condition in problems)
    return (
        columns,
        f"""
with records as (
{extract.rows}
),

texts as (
    select _file, _content, _broken, _line, {extract.skip} as _skip, cast({extract.problem} as varchar) as _found,
{picked}
    from records
),

typed as (
    select *{casts}
    from texts
),

checked as (
    select *, case
        when _broken = 'blank' then 'blank'
        when _skip is not null then null
        when _broken is not null then '|' || _broken
        when _found is not null then _found
        {cases}
        end as _problem
    from typed
)

select
    _file,
    _skip,
    nullif(_problem, 'blank') as _problem,
    coalesce(_problem, '') = 'blank' as _is_blank,
    case when {needs_hash} then strlen(_content) end as _length,
    case when {needs_hash} then md5(_content) end as _row_hash,
    case when _problem is not null then _line end as _line,
    {usage_date} as _usage_date,
    {picked_columns}
from checked
""",
    )


def _stored(name: str, type_: pa.DataType, text: str) -> str:
    """SQL of a text as it will be stored: null where it is empty, and without what must not stay."""
    if type_ != pa.string():
        return text
    if name == "api_base":
        # An address may carry a key or a password.
        cleaned = f"regexp_replace(regexp_replace({text}, '[?#].*$', ''), '//[^/@]*@', '//')"
        text = f"case when regexp_matches({text}, '[?#@]') then {cleaned} else {text} end"
    if name in _PATH_IDS:
        # Azure writes the path of one resource in changing letter case; bills, links and events must agree on it.
        is_path = f"regexp_matches({text}, '^/(subscriptions|providers)/', 'i')"
        text = f"case when {is_path} then lower({text}) else regexp_replace({text}, {_GOOGLE_MACHINE}) end"
    return f"nullif({text}, '')"


_PATH_IDS = ("resource_id", "commitment_discount_id", "capacity_reservation_id")
"""Ids that may be paths, of which vendors have several spellings."""

_GOOGLE_MACHINE = r"""
    '^(//compute\.googleapis\.com)/projects/[^/]+(/zones/[^/]+/instances/[0-9]+)$', '\1\2'
"""
"""Google's bills name a machine's project by its number and its nodes by its id; the machine's own number is unique."""


def _type(contract: Contract, name: str) -> pa.DataType:
    try:
        return contract.type_of(name)
    except KeyError:
        return pa.decimal128(18, 0) if name.endswith("_tokens") else pa.string()


def _typed(contract: Contract, name: str) -> str:
    """SQL of a column's typed value; the text itself where text is what it is."""
    return identifier(name if _type(contract, name) == pa.string() else f"t_{name}")


def _sql_type(type_: pa.DataType) -> str:
    if pa.types.is_decimal(type_):
        return f"decimal({type_.precision}, {type_.scale})"
    return {
        pa.string(): "varchar",
        pa.int64(): "bigint",
        pa.bool_(): "boolean",
        pa.float64(): "double",
        pa.date32(): "date",
        pa.timestamp("us", tz="UTC"): "timestamptz",
    }[type_]


def _is_whole(type_: pa.DataType) -> bool:
    return type_ == pa.int64() or (pa.types.is_decimal(type_) and type_.scale == 0)


def _cast(name: str, type_: pa.DataType) -> str:
    """SQL that casts a text column; null when the text is not of the type."""
    column = identifier(name)
    if _is_whole(type_):
        # A cast alone would round 12.5 to 13; most texts are plain digits and need no second look.
        whole = f"try_cast({column} as bigint)"
        if type_ != pa.int64():
            whole = f"try_cast({whole} as {_sql_type(type_)})"
        return f"case when not contains({column}, '.') or regexp_matches({column}, '[.]0*$') then {whole} end"
    if type_ == pa.float64():
        return f"case when isfinite(try_cast({column} as double)) then try_cast({column} as double) end"
    return f"try_cast({column} as {_sql_type(type_)})"


_Problem = tuple[str, str, str]
"""A column, what is wrong with it, and the SQL condition under which it is."""


def _cast_problems(contract: Contract, names: Iterable[str]) -> Iterator[_Problem]:
    for name in names:
        type_ = _type(contract, name)
        if type_ == pa.string():
            if name in ENUMS:
                values = ", ".join(literal(value) for value in ENUMS[name])
                yield name, "not one of the known values", f"{identifier(name)} not in ({values})"
            continue
        reason = {
            pa.timestamp("us", tz="UTC"): "not a time",
            pa.date32(): "not a date",
            pa.bool_(): "not true or false",
        }.get(type_, "not a whole number" if _is_whole(type_) else "not a number")
        value = _typed(contract, name)
        is_wrong = f"{value} is null"
        if type_ in (pa.timestamp("us", tz="UTC"), pa.date32()):
            # '4/1/25' reads as the year 4, and milliseconds taken for seconds as the year 50000.
            first, last = (f"{_sql_type(type_)} {literal(day)}" for day in ("1900-01-01", "9999-12-31"))
            is_wrong = f"({value} is null or {value} not between {first} and {last})"
        yield name, reason, f"{identifier(name)} != '' and {is_wrong}"


def _rule_problems(contract: Contract, final: dict[str, str], hashed_id: str | None) -> Iterator[_Problem]:
    defaulted = (hashed_id, "source", *(_CALL_DEFAULTS if contract.name == "llm_calls" else ()))
    for name in contract.required:
        if name not in defaulted:
            yield name, "missing", f"{final[name]} is null" if name in final else "true"
    for name in contract.non_negative:
        if name in final:
            yield name, "negative", f"{final[name]} < 0"
    for name in contract.positive:
        if name in final:
            yield name, "not above 0", f"{final[name]} <= 0"
    for start, end in _ORDERED.get(contract.name, ()):
        if start in final and end in final:
            yield end, f"before {start}", f"{final[end]} < {final[start]}"
    for name in _RATIOS.get(contract.name, ()):
        if name in final:
            yield name, "not a ratio from 0 to 1", f"{final[name]} not between 0 and 1"


_ORDERED = {
    "llm_calls": (("started_at", "ended_at"), ("started_at", "first_token_at")),
    "vendor_usage": (("started_at", "ended_at"),),
    "bill_lines": (("charge_period_start", "charge_period_end"), ("billing_period_start", "billing_period_end")),
    "replica_windows": (("loaded_at", "unloaded_at"),),
    "resource_links": (("valid_from", "valid_to"),),
}
_LASTING = {"gpu_samples": "interval_seconds", "serving_samples": "interval_seconds"}
"""Contracts whose rows last: from their start column for so many seconds, a day at most."""

_RATIOS = {
    "gpu_samples": ("gpu_util", "gr_engine_active", "sm_active", "tensor_active", "dram_active"),
    "serving_samples": ("kv_cache_usage",),
}

_CALL_DEFAULTS = {
    "attempt_number": "cast(1 as bigint)",
    "status": "'success'",
    "call_kind": "'llm'",
    "workload_kind": "'serving'",
    "sample_weight": "cast(1 as decimal(18, 6))",
}


def _call_values(contract: Contract, present: Collection[str]) -> dict[str, str]:
    """Final SQL of the call columns that have a default, and of the task that stands in where none is named."""
    values = {
        name: f"coalesce({_typed(contract, name)}, {default})" if name in present else default
        for name, default in _CALL_DEFAULTS.items()
    }
    told = f"{_typed(contract, 'attempt_number')} is not null" if "attempt_number" in present else "false"
    values["is_attempt_told"] = told
    origins = [("task_id", "task"), ("trace_id", "trace"), ("session_id", "session"), ("call_id", "call")]
    known = [(identifier(name), origin) for name, origin in origins if name in present]
    if known:
        values["task_id"] = f"coalesce({', '.join(column for column, _ in known)}, null)"
        cases = " ".join(f"when {column} is not null then '{origin}'" for column, origin in known)
        values["task_id_origin"] = f"case {cases} end"
    return values


_TOTALS = {
    # total: (the bucket that takes the rest, parts that only some sources count in, parts that every source does)
    "input_tokens": (
        "uncached_input_tokens",
        ("cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
        ("audio_input_tokens", "image_input_tokens"),
    ),
    "output_tokens": ("output_text_tokens", ("reasoning_tokens",), ("audio_output_tokens", "image_output_tokens")),
}


def _token_parts(extract: Extract, contract: Contract, present: Collection[str]) -> Iterator[tuple[str, str, str, str]]:
    """For each total that the extract has: its name, the bucket of its rest, and SQL of its declared and all parts."""

    def add(names: Iterable[str]) -> str:
        return " + ".join(f"coalesce({_typed(contract, name)}, 0)" for name in names if name in present) or "0"

    for total, (rest, declared, always) in _TOTALS.items():
        contains = extract.input_includes_cached if total == "input_tokens" else extract.output_includes_reasoning
        if total in present and rest not in present:
            yield total, rest, add(declared if contains else ()), add([*(declared if contains else ()), *always])


def _token_problems(extract: Extract, contract: Contract, present: Collection[str]) -> Iterator[_Problem]:
    """What the totals can have wrong: a part larger than its whole is a problem of the row, never clamped."""
    for total, _, declared, parts in _token_parts(extract, contract, present):
        value = _typed(contract, total)
        yield total, "negative", f"{value} < 0"
        if total == "input_tokens" and declared != "0":
            yield "cache_read_tokens", "cached above input", f"{declared} > {value}"
        if parts != "0":
            yield total, "parts add up to more than the whole", f"{parts} > {value}"


def _token_rests(extract: Extract, contract: Contract, present: Collection[str]) -> dict[str, str]:
    """SQL of the buckets that take what is left of a total: by the source's convention, its parts are taken out."""
    return {
        rest: f"try_cast({_typed(contract, total)} - ({parts}) as decimal(18, 0))"
        for total, rest, _, parts in _token_parts(extract, contract, present)
    }


@dataclass(frozen=True)
class _Selected:
    """The good rows of one batch in a candidate table; ``files`` is None where all of them are of the batch."""

    table: str
    batch: str
    number: int
    files: list[Path] | None = None

    @property
    def condition(self) -> str:
        """SQL that is true of the rows."""
        if self.files is None:
            return _GOOD
        return f"_file in ({', '.join(literal(path) for path in self.files)}) and {_GOOD}"


@dataclass
class _Tally:
    """What became of a batch's candidate rows, and what the good ones are like.

    Attributes:
        skipped: rows left out, by reason.
        quarantined: rows with a problem, those that the CSV reader refused included.
        spans: good rows by date: how many, and the first and last date that they overlap (null: open at that end).
        filled: how many values each column has in the good rows.
    """

    skipped: dict[str, int] = field(default_factory=dict)
    quarantined: int = 0
    spans: dict[date | None, tuple[int, date | None, date | None]] = field(default_factory=dict)
    filled: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows are good."""
        return sum(count for count, _, _ in self.spans.values())

    def add_span(self, usage_date: date | None, count: int, first: date | None, last: date | None) -> None:
        """Count good rows of a date; several files may have some."""
        if usage_date in self.spans:
            other, other_first, other_last = self.spans[usage_date]
            count += other
            first = min(first, other_first) if first and other_first else None
            last = max(last, other_last) if last and other_last else None
        self.spans[usage_date] = (count, first, last)

    def counts(self) -> Counts:
        """The accounting: each row is good, skipped or quarantined."""
        firsts, lasts = {first for _, first, _ in self.spans.values()}, {last for *_, last in self.spans.values()}
        return Counts(
            rows_read=self.rows + self.quarantined + sum(self.skipped.values()),
            rows_loaded=self.rows,
            rows_quarantined=self.quarantined,
            rows_skipped=sum(self.skipped.values()),
            skip_reasons=self.skipped,
            min_date=min(firsts) if firsts and None not in firsts else None,
            max_date=max(lasts) if lasts and None not in lasts else None,
        )


def _tally(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    contract: Contract,
    columns: list[str],
    batches: dict[Path, str],
    rejects: list[tuple[Path, int, str, int]],
) -> dict[str, _Tally]:
    """Go through a candidate table once or twice and count, for each batch."""
    tallies = {batch: _Tally() for batch in batches.values()}
    for path, *_ in rejects:
        tallies[batches[path]].quarantined += 1
    outcomes = connection.execute(
        f"""
        select
            _file, _skip, _problem is not null, case when {_GOOD} then _usage_date end, count(*), {_dates_sql(contract)}
        from {table} where not _is_blank group by all order by all
        """
    ).fetchall()
    for file, reason, is_problem, usage_date, count, first, last in outcomes:
        tally = tallies[batches[Path(file)]]
        if reason is not None:
            tally.skipped[reason] = tally.skipped.get(reason, 0) + count
        elif is_problem:
            tally.quarantined += count
        else:
            tally.add_span(usage_date, count, first, last)
    if any(tally.rows for tally in tallies.values()):
        counts = ", ".join(f"count({identifier(name)})" for name in columns)
        # Counting a whole table is much cheaper than counting by file.
        is_one = len(tallies) == 1
        file_column, grouping = ("null", "") if is_one else ("_file", "group by _file")
        filled = connection.execute(f"select {file_column}, {counts} from {table} where {_GOOD} {grouping}").fetchall()
        for file, *numbers in filled:
            tally = next(iter(tallies.values())) if is_one else tallies[batches[Path(file)]]
            tally.filled = {name: tally.filled.get(name, 0) + n for name, n in zip(columns, numbers, strict=True)}
    return tallies


def _write_rows(
    contract: Contract, reader: Reader, selected: _Selected, tally: _Tally, hashed_id: str | None
) -> list[Part]:
    """Write a batch's good rows, one part a date where the contract is partitioned.

    A part holds only the columns that have values: readers match columns by name. ``hashed_id`` names the id column
    that gets a content hash in the rows that lack one; None when none does.
    """
    values = {name: identifier(name) for name, count in tally.filled.items() if count or name in contract.key}
    if hashed_id:
        values[hashed_id] = (
            f"coalesce({identifier(hashed_id)}, 'h_' || md5(source || chr(31) || _row_hash || chr(31) || "
            "row_number() over (partition by _row_hash order by rowid)))"
        )
    columns = ", ".join(f"{value} as {identifier(name)}" for name, value in values.items())
    date_column = ", _usage_date as usage_date" if contract.partitioned else ""
    rows = (
        f"select {columns}, {literal(selected.batch)} as batch_id{date_column} from {selected.table} "
        f"where {selected.condition}"
    )

    def write(number: int, usage_date: date | None, row_count: int, first: date | None, last: date | None) -> Part:
        path = reader.folder / f"{contract.name}-{selected.number}-{number}.parquet"
        of_date = f" and _usage_date = date '{usage_date}'" if usage_date and len(tally.spans) > 1 else ""
        with contextlib.closing(reader.connection.cursor()) as cursor:
            cursor.execute(f"copy ({rows}{of_date}) to {literal(path)} (format parquet, compression zstd)")
        return Part(contract.name, path.name, row_count, usage_date, first, last)

    spans = [(number, usage_date, *span) for number, (usage_date, span) in enumerate(tally.spans.items())]
    if len(spans) == 1:
        return [write(*spans[0])]
    # One date's file is written by one thread for most of the time, so several are written at once.
    with ThreadPoolExecutor(reader.threads) as pool:
        return list(pool.map(lambda span: write(*span), spans))


def _dates_sql(contract: Contract) -> str:
    """SQL of the first and last UTC date that rows overlap; null where a row is open at that end or undated."""
    if not contract.date_columns:
        return "cast(null as date), cast(null as date)"
    start, end = (identifier(name) for name in contract.date_columns)
    if contract.type_of(contract.date_columns[0]) == pa.date32():
        return f"min({start}), max({end})"
    first = f"cast(min({start}) at time zone 'UTC' as date)"
    # A half-open interval that ends at midnight does not reach into that day, unless it is empty.
    last = f"cast(max(greatest({start}, {end} - interval 1 microsecond)) at time zone 'UTC' as date)"
    if contract.name in _LASTING:
        seconds = identifier(_LASTING[contract.name])
        after = f"to_microseconds(cast(least({seconds}, 86400) * 1000000 as bigint) - 1)"
        return f"{first}, cast(max(greatest({start}, {start} + {after})) at time zone 'UTC' as date)"
    if start == end:
        return f"{first}, cast(max({end}) at time zone 'UTC' as date)"
    return f"case when count({start}) = count(*) then {first} end, case when count({end}) = count(*) then {last} end"


def _quarantined(
    reader: Reader,
    table: str,
    rejects: list[tuple[Path, int, str, int]],
    contract: str,
    batches: dict[Path, str],
    source: str,
    format_name: str,
) -> dict[str, pa.Table]:
    """The quarantined rows of each batch that has any: where they stand and what is wrong, never their text."""
    connection = reader.connection
    has_problems = connection.execute(f"select 1 from {table} where _problem is not null limit 1").fetchone()
    places = reader.places() if has_problems else NO_PLACES
    rows = connection.execute(
        f"""
        with files as (
            select _file, min(rowid) as first_row from {table} group by _file
        ),

        problems as (
            select
                rejected._file,
                rejected.rowid - files.first_row + 1 as record,
                nullif(split_part(_problem, '|', 1), '') as column_name,
                split_part(_problem, '|', 2) as reason,
                _line,
                _length,
                _row_hash
            from {table} as rejected
            inner join files on rejected._file = files._file
            where _problem is not null
        )

        select
            problems._file,
            coalesce(_line, places.line_number, problems.record),
            column_name,
            reason,
            coalesce(places.length, problems._length),
            coalesce(places.hash, problems._row_hash)
        from problems
        left join ({places}) as places on problems._file = places._file and problems.record = places.record
        order by problems._file, problems.record
        """
    ).fetchall()
    # A record that the CSV reader left out was not numbered: the ones after it stand that much further down.
    lost: dict[Path, list[int]] = {}
    for path, line, _, length in sorted(rejects):
        if length:
            lost.setdefault(path, []).append(line)
    found = [
        (Path(file), _shifted(line, lost.get(Path(file), [])), column, reason, length, row_hash)
        for file, line, column, reason, length, row_hash in rows
    ]
    found.extend((path, line, None, reason, length, None) for path, line, reason, length in rejects)
    by_batch: dict[str, list[dict]] = {}
    for path, line, column, reason, length, row_hash in found:
        by_batch.setdefault(batches[path], []).append(
            {
                "source": source,
                "format": format_name,
                "contract": contract,
                "file_name": path.name,
                "line_number": line,
                "column_name": column,
                "reason": reason,
                "row_length": length,
                "row_hash": row_hash,
                "batch_id": batches[path],
            }
        )
    return {batch: pa.Table.from_pylist(of, schema=QUARANTINED_ROWS.schema) for batch, of in by_batch.items()}


def _shifted(line: int, lost: list[int]) -> int:
    for lost_line in lost:
        if lost_line <= line:
            line += 1
    return line


def _write_quarantine(rows: pa.Table, folder: Path, name: str) -> Part:
    import pyarrow.parquet as pq

    path = folder / f"quarantined_{name}.parquet"
    pq.write_table(rows, path)
    return Part(QUARANTINED_ROWS.name, path.name, rows.num_rows)


_BILL_KEY = ("billing_account_id", "billing_period_start")


def _bill_keys(connection: duckdb.DuckDBPyConnection, selected: _Selected) -> Iterator[BillKey]:
    rows = connection.execute(
        f"""
        select
            coalesce(billing_account_id, ''),
            billing_period_start,
            {_dates_sql(CONTRACTS["bill_lines"])}
        from {selected.table} where {selected.condition} group by 1, 2 order by 1, 2
        """
    ).fetchall()
    for account, period, first, last in rows:
        yield BillKey(account, period, first, last or date.max)
