"""The publication: the public marts as tables of one DuckDB file, which replaces the last one whole.

It changes no number. The file is written beside its target under another name and renamed over it, so a reader sees
the old file or the new one and never half of one; a reader that holds the old file open keeps reading the old rows.
Storage version v1.x keeps it readable for older drivers.

Besides the marts the file holds ``main.publication``, one row: when it was published, from which build and which
deliveries. It travels inside the file so that the two cannot disagree, and stands outside the marts' schemas because
it tells of the run and not of the data.

The publications before it stay in published/history/, and ``roll_back`` puts the newest of them in its place. The build
that is withdrawn so is not published again by itself; the next new one is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pertask.home import Home
from pertask.memory import duckdb_limits

if TYPE_CHECKING:
    import duckdb

STORAGE_VERSION = "v1.0.0"
"""Every DuckDB from 1.0 on reads it."""

_SCRATCH = ".publishing-"

_PUBLICATION_TABLE = """
create table published.main.publication as
select
    cast($published_at as timestamp) as published_at,
    cast($build_id as varchar) as build_id,
    cast($built_at as timestamp) as built_at,
    cast($batch_count as bigint) as batch_count,
    cast($newest_delivery_at as timestamp) as newest_delivery_at,
    cast($mart_count as bigint) as mart_count,
    cast($row_count as bigint) as row_count
"""
_PUBLICATION_DESCRIPTION = "One row: when this file was published, and from which build and deliveries."
_PUBLICATION_COLUMNS = {
    "published_at": "when the file was written (UTC)",
    "build_id": "name of the build that the marts come from",
    "built_at": "when that build began: deliveries committed later are not in it (UTC)",
    "batch_count": "deliveries that the build read",
    "newest_delivery_at": "when the newest of them was delivered (UTC); null without any",
    "mart_count": "marts in this file",
    "row_count": "rows of all marts",
}


class PublishError(Exception):
    """A publication that cannot be made; the last one stays as it was."""


@dataclass(frozen=True)
class Mart:
    """A public mart: its table, and what it and its columns mean, as dbt's manifest has it."""

    schema: str
    table: str
    description: str
    columns: dict[str, str]
    date_column: str | None = None

    @property
    def name(self) -> str:
        """Schema and table, as readers write it."""
        return f"{self.schema}.{self.table}"


@dataclass(frozen=True)
class Publication:
    """What was published, the same facts as the file's own ``main.publication``."""

    published_at: datetime
    build_id: str
    built_at: datetime
    batch_count: int
    newest_delivery_at: datetime | None
    mart_count: int
    row_count: int


def publish(home: Home, *, keep: int = 1) -> Publication:
    """Publish the public marts of the last successful build; the caller has made sure that every check passed.

    Publications of one home wait for each other.

    Args:
        home: the home.
        keep: how many publications to keep, this one included.

    Raises:
        PublishError: nothing was built yet, a mart is missing, the warehouse is in use, or the disk refuses.
    """
    import duckdb

    marts = public_marts(home.target / "manifest.json")
    if not home.warehouse_file.exists() or not (home.last_snapshot / "meta.parquet").exists():
        raise PublishError(f"{home.warehouse}: nothing has been built yet. Run pertask build first.")
    try:
        home.published.mkdir(parents=True, exist_ok=True)
        with _only_one(home.published):
            for leftover in home.published.glob(f"{_SCRATCH}*"):
                leftover.unlink()
            scratch = home.published / f"{_SCRATCH}{uuid.uuid4().hex[:12]}.duckdb"
            try:
                publication = _write(home, marts, scratch)
                _sync(scratch)
                _keep_in_history(home, publication.build_id)
                os.replace(scratch, home.published_file)
                _withdrawn_file(home).unlink(missing_ok=True)
                _sync(home.published)
            finally:
                for leftover in home.published.glob(f"{scratch.name}*"):
                    leftover.unlink()
            for old in history(home)[max(keep - 1, 0) :]:
                old.unlink(missing_ok=True)
    except (OSError, duckdb.Error) as error:
        raise PublishError(f"nothing was published, and the last publication stays: {error}") from error
    return publication


def history(home: Home) -> list[Path]:
    """The publications before the current one, newest first."""
    return sorted(home.publication_history.glob("*.duckdb"), reverse=True)


