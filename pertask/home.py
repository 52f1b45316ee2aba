"""Where things are: the folder of one company's configuration, deliveries, lake, warehouse and publications."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The paths of one home, all absolute; nothing is created or read.

    Attributes:
        root: its folder.
        engine: what builds the marts, duckdb or spark. Each has its own folder for all that a build writes, as what
            changed since the last build is another thing for each.
    """

    root: Path
    engine: str = "duckdb"

    @classmethod
    def current(cls) -> Home:
        """The home that PERTASK_HOME names; without it, the current folder."""
        return cls(Path(os.environ.get("PERTASK_HOME") or ".").absolute())

    def on(self, engine: str) -> Home:
        """The same home, built by another engine."""
        return replace(self, engine=engine)

    @property
    def config_file(self) -> Path:
        """pertask.yml: sources, limits."""
        return self.root / "pertask.yml"

    @property
    def company(self) -> Path:
        """The company's own files: teams, task types, aliases, owners."""
        return self.root / "company"

    @property
    def landing(self) -> Path:
        """Where vendors' files arrive, unless pertask.yml says otherwise."""
        return self.root / "landing"

    @property
    def buckets(self) -> Path:
        """Mirrors of the sources in buckets; a source whose path is landing/ passes over it."""
        return self.landing / "_buckets"

    @property
    def lake(self) -> Path:
        """Canonical Parquet and its ledger."""
        return self.root / "lake"

    @property
    def warehouse(self) -> Path:
        """Everything that a build writes."""
        return self.root / "warehouse" if self.engine == "duckdb" else self.root / "warehouse" / self.engine

    @property
    def warehouse_file(self) -> Path:
        """The DuckDB file that dbt builds; readers get the published one."""
        return self.warehouse / "pertask.duckdb"

    @property
    def spark_tables(self) -> Path:
        """The tables that dbt builds on Spark, unless a profile of the home's own says otherwise."""
        return self.root / "warehouse" / "spark" / "tables"

    @property
    def own_profiles(self) -> Path:
        """A dbt profile of the home's own for Spark: where its cluster is, and its catalog."""
        return self.root / "profiles.yml"

    @property
    def snapshot(self) -> Path:
        """What the current build reads."""
        return self.warehouse / "snapshot"

    @property
    def last_snapshot(self) -> Path:
        """What the last successful build read."""
        return self.warehouse / "last_snapshot"

    @property
    def target(self) -> Path:
        """What dbt leaves: its manifest, run results and compiled SQL."""
        return self.warehouse / "target"

    @property
    def logs(self) -> Path:
        """Logs of dbt and of the last run."""
        return self.warehouse / "logs"

    @property
    def data_docs(self) -> Path:
        """What the checks of deliveries and marts found last, to open in a browser."""
        return self.warehouse / "data_docs"

    @property
    def spill(self) -> Path:
        """Where DuckDB puts what does not fit into memory; worthless between runs."""
        return self.warehouse / "tmp"

    @property
    def dagster(self) -> Path:
        """Dagster's own folder: its settings and the history of runs."""
        return self.warehouse / "dagster"

    @property
    def last_run_file(self) -> Path:
        """What became of the last run of the graph."""
        return self.warehouse / "last_run.json"

    @property
    def told_alerts(self) -> Path:
        """The alerts that were sent and whose conditions are not over."""
        return self.warehouse / "alerts.json"

    @property
    def published(self) -> Path:
        """What readers open."""
        return self.root / "published"

    @property
    def published_file(self) -> Path:
        """The published marts, replaced whole by each publication."""
        return self.published / "pertask.duckdb"

    @property
    def publication_history(self) -> Path:
        """Earlier publications, to go back to."""
        return self.published / "history"

    @property
    def exports(self) -> Path:
        """The published marts in the formats of other tools."""
        return self.published / "exports"
