"""Mapping files: what they can say, what they cannot reach, and errors that name file, line and column."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.contracts import CONTRACTS, DATE, ENUMS, TIMESTAMP
from ingest.errors import IngestError
from ingest.lake import Lake
from ingest.mapping import load_mapping
from tests.python.conftest import write_json_lines
from tests.python.ingest.helpers import MARKER, assert_nowhere, bring, write_csv, write_lines

CALLS = """\
contract: llm_calls
format: jsonl
columns:
  call_id: id
  started_at: begun
"""


def mapping_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mapping.yml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def mapped(tmp_path, lake_rows):
    """Ingest rows through a mapping and return the named columns of its contract."""

    def columns(text: str, rows: list[dict], names: str, **changes: object) -> list[tuple]:
        mapping = mapping_file(tmp_path, text)
        contract = load_mapping(mapping).contract.name
        write = {"jsonl": write_json_lines, "csv": write_csv}[load_mapping(mapping).format]
        result = bring(tmp_path, write(tmp_path / "in.data", rows), "mapping", mapping_path=mapping, **changes)
        assert (result.state, result.rows_quarantined) == ("committed", 0), result.message
        return lake_rows(contract, names)

    return columns


def error_of(tmp_path: Path, text: str) -> str:
    """What load_mapping says of a wrong mapping, after the file's path."""
    path = mapping_file(tmp_path, text)
    with pytest.raises(IngestError) as caught:
        load_mapping(path)
    assert str(caught.value).startswith(f"{path}:")
    return str(caught.value).removeprefix(f"{path}:")


# What a mapping says


def test_a_reference_an_expression_and_constants(mapped):
    text = CALLS + (
        '  task_type: "\'ticket\'"\n  attempt_number: 2\n  model: upper(m)\n  team: "\\"the team\\""\n'
        "  temperature: 0.5\n  response_cache_hit: false\n  started_at: begun\n"
    ).replace("  started_at: begun\n", "")
    rows = [{"id": "c1", "begun": "2026-08-01T10:00:00Z", "m": "gpt", "the team": "support"}]
    names = "call_id, started_at, task_type, attempt_number, model, team, temperature, response_cache_hit, status"
    assert mapped(text, rows, names) == [
        ("c1", datetime(2026, 8, 1, 10, tzinfo=UTC), "ticket", 2, "GPT", "support", 0.5, False, "success")
    ]


def test_nested_paths_whole_objects_and_json_kept_as_text(mapped):
    text = CALLS + (
        "  input_tokens: usage.prompt.total\n"
        "  model: meta.model\n"
        "  tags: meta\n"
        "  provider: \"coalesce(meta.vendor, 'none')\"\n"
    )
    rows = [
        {
            "id": "c1",
            "begun": "2026-08-01",
            "usage": {"prompt": {"total": 7}},
            "meta": {"model": "gpt", "vendor": None},
        },
        {"id": "c2", "begun": "2026-08-01", "usage": '{"prompt": {"total": "8"}}', "meta": {"model": "llama"}},
        {"id": "c3", "begun": "2026-08-01"},
    ]
    found = mapped(text, rows, "call_id, uncached_input_tokens, model, provider, tags")
    assert [row[:4] for row in found] == [
        ("c1", 7, "gpt", "none"),
        ("c2", 8, "llama", "none"),
        ("c3", None, None, "none"),
    ]
    assert [json.loads(row[4]) if row[4] else None for row in found] == [rows[0]["meta"], rows[1]["meta"], None]


def test_a_csv_header_with_dots_in_its_names(mapped):
    text = "contract: tasks\nformat: csv\ncolumns:\n  task_id: issue.key\n  team: fields.team\n"
    assert mapped(text, [{"issue.key": "T-1", "fields.team": "a"}], "task_id, team") == [("T-1", "a")]


def test_structs_of_a_parquet_file(tmp_path, lake_rows):
    mapping = mapping_file(
        tmp_path, "contract: tasks\nformat: parquet\ncolumns:\n  task_id: key.id\n  team: key.team\n"
    )
    path = tmp_path / "in.parquet"
    pq.write_table(pa.Table.from_pylist([{"key": {"id": 12, "team": "a"}}]), path)
    bring(tmp_path, path, "mapping", mapping_path=mapping)

    assert lake_rows("tasks", "task_id, team") == [("12", "a")]


