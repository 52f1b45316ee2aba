"""A PostgreSQL server of the test's own: a data directory under the temporary folder, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import adbc_driver_postgresql.dbapi as postgres
import pytest

PASSWORD = "canary/pass word@1"


@dataclass(frozen=True)
class Server:
    """A running server, with its superuser ``boss`` whose password is PASSWORD."""

    port: int

    def url(self, user: str = "boss", password: str = PASSWORD, database: str = "postgres") -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    @contextlib.contextmanager
    def session(self, user: str = "boss", *, autocommit: bool = True) -> Iterator[Any]:
        """A cursor of a connection."""
        connection = postgres.connect(self.url(user), autocommit=autocommit)
        with contextlib.closing(connection), contextlib.closing(connection.cursor()) as cursor:
            yield cursor

    def ask(self, sql: str, user: str = "boss") -> list[tuple]:
        """The rows that a query gives."""
        with self.session(user) as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    def do(self, *statements: str) -> None:
        """Run statements as the superuser, each its own transaction."""
        with self.session() as cursor:
            for statement in statements:
                cursor.execute(statement)


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """Start a server; skips the test where PostgreSQL is not installed."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="pertask-pg-"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        # PostgreSQL does not run as root.
        as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        shutil.chown(folder, "nobody", "nogroup")
    data, password = folder / "data", folder / "password"
    password.write_text(PASSWORD, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A fixed locale: errors in English whatever the machine speaks.
    environment = {**os.environ, "LC_ALL": "C"}

    def call(program: str, *arguments: str) -> None:
        command = [*as_user, str(programs / program), *arguments]
        done = subprocess.run(command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, f"{program}: {done.stdout.decode()[-2000:]}"

    try:
        call("initdb", "-D", str(data), "-U", "boss", f"--pwfile={password}", "-A", "scram-sha-256", "-E", "UTF8")
        settings = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        call("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", settings, "start")
        try:
            yield Server(port)
        finally:
            call("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("pg_ctl")
    if not found and not on_path:
        pytest.skip("PostgreSQL is not installed: no pg_ctl under /usr/lib/postgresql/*/bin or on the PATH")
    return found[-1].parent if found else Path(on_path).resolve().parent
