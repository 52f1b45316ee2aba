"""Reading vendor files as rows of text, whatever the file type.

Every format sees its files the same way: a DuckDB relation with one row per record, the columns it asked for as
text (null where the file lacks them), and where the record stands. Types are checked later, in one place
(``ingest.rows``), so a value that is not what its column should be costs that row, with file, line and column.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

import duckdb

from ingest.errors import IngestError

_HEAD_BYTES = 1 << 18
_MAX_LINE_BYTES = 1 << 28
# DuckDB allots sixteen times the longest line for a compressed file, whatever the file holds; one with longer lines
# fails and is read from its repaired, plain copy.
_MAX_PACKED_LINE_BYTES = 1 << 24
# Below this size a second pass costs more than reading with care from the start.
_SMALL_BYTES = 1 << 23
# What a query calls the records of JSON lines: no log has a field of this name.
_RECORDS = "_pertask_records"
# How many lines at the start of JSON lines may be broken before the file counts as something else.
_HALF_LINES = 10
_EMPTY_GZIP_BYTES = 64
_JSON_LINES = (".jsonl", ".ndjson")
# How much of a file tells which fields it has.
_SAMPLE_SLICES = 32
_SLICE_BYTES = 1 << 17
_REPLACEMENT = "\ufffd".encode()

UNSEEN = "pertask: a field that the sample of the file did not have"
"""What the query of a reader that trusts samples fails with when a sample was wrong."""

_Path = tuple[str, ...]
"""Where a value stands in a record: the keys that lead to it."""

PLACE_COLUMNS = ("_file", "_content", "_broken", "_line")
"""What each row says of its record: the file's path, the text (for its length and hash only), why it is unreadable,
and the line it stands on (null where the order of the rows tells it)."""


NO_PLACES = "select null as _file, null as record, null as line_number, null as length, null as hash where false"
"""SQL of the columns of ``Reader.places``, without rows."""


@dataclass(frozen=True)
class Options:
    """How a source is to be read.

    Attributes:
        time_zone: IANA name of the zone of times that carry no offset.
        mapping: path of the mapping file, for the format ``mapping``.
        input_includes_cached: overrides the format's token convention for inputs, when not None.
        output_includes_reasoning: the same for outputs.
        observed_at: when what the delivery says was seen, for formats whose rows do not tell.
    """

    time_zone: str = "UTC"
    mapping: Path | None = None
    input_includes_cached: bool | None = None
    output_includes_reasoning: bool | None = None
    observed_at: datetime | None = None


@dataclass(frozen=True)
class Head:
    """The beginning of a file, for telling what it is.

    ``kind`` is csv, jsonl, json, parquet or empty; ``columns`` are the header, the schema or the first record's keys.
    ``delimiter`` is what separates the columns of a CSV file: a comma, else a semicolon, a tab or a bar.
    """

    path: Path
    kind: str
    columns: tuple[str, ...]
    text: str
    has_byte_order_mark: bool = False
    delimiter: str = ","


def read_head(path: Path) -> Head:
    """Look at a file's first quarter megabyte.

    Raises:
        IngestError: the file cannot be opened, or its compression is damaged from the start.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(_HEAD_BYTES)
    except OSError as error:
        raise IngestError(f"{path}: cannot be read ({error.strerror}). Check the path and its permissions.") from error
    if start[:4] == b"PAR1":
        return Head(path, "parquet", tuple(_parquet_columns(path)), "")
    if _compression(path) != "none":
        start = _decompressed_start(path)
    has_mark = start.startswith(b"\xef\xbb\xbf")
    text = start.decode("utf-8-sig", "replace")
    if not text.strip():
        return Head(path, "empty", (), text)
    if text.lstrip()[0] in "{[" or _plain_suffix(path) in _JSON_LINES:
        return replace(_json_head(path, text), has_byte_order_mark=has_mark)
    columns, delimiter = _csv_header(text)
    return Head(path, "csv", columns, text, delimiter=delimiter)


