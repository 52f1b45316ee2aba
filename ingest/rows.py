"""From rows of text to typed rows of a contract: the one place where types, rules and accounting live.

A format says, per contract column, which text of the vendor's record fills it (an ``Extract``). Here the text is
cast, the contract's rules are checked, and each candidate row is loaded, quarantined (with the column and the reason,
never its text) or skipped (with a reason that is counted). All of it is one DuckDB query over the delivery.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa

from ingest.contracts import CONTRACTS, ENUMS, QUARANTINED_ROWS, TOKEN_BUCKETS, Contract
from ingest.lake import BillKey, Counts, Part
from ingest.reading import NO_PLACES, Reader, identifier, literal

_GOOD = "_skip is null and _problem is null and not _is_blank"


class NeedsContent(Exception):
    """Some rows have no id of their own: the delivery must be read again with the text of its records at hand."""


@dataclass(frozen=True)
class Extract:
    """What a format found for one contract.

    Attributes:
        contract: name of the contract.
        rows: SQL of the candidate rows: the place columns of ``ingest.reading`` and the vendor's columns.
        columns: SQL text expression over ``rows`` for each contract column that the format fills. For ``llm_calls``
            also ``input_tokens`` and ``output_tokens`` (inclusive totals) and ``session_id``.
        skip: SQL over ``rows`` giving the reason why a record is rightly left out, else null.
        problem: SQL over ``rows`` giving what the format itself finds wrong with a record, as ``column|reason`` (the
            column may be empty), else null.
        input_includes_cached: whether the input total contains cache reads and writes (llm_calls).
        output_includes_reasoning: whether the output total contains reasoning tokens (llm_calls).
        hashed_id: the id column that gets a content hash where the record has none.
    """

    contract: str
    rows: str
    columns: dict[str, str]
    skip: str = "null"
    problem: str = "null"
    input_includes_cached: bool = True
    output_includes_reasoning: bool = True
    hashed_id: str | None = None


@dataclass
class Loaded:
    """The outcome of one extract: parts in the attempt's folder, the accounting, and the bill keys."""

    parts: list[Part] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    bill_keys: list[BillKey] = field(default_factory=list)


def load(extract: Extract, reader: Reader, *, batch_id: str, source: str, format_name: str) -> Loaded:
    """Check one extract's rows and write them as parts under the reader's scratch folder.

    Args:
        extract: the candidate rows and how they fill the contract.
        reader: the delivery's open reader.
        batch_id: stamped on every row.
        source: name of the configured source, stamped on every row.
        format_name: named in the quarantine.

    Returns:
        The parts written (paths relative to the scratch folder), counts and bill keys.

    Raises:
        NeedsContent: the reader must be careful.
    """
    contract = CONTRACTS[extract.contract]
    extract = _with_declared_tokens(extract, reader)
    connection = reader.connection
    # Compressed in memory is faster than on disk and spills to the scratch folder when it does not fit.
    connection.execute("attach if not exists ':memory:' as work (compress)")
    table = f"work.candidate_{contract.name}"
    rejects_before = len(reader.rejects())
    connection.execute(f"create or replace table {table} as\n{_candidate_sql(extract, contract, source)}")
    if extract.hashed_id and not reader.is_careful and _has_null(connection, table, extract.hashed_id):
        raise NeedsContent
    rejects = [*reader.rejects()[rejects_before:], *reader.take_truncated()]
    loaded = Loaded()
    loaded.parts.extend(_write_rows(extract, contract, reader, table, batch_id))
    quarantine = _quarantined(reader, table, rejects, contract.name, batch_id, source, format_name)
    if quarantine.num_rows:
        loaded.parts.append(_write_quarantine(quarantine, reader.folder, contract.name))
    loaded.counts = _count(connection, table, contract, len(rejects))
    if contract.name == "bill_lines":
        loaded.bill_keys = list(_bill_keys(connection, table))
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