def roll_back(home: Home) -> Publication:
    """Put the publication before the current one in its place, whole; the current one's build is withdrawn.

    Raises:
        PublishError: there is no earlier publication, or the disk refuses.
    """
    try:
        home.published.mkdir(parents=True, exist_ok=True)
        with _only_one(home.published):
            current = read_publication(home.published_file)
            earlier = history(home)
            while earlier and current and read_publication(earlier[0]) == current:
                # a publication that was cut short between keeping the last one and replacing it
                earlier.pop(0).unlink()
            if not earlier:
                raise PublishError(f"{home.publication_history}: there is no earlier publication to go back to.")
            publication = read_publication(earlier[0])
            if publication is None:
                raise PublishError(f"{earlier[0]}: cannot be read. Delete it to go back to the one before it.")
            if current:
                # before the file moves: a process that dies in between has withdrawn what it still publishes, and a
                # second rollback finishes the work
                builds = [*withdrawn_builds(home), current.build_id]
                _withdrawn_file(home).write_text("\n".join(dict.fromkeys(builds)), encoding="ascii")
            os.replace(earlier[0], home.published_file)
            _sync(home.published)
            return publication
    except OSError as error:
        raise PublishError(f"nothing was rolled back, and the last publication stays: {error}") from error


def is_current(home: Home, build_id: str | None) -> bool:
    """Whether a build needs no publishing: it is what readers have, or somebody withdrew it."""
    if build_id in withdrawn_builds(home):
        return True
    return build_id is not None and published_build(home) == build_id


def published_build(home: Home) -> str | None:
    """The build that readers have; None where nothing readable is published."""
    publication = read_publication(home.published_file)
    return publication.build_id if publication else None


def withdrawn_builds(home: Home) -> list[str]:
    """The builds that were rolled back from and are not published again by themselves, the last one last."""
    withdrawn = _withdrawn_file(home)
    return withdrawn.read_text(encoding="ascii").split() if withdrawn.exists() else []


def read_publication(path: Path) -> Publication | None:
    """What a published file says of itself; None where there is no file, or none that this version can read."""
    import duckdb

    if not path.exists():
        return None
    columns = ", ".join(field.name for field in fields(Publication))
    try:
        # attached, since connecting would hand out the file of that name that this process may have open already
        with contextlib.closing(duckdb.connect()) as connection:
            connection.execute(f"attach {literal(path)} as published (read_only)")
            [facts] = connection.execute(f"select {columns} from published.main.publication").fetchall()
    except (duckdb.Error, ValueError):
        return None
    return Publication(*facts)


def _keep_in_history(home: Home, build_id: str) -> None:
    """Keep the current publication under a name of its own, unless it is of the build that replaces it."""
    current = read_publication(home.published_file)
    if current is None or current.build_id in (build_id, *withdrawn_builds(home)):
        return
    home.publication_history.mkdir(exist_ok=True)
    kept = home.publication_history / f"{current.published_at:%Y%m%dT%H%M%S}-{current.build_id}.duckdb"
    if kept.exists():
        return
    try:
        # a second name of the same file: the replacement takes the first one away
        os.link(home.published_file, kept)
    except OSError:
        # not every file system has second names
        shutil.copyfile(home.published_file, kept)


def _withdrawn_file(home: Home) -> Path:
    return home.published / ".withdrawn"


def public_marts(manifest_path: Path) -> list[Mart]:
    """The models that dbt's manifest calls public, by name.

    Raises:
        PublishError: there is no manifest, or it names no public model.
    """
    try:
        manifest = json.loads(manifest_path.read_bytes())
    except FileNotFoundError as error:
        raise PublishError(f"{manifest_path}: nothing has been built yet. Run pertask build first.") from error
    except ValueError as error:
        raise PublishError(f"{manifest_path}: not a dbt manifest ({error}). Run pertask build again.") from error
    marts = [
        Mart(
            schema=node["schema"],
            table=node["alias"],
            description=node["description"].strip(),
            columns={name: column["description"].strip() for name, column in node["columns"].items()},
            date_column=node["config"].get("meta", {}).get("date_column"),
        )
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["config"].get("access") == "public"
    ]
    if not marts:
        raise PublishError(f"{manifest_path}: no model has `access: public`, so there is nothing to publish.")
    return sorted(marts, key=lambda mart: mart.name)