def names_seen(head: Head) -> str:
    """The column names to name a file by in a message; what does not look like a name may be a record's text."""
    names = [name for name in head.columns if _NAME.fullmatch(name)]
    if head.kind == "csv" and len(head.columns) < 2:
        names = []
    return ", ".join(names[:12]) or "no column names"


_NAME = re.compile(r"[A-Za-z_@][\w.@/-]{0,63}")


def _decompressed_start(path: Path) -> bytes:
    start = b""
    for chunk in _decompressed(path, chunk_bytes=1 << 14):
        start += chunk or b""
        if chunk is None or len(start) >= _HEAD_BYTES:
            break
    if not start and path.stat().st_size > _EMPTY_GZIP_BYTES:
        raise IngestError(f"{path}: this compressed file is damaged from its first byte. Have it delivered again.")
    return start[:_HEAD_BYTES]


def _json_head(path: Path, text: str) -> Head:
    """Tell JSON lines from one document. A first line that is cut off does not hide the records after it."""
    first, *others = [line for line in text.split("\n") if line.strip()]
    record = _json_object(first)
    is_one_document = _plain_suffix(path) == ".json"
    if not is_one_document or any(line.startswith("{") for line in others):
        for line in others[:_HALF_LINES]:
            record = record or _json_object(line)
        if record is not None or (not is_one_document and len(first.strip()) > 1):
            return Head(path, "jsonl", tuple(record or ()), text)
    return Head(path, "json", tuple(record or _first_keys(text)), text)


def _first_keys(text: str) -> tuple[str, ...]:
    """Keys of the document, or of its first item where it is a list; none where that is cut off."""
    start = text.find("{")
    try:
        value, _ = json.JSONDecoder().raw_decode(text, max(start, 0))
    except ValueError:
        return ()
    return tuple(value) if isinstance(value, dict) else ()


def _json_object(line: str) -> dict | None:
    if not line.lstrip("\ufeff \t").startswith("{"):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


def _csv_header(text: str) -> tuple[tuple[str, ...], str]:
    """Column names of a CSV file, made unique and never empty, and its delimiter."""
    delimiter = ","
    header = next(csv.reader(io.StringIO(text)), [])
    if len(header) == 1:
        others = {mark: next(csv.reader(io.StringIO(text), delimiter=mark), []) for mark in ";\t|"}
        widest = max(others, key=lambda mark: len(others[mark]))
        if len(others[widest]) > 1:
            delimiter, header = widest, others[widest]
    names: list[str] = []
    taken: set[str] = set()
    for number, column in enumerate(header, 1):
        name = column.strip() or f"column_{number}"
        while name.lower() in taken:
            name = f"{name}_{number}"
        taken.add(name.lower())
        names.append(name)
    return tuple(names), delimiter


def _parquet_columns(path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path).names
    except (pa.ArrowInvalid, OSError) as error:
        raise IngestError(f"{path}: this Parquet file is damaged ({error}). Have it delivered again.") from error


