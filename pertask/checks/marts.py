"""The second gate: the public marts in the warehouse, before readers get them.

Shape: each has the columns and types that its contract promises, and rows where the lake has some. Volume: none has
lost many of the rows that were published last. Sums: what marts hold adds up to the lake, counted on another way than
the models go. dbt tests what rows must be and how marts add up to each other; none of that is repeated here.

Shape and sums block: where they fail, our own work is wrong. Volume warns unless ``limits.blocking`` names it.
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pertask.checks import site
from pertask.checks.profiles import refresh
from pertask.checks.results import Asset, CheckResult, CheckSpec
from pertask.checks.suites import PLACE, Failure, Rule, Suite, run
from pertask.home import Home
from pertask.memory import duckdb_limits
from publish.publication import PublishError, literal, public_marts

if TYPE_CHECKING:
    import duckdb
    import polars as pl

    from pertask.config import Config, Limits

GATE = "marts"

_MIRRORED = {
    ("core", "fct_call_attempts"): "llm_calls",
    ("core", "fct_bill_lines"): "bill_lines",
    ("quality", "tag_coverage_daily"): "llm_calls",
    ("quality", "price_coverage_daily"): "llm_calls",
    ("quality", "invoice_walk_monthly"): "bill_lines",
    ("quality", "quarantined_rows"): "quarantined_rows",
}
"""Marts that cannot be empty while the lake contract has rows."""

_LISTS = {
    ("quality", "ingest_batches"): (
        "select contract, sum(rows_loaded) from warehouse.quality.ingest_batches group by contract",
        """
        select contract, sum(row_count) from {files}
        where change != 'removed' and contract != 'quarantined_rows' group by contract
        """,
    ),
    ("quality", "quarantined_rows"): (
        "select contract, count(*) from warehouse.quality.quarantined_rows group by contract",
        """
        select contract, sum(rows_quarantined) from {batches}
        where change != 'removed' and rows_quarantined > 0 group by contract
        """,
    ),
}
"""Marts that list what the ledger counts: rows by contract in the mart and in the snapshot."""

_Tables = dict[tuple[str, str, str], dict[str, str]]
"""Columns and their types by database, schema and table."""

_ABOUT = {
    "shape": "Columns and types as the mart's contract has them, and rows where the lake has some.",
    "volume": "Rows against the last publication.",
    "sums": "Rows, tokens, costs or seconds against the lake.",
}
_MAX_PLACES = 5


@dataclass(frozen=True)
class _Mart:
    """A public mart as dbt's manifest has it.

    Attributes:
        schema: its schema.
        table: its table.
        types: types of its columns by name.
        contracts: the lake contracts that it comes from, by any way.
        kept_date: its date, where the mart keeps every date that it had; None where it is made anew.
    """

    schema: str
    table: str
    types: dict[str, str]
    contracts: frozenset[str]
    kept_date: str | None

    @property
    def asset(self) -> Asset:
        return self.schema, self.table

    @property
    def name(self) -> str:
        return f"{self.schema}.{self.table}"


@dataclass(frozen=True)
class _Sum:
    """A measure of a mart that the lake has too.

    Attributes:
        mart: the mart.
        contract: the lake contract.
        query: SQL that gives source, day, what else parts the sums, and the measures, of the dates ``{dates}``.
        measures: their names as profiles have them; ``rows`` is their number.
        is_by_source: whether the mart tells sources apart.
        is_whole: whether all of the lake is in the mart; else the lake only bounds it from above.
    """

    mart: Asset
    contract: str
    query: str
    measures: tuple[str, ...]
    is_by_source: bool = True
    is_whole: bool = True


_SUMS = (
    _Sum(
        ("core", "fct_call_attempts"),
        "llm_calls",
        """
        select source, usage_date, '' as part, count(*) as rows, sum(input_tokens) as input_tokens,
            sum(output_tokens) as output_tokens
        from warehouse.core.fct_call_attempts where {dates} group by source, usage_date
        """,
        ("rows", "input_tokens", "output_tokens"),
    ),
    _Sum(
        ("core", "fct_bill_lines"),
        "bill_lines",
        """
        select source, usage_date, billing_currency as part, count(*) as rows, sum(billed_cost) as billed_cost,
            sum(effective_cost) as effective_cost
        from warehouse.core.fct_bill_lines where {dates} group by source, usage_date, billing_currency
        """,
        ("rows", "billed_cost", "effective_cost"),
    ),
    # a GPU without a link or a bill has no GPU-hours, so that the samples only bound them from above
    _Sum(
        ("core", "fct_gpu_hours"),
        "gpu_samples",
        """
        select '' as source, usage_date, '' as part, sum(sampled_seconds) as sampled_seconds
        from warehouse.core.fct_gpu_hours where {dates} group by usage_date
        """,
        ("sampled_seconds",),
        is_by_source=False,
        is_whole=False,
    ),
)


def specs(manifest: Path) -> list[CheckSpec]:
    """The checks of this gate, for the public marts of dbt's manifest."""
    return _specs(_marts(manifest))


