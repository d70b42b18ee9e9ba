"""What a real HTTP server gets, and what happens when it fails, is slow, or answers nonsense."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from brokers import free_port
from fake_line import LONG, Clock, until
from sample_decisions import BEGAN, configuration, decision, line_state

from spade_edge.runtime import UsageError
from spade_edge.tools.line import courier as carrying
from spade_edge.tools.line.configuration.options import WebhookOptions
from spade_edge.tools.line.courier import Courier
from spade_edge.tools.line.outputs import webhook
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.outputs.webhook import WebhookOutput

Make = Callable[..., WebhookOutput]


class Server:
    """An HTTP server that notes what is posted, and answers as a test says."""

    def __init__(self, *, context: ssl.SSLContext | None = None) -> None:
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.answers: list[tuple[int, dict[str, str], bytes]] = []  # to the next posts; then 200
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                server.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.posts.append((self.path, dict(self.headers), body))
                status, headers, content = server.answers.pop(0) if server.answers else (200, {}, b"taken")
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(content)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, args=[0.01], daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def numbers(self) -> list[int]:
        return [json.loads(body)["number"] for _, _, body in self.posts]


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.close()


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[WebhookOutput] = []

    def output(url: str, *, clock: Callable[[], float] = time.monotonic, **options: Any) -> WebhookOutput:
        chosen = WebhookOptions(url=url, **options)
        made.append(
            WebhookOutput(
                chosen, name="hook", line="press-3", configuration=configuration(), requests=None, clock=clock
            )
        )
        return made[-1]

    yield output
    for one in made:
        one.close()


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "SOONEST", 0.01)
    monkeypatch.setattr(carrying, "LATEST", 0.02)


def test_a_decision_is_posted_as_json(server: Server, make: Make, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\nsecond line\n")
    output = make(f"http://127.0.0.1:{server.port}/parts?line=3", token_file=token)
    output.open()
    for number in (1, 2):
        output.send(decision(number))
    output.beat(line_state())
    assert not output.stale(decision())
    assert [json.loads(body) for _, _, body in server.posts] == [decision(1).to_json(), decision(2).to_json()]
    path, headers, _ = server.posts[0]
    assert path == "/parts?line=3"
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["Idempotency-Key"] == f"press-3/top/1/{int(1000 * (BEGAN + 1))}"
    assert len({headers["Idempotency-Key"] for _, headers, _ in server.posts}) == 2
    assert server.connections == 1


def test_only_some_verdicts(server: Server, make: Make) -> None:
    output = make(f"http://127.0.0.1:{server.port}", verdicts=("defect", "late"))
    output.open()
    for number, verdict in enumerate(("good", "defect", "cannot_judge", "late"), start=1):
        output.send(decision(number, verdict=verdict))
    assert server.numbers() == [2, 4]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 599])
def test_a_fault_of_the_moment_is_tried_again(server: Server, make: Make, hurry: None, status: int) -> None:
    server.answers = [(status, {}, b"")] * 2
    with Carried(make(f"http://127.0.0.1:{server.port}")) as courier:
        courier.hand_over(decision(1))
        courier.hand_over(decision(2))
        until(lambda: courier.state.sent == 2)
    assert server.numbers() == [1, 1, 1, 2]
    assert len({headers["Idempotency-Key"] for _, headers, _ in server.posts[:3]}) == 1
    assert courier.state.lost == 0


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 413, 422])
def test_what_will_never_be_taken_is_given_up_and_counted(server: Server, make: Make, hurry: None, status: int) -> None:
    server.answers = [(status, {"Location": f"http://127.0.0.1:{server.port}/other"}, b"no")]
    with Carried(make(f"http://127.0.0.1:{server.port}/here")) as courier:
        courier.hand_over(decision(1))
        courier.hand_over(decision(2))
        until(lambda: courier.state.sent == 1)
    assert server.numbers() == [1, 2]
    assert {path for path, _, _ in server.posts} == {"/here"}  # no redirect is followed
    assert courier.state.lost == 1


def test_after_so_many_tries_a_decision_is_given_up(server: Server, make: Make, hurry: None) -> None:
    server.answers = [(500, {}, b"")] * 3
    with Carried(make(f"http://127.0.0.1:{server.port}", tries=3)) as courier:
        courier.hand_over(decision(1))
        courier.hand_over(decision(2))
        until(lambda: courier.state.sent == 1)
    assert server.numbers() == [1, 1, 1, 2]
    assert courier.state.lost == 1


def test_a_server_that_comes_later_gets_everything(make: Make, hurry: None) -> None:
    """Trying to connect is no try: a server that is down costs no decision but by the length of the queue."""
    port = free_port()
    output = make(f"http://127.0.0.1:{port}", tries=1)
    with Carried(output) as courier:
        for number in (1, 2):
            courier.hand_over(decision(number))
        until(lambda: "found none" in courier.state.health.words)
        with socket.create_server(("127.0.0.1", port)) as listener:
            got: list[bytes] = []
            Thread(target=_answer_all, args=[listener, got], daemon=True).start()
            until(lambda: courier.state.sent == 2)
    assert courier.state.lost == 0


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured_within_a_bound(server: Server, make: Make, clock: Clock, as_date: bool) -> None:
    later = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=55), usegmt=True)
    server.answers = [
        (503, {"Retry-After": later if as_date else "55"}, b""),
        (429, {"Retry-After": "999999999999999"}, b""),
    ]
    output = make(f"http://127.0.0.1:{server.port}", clock=clock)
    output.open()
    with pytest.raises(OutputError):
        output.send(decision(1))
    clock.now += 20  # far from 55, as the server's date is compared with the time of day
    with pytest.raises(OutputError):
        output.open()
    assert len(server.posts) == 1
    clock.now += 36
    output.open()
    with pytest.raises(OutputError):
        output.send(decision(1))
    clock.now += 59
    with pytest.raises(OutputError):
        output.open()
    clock.now += 2
    output.open()
    output.send(decision(1))


@pytest.mark.parametrize("value", ["", "soon", "-5", "１２", "Wed, 99 Foo 2026", "nan", "Wed, 21 Oct 2015 07:28:00"])
def test_a_retry_after_that_makes_no_sense_is_none(server: Server, make: Make, value: str) -> None:
    server.answers = [(503, {"Retry-After": value.encode().decode("latin-1")}, b"")]
    output = make(f"http://127.0.0.1:{server.port}")
    output.open()
    with pytest.raises(OutputError):
        output.send(decision(1))
    output.open()


def test_a_connection_that_the_server_ended_is_made_again(server: Server, make: Make) -> None:
    server.answers = [(200, {"Connection": "close"}, b""), (200, {}, b"")]
    output = make(f"http://127.0.0.1:{server.port}")
    output.open()
    for number in (1, 2, 3):
        output.send(decision(number))
    assert server.numbers() == [1, 2, 3] and server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 9999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\xff" * 100,
    ],
)
def test_an_answer_that_is_none_is_an_error(make: Make, answer: bytes) -> None:
    with nonsense(answer) as port:
        output = make(f"http://127.0.0.1:{port}", timeout_s=0.5)
        output.open()
        with pytest.raises(OutputError):
            output.send(decision())


@pytest.mark.parametrize("rest", [b"", b"Content-Length: 100\r\n\r\nshort"])
def test_the_status_is_what_counts(make: Make, rest: bytes) -> None:
    with nonsense(b"HTTP/1.1 200 OK\r\n" + rest) as port:
        output = make(f"http://127.0.0.1:{port}")
        output.open()
        output.send(decision(1))
        output.send(decision(2))


def test_an_answer_without_an_end_is_not_read_to_the_end(make: Make) -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    with nonsense(head + b"x" * 1_000_000) as port:
        output = make(f"http://127.0.0.1:{port}", timeout_s=LONG)
        output.open()
        output.send(decision(1))
        output.send(decision(2))


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_an_answer_that_trickles_in_is_overdue(make: Make, first: bytes) -> None:
    over = Event()

    def trickle(connection: socket.socket) -> None:
        connection.sendall(first)
        while not over.wait(0.05):
            connection.sendall(b"X" if not first else b"X: y\r\n")

    with Listening(trickle) as port:
        output = make(f"http://127.0.0.1:{port}", timeout_s=0.3)
        output.open()
        with pytest.raises(OutputError):
            output.send(decision())
        over.set()


def test_a_server_that_never_answers_is_an_error(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        output = make(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)
        output.open()
        with pytest.raises(OutputError):
            output.send(decision())
        with pytest.raises(OutputError):
            make(f"https://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2).open()


def test_tls_with_an_authority_of_ones_own(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    from certificates import Authority

    authority, other = Authority(tmp_path / "authority"), Authority(tmp_path / "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server"))
    server = Server(context=context)
    url = f"https://127.0.0.1:{server.port}/parts"
    output = make(url, ca_file=authority.ca_file)
    output.open()
    output.send(decision(1))
    for wrong in (
        make(url, ca_file=other.ca_file),
        make(url),
        make(url, ca_file=tmp_path / "none"),
        make(url.replace("127.0.0.1", "localhost"), ca_file=authority.ca_file),
    ):
        with pytest.raises(OutputError):
            wrong.open()
    server.close()
    assert server.numbers() == [1]


def test_a_test_says_what_came_back_and_no_secret(server: Server, make: Make, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    output = make(f"http://127.0.0.1:{server.port}/hooks/k3y?code=c0de", token_file=tmp_path / "token")
    said = output.test(decision(test=True), line_state())
    assert "200" in said
    assert json.loads(server.posts[0][2])["test"] is True
    server.answers = [(403, {}, b"")]
    with pytest.raises(OutputError) as caught:
        output.test(decision(test=True), line_state())
    for text in (said, str(caught.value)):
        assert not any(secret in text for secret in ("s3cret", "k3y", "c0de"))


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", "tökén".encode(), b"x" * 5000, b"a\x00b"])
def test_a_token_that_cannot_be_sent_is_told_and_not_quoted(
    server: Server, make: Make, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(OutputError) as caught:
        make(f"http://127.0.0.1:{server.port}", token_file=tmp_path / "token").open()
    assert "xxx" not in str(caught.value) and "tökén" not in str(caught.value)
    with pytest.raises(OutputError):
        make(f"http://127.0.0.1:{server.port}", token_file=tmp_path / "none").open()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1/parts",
        "ftp://host/x",
        "http://",
        "http:///parts",
        "http://user:s3cret@host/",
        "http://host:99999/",
        "http://host:x/",
        "http://[::1/",
        "http://host/a b",
        "http://host/ä",
    ],
)
def test_an_address_that_is_none_is_refused_and_not_quoted(make: Make, url: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(url)
    assert "s3cret" not in str(caught.value)


def test_a_name_of_a_line_may_have_any_letters(server: Server, make: Make) -> None:
    output = make(f"http://127.0.0.1:{server.port}")
    output.open()
    output.send(decision(1, line="Halle 3 / Presse ü\n"))
    assert server.posts[0][1]["Idempotency-Key"].isascii()


class Carried:
    """A courier that runs in this block."""

    def __init__(self, output: WebhookOutput) -> None:
        self._courier = Courier(output, name="hook", kind="webhook", queue=100, patience=LONG)

    def __enter__(self) -> Courier[Any]:
        self._courier.start()
        return self._courier

    def __exit__(self, *_: object) -> None:
        self._courier.end()
        self._courier.join()


class Listening:
    """A server that reads a request and then does something with the connection."""

    def __init__(self, then: Callable[[socket.socket], None]) -> None:
        self._then = then
        self._listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> int:
        Thread(target=self._serve, daemon=True).start()
        return int(self._listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, suppress(OSError):
                    while (data := connection.recv(65_536)) and not data.endswith(b"}"):
                        pass  # the body may come after the head; what is left unread would reset the connection
                    self._then(connection)


def nonsense(answer: bytes) -> Listening:
    return Listening(lambda connection: connection.sendall(answer))


def _answer_all(listener: socket.socket, got: list[bytes]) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                while data := connection.recv(65_536):
                    got.append(data)
                    if data.endswith(b"}"):
                        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def test_the_bound_of_an_answer_is_what_the_tests_assume() -> None:
    assert webhook.LARGEST < 1_000_000
