"""Sending to the webhook: what is tried again, for how long, and that its URL stands nowhere."""

from __future__ import annotations

import logging
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from pertask.errors import ConfigError
from publish.webhook import VARIABLE, Patience, post, webhook_url
from tests.python.publish.hooks import CANARY, endless, hang_up, serving, silence, status

FAST = Patience(total=4, attempt=0.3, first_wait=0.01)
PAYLOAD = {"text": "hello"}


@pytest.fixture
def hook():
    with serving() as hook:
        yield hook


def test_a_message_arrives_as_json(hook):
    assert post(hook.url, [PAYLOAD, {"text": "naïve"}], FAST) == [None, None]
    assert hook.received == [PAYLOAD, {"text": "naïve"}]
    assert hook.methods == ["POST", "POST"]


@pytest.mark.parametrize("passing", [status(500), status(503), status(429), silence(0.5), hang_up])
def test_what_may_pass_is_tried_again(hook, passing):
    hook.replies = [passing, passing]
    assert post(hook.url, [PAYLOAD], FAST) == [None]
    assert hook.received == [PAYLOAD] * 3


def test_waits_grow(hook):
    hook.replies = [status(500)] * 4
    assert post(hook.url, [PAYLOAD], Patience(total=9, attempt=1, first_wait=0.05)) == [None]
    waits = [later - earlier for earlier, later in zip(hook.times, hook.times[1:], strict=False)]
    for number, wait in enumerate(waits):
        assert wait >= 0.05 * 2**number


@pytest.mark.parametrize(
    ("code", "body", "problem"),
    [
        (400, "invalid_payload", "it answered 400 (invalid_payload)"),
        (403, "", "it answered 403"),
        (404, f"Cannot POST /services/{CANARY}", "it answered 404"),
        (404, "xcanarysecretx", "it answered 404"),
        (410, "channel_is_archived\n", "it answered 410 (channel_is_archived)"),
    ],
)
def test_a_refusal_is_final_and_holds_up_no_other_message(hook, code, body, problem):
    hook.replies = [status(code, body)]
    assert post(hook.url, [PAYLOAD, PAYLOAD], FAST) == [problem, None]
    assert len(hook.received) == 2


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(hook, code):
    with serving() as elsewhere:
        hook.replies = [status(code, headers={"Location": elsewhere.url})]
        [problem] = post(hook.url, [PAYLOAD], FAST)
        assert problem == f"it answered {code}, which sends elsewhere; redirects are not followed"
        assert (len(hook.received), elsewhere.received) == (1, [])


@pytest.mark.parametrize("code", [429, 503])
def test_the_webhook_says_how_long_to_wait(hook, code):
    hook.replies = [status(code, headers={"Retry-After": "1"})]
    assert post(hook.url, [PAYLOAD], FAST) == [None]
    assert hook.times[1] - hook.times[0] >= 1


def test_a_wait_until_a_time(hook):
    until = format_datetime(datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2), usegmt=True)
    hook.replies = [status(429, headers={"Retry-After": until})]
    assert post(hook.url, [PAYLOAD], FAST) == [None]
    assert hook.times[1] - hook.times[0] >= 0.9


@pytest.mark.parametrize("value", ["soon", "-5", "", "Mon, 99 Foo 2026 00:00:00 GMT"])
def test_a_wait_that_cannot_be_read_is_none(hook, value):
    hook.replies = [status(429, headers={"Retry-After": value})]
    assert post(hook.url, [PAYLOAD], FAST) == [None]


def test_a_wait_beyond_the_time_is_not_waited_for(hook):
    hook.replies = [status(429, "rate_limited", {"Retry-After": "3600"})]
    began = time.monotonic()
    assert post(hook.url, [PAYLOAD], FAST) == ["it answered 429 (rate_limited)"]
    assert time.monotonic() - began < 3
    assert len(hook.received) == 1


@pytest.mark.parametrize("reply", [status(500), silence(0.3), endless, hang_up])
def test_the_time_is_bounded_for_all_messages_together(hook, reply):
    hook.replies = [reply] * 1000
    began = time.monotonic()
    problems = post(hook.url, [PAYLOAD] * 5, Patience(total=1, attempt=0.2, first_wait=0.01))
    assert time.monotonic() - began < 3
    assert None not in problems


def test_a_dead_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/{CANARY}"
        began = time.monotonic()
        assert post(url, [PAYLOAD], Patience(total=0.5, first_wait=0.05)) == [
            "it could not be reached (Connection refused)"
        ]
        assert time.monotonic() - began < 3


def test_what_comes_too_late_is_not_sent(hook):
    hook.replies = [endless]
    assert post(hook.url, [PAYLOAD, PAYLOAD], Patience(total=0.3, attempt=5)) == ["there was no time left"] * 2
    time.sleep(0.5)
    assert len(hook.received) == 1


def test_no_failure_quotes_the_url(hook, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    problems = []
    for reply in (status(404, f"no {hook.url}"), status(500), status(302, headers={"Location": hook.url}), hang_up):
        hook.replies = [reply] * 100
        problems += post(hook.url, [PAYLOAD], Patience(total=0.3, attempt=0.1, first_wait=0.01))
    for url in (
        f"https://{hook.url.removeprefix('http://')}",
        f"http://127.0.0.1:1/{CANARY}",
        f"http://127.0.0.1:99999/{CANARY}",
        f"http://no-such-host.invalid/{CANARY}",
        f"http://127.0.0.1:port/{CANARY}",
        f"gopher://127.0.0.1/{CANARY}",
        f"http://127.0.0.1/{CANARY}\n",
    ):
        problems += post(url, [PAYLOAD], Patience(total=0.3, attempt=0.1, first_wait=0.01))
    assert len(problems) == 11 and None not in problems
    said = capfd.readouterr()
    for text in (*problems, said.out, said.err, caplog.text):
        assert "canary" not in text.lower()


@pytest.mark.parametrize(
    "value",
    [
        "hooks.slack.com/services/canary",
        "ftp://host/canary",
        "file:///canary",
        "https:///canary",
        "https://user:canary@host/x",
        "https://host/can ary",
        "https://höst/canary",
        "http://[host/canary",
    ],
)
def test_a_value_that_is_no_url_is_refused_and_not_shown(monkeypatch, value):
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(ConfigError, match=f"{VARIABLE}: this is no URL of a webhook") as caught:
        webhook_url()
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(("value", "url"), [(None, None), (" ", None), (" https://host/x\n", "https://host/x")])
def test_the_url_comes_from_the_environment(monkeypatch, value, url):
    if value is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, value)
    assert webhook_url() == url
