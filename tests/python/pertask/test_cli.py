"""The command: what each command does, says and ends with. The graph itself is a stand-in here."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ingest.lake import Lake
from ingest.runner import BatchResult
from pertask import cli, dev
from pertask.company import load_company
from pertask.config import load_config
from pertask.home import Home
from pertask.screen import Screen
from publish.conditions import Check, Outcome
from publish.publication import publish
from tests.python.conftest import spend_log_row, write_json_lines
from tests.python.publish.hooks import serving, status
from tests.python.publish.warehouses import make_warehouse

MAPPING = "contract: tasks\nformat: csv\n{source}columns: {{task_id: id, outcome: \"'success'\"}}\n"


@pytest.fixture
def home(tmp_path, monkeypatch) -> Home:
    """A home without sources, which the command works in."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("PERTASK_HOME", str(folder))
    home = Home(folder)
    home.config_file.write_text("sources: {}\n")
    return home


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(cli.cli, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


class NoGraph(Exception):
    """An error of the graph that people can mend."""


@pytest.fixture
def graph(monkeypatch):
    """What the graph was asked to do; set ``answer`` to what it shall say."""

    class Graph:
        answer: object = Outcome(True)
        asked: tuple | None = None

        def execute(self, home, steps, *, say, on_delivery, **options):
            self.asked = (home, steps, options)
            if isinstance(self.answer, Exception):
                raise self.answer
            say("build: nothing changed")
            return self.answer

    fake = Graph()
    monkeypatch.setattr(cli, "_graph", lambda: (fake.execute, (NoGraph,)))
    return fake


def loaded(rows: int = 0, quarantined: int = 0, state: str = "committed", message: str = "") -> BatchResult:
    return BatchResult(
        "gateway",
        "a.jsonl",
        state,
        "focus",
        message=message,
        rows_read=rows + quarantined,
        rows_loaded=rows,
        rows_quarantined=quarantined,
    )


# Graph commands


@pytest.mark.parametrize(
    ("arguments", "steps", "options"),
    [
        (["run"], ("ingest", "build", "publish"), {}),
        (["build"], ("build",), {"full_refresh": False, "dates": None}),
        (["build", "--full-refresh"], ("build",), {"full_refresh": True, "dates": None}),
        (
            ["build", "--from", "2026-08-01", "--to", "2026-08-02"],
            ("build",),
            {"full_refresh": False, "dates": (date(2026, 8, 1), date(2026, 8, 2))},
        ),
        (["publish"], ("publish",), {}),
    ],
)
def test_a_command_asks_the_graph_for_its_steps(home, graph, arguments, steps, options):
    result = call(*arguments)
    assert graph.asked == (home, steps, options)
    assert result.exit_code == 0
    assert "build: nothing changed" in result.stdout
    assert ("every check passed" in result.stdout) == ("build" in steps)


def test_a_folder_without_a_configuration_is_no_home(home, graph):
    home.config_file.unlink()
    result = call("run")
    assert (result.exit_code, graph.asked) == (cli.WRONG_USAGE, None)
    assert f"{home.config_file}: there is no such file" in result.stderr
    assert "pertask init" in result.stderr


def test_a_failed_check_is_named_and_ends_with_1(home, graph):
    graph.answer = Outcome(
        False,
        "warehouse: 1 of 9 tests failed",
        (Check("adds_up_fct_gpu_hours", "3 rows"),),
        (Check("w", "late"),),
    )
    result = call("run")
    assert result.exit_code == 1
    assert "check failed: adds_up_fct_gpu_hours: 3 rows" in result.stderr
    assert "warehouse: 1 of 9 tests failed" in result.stderr
    assert "Nothing was published." in result.stderr
    assert "warning: w: late" in result.stdout


def test_a_failure_says_that_the_last_publication_stays(home, graph):
    home.published.mkdir()
    home.published_file.write_bytes(b"")
    graph.answer = Outcome(False, "x")
    assert "The last publication stays" in call("publish").stderr


def test_an_error_of_the_graph_that_people_can_mend_ends_with_1(home, graph):
    graph.answer = NoGraph("process 77 is running this home's graph")
    result = call("build")
    assert (result.exit_code, result.stderr) == (1, "process 77 is running this home's graph\n")


def test_an_error_that_is_a_bug_is_not_hidden(home, graph):
    graph.answer = ZeroDivisionError("bug")
    assert isinstance(CliRunner().invoke(cli.cli, ["build"]).exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("limit", "results", "code"),
    [
        (0.1, [loaded(9, 1)], 0),
        (0.0999, [loaded(9, 1)], 3),
        (0.1, [loaded(9, 1), loaded(0, 5, "unchanged")], 0),
        (0.1, [loaded(1, 1), loaded(100)], 0),
        (1, [loaded(0, 5)], 0),
        (1, [loaded(5), loaded(state="failed", message="b.gz: cut off")], 3),
        (0, [], 0),
    ],
)
def test_what_did_not_get_in_ends_with_3(home, graph, limit, results, code):
    home.config_file.write_text(f"limits: {{quarantined_ratio: {limit}}}")
    graph.answer = Outcome(True, deliveries=tuple(results))
    result = call("run")
    assert result.exit_code == code
    assert bool(result.stderr) == (code == 3)


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("pertask.yml", "source: {}", "pertask.yml:1:1: source: there is no such key. Did you mean sources?"),
        ("company/teams.csv", "teem\n", "teams.csv:1: there is no column 'teem'. Did you mean team?"),
    ],
)
def test_wrong_configuration_ends_with_2_before_anything_starts(home, graph, file, text, expected):
    home.company.mkdir()
    (home.root / file).write_text(text)
    result = call("run")
    assert (result.exit_code, graph.asked) == (2, None)
    assert expected in result.stderr


