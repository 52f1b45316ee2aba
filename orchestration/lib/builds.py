"""One build of the warehouse: what dbt is to read, how it is called, and what makes it count.

``prepare`` freezes what the build reads and says whether everything must be recomputed; dbt then runs with
``arguments``; ``accept`` makes it the build that later changes are told against. A build that is killed in between is
noticed by the next one, which recomputes its dates.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from pertask.home import Home
from pertask.memory import duckdb_memory
from publish.conditions import Check

if TYPE_CHECKING:
    import pyarrow as pa

    from pertask.config import Config

PROJECT = Path(__file__).parents[2]
"""The dbt project: the folder of dbt_project.yml."""

_LOCAL_SPARK = PROJECT / "deploy" / "spark" / "local"
"""Holds the spark-defaults.conf of a session on one machine, where nobody has set up another."""

_CODE = ("models/**/*.sql", "macros/**/*.sql", "dbt_project.yml")
_PARSED = (*_CODE, "models/**/*.yml", "models/**/*.md", "seeds/*", "tests/sql/*.sql", "profiles.yml")
_TESTS_EVERYTHING = " tests everything"
_HASH_FILE = "code_hash"
_VARIABLES_FILE = "variables.json"
_BUILD_FILE = "build.json"
_TESTED_FILE = "tested"
_MANIFEST_END = 16


class BuildError(Exception):
    """A build that cannot be made or used; the message says what to do."""


@dataclass(frozen=True)
class Build:
    """A prepared build.

    Attributes:
        build_id: its name, as the snapshot has it.
        full_refresh: whether every date is recomputed.
        reason: why it is a full refresh, for people; empty when it is not.
        batches_changed: deliveries that came, went or were read another way since the last successful build.
        causes: edited seeds and company files, and requested dates.
        tests_everything: whether every date is tested, not only those that are recomputed.
    """

    build_id: str
    full_refresh: bool
    reason: str
    batches_changed: int
    causes: tuple[str, ...]
    tests_everything: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether anything is to be recomputed: the marts of an unchanged snapshot are the marts there are."""
        return self.full_refresh or self.batches_changed > 0 or bool(self.causes)

    @property
    def description(self) -> str:
        """A line for people: what the build is about to recompute, and why."""
        if self.full_refresh:
            return f"build: everything is recomputed ({self.reason})"
        if not self.is_needed:
            return "build: nothing changed since the last one"
        changed = [f"{self.batches_changed} changed deliveries"] if self.batches_changed else []
        return f"build: {', '.join([*changed, *self.causes])}"


def prepare(
    home: Home,
    *,
    full_refresh: bool = False,
    dates: tuple[date, date] | None = None,
    tests_everything: bool = False,
) -> Build:
    """Write the snapshot that the next dbt run reads.

    Args:
        home: the home to build.
        full_refresh: recompute everything.
        dates: first and last date to recompute besides what changed.
        tests_everything: test every date and not only those that are recomputed.

    Raises:
        LakeError: the lake contradicts its ledger.
        ConfigError: pertask.yml or a company file has errors.
    """
    from ingest.snapshot import write_snapshot
    from orchestration.lib.published import published_tables
    from pertask.company import load_company
    from pertask.config import load_config

    company = load_company(home)
    config = load_config(home, with_mappings=False)
    precedences, variables = config.precedences(), _variables(config)
    home.warehouse.mkdir(parents=True, exist_ok=True)
    _mend(home)
    code_hash = _hash(_CODE)
    reason = _full_refresh_reason(home, code_hash, precedences, variables, full_refresh)
    unfinished = _unfinished_file(home)
    was_unfinished = unfinished.exists()
    # what a build that did not succeed was to test is not tested yet
    tests_everything = tests_everything or (was_unfinished and _TESTS_EVERYTHING in unfinished.read_text("ascii"))
    info = write_snapshot(
        lake_root=home.lake,
        snapshot_dir=home.snapshot,
        last_dir=home.last_snapshot,
        company=company,
        seeds_dir=PROJECT / "seeds",
        full_refresh=bool(reason),
        previous_unfinished=was_unfinished,
        extra_dates=dates,
        tables={"sources": _sources(precedences), **published_tables(home)},
    )
    (home.snapshot / _HASH_FILE).write_text(code_hash, encoding="ascii")
    (home.snapshot / _VARIABLES_FILE).write_text(variables, encoding="ascii")
    causes = (*info.reasons, *(["the last build did not finish"] if was_unfinished and not reason else []))
    build = Build(info.build_id, bool(reason), reason, info.batches_changed, causes, tests_everything)
    if build.is_needed:
        unfinished.write_text(f"{info.build_id}{_TESTS_EVERYTHING if tests_everything else ''}", encoding="ascii")
        # Results of an earlier run must not be taken for this one's.
        _results_file(home).unlink(missing_ok=True)
    (home.snapshot / _BUILD_FILE).write_text(json.dumps(asdict(build)), encoding="utf-8")
    return build