def _candidate_sql(extract: Extract, contract: Contract, source: str) -> str:
    """SQL of the typed candidate rows, with ``_problem`` ('column|reason' or null) and ``_skip``."""
    texts = {
        name: f"cast({expression} as varchar)"
        for name, expression in {**extract.columns, "source": literal(source)}.items()
    }
    picked = ",\n".join(f"nullif({texts[name]}, '') as {identifier(name)}" for name in texts)
    casts = ",\n".join(f"{_cast(name, _type(contract, name))} as {identifier('t_' + name)}" for name in [*texts])
    problems = [
        "case when _broken is not null then '|' || _broken end",
        "_found",
        *_cast_problems(contract, [*texts]),
    ]
    final = {name: identifier("t_" + name) for name in contract.column_names if name in texts}
    if contract.name == "llm_calls":
        buckets, token_problems = _token_buckets(extract, set(texts))
        final.update(buckets)
        final.update(_call_values(set(texts)))
        problems.extend(token_problems)
    problems.extend(_rule_problems(contract, final, extract.hashed_id))
    columns = ",\n".join(
        f"cast({final.get(name, 'null')} as {_sql_type(contract.type_of(name))}) as {identifier(name)}"
        for name in contract.column_names
    )
    needs_hash = "_problem is not null"
    if extract.hashed_id:
        needs_hash += f" or {final.get(extract.hashed_id, 'null')} is null"
    usage_date = "cast(null as date)"
    if contract.partitioned:
        usage_date = f"cast({final[contract.date_columns[0]]} at time zone 'UTC' as date)"
    return f"""
with records as (
{extract.rows}
),

texts as (
    select _file, _content, _broken, {extract.skip} as _skip, cast({extract.problem} as varchar) as _found,
{picked}
    from records
),

typed as (
    select *,
{casts}
    from texts
),

checked as (
    select *,
    case when _broken = 'blank' then 'blank' when _skip is null then coalesce(
    {",".join(problems)}
    ) end as _problem
    from typed
)

select
    _file,
    _skip,
    nullif(_problem, 'blank') as _problem,
    coalesce(_problem, '') = 'blank' as _is_blank,
    case when {needs_hash} then strlen(_content) end as _length,
    case when {needs_hash} then md5(_content) end as _row_hash,
    {usage_date} as _usage_date,
    {columns}
from checked
"""


def _type(contract: Contract, name: str) -> pa.DataType:
    try:
        return contract.type_of(name)
    except KeyError:
        return pa.decimal128(18, 0) if name.endswith("_tokens") else pa.string()


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
    if type_ == pa.string():
        return column
    if _is_whole(type_):
        # A cast alone would round 12.5 to 13; most texts are plain digits and need no second look.
        wide = f"try_cast({column} as decimal(38, 6))"
        return f"""case
            when not contains({column}, '.') then cast(try_cast({column} as bigint) as {_sql_type(type_)})
            when {wide} = trunc({wide}) then try_cast({wide} as {_sql_type(type_)}) end"""
    if type_ == pa.float64():
        return f"case when isfinite(try_cast({column} as double)) then try_cast({column} as double) end"
    return f"try_cast({column} as {_sql_type(type_)})"


def _cast_problems(contract: Contract, names: list[str]) -> Iterator[str]:
    for name in names:
        type_ = _type(contract, name)
        if type_ == pa.string():
            if name in ENUMS:
                values = ", ".join(literal(value) for value in ENUMS[name])
                yield _problem(f"{identifier(name)} not in ({values})", name, "not one of the known values")
            continue
        reason = {
            pa.timestamp("us", tz="UTC"): "not a time",
            pa.date32(): "not a date",
            pa.bool_(): "not true or false",
        }.get(type_, "not a whole number" if _is_whole(type_) else "not a number")
        value = identifier("t_" + name)
        is_wrong = f"{value} is null"
        if type_ in (pa.timestamp("us", tz="UTC"), pa.date32()):
            # '4/1/25' reads as the year 4, and milliseconds taken for seconds as the year 50000.
            first, last = (f"cast({literal(day)} as {_sql_type(type_)})" for day in ("1900-01-01", "9999-12-31"))
            is_wrong = f"({value} is null or {value} < {first} or {value} > {last})"
        yield _problem(f"{identifier(name)} is not null and {is_wrong}", name, reason)


def _rule_problems(contract: Contract, final: dict[str, str], hashed_id: str | None) -> Iterator[str]:
    for name in contract.required:
        if name in (hashed_id, "source"):
            continue
        if name not in final:
            yield literal(f"{name}|missing")
        else:
            yield _problem(f"{final[name]} is null", name, "missing")
    for name in contract.non_negative:
        if name in final:
            yield _problem(f"{final[name]} < 0", name, "negative")
    for start, end in _ORDERED.get(contract.name, ()):
        if start in final and end in final:
            yield _problem(f"{final[end]} < {final[start]}", end, f"before {start}")
    for name in _RATIOS.get(contract.name, ()):
        if name in final:
            yield _problem(f"{final[name]} not between 0 and 1", name, "not a ratio from 0 to 1")