def test_sources_that_delivered_nothing_are_named(home, graph):
    home.config_file.write_text("sources: {gateway: {path: landing/gateway}}")
    assert f"source gateway has delivered nothing yet ({home.root}/landing/gateway)" in call("run").stdout
    home.config_file.write_text("")
    assert f"no sources in {home.config_file}" in call("run").stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["build", "--from", "2026-08-01"], "--from and --to go together"),
        (["build", "--from", "2026-08-02", "--to", "2026-08-01"], "--from 2026-08-02 is after --to 2026-08-01"),
        (["build", "--from", "2026-13-02", "--to", "2026-08-01"], "'2026-13-02' is no date. Write it as 2026-08-31."),
        (["ingest", "--source", "x"], "say how to read PATH, and there is none"),
        (["ingest", "no-such-file"], "no-such-file: there is no such file or folder"),
        (["ingest", ".", "--format", "litelm"], "there is no format litelm"),
        (["ingest", ".", "--format", "mapping"], "--format mapping needs --mapping FILE"),
        (["ingest", ".", "--format", "focus", "--mapping", "m.yml"], "--mapping is for --format mapping"),
        (["ingest", ".", "--delivered-at", "today"], "'today' is no time. Write it as 2026-09-01T00:00:00Z."),
        (["query", "select 1", "--format", "xml"], "xml"),
        (["query"], '"SQL"'),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_usage_ends_with_2(home, graph, arguments, expected):
    result = call(*arguments)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert graph.asked is None


def test_a_home_that_is_not_there_ends_with_2(home, graph, monkeypatch):
    monkeypatch.setenv("PERTASK_HOME", str(home.root / "typo"))
    for command in (["run"], ["status"], ["query", "select 1"]):
        result = call(*command)
        assert result.exit_code == 2
        assert "there is no such folder. Set PERTASK_HOME" in result.stderr
    assert not (home.root / "typo").exists()


# Ingest


def sources(home: Home) -> dict[str, str]:
    """Names of the files in the lake, by the source that they are stamped with."""
    return {batch.files[0].name: batch.source for batch in Lake(home.lake).batches().values()}