def prepared(home: Home) -> Build:
    """The build that was prepared last.

    Raises:
        BuildError: nothing was prepared yet, or what was noted of it cannot be read.
    """
    path = home.snapshot / _BUILD_FILE
    try:
        build = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError) as error:
        raise BuildError(f"{path}: cannot be read ({error}). Run pertask build.") from error
    return Build(**{**build, "causes": tuple(build["causes"])})


def mark_tested(home: Home) -> None:
    """Note that dbt built and tested what the snapshot holds; the marts are not looked at yet."""
    (home.snapshot / _TESTED_FILE).touch()


def is_tested(home: Home) -> bool:
    """Whether dbt built and tested what the snapshot holds."""
    return (home.snapshot / _TESTED_FILE).exists()


def accept(home: Home) -> None:
    """Remember the build that just succeeded: what changes from here on is told against it.

    A build that is not accepted is unfinished, whatever it was that failed: the next one recomputes and checks its
    dates again, so that what a check found on them cannot be forgotten.

    Where nothing changed, the marts are still those of the build before, and so is their name.
    """
    from ingest.snapshot import accept_snapshot

    if not prepared(home).is_needed:
        return
    accept_snapshot(home.snapshot, home.last_snapshot)
    _unfinished_file(home).unlink(missing_ok=True)


def check_finished(home: Home) -> None:
    """Refuse to publish what no successful build stands behind.

    Raises:
        BuildError: there is no build yet, or the last one did not succeed.
    """
    if not home.last_snapshot.exists():
        raise BuildError(f"{home.warehouse}: nothing has been built yet. Run pertask build first.")
    if _unfinished_file(home).exists():
        raise BuildError(
            f"{home.warehouse}: the last build did not succeed, so its tables may be half done. Run pertask build "
            "again; what was published stays as it is."
        )


def arguments(home: Home, *, full_refresh: bool, tests_everything: bool = False) -> list[str]:
    """What dbt is called with: models, seeds and their tests in order; a failed test holds back what comes after."""
    variables = json.loads((home.snapshot / _VARIABLES_FILE).read_bytes())
    if tests_everything:
        variables["test_everything"] = True
    extra = ["--full-refresh"] if full_refresh else []
    return [
        "build",
        "--target",
        home.engine,
        "--exclude-resource-type",
        "unit_test",
        "--vars",
        json.dumps(variables),
        *extra,
    ]


def check_writable(home: Home) -> None:
    """Refuse to build a warehouse that another process has open: DuckDB has one writer, or readers, of a file.

    Raises:
        BuildError: it is open elsewhere, or the disk refuses.
    """
    import duckdb

    try:
        duckdb.connect(str(home.warehouse_file)).close()
    except duckdb.IOException as error:
        reason = str(error).removeprefix("IO Error: ").splitlines()[0]
        raise BuildError(
            f"{home.warehouse_file}: cannot be opened for writing. {reason} Close it there; who only reads opens "
            f"{home.published_file}. What was published stays as it is."
        ) from error


