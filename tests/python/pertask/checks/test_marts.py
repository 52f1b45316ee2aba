"""The second gate: each expectation catches the fault that is seeded for it, and nothing else does."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, time, timedelta

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.lake import Lake
from pertask.checks import CheckResult, check_marts, check_specs, marts, suites
from pertask.config import Config, Limits
from pertask.home import Home
from publish.publication import PublishError, publish
from tests.python.pertask.checks.deliveries import HISTORY, NEW_DAY, SECRET, Deliveries, even_day

MARTS = {
    # name: columns and types, the lake contract that it comes from, and SQL of its rows
    "core.fct_call_attempts": (
        {
            "source": "string",
            "call_id": "string",
            "usage_date": "date",
            "input_tokens": "decimal(18, 0)",
            "output_tokens": "decimal(18, 0)",
        },
        "llm_calls",
        "select source, call_id, usage_date, uncached_input_tokens, output_text_tokens from llm_calls",
    ),
    "core.fct_bill_lines": (
        {
            "source": "string",
            "line_id": "string",
            "usage_date": "date",
            "billing_currency": "string",
            "billed_cost": "decimal(38, 12)",
            "effective_cost": "decimal(38, 12)",
        },
        "bill_lines",
        """
        select source, line_id, cast(charge_period_start as date), billing_currency, billed_cost, effective_cost
        from bill_lines
        """,
    ),
    "core.fct_gpu_hours": (
        {"usage_date": "date", "hour_at": "timestamp", "sampled_seconds": "decimal(18, 6)"},
        "gpu_samples",
        """
        select cast(hour_at as date), hour_at, sum(interval_seconds)
        from (select date_trunc('hour', cast(sampled_at as timestamp)) as hour_at, interval_seconds from gpu_samples)
        group by all
        """,
    ),
    "unit_economics.cost_per_task_daily": (
        {"started_date": "date", "team": "string"},
        "llm_calls",
        """
        select distinct usage_date, 'team ' || place % 10
        from (select usage_date, row_number() over (partition by usage_date) as place from llm_calls)
        """,
    ),
    "quality.price_coverage_daily": (
        {"usage_date": "date", "attempts": "bigint"},
        "llm_calls",
        "select usage_date, count(*) from llm_calls group by usage_date",
    ),
    "quality.ingest_batches": (
        {"batch_id": "string", "contract": "string", "rows_loaded": "bigint"},
        "llm_calls",
        "select batch_id, contract, rows_loaded from batches where change != 'removed'",
    ),
    "quality.quarantined_rows": (
        {"contract": "string", "line_number": "bigint"},
        "quarantined_rows",
        "select contract, line_number from quarantined_rows",
    ),
}
KEPT = {"core.fct_call_attempts", "core.fct_bill_lines", "unit_economics.cost_per_task_daily"}

CALLS, BILLS = "core.fct_call_attempts", "core.fct_bill_lines"
FAULTS = {
    # mart, check and rule that must fail: the SQL that seeds the fault
    (CALLS, "shape", "missing_columns <= 0"): f"alter table {CALLS} drop column call_id",
    (CALLS, "shape", "unknown_columns <= 0"): f"alter table {CALLS} add column surprise bigint",
    (BILLS, "shape", "columns_of_another_type <= 0"): f"alter table {BILLS} alter line_id type blob",
    ("quality.price_coverage_daily", "shape", "rows >= rows_at_least"): "delete from quality.price_coverage_daily",
    ("unit_economics.cost_per_task_daily", "volume", "rows >= rows_at_least"): (
        "delete from unit_economics.cost_per_task_daily where team in ('team 1', 'team 2')"
    ),
    ("unit_economics.cost_per_task_daily", "volume", "lost_dates <= 0"): (
        f"delete from unit_economics.cost_per_task_daily where started_date = date '{NEW_DAY}'"
    ),
    (CALLS, "sums", "in_mart >= in_lake_at_least"): f"delete from {CALLS} where call_id = '{NEW_DAY}-1'",
    (CALLS, "sums", "in_mart <= in_lake_at_most"): (
        f"update {CALLS} set input_tokens = 2 * input_tokens where call_id = '{NEW_DAY}-1'"
    ),
    (BILLS, "sums", "in_mart <= in_lake_at_most"): (
        f"update {BILLS} set billed_cost = 2 * billed_cost where usage_date = date '{NEW_DAY}'"
    ),
    (BILLS, "sums", "in_mart >= in_lake_at_least"): f"delete from {BILLS} where line_id = '{NEW_DAY}-1'",
    ("core.fct_gpu_hours", "sums", "in_mart <= in_lake_at_most"): (
        "update core.fct_gpu_hours set sampled_seconds = 2 * sampled_seconds"
    ),
    ("quality.ingest_batches", "sums", "in_mart <= in_lake_at_most"): (
        "update quality.ingest_batches set rows_loaded = rows_loaded + 1 where contract = 'bill_lines'"
    ),
    ("quality.quarantined_rows", "sums", "in_mart >= in_lake_at_least"): (
        "delete from quality.quarantined_rows where line_number in (select max(line_number) from quality"
        ".quarantined_rows)"
    ),
}


def make_marts(home: Home) -> None:
    """Tables as the models would have made them, and dbt's manifest of them."""
    nodes, parents = {}, {}
    folder = str(home.root).replace("'", "''")
    batches = f"{folder}/warehouse/snapshot/batches.parquet"
    home.target.mkdir(exist_ok=True)
    home.warehouse_file.unlink(missing_ok=True)
    with duckdb.connect(str(home.warehouse_file)) as connection:
        connection.execute("set TimeZone = 'UTC'")
        for contract in ("llm_calls", "bill_lines", "gpu_samples", "quarantined_rows"):
            connection.execute(
                f"create temp view {contract} as from read_parquet('{folder}/lake/{contract}/**/*.parquet', "
                "union_by_name = true, hive_partitioning = false)"
            )
        connection.execute(f"create temp view batches as from read_parquet('{batches}')")
        for name, (columns, contract, query) in MARTS.items():
            schema, table = name.split(".")
            casts = ", ".join(f"cast(given.{column} as {kind}) as {column}" for column, kind in columns.items())
            connection.execute(f"create schema if not exists {schema}")
            connection.execute(f"create table {name} as select {casts} from ({query}) as given({', '.join(columns)})")
            nodes[f"model.pertask.{table}"] = {
                "resource_type": "model",
                "schema": schema,
                "alias": table,
                "description": "",
                "columns": {column: {"description": "", "data_type": kind} for column, kind in columns.items()},
                "config": {
                    "access": "public",
                    "meta": {"date_column": next((name for name in columns if name.endswith("_date")), None)},
                    "incremental_strategy": "replace_dates" if name in KEPT else None,
                },
            }
            parents[f"model.pertask.{table}"] = [f"model.pertask.stg_{contract}"]
            parents[f"model.pertask.stg_{contract}"] = [f"source.pertask.lake.{contract}"]
    manifest = {"nodes": nodes, "parent_map": parents}
    (home.target / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Home:
    """A home that has been built and published, nothing wrong with it."""
    deliveries = Deliveries(Home(tmp_path_factory.mktemp("home") / "it's"))
    bad = [
        {**row, "output_text_tokens": "-1", "call_id": f"bad-{n}"} for n, row in enumerate(even_day("llm_calls")[:2])
    ]
    for day in [*HISTORY, *(NEW_DAY - timedelta(days=days) for days in range(40, 50)), NEW_DAY]:
        rows = even_day("llm_calls", day)
        deliveries.add("llm_calls", "gateway", rows + (bad if day == NEW_DAY else []), datetime.now(UTC))
    deliveries.add("bill_lines", "bill", even_day("bill_lines"), datetime.now(UTC))
    deliveries.add("gpu_samples", "telemetry", even_day("gpu_samples"), datetime.now(UTC))
    deliveries.bring()
    deliveries.accept()
    make_marts(deliveries.home)
    publish(deliveries.home)
    return deliveries.home


@pytest.fixture
def home(published, tmp_path) -> Home:
    shutil.copytree(published.root, tmp_path / "it's")
    return Home(tmp_path / "it's")


def change(home: Home, sql: str) -> None:
    with duckdb.connect(str(home.warehouse_file)) as connection:
        connection.execute(sql)


def failed(results: list[CheckResult]) -> dict[tuple[str, str], CheckResult]:
    return {(".".join(result.asset), result.check): result for result in results if not result.passed}


def name_of(rule: suites.Rule) -> str:
    return f"{rule.column} {'>=' if rule.is_floor else '<='} {rule.bound}"


def test_every_expectation_and_every_sum_has_a_fault():
    rules = {(check, name_of(rule)) for check, found in marts._rules(Limits()).items() for rule in found}
    assert rules == {(check, rule) for _, check, rule in FAULTS}
    compared = {".".join(sums.mart) for sums in marts._SUMS} | {".".join(mart) for mart in marts._LISTS}
    assert compared == {mart for mart, check, _ in FAULTS if check == "sums"}


def test_good_marts_pass_and_there_is_a_result_for_every_check(home):
    results = check_marts(home, Config())

    assert failed(results) == {}
    specs = [spec for spec in check_specs(home.target / "manifest.json") if spec.asset[0] != "lake"]
    assert [(result.asset, result.check) for result in results] == [(spec.asset, spec.check) for spec in specs]
    assert {path.stem for path in home.data_docs.rglob("*.html")} == {"index", "shape", "volume", "sums"}


@pytest.mark.parametrize(("mart", "check", "rule"), FAULTS)
def test_a_fault_breaks_its_expectation_and_no_other(home, monkeypatch, mart, check, rule):
    change(home, FAULTS[mart, check, rule])
    broken = []

    def spy(*arguments):
        broken.extend(suites.run(*arguments))
        return broken

    monkeypatch.setattr(marts, "run", spy)
    results = failed(check_marts(home, Config()))

    assert set(results) == {(mart, check)}
    assert {name_of(failure.rule) for failure in broken} == {rule}
    assert results[mart, check].severity == ("warn" if check == "volume" else "error")
    assert results[mart, check].message.startswith(mart)


def test_a_mart_that_is_gone_fails_by_its_shape_alone(home):
    change(home, f"drop table {CALLS}")
    assert set(failed(check_marts(home, Config()))) == {(CALLS, "shape")}


def test_the_message_says_what_where_and_how_much(home):
    change(home, FAULTS[BILLS, "sums", "in_mart <= in_lake_at_most"])

    message = failed(check_marts(home, Config()))[BILLS, "sums"].message
    assert f"{BILLS} bill {NEW_DAY} USD billed_cost: 400.00 in the mart, 200.00 in the lake (+200.00)" in message
    assert f"{BILLS} bill {NEW_DAY} INR billed_cost: 100.00 in the mart, 50.00 in the lake (+50.00)" in message
    assert "the last publication stays" in message


def test_a_lost_row_blocks_where_the_limits_say_so(home):
    change(home, FAULTS["unit_economics.cost_per_task_daily", "volume", "rows >= rows_at_least"])

    results = failed(check_marts(home, Config(limits=Limits(blocking=("volume",)))))
    assert results["unit_economics.cost_per_task_daily", "volume"].severity == "error"
    assert failed(check_marts(home, Config(limits=Limits(mart_drop_ratio=0.3)))) == {}


def test_marts_may_shrink_when_deliveries_were_taken_back(home):
    batches = [
        batch for batch in Lake(home.lake).batches().values() if any(part.usage_date == NEW_DAY for part in batch.parts)
    ]
    [calls] = [batch for batch in batches if "llm_calls" in batch.counts]
    (home.lake / "_ledger" / f"{calls.batch_id}.json").unlink()
    for part in calls.parts:
        (home.lake / part.path).unlink()
    Deliveries(home).bring()
    make_marts(home)

    results = {(".".join(result.asset), result.check): result for result in check_marts(home, Config())}
    assert failed(list(results.values())) == {}
    volume = results["unit_economics.cost_per_task_daily", "volume"]
    assert "1 of the published deliveries of llm_calls is gone" in volume.message


def test_before_the_first_build_there_is_nothing_to_check(home):
    home.warehouse_file.unlink()
    with pytest.raises(PublishError, match="nothing has been built yet"):
        check_marts(home, Config())


@pytest.mark.parametrize("is_there", [False, True])
def test_without_a_readable_publication_there_is_no_volume(home, is_there):
    home.published_file.unlink()
    if is_there:
        home.published_file.write_bytes(b"no database")
    results = check_marts(home, Config())
    assert failed(results) == {}
    assert {result.message for result in results if result.check == "volume"} == {
        "Not published before: nothing to compare with."
    }


def test_a_repeated_call_may_count_as_any_of_its_deliveries(home):
    changed = [{**row, "output_text_tokens": 150} for row in even_day("llm_calls", rows=1)]
    deliveries = Deliveries(home)
    deliveries.add("llm_calls", "gateway", changed, datetime.now(UTC))
    deliveries.bring()
    change(home, "insert into quality.ingest_batches values ('new', 'llm_calls', 1)")

    assert failed(check_marts(home, Config())) == {}
    change(home, f"update {CALLS} set output_tokens = 150 where call_id = '{NEW_DAY}-0'")
    assert failed(check_marts(home, Config())) == {}
    change(home, f"update {CALLS} set output_tokens = 151 where call_id = '{NEW_DAY}-0'")
    assert set(failed(check_marts(home, Config()))) == {(CALLS, "sums")}


def test_samples_over_midnight_count_on_both_days(home):
    late = even_day("gpu_samples", rows=1)
    late[0] |= {
        "sampled_at": datetime.combine(NEW_DAY, time(23, 59, 30), UTC).isoformat(),
        "interval_seconds": "60",
    }
    deliveries = Deliveries(home)
    deliveries.add("gpu_samples", "telemetry", late, datetime.now(UTC))
    deliveries.bring()
    change(home, "insert into quality.ingest_batches values ('new', 'gpu_samples', 1)")
    next_day = NEW_DAY + timedelta(days=1)
    change(home, f"insert into core.fct_gpu_hours values ('{next_day}', '{next_day}', 30)")

    assert failed(check_marts(home, Config())) == {}
    change(home, f"update core.fct_gpu_hours set sampled_seconds = 31 where usage_date = '{next_day}'")
    assert set(failed(check_marts(home, Config()))) == {("core.fct_gpu_hours", "sums")}


def test_only_the_dates_that_the_build_recomputed_are_compared(home):
    change(home, FAULTS[CALLS, "sums", "in_mart >= in_lake_at_least"])
    change(home, "create schema intermediate")
    change(home, f"create table intermediate.int_touched_dates as select date '{HISTORY[0]}' as usage_date")
    assert failed(check_marts(home, Config())) == {}

    meta = pq.read_table(home.snapshot / "meta.parquet").to_pylist()[0] | {"is_full_refresh": True}
    schema = pq.read_schema(home.snapshot / "meta.parquet")
    pq.write_table(pa.Table.from_pylist([meta], schema=schema), home.snapshot / "meta.parquet")
    assert set(failed(check_marts(home, Config()))) == {(CALLS, "sums")}


def test_nothing_of_the_rows_stands_in_results_or_pages_and_pages_load_nothing(home):
    change(home, FAULTS[CALLS, "sums", "in_mart >= in_lake_at_least"])
    assert SECRET not in repr(check_marts(home, Config()))
    for path in home.data_docs.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert SECRET not in text, path
        assert "http://" not in text, path
        assert "https://" not in text, path
        assert "<script" not in text, path