def _specs(marts: list[_Mart]) -> list[CheckSpec]:
    found = []
    for mart in marts:
        found.append(CheckSpec(mart.asset, "shape", "error", _ABOUT["shape"]))
        if _has_volume(mart):
            found.append(CheckSpec(mart.asset, "volume", "warn", _ABOUT["volume"]))
        if mart.asset in {*(sums.mart for sums in _SUMS), *_LISTS}:
            found.append(CheckSpec(mart.asset, "sums", "error", _ABOUT["sums"]))
    return found


def check_marts(home: Home, config: Config) -> list[CheckResult]:
    """Check the public marts of the warehouse, as the build of the current snapshot left them.

    Returns:
        One result for each of ``specs``.

    Raises:
        PublishError: nothing has been built yet.
    """
    import duckdb

    marts = _marts(home.target / "manifest.json")
    if not home.warehouse_file.exists():
        raise PublishError(f"{home.warehouse}: nothing has been built yet. Run pertask build first.")
    with contextlib.closing(duckdb.connect(config=duckdb_limits(home.spill))) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"attach {literal(home.warehouse_file)} as warehouse (read_only)")
        if home.published_file.exists():
            # a file that cannot be read is about to be replaced
            with contextlib.suppress(duckdb.Error):
                connection.execute(f"attach {literal(home.published_file)} as published (read_only)")
        tables = _tables(connection)
        types = _types(connection, marts)
        shapes = {mart.name: _shape(connection, home, mart, tables, types) for mart in marts}
        try:
            volumes = _volumes(connection, home, marts, tables, config.limits)
        except duckdb.Error:
            # a publication that is damaged within says nothing of how many rows there were
            volumes = {}
        sums = _sums(connection, home, tables)
    rules = _rules(config.limits)
    failures = defaultdict(list)
    for failure in run(
        [
            Suite("shape", [shape.row for shape in shapes.values()], rules["shape"]),
            Suite("volume", [volume.row for volume in volumes.values()], rules["volume"]),
            Suite("sums", sums, rules["sums"]),
        ],
        site.folder(home, GATE),
    ):
        # places begin with the mart's name
        failures[failure.place.split(" ")[0], failure.rule.check].append(failure)
    results = []
    for spec in _specs(marts):
        name = ".".join(spec.asset)
        failed = failures[name, spec.check]
        if spec.check == "shape":
            results.append(_shape_result(spec, shapes[name], failed))
        elif spec.check == "volume":
            results.append(_volume_result(spec, volumes.get(name), failed, config.limits))
        else:
            results.append(_sums_result(home, spec, sums, failed))
    site.write(home, GATE, results)
    return results


def _rules(limits: Limits) -> dict[str, list[Rule]]:
    volume = "error" if "volume" in limits.blocking else "warn"
    return {
        "shape": [
            Rule("shape", "missing_columns", 0, "error", "columns of the contract that the table lacks"),
            Rule("shape", "unknown_columns", 0, "error", "columns of the table that the contract lacks"),
            Rule("shape", "columns_of_another_type", 0, "error", "columns of another type than the contract says"),
            Rule("shape", "rows", "rows_at_least", "error", "a row at least where the lake has some", is_floor=True),
        ],
        "volume": [
            Rule(
                "volume",
                "rows",
                "rows_at_least",
                volume,
                "rows published last, less limits.mart_drop_ratio; nothing where lake data were taken back",
                is_floor=True,
            ),
            Rule("volume", "lost_dates", 0, volume, "dates that were published and have no row any more"),
        ],
        "sums": [
            Rule("sums", "in_mart", "in_lake_at_least", "error", "nothing is lost", is_floor=True),
            Rule("sums", "in_mart", "in_lake_at_most", "error", "nothing is counted twice"),
        ],
    }