@pytest.mark.parametrize("convention", ["true", "false"])
def test_the_inclusive_and_the_exclusive_report_of_one_call_give_the_same_buckets(mapped, convention):
    text = CALLS + (
        "  input_tokens: i\n  cache_read_tokens: r\n  cache_write_5m_tokens: w5\n  cache_write_1h_tokens: w1\n"
        "  output_tokens: o\n  reasoning_tokens: t\n"
        f"token_convention: {{input_includes_cached: {convention}, output_includes_reasoning: {convention}}}\n"
    )
    inside = convention == "true"
    row = {"id": "c1", "begun": "2026-08-01", "i": 1000 if inside else 400, "r": 300, "w5": 200, "w1": 100}
    row |= {"o": 90 if inside else 50, "t": 40}
    names = (
        "uncached_input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_text_tokens, "
        "reasoning_tokens"
    )
    assert mapped(text, [row], names) == [(400, 300, 200, 100, 50, 40)]


def test_what_the_source_is_configured_to_be_goes_before_the_mapping(mapped):
    text = CALLS + "  input_tokens: i\n  cache_read_tokens: r\ntoken_convention: {input_includes_cached: true}\n"
    rows = [{"id": "c1", "begun": "2026-08-01", "i": 400, "r": 300}]
    assert mapped(text, rows, "uncached_input_tokens", token_convention=(False, None)) == [(400,)]


@pytest.mark.parametrize(
    ("zone", "at", "expected"),
    [
        ("Asia/Kolkata", "2026-08-01 01:00:00", datetime(2026, 7, 31, 19, 30, tzinfo=UTC)),
        ("Europe/London", "2026-08-01 01:00:00", datetime(2026, 8, 1, 0, 0, tzinfo=UTC)),
        ("Asia/Kolkata", "2026-08-01T01:00:00Z", datetime(2026, 8, 1, 1, 0, tzinfo=UTC)),
    ],
)
def test_the_time_zone_is_of_times_without_an_offset(mapped, zone, at, expected):
    assert mapped(CALLS + f"time_zone: {zone}\n", [{"id": "c1", "begun": at}], "started_at") == [(expected,)]


def test_times_that_are_numbers(mapped):
    text = CALLS.replace("started_at: begun", "started_at: to_timestamp(cast(begun as double))") + (
        "  ended_at: epoch_ms(cast(done as bigint))\n"
    )
    assert mapped(text, [{"id": "c1", "begun": 1785578400.25, "done": 1785578401500}], "started_at, ended_at") == [
        (datetime(2026, 8, 1, 10, 0, 0, 250_000, UTC), datetime(2026, 8, 1, 10, 0, 1, 500_000, UTC))
    ]


def test_skip_leaves_records_out_and_counts_why(tmp_path, lake_rows):
    mapping = mapping_file(tmp_path, CALLS + "skip: \"case when kind = 'parent' then 'repeats its children' end\"\n")
    rows = [{"id": f"c{number}", "begun": "2026-08-01", "kind": kind} for number, kind in enumerate(["leaf", "parent"])]
    result = bring(tmp_path, write_json_lines(tmp_path / "in.jsonl", rows), "mapping", mapping_path=mapping)

    assert (result.rows_read, result.rows_loaded, result.rows_skipped) == (2, 1, 1)
    (batch,) = Lake(tmp_path / "lake").batches().values()
    assert batch.counts["llm_calls"].skip_reasons == {"repeats its children": 1}


def test_rows_without_a_mapped_id_get_one_from_their_content(mapped):
    text = CALLS.replace("  call_id: id\n", "")
    rows = [{"begun": "2026-08-01", "n": 1}, {"begun": "2026-08-01", "n": 1}, {"begun": "2026-08-01", "n": 2}]
    found = mapped(text, rows, "call_id, task_id, task_id_origin")
    assert len({call_id for call_id, *_ in found}) == 3
    # an id of ingest's own stands for no task
    assert {(task, origin) for _, task, origin in found} == {(None, None)}


