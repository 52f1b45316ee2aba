"""The marts in a real PostgreSQL server: exact, all at once, and with what others put on the tables."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import adbc_driver_postgresql.dbapi as postgres
import duckdb
import pytest
from click.testing import CliRunner, Result

from pertask.cli import cli
from pertask.errors import ConfigError, ExportError, TargetError
from pertask.home import Home
from publish.exports.postgres import export_postgres
from tests.python.publish.postgres_server import PASSWORD, Server, running_server
from tests.python.publish.published_files import TASK_COLUMNS, make_published, rows_of


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as started:
        yield started


@pytest.fixture
def home(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Home:
    server.do("drop schema if exists pertask cascade")
    monkeypatch.setenv("PERTASK_POSTGRES_URL", server.url())
    return make_published(tmp_path / "home")


def change(home: Home, *statements: str) -> None:
    with duckdb.connect(str(home.published_file)) as connection:
        for statement in statements:
            connection.execute(statement)


def command(home: Home, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setenv("PERTASK_HOME", str(home.root))
    return CliRunner().invoke(cli, ["export", "postgres", *arguments])


def test_the_tables_hold_the_published_rows_exactly(server, home):
    done = export_postgres(home)
    assert (done.place, done.mart_count, done.row_count) == ("schema pertask on 127.0.0.1", 3, 20)
    casts = "task_id, task_type, started_date, started_at, attempt_count, tokens::text, cost_usd::text"
    casts += ", success_ratio, is_cut"
    found = server.ask(f"select {casts} from pertask.core__fct_tasks order by task_id")
    expected = rows_of(home, "core.fct_tasks", casts)
    assert found == sorted(expected)
    assert {row[6] for row in found} >= {"-0.000000000001", "12345678901234567890.123456789012", "0.000000000000", None}
    assert server.ask("select * from pertask.quality__findings") == []


def test_types_and_descriptions_come_along(server, home):
    export_postgres(home)
    found = server.ask(
        """
        select attname, format_type(atttypid, atttypmod), coalesce(col_description(attrelid, attnum), '')
        from pg_attribute where attrelid = 'pertask.core__fct_tasks'::regclass and attnum > 0 order by attnum
        """
    )
    kinds = {
        "varchar": "text",
        "timestamp": "timestamp without time zone",
        "double": "double precision",
        "decimal(18, 0)": "numeric(18,0)",
        "decimal(38, 12)": "numeric(38,12)",
    }
    assert found == [(name, kinds.get(kind, kind), text) for name, (kind, text) in TASK_COLUMNS.items()]
    assert server.ask("select obj_description('pertask.core__fct_tasks'::regclass)") == [
        ("One row per task: what it's cost.",)
    ]
    assert server.ask("select mart, table_name, row_count from pertask.marts order by mart") == [
        ("core.dim_teams", "core__dim_teams", 2),
        ("core.fct_tasks", "core__fct_tasks", 18),
        ("quality.findings", "quality__findings", 0),
    ]
    assert server.ask("select published_at::text, build_id from pertask.publication") == [
        ("2026-08-20 02:03:04.5", "20260820T020000-abc123")
    ]


def test_readers_see_all_old_rows_or_all_new_ones(server, home, tmp_path):
    """Two marts of one size: whoever reads while exports run finds both of one publication, and waits for nobody."""
    first, second = make_published(tmp_path / "first", tasks=3_000), make_published(tmp_path / "second", tasks=9_000)
    for published in (first, second):
        change(
            published,
            "create or replace table core.dim_teams as select task_id as team, '' as owner from core.fct_tasks",
        )
    export_postgres(first)
    sizes = {(3_018, 3_018), (9_018, 9_018)}
    seen: set[tuple] = set()
    problems: list[Exception] = []
    is_over = threading.Event()

    def read() -> None:
        try:
            with server.session() as cursor:
                # a reader that would have to wait for the export fails
                cursor.execute("set lock_timeout = '50ms'")
                while not is_over.is_set():
                    cursor.execute(
                        "select (select count(*) from pertask.core__fct_tasks), "
                        "(select count(*) from pertask.core__dim_teams)"
                    )
                    seen.add(cursor.fetchone())
        except Exception as error:
            problems.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for published in (second, first, second, first, second):
        export_postgres(published)
    is_over.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert seen == sizes


def test_a_long_report_keeps_its_publication(server, home):
    export_postgres(home)
    with server.session(autocommit=False) as cursor:
        cursor.execute("set transaction isolation level repeatable read")
        cursor.execute("select count(*) from pertask.core__dim_teams")
        assert cursor.fetchone() == (2,)
        change(home, "delete from core.fct_tasks")
        export_postgres(home)
        cursor.execute("select count(*) from pertask.core__fct_tasks")
        assert cursor.fetchone() == (18,)
    assert server.ask("select count(*) from pertask.core__fct_tasks") == [(0,)]


def test_grants_policies_and_views_stay(server, home):
    export_postgres(home)
    server.do(
        "drop view if exists public.spend",
        "drop role if exists bi",
        f"create role bi login password '{PASSWORD}'",
        "grant usage on schema pertask to bi",
        "grant select on pertask.core__fct_tasks to bi",
        "grant select (team) on pertask.core__dim_teams to bi",
        "alter default privileges in schema pertask grant select on tables to bi",
        "create view public.spend as select sum(cost_usd) as usd from pertask.core__fct_tasks",
        "grant select on public.spend to bi",
    )
    try:
        change(
            home,
            "insert into core.fct_tasks (task_id, cost_usd) values ('new', 5)",
            "create table core.dim_new (x bigint)",
        )
        export_postgres(home)
        assert server.ask("select cost_usd::text from pertask.core__fct_tasks where task_id = 'new'", "bi") == [
            ("5.000000000000",)
        ]
        assert server.ask("select count(team) from pertask.core__dim_teams", "bi") == [(2,)]
        assert server.ask("select usd > 5 from public.spend", "bi") == [(True,)]
        # a mart that is new is readable by the default privileges of the schema
        assert server.ask("select count(*) from pertask.core__dim_new", "bi") == [(0,)]
        with pytest.raises(postgres.Error, match="permission denied"):
            server.ask("select owner from pertask.core__dim_teams", "bi")
        with pytest.raises(postgres.Error, match="permission denied"):
            server.ask("delete from pertask.core__fct_tasks", "bi")
    finally:
        server.do("drop view public.spend", "drop owned by bi", "drop role bi")


def test_a_mart_of_other_columns_changes_in_place(server, home):
    export_postgres(home)
    server.do("drop role if exists bi", "create role bi", "grant select on pertask.core__fct_tasks to bi")
    change(
        home,
        "alter table core.fct_tasks drop column success_ratio",
        "alter table core.fct_tasks alter tokens type varchar",
        "alter table core.fct_tasks add column region varchar",
        "comment on column core.fct_tasks.region is 'where it ran'",
        "update core.fct_tasks set region = 'eu'",
    )
    export_postgres(home)
    columns = "task_id, tokens, region, cost_usd::text"
    assert server.ask(f"select {columns} from pertask.core__fct_tasks order by 1") == sorted(
        rows_of(home, "core.fct_tasks", columns)
    )
    found = server.ask(
        """
        select attname, coalesce(col_description(attrelid, attnum), '') from pg_attribute
        where attrelid = 'pertask.core__fct_tasks'::regclass and attnum > 0 and not attisdropped
        """
    )
    wanted = {name: text for name, (_, text) in TASK_COLUMNS.items() if name != "success_ratio"}
    assert dict(found) == {**wanted, "region": "where it ran"}
    assert server.ask("select has_table_privilege('bi', 'pertask.core__fct_tasks', 'select')") == [(True,)]
    server.do("drop owned by bi", "drop role bi")


def test_a_view_on_a_column_that_goes_stops_the_export_and_is_named(server, home):
    export_postgres(home)
    server.do("create view pertask.shares as select success_ratio from pertask.core__fct_tasks")
    change(home, "alter table core.fct_tasks drop column success_ratio", "delete from core.dim_teams")
    with pytest.raises(
        ExportError, match=r"shares depends on column success_ratio.*Change or drop it first.*stays as it was"
    ):
        export_postgres(home)
    assert server.ask("select count(*) from pertask.core__dim_teams") == [(2,)]


def test_marts_that_are_gone_go_and_tables_of_others_stay(server, home):
    export_postgres(home)
    server.do("create table pertask.notes as select 1 as x")
    export_postgres(home, names=["core.dim_teams"])
    assert server.ask("select tablename from pg_tables where schemaname = 'pertask' order by 1") == [
        ("core__dim_teams",),
        ("marts",),
        ("notes",),
        ("publication",),
    ]


def test_a_table_of_others_is_never_replaced(server, home):
    server.do("create schema pertask", "create table pertask.core__dim_teams as select 'ours' as team")
    with pytest.raises(ExportError, match="has a table core__dim_teams that is not an export of pertask's"):
        export_postgres(home)
    assert server.ask("select * from pertask.core__dim_teams") == [("ours",)]
    server.do("create table pertask.marts as select 'core__dim_teams' as table_name")
    with pytest.raises(ExportError, match="that is not an export"):
        export_postgres(home)


def test_a_column_that_somebody_added_is_not_lost(server, home):
    export_postgres(home)
    server.do(
        "alter table pertask.core__dim_teams add column note text, add column seen boolean default false",
        "update pertask.core__dim_teams set note = 'asked Ann'",
    )
    for names in ([], ["core.fct_tasks"]):
        # the second would drop the whole table
        with pytest.raises(TargetError, match=r"pertask\.core__dim_teams has columns .* pertask's: note, seen\. An"):
            export_postgres(home, names=names)
    assert server.ask("select distinct note from pertask.core__dim_teams") == [("asked Ann",)]
    server.do("alter table pertask.core__dim_teams drop column note, drop column seen")
    assert export_postgres(home).mart_count == 3


def test_a_column_that_the_server_computes_stays_and_is_filled(server, home):
    export_postgres(home)
    server.do("alter table pertask.core__dim_teams add column shout text generated always as (upper(team)) stored")
    change(home, "insert into core.dim_teams values ('new', null)", "alter table core.dim_teams add column size int")
    export_postgres(home)
    assert server.ask("select shout from pertask.core__dim_teams order by 1") == [("FRAUD",), ("NEW",), ("SUPPORT",)]


def test_a_schema_whose_list_names_no_columns_is_still_ours(server, home):
    export_postgres(home)
    server.do("alter table pertask.marts drop column column_names")
    export_postgres(home)
    assert server.ask("select column_names from pertask.marts where mart = 'core.dim_teams'") == [
        ('["team", "owner"]',)
    ]


@pytest.mark.parametrize("comment", ["'Ours, ask Ann'", "null"])
def test_a_comment_on_the_list_may_change(server, home, comment):
    export_postgres(home)
    server.do(f"comment on table pertask.marts is {comment}")
    change(home, "delete from core.dim_teams")
    export_postgres(home)
    assert server.ask("select count(*) from pertask.core__dim_teams") == [(0,)]


@pytest.mark.parametrize("schema", ["x" * 64, "é" * 32, ""])
def test_a_schema_name_that_postgresql_would_cut_is_refused(home, monkeypatch, schema):
    monkeypatch.setenv("PERTASK_POSTGRES_URL", "postgresql://boss:canary@127.0.0.1:1/postgres")
    done = command(home, monkeypatch, "--schema", schema)
    assert done.exit_code == 2
    assert f"has {len(schema.encode())} bytes, and a name in PostgreSQL has 1 to 63" in done.output


def test_a_schema_name_of_63_bytes_is_one(server, home):
    name = "x" * 61 + "é"
    export_postgres(home, schema=name)
    assert server.ask(f'select count(*) from "{name}".marts') == [(3,)]
    server.do(f'drop schema "{name}" cascade')


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("date", "5874898-01-01"),
        *itertools.product(("date", "timestamp", "timestamptz"), ("infinity", "-infinity", "5000-01-01 (BC)")),
    ],
)
def test_a_day_that_postgresql_cannot_hold_is_told_with_its_column(server, home, kind, value):
    export_postgres(home)
    change(
        home,
        "delete from core.dim_teams",
        f"create table quality.odd as select 1 as x, {kind} '2026-01-01' as fine, {kind} '{value}' as \"odd day\"",
    )
    with pytest.raises(ExportError, match=r"quality\.odd\.odd day: 1 rows have an infinite date.*stays as it was"):
        export_postgres(home)
    assert server.ask("select count(*) from pertask.core__dim_teams") == [(2,)]


def test_the_first_day_of_postgresql_loads(server, home):
    change(home, "create table quality.old as select date '4713-01-01 (BC)' as day, timestamp '4713-01-01 (BC)' as at")
    export_postgres(home)
    assert server.ask("select day::text, at::text from pertask.quality__old") == [
        ("4713-01-01 BC", "4713-01-01 00:00:00 BC")
    ]


def test_a_failure_in_the_middle_leaves_the_old_rows(server, home):
    export_postgres(home)
    change(home, "delete from core.dim_teams", "create table quality.sizes as select [1, 2] as list")
    with pytest.raises(ExportError, match=r"quality\.sizes\.list: PostgreSQL has no type here for INTEGER\[\]"):
        export_postgres(home)
    change(home, "drop table quality.sizes")
    server.do("alter table pertask.quality__findings add constraint none check (dollars is null)")
    change(home, "insert into quality.findings values ('2026-08-19', 1)")
    with pytest.raises(ExportError, match="stays as it was"):
        export_postgres(home)
    assert server.ask("select count(*) from pertask.core__dim_teams") == [(2,)]


def test_texts_with_a_zero_character_and_whole_numbers_of_any_size_load(server, home):
    change(home, f"create table quality.odd as select 'a' || chr(0) || 'b' as text, {10**30}::hugeint as large")
    export_postgres(home)
    assert server.ask("select text, large::text from pertask.quality__odd") == [
        ("a\N{REPLACEMENT CHARACTER}b", str(10**30))
    ]


def test_another_schema_is_apart(server, home):
    server.do('drop schema if exists "Fin Ops" cascade')
    export_postgres(home, schema="Fin Ops")
    assert server.ask('select count(*) from "Fin Ops".core__fct_tasks') == [(18,)]
    assert server.ask("select count(*) from pg_namespace where nspname = 'pertask'") == [(0,)]
    server.do('drop schema "Fin Ops" cascade')


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        (
            "postgresql://boss:canary@127.0.0.1:{port}/postgres",
            1,
            "the user or the password in PERTASK_POSTGRES_URL is",
        ),
        ("postgresql://canary:canary@127.0.0.1:{port}/postgres", 1, "the user or the password in PERTASK_POSTGRES_URL"),
        ("postgresql://boss:canary@127.0.0.1:1/postgres", 1, "nothing answers at this port"),
        ("postgresql://boss:canary@nowhere.invalid/postgres", 1, "there is no host of this name"),
        ("postgresql://boss:{password}@127.0.0.1:{port}/canary", 1, "there is no such database or user"),
        ("postgresql://boss:{password}@127.0.0.1:{port}/postgres?sslmode=require", 1, "does not encrypt connections"),
        ("postgresql://boss:can%zzary@127.0.0.1:{port}/postgres", 1, "the connection failed"),
        ("postgresql://boss:canary@canary@127.0.0.1:{port}/postgres", 2, "cannot be read"),
        ("postgresql://boss:1/canary@127.0.0.1:{port}/postgres", 2, "cannot be read"),
        ("postgresql://boss:canary#canary@127.0.0.1:{port}/postgres", 2, "cannot be read"),
        ("postgresql://boss:1?canary@127.0.0.1:{port}/postgres", 2, "cannot be read"),
        ("mysql://boss:canary@127.0.0.1/postgres", 2, "cannot be read"),
        ("canary", 2, "cannot be read"),
        ("", 2, "PERTASK_POSTGRES_URL is not set"),
    ],
)
def test_what_is_wrong_with_the_connection_is_said_without_the_password(server, home, monkeypatch, url, code, said):
    url = url.replace("{port}", str(server.port)).replace("{password}", server.url().split(":")[2].split("@")[0])
    monkeypatch.setenv("PERTASK_POSTGRES_URL", url)
    done = command(home, monkeypatch)
    assert (done.exit_code, type(done.exception)) == (code, SystemExit), done.output
    assert said in done.output
    assert "canary" not in done.output.replace(PASSWORD, "canary")


def test_a_role_without_the_right_is_told_what_to_grant(server, home, monkeypatch):
    server.do("drop role if exists poor", f"create role poor login password '{PASSWORD}'")
    monkeypatch.setenv("PERTASK_POSTGRES_URL", server.url("poor"))
    done = command(home, monkeypatch)
    assert done.exit_code == 1
    assert "permission denied for database postgres" in done.output
    assert "Grant the user CREATE on the database" in done.output
    assert "canary" not in done.output
    # a schema that the role owns is enough
    server.do("create schema pertask authorization poor")
    assert command(home, monkeypatch).exit_code == 0
    server.do("drop schema pertask cascade", "drop role poor")


def test_the_password_is_nowhere(server, home, monkeypatch, caplog):
    done = command(home, monkeypatch)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == "wrote schema pertask on 127.0.0.1: 3 marts, 20 rows"
    assert "canary" not in done.output + caplog.text
    assert [path for path in home.root.rglob("*") if path.is_file() and b"canary" in path.read_bytes()] == []
    tables = server.ask("select tablename from pg_tables where schemaname = 'pertask'")
    assert "canary" not in str([server.ask(f"select * from pertask.{name}") for (name,) in tables])


def test_without_the_variable_nothing_is_tried(home, monkeypatch):
    monkeypatch.delenv("PERTASK_POSTGRES_URL")
    with pytest.raises(ConfigError, match="postgresql://USER:PASSWORD@HOST:5432/DATABASE"):
        export_postgres(home)
