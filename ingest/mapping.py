"""Mapping files: an in-house log described in YAML instead of code.

A mapping names the lake contract that a CSV, JSON lines or Parquet file fills and, for each contract column, the
source column or a short SQL expression over source columns. It is checked whole before any file is read, and every
error names file, line and column. docs/add-a-format.md is the reference for people.

Seen from the runner this module is one more format. Its expressions are parsed by DuckDB, checked node by node
(scalar functions over this row only) and written back from the parsed form, so nothing else can reach the database.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ingest.contracts import CONTRACTS, QUARANTINED_ROWS, Contract
from ingest.errors import IngestError
from ingest.reading import PLACE_COLUMNS, Head, Options, Reader, identifier, literal, parsed
from ingest.rows import COUNTED, Extract

NAME = "mapping"
VERSION = 2
DELIVERY = "file"
REPLACES_PERIOD = False

FILE_FORMATS = ("csv", "jsonl", "parquet")

_KEYS = (
    "contract",
    "format",
    "source",
    "time_zone",
    "token_convention",
    "replaces_period",
    "skip",
    "columns",
)
_CONVENTIONS = ("input_includes_cached", "output_includes_reasoning")
_MAPPABLE = {name: contract for name, contract in CONTRACTS.items() if name != QUARANTINED_ROWS.name}
_NOT_MAPPED = {
    "source": "it is the name of the source: set `source:` at the top, or --source",
    "task_id_origin": "ingest derives it from the id that stands for the task",
    "is_attempt_told": "ingest derives it from attempt_number",
}
_TOTALS = ("input_tokens", "output_tokens")
"""What a mapping of calls may fill besides the contract's columns: totals are split, a session may stand for a task."""

_HASHED_IDS = {"llm_calls": "call_id", "bill_lines": "line_id", "vendor_costs": "line_id", "vendor_usage": "line_id"}
_DEFAULTED = {"llm_calls": ("attempt_number", "status")}
_CACHE_COLUMNS = ("cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")

Reference = tuple[str, ...]
"""Path of a source column: its name, then keys inside its JSON."""


@dataclass(frozen=True)
class MappedColumn:
    """One entry of ``columns``.

    Attributes:
        name: the contract column.
        line: line of the entry's value in the mapping file, from 1.
        column: its column, from 1.
        sql: the value as SQL over the flattened references.
        references: paths of the source columns that it reads.
        is_reference: whether it is one source column and nothing else.
    """

    name: str
    line: int
    column: int
    sql: str
    references: tuple[Reference, ...] = ()
    is_reference: bool = False


@dataclass(frozen=True)
class Mapping:
    """A checked mapping file."""

    path: Path
    contract: Contract
    format: str
    columns: tuple[MappedColumn, ...]
    source: str | None = None
    time_zone: str | None = None
    input_includes_cached: bool = True
    output_includes_reasoning: bool = True
    replaces_period: bool = False
    skip: MappedColumn | None = None

    @property
    def expressions(self) -> tuple[MappedColumn, ...]:
        """Everything that reads source columns."""
        return (*self.columns, *([self.skip] if self.skip else []))


def contracts(options: Options) -> tuple[str, ...]:
    """The contract that the mapping fills."""
    return (_mapping(options).contract.name,)


def replaces_period(options: Options) -> bool:
    """Whether a newer delivery replaces the billing periods that it holds, as the mapping says."""
    return _mapping(options).replaces_period


def sniff(head: Head) -> bool:
    """A mapping is always named, never guessed: the file is its own concern once it is read."""
    return True