def _marts(manifest_path: Path) -> list[_Mart]:
    names = {(mart.schema, mart.table) for mart in public_marts(manifest_path)}
    manifest = json.loads(manifest_path.read_bytes())
    parents = manifest.get("parent_map", {})
    found = [
        _Mart(
            node["schema"],
            node["alias"],
            {name: column["data_type"] for name, column in node["columns"].items() if column.get("data_type")},
            _lake_contracts(unique_id, parents),
            node["config"]["meta"].get("date_column")
            if node["config"].get("incremental_strategy") == "replace_dates"
            else None,
        )
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] == "model" and (node["schema"], node["alias"]) in names
        if node["config"].get("access") == "public"
    ]
    return sorted(found, key=lambda mart: mart.name)


def _lake_contracts(unique_id: str, parents: dict[str, list[str]]) -> frozenset[str]:
    seen, waiting = set(), [unique_id]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(parents.get(node, []))
    return frozenset(
        node.split(".")[-1] for node in seen if node.startswith("source.") and node.split(".")[2] == "lake"
    )


def _has_volume(mart: _Mart) -> bool:
    """Marts of quality list what is wrong: fewer rows are good news."""
    return mart.schema != "quality"


def _tables(connection: duckdb.DuckDBPyConnection) -> _Tables:
    """Columns and their types by database, schema and table."""
    tables: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    for database, schema, table, column, kind in connection.execute(
        """
        select database_name, schema_name, table_name, column_name, data_type
        from duckdb_columns() where database_name in ('warehouse', 'published')
        """
    ).fetchall():
        tables[database, schema, table][column] = kind
    return dict(tables)


def _count(connection: duckdb.DuckDBPyConnection, database: str, mart: Asset) -> int:
    [(count,)] = connection.execute(f'select count(*) from {database}."{mart[0]}"."{mart[1]}"').fetchall()
    return count


def _types(connection: duckdb.DuckDBPyConnection, marts: list[_Mart]) -> dict[str, str]:
    """DuckDB's name of each type that the contracts name in their own way."""
    names = sorted({kind for mart in marts for kind in mart.types.values()})
    if not names:
        return {}
    types = connection.execute(f"select {', '.join(f'typeof(cast(null as {name}))' for name in names)}").fetchone()
    return dict(zip(names, types or (), strict=True))


@dataclass(frozen=True)
class _Shape:
    row: dict[str, Any]
    missing: list[str]
    unknown: list[str]
    retyped: list[str]


def _shape(
    connection: duckdb.DuckDBPyConnection, home: Home, mart: _Mart, tables: _Tables, types: dict[str, str]
) -> _Shape:
    there = tables.get(("warehouse", *mart.asset), {})
    missing = [column for column in mart.types if column not in there]
    unknown = [column for column in there if column not in mart.types]
    retyped = []
    for column, kind in mart.types.items():
        if column in there and there[column] != types[kind]:
            retyped.append(f"{column} ({there[column]} instead of {types[kind]})")
    row = {
        PLACE: mart.name,
        "missing_columns": len(missing),
        "unknown_columns": len(unknown),
        "columns_of_another_type": len(retyped),
        "rows": _count(connection, "warehouse", mart.asset) if there else 0,
        "rows_at_least": 1 if _lake_rows(connection, home, _MIRRORED.get(mart.asset)) else 0,
    }
    return _Shape(row, missing, unknown, retyped)


def _lake_rows(connection: duckdb.DuckDBPyConnection, home: Home, contract: str | None) -> int:
    """Rows of the files that the snapshot lists; those that a newer bill replaced do not count."""
    [(count,)] = connection.execute(
        f"""
        select coalesce(sum(row_count), 0) from {_snapshot(home, "files")}
        where
            contract = $contract and change != 'removed'
            and batch_id not in (select batch_id from {_snapshot(home, "superseded")} where change != 'removed')
        """,
        {"contract": contract},
    ).fetchall()
    return int(count)


