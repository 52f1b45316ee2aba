"""A webhook on this machine that answers as a test wants, and keeps what it was sent."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

CANARY = "T0CANARY/B0CANARY/xcanarysecretx"
"""What must stand nowhere: the part of the URL that is the secret."""

Reply = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Hook:
    """What arrived, and what is answered: each of ``replies`` in order, then 200.

    Attributes:
        url: where to send.
        replies: answers to come.
        received: the JSON of each request, refused or not.
        times: when each came, in seconds of the monotonic clock.
        methods: how each came.
    """

    url: str
    replies: list[Reply] = field(default_factory=list)
    received: list[dict] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)

    def headlines(self) -> list[str]:
        """The first line of each request since the last call, without its bold type."""
        lines = [payload["text"].splitlines()[0].strip("*") for payload in self.received]
        self.received.clear()
        return lines


@contextlib.contextmanager
def serving() -> Iterator[Hook]:
    """A webhook while the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            hook.received.append(json.loads(self.rfile.read(length) or b"{}"))
            hook.times.append(time.monotonic())
            hook.methods.append(self.command)
            self.close_connection = True
            with contextlib.suppress(OSError):
                (hook.replies.pop(0) if hook.replies else status(200, "ok"))(self)

        do_GET = do_POST

        def log_message(self, *arguments: object) -> None:
            """Nothing: the test's output is not the place."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    hook = Hook(f"http://127.0.0.1:{server.server_port}/services/{CANARY}")
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()


def status(code: int, body: str = "", headers: dict[str, str] | None = None) -> Reply:
    """An answer with a status."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body.encode())

    return reply


def silence(seconds: float) -> Reply:
    """No answer for so long, then none at all."""
    return lambda handler: time.sleep(seconds)


def endless(handler: BaseHTTPRequestHandler) -> None:
    """An answer that never ends, each byte of it in time."""
    handler.send_response(200)
    handler.flush_headers()
    for _ in range(200):
        time.sleep(0.05)
        handler.wfile.write(b"x")
        handler.wfile.flush()


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """The connection ends without an answer."""