def read(reader: Reader) -> list[Extract]:
    """The file's rows as the mapping describes them.

    Raises:
        IngestError: the mapping is wrong, or the file is not what it describes.
    """
    mapping = _mapping(reader.options)
    if mapping.time_zone and reader.options.time_zone == Options().time_zone:
        reader.connection.execute("set TimeZone = ?", [mapping.time_zone])
    hashed_id = _HASHED_IDS.get(mapping.contract.name)
    if hashed_id and hashed_id not in {column.name for column in mapping.columns}:
        # Every row needs its content for the hash that stands in for the id.
        reader.is_careful = True
    for head in reader.heads:
        _check_kind(mapping, head)
    flat = _Flat(mapping, reader)
    flat.check_references()
    values = ", ".join(
        f"try(coalesce(cast({column.sql} as varchar), '')) as {identifier(_value(column))}"
        for column in mapping.expressions
    )
    failed = [
        f"when {identifier(_value(column))} is null then {literal(f'{column.name}|{_failure(mapping, column)}')}"
        for column in mapping.columns
        if not column.is_reference
    ]
    return [
        Extract(
            contract=mapping.contract.name,
            rows=f"select *, {values} from ({flat.rows()})",
            columns={column.name: identifier(_value(column)) for column in mapping.columns},
            skip=f"nullif({identifier(_value(mapping.skip))}, '')" if mapping.skip else "null",
            problem=f"case {' '.join(failed)} end" if failed else "null",
            input_includes_cached=mapping.input_includes_cached,
            output_includes_reasoning=mapping.output_includes_reasoning,
            hashed_id=hashed_id,
        )
    ]


def _value(column: MappedColumn) -> str:
    return f"_value_{column.name}"


def _failure(mapping: Mapping, column: MappedColumn) -> str:
    """Why an expression that raised on a row quarantines it, in the words that a failed cast would have."""
    kind = _type_of(mapping.contract, column.name)
    if pa.types.is_timestamp(kind):
        return "not a time"
    if pa.types.is_date(kind):
        return "not a date"
    if kind == pa.string():
        return "the mapping's expression fails on this row"
    return "not a number"


def _check_kind(mapping: Mapping, head: Head) -> None:
    if head.kind == mapping.format:
        return
    is_one = " one JSON document, not lines:" if head.kind == "json" else ""
    raise IngestError(
        f"{head.path}: {mapping.path.name} says that this file is {mapping.format}, but it looks like {head.kind}."
        f"{is_one} Correct `format:` in the mapping, or export the file as {mapping.format}."
    )