def recomputed_dates(home: Home) -> list[date]:
    """The UTC days that the last dbt run recomputed, in order."""
    import duckdb

    with duckdb.connect(str(home.warehouse_file), read_only=True) as connection:
        rows = connection.execute(
            "select usage_date from intermediate.int_touched_dates where usage_date is not null order by usage_date"
        ).fetchall()
    return [usage_date for (usage_date,) in rows]


def last_build_id(home: Home) -> str | None:
    """The name of the last successful build; None when there is none."""
    table = _read_last(home, "meta", "build_id")
    return table.column(0)[0].as_py() if table else None


def first_date(home: Home) -> date | None:
    """The first UTC day that the last successful build read rows of; None where there is none."""
    import pyarrow.compute as pc

    table = _read_last(home, "files", "usage_date")
    return pc.min(table.column(0)).as_py() if table else None


def _read_last(home: Home, name: str, column: str) -> pa.Table | None:
    """A column of the last successful build's snapshot; None where there is none, or it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(home.last_snapshot / f"{name}.parquet", columns=[column])
    except (OSError, pa.ArrowInvalid):
        return None


def _mend(home: Home) -> None:
    """Drop what a crash or a power cut left: half-written folders, and a last snapshot that cannot be read.

    Without the latter everything is recomputed. The caller holds the home's lock.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for leftover in (*home.warehouse.glob(".*snapshot-*"), home.spill):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        for path in home.last_snapshot.glob("*.parquet"):
            pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid):
        shutil.rmtree(home.last_snapshot)


def environment(home: Home) -> dict[str, str]:
    """The environment in which dbt runs for a home."""
    return {
        **(_spark_settings(home) if home.engine == "spark" else {}),
        "PERTASK_HOME": str(home.root),
        "PERTASK_SNAPSHOT": str(home.snapshot),
        "DBT_PROJECT_DIR": str(PROJECT),
        "DBT_PROFILES_DIR": str(home.root if has_own_profile(home) else PROJECT),
        "DBT_TARGET_PATH": str(home.target),
        "DBT_LOG_PATH": str(home.logs),
        "PERTASK_BUILD_MEMORY": duckdb_memory(),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }


def has_own_profile(home: Home) -> bool:
    """Whether the home has a profile of its own for Spark; the product's own folder as a home has none."""
    return home.engine == "spark" and home.root != PROJECT and home.own_profiles.exists()


def _spark_settings(home: Home) -> dict[str, str]:
    """Where Spark's settings are: the product's for a session on one machine, unless anybody has set up another."""
    if own := os.environ.get("SPARK_CONF_DIR"):
        return {"SPARK_CONF_DIR": os.path.abspath(own)}
    is_set_up = "PERTASK_SPARK_MASTER" in os.environ or has_own_profile(home)
    return {} if is_set_up else {"SPARK_CONF_DIR": str(_LOCAL_SPARK)}


def manifest(home: Home) -> Path:
    """Path of dbt's manifest for a home, parsed anew when the project's files or the home's variables changed.

    Parsed with the variables of a build, so that the build need not parse again.

    Raises:
        BuildError: the project does not parse; says why.
        ConfigError: pertask.yml has errors.
    """
    from pertask.config import load_config

    path, stamp = home.target / "manifest.json", home.target / "parsed_hash"
    variables = _variables(load_config(home, with_mappings=False))
    parsed_hash = f"{_hash(_PARSED)} {variables}"
    if _is_whole(path) and stamp.exists() and stamp.read_text(encoding="ascii") == parsed_hash:
        return path
    from dbt.cli.main import dbtRunner

    home.target.mkdir(parents=True, exist_ok=True)
    os.environ.update(environment(home))
    result = dbtRunner().invoke(["--quiet", "parse", "--vars", variables])
    if not result.success:
        raise BuildError(f"the dbt project in {PROJECT} does not parse: {result.exception}")
    stamp.write_text(parsed_hash, encoding="ascii")
    return path


def _is_whole(path: Path) -> bool:
    """Whether a manifest is there to its end: dbt writes it anew in each build, and may be killed while it does."""
    if not path.exists() or path.stat().st_size < _MANIFEST_END:
        return False
    with open(path, "rb") as file:
        file.seek(-_MANIFEST_END, os.SEEK_END)
        return file.read().rstrip().endswith(b"}}")