def literal(text: object) -> str:
    """A SQL string literal of ``text``."""
    return "'" + str(text).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A quoted SQL identifier of ``name``."""
    return '"' + name.replace('"', '""') + '"'


Structure = str | dict[str, "Structure"] | list["Structure"]
"""What to read of nested JSON: a type at the leaves (``VARCHAR``, ``JSON``), keys of objects, one item for a list."""


def _struct_type(keys: Structure) -> str:
    """The SQL type of a structure, e.g. STRUCT("a" VARCHAR, "b" STRUCT("c" VARCHAR)[])."""
    if isinstance(keys, str):
        return keys
    if isinstance(keys, list):
        return f"{_struct_type(keys[0])}[]"
    return f"STRUCT({', '.join(f'{identifier(key)} {_struct_type(inner)}' for key, inner in keys.items())})"


def parsed(column: str, structure: Structure) -> str:
    """SQL that parses a column of JSON text once into a struct of texts; null where it is not JSON.

    Args:
        column: SQL of the text.
        structure: the keys to read, nested, with ``VARCHAR`` at the leaves; a list is one item in brackets.
    """
    return f"try(from_json({column}, {literal(json.dumps(structure))}))"


@dataclass
class Reader:
    """The files of one delivery, or of several small ones, opened on one DuckDB connection.

    Attributes:
        connection: the reader's own connection; its temporary tables go with it.
        files: the files.
        folder: scratch folder for repaired copies, removed with the attempt.
        options: how the source is to be read.
        threads: how many threads the reader may use.
        catalog: an empty database attached to the connection, for the delivery's tables.
        notices: what the user should know of a file though no row was lost, collected while reading.
        is_careful: read JSON lines as text, one by one, so that a broken line costs only itself; several times slower
            than DuckDB's own reader, which gives up on the whole file. Small deliveries are always read so.
        trusts_samples: take what a sample of JSON lines does not have as absent from the file. The query fails with
            ``UNSEEN`` where that is not so; the delivery is then to be read again without.
    """

    connection: duckdb.DuckDBPyConnection
    files: tuple[Path, ...]
    folder: Path
    options: Options
    threads: int
    catalog: str
    notices: list[tuple[Path, str]] = field(default_factory=list)
    is_careful: bool = False
    trusts_samples: bool = True
    truncated: list[tuple[Path, int, str]] = field(default_factory=list)
    _rejects: list[tuple[str, Path]] = field(default_factory=list)
    _told: list[tuple[Path, str]] = field(default_factory=list)
    _samples: dict[Path, Path] = field(default_factory=dict)
    _seen: set[_Path] = field(default_factory=set)
    _unseen: dict[_Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.is_careful = self.is_careful or sum(path.stat().st_size for path in self.files) < _SMALL_BYTES

    @cached_property
    def heads(self) -> tuple[Head, ...]:
        """The beginning of every file, empty files left out (each with a notice)."""
        heads = []
        for path in self.files:
            head = read_head(path)
            if head.kind == "empty":
                self._told.append((path, "the file is empty"))
            else:
                heads.append(head)
        return tuple(heads)

    def tell(self, path: Path, text: str) -> None:
        """Note what the user should know of a file."""
        self.notices.append((path, text))

    def notices_of(self, paths: Iterable[Path]) -> tuple[str, ...]:
        """The notices of some of the files, each once, in order."""
        files = set(paths)
        told = [f"{path.name}: {text}" for path, text in (*self._told, *self.notices) if path in files]
        return tuple(dict.fromkeys(told))

    def rows(
        self,
        columns: Sequence[str],
        *,
        nested: dict[str, Structure] | None = None,
        known: Iterable[str] | None = None,
        heads: Iterable[Head] | None = None,
    ) -> str:
        """SQL of one row per record of all the files: the place columns, then ``columns`` as text.

        Args:
            columns: top-level columns to read; absent ones are null. Nested values come as JSON text.
            nested: columns that hold JSON, with the keys to read (``VARCHAR`` at the leaves); they come as structs,
                whether the file holds the JSON as a value or as text. Nothing else in the extract may have the name
                of such a column: ``without_unseen`` finds their values by it.
            known: further columns that the format knows and leaves; any other is named in a notice. None: no notice.
            heads: the files to read, when some of the delivery hold no rows (a manifest); default: all of them.
        """
        nested = nested or {}
        queries = []
        expected = {name.lower() for name in (*columns, *nested, *(known or ()))}
        for head in self.heads if heads is None else heads:
            unknown = [name for name in head.columns if name.lower() not in expected]
            if unknown and known is not None:
                self.tell(head.path, f"columns not read: {', '.join(unknown[:20])}")
            if head.kind != "jsonl" or self.is_careful:
                self._seen.update(_paths(nested))
            read = {"jsonl": self._json_lines, "json": self._json_document, "csv": self._csv, "parquet": self._parquet}
            queries.append(read[head.kind](head, columns, nested))
        if not queries:
            nothing = ", ".join(
                [f"cast(null as varchar) as {identifier(name)}" for name in columns]
                + [f"cast(null as {_struct_type(keys)}) as {identifier(name)}" for name, keys in nested.items()]
            )
            return (
                "select cast(null as varchar) as _file, cast(null as varchar) as _content, "
                f"cast(null as varchar) as _broken, cast(null as bigint) as _line, {nothing} where false"
            )
        return "\nunion all by name\n".join(queries)

    def lines(self, head: Head) -> str:
        """SQL of one row per text line in a column ``line``, null where the line is empty."""
        path = self._plain(head.path)
        return (
            f"read_csv({literal(path)}, columns = {{'line': 'VARCHAR'}}, delim = '\x01', quote = '', escape = '', "
            f"comment = '', header = false, auto_detect = false, strict_mode = false, {_text_options(path)})"
        )

    def places(self) -> str:
        """SQL of where records stand in files whose rows do not say: file, record and line number, length, hash.

        A JSON record that the fast reader took is found again by counting the lines that are not blank. A CSV record
        comes after the header and the records before it, each on one line more than it has line breaks.
        """
        found = [NO_PLACES]
        for head in self.heads:
            name = literal(head.path)
            if head.kind == "jsonl" and not self.is_careful:
                found.append(f"""
                    select
                        {name} as _file,
                        row_number() over () as record,
                        line_number,
                        strlen(line) as length,
                        md5(line) as hash
                    from (select row_number() over () as line_number, line from {self.lines(head)})
                    where trim(coalesce(line, '')) != ''""")
            elif head.kind == "csv":
                text = _joined(head.columns)
                found.append(f"""
                    select
                        {name} as _file,
                        record,
                        1 + record + coalesce(
                            sum(breaks) over (order by record rows between unbounded preceding and 1 preceding), 0
                        ) as line_number,
                        null as length,
                        null as hash
                    from (
                        select
                            row_number() over () as record,
                            length({text}) - length(replace({text}, chr(10), '')) as breaks
                        from {self._csv_rows(head, "ignore_errors = true")}
                    )""")
        return "\nunion all\n".join(found)

    def document(self, head: Head) -> Path:
        """A file that is one document, decompressed in the scratch folder where it is compressed.

        Raises:
            IngestError: the compressed file is cut off, and half a document has no meaning.
        """
        if _compression(head.path) == "none":
            return head.path
        copy = self.folder / f"document_{self.heads.index(head)}.json"
        complete, *_ = _copy_as_utf8(head.path, copy)
        if not complete:
            raise IngestError(f"{head.path}: the compressed file is cut off. Have it delivered again.")
        return copy

    def rejects(self) -> list[tuple[Path, int, str, int]]:
        """Records that the CSV reader could not split into columns.

        Returns:
            (file, line number, reason, length) each. Call it after the rows were read.
        """
        if not self._rejects:
            return []
        found = []
        made = {name for (name,) in self.connection.execute("select table_name from duckdb_tables()").fetchall()}
        for table, path in self._rejects:
            if table not in made:
                continue
            rows = self.connection.execute(
                f"select line, any_value(error_type), max(strlen(csv_line)) from {table} group by line order by line"
            ).fetchall()
            for line, error_type, length in rows:
                reason = str(error_type).lower().replace("_", " ")
                found.append((path, line, f"not a row of this table ({reason})", length or 0))
        return found

    def mixes_line_ends(self) -> bool:
        """Whether a CSV file has both kinds of line end, so that DuckDB refuses it, or joins some of its rows.

        False once the files are repaired.
        """
        return not self._repaired and any(head.kind == "csv" and _has_both_line_ends(head.path) for head in self.heads)

    def take_truncated(self) -> list[tuple[Path, int, str, int]]:
        """Files that end too early, told once: (file, last line read, reason, 0) each."""
        found = [(path, line, reason, 0) for path, line, reason in self.truncated]
        self.truncated.clear()
        return found

    def _json_lines(self, head: Head, columns: Sequence[str], nested: dict[str, Structure]) -> str:
        if not self.is_careful:
            return self._fast_json_lines(head, {**dict.fromkeys(columns, "VARCHAR"), **nested})
        structure, picked = _record_columns(columns, nested)
        line = "ltrim(coalesce(line, ''), '\ufeff')" if head.has_byte_order_mark else "coalesce(line, '')"
        # Blank lines stay in as rows, so that a row's place in the table is its line in the file.
        return f"""
            select
                {literal(head.path)} as _file,
                line as _content,
                case
                    when record is not null and starts_with(line, '{{') then null
                    when trim(line) = '' then 'blank'
                    when record is null then 'not valid JSON'
                    when not starts_with(ltrim(line), '{{') then 'not a JSON object'
                end as _broken,
                line_number as _line,
                {picked}
            from (
                select row_number() over () as line_number, {line} as line, {parsed(line, structure)} as record
                from {self.lines(head)}
            )"""

    def _json_document(self, head: Head, columns: Sequence[str], nested: dict[str, Structure]) -> str:
        """A file that is one JSON value: an object is one record, a list as many as it has items."""
        structure, picked = _record_columns(columns, nested)
        text = "ltrim(content, ' \t\r\n\ufeff')"
        items = f"cast({parsed(text, ['JSON'])} as varchar[])"
        items = f"case when starts_with({text}, '[') then {items} else [{text}] end"
        path = self._plain(self.document(head))
        return f"""
            select
                {literal(head.path)} as _file,
                line as _content,
                case
                    when record is not null and starts_with(ltrim(line), '{{') then null
                    when record is null then 'not valid JSON'
                    else 'not a JSON object'
                end as _broken,
                cast(null as bigint) as _line,
                {picked}
            from (
                select line, {parsed("line", structure)} as record
                from (
                    select unnest(coalesce({items}, [content])) as line
                    from (select content from read_text({literal(path)}))
                )
            )"""

    def over_samples(self, rows: str) -> str | None:
        """SQL of rows as it would be over the samples alone; None where a file has none."""
        is_sampled = self.trusts_samples and not self.is_careful
        if not is_sampled or any(head.path not in self._samples for head in self.heads):
            return None
        for path, sample in self._samples.items():
            rows = rows.replace(literal(path), literal(sample))
        return rows

    def without_unseen(self, query: str) -> str:
        """A query in which the nested values that no file has are plain nulls.

        DuckDB plans without them then; it does not look through a struct that is made of nulls and others.
        """
        unseen = {path: kind for path, kind in self._unseen.items() if path not in self._seen}
        if not unseen:
            return query
        kinds = list(dict.fromkeys(unseen.values()))
        made = self._parsed_query(f"select {', '.join(f'cast(null as {kind})' for kind in kinds)}")
        nulls = dict(zip(kinds, made["statements"][0]["node"]["select_list"], strict=True))
        tree = _with_nulls(self._parsed_query(query), {path: nulls[kind] for path, kind in unseen.items()})
        return self.connection.execute("select json_deserialize_sql(cast(? as json))", [json.dumps(tree)]).fetchone()[0]

    def _parsed_query(self, query: str) -> dict:
        return json.loads(self.connection.execute("select json_serialize_sql(?)", [query]).fetchone()[0])

    def _fast_json_lines(self, head: Head, structure: dict[str, Structure]) -> str:
        paths = list(_paths(structure))
        seen = set(paths)
        if self.trusts_samples:
            seen = self._paths_in_sample(head, structure, paths)
        self._seen |= seen
        nested = [path for path in paths if len(path) > 1]
        self._unseen |= {path: _struct_type(_at(structure, path)) for path in nested if path not in seen}
        # What is in an object that was not seen needs no proof of its own.
        unproven = [path for path in paths if path not in seen and (path[:-1] in seen or len(path) == 1)]
        proof = ""
        if unproven:
            # Named by its table, so that ``without_unseen`` leaves it alone. The cast makes DuckDB look at whole
            # columns, which is twice as fast as to look which rows are left after each of them.
            is_there = " or ".join(f"{_dotted((_RECORDS, *path))} is not null" for path in unproven)
            proof = f"where case when cast(({is_there}) as tinyint) = 1 then error({literal(UNSEEN)}) else true end"
        columns = {name: _as_seen(keys, (name,), seen) for name, keys in structure.items()}
        picked = [f"{_seen_value(keys, (name,), seen)} as {identifier(name)}" for name, keys in structure.items()]
        return f"""
            select
                {literal(head.path)} as _file,
                cast(null as varchar) as _content,
                cast(null as varchar) as _broken,
                cast(null as bigint) as _line,
                {", ".join(picked)}
            from {_json_lines_of(self._plain(head.path), columns)} as {_RECORDS}
            {proof}"""

    def _paths_in_sample(self, head: Head, structure: dict[str, Structure], paths: list[_Path]) -> set[_Path]:
        """The objects and leaves of a structure that have a value in a sample of the file."""
        if head.path not in self._samples:
            sample = self.folder / f"sample_{len(self._samples)}.jsonl"
            sample.write_bytes(_sample_lines(self._plain(head.path)))
            self._samples[head.path] = sample
        counts = ", ".join(f"count({_dotted(path)})" for path in paths)
        lines = _json_lines_of(self._samples[head.path], structure)
        found = self.connection.execute(f"select {counts} from {lines}").fetchone()
        return {path for path, count in zip(paths, found, strict=True) if count}

    def _csv(self, head: Head, columns: Sequence[str], nested: dict[str, Structure]) -> str:
        table = f"rejects_{len(self._rejects)}"
        self._rejects.append((f"{table}_errors", head.path))
        present = {name.lower(): name for name in head.columns}
        picked = []
        for name in (*columns, *nested):
            text = (
                f"nullif({identifier(present[name.lower()])}, '')"
                if name.lower() in present
                else "cast(null as varchar)"
            )
            value = parsed(text, nested[name]) if name in nested else text
            picked.append(f"{value} as {identifier(name)}")
        stored = f"store_rejects = true, rejects_table = '{table}_errors', rejects_scan = '{table}_scans'"
        return f"""
            select
                {literal(head.path)} as _file,
                {_joined(head.columns)} as _content,
                cast(null as varchar) as _broken,
                cast(null as bigint) as _line,
                {", ".join(picked)}
            from {self._csv_rows(head, stored)}"""

    def _csv_rows(self, head: Head, rejects: str) -> str:
        """SQL of a CSV file's records, every column as text; ``rejects`` says what becomes of those that do not fit."""
        path = self._plain(head.path)
        types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in head.columns)
        return (
            f"read_csv({literal(path)}, columns = {{{types}}}, header = true, delim = {literal(head.delimiter)}, "
            f"quote = '\"', escape = '\"', auto_detect = false, {rejects}, {_text_options(path)})"
        )

    def _parquet(self, head: Head, columns: Sequence[str], nested: dict[str, Structure]) -> str:
        source = f"read_parquet({literal(head.path)}, hive_partitioning = false)"
        described = self.connection.execute(f"describe select * from {source}").fetchall()
        types = {name.lower(): (name, kind) for name, kind, *_ in described}
        picked = []
        for name in (*columns, *nested):
            actual, kind = types.get(name.lower(), (None, ""))
            text = f"cast({identifier(actual)} as varchar)" if actual else "cast(null as varchar)"
            if kind.startswith(("STRUCT", "MAP")) or kind.endswith("[]"):
                text = f"cast(to_json({identifier(actual)}) as varchar)"
            value = parsed(text, nested[name]) if name in nested else text
            picked.append(f"{value} as {identifier(name)}")
        everything = ", ".join(identifier(actual) for actual, _ in types.values())
        row_text = f"cast(to_json(struct_pack({everything})) as varchar)"
        return f"""
            select
                {literal(head.path)} as _file,
                {row_text} as _content,
                cast(null as varchar) as _broken,
                cast(null as bigint) as _line,
                {", ".join(picked)}
            from {source}"""

    def _plain(self, path: Path) -> Path:
        """The file itself, or a repaired copy where its compression or its encoding is broken."""
        return self._repaired.get(path, path)

    @cached_property
    def _repaired(self) -> dict[Path, Path]:
        return {}

    def repair(self) -> bool:
        """Make readable copies of files that DuckDB refused or cut wrongly; return whether there was any.

        A truncated gzip keeps every line before the break; bytes that are not UTF-8 are replaced; Windows line ends
        become plain ones.
        """
        if self._repaired:
            return False
        for head in self.heads:
            if head.kind == "parquet":
                continue
            copy = self.folder / f"repaired_{len(self._repaired)}{_plain_suffix(head.path)}"
            complete, lines, replaced = _copy_as_utf8(head.path, copy)
            if replaced:
                self._told.append(
                    (head.path, f"{replaced} bytes are not UTF-8 and were read as the replacement character")
                )
            if not complete:
                self.truncated.append((head.path, lines, "the compressed file is cut off after this line"))
            self._repaired[head.path] = copy
        self._rejects.clear()
        return bool(self._repaired)