class _Flat:
    """The source columns that a mapping reads, as flat text columns named by their dotted paths."""

    def __init__(self, mapping: Mapping, reader: Reader) -> None:
        self._mapping = mapping
        self._reader = reader
        self._columns = tuple(reader.heads[0].columns) if reader.heads else ()
        self._references = dict.fromkeys(path for column in mapping.expressions for path in column.references)
        self._tree: dict = {}
        for path in self._references:
            node = self._tree
            for part in self._source_path(path):
                node = node.setdefault(part, {})
            node[_LEAF] = True

    def rows(self, only: Iterable[Reference] | None = None) -> str:
        """SQL of the place columns and one text column per reference."""
        columns = [name for name, node in self._tree.items() if _LEAF in node]
        nested = {name: _structure(node) for name, node in self._tree.items() if _LEAF not in node}
        rows = self._reader.rows(columns, nested=nested)
        picked = "".join(
            f", {self._access(self._source_path(path))} as {identifier(flat_name(path))}"
            for path in (self._references if only is None else only)
        )
        return f"select _file, _content, _broken, _line{picked} from ({rows})"

    def check_references(self) -> None:
        """Tell references that a file does not have.

        A CSV or Parquet file has its columns or has not. JSON lines may leave out a key that is empty, so there a
        missing key is an error only where the contract needs it or where a key of almost the same name is there
        instead; otherwise it is a notice.

        Raises:
            IngestError: a column is missing.
        """
        heads = self._reader.heads
        if self._mapping.format == "jsonl":
            self._check_keys(heads)
            return
        for head in heads:
            if head.columns != heads[0].columns:
                raise IngestError(f"{head.path}: its columns are not those of {heads[0].path.name}; read it by itself.")
            known = {name.lower() for name in head.columns}
            for column in self._mapping.expressions:
                for path in column.references:
                    if self._source_path(path)[0].lower() not in known:
                        self._missing(head, column, path, head.columns)

    def _check_keys(self, heads: Iterable[Head]) -> None:
        keys = {head.path: _keys_seen(head.text, self._references.keys()) for head in heads}
        unseen = dict.fromkeys(path for seen in keys.values() for path in self._references if path not in seen)
        absent = self._absent(list(unseen)) if unseen else {}
        for head in heads:
            for column in self._mapping.expressions:
                gone = [path for path in column.references if path in absent.get(head.path, ())]
                is_needed = column.name in self._mapping.contract.required and len(gone) == len(column.references)
                for path in gone:
                    siblings = sorted(
                        key[-1] for key in keys[head.path] if key[:-1] == path[:-1] and key not in self._references
                    )
                    if is_needed or difflib.get_close_matches(path[-1], siblings, 1, _TYPING_ERROR):
                        self._missing(head, column, path, siblings)
                    self._reader.tell(
                        head.path,
                        f"no record has {flat_name(path)} ({self._mapping.path.name}:{column.line}, {column.name})",
                    )

    def _source_path(self, path: Reference) -> Reference:
        """Where a reference is in this file: a CSV header may itself hold the dotted name."""
        whole = ".".join(path)
        is_column = len(path) > 1 and whole.lower() in {name.lower() for name in self._columns}
        return (whole,) if is_column and self._mapping.format != "jsonl" else path

    def _access(self, path: Reference) -> str:
        sql, node = identifier(path[0]), self._tree[path[0]]
        for part in path[1:]:
            if _LEAF in node:
                # The value is wanted both whole and in parts: it was read whole, as JSON text.
                sql = f"({parsed(sql, _structure(node))})"
            sql, node = f"{sql}.{identifier(part)}", node[part]
        return sql

    def _absent(self, paths: list[Reference]) -> dict[Path, set[Reference]]:
        """Which of the references no record of a file has, by file."""
        counts = ", ".join(f"count({identifier(flat_name(path))})" for path in paths)
        for _ in range(2):
            try:
                found = self._reader.connection.execute(
                    f"select _file, {counts} from ({self.rows(paths)}) group by _file"
                ).fetchall()
            except duckdb.Error:
                # A broken line somewhere: read with care. If that fails too, loading will say what is wrong.
                self._reader.is_careful = True
                continue
            return {
                Path(file): {path for path, count in zip(paths, numbers, strict=True) if not count}
                for file, *numbers in found
            }
        return {}

    def _missing(self, head: Head, column: MappedColumn, path: Reference, there: Iterable[str]) -> None:
        there = list(there)
        hint = _did_you_mean(path[-1] if len(path) > 1 and head.kind == "jsonl" else path[0], there)
        listed = f" There are: {', '.join(there[:20])}." if there and not hint else ""
        raise IngestError(
            f"{self._mapping.path}:{column.line}:{column.column}: {column.name}: {head.path} has no "
            f"{flat_name(path)}.{hint}{listed} Correct the mapping, or leave the column out."
        )


_LEAF = ""
_TYPING_ERROR = 0.88
"""How alike two names must be for one to be taken as the other mistyped."""


def flat_name(path: Reference) -> str:
    """A reference as people write it: dotted, parts that hold a dot in quotes."""
    return ".".join(f'"{part}"' if "." in part else part for part in path)


def _structure(node: dict) -> dict:
    return {name: "VARCHAR" if _LEAF in child else _structure(child) for name, child in node.items() if name != _LEAF}


def _keys_seen(text: str, wanted: Collection[Reference]) -> set[Reference]:
    """Paths of the keys in the first records of JSON lines, JSON text included, until all that are wanted were seen."""
    seen: set[Reference] = set()

    def walk(value: Any, path: Reference) -> None:
        if isinstance(value, str) and value.startswith("{") and len(path) == 1:
            try:
                value = json.loads(value)
            except ValueError:
                return
        if isinstance(value, dict):
            for key, child in value.items():
                seen.add((*path, key))
                walk(child, (*path, key))

    for line in text.split("\n"):
        try:
            record = json.loads(line.lstrip("\ufeff"))
        except ValueError:
            continue
        if isinstance(record, dict):
            walk(record, ())
            if all(path in seen for path in wanted):
                break
    return seen