_ORDERED = {
    "llm_calls": (("started_at", "ended_at"), ("started_at", "first_token_at")),
    "bill_lines": (("charge_period_start", "charge_period_end"), ("billing_period_start", "billing_period_end")),
    "replica_windows": (("loaded_at", "unloaded_at"),),
    "resource_links": (("valid_from", "valid_to"),),
}
_RATIOS = {"gpu_samples": ("gpu_util", "gr_engine_active", "sm_active", "tensor_active", "dram_active")}


def _problem(condition: str, column: str, reason: str) -> str:
    return f"case when {condition} then {literal(f'{column}|{reason}')} end"


_CALL_DEFAULTS = {
    "attempt_number": "1",
    "status": "'success'",
    "call_kind": "'llm'",
    "workload_kind": "'serving'",
    "sample_weight": "1",
}


def _call_values(present: set[str]) -> dict[str, str]:
    """Final SQL of the call columns that have a default, and of the task that stands in where none is named."""
    values = {
        name: f"coalesce({identifier('t_' + name)}, {default})" if name in present else default
        for name, default in _CALL_DEFAULTS.items()
    }
    origins = [("task_id", "task"), ("trace_id", "trace"), ("session_id", "session"), ("call_id", "call")]
    known = [(identifier("t_" + name), origin) for name, origin in origins if name in present]
    values["task_id"] = f"coalesce({', '.join([*(column for column, _ in known), 'null'])})"
    cases = " ".join(f"when {column} is not null then '{origin}'" for column, origin in known)
    values["task_id_origin"] = f"case {cases} end" if known else "null"
    return values