def test_the_source_of_a_path_is_named_by_the_option_or_by_what_it_is(home, tmp_path):
    calls = write_json_lines(tmp_path / "calls.jsonl", [spend_log_row("a")])
    named = write_json_lines(tmp_path / "named.jsonl", [spend_log_row("b")])
    for name, source in (("with", "source: bot\n"), ("bare", "")):
        (tmp_path / f"{name}.yml").write_text(MAPPING.format(source=source))
        (tmp_path / f"{name}.csv").write_text(f"id\n{name}\n")

    codes = [
        call("ingest", calls).exit_code,
        call("ingest", named, "--source", "gateway").exit_code,
        call("ingest", tmp_path / "with.csv", "--mapping", tmp_path / "with.yml").exit_code,
        call("ingest", tmp_path / "bare.csv", "--format", "mapping", "--mapping", tmp_path / "bare.yml").exit_code,
    ]

    assert codes == [0, 0, 0, 0]
    assert sources(home) == {
        "calls.jsonl": "litellm_spend_logs",
        "named.jsonl": "gateway",
        "with.csv": "bot",
        "bare.csv": "bare",
    }


def test_a_folder_of_several_formats_needs_a_name(home, tmp_path):
    folder = tmp_path / "mixed"
    write_json_lines(folder / "calls.jsonl", [spend_log_row("a")])
    (folder / "tasks.csv").write_text("task_id,outcome\nt,success\n")

    refused = call("ingest", folder)
    assert refused.exit_code == 2
    assert "several formats are in it (litellm_spend_logs, tasks)" in refused.stderr
    assert call("ingest", folder, "--source", "all").exit_code == 0
    assert sources(home) == {"calls.jsonl": "all", "tasks.csv": "all"}


def test_what_pertask_yml_says_of_a_source_holds_for_a_path_too(home, tmp_path):
    home.config_file.write_text(
        "sources: {gateway: {path: landing, format: litellm_spend_logs, time_zone: Asia/Kolkata}}"
    )
    path = write_json_lines(tmp_path / "calls.jsonl", [spend_log_row("a", "2026-08-01T00:00:00")])

    assert call("ingest", path, "--source", "gateway", "--delivered-at", "2026-09-01").exit_code == 0

    [batch] = Lake(home.lake).batches().values()
    assert batch.counts["llm_calls"].max_date == date(2026, 7, 31), "not read in the source's time zone"
    assert batch.delivered_at == datetime(2026, 9, 1, tzinfo=UTC)


def test_without_a_path_the_sources_of_pertask_yml_are_read(home):
    home.config_file.write_text("sources: {gateway: {path: landing/gateway}, later: {path: landing/later}}")
    write_json_lines(home.landing / "gateway" / "a.jsonl", [spend_log_row("a")])
    result = call("ingest")
    assert result.exit_code == 0, result.stderr
    assert sources(home) == {"a.jsonl": "gateway"}
    assert "source later has delivered nothing yet" in result.stdout
    assert "1 committed" in result.stdout
    assert "1 unchanged" in call("ingest").stdout


def test_a_source_in_a_bucket_is_fetched_and_read(home, store):
    bucket = store.make_bucket("cli-logs")
    where = f"endpoint: '{store.endpoint}', region: eu-west-1"
    home.config_file.write_text(
        f"sources: {{gateway: {{path: 's3://{bucket}/logs/', {where}}}, "
        f"later: {{path: 's3://{bucket}/later/', {where}}}, lost: {{path: 's3://no-such-bucket/', {where}}}}}"
    )
    store.put(bucket, "logs/a.jsonl", (json.dumps(spend_log_row("a")) + "\n").encode())

    result = call("ingest")

    assert result.exit_code == cli.INCOMPLETE
    assert sources(home) == {"a.jsonl": "gateway"}
    assert "ingest: fetching 1 object, 0.0 MB, of source gateway" in result.stdout
    assert f"source later has delivered nothing yet (s3://{bucket}/later/)" in result.stdout
    assert "NOT READ: s3://no-such-bucket/ (source 'lost'): there is no bucket 'no-such-bucket'" in result.stdout
    assert "source lost has delivered nothing" not in result.stdout
    assert "source gateway has delivered nothing" not in result.stdout
    lines = [" ".join(line.split()) for line in call("status").stdout.splitlines()]
    assert "later nothing yet" in lines
    assert any(line.startswith("gateway 20") for line in lines)