# Reading and checking the mapping file


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file and check all of it.

    Raises:
        IngestError: it cannot be read, is not YAML, or says something that the contract does not have.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise IngestError(f"{path}: the mapping file cannot be read ({error.strerror}).") from error
    return _checked(path, content)


def _mapping(options: Options) -> Mapping:
    if options.mapping is None:
        raise IngestError(
            "format mapping needs a mapping file. Name it with --mapping FILE, or `mapping:` of the source."
        )
    return load_mapping(options.mapping)


@lru_cache(maxsize=64)
def _checked(path: Path, content: bytes) -> Mapping:
    return _Checker(path).check(content)


@dataclass
class _Checker:
    """Turns a mapping's YAML into a Mapping, or says where it is wrong."""

    path: Path

    def check(self, content: bytes) -> Mapping:
        document = self._parse(content)
        for key in document:
            if key not in _KEYS:
                raise self._error(
                    document, key, f"{key} is not a key of a mapping.{_did_you_mean(key, _KEYS)}", on_key=True
                )
        for key in ("contract", "format", "columns"):
            if key not in document:
                raise IngestError(f"{self.path}:1:1: the mapping has no `{key}:`. Add it (docs/add-a-format.md).")
        contract = self._one_of(document, "contract", _MAPPABLE)
        columns = self._columns(document, contract)
        cached, reasoning = self._token_convention(document, contract, columns)
        return Mapping(
            path=self.path,
            contract=contract,
            format=self._one_of(document, "format", {name: name for name in FILE_FORMATS}),
            columns=tuple(columns),
            source=self._source(document),
            time_zone=self._time_zone(document),
            input_includes_cached=cached,
            output_includes_reasoning=reasoning,
            replaces_period=self._replaces_period(document, contract),
            skip=self._expression(document, "skip", pa.string()) if "skip" in document else None,
        )

    def _parse(self, content: bytes) -> Any:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        try:
            document = YAML(typ="rt").load(content.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise IngestError(f"{self.path}: not UTF-8 text ({error.reason} at byte {error.start}).") from error
        except MarkedYAMLError as error:
            mark = error.problem_mark
            where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
            raise IngestError(f"{self.path}{where}: not valid YAML: {error.problem}.") from error
        except YAMLError as error:
            raise IngestError(f"{self.path}: not valid YAML: {error}") from error
        if not isinstance(document, dict):
            raise IngestError(f"{self.path}:1:1: a mapping file holds keys and values: contract, format, columns.")
        return document

    def _error(self, parent: Any, key: str, message: str, *, on_key: bool = False) -> IngestError:
        line, column = self._position(parent, key, on_key=on_key)
        return IngestError(f"{self.path}:{line}:{column}: {message}")

    def _position(self, parent: Any, key: str, *, on_key: bool = False) -> tuple[int, int]:
        line, column = parent.lc.key(key) if on_key else parent.lc.value(key)
        return line + 1, column + 1

    def _one_of(self, document: Any, key: str, known: dict[str, Any]) -> Any:
        value = document[key]
        if not isinstance(value, str) or value not in known:
            hint = _did_you_mean(str(value), known) or f" Known: {', '.join(known)}."
            raise self._error(document, key, f"{key} {value!r} is not known.{hint}")
        return known[value]

    def _source(self, document: Any) -> str | None:
        source = document.get("source")
        if "source" in document and not (isinstance(source, str) and source.strip()):
            raise self._error(document, "source", "source is the name of the source, a text.")
        return source

    def _time_zone(self, document: Any) -> str | None:
        zone = document.get("time_zone")
        if "time_zone" in document and not (isinstance(zone, str) and zone in _time_zones()):
            raise self._error(
                document, "time_zone", f"time zone {zone!r} is not known. Use an IANA name, such as Asia/Kolkata."
            )
        return zone

    def _replaces_period(self, document: Any, contract: Contract) -> bool:
        value = document.get("replaces_period", False)
        if not isinstance(value, bool):
            raise self._error(document, "replaces_period", "replaces_period is true or false.")
        if value and contract.name != "bill_lines":
            raise self._error(
                document, "replaces_period", "replaces_period is for bill_lines; leave it out.", on_key=True
            )
        return value

    def _token_convention(self, document: Any, contract: Contract, columns: list[MappedColumn]) -> tuple[bool, bool]:
        """What the totals contain. Where it matters it must be said: the two readings price the same call apart."""
        said = document.get("token_convention", {})
        if "token_convention" in document:
            if contract.name not in COUNTED:
                raise self._error(
                    document, "token_convention", f"token_convention is for {' and '.join(COUNTED)}.", on_key=True
                )
            if not isinstance(said, dict):
                raise self._error(document, "token_convention", f"token_convention holds {' and '.join(_CONVENTIONS)}.")
        for key, value in said.items():
            if key not in _CONVENTIONS:
                hint = _did_you_mean(key, _CONVENTIONS)
                raise self._error(said, key, f"{key} is not a token convention.{hint}", on_key=True)
            if not isinstance(value, bool):
                raise self._error(said, key, f"{key} is true or false.")
        names = {column.name for column in columns}
        for key, total, parts in (
            ("input_includes_cached", "input_tokens", _CACHE_COLUMNS),
            ("output_includes_reasoning", "output_tokens", ("reasoning_tokens",)),
        ):
            if total in names and names.intersection(parts) and key not in said:
                raise self._error(
                    document["columns"],
                    total,
                    f"{total} comes with {', '.join(sorted(names.intersection(parts)))}: say whether the total "
                    f"contains them, with `token_convention: {{{key}: true}}` (or false).",
                    on_key=True,
                )
        return tuple(said.get(key, True) for key in _CONVENTIONS)

    def _columns(self, document: Any, contract: Contract) -> list[MappedColumn]:
        entries = document["columns"]
        if not isinstance(entries, dict) or not entries:
            raise self._error(document, "columns", "columns holds one `contract column: source` per line.")
        known = [name for name in contract.column_names if name not in _NOT_MAPPED]
        if contract.name in COUNTED:
            known.extend(_TOTALS)
        if contract.name == "llm_calls":
            known.append("session_id")
        for name in entries:
            if name in _NOT_MAPPED and name in contract.column_names:
                raise self._error(entries, name, f"{name} is not mapped: {_NOT_MAPPED[name]}.", on_key=True)
            if name not in known:
                hint = _did_you_mean(str(name), known) or f" Its columns: {', '.join(known)}."
                raise self._error(entries, name, f"{contract.name} has no column {name}.{hint}", on_key=True)
        for total, bucket in (("input_tokens", "uncached_input_tokens"), ("output_tokens", "output_text_tokens")):
            if total in entries and bucket in entries:
                raise self._error(
                    entries, bucket, f"{bucket} is what is left of {total}: map one of the two.", on_key=True
                )
        optional = {"source", _HASHED_IDS.get(contract.name), *_DEFAULTED.get(contract.name, ())}
        missing = [name for name in contract.required if name not in optional and name not in entries]
        if missing:
            raise self._error(document, "columns", f"{contract.name} needs {', '.join(missing)} as well.", on_key=True)
        return [self._expression(entries, name, _type_of(contract, name)) for name in entries]

    def _expression(self, parent: Any, name: str, kind: pa.DataType) -> MappedColumn:
        value = parent[name]
        line, column = self._position(parent, name)
        if isinstance(value, bool):
            return MappedColumn(name, line, column, literal(str(value).lower()))
        if isinstance(value, int | float):
            return MappedColumn(name, line, column, literal(value if isinstance(value, int) else float(value)))
        if isinstance(value, datetime | date):
            return MappedColumn(name, line, column, literal(value.isoformat()))
        if not isinstance(value, str) or not value.strip():
            message = f"{name} needs a source column, an expression or a constant in quotes."
            raise self._error(parent, name, message, on_key=value is None)
        text = value.strip()
        if _BARE.fullmatch(text):
            path = tuple(text.split("."))
            self._check_reference(parent, name, path)
            return MappedColumn(name, line, column, identifier(flat_name(path)), (path,), is_reference=True)
        sql, references, is_reference = self._parsed(parent, name, text)
        if not is_reference:
            self._check_type(parent, name, sql, references, kind)
        return MappedColumn(name, line, column, sql, references, is_reference)

    def _parsed(self, parent: Any, name: str, text: str) -> tuple[str, tuple[Reference, ...], bool]:
        """An expression as safe SQL: parsed, checked node by node, and written back from the parsed form."""
        answer = json.loads(
            _database()
            .execute(
                "select json_serialize_sql(cast(? as varchar), skip_null := true, skip_empty := true)",
                [f"select (\n{text}\n)"],
            )
            .fetchone()[0]
        )
        if answer.get("error"):
            raise self._error(parent, name, f"{name}: {answer.get('error_message', 'not an expression')}. {_QUOTING}")
        statements = answer["statements"]
        node = statements[0]["node"]
        is_plain = (
            len(statements) == 1
            and node.get("type") == "SELECT_NODE"
            and len(node.get("select_list", ())) == 1
            and node.get("from_table", {}).get("type") == "EMPTY"
            and not node.keys() & {"where_clause", "group_expressions", "having", "qualify", "sample", "modifiers"}
        )
        if not is_plain:
            raise self._error(parent, name, f"{name}: one expression is expected, without select or from.")
        references: dict[Reference, None] = {}
        top = node["select_list"][0]
        is_reference = top.get("class") == "COLUMN_REF"
        self._check_node(parent, name, top, references)
        [(sql,)] = _database().execute("select json_deserialize_sql(cast(? as json))", [json.dumps(answer)]).fetchall()
        return sql.removeprefix("SELECT "), tuple(references), is_reference

    def _check_node(self, parent: Any, name: str, node: Any, references: dict[Reference, None]) -> None:
        """Allow what computes one value from this row; references become flat columns in place."""
        if isinstance(node, list):
            for child in node:
                self._check_node(parent, name, child, references)
            return
        if not isinstance(node, dict):
            return
        kind = node.get("class")
        if kind is not None and kind not in _ALLOWED:
            raise self._error(
                parent, name, f"{name}: {_FORBIDDEN.get(kind, kind.lower())} cannot be used; a mapping sees one row."
            )
        if kind == "COLUMN_REF":
            path = tuple(node["column_names"])
            self._check_reference(parent, name, path)
            references[path] = None
            node["column_names"] = [flat_name(path)]
            return
        if kind == "FUNCTION":
            self._check_function(parent, name, node["function_name"].lower())
        for key, child in node.items():
            if key != "qualified_name":
                self._check_node(parent, name, child, references)

    def _check_reference(self, parent: Any, name: str, path: Reference) -> None:
        if path[0].lower() in PLACE_COLUMNS:
            raise self._error(
                parent, name, f"{name}: {path[0]} is a name that ingest uses itself; give the source column another."
            )

    def _check_function(self, parent: Any, name: str, function: str) -> None:
        known = _functions()
        if function in known["allowed"]:
            return
        if function in known["aggregate"]:
            raise self._error(parent, name, f"{name}: {function} looks at many rows; a mapping sees one row.")
        if function in known["other"]:
            raise self._error(parent, name, f"{name}: the function {function} cannot be used in a mapping.")
        hint = _did_you_mean(function, known["allowed"])
        raise self._error(parent, name, f"{name}: there is no function {function}.{hint}")

    def _check_type(self, parent: Any, name: str, sql: str, references: Iterable[Reference], kind: pa.DataType) -> None:
        """Bind the expression over text columns: unknown functions and forgotten casts show before any file is read."""
        columns = ", ".join(f"cast(null as varchar) as {identifier(flat_name(path))}" for path in references)
        try:
            [(_, given, *_)] = (
                _database().execute(f"describe select {sql} as value from (select {columns or '1 as one'})").fetchall()
            )
        except duckdb.Error as error:
            message = str(error).split("\n", 1)[0]
            raise self._error(
                parent, name, f"{name}: {message} Source columns are text: cast them, as in cast(tokens as bigint)."
            ) from error
        is_time = given.startswith(("TIMESTAMP", "DATE")) or given in ("VARCHAR", '"NULL"', "JSON")
        wants_time = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
        if wants_time and not is_time:
            raise self._error(
                parent, name, f"{name} is a time and this gives {given}: a number becomes one by to_timestamp(seconds)."
            )
        if kind != pa.string() and not wants_time and given.startswith(("TIMESTAMP", "DATE", "INTERVAL", "TIME")):
            raise self._error(parent, name, f"{name} is a number or true/false, and this gives {given}.")


_BARE = re.compile(r"@?[^\W\d]\w*(\.\w+)*")
_QUOTING = (
    "A constant is written \"'like this'\", a column with odd letters or the name of an SQL word '\"like this\"'."
)

_ALLOWED = {
    "COLUMN_REF",
    "CONSTANT",
    "FUNCTION",
    "CASE",
    "CAST",
    "COMPARISON",
    "CONJUNCTION",
    "OPERATOR",
    "BETWEEN",
    "TYPE",
}
_FORBIDDEN = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "STAR": "a star",
    "LAMBDA": "a lambda",
    "PARAMETER": "a parameter",
    "POSITIONAL_REFERENCE": "a column number",
    "DEFAULT": "default",
    "COLLATE": "a collation",
}
_MACROS = {
    "array_to_string",
    "date_add",
    "days_in_month",
    "fdiv",
    "fmod",
    "if",
    "json",
    "list_any_value",
    "list_first",
    "list_last",
    "list_max",
    "list_min",
    "list_sum",
    "map_contains_entry",
    "map_contains_value",
    "md5_number_lower",
    "md5_number_upper",
    "nullif",
    "split_part",
}
"""DuckDB's own macros that are plain scalar functions."""