def _shape_result(spec: CheckSpec, shape: _Shape, failed: list[Failure]) -> CheckResult:
    observed = {name: number for name, number in shape.row.items() if name != PLACE}
    name = ".".join(spec.asset)
    if not failed:
        return CheckResult(spec.asset, spec.check, "error", True, f"{name} is as its contract says.", observed)
    told = [
        f"{word} {', '.join(columns[:_MAX_PLACES])}{' and more' if len(columns) > _MAX_PLACES else ''}"
        for word, columns in (
            ("lacks", shape.missing),
            ("has beyond its contract", shape.unknown),
            ("has of another type", shape.retyped),
        )
        if columns
    ]
    if any(failure.rule.column == "rows" for failure in failed):
        told.append(f"has no row, and the lake has some of {_MIRRORED[spec.asset]}")
    message = f"{name} {'; '.join(told)}. Run pertask build --full-refresh; the last publication stays."
    return CheckResult(spec.asset, spec.check, "error", False, message, observed)


@dataclass(frozen=True)
class _Volume:
    row: dict[str, Any]
    published: int
    explained_by: str


def _volumes(
    connection: duckdb.DuckDBPyConnection, home: Home, marts: list[_Mart], tables: _Tables, limits: Limits
) -> dict[str, _Volume]:
    """Rows of the marts that were published before, and what may have taken some away."""
    taken_back = _taken_back(connection, home, tables)
    changes = _changes(connection, home)
    volumes = {}
    for mart in marts:
        if not _has_volume(mart) or not {("warehouse", *mart.asset), ("published", *mart.asset)} <= set(tables):
            continue
        reasons = [*changes, *(taken_back[contract] for contract in sorted(mart.contracts & set(taken_back)))]
        published, rows = (_count(connection, database, mart.asset) for database in ("published", "warehouse"))
        kept = Decimal(published) * (1 - Decimal(str(limits.mart_drop_ratio)))
        row = {
            PLACE: mart.name,
            "rows": rows,
            "rows_at_least": None if reasons else kept,
            "lost_dates": None if reasons else _lost_dates(connection, mart, tables),
        }
        volumes[mart.name] = _Volume(row, published, "; ".join(reasons))
    return volumes


def _lost_dates(connection: duckdb.DuckDBPyConnection, mart: _Mart, tables: _Tables) -> int | None:
    """Dates that were published and have no row any more, of a mart that keeps every date."""
    if mart.kept_date is None or any(
        mart.kept_date not in tables[database, *mart.asset] for database in ("warehouse", "published")
    ):
        return None
    [(count,)] = connection.execute(
        f"""
        select count(*) from (
            select {mart.kept_date} from published.{mart.name} where {mart.kept_date} is not null
            except
            select {mart.kept_date} from warehouse.{mart.name}
        ) as lost
        """
    ).fetchall()
    return count


def _taken_back(connection: duckdb.DuckDBPyConnection, home: Home, tables: _Tables) -> dict[str, str]:
    """By lake contract, how deliveries that were published are there no more, or were replaced by a newer bill."""
    if ("published", "quality", "ingest_batches") not in tables:
        return {}
    batches, superseded = _snapshot(home, "batches"), _snapshot(home, "superseded")
    gone = connection.execute(
        f"""
        select contract, count(distinct batch_id) from published.quality.ingest_batches as published_batches
        where not exists (
            select 1 from {batches} as batches
            where batches.batch_id = published_batches.batch_id and batches.change != 'removed'
        )
        group by contract
        """
    ).fetchall()
    found = {
        contract: f"{count} of the published deliveries of {contract} {'is' if count == 1 else 'are'} gone"
        for contract, count in gone
    }
    [(replaced,)] = connection.execute(
        f"""
        select count(*) from {superseded} as superseded
        where superseded.change != 'removed' and superseded.source in (
            select batches.source from {batches} as batches
            where
                batches.contract = 'bill_lines' and batches.change != 'removed'
                and batches.batch_id not in (select batch_id from published.quality.ingest_batches)
        )
        """
    ).fetchall()
    if replaced:
        found.setdefault("bill_lines", "a newer bill replaced periods")
    return found