def test_a_path_beside_a_source_in_a_bucket_is_read_alone(home, store, tmp_path):
    home.config_file.write_text("sources: {gateway: {path: 's3://no-such-bucket/', format: litellm_spend_logs}}")
    path = write_json_lines(tmp_path / "a.jsonl", [spend_log_row("a")])
    assert call("ingest", path, "--source", "gateway").exit_code == 0
    assert store.requests == []


@pytest.mark.parametrize("address", ["s3://bucket/logs/", "s3://bucket"])
def test_a_bucket_as_a_path_is_refused_with_what_to_do(home, address):
    result = call("ingest", address)
    assert result.exit_code == cli.WRONG_USAGE
    assert f"{address.rstrip('/')}: a bucket is read as a source. Name it in pertask.yml" in result.stderr


def test_credentials_in_a_path_are_not_repeated(home):
    result = call("ingest", "s3://canary:can/ary@bucket/logs")
    assert result.exit_code == cli.WRONG_USAGE
    assert "s3://…@bucket/logs: a bucket is read as a source" in result.stderr
    assert "canary" not in result.output and "can/ary" not in result.output


def test_one_unreadable_delivery_is_told_and_the_rest_gets_in(home, tmp_path):
    good = write_json_lines(tmp_path / "calls.jsonl", [spend_log_row("a")])
    bad = tmp_path / "noise.txt"
    bad.write_text("nothing known")

    result = call("ingest", bad, good, "--source", "gateway")

    assert result.exit_code == 3
    assert f"NOT READ: {bad}" in result.stdout
    assert "1 of 2 deliveries could not be read" in result.stderr
    assert sources(home) == {"calls.jsonl": "gateway"}


def test_too_many_quarantined_rows_end_with_3(home, tmp_path):
    path = write_json_lines(tmp_path / "calls.jsonl", [spend_log_row("a"), spend_log_row("b", prompt_tokens=-1)])
    result = call("ingest", path)
    assert result.exit_code == 3
    assert "1 of 2 new rows were quarantined (50.00%), more than the limit of 1.00%" in result.stderr
    assert call("ingest", path).exit_code == 0, "nothing new was quarantined"


def test_a_wrong_mapping_ends_with_2(home, tmp_path):
    (tmp_path / "m.yml").write_text("contract: tasks\nformat: csv\ncolumns: {task_idd: id}\n")
    (tmp_path / "a.csv").write_text("id\n1\n")
    result = call("ingest", tmp_path / "a.csv", "--mapping", tmp_path / "m.yml")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{tmp_path}/m.yml:3:11: ")
    assert not home.lake.exists()


def test_a_lake_that_contradicts_itself_ends_with_1(home):
    (home.lake / "_ledger").mkdir(parents=True)
    (home.lake / "_ledger" / "x.json").write_text("{}")
    result = call("status")
    assert result.exit_code == 1
    assert "this ledger record cannot be read" in result.stderr


# Query, init, dev, start-up


def test_query_asks_the_published_file(tmp_path, monkeypatch):
    home = make_warehouse(tmp_path / "home")
    monkeypatch.setenv("PERTASK_HOME", str(home.root))
    publish(home)
    rows = json.loads(call("query", "select call_id from core.fct_call_attempts order by 1", "--format", "json").stdout)
    assert rows == [{"call_id": "a"}, {"call_id": "b"}, {"call_id": "c"}, {"call_id": "d"}]
    wrong = call("query", "from nope")
    assert (wrong.exit_code, "nope does not exist" in wrong.stderr) == (2, True)


def test_query_without_a_publication_ends_with_2(home):
    result = call("query", "select 1")
    assert result.exit_code == 2
    assert "nothing is published yet" in result.stderr


def test_init_makes_a_home_that_is_right_and_overwrites_nothing(home, tmp_path):
    folder = tmp_path / "new" / "home"
    assert call("init", folder).exit_code == 0
    made = Home(folder)
    load_config(made)
    assert set(load_company(made)) == {"teams", "task_types", "aliases", "owners", "discounts", "prices"}
    made.config_file.write_text("# mine")
    (made.company / "teams.csv").unlink()

    again = call("init", folder)

    assert made.config_file.read_text() == "# mine"
    assert (made.company / "teams.csv").exists()
    assert f"kept  {made.config_file}" in again.stdout
    assert f"wrote {made.company}/teams.csv" in again.stdout
    assert call("init").exit_code == 0
    assert home.config_file.exists(), "without DIR it is the current home"


