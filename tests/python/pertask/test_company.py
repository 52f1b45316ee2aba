"""company/*.csv: typed tables, always all of them, and errors that name file, line and column."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from pertask.company import FILES, CompanyError, load_company
from pertask.errors import ConfigError
from pertask.home import Home

SCHEMAS = {
    "teams": "team display_name owner",
    "task_types": "task_type display_name unit_noun workload_class latency_target_seconds quality_tolerance_ratio "
    "may_move",
    "aliases": "kind alias name",
    "owners": "match_on match_value team service",
    "discounts": "provider model discount_ratio",
    "prices": "provider model region service_tier context_above_tokens context_rule context_counts daily_from daily_to "
    "component unit usd_per_million origin",
}
TYPES = {
    "latency_target_seconds": pa.float64(),
    "quality_tolerance_ratio": pa.float64(),
    "may_move": pa.bool_(),
    "discount_ratio": pa.decimal128(18, 6),
    "context_above_tokens": pa.int64(),
    "usd_per_million": pa.decimal128(18, 6),
    "valid_from": pa.date32(),
    "valid_to": pa.date32(),
}


def write(folder: Path, **files: str | bytes) -> Home:
    home = Home(folder)
    home.company.mkdir(exist_ok=True)
    for name, text in files.items():
        (home.company / f"{name}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return home


def problems(home: Home) -> list[str]:
    with pytest.raises(CompanyError) as caught:
        load_company(home)
    return [line.removeprefix(f"{home.company}/") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize("has_headers", [False, True])
def test_every_table_is_there_with_its_types_even_without_rows(tmp_path, has_headers):
    home = Home(tmp_path)
    if has_headers:
        write(
            tmp_path,
            **{name: f"{columns.replace(' ', ',')},valid_from,valid_to\n" for name, columns in SCHEMAS.items()},
        )

    tables = load_company(home)

    expected = {
        name: pa.schema(
            [(column, TYPES.get(column, pa.string())) for column in [*columns.split(), "valid_from", "valid_to"]]
        )
        for name, columns in SCHEMAS.items()
    }
    assert {name: table.schema for name, table in tables.items()} == expected
    assert {table.num_rows for table in tables.values()} == {0}


def test_values_are_typed_and_columns_may_be_in_any_order_or_absent(tmp_path):
    home = write(
        tmp_path,
        task_types="\ufeffmay_move,task_type,latency_target_seconds,valid_to\n"
        'TRUE, ticket ,20,2026-09-01\n\n,"ein, zwei",,\nfalse,ticket,0.5,\n'.replace("false,ticket", "false,alert"),
        owners="match_on,match_value,team,service\ntag:cost-centre,77,search,\nnamespace,assist,support,assistant\n",
    )

    tables = load_company(home)

    columns = ["task_type", "may_move", "latency_target_seconds", "quality_tolerance_ratio", "valid_from", "valid_to"]
    assert [tuple(row.values()) for row in tables["task_types"].select(columns).to_pylist()] == [
        ("ticket", True, 20.0, None, None, date(2026, 9, 1)),
        ("ein, zwei", None, None, None, None, None),
        ("alert", False, 0.5, None, None, None),
    ]
    assert tables["owners"].column("match_on").to_pylist() == ["tag:cost-centre", "namespace"]
    assert tables["owners"].column("service").to_pylist() == [None, "assistant"]


def test_every_problem_of_every_file_is_told_with_its_place(tmp_path):
    home = write(
        tmp_path,
        teams='team,display_name,valid_from,valid_to\na,"two\nlines",,\n,X,,\nb,X,2026-02-30,2026-01-01\nc,X\n',
        task_types="task_type,workload_class,latency_target_seconds,quality_tolerance_ratio,may_move\n"
        'x,batches,0,1.5,yes\ny,batch,"1,5",nan,true\n',
        aliases="kind,alias,name\nteem,a,b\n",
        owners="match_on,match_value,team\nhost,a,b\n",
    )

    assert problems(home) == [
        "teams.csv:4: team: it is empty; every row needs it: name as calls and owners.csv carry it.",
        "teams.csv:5: valid_from: '2026-02-30' is not a date. Write year, month and day, as in 2026-08-31.",
        "teams.csv:6: 2 values, and the header has 4 columns.",
        "task_types.csv:2: workload_class: 'batches' is not known. Did you mean batch?",
        "task_types.csv:2: latency_target_seconds: 0 is out of range: more than 0 seconds.",
        "task_types.csv:2: quality_tolerance_ratio: 1.5 is out of range: a share from 0 to 1.",
        "task_types.csv:2: may_move: 'yes' is neither true nor false.",
        (
            "task_types.csv:3: latency_target_seconds: '1,5' is not a number. Write it with a point, without unit or "
            "thousands separators, as in 0.05."
        ),
        (
            "task_types.csv:3: quality_tolerance_ratio: 'nan' is not a number. Write it with a point, without unit or "
            "thousands separators, as in 0.05."
        ),
        "aliases.csv:2: kind: 'teem' is not known. Did you mean team?",
        (
            "owners.csv:2: match_on: 'host' is nothing to match on. Known: resource_id, namespace, sub_account_id, "
            "tag:<key>."
        ),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("team,ownr\n", "teams.csv:1: there is no column 'ownr'. Did you mean owner?"),
        ("team,team\n", "teams.csv:1: column team is there twice. Remove one."),
        ("owner\n", "teams.csv:1: column team is missing. Add it to the header and to every row."),
        ("team;owner\n", "teams.csv:1: there is no column 'team;owner'. Separate the columns with commas."),
        ("", "teams.csv:1: the file is empty. Its first line is team,display_name,owner,valid_from,valid_to"),
        ('team\n"open\n', "teams.csv:2: not valid CSV: unexpected end of data. Close every quote."),
        (b"team\n\xff\n", "teams.csv: not UTF-8 text (invalid start byte at byte 5). Save it as CSV UTF-8."),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, text, expected):
    assert problems(write(tmp_path, teams=text)) == [expected]


@pytest.mark.parametrize(
    ("first", "second", "overlaps"),
    [
        (",2026-05-01", "2026-05-01,", False),
        (",2026-05-02", "2026-05-01,", True),
        (",", "2026-05-01,", True),
        (",", ",", True),
        ("2026-05-01,2026-06-01", ",2026-05-01", False),
        ("2026-05-01,2026-06-01", ",", True),
    ],
)
def test_one_name_has_one_row_on_each_day(tmp_path, first, second, overlaps):
    home = write(
        tmp_path,
        aliases=f"kind,alias,name,valid_from,valid_to\nteam,a,x,{first}\nmodel,a,z,,\nteam,a,y,{second}\n",
    )
    if overlaps:
        [line] = problems(home)
        assert "team a is valid on the same days in line" in line
        assert line.startswith(("aliases.csv:2: valid_from:", "aliases.csv:4: valid_from:"))
    else:
        assert load_company(home)["aliases"].num_rows == 3


def test_an_end_that_is_not_after_the_beginning(tmp_path):
    home = write(tmp_path, teams="team,valid_from,valid_to\na,2026-05-01,2026-05-01\n")
    [line] = problems(home)
    assert line.startswith("teams.csv:2: valid_to: 2026-05-01 is not after valid_from 2026-05-01")


PRICE = "provider,model,component,usd_per_million"


def price_problems(folder: Path, columns: str, *values: str) -> list[str]:
    rows = "".join(f"openai,gpt-x,input,1,{value}\n" for value in values)
    return problems(write(folder, prices=f"{PRICE},{columns}\n{rows}"))


def test_a_price_is_exact_and_an_empty_cell_stands_for_the_usual(tmp_path):
    home = write(
        tmp_path,
        prices=f"{PRICE},service_tier,context_above_tokens,context_rule,context_counts,daily_from,daily_to,unit\n"
        "openai,gpt-x,input,4.250001,,,,,,,\n"
        "tool,search,call,1e4,batch,200000,>=,cache_read,16:30,00:30,call\n"
        "openai,gpt-x,image,0,standard,0,>,input,,,image\n"
        "openai,gpt-x,output,999999999999.999999,,,,,,,token\n",
    )
    rows = load_company(home)["prices"].to_pylist()
    assert [tuple(row.values())[3:12] for row in rows] == [
        ("standard", 0, ">", "input", None, None, "input", "token", Decimal("4.250001")),
        ("batch", 200000, ">=", "cache_read", "16:30", "00:30", "call", "call", Decimal("10000")),
        ("standard", 0, ">", "input", None, None, "image", "image", Decimal(0)),
        ("standard", 0, ">", "input", None, None, "output", "token", Decimal("999999999999.999999")),
    ]


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("0.1234567", "'0.1234567' is not a number with up to 6 decimals."),
        ('"1,5"', "'1,5' is not a number with up to 6 decimals."),
        ("nan", "'nan' is not a number"),
        ("1_0", "'1_0' is not a number"),
        ("1e99", "'1e99' is not a number"),
        ("-1", "-1 is out of range: 0 or more."),
        ("1000000000000", "out of range: less than 1,000,000,000,000 USD per million."),
        ("", "it is empty; every row needs it"),
    ],
)
def test_a_price_that_is_none(tmp_path, price, expected):
    [line] = problems(write(tmp_path, prices=f"{PRICE}\nopenai,gpt-x,input,{price}\n"))
    assert line.startswith("prices.csv:2: usd_per_million: ")
    assert expected in line


@pytest.mark.parametrize(
    ("columns", "values", "expected"),
    [
        ("service_tier", "batches", "service_tier: 'batches' is not known. Did you mean batch?"),
        ("context_above_tokens", "-1", "context_above_tokens: '-1' is not a whole number, 0 or more."),
        ("context_above_tokens", "200k", "context_above_tokens: '200k' is not a whole number, 0 or more."),
        ("context_rule", "<", "context_rule: '<' is not known."),
        ("context_counts", "output", "context_counts: 'output' is not known."),
        ("daily_from,daily_to", "7:30,09:00", "daily_from: '7:30' is no time of day."),
        ("daily_from,daily_to", "07:30,24:00", "daily_to: '24:00' is no time of day."),
        ("daily_from,daily_to", "07:30,", "daily_to: it is empty; a price of some hours of the day has both"),
        ("daily_from,daily_to", ",07:30", "daily_from: it is empty; a price of some hours of the day has both"),
        ("daily_from,daily_to", "07:30,07:30", "daily_to: it is the same as daily_from."),
        ("unit", "call", "unit: input is counted in token, not in call. Leave it empty."),
        ("unit", "tokens", "unit: 'tokens' is not known. Did you mean token?"),
    ],
)
def test_a_wrong_cell_of_a_price(tmp_path, columns, values, expected):
    [line] = price_problems(tmp_path, columns, values)
    assert line.startswith("prices.csv:2: ")
    assert expected in line


def test_what_is_no_component(tmp_path):
    [line] = problems(write(tmp_path, prices=f"{PRICE}\nopenai,gpt-x,inputs,1\n"))
    assert line == "prices.csv:2: component: 'inputs' is not known. Did you mean input?"


@pytest.mark.parametrize(
    ("columns", "values", "overlaps"),
    [
        ("origin", ("a", "b"), True),
        ("service_tier", ("", "standard"), True),
        ("service_tier", ("", "batch"), False),
        ("region", ("", "eu"), False),
        ("context_above_tokens", ("", "0"), True),
        ("context_above_tokens", ("", "200000"), False),
        ("context_rule", ("", ">="), False),
        ("context_counts", ("", "cache_read"), False),
        ("daily_from,daily_to", (",", "16:30,00:30"), False),
        ("valid_from,valid_to", (",2026-08-01", "2026-08-01,"), False),
        ("valid_from,valid_to", (",2026-08-02", "2026-08-01,"), True),
    ],
)
def test_one_thing_has_one_price_on_each_day(tmp_path, columns, values, overlaps):
    if overlaps:
        [line] = price_problems(tmp_path, columns, *values)
        assert line.startswith("prices.csv:3: valid_from: openai gpt-x standard 0 > input input is valid on the same")
    else:
        rows = "".join(f"openai,gpt-x,input,1,{value}\n" for value in values)
        assert load_company(write(tmp_path, prices=f"{PRICE},{columns}\n{rows}"))["prices"].num_rows == 2


def test_names_in_other_capitals_are_one_price_and_one_discount(tmp_path):
    home = write(
        tmp_path,
        prices=f"{PRICE}\nopenai,gpt-x,input,1\nOpenAI,GPT-X,input,2\n",
        discounts="provider,model,discount_ratio\nopenai,,0.1\nOpenAI,,0.2\nopenai,gpt-x,0.3\n",
    )
    assert [line.split(" is valid")[0] for line in problems(home)] == [
        "discounts.csv:3: valid_from: openai",
        "prices.csv:3: valid_from: openai gpt-x standard 0 > input input",
    ]


@pytest.mark.parametrize(("ratio", "is_right"), [("0", True), ("0.999999", True), ("1", False), ("-0.1", False)])
def test_a_discount_is_a_share_below_one(tmp_path, ratio, is_right):
    home = write(tmp_path, discounts=f"provider,discount_ratio\nopenai,{ratio}\n")
    if is_right:
        assert load_company(home)["discounts"].column("discount_ratio").to_pylist() == [Decimal(ratio)]
    else:
        [line] = problems(home)
        assert line.startswith(f"discounts.csv:2: discount_ratio: {ratio} is out of range: a share from 0 to below 1")


def test_a_file_with_nearly_the_right_name_is_not_passed_over(tmp_path):
    home = write(tmp_path, owner="match_on,match_value,team\n", our_headcount="a\n")
    [line] = problems(home)
    assert line.startswith("owner.csv: a file of this name is not read. Rename it to owners.csv")


def test_the_examples_of_the_guide_are_right(tmp_path):
    header = {file.name: ",".join(column.name for column in file.columns) for file in FILES}
    home = write(tmp_path, **{file.name: f"{header[file.name]}\n{file.example}\n" for file in FILES})
    assert {table.num_rows for table in load_company(home).values()} == {1}


def test_company_errors_are_configuration_errors():
    assert issubclass(CompanyError, ConfigError)
