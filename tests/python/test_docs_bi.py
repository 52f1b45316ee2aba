"""docs/bi.md: the marts and columns in it exist, its formulas give the marts' own figures, its SQL runs."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from pertask.cli import cli
from pertask.home import Home
from publish.exports.marts import open_marts
from publish.exports.postgres import export_postgres
from publish.publication import publish
from tests.python.building import build, ingest_sources
from tests.python.homes import SmallHome
from tests.python.publish.postgres_server import running_server

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "bi.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", PAGE)
FORMULAS = re.findall(r"^\| `(\w+\.\w+)` \| `(\w+)` \| `([^`]+)` \|$", PAGE, re.MULTILINE)
SCHEMAS = ("core", "unit_economics", "capacity", "quality")
[ROLES] = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    small = SmallHome(tmp_path_factory.mktemp("bi") / "small")
    small.deliver_all()
    made = Home(small.folder)
    ingest_sources(made)
    build(made, is_tested=False)
    publish(made)
    return made


@pytest.fixture(scope="module")
def columns(home: Home) -> dict[str, set[str]]:
    with open_marts(home) as published:
        return {mart.name: {column.name for column in mart.columns} for mart in published.marts}


def test_every_mart_and_column_of_the_page_exists(columns):
    marts = {name for name in CODE if re.fullmatch(rf"({'|'.join(SCHEMAS)})\.\w+", name)}
    assert len(marts) >= 8
    assert marts <= set(columns)
    anywhere = set.union(*columns.values())
    words = {name for name in CODE if re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", name) and name not in SCHEMAS}
    assert len(words) >= 15
    assert words <= anywhere


def test_the_tables_of_the_server_are_named_as_the_export_names_them(columns):
    named = set(re.findall(r"`pertask\.(\w+__\w+)`", PAGE))
    assert named
    assert named <= {name.replace(".", "__") for name in columns}


def test_every_ratio_is_the_sum_over_the_sum_that_the_page_says(home):
    assert len(FORMULAS) >= 10
    with duckdb.connect(str(home.published_file), read_only=True) as connection:
        for mart, figure, formula in FORMULAS:
            # A row is the smallest group.
            rows = connection.execute(
                f"select {figure}::double, ({formula})::double from {mart} "
                f"where {figure} is not null group by rowid, {figure}"
            ).fetchall()
            assert rows, figure
            for found, computed in rows:
                assert found == pytest.approx(computed, rel=1e-9), (mart, figure)


def test_every_command_of_the_page_is_there():
    commands = set(re.findall(r"pertask export (\w+)", PAGE))
    assert commands == {"parquet", "csv", "xlsx", "postgres", "hyper", "focus"}
    for command in commands:
        assert CliRunner().invoke(cli, ["export", command, "--help"]).exit_code == 0


def test_the_roles_of_the_page_load_and_read_and_no_more(home, monkeypatch):
    passwords = dict(re.findall(r"create role (\w+) login password '([^']+)'", ROLES))
    assert passwords.keys() == {"loader", "bi"}
    with running_server() as server:
        server.do(*(statement for statement in ROLES.split(";") if statement.strip()))
        monkeypatch.setenv("PERTASK_POSTGRES_URL", server.url("loader", passwords["loader"]))
        export_postgres(home, names=["core.dim_teams"])
        export_postgres(home)
        for table in ("core__dim_teams", "core__fct_tasks", "publication"):
            rights = f"has_table_privilege('bi', 'pertask.{table}', '{{}}')"
            asked = ", ".join(rights.format(right) for right in ("select", "insert", "update", "delete", "truncate"))
            assert server.ask(f"select {asked}") == [(True, False, False, False, False)]
        assert server.ask("select has_schema_privilege('bi', 'pertask', 'create')") == [(False,)]