def test_dev_serves_on_this_machine_only_and_without_telemetry(home, monkeypatch):
    calls = []

    def run(command, *, env, check):
        calls.append((command, env))
        return subprocess.CompletedProcess(command, 5)

    monkeypatch.setattr(dev.subprocess, "run", run)
    assert call("dev").exit_code == 5
    [(command, environment)] = calls
    assert command[command.index("-h") + 1] == "127.0.0.1"
    assert (environment["DAGSTER_HOME"], environment["PERTASK_HOME"]) == (str(home.dagster), str(home.root))
    assert "enabled: false" in (home.dagster / "dagster.yaml").read_text()


def test_the_command_starts_without_anything_heavy():
    code = "import pertask.cli, sys; print([name for name in sys.argv[1:] if name in sys.modules])"
    heavy = ["dagster", "dbt", "duckdb", "polars", "pyarrow", "pydantic", "rich", "ruamel.yaml"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["query", "select build_id from main.publication"], "build_id"), (["status"], "calls.jsonl")],
)
def test_query_and_status_load_only_what_they_need(arguments, told, tmp_path, monkeypatch):
    published = make_warehouse(tmp_path / "home")
    monkeypatch.setenv("PERTASK_HOME", str(published.root))
    publish(published)
    assert call("ingest", write_json_lines(tmp_path / "calls.jsonl", [spend_log_row("r1")])).exit_code == 0
    code = f"""
import sys
from pertask.cli import cli
cli({arguments!r}, standalone_mode=False)
print([name for name in ("dagster", "dbt", "polars", "pyarrow") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert told in done.stdout


def test_many_notes_on_deliveries_are_cut_short(capsys):
    screen = Screen()
    for number in range(30):
        screen.delivery(loaded(state="failed", message=f"file {number}"), number + 1, 30)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ingest: NOT READ: a.jsonl: file 0"
    assert len(lines) == 21
    assert "not listed" in lines[-1]


def test_demo_refuses_a_folder_of_somebody(home, graph, tmp_path):
    folder: Path = tmp_path / "mine"
    folder.mkdir()
    (folder / "pertask.yml").write_text("# mine")
    result = call("demo", folder)
    assert result.exit_code == 2
    assert "Choose an empty folder" in result.stderr
    assert (folder / "pertask.yml").read_text() == "# mine"
    assert graph.asked is None


def test_demo_runs_the_graph_on_the_sample_and_reads_it_out(graph, tmp_path, monkeypatch):
    def generate(folder):
        publish(make_warehouse(folder))

    monkeypatch.setattr("ingest.sample.generate", generate)
    result = call("demo", tmp_path / "sample")
    assert result.exit_code == 0
    assert graph.asked == (Home(tmp_path / "sample"), ("ingest", "build", "publish"), {})
    assert "Failed attempts: 0.25 of 1.00 USD" in result.stdout

    graph.answer = Outcome(False, "a check failed")
    failed = call("demo", tmp_path / "another")
    assert (failed.exit_code, "Failed attempts" in failed.stdout) == (1, False)


def test_a_test_alert_says_whether_it_arrived(home, monkeypatch):
    with serving() as hook:
        monkeypatch.setenv("PERTASK_ALERT_WEBHOOK", hook.url)
        arrived = call("alerts", "test")
        hook.replies = [status(404, "no_service")]
        refused = call("alerts", "test")
    assert (arrived.exit_code, arrived.output) == (0, "the test message arrived\n")
    assert refused.exit_code == cli.FAILED
    assert refused.output == "the test message did not reach the webhook: it answered 404 (no_service).\n"
    assert len(hook.received) == 2


@pytest.mark.parametrize("url", ["", "hooks.slack.com/services/canary"])
def test_a_test_alert_needs_a_webhook(home, monkeypatch, url):
    monkeypatch.setenv("PERTASK_ALERT_WEBHOOK", url)
    result = call("alerts", "test")
    assert result.exit_code == cli.WRONG_USAGE
    assert result.output.startswith("PERTASK_ALERT_WEBHOOK") and "canary" not in result.output