def _token_buckets(extract: Extract, present: set[str]) -> tuple[dict[str, str], list[str]]:
    """SQL of the disjoint token buckets from the inclusive totals, and the problems that the totals can have.

    The convention is the source's: what its input total contains is taken out, and a part larger than its whole is a
    problem of the row, never clamped.
    """
    buckets: dict[str, str] = {}
    problems: list[str] = []

    def column(name: str) -> str:
        return identifier("t_" + name)

    def parts_of(*names: str) -> str:
        return " + ".join(f"coalesce({column(name)}, 0)" for name in names if name in present) or "0"

    inputs = ("cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
    other_inputs = ("audio_input_tokens", "image_input_tokens")
    if "input_tokens" in present and "uncached_input_tokens" not in present:
        inside = parts_of(*inputs, *other_inputs) if extract.input_includes_cached else parts_of(*other_inputs)
        problems.append(_problem(f"{column('input_tokens')} < 0", "input_tokens", "negative"))
        if extract.input_includes_cached:
            problems.append(
                _problem(f"{parts_of(*inputs)} > {column('input_tokens')}", "cache_read_tokens", "cached above input")
            )
        problems.append(
            _problem(f"{inside} > {column('input_tokens')}", "input_tokens", "parts add up to more than the whole")
        )
        buckets["uncached_input_tokens"] = f"{column('input_tokens')} - ({inside})"
    outputs = ("audio_output_tokens", "image_output_tokens")
    if "output_tokens" in present and "output_text_tokens" not in present:
        inside = parts_of("reasoning_tokens", *outputs) if extract.output_includes_reasoning else parts_of(*outputs)
        problems.append(_problem(f"{column('output_tokens')} < 0", "output_tokens", "negative"))
        problems.append(
            _problem(f"{inside} > {column('output_tokens')}", "output_tokens", "parts add up to more than the whole")
        )
        buckets["output_text_tokens"] = f"{column('output_tokens')} - ({inside})"
    for name in TOKEN_BUCKETS:
        if name in present:
            buckets[name] = column(name)
    return buckets, problems


def _write_rows(extract: Extract, contract: Contract, reader: Reader, table: str, batch_id: str) -> list[Part]:
    connection = reader.connection
    values = {name: identifier(name) for name in _filled_columns(connection, table, contract)}
    if extract.hashed_id and _has_null(connection, table, extract.hashed_id):
        key = identifier(extract.hashed_id)
        values[extract.hashed_id] = (
            f"coalesce({key}, 'h_' || md5(source || chr(31) || _row_hash || chr(31) || "
            "row_number() over (partition by _row_hash order by rowid)))"
        )
    columns = ", ".join(f"{value} as {identifier(name)}" for name, value in values.items())
    date_column = ", _usage_date as usage_date" if contract.partitioned else ""
    rows = f"select {columns}, {literal(batch_id)} as batch_id{date_column} from {table} where {_GOOD}"
    spans = connection.execute(
        f"select _usage_date, count(*), {_dates_sql(contract)} from {table} where {_GOOD} group by 1 order by 1"
    ).fetchall()

    def write(number: int, usage_date: date | None, row_count: int, first: date | None, last: date | None) -> Part:
        path = reader.folder / f"{contract.name}-{number}.parquet"
        of_date = f" and _usage_date = date '{usage_date}'" if usage_date else ""
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(f"copy ({rows}{of_date}) to {literal(path)} (format parquet, compression zstd)")
        return Part(contract.name, path.name, row_count, usage_date, first, last)

    # One date's file is written by one thread for most of the time, so several are written at once.
    with ThreadPoolExecutor(reader.threads) as pool:
        return list(pool.map(lambda numbered: write(numbered[0], *numbered[1]), enumerate(spans)))


def _filled_columns(connection: duckdb.DuckDBPyConnection, table: str, contract: Contract) -> list[str]:
    """Columns with any value: the others are left out of the file, and readers match columns by name."""
    counts = ", ".join(f"count({identifier(name)})" for name in contract.column_names)
    found = connection.execute(f"select {counts} from {table} where {_GOOD}").fetchone()
    return [name for name, count in zip(contract.column_names, found, strict=True) if count or name in contract.key]


def _has_null(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> bool:
    return bool(
        connection.execute(f"select 1 from {table} where {identifier(column)} is null and {_GOOD} limit 1").fetchone()
    )


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
    if start == end:
        return f"{first}, cast(max({end}) at time zone 'UTC' as date)"
    return f"case when count({start}) = count(*) then {first} end, case when count({end}) = count(*) then {last} end"


def _quarantined(
    reader: Reader,
    table: str,
    rejects: list[tuple[str, int, str, int]],
    contract: str,
    batch_id: str,
    source: str,
    format_name: str,
) -> pa.Table:
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
                _length,
                _row_hash
            from {table} as rejected
            inner join files on rejected._file = files._file
            where _problem is not null
        )

        select
            problems._file,
            coalesce(places.line_number, problems.record),
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
    lost: dict[str, list[int]] = {}
    for name, line, _, length in sorted(rejects):
        if length:
            lost.setdefault(name, []).append(line)
    found = [
        (name, _shifted(line, lost.get(name, [])), column, reason, length, row_hash)
        for name, line, column, reason, length, row_hash in rows
    ]
    found.extend((name, line, None, reason, length, None) for name, line, reason, length in rejects)
    return pa.Table.from_pylist(
        [
            {
                "source": source,
                "format": format_name,
                "contract": contract,
                "file_name": name,
                "line_number": line,
                "column_name": column,
                "reason": reason,
                "row_length": length,
                "row_hash": row_hash,
                "batch_id": batch_id,
            }
            for name, line, column, reason, length, row_hash in found
        ],
        schema=QUARANTINED_ROWS.schema,
    )


def _shifted(line: int, lost: list[int]) -> int:
    for lost_line in lost:
        if lost_line <= line:
            line += 1
    return line


def _write_quarantine(rows: pa.Table, folder: Path, contract: str) -> Part:
    import pyarrow.parquet as pq

    path = folder / f"quarantined_{contract}.parquet"
    pq.write_table(rows, path)
    return Part(QUARANTINED_ROWS.name, path.name, rows.num_rows)


def _count(connection: duckdb.DuckDBPyConnection, table: str, contract: Contract, rejected: int) -> Counts:
    read, loaded, quarantined, skipped = connection.execute(
        f"""
        select
            count(*),
            count(*) filter (where {_GOOD}),
            count(*) filter (where _problem is not null),
            count(*) filter (where _skip is not null)
        from {table} where not _is_blank
        """
    ).fetchone()
    reasons = dict(
        connection.execute(f"select _skip, count(*) from {table} where _skip is not null group by 1").fetchall()
    )
    first, last = connection.execute(f"select {_dates_sql(contract)} from {table} where {_GOOD}").fetchone()
    return Counts(read + rejected, loaded, quarantined + rejected, skipped, reasons, first, last)


def _bill_keys(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[BillKey]:
    rows = connection.execute(
        f"""
        select
            coalesce(billing_account_id, ''),
            billing_period_start,
            {_dates_sql(CONTRACTS["bill_lines"])}
        from {table} where {_GOOD} group by 1, 2 order by 1, 2
        """
    ).fetchall()
    for account, period, first, last in rows:
        yield BillKey(account, period, first, last or date.max)


def dump_reasons(counts: Counts) -> str:
    """Skip reasons as JSON text, for the quality mart."""
    return json.dumps(counts.skip_reasons, sort_keys=True)