def test_a_bill_may_say_that_it_replaces_its_periods(tmp_path):
    text = (
        "contract: bill_lines\nformat: csv\nreplaces_period: true\ncolumns:\n  billed_cost: cost\n"
        "  billing_currency: \"'EUR'\"\n  charge_period_start: bill_day\n"
        "  charge_period_end: cast(bill_day as date) + interval 1 day\n"
        "  billing_period_start: date_trunc('month', cast(bill_day as date))\n  charge_category: \"'Usage'\"\n"
    )
    path = write_csv(tmp_path / "bill.csv", [{"cost": "1.5", "bill_day": "2026-08-05"}])
    result = bring(tmp_path, path, "mapping", mapping_path=mapping_file(tmp_path, text))

    assert (result.state, result.message) == ("committed", "")
    (batch,) = Lake(tmp_path / "lake").batches().values()
    assert batch.replaces_period
    assert [(key.billing_period_start.date(), key.min_date, key.max_date) for key in batch.bill_keys] == [
        (date(2026, 8, 1), date(2026, 8, 5), date(2026, 8, 5))
    ]


def test_the_same_file_through_an_edited_mapping_replaces_the_batch(tmp_path, lake_rows):
    path = write_json_lines(tmp_path / "in.jsonl", [{"id": "c1", "begun": "2026-08-01", "a": "one", "b": "two"}])
    bring(tmp_path, path, "mapping", mapping_path=mapping_file(tmp_path, CALLS + "  team: a\n"))
    result = bring(tmp_path, path, "mapping", mapping_path=mapping_file(tmp_path, CALLS + "  team: b\n"))

    assert result.state == "replaced"
    assert len(Lake(tmp_path / "lake").batches()) == 1


@pytest.mark.parametrize("name", [name for name in CONTRACTS if name != "quarantined_rows"])
def test_every_contract_can_be_filled_in_every_column(tmp_path, lake_rows, name):
    contract = CONTRACTS[name]
    derived = ("source", "task_id_origin", "is_attempt_told")
    columns = [column for column in contract.column_names if column not in derived]
    row = {
        column: "2026-08-01T10:00:00Z"
        if contract.type_of(column) == TIMESTAMP
        else "2026-08-01"
        if contract.type_of(column) == DATE
        else "true"
        if contract.type_of(column) == pa.bool_()
        else ENUMS.get(column, ("x",))[0]
        if contract.type_of(column) == pa.string()
        else "1"
        for column in columns
    }
    mapping = f"contract: {name}\nformat: csv\ncolumns:\n" + "".join(f"  {column}: c_{column}\n" for column in columns)
    path = write_csv(tmp_path / "in.csv", [{f"c_{column}": text for column, text in row.items()}])
    result = bring(tmp_path, path, "mapping", mapping_path=mapping_file(tmp_path, mapping))

    assert (result.state, result.rows_loaded) == ("committed", 1), result.message
    [found] = lake_rows(name, ", ".join(f'"{column}"' for column in columns))
    assert None not in found
    assert lake_rows(name, "source") == [("gateway",)]


@pytest.mark.parametrize("name", ["replica_windows", "resource_links", "gpu_events", "tasks", "bill_lines"])
def test_columns_that_are_not_required_may_be_left_out(tmp_path, lake_rows, name):
    contract = CONTRACTS[name]
    columns = [column for column in contract.required if column not in ("source", "line_id")] or ["hostname"]
    texts = {
        column: "2026-08-01" if contract.type_of(column) == TIMESTAMP else ENUMS.get(column, ("1",))[0]
        for column in columns
    }
    mapping = f"contract: {name}\nformat: csv\ncolumns:\n" + "".join(f"  {column}: c_{column}\n" for column in columns)
    path = write_csv(tmp_path / "in.csv", [{f"c_{column}": text for column, text in texts.items()}])
    result = bring(tmp_path, path, "mapping", mapping_path=mapping_file(tmp_path, mapping))

    assert (result.state, result.rows_loaded) == ("committed", 1), result.message
    assert len(lake_rows(name)) == 1