@dataclass(frozen=True)
class Audit:
    """What dbt's own tests said: how many passed, and which failed or warn."""

    passed: int
    failures: tuple[Check, ...]
    warnings: tuple[Check, ...]


def results(home: Home) -> list[dict]:
    """Outcome of each node of the last dbt run; none when dbt did not get as far as running anything."""
    path = _results_file(home)
    return json.loads(path.read_bytes())["results"] if path.exists() else []


def audit(home: Home) -> Audit:
    """What the models and tests of the last dbt run came to."""
    failures, warnings, passed = [], [], 0
    for result in results(home):
        check = Check(result["unique_id"].split(".")[2], (result["message"] or "").strip())
        if result["status"] in ("fail", "error", "runtime error"):
            failures.append(check)
        elif result["status"] == "warn":
            warnings.append(check)
        elif result["status"] == "pass":
            passed += 1
    return Audit(passed, tuple(failures), tuple(warnings))


def _variables(config: Config) -> str:
    return json.dumps(config.allocation.variables())


def _full_refresh_reason(
    home: Home, code_hash: str, precedences: dict[str, int], variables: str, requested: bool
) -> str:
    if requested:
        return "requested"
    if not _warehouse_exists(home):
        return "there is no warehouse yet"
    last = home.last_snapshot / _HASH_FILE
    if not last.exists():
        return "no earlier build succeeded"
    if last.read_text(encoding="ascii") != code_hash:
        return "the models changed"
    last = home.last_snapshot / _VARIABLES_FILE
    if not last.exists() or last.read_text(encoding="ascii") != variables:
        return "the allocation in pertask.yml changed"
    if _has_other_order(home, precedences):
        return "the precedence of sources in pertask.yml changed"
    if _has_lost_files(home):
        return "files that the last build read are gone from the lake"
    return ""


def _warehouse_exists(home: Home) -> bool:
    if home.engine == "spark":
        # in a catalog of the home's own, int_touched_dates looks for the tables
        return home.spark_tables.exists() or has_own_profile(home)
    return home.warehouse_file.exists()


def _sources(precedences: dict[str, int]) -> pa.Table:
    import pyarrow as pa

    from ingest.snapshot import SOURCES

    return pa.Table.from_pylist(
        [{"source": source, "precedence": place} for source, place in precedences.items()], schema=SOURCES
    )


def _has_other_order(home: Home, precedences: dict[str, int]) -> bool:
    """Whether the sources whose calls the last build read go before each other in another order now.

    Only they matter: a call of a source that has none yet cannot be in two.
    """
    import pyarrow.parquet as pq

    path = home.last_snapshot / "sources.parquet"
    if not path.exists():
        return False
    before = {row["source"]: row["precedence"] for row in pq.read_table(path).to_pylist()}
    batches = pq.read_table(home.last_snapshot / "batches.parquet", columns=["source", "contract"]).to_pylist()
    sources = {batch["source"] for batch in batches if batch["contract"] == "llm_calls"}

    def order(places: dict[str, int]) -> list[str]:
        # those that pertask.yml does not name come last, by name, as in the models
        return sorted(sources, key=lambda source: (places.get(source, sys.maxsize), source))

    return order(before) != order(precedences)


def _has_lost_files(home: Home) -> bool:
    """Whether a file of the last build is gone, so that nobody can tell any more which tasks it held."""
    import pyarrow.parquet as pq

    paths = pq.read_table(home.last_snapshot / "files.parquet", columns=["path"]).column("path").to_pylist()
    return any(not (home.lake / path).exists() for path in paths)


def _results_file(home: Home) -> Path:
    return home.target / "run_results.json"


def _unfinished_file(home: Home) -> Path:
    return home.warehouse / "unfinished_build"


def _hash(patterns: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for pattern in patterns:
        for path in sorted(PROJECT.glob(pattern)):
            digest.update(path.relative_to(PROJECT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