def _changes(connection: duckdb.DuckDBPyConnection, home: Home) -> list[str]:
    """What else may rightly leave a mart with fewer rows: edited company files or seeds, changed models or settings."""
    reasons = connection.execute(
        f"select distinct reason from {_snapshot(home, 'changed_ranges')} where reason != 'requested' order by reason"
    ).fetchall()
    reason = _prepared(home).get("reason", "")
    return [*(f"{reason} was edited" for (reason,) in reasons), *([reason] if reason.endswith("changed") else [])]


def _prepared(home: Home) -> dict[str, Any]:
    """What the build was prepared to do; nothing where it was not noted."""
    build = home.snapshot / "build.json"
    return json.loads(build.read_bytes()) if build.exists() else {}


def _volume_result(spec: CheckSpec, volume: _Volume | None, failed: list[Failure], limits: Limits) -> CheckResult:
    severity = "error" if "volume" in limits.blocking else spec.severity
    if volume is None:
        return CheckResult(spec.asset, spec.check, severity, True, "Not published before: nothing to compare with.")
    name, rows = ".".join(spec.asset), volume.row["rows"]
    observed = {"rows": rows, "rows_published": volume.published, "lost_dates": volume.row["lost_dates"] or 0}
    told = f"{name} has {rows:,} rows; {volume.published:,} were published last"
    if not failed:
        explained = f" ({volume.explained_by})" if volume.explained_by and rows < volume.published else ""
        return CheckResult(spec.asset, spec.check, severity, True, f"{told}{explained}.", observed)
    lost = f", and {observed['lost_dates']} of their dates are gone" if observed["lost_dates"] else ""
    message = (
        f"{told} ({rows / volume.published - 1:+.1%}){lost}. No delivery was taken back and nothing was edited since. "
        "Run pertask build --full-refresh; limits.mart_drop_ratio in pertask.yml says how much may go."
    )
    return CheckResult(spec.asset, spec.check, severity, False, message, observed)


def _sums(connection: duckdb.DuckDBPyConnection, home: Home, tables: _Tables) -> list[dict[str, Any]]:
    """What marts hold beside what the lake has; nothing of a mart that lacks a column, whose shape fails."""
    dates = _touched_dates(connection, home, tables)
    condition = (
        "true" if dates is None else "usage_date in (select usage_date from warehouse.intermediate.int_touched_dates)"
    )
    profiles = refresh(home)
    rows = _list_sums(connection, home, tables)
    for sums in _SUMS:
        if not {*sums.measures, "usage_date"} - {"rows"} <= set(tables.get(("warehouse", *sums.mart), {})):
            continue
        lake = _lake_sums(sums, profiles[sums.contract], dates)
        in_mart: dict[tuple, Decimal] = {}
        for source, day, part, *amounts in connection.execute(sums.query.format(dates=condition)).fetchall():
            for measure, amount in zip(sums.measures, amounts, strict=True):
                in_mart[source, day, part, measure] = Decimal(amount or 0)
        for key in sorted({*lake, *in_mart}, key=str):
            low, high = lake.get(key, (Decimal(0), Decimal(0)))
            rows.append(
                {
                    PLACE: " ".join(str(part) for part in (".".join(sums.mart), *key) if part),
                    "in_mart": in_mart.get(key, Decimal(0)),
                    "in_lake_at_least": low if sums.is_whole else None,
                    "in_lake_at_most": high,
                }
            )
    return rows


def _touched_dates(connection: duckdb.DuckDBPyConnection, home: Home, tables: _Tables) -> set[date] | None:
    """The dates that the build recomputed; None for all of them, also where it was asked to test everything."""
    [(is_full,)] = connection.execute(f"select is_full_refresh from {_snapshot(home, 'meta')}").fetchall()
    if (
        is_full
        or _prepared(home).get("tests_everything")
        or ("warehouse", "intermediate", "int_touched_dates") not in tables
    ):
        return None
    rows = connection.execute("select usage_date from warehouse.intermediate.int_touched_dates").fetchall()
    return {day for (day,) in rows}