# What a mapping gets wrong


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: a mapping file holds keys and values"),
        ("- a\n", "1:1: a mapping file holds keys and values"),
        ("contract: llm_calls\nformat: jsonl\n", "1:1: the mapping has no `columns:`"),
        ("contract: llm_calls\n  format: [\n", "2:9: not valid YAML"),
        ("contract: tasks\ncontract: tasks\n", "2:1: not valid YAML"),
        (CALLS + "colums: {}\n", "6:1: colums is not a key of a mapping. Did you mean columns?"),
        (CALLS.replace("llm_calls", "llm_call"), "1:11: contract 'llm_call' is not known. Did you mean llm_calls?"),
        (CALLS.replace("llm_calls", "[llm_calls]"), "1:11: contract ['llm_calls'] is not known."),
        (CALLS.replace("llm_calls", "quarantined_rows"), "1:11: contract 'quarantined_rows' is not known."),
        (CALLS.replace("jsonl", "json"), "2:9: format 'json' is not known. Did you mean jsonl?"),
        (CALLS + "source: 7\n", "6:9: source is the name of the source, a text."),
        (CALLS + "time_zone: Asia/Bangalore\n", "6:12: time zone 'Asia/Bangalore' is not known. Use an IANA name"),
        (CALLS + "time_zone: [UTC]\n", "6:12: time zone ['UTC'] is not known."),
        (CALLS + "replaces_period: true\n", "6:1: replaces_period is for bill_lines"),
        (CALLS + "replaces_period: maybe\n", "6:18: replaces_period is true or false."),
        (CALLS + "token_convention: yes please\n", "6:19: token_convention holds input_includes_cached and"),
        (CALLS + "token_convention: {input_include_cached: true}\n", "6:20: input_include_cached is not a token"),
        (CALLS + "token_convention: {input_includes_cached: 1}\n", "6:43: input_includes_cached is true or false."),
        (CALLS + "skip: ''\n", "6:7: skip needs a source column, an expression or a constant"),
        (CALLS + "  modle: m\n", "6:3: llm_calls has no column modle. Did you mean model?"),
        (CALLS + "  source: s\n", "6:3: source is not mapped: it is the name of the source"),
        (CALLS + "  task_id_origin: s\n", "6:3: task_id_origin is not mapped"),
        (CALLS + "  team:\n", "6:3: team needs a source column"),
        (CALLS + "  team: [a]\n", "6:9: team needs a source column"),
        (CALLS + "  team: _content\n", "6:9: team: _content is a name that ingest uses itself"),
        (CALLS + "  team: upper(_file)\n", "6:9: team: _file is a name that ingest uses itself"),
        (CALLS.replace("  started_at: begun\n", ""), "3:1: llm_calls needs started_at as well."),
        (CALLS.replace("columns:\n", "columns: []\n").split("  call_id")[0], "3:10: columns holds one"),
        (CALLS + "  team: up(a)\n", "6:9: team: there is no function up."),
        (CALLS + "  team: uper(a)\n", "6:9: team: there is no function uper. Did you mean upper?"),
        (CALLS + "  team: a ||\n", "6:9: team: syntax error"),
        (CALLS + "  input_tokens: a + b\n", "6:17: input_tokens:"),
        (CALLS.replace(": begun", ": cast(begun as bigint)"), "5:15: started_at is a time and this gives BIGINT"),
        (CALLS + "  tool_call_count: cast(a as date)\n", "6:20: tool_call_count is a number or true/false, and this"),
        (
            CALLS + "  input_tokens: i\n  cache_read_tokens: r\n",
            "6:3: input_tokens comes with cache_read_tokens: say whether the total contains them",
        ),
        (
            CALLS + "  output_tokens: o\n  reasoning_tokens: r\n",
            "6:3: output_tokens comes with reasoning_tokens: say whether the total contains them",
        ),
        (
            CALLS + "  input_tokens: i\n  uncached_input_tokens: u\n",
            "7:3: uncached_input_tokens is what is left of input_tokens",
        ),
        (
            "contract: tasks\nformat: csv\ntoken_convention: {}\ncolumns: {task_id: a}\n",
            "3:1: token_convention is for llm_calls and vendor_usage.",
        ),
    ],
)
def test_an_error_names_its_line_and_column(tmp_path, text, message):
    found = error_of(tmp_path, text)
    assert found.startswith(message)


def test_an_expression_over_several_lines_is_found_by_its_first(tmp_path):
    found = error_of(tmp_path, CALLS + "  team: |\n    case when a = 'x'\n    then sum(b) end\n")
    assert found.startswith("6:9: team: sum looks at many rows")