def _write(home: Home, marts: list[Mart], scratch: Path) -> Publication:
    """Write marts and facts into a new file, in one transaction."""
    import duckdb

    with contextlib.closing(duckdb.connect(config=duckdb_limits(home.spill))) as connection:
        connection.execute("set autoinstall_known_extensions = false")
        connection.execute(f"attach {literal(home.warehouse_file)} as warehouse (read_only)")
        _check_marts(connection, marts)
        connection.execute(f"attach {literal(scratch)} as published (storage_version {literal(STORAGE_VERSION)})")
        connection.execute("begin")
        for schema in dict.fromkeys(mart.schema for mart in marts):
            connection.execute(f"create schema if not exists published.{quoted_name(schema)}")
        row_count = sum(_copy(connection, mart) for mart in marts)
        publication = Publication(
            published_at=datetime.now(UTC).replace(tzinfo=None),
            **_build_facts(connection, home),
            mart_count=len(marts),
            row_count=row_count,
        )
        connection.execute(_PUBLICATION_TABLE, publication.__dict__)
        _describe(connection, "published.main.publication", _PUBLICATION_DESCRIPTION, _PUBLICATION_COLUMNS)
        connection.execute("commit")
        connection.execute("detach published")
        return publication


def _check_marts(connection: duckdb.DuckDBPyConnection, marts: list[Mart]) -> None:
    rows = connection.execute(
        "select table_schema, table_name from information_schema.tables where table_catalog = 'warehouse'"
    ).fetchall()
    there = set(rows)
    missing = [mart.name for mart in marts if (mart.schema, mart.table) not in there]
    if missing:
        raise PublishError(
            f"the warehouse lacks {', '.join(missing)}: the last build did not get that far, or the models changed "
            "since. Run pertask build; the last publication stays."
        )


def _copy(connection: duckdb.DuckDBPyConnection, mart: Mart) -> int:
    """Copy one mart with its descriptions; returns its number of rows.

    Rows are ordered by date and then by every other column: the same marts give the same file order, and a reader of
    a few dates reads little of the file.
    """
    source = f"warehouse.{quoted_name(mart.schema)}.{quoted_name(mart.table)}"
    target = f"published.{quoted_name(mart.schema)}.{quoted_name(mart.table)}"
    columns = [row[0] for row in connection.execute(f"describe {source}").fetchall()]
    columns.sort(key=lambda column: column != mart.date_column)
    order = ", ".join(f"{quoted_name(column)} nulls last" for column in columns)
    [(row_count,)] = connection.execute(f"create table {target} as select * from {source} order by {order}").fetchall()
    _describe(connection, target, mart.description, mart.columns)
    return row_count


def _describe(connection: duckdb.DuckDBPyConnection, table: str, description: str, columns: dict[str, str]) -> None:
    if description:
        connection.execute(f"comment on table {table} is {literal(description)}")
    for column, text in columns.items():
        if text:
            connection.execute(f"comment on column {table}.{quoted_name(column)} is {literal(text)}")


def _build_facts(connection: duckdb.DuckDBPyConnection, home: Home) -> dict[str, Any]:
    """Which build this is and what it read, as its snapshot says."""
    [(build_id, built_at)] = connection.execute(
        "select build_id, built_at at time zone 'UTC' from read_parquet(?)", [str(home.last_snapshot / "meta.parquet")]
    ).fetchall()
    [(batch_count, newest_delivery_at)] = connection.execute(
        """
        select count(distinct batch_id), max(delivered_at) at time zone 'UTC'
        from read_parquet(?) where change != 'removed'
        """,
        [str(home.last_snapshot / "batches.parquet")],
    ).fetchall()
    return {
        "build_id": build_id,
        "built_at": built_at,
        "batch_count": batch_count,
        "newest_delivery_at": newest_delivery_at,
    }


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Wait for the folder's lock, which the kernel lets go when a process dies.

    Whoever holds it may take every scratch file for a leftover.
    """
    with open(folder / ".lock", "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def literal(value: object) -> str:
    """A SQL string literal of ``value``."""
    return "'" + str(value).replace("'", "''") + "'"


def quoted_name(text: str) -> str:
    """``text`` as an identifier of SQL."""
    return '"' + text.replace('"', '""') + '"'