def _lake_sums(sums: _Sum, profile: pl.DataFrame, dates: set[date] | None) -> dict[tuple, tuple[Decimal, Decimal]]:
    """By source, day, part and measure the least and the most that the lake adds up to."""
    found: dict[tuple, tuple[Decimal, Decimal]] = {}

    def add(key: tuple, low: Decimal, high: Decimal) -> None:
        before = found.get(key, (Decimal(0), Decimal(0)))
        found[key] = (before[0] + low, before[1] + high)

    for row in profile.iter_rows(named=True):
        if row["kind"] != "sum":
            continue
        source, day, part = (row["source"] if sums.is_by_source else ""), row["day"], row["value"]
        low, high = row["low"] or Decimal(0), row["high"] or Decimal(0)
        if row["name"] in sums.measures:
            add((source, day, part, row["name"]), low, high)
        if row["name"] == sums.measures[-1] and "rows" in sums.measures:
            add((source, day, part, "rows"), Decimal(row["row_count"]), Decimal(row["row_count"]))
        if row["name"] == "seconds_after_midnight":
            add((source, day, part, "sampled_seconds"), -high, -low)
            add((source, day + timedelta(days=1), part, "sampled_seconds"), low, high)
    return {key: bounds for key, bounds in found.items() if dates is None or key[1] in dates}


def _list_sums(connection: duckdb.DuckDBPyConnection, home: Home, tables: _Tables) -> list[dict[str, Any]]:
    """The lists of deliveries and of quarantined rows, against the ledger as the snapshot has it."""
    rows = []
    for mart, (query, ledger) in _LISTS.items():
        if ("warehouse", *mart) not in tables:
            continue
        names = {name: _snapshot(home, name) for name in ("batches", "files")}
        in_mart = dict(connection.execute(query).fetchall())
        in_ledger = dict(connection.execute(ledger.format(**names)).fetchall())
        for contract in sorted({*in_mart, *in_ledger}):
            count = Decimal(in_ledger.get(contract, 0))
            rows.append(
                {
                    PLACE: f"{'.'.join(mart)} {contract} rows",
                    "in_mart": Decimal(in_mart.get(contract, 0)),
                    "in_lake_at_least": count,
                    "in_lake_at_most": count,
                }
            )
    return rows


def _sums_result(home: Home, spec: CheckSpec, rows: list[dict[str, Any]], failed: list[Failure]) -> CheckResult:
    name = ".".join(spec.asset)
    own = {row[PLACE]: row for row in rows if row[PLACE].split(" ")[0] == name}
    places = list(dict.fromkeys(failure.place for failure in failed))
    observed = {"sums_checked": len(own), "sums_failed": len(places)}
    if not own:
        told = f"{name} has nothing to compare with the lake."
        return CheckResult(spec.asset, spec.check, "error", True, told, observed)
    if not places:
        return CheckResult(spec.asset, spec.check, "error", True, f"{len(own)} sums agree with the lake.", observed)
    lines = []
    for place in places[:_MAX_PLACES]:
        row = own[place]
        low, high = row["in_lake_at_least"], row["in_lake_at_most"]
        off = row["in_mart"] - (high if row["in_mart"] > high else low)
        expected = (
            f"{high:,.2f}" if low == high else f"at most {high:,.2f}" if low is None else f"{low:,.2f} to {high:,.2f}"
        )
        lines.append(f"{place}: {row['in_mart']:,.2f} in the mart, {expected} in the lake ({off:+,.2f})")
    if len(places) > _MAX_PLACES:
        lines.append(f"and {len(places) - _MAX_PLACES} more: {site.page(home, GATE, 'sums')}")
    lines.append(
        f"Look closer in {home.warehouse_file} (from {name} where ...) and in {home.lake}. Run pertask build "
        "--full-refresh; the last publication stays."
    )
    return CheckResult(spec.asset, spec.check, "error", False, "\n".join(lines), observed)


def _snapshot(home: Home, name: str) -> str:
    return f"read_parquet({literal(home.snapshot / f'{name}.parquet')})"
