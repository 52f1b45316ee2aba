"""Sending JSON to the webhook that PERTASK_ALERT_WEBHOOK names, within a bounded time.

The URL is a secret: whoever has it can write into the channel. It is read from the environment, used, and put into no
message, log, file or exception; what a library says about a failure may quote it, so only the kind of the failure is
passed on. urllib and not requests, whose connections log the path of each URL.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pertask.errors import ConfigError

if TYPE_CHECKING:
    from email.message import Message

    from tenacity import RetryCallState

VARIABLE = "PERTASK_ALERT_WEBHOOK"

_TOO_LATE = "there was no time left"
_ANSWER_BYTES = 200
_REASON = re.compile(r"[a-z_]{3,40}")
"""How Slack words a refusal, such as channel_is_archived. Other answers may quote the URL and are not passed on."""


@dataclass(frozen=True)
class Patience:
    """How long a dead or slow webhook may hold up a run, in seconds.

    Attributes:
        total: for all messages together.
        attempt: for one attempt to wait for an answer.
        first_wait: before the first retry, with as much again at random; each later wait is twice as long.
    """

    total: float = 20
    attempt: float = 5
    first_wait: float = 0.5


@dataclass
class _Work:
    """What the sending thread has done so far, by the number of the message: why it failed, or None: it arrived."""

    problems: dict[int, str | None] = field(default_factory=dict)
    is_called_off: bool = False


class _NotDelivered(Exception):
    """An attempt that failed; ``retry_after`` is how many seconds the webhook asks to wait."""

    def __init__(self, why: str, retry_after: float = 0) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class _MayPass(_NotDelivered):
    """A failure that another attempt may not meet: no connection, no answer in time, 429, 5xx."""


def webhook_url() -> str | None:
    """The URL to send to; None when none is set, which means that nobody wants to be told.

    Raises:
        ConfigError: it is no http or https URL.
    """
    url = os.environ.get(VARIABLE, "").strip()
    if not url:
        return None
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        is_url = False
    if not is_url or not url.isascii() or not url.isprintable() or " " in url:
        # The value is not shown: it may be the secret with a typing error.
        raise ConfigError(f"{VARIABLE}: this is no URL of a webhook, which begins with https:// and has no user name.")
    return url


def post(url: str, payloads: Sequence[dict[str, Any]], patience: Patience | None = None) -> list[str | None]:
    """Send each payload in order; for each, None when it arrived, else why it did not.

    It returns in time whatever the webhook does: a name server or a host that never ends its answer is waited for by a
    thread that is left behind.
    """
    patience = patience or Patience()
    work = _Work()
    deadline = time.monotonic() + patience.total
    sender = threading.Thread(target=_send_all, args=(work, url, payloads, patience, deadline), daemon=True)
    sender.start()
    sender.join(patience.total)
    work.is_called_off = True
    return [work.problems.get(number, _TOO_LATE) for number in range(len(payloads))]


def _send_all(work: _Work, url: str, payloads: Sequence[dict[str, Any]], patience: Patience, deadline: float) -> None:
    for number, payload in enumerate(payloads):
        if work.is_called_off or time.monotonic() >= deadline:
            return
        try:
            _deliver(url, json.dumps(payload).encode(), patience, deadline)
            work.problems[number] = None
        except _NotDelivered as error:
            work.problems[number] = str(error)
        except Exception as error:
            # A thread's uncaught error is printed, and its text may quote the URL.
            work.problems[number] = f"it could not be sent ({type(error).__name__})"


def _deliver(url: str, body: bytes, patience: Patience, deadline: float) -> None:
    """Send one message, again where that may help and there is time.

    Raises:
        _NotDelivered: it did not arrive; says why.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_before_delay, wait_exponential, wait_random

    backoff = wait_exponential(multiplier=patience.first_wait) + wait_random(0, patience.first_wait)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return max(backoff(state), error.retry_after if isinstance(error, _NotDelivered) else 0)

    retrying = Retrying(
        retry=retry_if_exception_type(_MayPass),
        wait=wait,
        stop=stop_before_delay(deadline - time.monotonic()),
        reraise=True,
    )
    retrying(lambda: _attempt(url, body, max(0.01, min(patience.attempt, deadline - time.monotonic()))))


def _attempt(url: str, body: bytes, seconds: float) -> None:
    import http.client
    import ssl
    from urllib.error import HTTPError, URLError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class NoRedirect(HTTPRedirectHandler):
        """What is told to one address is not carried to another."""

        def redirect_request(self, *args: Any, **kwargs: Any) -> None:
            return None

    request = Request(url, body, {"Content-Type": "application/json", "User-Agent": "pertask"}, method="POST")
    try:
        with build_opener(NoRedirect).open(request, timeout=seconds):
            return
    except HTTPError as error:
        with error:
            raise _refusal(error.code, error.headers, error.read(_ANSWER_BYTES), url) from None
    except TimeoutError:
        raise _MayPass("it did not answer in time") from None
    except (URLError, http.client.HTTPException, OSError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise _NotDelivered("its certificate could not be verified") from None
        if isinstance(reason, http.client.InvalidURL):
            raise _NotDelivered("its URL is not valid") from None
        if isinstance(reason, TimeoutError):
            raise _MayPass("it did not answer in time") from None
        raise _MayPass(f"it could not be reached ({_why(reason)})") from None


def _why(reason: Any) -> str:
    """The system's words for an error, such as Connection refused; its class where the system has none."""
    return (reason.strerror if isinstance(reason, OSError) else None) or type(reason).__name__


def _refusal(status: int, headers: Message, answer: bytes, url: str) -> _NotDelivered:
    words = answer.decode("ascii", "replace").strip()
    reason = f" ({words})" if _REASON.fullmatch(words) and words not in url else ""
    if 300 <= status < 400:
        return _NotDelivered(f"it answered {status}, which sends elsewhere; redirects are not followed")
    if status == 429 or status >= 500:
        return _MayPass(f"it answered {status}{reason}", _retry_after(headers.get("Retry-After")))
    return _NotDelivered(f"it answered {status}{reason}")


def _retry_after(value: str | None) -> float:
    """Seconds that a Retry-After header asks to wait, which it says as seconds or as a time; 0 when it says nothing."""
    from email.utils import parsedate_to_datetime

    if not value:
        return 0
    try:
        if value.strip().isdecimal():
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0