@pytest.mark.parametrize(
    "expression",
    [
        "read_csv('/etc/passwd')",
        "read_text('/etc/passwd')",
        "main.read_text('/etc/passwd')",
        "'/etc/passwd'.read_text()",
        "glob('/etc/*')",
        "(select 1)",
        "(select max(x) from read_csv('/etc/passwd') as t(x))",
        "exists(select 1)",
        "a in (select 1)",
        "array(select 1)",
        "a from b",
        "a) from read_text('/etc/passwd') --",
        "a limit 1",
        "1; drop table x",
        "a; copy (select 1) to 'x'",
        "1) ; attach 'x' as (y",
        "getenv('HOME')",
        "current_setting('home_directory')",
        "getvariable('x')",
        "pragma_version()",
        "version()",
        "duckdb_settings()",
        "pragma_table_info('x')",
        "query('select 1')",
        "query_table('x')",
        "json_execute_serialized_sql('x')",
        "json_serialize_sql('select 1')",
        "sum(a)",
        "count(*)",
        "row_number() over ()",
        "unnest([1])",
        "list_transform([a], lambda x: x)",
        "list_filter([a], x -> x = 'y')",
        "columns('a')",
        "*",
        "?",
        "$1",
        "#1",
        "random()",
        "uuid()",
        "now()",
        "today()",
        "current_localtimestamp()",
        "nextval('s')",
        "setseed(0.5)",
        "error('x')",
        "sleep_ms(10)",
        "write_log('x')",
        "which_secret('x', 's3')",
        "current_database()",
        "a collate nocase",
        "in_search_path('a', 'b')",
        "has_table_privilege('a', 'b')",
        "pg_typeof(a)",
    ],
)
def test_an_expression_reaches_nothing_but_its_row(tmp_path, expression):
    text = f"{CALLS}  team: {json.dumps(expression)}\n"
    assert error_of(tmp_path, text).startswith("6:9: team: ")


@pytest.mark.parametrize(
    ("expression", "value", "expected"),
    [
        ("upper(trim(a))", " x ", "X"),
        ("a || '-' || coalesce(b, 'none')", "x", "x-none"),
        ("case when a = 'x' then 'y' else a end", "x", "y"),
        ("if(a = 'x', 'y', 'z')", "q", "z"),
        ("split_part(a, '/', 2)", "openai/gpt", "gpt"),
        ("regexp_extract(a, 'team=(\\w+)', 1)", "team=fraud;x", "fraud"),
        ("nullif(a, '-')", "-", None),
        ("a ->> '$.b'", '{"b": "c"}', "c"),
        ("json_extract_string(a, '$.b[0]')", '{"b": ["c"]}', "c"),
        ("cast(cast(a as bigint) + 1 as varchar)", "41", "42"),
        ("replace(lower(a), ' ', '_')", "A B", "a_b"),
        ("a in ('x', 'y') and b is null", "x", "true"),
        ("try_cast(a as date)", "no date", None),
        ("md5(a)", "x", "9dd4e461268c8034f5c8564e155c67a6"),
        ("current_user", "x", None),
    ],
)
def test_what_expressions_are_for(mapped, expression, value, expected):
    text = f"{CALLS}  team: {json.dumps(expression)}\n"
    assert mapped(text, [{"id": "c1", "begun": "2026-08-01", "a": value, "b": None}], "team") == [(expected,)]


def test_an_expression_that_fails_on_a_row_costs_that_row(tmp_path, lake_rows):
    text = CALLS.replace("started_at: begun", "started_at: to_timestamp(cast(begun as double))")
    text += "  input_tokens: cast(i as bigint) * 2\n"
    rows = [
        {"id": "c0", "begun": 1785578400, "i": 4},
        {"id": "c1", "begun": MARKER, "i": 4},
        {"id": "c2", "begun": 1785578400, "i": MARKER},
        {"id": "c3", "begun": None, "i": 4},
    ]
    path = write_json_lines(tmp_path / "in.jsonl", rows)
    result = bring(tmp_path, path, "mapping", mapping_path=mapping_file(tmp_path, text))

    assert (result.rows_loaded, result.rows_quarantined) == (1, 3)
    assert lake_rows("quarantined_rows", "line_number, column_name, reason") == [
        (2, "started_at", "not a time"),
        (3, "input_tokens", "not a number"),
        (4, "started_at", "missing"),
    ]
    assert_nowhere(tmp_path / "lake")


# What the file has wrong, seen from the mapping


def test_a_mistyped_source_column_of_json_lines_gets_a_suggestion(tmp_path):
    path = write_json_lines(tmp_path / "in.jsonl", [{"id": "c1", "begun": "2026-08-01", "usage": {"prompt_tokens": 1}}])
    mapping = mapping_file(tmp_path, CALLS + "  input_tokens: usage.promt_tokens\n")
    result = bring(tmp_path, path, "mapping", mapping_path=mapping)

    assert result.state == "failed"
    assert result.message.startswith(f"{mapping}:6:17: input_tokens: {path} has no usage.promt_tokens.")
    assert "Did you mean prompt_tokens?" in result.message


