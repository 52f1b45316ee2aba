"""The sample company: the same bytes each time, every planted case in its files; ingest finds what truth.json says."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from ruamel.yaml import YAML

from ingest.lake import Lake
from ingest.runner import BatchResult, IngestRequest, ingest
from ingest.sample import generate

DAYS, SCALE = 6, 0.05


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("sample")
    generate(home, days=DAYS, scale=SCALE)
    return home


@pytest.fixture(scope="module")
def truth(sample: Path) -> dict:
    return json.loads((sample / "truth.json").read_text())


@pytest.fixture(scope="module")
def results(sample: Path) -> list[BatchResult]:
    """What ingest reports, reading the sources as the sample's own pertask.yml says."""
    sources = YAML(typ="safe").load(sample / "pertask.yml")["sources"]
    return ingest(
        sample / "lake",
        [
            IngestRequest(
                name,
                sample / source["path"],
                source["format"],
                sample / source["mapping"] if "mapping" in source else None,
            )
            for name, source in sources.items()
        ],
    )


@pytest.fixture(scope="module")
def query(sample: Path, results: list[BatchResult]) -> Callable[[str], list[tuple]]:
    """Ask the ingested sample in SQL; each contract is a view."""
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    for folder in (sample / "lake").iterdir():
        if not folder.name.startswith("_"):
            files = f"{folder}/**/*.parquet"
            connection.execute(
                f"create view {folder.name} as select * from "
                f"read_parquet('{files}', union_by_name = true, hive_partitioning = false)"
            )
    return lambda sql: connection.execute(sql).fetchall()


def digests(home: Path) -> dict[str, tuple[str, int]]:
    """Content and time of every file."""
    return {
        path.relative_to(home).as_posix(): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(home.rglob("*"))
        if path.is_file() and "lake" not in path.relative_to(home).parts
    }


# The generator


def test_the_same_arguments_give_the_same_bytes_and_times(tmp_path):
    for name, seed in (("one", 7), ("two", 7), ("other", 8)):
        generate(tmp_path / name, days=4, scale=0.02, seed=seed)

    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert digests(tmp_path / "one") != digests(tmp_path / "other")


def test_a_new_sample_replaces_an_earlier_one_and_nothing_else(tmp_path):
    generate(tmp_path / "home", days=5, scale=0.02)
    own = tmp_path / "home" / "landing" / "gateway" / "mine.jsonl"
    own.write_text("mine")
    generate(tmp_path / "home", days=4, scale=0.02)
    generate(tmp_path / "fresh", days=4, scale=0.02)

    assert own.read_text() == "mine"
    own.unlink()
    assert digests(tmp_path / "home") == digests(tmp_path / "fresh")