def _json_lines_of(path: Path, columns: dict[str, Structure]) -> str:
    """SQL of the records of JSON lines, as DuckDB's own reader has them."""
    types = ", ".join(f"{literal(name)}: {literal(_struct_type(keys))}" for name, keys in columns.items())
    return f"read_json({literal(path)}, format = 'newline_delimited', columns = {{{types}}})"


def _sample_lines(path: Path) -> bytes:
    """Whole lines from all over a file, or from the beginning of a compressed one."""
    if _compression(path) != "none":
        start = b""
        for chunk in _decompressed(path):
            start += chunk or b""
            if chunk is None or len(start) >= _SAMPLE_SLICES * _SLICE_BYTES:
                break
        return start[: start.rfind(b"\n") + 1]
    size, lines = path.stat().st_size, []
    with open(path, "rb") as file:
        for number in range(_SAMPLE_SLICES):
            file.seek(number * max(size - _SLICE_BYTES, 0) // (_SAMPLE_SLICES - 1))
            text = file.read(_SLICE_BYTES)
            # A slice begins and ends within a line, but for the first one's beginning.
            begin = text.find(b"\n") + 1 if number else 0
            lines.append(text[begin : text.rfind(b"\n") + 1])
    return b"".join(lines)


def _paths(structure: dict[str, Structure], above: _Path = ()) -> Iterator[_Path]:
    """Every object and leaf of a structure; a list is a leaf."""
    for key, inner in structure.items():
        yield (*above, key)
        if isinstance(inner, dict):
            yield from _paths(inner, (*above, key))


def _dotted(path: _Path) -> str:
    return ".".join(map(identifier, path))


def _at(structure: Structure, path: _Path) -> Structure:
    for key in path:
        structure = structure[key]
    return structure


def _as_seen(keys: Structure, path: _Path, seen: set[_Path]) -> Structure:
    """A structure in which whatever was not seen is text."""
    if path not in seen:
        return "VARCHAR"
    if isinstance(keys, dict):
        return {key: _as_seen(inner, (*path, key), seen) for key, inner in keys.items()}
    return keys


def _seen_value(keys: Structure, path: _Path, seen: set[_Path]) -> str:
    """SQL of the value at a path of ``_as_seen``, of the type that the structure says."""
    if path not in seen:
        return f"cast(null as {_struct_type(keys)})"
    if not isinstance(keys, dict) or all((*path, *inner) in seen for inner in _paths(keys)):
        return _dotted(path)
    inner = (f"{identifier(key)} := {_seen_value(of, (*path, key), seen)}" for key, of in keys.items())
    return f"struct_pack({', '.join(inner)})"


def _with_nulls(node: object, nulls: dict[_Path, dict]) -> object:
    """A serialized query with the columns at some paths made null."""
    if isinstance(node, list):
        return [_with_nulls(item, nulls) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("class") == "COLUMN_REF":
        null = nulls.get(tuple(node["column_names"]))
        return {**null, "alias": node["alias"]} if null else node
    replaced = {key: _with_nulls(value, nulls) for key, value in node.items()}
    for before, after in zip(node.get("select_list", ()), replaced.get("select_list", ()), strict=True):
        if after["class"] != before["class"]:
            # A column that is picked as it is keeps its name.
            after["alias"] = before["alias"] or before["column_names"][-1]
    return replaced


def _record_columns(columns: Sequence[str], nested: dict[str, Structure]) -> tuple[Structure, str]:
    """How to parse a record once, and SQL of its columns.

    An inner object, or the text that some exports make of it, comes as text first.
    """
    picked = [f"record.{identifier(name)} as {identifier(name)}" for name in columns]
    picked += [f"{parsed(f'record.{identifier(name)}', keys)} as {identifier(name)}" for name, keys in nested.items()]
    return dict.fromkeys((*columns, *nested), "VARCHAR"), ", ".join(picked)


def _joined(columns: Iterable[str]) -> str:
    """SQL of a record's columns as one text, for its length and hash; flat, as long chains of || are slow to plan."""
    return f"concat({', chr(31), '.join(identifier(name) for name in columns)})"


def _text_options(path: Path) -> str:
    """Options of ``read_csv`` for a text file: how it is compressed, and how long a line may be."""
    compression = _compression(path)
    longest = _MAX_LINE_BYTES if compression == "none" else _MAX_PACKED_LINE_BYTES
    return f"max_line_size = {longest}, compression = {literal(compression)}"


def _compression(path: Path) -> str:
    """How a file is compressed, by its first bytes: names lie."""
    with open(path, "rb") as file:
        start = file.read(4)
    if start[:2] == b"\x1f\x8b":
        return "gzip"
    return "zstd" if start == b"\x28\xb5\x2f\xfd" else "none"


def _plain_suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz").removesuffix(".zst")).suffix


def _copy_as_utf8(source: Path, target: Path) -> tuple[bool, int, int]:
    """Copy a text file decompressed, as valid UTF-8 and with one kind of line end.

    Returns:
        Whether the file ended properly, the lines written, and how many replacement characters went in.
    """
    complete, lines, replaced, rest = True, 0, 0, b""
    with open(target, "wb") as out:
        for chunk in _decompressed(source):
            if chunk is None:
                complete = False
                break
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            raw = (whole + newline).replace(b"\r\n", b"\n")
            text = raw.decode("utf-8", "replace").encode()
            replaced += text.count(_REPLACEMENT) - raw.count(_REPLACEMENT)
            lines += text.count(b"\n")
            out.write(text)
        if complete:
            text = rest.decode("utf-8", "replace").encode()
            replaced += text.count(_REPLACEMENT) - rest.count(_REPLACEMENT)
            out.write(text)
    return complete, lines, replaced


def _has_both_line_ends(path: Path) -> bool:
    has_windows, has_plain, cut = False, False, b""
    for chunk in _decompressed(path):
        if chunk is None or (has_windows and has_plain):
            break
        text = cut + chunk
        windows = text.count(b"\r\n")
        has_windows, has_plain = has_windows or windows > 0, has_plain or text.count(b"\n") > windows
        cut = b"\r" if chunk.endswith(b"\r") else b""
    return has_windows and has_plain


def _decompressed(source: Path, chunk_bytes: int = 1 << 20) -> Iterator[bytes | None]:
    """Chunks of a file's decompressed bytes; None last when the compressed stream is cut off or damaged."""
    kind = _compression(source)
    if kind == "zstd":
        import pyarrow as pa

        with pa.input_stream(str(source), compression="zstd") as stream:
            try:
                while chunk := stream.read(chunk_bytes):
                    yield chunk
            except OSError:
                yield None
        return
    with open(source, "rb") as file:
        inflate, is_inside_member = zlib.decompressobj(wbits=31), False
        while chunk := file.read(chunk_bytes):
            if kind == "none":
                yield chunk
                continue
            try:
                while chunk:
                    yield inflate.decompress(chunk)
                    chunk, is_inside_member = inflate.unused_data, not inflate.eof
                    if inflate.eof:
                        inflate = zlib.decompressobj(wbits=31)
            except zlib.error:
                yield None
                return
        if is_inside_member:
            yield None