def test_a_mistyped_source_column_of_csv_gets_a_suggestion(tmp_path):
    path = write_csv(tmp_path / "in.csv", [{"ticket": "t1", "squad": "a"}])
    mapping = mapping_file(tmp_path, "contract: tasks\nformat: csv\ncolumns:\n  task_id: ticket\n  team: sqaud\n")
    result = bring(tmp_path, path, "mapping", mapping_path=mapping)

    assert result.message == (
        f"{mapping}:5:9: team: {path} has no sqaud. Did you mean squad? Correct the mapping, or leave the column out."
    )


def test_a_key_that_json_lines_leave_out_when_empty_is_a_notice(tmp_path):
    path = write_json_lines(tmp_path / "in.jsonl", [{"id": "c1", "begun": "2026-08-01"}])
    result = bring(tmp_path, path, "mapping", mapping_path=mapping_file(tmp_path, CALLS + "  team: squad\n"))

    assert result.rows_loaded == 1
    assert result.message == "in.jsonl: no record has squad (mapping.yml:6, team)"


def test_a_required_column_that_no_record_has_is_an_error(tmp_path):
    path = write_json_lines(tmp_path / "in.jsonl", [{"id": "c1", "when": "2026-08-01"}])
    result = bring(tmp_path, path, "mapping", mapping_path=mapping_file(tmp_path, CALLS))

    assert result.state == "failed"
    assert f"mapping.yml:5:15: started_at: {path} has no begun." in result.message
    assert "There are: when." in result.message


def test_a_file_of_another_kind_than_the_mapping_says(tmp_path):
    path = write_csv(tmp_path / "in.csv", [{"id": "c1", "begun": "2026-08-01"}])
    result = bring(tmp_path, path, "mapping", mapping_path=mapping_file(tmp_path, CALLS))

    assert result.state == "failed"
    assert "in.csv: mapping.yml says that this file is jsonl, but it looks like csv." in result.message


def test_one_json_document_is_not_lines(tmp_path):
    path = write_lines(tmp_path / "in.json", ['{"rows": [', ' {"id": "c1"}', "]}"])
    result = bring(tmp_path, path, "mapping", mapping_path=mapping_file(tmp_path, CALLS))

    assert result.state == "failed"
    assert "one JSON document, not lines" in result.message


def test_a_mapping_that_is_not_there_or_not_named(tmp_path):
    path = write_json_lines(tmp_path / "in.jsonl", [{"id": "c1", "begun": "2026-08-01"}])
    missing = bring(tmp_path, path, "mapping", mapping_path=tmp_path / "no.yml")
    unnamed = bring(tmp_path, path, "mapping")

    assert "no.yml: the mapping file cannot be read" in missing.message
    assert "format mapping needs a mapping file. Name it with --mapping FILE" in unnamed.message


def test_exact_money_from_a_csv(mapped):
    text = (
        "contract: vendor_costs\nformat: csv\ncolumns:\n  line_id: id\n  provider: \"'openai'\"\n"
        "  cost_date: bill_day\n  amount: cast(cents as decimal(30, 10)) / 100\n  currency: \"'USD'\"\n"
    )
    found = mapped(text, [{"id": "1", "bill_day": "2026-08-01", "cents": "123.78912"}], "amount, cost_date")
    assert found == [(Decimal("1.2378912"), date(2026, 8, 1))]


def test_a_row_that_stands_for_no_call_is_quarantined(tmp_path, lake_rows):
    rows = [
        {"id": str(number), "begun": "2026-08-01", "weight": weight} for number, weight in enumerate(("0", "-1", "0.5"))
    ]
    path = write_json_lines(tmp_path / "in.jsonl", rows)
    result = bring(tmp_path, path, "mapping", mapping_path=mapping_file(tmp_path, CALLS + "  sample_weight: weight\n"))

    assert (result.rows_loaded, result.rows_quarantined) == (1, 2)
    assert lake_rows("quarantined_rows", "column_name, reason") == [("sample_weight", "not above 0")] * 2
    assert lake_rows("llm_calls", "sample_weight") == [(Decimal("0.5"),)]