_UNSAFE = {
    "current_localtime",
    "current_localtimestamp",
    "error",
    "json_deserialize_sql",
    "json_serialize_sql",
    "parse_filename",
    "sleep_ms",
    "stats",
    "to_aggregate_state",
    "version",
}


def _database() -> duckdb.DuckDBPyConnection:
    """A cursor of a database that holds nothing, for parsing and binding expressions; one for each use and thread."""
    return _empty_database().cursor()


@lru_cache(maxsize=1)
def _empty_database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"enable_external_access": "false", "threads": "1"})
    connection.execute("set autoinstall_known_extensions = false")
    return connection


@lru_cache(maxsize=1)
def _time_zones() -> set[str]:
    """IANA names as the reader of the files knows them."""
    return {name for (name,) in _database().execute("select name from pg_timezone_names()").fetchall()}


@lru_cache(maxsize=1)
def _functions() -> dict[str, set[str]]:
    """Functions by what a mapping may do with them: the same answer for the same row, and nothing else touched."""
    rows = (
        _database()
        .execute("select distinct function_name, function_type, coalesce(stability, '') from duckdb_functions()")
        .fetchall()
    )
    allowed = {name for name, kind, stability in rows if kind == "scalar" and stability == "CONSISTENT"}
    allowed = {name for name in allowed if not name.startswith("__")}
    return {
        "allowed": (allowed | _MACROS) - _UNSAFE,
        "aggregate": {name for name, kind, _ in rows if kind in ("aggregate", "window")} - allowed,
        "other": {name for name, *_ in rows},
    }


def _type_of(contract: Contract, name: str) -> pa.DataType:
    if name in contract.column_names:
        return contract.type_of(name)
    return pa.string() if name in ("session_id", "skip") else pa.decimal128(18, 0)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    return "".join(f" Did you mean {match}?" for match in difflib.get_close_matches(name, list(known), 1, 0.6))
