"""Which conditions hold: of a run, of silent sources, of idle dollars, of an old publication."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ingest.ledger import Batch, Counts, Part
from ingest.runner import BatchResult, IngestRequest, ingest
from pertask import query, status
from pertask.config import Alerts, Config, load_config
from pertask.home import Home
from publish.conditions import Alert, Check, Outcome, Situation, conditions
from tests.python.conftest import spend_log_row, write_json_lines

NOW = datetime(2026, 9, 10, 6, tzinfo=UTC)
GOOD = Outcome(True, deliveries=())


def config(**sections: dict) -> Config:
    return Config.model_validate(sections)


def watching(hours: int) -> Config:
    return config(sources={"bill": {"path": "landing/bill", "stale_after_hours": hours}, "other": {"path": "x"}})


def found(situation: Situation) -> dict[str, Alert]:
    return {alert.condition: alert for alert in situation.alerts}


def delivery(state: str = "committed", read: int = 0, quarantined: int = 0, **changes: str) -> BatchResult:
    values = {"source": "gateway", "name": "a.jsonl", **changes}
    return BatchResult(
        state=state, rows_read=read, rows_loaded=read - quarantined, rows_quarantined=quarantined, **values
    )


def publish(home: Home, *, hours: str = "", idle: str = "", published_at: str = "2026-09-10 05:00") -> Home:
    """A publication with these rows of GPU hours and of idle dollars."""
    home.published.mkdir(parents=True)
    with duckdb.connect(str(home.published_file)) as connection:
        connection.execute("create schema core; create schema capacity")
        connection.execute("create table core.fct_gpu_hours (hour_at timestamp)")
        connection.execute(
            """
            create table capacity.idle_dollars_daily (
                usage_date date, team varchar, service varchar, region varchar, gpu_model varchar,
                purchase_mode varchar, effective_cost_usd decimal(38, 12), loaded_idle_usd decimal(38, 12),
                unallocated_usd decimal(38, 12), unknown_usd decimal(38, 12), idle_usd decimal(38, 12),
                is_provisional boolean
            )
            """
        )
        connection.execute(f"create table publication as select timestamp '{published_at}' as published_at")
        if hours:
            connection.execute(f"insert into core.fct_gpu_hours values {hours}")
        if idle:
            connection.execute(
                "insert into capacity.idle_dollars_daily (usage_date, team, idle_usd, unknown_usd, is_provisional) "
                f"values {idle}"
            )
    return home


def batch(
    delivered: datetime,
    newest: date | None,
    *,
    source: str = "bill",
    committed: datetime | None = None,
    stray: date | None = None,
) -> Batch:
    parts = [Part("gpu_events", "gpu_events/x.parquet", 1)]
    if newest:
        parts.append(Part("bill_lines", "bill_lines/x.parquet", 1, None, newest.replace(day=1), newest))
    if stray:
        parts.append(Part("llm_calls", "llm_calls/x.parquet", 1, stray, stray, stray))
    counts = {"bill_lines": Counts(1, 1), "gpu_events": Counts(1, 1)}
    return Batch("x", "y", source, "focus", 1, "", delivered, committed or delivered, (), tuple(parts), counts)


@pytest.fixture
def ledger(monkeypatch):
    """Makes the ledger hold these batches."""
    return lambda *batches: monkeypatch.setattr(status, "batches", lambda home: list(batches))


def test_a_good_run_of_an_empty_home_is_worth_no_message(tmp_path):
    assert conditions(Home(tmp_path), Config(), GOOD, NOW) == Situation((), frozenset({"quarantined"}))


def test_a_failed_run_and_each_failed_check(tmp_path):
    home = publish(Home(tmp_path / "my home"))
    outcome = Outcome(
        False,
        "build: 2 models or checks failed",
        (
            Check("assert_x", "Got 3 results, configured to fail if != 0"),
            Check("core.fct_tasks.sums", "tokens lost", Decimal("12.5"), "pertask query 'a'"),
        ),
    )
    situation = conditions(home, Config(), outcome, NOW)
    alerts = found(situation)
    assert list(alerts) == ["run_failed", "check_failed:assert_x", "check_failed:core.fct_tasks.sums"]
    assert alerts["run_failed"].what == "The run failed: build: 2 models or checks failed"
    assert alerts["run_failed"].where == f"{home.root}; the last publication stays"
    first, second = alerts["check_failed:assert_x"], alerts["check_failed:core.fct_tasks.sums"]
    assert first.what == "The check assert_x failed: Got 3 results, configured to fail if != 0"
    assert (first.dollars_usd, first.look) == (None, f"grep -A 5 assert_x '{home.logs}/dbt.log'")
    assert (second.dollars_usd, second.look) == (Decimal("12.5"), "pertask query 'a'")
    # what the run did not get to may still hold
    assert situation.unjudged >= {"check_failed", "warnings", "unread_deliveries", "quarantined"}


def test_warnings_are_one_alert_with_their_dollars(tmp_path):
    warnings = (
        Check("few_samples", "3 days"),
        Check("no_rate", "2 lines", Decimal("1000.25")),
        Check("late", "1 source", Decimal("2000")),
        Check("tags", "80%"),
    )
    [alert] = conditions(Home(tmp_path), Config(), Outcome(True, warnings=warnings), NOW).alerts
    assert (alert.condition, alert.what) == ("warnings", "4 checks warn; 2 without an amount")
    assert alert.where == "late: 1 source; no_rate: 2 lines; few_samples: 3 days; and 1 more"
    assert alert.dollars_usd == Decimal("3000.25")
    [alert] = conditions(Home(tmp_path), Config(), Outcome(True, warnings=warnings[:1]), NOW).alerts
    assert (alert.what, alert.dollars_usd) == ("1 check warns", None)


def test_deliveries_that_could_not_be_read_by_source(tmp_path):
    deliveries = (
        delivery(),
        *(delivery("failed", name=f"{n}.jsonl", message="not JSON") for n in range(5)),
        delivery("failed", source="bill", name="b.csv", message="no column BilledCost"),
        delivery("unchanged", source="good"),
    )
    situation = conditions(Home(tmp_path), Config(), Outcome(True, deliveries=deliveries), NOW)
    alerts = found(situation)
    assert list(alerts) == ["unread_deliveries:gateway", "unread_deliveries:bill"]
    gateway = alerts["unread_deliveries:gateway"]
    assert gateway.what == "5 of 6 deliveries of the source gateway could not be read"
    assert gateway.where == "0.jsonl: not JSON; 1.jsonl: not JSON; 2.jsonl: not JSON; and 2 more"
    assert gateway.dollars_usd is None and gateway.no_dollars
    assert "unread_deliveries" not in situation.unjudged


def test_a_run_that_ingests_nothing_judges_no_delivery(tmp_path):
    assert conditions(Home(tmp_path), Config(), Outcome(True), NOW).unjudged == {"unread_deliveries", "quarantined"}


@pytest.mark.parametrize(("quarantined", "is_told"), [(10, False), (11, True)])
def test_quarantine_beyond_the_limit(tmp_path, quarantined, is_told):
    deliveries = (
        delivery(read=900, quarantined=3),
        delivery("replaced", read=100, quarantined=quarantined - 3, source="bot"),
        delivery("unchanged", read=1000, quarantined=1000),
    )
    situation = conditions(Home(tmp_path), Config(), Outcome(True, deliveries=deliveries), NOW)
    assert "quarantined" not in situation.unjudged
    assert [alert.what for alert in situation.alerts] == (
        ["11 of 1,000 new rows were quarantined (1.10%), more than the limit of 1.00%"] if is_told else []
    )
    assert [alert.where for alert in situation.alerts] == (["bot: 8 rows; gateway: 3 rows"] if is_told else [])


def test_a_run_without_new_rows_does_not_end_a_quarantine(tmp_path):
    outcome = Outcome(True, deliveries=(delivery("unchanged", read=9),))
    assert conditions(Home(tmp_path), Config(), outcome, NOW).unjudged == {"quarantined"}


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([], "it has delivered nothing yet"),
        # what another source delivers does not count
        ([batch(NOW, NOW.date(), source="other")], "it has delivered nothing yet"),
        ([batch(NOW - timedelta(hours=24), date(2026, 9, 8))], None),
        (
            [batch(NOW - timedelta(hours=37), date(2026, 9, 8)), batch(NOW - timedelta(hours=50), date(2026, 9, 7))],
            "its last delivery is of 2026-09-08 17:00 UTC, 37 hours ago",
        ),
        # the exporter runs, but its source does not
        ([batch(NOW, date(2026, 9, 7))], "it delivers, but nothing newer than 2026-09-08 00:00 UTC, 54 hours ago"),
        ([batch(NOW, date(2026, 9, 8))], None),
        # a row of a clock that is wrong is no news
        (
            [batch(NOW, date(2026, 9, 7), stray=date(2031, 2, 3))],
            "it delivers, but nothing newer than 2026-09-08 00:00 UTC, 54 hours ago",
        ),
        # a late delivery of an old day is no news of the newest
        ([batch(NOW, date(2026, 9, 1)), batch(NOW - timedelta(hours=30), date(2026, 9, 8))], None),
        # a line of a bill that ends with the month
        ([batch(NOW - timedelta(hours=37), date(2026, 9, 30))], "its last delivery is of 2026-09-08 17:00 UTC"),
        ([batch(NOW - timedelta(hours=1), date(2026, 9, 30))], None),
        # a month that was over when it was looked at, and was not when it was delivered
        (
            [batch(datetime(2026, 9, 2, tzinfo=UTC), date(2026, 9, 9)), batch(NOW, date(2026, 8, 31))],
            "it delivers, but nothing newer than 2026-09-02 00:00 UTC",
        ),
        # a delivery that says it is of the future
        (
            [batch(datetime(2027, 1, 1, tzinfo=UTC), date(2026, 9, 30), committed=NOW - timedelta(hours=40))],
            "its last delivery is of 2026-09-08 14:00 UTC, 40 hours ago",
        ),
        ([batch(NOW - timedelta(hours=1), None)], None),
    ],
)
def test_a_source_is_stale_by_its_deliveries_or_by_their_events(tmp_path, ledger, batches, expected):
    ledger(*batches)
    alerts = conditions(Home(tmp_path), watching(36), GOOD, NOW).alerts
    if expected is None:
        assert alerts == ()
    else:
        [alert] = alerts
        assert alert.condition == "stale_source:bill"
        assert alert.what.startswith(f"The source bill is stale: {expected}")
        assert alert.what.endswith("; 36 hours are allowed")
        assert alert.where == str(tmp_path / "landing" / "bill")


def test_staleness_of_a_real_delivery(tmp_path):
    home = Home(tmp_path)
    path = write_json_lines(home.landing / "bill" / "a.jsonl", [spend_log_row("a", "2026-09-07T10:00:00")])
    delivered_at = datetime(2026, 9, 8, 2, tzinfo=UTC)
    ingest(home.lake, [IngestRequest("bill", path, delivered_at=delivered_at)])
    assert conditions(home, watching(60), GOOD, NOW).alerts == ()
    [alert] = conditions(home, watching(52), GOOD, NOW).alerts
    assert "nothing newer than 2026-09-08 00:00 UTC, 54 hours ago" in alert.what
    [alert] = conditions(home, watching(51), GOOD, NOW).alerts
    assert "its last delivery is of 2026-09-08 02:00 UTC, 52 hours ago" in alert.what


def test_a_ledger_that_cannot_be_read_is_said_and_ends_nothing(tmp_path):
    home = Home(tmp_path)
    (home.lake / "_ledger").mkdir(parents=True)
    (home.lake / "_ledger" / "x.json").write_text("{}")
    situation = conditions(home, watching(36), GOOD, NOW)
    assert situation.alerts == () and "stale_source" in situation.unjudged
    assert "x.json" in situation.problems[0]


IDLE = (
    "(date '2026-09-08', 'search', 1, 0, false), (date '2026-09-09', 'search', 400.126, 0, false), "
    "(date '2026-09-09', 'search', 800, 10.5, true), (date '2026-09-09', null, 300, 0, false), "
    "(date '2026-09-09', 'ads', 20, 0, false), (date '2026-09-09', 'chat', 10, 0, false), "
    "(date '2026-09-09', 'busy', 0, null, false), (date '2026-09-10', 'search', 9000, 0, true)"
)


def test_idle_dollars_of_the_newest_complete_day(tmp_path):
    home = publish(Home(tmp_path), hours="('2026-09-10 04:00')", idle=IDLE)
    [alert] = conditions(home, config(alerts={"idle_usd_per_day": 500}), GOOD, NOW).alerts
    assert alert.condition == "idle_dollars"
    assert alert.what == "Idle GPUs cost 1,530.13 USD on 2026-09-09, above the line of 500.00 USD a day"
    assert alert.where == (
        "by team: search 1,200.13 USD, no team 300.00 USD, ads 20.00 USD, and 1 more; 10.50 USD more are of hours "
        "without samples; provisional: the bill has not come"
    )
    assert alert.dollars_usd == Decimal("1530.126")


@pytest.mark.parametrize(
    ("hours", "line", "day"),
    [
        ("('2026-09-09 23:00')", 500, "2026-09-09"),
        # the day's last hours have not come
        ("('2026-09-09 21:00')", 500, None),
        ("('2026-09-09 21:00')", 0.5, "2026-09-08"),
        # nothing ran late on the 8th, and the 9th has begun
        ("('2026-09-08 12:00'), ('2026-09-09 00:00')", 0.5, "2026-09-08"),
        ("('2026-09-10 23:00')", 500, "2026-09-09"),
        ("('2026-09-09 23:00')", 1530.126, None),
        ("('2026-09-09 23:00')", 1530.1, "2026-09-09"),
        ("('2026-09-09 23:00')", None, None),
    ],
)
def test_which_day_and_which_line(tmp_path, hours, line, day):
    home = publish(Home(tmp_path), hours=hours, idle=IDLE)
    alerts = conditions(home, config(alerts={"idle_usd_per_day": line}), GOOD, NOW).alerts
    assert [f"on {day}" in alert.what for alert in alerts] == ([] if day is None else [True])


@pytest.mark.parametrize(("hours", "idle"), [("", ""), ("('2026-09-10 04:00')", ""), ("", IDLE)])
def test_without_a_complete_day_idle_dollars_are_not_judged(tmp_path, hours, idle):
    home = publish(Home(tmp_path), hours=hours, idle=idle)
    situation = conditions(home, config(alerts={"idle_usd_per_day": 0}), GOOD, NOW)
    assert situation.alerts == () and "idle_dollars" in situation.unjudged


UNRATED = "(date '2026-09-09', 'ads', 20, 0, false), (date '2026-09-09', 'far', null, null, false)"


def test_idle_dollars_without_a_rate_are_not_taken_as_none(tmp_path):
    home = publish(Home(tmp_path), hours="('2026-09-10 04:00')", idle=UNRATED)
    below = conditions(home, config(alerts={"idle_usd_per_day": 500}), GOOD, NOW)
    assert below.alerts == () and "idle_dollars" in below.unjudged
    [problem] = below.problems
    assert problem == (
        "idle dollars of 2026-09-09 are not known for 1 of 2 rows of capacity.idle_dollars_daily: their bill has no "
        "exchange rate"
    )
    above = conditions(home, config(alerts={"idle_usd_per_day": 5}), GOOD, NOW)
    [alert] = above.alerts
    assert alert.dollars_usd == 20 and "idle_dollars" not in above.unjudged
    assert alert.where.endswith("1 of 2 rows more have no dollars, for want of an exchange rate")
    with duckdb.connect(str(home.published_file)) as connection:
        connection.execute("delete from capacity.idle_dollars_daily where team = 'ads'")
    none_known = conditions(home, config(alerts={"idle_usd_per_day": 0}), GOOD, NOW)
    assert none_known.alerts == () and "idle_dollars" in none_known.unjudged
    assert "1 of 1 rows" in none_known.problems[0]


@pytest.mark.parametrize(("published_at", "is_told"), [("2026-09-08 06:00", False), ("2026-09-08 05:59", True)])
def test_a_publication_grows_old(tmp_path, published_at, is_told):
    home = publish(Home(tmp_path), published_at=published_at)
    alerts = conditions(home, Config(), GOOD, NOW).alerts
    assert [(alert.condition, alert.what) for alert in alerts] == (
        [("stale_publication", "What readers see is 48 hours old: no run has published since 2026-09-08 05:59 UTC")]
        if is_told
        else []
    )


def test_a_publication_that_cannot_be_opened_is_said_and_ends_nothing(tmp_path):
    home = Home(tmp_path)
    home.published.mkdir()
    home.published_file.write_bytes(b"no database" * 1000)
    situation = conditions(home, Config(), GOOD, NOW)
    assert situation.unjudged >= {"idle_dollars", "stale_publication"}
    assert "the publication could not be looked at" in situation.problems[0]


def test_what_is_named_to_look_closer_can_be_asked(tmp_path):
    home = publish(Home(tmp_path), hours="('2026-09-10 04:00')", idle=IDLE)
    with duckdb.connect(str(home.published_file)) as connection:
        connection.execute(
            """
            create schema quality;
            create table quality.quarantined_rows
            (source varchar, contract varchar, column_name varchar, reason varchar, delivered_at timestamp)
            """
        )
    outcome = Outcome(True, deliveries=(delivery(read=1, quarantined=1),))
    alerts = found(conditions(home, config(alerts={"idle_usd_per_day": 5}), outcome, NOW))
    for condition, rows in (("idle_dollars", 6), ("quarantined", 0)):
        sql = alerts[condition].look.removeprefix('pertask query "').removesuffix('"')
        with query.connect(home) as connection:
            assert len(connection.execute(sql).fetchall()) == rows


def test_the_page_about_alerts_names_the_conditions_and_shows_a_pertask_yml_that_is_right(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z_]+)", page, re.MULTILINE) == [
        "run_failed",
        "check_failed",
        "warnings",
        "unread_deliveries",
        "quarantined",
        "stale_source",
        "idle_dollars",
        "stale_publication",
    ]
    [example] = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    home = Home(tmp_path)
    home.config_file.write_text(example, encoding="utf-8")
    shown = load_config(home)
    assert shown.alerts == Alerts(idle_usd_per_day=500)
    assert [source.stale_after_hours for source in shown.sources.values()] == [36, 72]
