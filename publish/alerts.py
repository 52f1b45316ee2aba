"""What readers get told without asking: conditions worth a message, each told once, again when it matters, and its end.

``tell`` is what ends a run: it looks at the run's outcome, the ledger and the publication, and sends a message for each
condition that is new, has changed materially or has lasted for ``alerts.repeat_hours`` since it was last told, and one
for each that is over. What was told is remembered in warehouse/alerts.json. It computes no number of its own.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pertask.errors import ConfigError
from pertask.home import Home
from publish.conditions import STATUS, Alert, Outcome, Situation, conditions
from publish.webhook import VARIABLE, Patience, post, webhook_url

if TYPE_CHECKING:
    from pertask.config import Config

_MATERIAL = Decimal("0.2")
"""Dollars that moved by more than this share since they were told are told again."""
_OVER = "This run no longer finds it: it has ended, or pertask.yml no longer asks for it. What follows was told before."


@dataclass(frozen=True)
class _Told:
    """A condition as it was last told, and when."""

    alert: Alert
    told_at: datetime


def tell(
    home: Home, config: Config, outcome: Outcome, now: datetime | None = None, patience: Patience | None = None
) -> list[str]:
    """Tell the webhook what is worth it at the end of a run; does nothing where PERTASK_ALERT_WEBHOOK is not set.

    It fails no run and holds none up for longer than ``patience`` says.

    Returns:
        A line for each thing that could not be told or looked at, to be said as a warning.
    """
    try:
        if webhook_url() is None:
            return []
    except ConfigError as error:
        return [str(error)]
    now = now or datetime.now(UTC)
    situation = conditions(home, config, outcome, now)
    return [*situation.problems, *send(home, config, situation, now, patience)]


def send(
    home: Home, config: Config, situation: Situation, now: datetime, patience: Patience | None = None
) -> list[str]:
    """Send what has not been told yet, and remember what arrived; what did not is sent the next time.

    Returns:
        A line for each reason for which messages did not arrive. The URL is in none of them.
    """
    try:
        url = webhook_url()
    except ConfigError as error:
        return [str(error)]
    if url is None:
        return []
    told, problems = _remembered(home)
    messages: list[tuple[Alert, str, str]] = []
    for alert in situation.alerts:
        before = told.get(alert.condition)
        if before is None:
            messages.append((alert, "", ""))
        elif _is_material(before.alert, alert):
            messages.append((alert, "Changed: ", ""))
        elif now - before.told_at >= timedelta(hours=config.alerts.repeat_hours):
            messages.append((alert, "Still: ", ""))
    holding = {alert.condition for alert in situation.alerts}
    for condition, before in told.items():
        if condition not in holding and condition.partition(":")[0] not in situation.unjudged:
            messages.append((before.alert, "Resolved: ", _OVER))
    if not messages:
        return problems
    answers = post(url, [message(home, *one) for one in messages], patience)
    for (alert, *_), problem in zip(messages, answers, strict=True):
        if problem is None and alert.condition in holding:
            told[alert.condition] = _Told(alert, now)
        elif problem is None:
            del told[alert.condition]
    problems += _remember(home, told)
    for reason in dict.fromkeys(answer for answer in answers if answer):
        problems.append(
            f"{answers.count(reason)} of {len(answers)} alerts did not reach the webhook: {reason}. The next run tries "
            "again."
        )
    return problems


def send_test(home: Home, patience: Patience | None = None) -> str | None:
    """Send a test message; returns None when it arrived, else why it did not.

    Raises:
        ConfigError: PERTASK_ALERT_WEBHOOK is not set, or is no URL.
    """
    url = webhook_url()
    if url is None:
        raise ConfigError(f"{VARIABLE} is not set. Set it to the URL of an incoming webhook; docs/alerts.md says how.")
    alert = Alert("test", "This is a test: alerts of this home arrive here", str(home.root), None, STATUS, "a test")
    return post(url, [message(home, alert)], patience)[0]


def message(home: Home, alert: Alert, prefix: str = "", note: str = "") -> dict[str, Any]:
    """A message as Slack and what is compatible with it read it; ``note`` is a sentence below the headline.

    ``text`` holds all of it, for readers that know no blocks, within the 2,000 characters of the strictest of them.
    """
    amount = f"{alert.dollars_usd:,.2f} USD" if alert.dollars_usd is not None else f"not known ({alert.no_dollars})"
    headline = f"*{_prose(prefix + alert.what, 600)}*" + (f"\n{note}" if note else "")
    place = f"Where: {_prose(alert.where, 500)}\nDollars: {_prose(amount, 100)}"
    look = f"```{_clean(alert.look, 400)}```"
    foot = f"pertask, {_prose(str(home.root), 200)}"
    return {
        "text": "\n".join((headline, place, look, foot)),
        "blocks": [
            {"type": "section", "text": _mrkdwn(f"{headline}\n{place}")},
            {"type": "section", "text": _mrkdwn(look)},
            {"type": "context", "elements": [_mrkdwn(foot)]},
        ],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _mrkdwn(text: str) -> dict[str, Any]:
    # verbatim: a name that looks like a link or a channel stays text.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _prose(text: str, limit: int) -> str:
    """Text outside of code, where an asterisk would begin or end bold type."""
    return _clean(text.replace("*", "\N{ASTERISK OPERATOR}"), limit)


def _clean(text: str, limit: int) -> str:
    """Text for a message, on one line, at most ``limit`` characters; a name in it can call nobody and format nothing.

    Slack's three characters are escaped. A zero-width space behind @ keeps Mattermost and Discord, which read plain
    @channel, from calling everyone.
    """
    plain = "".join(character if character.isprintable() else " " for character in text)
    plain = " ".join(plain.replace("`", "'").split())
    pieces, length = [], 0
    for character in plain:
        piece = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "@\N{ZERO WIDTH SPACE}"}.get(character, character)
        length += len(piece)
        if length >= limit:
            return "".join(pieces) + "…"
        pieces.append(piece)
    return "".join(pieces)


def _is_material(before: Alert, now: Alert) -> bool:
    """Whether a condition is another one for its reader than when it was told."""
    if _without_digits(before.essence) != _without_digits(now.essence):
        return True
    if before.dollars_usd is None or now.dollars_usd is None:
        return before.dollars_usd is not now.dollars_usd
    return abs(now.dollars_usd - before.dollars_usd) > max(_MATERIAL * abs(before.dollars_usd), Decimal(1))


def _without_digits(text: str) -> str:
    return re.sub(r"\d+", "#", text)


def _remembered(home: Home) -> tuple[dict[str, _Told], list[str]]:
    """What was told and is not over, by condition; nothing, and a line that says so, when the file cannot be read."""
    path = home.told_alerts
    try:
        records = json.loads(path.read_bytes())
        told = [_Told(_alert(record["alert"]), _moment(record["told_at"])) for record in records]
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError, ArithmeticError, KeyError, TypeError):
        return {}, [f"{path}: cannot be read, so every alert is told anew."]
    return {one.alert.condition: one for one in told}, []


def _alert(record: dict[str, Any]) -> Alert:
    alert = Alert(**record)
    return alert if alert.dollars_usd is None else replace(alert, dollars_usd=Decimal(alert.dollars_usd))


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without an offset")
    return moment


def _remember(home: Home, told: dict[str, _Told]) -> list[str]:
    """Write what was told, whole or not at all; a line that says so when the disk refuses."""
    path = home.told_alerts
    scratch = path.with_suffix(".new")
    records = [{"told_at": one.told_at.isoformat(), "alert": asdict(one.alert)} for one in told.values()]
    try:
        home.warehouse.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(records, indent=1, default=str) + "\n", encoding="utf-8")
        os.replace(scratch, path)
    except OSError as error:
        return [f"{path}: cannot be written ({error.strerror}), so the same alerts come again."]
    return []
