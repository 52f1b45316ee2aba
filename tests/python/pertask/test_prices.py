"""pertask prices: bringing a list in, and what became of its observations."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from ingest.lake import Lake
from pertask.home import Home
from tests.python.pertask.test_cli import call

TABLE = {
    "gpt-x": {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
    "seconds": {"litellm_provider": "openai", "input_cost_per_second": 1},
}


@pytest.fixture
def home(tmp_path, monkeypatch) -> Home:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("PERTASK_HOME", str(folder))
    return Home(folder)


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(TABLE))
    return path


def publish_observations(home: Home, rows: str = "", *, count: int = 1) -> None:
    home.published.mkdir()
    with duckdb.connect(str(home.published_file)) as connection:
        connection.execute("create schema quality")
        if rows:
            connection.execute(
                f"""
                create table quality.price_observations as
                select columns(* exclude (number)) from (values {rows}) as t (
                    provider, model, region, service_tier, context_above_tokens, component, usd_per_million,
                    observed_at, state, held_reason
                ) cross join range({count}) as n (number)
                """
            )


USED = "('openai', 'gpt-x', null, 'standard', 0, 'input', 2.5, timestamp '2026-08-02 06:00:00', 'used', null)"
HELD = (
    "('openai', 'gpt-y', 'eu', 'batch', 200000, 'output', 2500.0, timestamp '2026-08-01 06:00:00', 'held', "
    "'a factor of 500 or more from the price book')"
)


def test_a_list_is_brought_in_and_counted(home, table):
    result = call("prices", "import", table, "--observed-at", "2026-08-01T06:00:00Z")
    assert result.exit_code == 0, result.stderr
    assert "prices: 2 observations came in; 1 of the list are nothing to price calls with, 0 were quarantined" in (
        result.stdout
    )
    assert "pertask run" in result.stdout
    [batch] = Lake(home.lake).batches().values()
    assert (batch.source, batch.format, batch.delivered_at) == (
        "prices",
        "litellm_prices",
        datetime(2026, 8, 1, 6, tzinfo=UTC),
    )

    again = call("prices", "import", table, "--observed-at", "2026-08-01T06:00:00Z")
    assert (again.exit_code, "in the lake already" in again.stdout) == (0, True)
    later = call("prices", "import", table, "--observed-at", "2026-08-02", "--source", "mine")
    assert "2 observations came in" in later.stdout
    assert sorted(batch.source for batch in Lake(home.lake).batches().values()) == ["mine", "prices"]


def test_without_a_time_the_list_is_as_old_as_its_file(home, table):
    assert call("prices", "import", table).exit_code == 0
    [batch] = Lake(home.lake).batches().values()
    file_time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=table.stat().st_mtime_ns // 1000)
    assert batch.delivered_at == file_time


def test_a_file_that_is_no_list_of_prices(home, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("task_id,outcome\nt,success\n")
    result = call("prices", "import", path)
    assert result.exit_code == 3
    assert f"NOT READ: {path}: this is not litellm_prices (a csv file with: task_id, outcome)" in result.stdout
    assert "came in" not in result.stdout


def test_too_many_bad_prices_end_with_3(home, tmp_path):
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({**TABLE, "bad": {"input_cost_per_token": "cheap"}}))
    result = call("prices", "import", path)
    assert result.exit_code == 3
    assert "2 observations came in; 1 of the list are nothing to price calls with, 1 were quarantined" in result.stdout
    assert "1 of 4 new rows were quarantined" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["prices", "import", "no-such-file"], "no-such-file: there is no such file or folder"),
        (["prices", "import"], "FILE"),
        (["prices", "import", ".", "--observed-at", "today"], "'today' is no time"),
        (["prices", "nonsense"], "nonsense"),
    ],
)
def test_wrong_usage_ends_with_2(home, arguments, expected):
    result = call(*arguments)
    assert result.exit_code == 2
    assert expected in result.stderr


def test_the_list_tells_what_became_of_each(home):
    publish_observations(home, f"{USED}, {HELD}")
    result = call("prices", "list")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "prices: 2 observed: 1 used, 0 not needed, 1 held back"
    assert lines[3] == (
        "2026-08-01 06:00 openai gpt-y batch, eu, above 200,000 tokens output 2500.0 held "
        "a factor of 500 or more from the price book"
    )
    assert lines[4] == "2026-08-02 06:00 openai gpt-x input 2.5 used"
    assert f"write the right price into {home.company}/prices.csv" in lines[-1]


def test_only_those_that_are_held(home):
    publish_observations(home, f"{USED}, {HELD}")
    result = call("prices", "list", "--held")
    assert "gpt-y" in result.stdout
    assert "gpt-x" not in result.stdout


def test_a_long_list_is_cut_and_says_so(home):
    publish_observations(home, USED, count=205)
    result = call("prices", "list")
    assert result.stdout.count("gpt-x") == 200
    assert '5 more are not shown: pertask query "from quality.price_observations"' in result.stdout
    assert "held price is not used" not in result.stdout
    assert "more are not shown" not in call("prices", "list", "--held").stdout


def test_without_observations(home):
    publish_observations(home, f"{USED}", count=0)
    assert "none were observed. pertask prices import FILE brings in a list" in call("prices", "list").stdout


def test_without_the_mart_it_says_what_to_do(home):
    nothing = call("prices", "list")
    assert (nothing.exit_code, "nothing is published yet" in nothing.stderr) == (2, True)
    publish_observations(home)
    older = call("prices", "list", "--held")
    assert older.exit_code == 2
    assert "has no observed prices (quality.price_observations)" in older.stderr
    assert "Run pertask run" in older.stderr
