"""An S3-compatible store on this machine, with a front that counts requests and can be told to refuse some."""

from __future__ import annotations

import http.client
import http.server
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import boto3
from moto.server import ThreadedMotoServer

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "canary-secret/5b1f"
_HOP = ("connection", "content-length", "transfer-encoding", "date", "server")


@dataclass
class Fault:
    """An answer instead of the store's: so many times, to requests of a method whose path ends so."""

    method: str
    path_end: str
    status: int
    code: str
    times: int = 1 << 20
    headers: dict[str, str] = field(default_factory=dict)


class Store:
    """The store as a test sees it; ``endpoint`` is the front."""

    def __init__(self, endpoint: str, upstream: str) -> None:
        self.endpoint = endpoint
        self.upstream = upstream
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.before_answer: Callable[[str, str], None] = lambda method, path: None
        self.client = boto3.client(
            "s3",
            endpoint_url=upstream,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )

    def make_bucket(self, name: str) -> str:
        """A new bucket; returns its name."""
        self.client.create_bucket(Bucket=name)
        return name

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Write an object."""
        self.client.put_object(Bucket=bucket, Key=key, Body=body)

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object."""
        self.client.delete_object(Bucket=bucket, Key=key)

    def refuse(self, method: str, path_end: str, status: int, code: str, **more: object) -> None:
        """Answer an error from here on."""
        self.faults.append(Fault(method, path_end, status, code, **more))

    def gets(self) -> list[str]:
        """The objects that were read, once for each request."""
        return [path for method, path in self.requests if method == "GET" and path.count("/") > 1]

    def fault(self, method: str, path: str) -> Fault | None:
        """The error that a request gets, if any."""
        for fault in self.faults:
            if fault.times and fault.method in (method, "*") and path.endswith(fault.path_end):
                fault.times -= 1
                return fault
        return None


@contextmanager
def object_store() -> Iterator[Store]:
    """Run a store and its front for as long as the context lasts."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()

    class Front(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).rstrip("/")
            store.requests.append((self.command, path))
            store.before_answer(self.command, path)
            fault = store.fault(self.command, path)
            if fault:
                # A store may repeat what was sent: nothing of it may be passed on.
                sent = f"{self.headers.get('Authorization')} {SECRET}"
                text = f"<Error><Code>{fault.code}</Code><Message>{sent}</Message></Error>"
                self.answer(fault.status, fault.headers, f"<?xml version='1.0'?>{text}".encode())
                return
            upstream = http.client.HTTPConnection(host, port)
            upstream.request(self.command, self.path, headers=dict(self.headers))
            answer = upstream.getresponse()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
            self.answer(answer.status, headers, answer.read(), answer.headers.get("Content-Length"))

        do_HEAD = do_GET

        def answer(self, status: int, headers: dict[str, str], body: bytes, length: str | None = None) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", (length or "0") if self.command == "HEAD" else str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    front = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front)
    front.daemon_threads = True
    thread = threading.Thread(target=front.serve_forever, daemon=True)
    thread.start()
    store = Store(f"http://127.0.0.1:{front.server_port}", f"http://{host}:{port}")
    try:
        yield store
    finally:
        front.shutdown()
        front.server_close()
        server.stop()
