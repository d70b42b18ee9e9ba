"""Object stores and web servers for tests, on loopback: moto's S3, a folder over HTTP, and a proxy that breaks off."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest

LOGIN = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": "/dev/null",  # nothing of whoever runs the tests
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_NUMBERS = count(1)  # of buckets; all servers of one process have the same ones


class S3:
    """An S3 server in memory, and what tests do with it behind the back of the code.

    Attributes:
        url: of the server, for AWS_ENDPOINT_URL.
        port: that it listens on.
    """

    def __init__(self, port: int) -> None:
        import botocore.session

        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._client: Any = botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="tests",
            aws_secret_access_key="tests",  # noqa: S106  (any will do)
        )

    def bucket(self) -> str:
        """A new bucket; gives its address."""
        name = f"plant-{next(_NUMBERS)}"
        self._client.create_bucket(Bucket=name)
        return f"s3://{name}"

    def put(self, address: str, content: bytes) -> None:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        self._client.put_object(Bucket=bucket, Key=key, Body=content)

    def upload(self, address: str, folder: Path) -> None:
        """Every file of a folder."""
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            self.put(f"{address}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def delete(self, address: str) -> None:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        self._client.delete_object(Bucket=bucket, Key=key)


@contextmanager
def s3_server() -> Iterator[S3]:
    """A server, and the environment that leads to it. Tests without moto are skipped."""
    server_of = pytest.importorskip("moto.server").ThreadedMotoServer
    pytest.importorskip("s3fs")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_of(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        s3 = S3(port)
        for name, value in (LOGIN | {"AWS_ENDPOINT_URL": s3.url, "NO_PROXY": "127.0.0.1"}).items():
            patch.setenv(name, value)
        try:
            yield s3
        finally:
            server.stop()


class _Quiet(SimpleHTTPRequestHandler):
    def handle(self) -> None:
        with suppress(OSError):  # the client has gone
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """A folder over HTTP; gives the address."""
    with serving(partial(_Quiet, directory=str(folder))) as port:
        yield f"http://127.0.0.1:{port}"


class Answering(BaseHTTPRequestHandler):
    """Answers each request as a test says: status, headers and body; None for silence until the client goes."""

    answers: Callable[[str], tuple[int, dict[str, str], Iterator[bytes] | bytes]]

    def do_GET(self) -> None:
        status, headers, body = type(self).answers(self.path)
        self.send_response(status)
        blocks = [body] if isinstance(body, bytes) else body
        for name, value in headers.items():
            self.send_header(name, value)
        if isinstance(body, bytes) and "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            with suppress(OSError):  # the client has heard enough
                for block in blocks:
                    self.wfile.write(block)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def answering(answers: Callable[[str], tuple[int, dict[str, str], Iterator[bytes] | bytes]]) -> Iterator[int]:
    """A web server that answers as a function of the path says; gives its port."""
    handler = type("Handler", (Answering,), {"answers": staticmethod(answers)})
    with serving(handler) as port:
        yield port


@contextmanager
def serving(handler: Any) -> Iterator[int]:
    """A web server with a handler; gives its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NO_PROXY", "127.0.0.1")
            yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def refusing() -> Iterator[int]:
    """A port that nobody answers at, and that nobody else can take meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


class Proxy:
    """Passes connections on to a port, and breaks some of them off.

    Args:
        port: of the server behind it.
        cuts: of the first connections, the number of bytes from the server after which each is broken off.

    Attributes:
        port: that it listens on.
        connections: so far.
    """

    def __init__(self, port: int, cuts: Sequence[int]) -> None:
        self._behind = port
        self._cuts = list(cuts)
        self._lock = Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.connections = 0
        self._thread = Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                with self._lock:
                    self.connections += 1
                    most = self._cuts.pop(0) if self._cuts else None
                server = socket.create_connection(("127.0.0.1", self._behind))
                Thread(target=_pass_on, args=(client, server, None), daemon=True).start()
                Thread(target=_pass_on, args=(server, client, most), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket, most: int | None) -> None:
    passed = 0
    with suppress(OSError):
        while block := source.recv(1 << 14):
            if most is not None and passed + len(block) >= most:
                target.sendall(block[: most - passed])
                break
            target.sendall(block)
            passed += len(block)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@contextmanager
def breaking_off(port: int, *cuts: int) -> Iterator[Proxy]:
    """A proxy in front of a port."""
    proxy = Proxy(port, cuts)
    try:
        yield proxy
    finally:
        proxy.close()
