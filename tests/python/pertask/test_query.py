"""Queries on the published file: exact numbers in every format, nulls, and no way to anything else."""

from __future__ import annotations

import csv
import io
import json
import time
from decimal import Decimal
from pathlib import Path

import pytest

from pertask import query as query_module
from pertask.errors import QueryError
from pertask.home import Home
from pertask.query import connect, query
from publish.publication import publish
from tests.python.publish.warehouses import make_warehouse


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = make_warehouse(tmp_path_factory.mktemp("query") / "home")
    publish(home)
    return home


def ask(home: Home, sql: str, output_format: str = "json") -> str:
    out = io.StringIO()
    query(home, sql, output_format, out)
    return out.getvalue()


ROWS = "select call_id, cost_usd, cost_basis from core.fct_call_attempts order by call_id"


def test_json_keeps_every_digit_and_null(home):
    rows = json.loads(ask(home, ROWS), parse_float=Decimal)
    assert [row["cost_usd"] for row in rows] == [
        Decimal("12345678901234567890.123456789012"),
        Decimal("0.000000000001"),
        None,
        None,
    ]
    assert [list(row) for row in rows] == [["call_id", "cost_usd", "cost_basis"]] * 4


def test_json_of_every_kind_of_value(home):
    sql = """
    select
        true as flag, 9007199254740993::hugeint as big, 0.1::double as ratio, 'nan'::double as nothing,
        date '2026-08-19' as day, timestamp '2026-08-19 10:00:00' as at,
        timestamptz '2026-08-19 10:00:00+05:30' as zoned, 'says "ü"\n' as text,
        [1.50::decimal(9, 2), null] as list, {'a': 1.250::decimal(9, 3)} as struct, 0.00::decimal(9, 2) as zero
    """
    [row] = json.loads(ask(home, sql), parse_float=Decimal)
    assert row == {
        "flag": True,
        "big": 9007199254740993,
        "ratio": Decimal("0.1"),
        "nothing": "nan",
        "day": "2026-08-19",
        "at": "2026-08-19T10:00:00",
        "zoned": "2026-08-19T04:30:00+00:00",
        "text": 'says "ü"\n',
        "list": [Decimal("1.50"), None],
        "struct": {"a": Decimal("1.250")},
        "zero": Decimal("0.00"),
    }
    assert str(row["zero"]) == "0.00"


def test_json_without_rows_is_an_empty_list(home):
    assert json.loads(ask(home, f"select * from ({ROWS}) where false")) == []


def test_json_does_not_lose_a_column_to_its_namesake(home):
    with pytest.raises(QueryError, match="two columns are called a"):
        ask(home, "select 1 as a, 2 as a")


def test_csv_keeps_every_digit_and_leaves_null_empty(home):
    sql = f"""
    select *, true as flag, timestamp '2026-08-19 10:00' as at, 'a,"b"' as text from ({ROWS}) where call_id < 'd'
    """
    assert list(csv.reader(io.StringIO(ask(home, sql, "csv")))) == [
        ["call_id", "cost_usd", "cost_basis", "flag", "at", "text"],
        ["a", "12345678901234567890.123456789012", "metered", "true", "2026-08-19T10:00:00", 'a,"b"'],
        ["b", "0.000000000001", "metered", "true", "2026-08-19T10:00:00", 'a,"b"'],
        ["c", "", "unpriced", "true", "2026-08-19T10:00:00", 'a,"b"'],
    ]


def test_csv_tells_null_from_an_empty_text(home):
    sql = "from (values (null, '', 'a\nb'), ('', null, 'say \"x\"'), ('\r', ' ', '=1')) as made (a, \"b,c\", d)"
    text = ask(home, sql, "csv")
    assert text == 'a,"b,c",d\n,"","a\nb"\n"",,"say ""x"""\n"\r", ,=1\n'
    assert ask(home, "select null as x union all select ''", "csv") == 'x\n\n""\n'