@pytest.mark.parametrize("name", ["pertask.yml", "truth.json"])
def test_a_folder_that_is_no_sample_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(
        FileExistsError, match=f"{name} is already there and is not of a sample. Choose an empty folder"
    ):
        generate(tmp_path, days=4, scale=0.02)

    assert [path.name for path in tmp_path.rglob("*")] == [name]
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("arguments", [{"days": 3}, {"days": 61}, {"scale": 0}, {"scale": 11}])
def test_sizes_out_of_range_are_refused(tmp_path, arguments):
    with pytest.raises(ValueError, match=r"days is|scale is"):
        generate(tmp_path, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_list_of_files_is_complete_and_their_times_are_their_delivery(sample):
    with open(sample / "truth" / "files.csv", newline="") as file:
        listed = {row["path"]: row for row in csv.DictReader(file)}
    landed = {path.relative_to(sample).as_posix() for path in (sample / "landing").rglob("*") if path.is_file()}

    assert landed <= listed.keys()
    for path in landed:
        status = (sample / path).stat()
        assert status.st_size == int(listed[path]["bytes"])
        assert status.st_mtime == datetime.fromisoformat(listed[path]["delivered_at"]).timestamp()


# What ingest finds


def test_ingest_reports_for_every_source_what_the_truth_says(sample, truth, results):
    quarantined = duckdb.sql(
        f"select source, reason, count(*) from read_parquet('{sample}/lake/quarantined_rows/*.parquet') group by all"
    ).fetchall()
    reasons: dict[str, dict[str, int]] = {}
    for source, reason, count in quarantined:
        reasons.setdefault(source, {})[reason] = count

    assert {result.state for result in results} == {"committed", "unchanged"}
    assert {result.source for result in results} == truth["sources"].keys()
    for source, expected in truth["sources"].items():
        of_source = [result for result in results if result.source == source]
        committed = [result for result in of_source if result.state == "committed"]
        batches = [batch for batch in Lake(sample / "lake").batches().values() if batch.source == source]
        found = {
            "contract": ", ".join({contract for batch in batches for contract in batch.counts}),
            "deliveries": len(committed),
            "files": sum(len(batch.files) for batch in batches) + len(of_source) - len(committed),
            **{
                name: sum(getattr(result, name) for result in committed)
                for name in ("rows_read", "rows_loaded", "rows_quarantined", "rows_skipped")
            },
        }
        if source in reasons:
            found["quarantine_reasons"] = reasons[source]
        assert found == expected, source
        assert [result.message for result in of_source if result.message] == [], source


def test_every_row_is_in_the_lake_once(truth, query):
    for source, expected in truth["sources"].items():
        contract = expected["contract"]
        assert query(f"select count(*) from {contract} where source = '{source}'") == [(expected["rows_loaded"],)]
    assert query("select count(*) from llm_calls") == [(truth["totals"]["attempts"],)]


def test_tokens_and_labels_arrive_as_the_generator_made_them(truth, query):
    planted = truth["planted"]
    prefix = f"prefix_tokens = {planted['prefix_caching']['prefix_tokens']}"
    on_at = planted["prefix_caching"]["on_at"]
    [(before, after)] = query(
        f"""
        select
            coalesce(sum(cache_read_tokens) filter (started_at < timestamptz '{on_at}'), 0),
            sum(cache_read_tokens) filter (started_at >= timestamptz '{on_at}')
        from llm_calls where {prefix}
        """
    )
    assert (before, after) == (
        planted["prefix_caching"]["cache_read_tokens_before"],
        planted["prefix_caching"]["cache_read_tokens_after"],
    )
    assert after > 0
    assert query("select sum(reasoning_tokens) from llm_calls") == [(planted["reasoning_tokens"],)]
    assert query("select count(router_confidence) from llm_calls") == [(planted["router_confidences"],)]
    assert query("select count(*) from llm_calls where call_kind = 'judge'") == [(planted["judge_attempts"],)]
    assert query(
        "select count(*), count(distinct prompt_hash) from llm_calls "
        "where prompt_hash like 'faq-%' and step_name = 'answer'"
    ) == [(planted["faq_repeats"]["attempts"], planted["faq_repeats"]["prompts"])]
    inputs = (
        "sum(coalesce(uncached_input_tokens, 0) + coalesce(cache_read_tokens, 0) + coalesce(cache_write_5m_tokens, 0) "
        "+ coalesce(cache_write_1h_tokens, 0))"
    )
    by_model = query(
        f"select model, count(*), {inputs}, sum(coalesce(output_text_tokens, 0) + coalesce(reasoning_tokens, 0)) "
        "from llm_calls group by model order by model"
    )
    assert by_model == [
        (row["model"], row["attempts"], row["input_tokens"], row["output_tokens"]) for row in truth["cost_by_model"]
    ]
    assert query("select count(*) from llm_calls where task_id is null") == [
        (truth["totals"]["untagged_attempts"]["no_task"],)
    ]
    origins = "select task_id_origin, count(distinct task_id) from llm_calls where task_id is not null group by all"
    assert dict(query(origins)) == truth["totals"]["tasks_by_origin"]


def test_cache_writes_of_both_lifetimes_are_there(query):
    [(five_minutes, one_hour)] = query("select sum(cache_write_5m_tokens), sum(cache_write_1h_tokens) from llm_calls")
    assert five_minutes > 0
    assert one_hour > 0


def test_retries_are_labelled_and_failures_have_every_cause(truth, query):
    assert query("select count(distinct task_id) from llm_calls where retry_reason = 'schema_invalid'") != [(0,)]
    [(retried,)] = query(
        "select count(distinct task_id) from llm_calls where retry_reason = 'schema_invalid' and step_name = 'answer'"
        " and task_type = 'support_ticket'"
    )
    assert retried == truth["planted"]["schema_retries"]["retried_tickets"]
    causes = {row["cause"] for row in truth["failed_by_cause"]}
    assert causes >= {"schema_invalid", "rate_limited", "timeout", "server_error", "tool_error", "evicted", "unknown"}
    errors = {error for (error,) in query("select distinct error_type from llm_calls where status = 'failed'")}
    assert errors >= {
        "RateLimitError 429",
        "Timeout 408",
        "InternalServerError 500",
        "ToolException",
        "SpotEvictedError",
    }
    # a failure that says nothing is told by a null
    assert None in errors


def test_the_flagship_has_attempts_on_both_sides_of_its_price_cut(truth, query):
    cut = truth["planted"]["price_cut"]
    at = f"timestamptz '{cut['at']}'"
    assert query(
        f"select count(*) filter (started_at < {at}), count(*) filter (started_at >= {at}) from llm_calls "
        f"where model = '{cut['model']}'"
    ) == [(cut["attempts_before"], cut["attempts_after"])]
    assert cut["attempts_before"] > 0 < cut["attempts_after"]
    [task] = cut["tickets_over_the_cut"]
    assert query(
        f"select min(started_at) < {at} and max(started_at) >= {at} from llm_calls where task_id = '{task}'"
    ) == [(True,)]


def test_the_late_file_came_late(sample, truth):
    late = truth["planted"]["late_file"]
    moment = datetime.fromtimestamp((sample / late["path"]).stat().st_mtime).astimezone()
    day = datetime.fromisoformat(f"{late['usage_date']}T00:00:00+00:00")
    assert timedelta(days=late["days_late"]) < moment - day < timedelta(days=late["days_late"] + 2)


def test_the_file_that_was_delivered_twice_counts_once(sample, truth, results):
    twice = truth["planted"]["file_delivered_twice"]
    (again,) = (sample / "landing" / "gateway" / twice["gateway"]).glob("*_resent*")
    assert twice["usage_date"] in again.name
    of_day = [result for result in results if f"{twice['gateway']}/spend_logs_{twice['usage_date']}" in result.name]
    assert sorted(result.state for result in of_day) == ["committed", "unchanged"]
    assert len({result.batch_id for result in of_day}) == 1


def test_the_malformed_lines_are_where_the_truth_says(sample, truth, query):
    planted = truth["planted"]["malformed_lines"]
    (name,) = {name for (name,) in query("select distinct file_name from quarantined_rows")}
    assert planted["file_date"] in name
    path = sample / "landing" / "gateway" / planted["gateway"] / name
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = text.decode().splitlines()
    for line_number, column in query("select line_number, column_name from quarantined_rows"):
        line = lines[line_number - 1]
        assert "broken" in line or "ERROR" in line
        assert (column is None) == (line[-1:] != "}")


def test_bills_come_twice_in_three_currencies_and_the_second_lost_a_day(sample, truth):
    batches = [batch for batch in Lake(sample / "lake").batches().values() if batch.replaces_period]
    assert Counter(batch.source for batch in batches) == {
        name: count["deliveries"] for name, count in truth["sources"].items() if count["contract"] == "bill_lines"
    }
    kinds, currencies = set(), set()
    gone = truth["planted"]["restated_bills"]
    lines: dict[tuple[str, int], int] = {}
    for batch in batches:
        kinds.update(Path(file.name).suffix for file in batch.files)
        number = int(re.search(r"delivery_(\d)", batch.files[0].path).group(1))
        parts = [str(sample / "lake" / part.path) for part in batch.parts if part.contract == "bill_lines"]
        rows = duckdb.sql(
            f"select billing_currency, count(*) filter (charge_category = 'Usage' and "
            f"cast(charge_period_start at time zone 'UTC' as date) = date '{gone['day_gone']}') "
            f"from read_parquet({parts}) group by 1"
        ).fetchall()
        [(currency, of_day)] = rows
        currencies.add(currency)
        lines[batch.source, number] = lines.get((batch.source, number), 0) + of_day
    assert kinds == {".csv", ".parquet"}
    assert currencies == {"INR", "GBP", "USD"}
    for source in gone["gone_from"]:
        assert lines[source, 2] < lines[source, 1], source
    assert lines["cloud_bill_global", 2] == 0


def test_gpu_samples_have_their_gap_their_unwatched_machine_and_two_host_labels(sample, truth, query):
    planted = truth["planted"]
    gap = planted["missing_samples"]
    span = f"sampled_at >= timestamptz '{gap['from']}' and sampled_at < timestamptz '{gap['to']}'"
    mumbai = "from gpu_samples where source = 'gpu_metrics_in'"
    assert query(f"select count(*) {mumbai} and {span}") == [(0,)]
    hour = "interval 1 hour"
    around = span.replace(">= ", f">= -{hour} + ", 1).replace("< ", f"< {hour} + ", 1)
    [(around_count,)] = query(f"select count(*) {mumbai} and {around}")
    assert around_count > 0
    [unwatched] = planted["never_sampled"]
    assert query(f"select count(*) from bill_lines where resource_id = '{unwatched}'") != [(0,)]
    assert query(f"select count(*) from resource_links where resource_id = '{unwatched}'") == [(0,)]
    for name, count in planted["gpu_samples"].items():
        source = {"mumbai": "gpu_metrics_in", "london": "gpu_metrics_uk"}[name]
        keys = f"select count(distinct (gpu_uuid, sampled_at)) from gpu_samples where source = '{source}'"
        assert query(keys) == [(count,)], name
    labels = {
        label
        for path in (sample / "landing" / "gpu" / "mumbai").rglob("*.json")
        for label in re.findall(r'"([Hh]ostname)"', path.read_text())
    }
    assert labels == {"Hostname", "hostname"}
    assert query("select count(*) from gpu_samples where hostname is null") == [(0,)]


def test_evictions_and_what_came_after_are_events(truth, query):
    for eviction in truth["planted"]["evictions"]:
        assert query(
            f"select event from gpu_events where resource_id = '{eviction['resource_id']}' "
            f'and "at" <= timestamptz \'{eviction["at"]}\' order by "at"'
        ) == [("interruption",), ("eviction",)]
        assert query(f"select event from gpu_events where replica_id = '{eviction['next_replica_id']}' limit 1") == [
            ("restart",)
        ]


def test_some_tasks_are_labelled_again_with_another_outcome(truth, query):
    relabelled = query("select task_id from tasks group by task_id having count(distinct outcome) > 1 and count(*) > 1")
    assert len(relabelled) == truth["planted"]["relabelled_tasks"] > 0
    outcomes = {outcome for (outcome,) in query("select distinct outcome from tasks")}
    assert outcomes >= {"success", "escalated", "failure"}


def test_exchange_rates_are_those_that_the_truth_uses(truth, query):
    for currency, days in truth["usd_per_unit"].items():
        for day, expected in days.items():
            [(rate,)] = query(
                f"select rate from fx_rates where quote = '{currency}' and rate_date <= date '{day}' "
                "order by rate_date desc limit 1"
            )
            assert abs(1 / rate - Decimal(expected)) < Decimal("1e-11")


def test_no_address_and_no_key_of_the_logs_is_in_the_lake(sample, results):
    for path in (sample / "lake").rglob("*.parquet"):
        text = repr(duckdb.sql(f"from read_parquet('{path}')").fetchall()) if "llm_calls" in str(path) else ""
        assert "10.20.0.5" not in text
        assert not re.search(r"\b[0-9a-f]{64}\b", text)
