"""The macros whose bodies differ by engine: each gives the same answer on DuckDB and on Spark, worked out by hand.

``replace_dates`` needs builds around it: test_spark_parity.py compares what it leaves, and test_random_orders.py what
builds in slices of dates do. Two macros of money stand here too, since their rounding is where engines differ.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pertask.home import Home
from tests.python.engines import answer, require_spark

START, END = "timestamp '2026-08-01 10:30:00'", "timestamp '2026-08-01 12:00:00'"


class Case(NamedTuple):
    """A query with one column, ``answer``, and its rows as texts, in any order."""

    macro: str
    query: str
    rows: tuple[str | None, ...]


def value(macro: str, expression: str, expected: str | None) -> Case:
    """A macro that gives a value."""
    return Case(macro, f"select {expression} as answer", (expected,))


def money(macro: str, expression: str, expected: str | None) -> Case:
    """A macro that gives money, in units of 1e-12: engines write small decimals in their own ways."""
    return value(macro, f"cast({expression} * 1000000000000 as decimal(38, 0))", expected)


CASES = (
    value("add_microseconds", f"{{{{ add_microseconds({START!r}, '1500000') }}}}", "2026-08-01 10:30:01.5"),
    value("add_microseconds", f"{{{{ add_microseconds({START!r}, '-1') }}}}", "2026-08-01 10:29:59.999999"),
    value("add_microseconds", f"{{{{ add_microseconds({START!r}, 'cast(null as bigint)') }}}}", None),
    value("days_between", "{{ days_between(\"date '2026-02-27'\", \"date '2026-03-01'\") }}", "2"),
    value("days_between", "{{ days_between(\"date '2026-03-01'\", \"date '2026-02-27'\") }}", "-2"),
    Case(
        "day_spine",
        "select date_day as answer from {{ day_spine(\"date '2026-02-27'\", \"date '2026-03-01'\") }} as days",
        ("2026-02-27", "2026-02-28", "2026-03-01"),
    ),
    Case(
        "day_spine",
        "select date_day as answer from {{ day_spine(\"date '2026-03-01'\", \"date '2026-02-27'\") }} as days",
        (),
    ),
    Case(
        "explode_hours",
        f"select {{{{ explode_hours({START!r}, {END!r}) }}}} as answer",
        ("2026-08-01 10:00:00", "2026-08-01 11:00:00"),
    ),
    Case(
        "explode_hours",
        f"select {{{{ explode_hours({END!r}, \"timestamp '2026-08-01 12:00:00.000001'\") }}}} as answer",
        ("2026-08-01 12:00:00",),
    ),
    Case("explode_hours", f"select {{{{ explode_hours({END!r}, {END!r}) }}}} as answer", ()),
    Case("explode_hours", f"select {{{{ explode_hours({END!r}, {START!r}) }}}} as answer", ()),
    Case("explode_hours", f"select {{{{ explode_hours({START!r}, 'cast(null as timestamp)') }}}} as answer", ()),
    Case("explode_numbers", "select {{ explode_numbers('1', '3') }} as answer", ("1", "2", "3")),
    Case("explode_numbers", "select {{ explode_numbers('2', '1') }} as answer", ()),
    Case("explode_numbers", "select {{ explode_numbers('1', 'cast(null as bigint)') }} as answer", ()),
    # where no slice is, nothing is left out
    Case(
        "in_date_slice",
        "select date_day as answer from {{ day_spine(\"date '2026-02-28'\", \"date '2026-03-01'\") }} as days"
        " where {{ in_date_slice('date_day') }} and {{ in_date_slice('date_day', 1) }}",
        ("2026-02-28", "2026-03-01"),
    ),
    Case(
        "first_known",
        "select {{ first_known('tokens') }} over (order by place) as answer from "
        "(select 1 as place, cast(null as bigint) as tokens union all select 2, 7 union all select 3, 8) as calls",
        (None, "7", "7"),
    ),
    Case(
        "last_known",
        "select {{ last_known('tokens') }} over (order by place) as answer from "
        "(select 1 as place, 7 as tokens union all select 2, cast(null as bigint) union all select 3, 8) as calls",
        ("7", "7", "8"),
    ),
    value("first_match", "{{ first_match(\"'https://ip-10:8000/v1'\", \"'^https?://([^/:]+)'\") }}", "ip-10"),
    value("first_match", "{{ first_match(\"'nothing'\", \"'^https?://([^/:]+)'\") }}", ""),
    value("first_match", "{{ first_match(\"'a1b22'\", \"'([0-9]+)'\") }}", "1"),
    value("first_match", "{{ first_match('cast(null as string)', \"'(a)'\") }}", None),
    value("integer_divide", "{{ integer_divide('7', '2') }}", "3"),
    value("integer_divide", "{{ integer_divide('6', '2') }}", "3"),
    value("integer_divide", "{{ integer_divide('1', '3') }}", "0"),
    value("integer_divide", "{{ integer_divide('7', '0') }}", None),
    value("integer_divide", "{{ integer_divide('cast(null as bigint)', '2') }}", None),
    value(
        # one less than three times the quotient: rounding after 18 places would answer one too many
        "integer_divide",
        "{{ integer_divide('29999999999999999999', '3') }}",
        "9999999999999999999",
    ),
    value(
        "integer_divide",
        "{{ integer_divide(whole_number('99999999999999999999999999999999999999'), '1000000000000000000000') }}",
        "99999999999999999",
    ),
    Case(
        "join_texts",
        "select {{ join_texts('pool', \"' + '\") }} as answer from "
        "(select 'b' as pool union all select null union all select 'a') as pools",
        ("a + b",),
    ),
    Case(
        "join_texts",
        "select {{ join_texts('pool', \"','\") }} as answer from (select cast(null as string) as pool) as pools",
        (None,),
    ),
    value("json_value", '{{ json_value("\'{\\"team\\": \\"a.b\\"}\'", "\'team\'") }}', "a.b"),
    value(
        "json_value",
        '{{ json_value("\'{\\"app.kubernetes.io/name\\": \\"x\\"}\'", "\'app.kubernetes.io/name\'") }}',
        "x",
    ),
    value("json_value", '{{ json_value("\'{\\"team\\": 7}\'", "\'team\'") }}', "7"),
    value("json_value", '{{ json_value("\'{\\"team\\": null}\'", "\'team\'") }}', None),
    value("json_value", "{{ json_value(\"'{}'\", \"'team'\") }}", None),
    value("json_value", "{{ json_value(\"'no json'\", \"'team'\") }}", None),
    value("matches_pattern", "{{ matches_pattern(\"'gpt-4o-latest'\", \"'-latest$'\") }}", "true"),
    value("matches_pattern", "{{ matches_pattern(\"'gpt-4o'\", \"'-latest$'\") }}", "false"),
    value("matches_pattern", "{{ matches_pattern('cast(null as string)', \"'-latest$'\") }}", None),
    value("microseconds_between", f"{{{{ microseconds_between({START!r}, {END!r}) }}}}", "5400000000"),
    value("microseconds_between", f"{{{{ microseconds_between({END!r}, {START!r}) }}}}", "-5400000000"),
    value("replace_matches", "{{ replace_matches(\"'a-b-c'\", \"'-'\", \"'.'\") }}", "a.b.c"),
    value("replace_matches", "{{ replace_matches(\"'gpt-4o-2026-01-01'\", \"'-20[0-9-]+$'\", \"''\") }}", "gpt-4o"),
    value("replace_matches", "{{ replace_matches(\"'gpt-4o'\", \"'-latest$'\", \"''\") }}", "gpt-4o"),
    Case(
        "read_files",
        "select count(*) as answer from {{ read_files(['FOLDER/a.parquet', 'FOLDER/b/c.parquet']) }}",
        ("3",),
    ),
    Case("read_files", "select sum(tokens) as answer from {{ read_files(['FOLDER/a.parquet']) }}", ("3",)),
    money("round_money", "{{ round_money('cast(0.0000000000005 as double)') }}", "1"),
    money("round_money", "{{ round_money('cast(0.0000000000004 as double)') }}", "0"),
    money("round_money", "{{ round_money('cast(2e7 as double)') }}", "20000000000000000000"),
    money("round_money", "{{ round_money('cast(null as double)') }}", None),
    money("unit_cost", "{{ unit_cost('cast(0.000000000001 as decimal(38, 12))', '2') }}", "1"),
    money("unit_cost", "{{ unit_cost('cast(-0.000000000001 as decimal(38, 12))', '2') }}", "-1"),
    money("unit_cost", "{{ unit_cost('cast(10 as decimal(38, 12))', '3') }}", "3333333333333"),
    money("unit_cost", "{{ unit_cost('cast(1 as decimal(38, 12))', '0') }}", None),
    money("unit_cost", "{{ unit_cost('cast(null as decimal(38, 12))', '3') }}", None),
    value("seconds_between", f"{{{{ seconds_between({START!r}, {END!r}) }}}}", "5400.000000"),
    value(
        "whole_number",
        "{{ whole_number('1234567890123456789') }} * 10000000000000000000",
        "12345678901234567890000000000000000000",
    ),
)


@pytest.fixture(scope="module", params=["duckdb", "spark"])
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[str | None]]:
    """What one engine answers to all cases, by their places in CASES."""
    if request.param == "spark":
        require_spark()
    home = Home(tmp_path_factory.mktemp(request.param)).on(request.param)
    home.snapshot.mkdir(parents=True)
    (home.root / "b").mkdir()
    pq.write_table(pa.table({"tokens": [1, 2]}), home.root / "a.parquet")
    # a file that was written before its contract had the column
    pq.write_table(pa.table({"calls": [1]}), home.root / "b" / "c.parquet")
    parts = [
        f"select {place} as place, cast(answer as string) as answer from ({case.query}) as case_{place}"
        for place, case in enumerate(CASES)
    ]
    found = defaultdict(list)
    query = " union all ".join(parts).replace("FOLDER", str(home.root))
    for row in answer(home, query).rows:
        found[int(row["place"])].append(None if row["answer"] is None else str(row["answer"]))
    return found


@pytest.mark.parametrize("place", range(len(CASES)), ids=lambda place: f"{CASES[place].macro}-{place}")
def test_a_macro_answers_the_same_on_both_engines(answers: dict[int, list[str | None]], place: int) -> None:
    assert sorted(answers[place], key=str) == sorted(CASES[place].rows, key=str)
