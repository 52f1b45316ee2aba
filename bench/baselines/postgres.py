"""The four marts in PostgreSQL: a server of its own in a scratch folder, its tables loaded by COPY, ``postgres.sql``.

The log is loaded into the table that LiteLLM keeps itself; DuckDB only writes its lines as CSV, as COPY reads no JSON.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.baselines.compare import MARTS
from bench.baselines.facts import PRICES

if TYPE_CHECKING:
    import psycopg

SCRIPT = Path(__file__).with_suffix(".sql")
SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "4GB",
    "work_mem": "512MB",
    "maintenance_work_mem": "1GB",
    "effective_cache_size": "12GB",
    "max_parallel_workers_per_gather": "2",
    "max_wal_size": "16GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "autovacuum": "off",
    # nothing has to survive
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "timezone": "UTC",
}
LOADERS = 2
START_SECONDS = 60
CHUNK = 1 << 20

_TABLES = """
create unlogged table "LiteLLM_SpendLogs" (
    request_id text primary key,
    call_type text,
    api_key text not null default '',
    spend double precision not null default 0,
    total_tokens integer not null default 0,
    prompt_tokens integer not null default 0,
    completion_tokens integer not null default 0,
    "startTime" timestamp(3) not null,
    "endTime" timestamp(3) not null,
    "completionStartTime" timestamp(3),
    model text not null default '',
    model_id text default '',
    model_group text default '',
    custom_llm_provider text default '',
    api_base text default '',
    "user" text default '',
    metadata jsonb default '{}',
    cache_hit text default '',
    cache_key text default '',
    request_tags jsonb default '[]',
    team_id text,
    end_user text,
    requester_ip_address text,
    messages jsonb default '{}',
    response jsonb default '{}',
    session_id text,
    status text
);
create unlogged table outcomes (task_id text, outcome text);
create unlogged table gpu_samples (
    gpu text, host text, sampled_at timestamp, interval integer, gr_engine_active double precision,
    sm_active double precision, dram_active double precision, fb_used_bytes bigint, power_watts double precision,
    pod text
);
"""
_LOGGED = (
    "request_id",
    "call_type",
    "spend",
    "prompt_tokens",
    "completion_tokens",
    "startTime",
    "endTime",
    "completionStartTime",
    "model",
    "custom_llm_provider",
    "team_id",
    "metadata",
    "status",
)
"""What the log has of the table."""


def whole_path(home: Path, out: Path) -> None:
    """The marts of the landing files of a home, as Parquet files in ``out``.

    Raises:
        RuntimeError: PostgreSQL's server is not installed, or did not start; with what it said.
    """
    import psycopg
    import pyarrow as pa
    import pyarrow.parquet as pq

    out.mkdir(parents=True, exist_ok=True)
    prices = ", ".join(
        f"('{model}', {', '.join(f'cast({price / 1e6} as double precision)' for price in prices)})"
        for model, prices in PRICES.items()
    )
    with _server() as folder, psycopg.connect(_address(folder), autocommit=True) as connection:
        connection.execute(_TABLES)
        _load(connection, home / "landing", folder)
        connection.execute(SCRIPT.read_text(encoding="utf-8").replace("{prices}", prices))
        for mart in MARTS:
            cursor = connection.execute(f"select * from {mart}")
            names = [column.name for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
            pq.write_table(pa.Table.from_pylist(rows), out / f"{mart}.parquet")


def _address(folder: Path) -> str:
    return f"host={folder} user=postgres dbname=postgres"


@contextmanager
def _server() -> Iterator[Path]:
    """Run a server; yields the folder of its socket, which goes away with all of its data."""
    import psycopg

    programs = _programs()
    # the server refuses to run as root
    owner = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="pertask-postgres-"))
    try:
        if owner:
            shutil.chown(folder, "postgres", "postgres")
        data, log = folder / "data", folder / "log"
        initialise = [programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync"]
        subprocess.run(
            [*initialise, "--locale=C", "--encoding=UTF8"], check=True, capture_output=True, cwd=folder, **owner
        )
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with log.open("wb") as said:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", folder, *settings],
                stdout=said,
                stderr=said,
                cwd=folder,
                **owner,
            )
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    psycopg.connect(_address(folder)).close()
                    break
                except psycopg.OperationalError:
                    if server.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}") from None
                    time.sleep(0.1)
            yield folder
        finally:
            # a fast shutdown
            server.send_signal(signal.SIGINT)
            server.wait()
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    """The folder of PostgreSQL's server programs, of the newest version that is installed."""
    found = [Path(path).parent for path in [shutil.which("initdb")] if path]
    found += sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda path: int(path.parent.name),
        reverse=True,
    )
    if not found:
        raise RuntimeError("PostgreSQL's server is not installed; install it, or leave this baseline out")
    return found[0]


def _load(connection: psycopg.Connection, landing: Path, folder: Path) -> None:
    for table, pattern in (("bill", "bill/*/*.csv"), ("links", "links/*.csv"), ("replica_windows", "windows/*.csv")):
        for number, path in enumerate(sorted(landing.glob(pattern))):
            if number == 0:
                with path.open(encoding="utf-8") as file:
                    columns = ", ".join(f'"{name}" text' for name in file.readline().strip().split(","))
                connection.execute(f"create unlogged table {table} ({columns})")
            _copy(connection, path, table)
    for path in sorted(landing.glob("telemetry/*.csv")):
        _copy(connection, path, "gpu_samples")
    logs = [(path, '"LiteLLM_SpendLogs"', _LOGGED) for path in sorted(landing.glob("gateway/*.jsonl"))]
    outcomes = [(path, "outcomes", ("task_id", "outcome")) for path in sorted(landing.glob("outcomes/*.jsonl"))]
    with ThreadPoolExecutor(LOADERS) as pool:
        for done in [pool.submit(_load_lines, folder, *work) for work in (*logs, *outcomes)]:
            done.result()


def _load_lines(folder: Path, path: Path, table: str, columns: tuple[str, ...]) -> None:
    """Load a file of JSON lines, by a CSV file beside the server."""
    import duckdb
    import psycopg

    table_file = folder / f"{path.parent.name}-{path.stem}.csv"
    names = ", ".join(f'"{column}"' for column in columns)
    types = ", ".join(f"\"{column}\": '{'json' if column == 'metadata' else 'varchar'}'" for column in columns)
    with duckdb.connect(config={"threads": 1}) as reader:
        reader.execute(
            f"copy (select {names} from read_json('{path}', format = 'newline_delimited', columns = {{{types}}})) "
            f"to '{table_file}' (format csv)"
        )
    with psycopg.connect(_address(folder), autocommit=True) as connection:
        _copy(connection, table_file, f"{table} ({names})")
    table_file.unlink()


def _copy(connection: psycopg.Connection, path: Path, target: str) -> None:
    """Send a CSV file, which has a header, to a table."""
    with (
        path.open("rb") as file,
        connection.cursor().copy(f"copy {target} from stdin (format csv, header)") as copy,
    ):
        while chunk := file.read(CHUNK):
            copy.write(chunk)