def test_a_table_keeps_to_its_lines(home):
    sql = "select 'two\nlines\r\u001b[31m\u2028\t' as \"a\nb\", 'ü 🙂' as c"
    header, _, row, count = ask(home, sql, "table").split("\n")[:4]
    assert header.split() == ["a", "b", "c"]
    assert row.split() == ["two", "lines", "[31m", "ü", "🙂"]
    assert count == "1 row"


def test_a_table_aligns_numbers_to_the_right_and_shows_null(home):
    header, _, *rows, count = ask(home, ROWS, "table").splitlines()
    assert [row.split() for row in rows] == [
        ["a", "12345678901234567890.123456789012", "metered"],
        ["b", "0.000000000001", "metered"],
        ["c", "null", "unpriced"],
        ["d", "null", "duplicate"],
    ]
    assert count == "4 rows"
    end_of_numbers = header.index("cost_usd") + len("cost_usd")
    assert {row[:end_of_numbers].rstrip() for row in rows} == {row[:end_of_numbers] for row in rows}
    assert {row[end_of_numbers : end_of_numbers + 3] for row in rows} == {"   "}
    assert len({row.index(row.split()[2]) for row in rows}) == 1


def test_a_table_says_how_many_rows_it_does_not_show(home, monkeypatch):
    monkeypatch.setattr(query_module, "TABLE_ROWS", 3)
    lines = ask(home, "select i from range(10001) numbers(i)", "table").splitlines()
    assert [line.strip() for line in lines[2:]] == [
        "0",
        "1",
        "2",
        "10,001 rows; 9,998 more are not shown (--format csv has all)",
    ]


@pytest.mark.parametrize("output_format", ["csv", "json"])
def test_rows_are_written_as_they_come(home, output_format):
    out = io.StringIO()
    # One thread: several would be at work on later rows already.
    sql = "set threads = 1; "
    sql += "select case when i = 400000 then error('too far') else i end as i from range(800000) numbers(i)"
    with pytest.raises(QueryError, match="too far"):
        query(home, sql, output_format, out)
    assert len(out.getvalue().splitlines()) > 1000, "nothing was written before the last row was known"


@pytest.mark.parametrize(
    "sql",
    [
        "delete from core.fct_call_attempts",
        "create table core.mine (a int)",
        "copy core.fct_call_attempts to '{folder}/out.csv'",
        "from read_text('{folder}/secret.txt')",
        "attach '{folder}/other.duckdb' as other",
        "install httpfs",
        "set enable_external_access = true",
    ],
)
def test_nothing_but_the_published_file_can_be_reached(home, tmp_path, sql):
    (tmp_path / "secret.txt").write_text("secret")
    before = home.published_file.read_bytes()
    with pytest.raises(QueryError):
        ask(home, sql.format(folder=tmp_path))
    assert home.published_file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"]


def test_times_are_in_utc_whatever_the_machine_says(home, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        [row] = json.loads(ask(home, "select cast(timestamptz '2026-08-19 20:00:00+00' as date) as day"))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert row == {"day": "2026-08-19"}


def test_a_wrong_statement_is_told_in_duckdbs_words(home):
    with pytest.raises(QueryError, match="fct_nope does not exist"):
        ask(home, "from core.fct_nope")
    with pytest.raises(QueryError, match="Conversion Error"):
        ask(home, "select cast(cost_basis as integer) from core.fct_call_attempts")


@pytest.mark.parametrize("sql", ["", " ; ", "-- nothing"])
def test_no_statement(home, sql):
    with pytest.raises(QueryError, match="there is no statement"):
        ask(home, sql)


def test_without_a_publication_it_says_what_to_do(tmp_path):
    with pytest.raises(QueryError, match=r"nothing is published yet.*pertask run"):
        connect(Home(tmp_path))


def test_a_file_that_is_no_database(tmp_path):
    home = Home(tmp_path)
    home.published.mkdir()
    home.published_file.write_bytes(b"not a database" * 1000)
    with pytest.raises(QueryError, match="cannot be opened"):
        connect(home)


def test_a_query_leaves_nothing_beside_the_file(home):
    ask(home, ROWS)
    assert sorted(path.name for path in Path(home.published).iterdir()) == [".lock", "pertask.duckdb"]
