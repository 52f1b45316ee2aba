"""What is told, when, and in which words; that a webhook can do a run no harm, and that its URL stands nowhere."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ingest.runner import BatchResult
from pertask.config import Config
from pertask.errors import ConfigError
from pertask.home import Home
from publish.alerts import message, send, send_test, tell
from publish.conditions import Alert, Check, Outcome, Situation
from publish.webhook import VARIABLE, Patience
from tests.python.publish.hooks import hang_up, serving, status

NOW = datetime(2026, 9, 10, 6, tzinfo=UTC)
FAST = Patience(total=2, attempt=0.5, first_wait=0.01)
STALE = Alert("stale_source:gateway", "gateway is silent for 40 hours", "landing", None, "pertask status", "none yet")
IDLE = Alert("idle_dollars", "Idle GPUs cost 1,234.50 USD", "search", Decimal("1234.5"), "pertask query")


@pytest.fixture
def hook(monkeypatch):
    with serving() as hook:
        monkeypatch.setenv(VARIABLE, hook.url)
        yield hook


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "home")


def say(home: Home, *alerts: Alert, hours: float = 0, unjudged: tuple[str, ...] = ()) -> list[str]:
    """Send what holds so many hours after the first run; returns the problems."""
    return send(home, Config(), Situation(alerts, frozenset(unjudged)), NOW + timedelta(hours=hours), FAST)


def test_one_message_a_condition_in_the_shape_of_slack(home, hook):
    assert say(home, STALE, IDLE) == []
    first, second = hook.received
    foot = f"pertask, {home.root}"
    assert second == {
        "text": f"*Idle GPUs cost 1,234.50 USD*\nWhere: search\nDollars: 1,234.50 USD\n```pertask query```\n{foot}",
        "blocks": [
            {
                "type": "section",
                "text": {
                    "type": "mrkdwn",
                    "text": "*Idle GPUs cost 1,234.50 USD*\nWhere: search\nDollars: 1,234.50 USD",
                    "verbatim": True,
                },
            },
            {"type": "section", "text": {"type": "mrkdwn", "text": "```pertask query```", "verbatim": True}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": foot, "verbatim": True}]},
        ],
        "unfurl_links": False,
        "unfurl_media": False,
    }
    assert "\nDollars: not known (none yet)\n" in first["text"]


def test_a_condition_that_lasts_is_told_again_after_a_while_and_its_end_once(home, hook):
    told = []
    for hours in (0, 1, 19.9, 20, 21, 39.9, 40):
        say(home, replace(STALE, what=f"gateway is silent for {40 + hours} hours"), hours=hours)
        told += [(hours, line) for line in hook.headlines()]
    assert told == [
        (0, "gateway is silent for 40 hours"),
        (20, "Still: gateway is silent for 60 hours"),
        (40, "Still: gateway is silent for 80 hours"),
    ]
    say(home, hours=41)
    assert hook.headlines() == ["Resolved: gateway is silent for 80 hours"]
    say(home, hours=42)
    assert hook.headlines() == []
    say(home, STALE, hours=43)
    assert hook.headlines() == ["gateway is silent for 40 hours"]


def test_the_end_of_a_condition_says_what_ended_it(home, hook):
    say(home, STALE)
    hook.received.clear()
    say(home, hours=1)
    [payload] = hook.received
    headline, note, *rest = payload["text"].splitlines()
    assert headline == f"*Resolved: {STALE.what}*"
    assert note == (
        "This run no longer finds it: it has ended, or pertask.yml no longer asks for it. What follows was told before."
    )
    assert rest == message(home, STALE)["text"].splitlines()[1:]
    assert note in payload["blocks"][0]["text"]["text"]


def test_how_often_is_configured(home, hook):
    config = Config.model_validate({"alerts": {"repeat_hours": 2}})
    for hours in (0, 1, 2, 3):
        send(home, config, Situation((STALE,)), NOW + timedelta(hours=hours), FAST)
    assert hook.headlines() == ["gateway is silent for 40 hours", "Still: gateway is silent for 40 hours"]


@pytest.mark.parametrize(
    ("before", "after", "is_material"),
    [
        ("1000", "1200", False),
        ("1000", "1200.01", True),
        ("1000", "799.99", True),
        ("1000", "800", False),
        ("1", "1.9", False),
        ("0", "1.5", True),
        (None, None, False),
        (None, "0", True),
        ("5", None, True),
    ],
)
def test_other_dollars_are_told_when_they_matter(home, hook, before, after, is_material):
    for hours, dollars in enumerate((before, after)):
        say(home, replace(IDLE, dollars_usd=None if dollars is None else Decimal(dollars)), hours=hours)
    assert len(hook.received) == (2 if is_material else 1)
    assert hook.headlines()[-1].startswith("Changed: ") == is_material


def test_what_was_told_last_is_compared_and_not_what_was_seen_last(home, hook):
    for hours, dollars in enumerate((1000, 1150, 1300)):
        say(home, replace(IDLE, dollars_usd=Decimal(dollars)), hours=hours)
    assert [line[:7] for line in hook.headlines()] == ["Idle GP", "Changed"]


def test_another_reason_is_told_and_another_number_is_not(home, hook):
    def failing(reason: str, hours: int) -> None:
        say(home, Alert("run_failed", reason, "here", None, "pertask status", "none", reason), hours=hours)

    failing("build 17: 2 checks failed", 0)
    failing("build 18: 3 checks failed", 1)
    failing("the disk is full", 2)
    assert hook.headlines() == ["build 17: 2 checks failed", "Changed: the disk is full"]


def test_what_was_not_judged_is_not_over(home, hook):
    say(home, STALE, IDLE, replace(STALE, condition="stale_source:bill", what="bill is silent"))
    hook.headlines()
    say(home, hours=1, unjudged=("stale_source",))
    assert hook.headlines() == ["Resolved: Idle GPUs cost 1,234.50 USD"]
    say(home, hours=2)
    assert hook.headlines() == ["Resolved: gateway is silent for 40 hours", "Resolved: bill is silent"]


def test_what_did_not_arrive_is_sent_by_the_next_run(home, hook):
    hook.replies = [status(400, "invalid_payload"), status(200)]
    assert say(home, STALE, IDLE) == [
        "1 of 2 alerts did not reach the webhook: it answered 400 (invalid_payload). The next run tries again."
    ]
    hook.headlines()
    say(home, STALE, IDLE, hours=1)
    assert hook.headlines() == ["gateway is silent for 40 hours"]
    hook.replies = [status(404)] * 2
    assert len(say(home, hours=2)) == 1
    hook.headlines()
    assert say(home, hours=3) == []
    assert len(hook.headlines()) == 2


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", "null", "[{}]", '[{"told_at": "2026-01-01T00:00:00", "alert": {}}]', "\udcff"]
)
def test_a_memory_that_cannot_be_read_is_said_and_begun_anew(home, hook, content):
    home.warehouse.mkdir(parents=True)
    say(home, STALE)
    home.told_alerts.write_bytes(content.encode(errors="surrogateescape"))
    problems = say(home, STALE, hours=1)
    assert problems == (
        [] if content == "{}" else [f"{home.told_alerts}: cannot be read, so every alert is told anew."]
    )
    assert len(hook.received) == 2
    assert say(home, STALE, hours=2) == []
    assert len(hook.received) == 2


def test_a_memory_that_cannot_be_written_is_said(home, hook):
    home.warehouse.parent.mkdir(parents=True)
    home.warehouse.write_text("a file in the way")
    problems = say(home, STALE)
    assert any("alerts.json: cannot be written" in line for line in problems)
    assert hook.headlines() == ["gateway is silent for 40 hours"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (
            "R&D <!channel> <@U123> <https://evil|pay>",
            "R&amp;D &lt;!channel&gt; &lt;@\u200bU123&gt; &lt;https://evil|pay&gt;",
        ),
        ("@channel @everyone @all", "@\u200bchannel @\u200beveryone @\u200ball"),
        ("a\n*b*\u202e`c`\x00\u200b", "a \u2217b\u2217 'c'"),
        ("&lt;!here&gt;", "&amp;lt;!here&amp;gt;"),
    ],
)
def test_a_name_calls_nobody_and_formats_nothing(home, name, shown):
    payload = message(home, replace(STALE, what=f"x {name} y", where=name))
    assert payload["text"].splitlines()[:2] == [f"*x {shown} y*", f"Where: {shown}"]
    assert payload["blocks"][0]["text"]["text"] in payload["text"]


def test_a_command_stays_a_command(home):
    text = message(home, replace(STALE, look="pertask query \"select count(*) from x where y = 'z'\"\n```<!here>"))
    assert text["blocks"][1]["text"]["text"] == (
        "```pertask query \"select count(*) from x where y = 'z'\" '''&lt;!here&gt;```"
    )


@pytest.mark.parametrize("letter", ["x", "&", "@", "é", "\U0001f4b8"])
def test_a_message_keeps_within_the_limits_of_its_readers(home, letter):
    long = letter * 50_000
    payload = message(Home(Path("/" + long)), Alert("x", long, long, Decimal(10) ** 200, long), "Resolved: ", "x" * 120)
    texts = [block["text"]["text"] for block in payload["blocks"][:2]] + [payload["blocks"][2]["elements"][0]["text"]]
    assert all(len(text) <= 3000 for text in texts)
    assert len(payload["text"]) <= 2000
    # no character is cut in its middle
    assert payload["text"].replace("&amp;", "").count("&") == 0
    assert payload["text"].count("…") >= 4


def test_a_run_is_told_from_its_outcome(home, hook):
    outcome = Outcome(
        False,
        "build: 1 models or checks failed",
        (Check("assert_sums", "Got 2 results"),),
        (Check("late", "x", Decimal("12.5")),),
        (BatchResult("gateway", "a.jsonl", "failed", message="not JSON"),),
    )
    assert tell(home, Config(), outcome, NOW, FAST) == []
    assert hook.headlines() == [
        "The run failed: build: 1 models or checks failed",
        "The check assert_sums failed: Got 2 results",
        "1 check warns",
        "1 of 1 deliveries of the source gateway could not be read",
    ]
    # a run that fails earlier says nothing of checks; one that succeeds ends what the first told
    tell(home, Config(), Outcome(False, "the disk is full"), NOW, FAST)
    assert hook.headlines() == ["Changed: The run failed: the disk is full"]
    tell(home, Config(), Outcome(True, deliveries=()), NOW, FAST)
    assert len(hook.headlines()) == 4
    tell(home, Config(), Outcome(True, deliveries=()), NOW, FAST)
    assert hook.headlines() == []


def test_without_a_webhook_nothing_is_looked_at_or_remembered(home, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert tell(home, Config(), Outcome(False, "x"), NOW) == []
    assert say(home, STALE) == []
    assert not home.root.exists()


def test_a_webhook_that_is_no_url_is_a_warning(home, monkeypatch):
    monkeypatch.setenv(VARIABLE, "hooks.slack.com/canary")
    for problems in (tell(home, Config(), Outcome(False, "x"), NOW), say(home, STALE)):
        [line] = problems
        assert line.startswith(f"{VARIABLE}: this is no URL") and "canary" not in line


def test_a_dead_webhook_holds_a_run_up_for_a_bounded_time(home, monkeypatch):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        monkeypatch.setenv(VARIABLE, f"http://127.0.0.1:{held.getsockname()[1]}/x")
        began = time.monotonic()
        problems = tell(home, Config(), Outcome(False, "x"), NOW, Patience(total=0.5, first_wait=0.05))
    assert time.monotonic() - began < 3
    [line] = problems
    assert line.startswith("1 of 1 alerts did not reach the webhook: it could not be reached (Connection refused).")


def test_the_test_message(home, hook):
    assert send_test(home, FAST) is None
    assert hook.headlines() == ["This is a test: alerts of this home arrive here"]
    hook.replies = [status(403, "action_prohibited")]
    assert send_test(home, FAST) == "it answered 403 (action_prohibited)"
    assert not home.told_alerts.exists()


def test_a_test_message_needs_a_webhook(home, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=f"{VARIABLE} is not set"):
        send_test(home)


def test_the_url_stands_in_nothing_that_is_said_or_written(home, hook, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    said = []
    for replies in ([], [status(404, hook.url)] * 9, [status(500)] * 999, [hang_up] * 999, [status(302)] * 9):
        hook.replies = list(replies)
        said += tell(home, Config(), Outcome(False, "x" * len(said)), NOW, replace(FAST, total=0.3))
        said.append(str(send_test(home, replace(FAST, total=0.3))))
    streams = capfd.readouterr()
    written = [path.read_text() for path in home.root.rglob("*") if path.is_file()]
    assert len(said) > 8 and len(written) == 1
    for text in (*said, *written, streams.out, streams.err, caplog.text, json.dumps(hook.received)):
        assert "canary" not in text.lower()
    assert "canary" in os.environ[VARIABLE].lower()
