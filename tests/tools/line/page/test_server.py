"""What strangers, other sites and slow clients get from the page: nothing that changes, and nothing that stops it."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from brokers import free_port
from certificates import Authority
from desks import TOKEN, Caller, FakeDesk, served
from fake_line import until
from inspections import good, inspection
from sample_decisions import line_state

from spade_edge.tools.line.configuration.options import PageOptions
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.page import serving
from spade_edge.tools.line.page.page import Page
from spade_edge.tools.line.state import HUNG, TROUBLED

CHANGES = ("/product", "/trigger", "/preview", "/teach", "/undo", "/threshold", "/logout")
CHOICE = {"camera": "top", "recipe": "nut"}


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
def page(tmp_path: Path, desk: FakeDesk) -> Iterator[tuple[Page, Caller]]:
    with served(tmp_path, desk) as (page, call):
        page.beat(desk.now)
        yield page, call


def test_every_answer_has_the_headers_that_bind_browsers(page: tuple[Page, Caller]) -> None:
    _, call = page
    for path in ("/", "/page.js", "/line", "/metrics", "/health", "/nothing", "/picture?camera=x&number=1"):
        headers = call("GET", path).headers
        policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers and "access-control-allow-origin" not in headers
    assert call("POST", "/product", CHOICE, Host="evil.example").headers["content-security-policy"]


def test_the_page_itself_has_nothing_that_the_policy_forbids_and_nothing_of_others(page: tuple[Page, Caller]) -> None:
    _, call = page
    text = call("GET", "/").content.decode()
    assert "<style" not in text and " style=" not in text and " onclick" not in text
    assert text.count("<script") == text.count('<script type="module" src="/page.js"></script>') == 1
    for path in ("/", "/page.css", "/page.js", "/charts.js", "/changes.js"):
        content = call("GET", path).content.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in content and "https://" not in content and "innerHTML" not in content
        first = call("GET", path)
        assert call("GET", path, If_None_Match=first.headers["etag"]).status == 304


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "localhost/..",
        "",
        "[::2]",
        "10.0.0.1",
        "a:b",
    ],
)
def test_a_name_of_somebody_else_is_refused(page: tuple[Page, Caller], host: str) -> None:
    _, call = page
    for path in ("/", "/line", "/metrics", "/rejects"):
        assert call("GET", path, Host=host).status == 421
    assert call("GET", "/line", Host=None).status in (400, 421)
    assert call("GET", "/health", Host=host).status == 200  # load balancers have names of their own


def test_names_of_this_machine_are_known(tmp_path: Path, desk: FakeDesk) -> None:
    with served(tmp_path, desk, listen="0.0.0.0:0", hosts=("press-3.plant", "192.168.7.7")) as (page, call):
        for name in ("localhost", "127.0.0.1", "[::1]", "press-3.plant", "PRESS-3.plant.", "192.168.7.7"):
            assert call("GET", "/line", Host=f"{name}:{page.port}").status == 200
            assert call("GET", "/line", Host=name).status == 200
        assert call("GET", "/line", Host="0.0.0.0").status == 421  # noqa: S104


def test_the_address_that_was_connected_to_is_a_name_of_this_machine(tmp_path: Path, desk: FakeDesk) -> None:
    with served(tmp_path, desk, listen="0.0.0.0:0") as (page, _):
        with socket.create_connection(("127.0.0.2", page.port), timeout=30) as own:
            own.sendall(b"GET /line HTTP/1.1\r\nHost: 127.0.0.2\r\nConnection: close\r\n\r\n")
            assert own.recv(12) == b"HTTP/1.1 200"
        with socket.create_connection(("127.0.0.2", page.port), timeout=30) as other:
            other.sendall(b"GET /line HTTP/1.1\r\nHost: 127.0.0.3\r\nConnection: close\r\n\r\n")
            assert other.recv(12) == b"HTTP/1.1 421"


def test_nothing_is_changed_without_a_session(page: tuple[Page, Caller], desk: FakeDesk) -> None:
    _, call = page
    for path in CHANGES:
        assert call("POST", path, CHOICE).status == 401
    for path in ("/change", "/generations?recipe=bolt", "/threshold?recipe=bolt"):
        assert call("GET", path).status == 401
    forged = Caller(call.port, cookie=f"spade-edge-{call.port}=guessed", secret="guessed")  # noqa: S106
    assert forged("POST", "/product", CHOICE).status == 401
    assert desk.asked == []


def test_nothing_can_be_changed_without_a_token_file(tmp_path: Path, desk: FakeDesk) -> None:
    with served(tmp_path, desk, token=False) as (page, call):
        page.beat(desk.now)
        assert call.log_in().status == 403 and call.log_in("").status in (400, 403)
        assert call("POST", "/product", CHOICE).status == 401
        assert call("GET", "/line").json["changes"]["allowed"] is False


def test_a_session_changes_product_and_triggers(page: tuple[Page, Caller], desk: FakeDesk) -> None:
    _, call = page
    answer = call.log_in()
    flags = answer.headers["set-cookie"].lower()
    assert "httponly" in flags and "samesite=strict" in flags and "secure" not in flags and TOKEN not in flags
    assert call("POST", "/product", CHOICE).status == 200
    assert call("POST", "/trigger", {"camera": "side"}).json == {"number": 2}
    assert desk.asked == [("choose", "top", "nut"), ("trigger", "side")]
    refused = call("POST", "/product", {"camera": "top", "recipe": "screw"})
    assert refused.status == 409 and refused.json["words"]
    assert call("POST", "/logout", {}).status == 200
    assert call("POST", "/product", CHOICE).status == 401


def test_another_site_in_the_same_browser_changes_nothing(page: tuple[Page, Caller], desk: FakeDesk) -> None:
    _, call = page
    assert call.log_in().status == 200
    own = f"http://127.0.0.1:{call.port}"
    for origin in (None, "null", "http://evil.example", f"http://127.0.0.1:{call.port + 1}", f"{own}.evil.example", ""):
        assert call("POST", "/product", CHOICE, Origin=origin).status == 403
        assert call("POST", "/login", {"token": TOKEN}, Origin=origin).status == 403
    assert call("POST", "/product", CHOICE, Sec_Fetch_Site="cross-site").status == 403
    assert call("POST", "/product", CHOICE, Sec_Fetch_Site="same-site").status == 403
    for secret in (None, "", "wrong", "ü"):
        assert call("POST", "/product", CHOICE, X_Session_Secret=secret).status == 403
    # What a form of another site could send without asking first.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None):
        assert call("POST", "/product", CHOICE, Content_Type=kind).status == 415
    assert desk.asked == []


def test_wrong_tokens_are_slowed_down_and_told_nothing(page: tuple[Page, Caller]) -> None:
    _, call = page
    answers = [call.log_in(f"guess {i}") for i in range(8)]
    assert [answer.status for answer in answers] == [403] * 5 + [429] * 3
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert call.log_in().status == 429  # also the right one
    assert all(TOKEN not in answer.content.decode() for answer in answers)


def test_another_token_in_the_file_ends_sessions(page: tuple[Page, Caller], tmp_path: Path) -> None:
    _, call = page
    assert call.log_in(f"  {TOKEN} ").status == 200
    (tmp_path / "token").write_text("another one\n", encoding="utf-8")
    assert call("POST", "/product", CHOICE).status == 401
    assert call.log_in().status == 403 and call.log_in("another one").status == 200
    (tmp_path / "token").unlink()
    assert call("POST", "/product", CHOICE).status == 503 and call.log_in("another one").status == 503
    assert "another one" not in call.log_in("another one").content.decode()


def test_bodies_that_are_no_small_json_object_are_refused(page: tuple[Page, Caller], desk: FakeDesk) -> None:
    _, call = page
    call.log_in()
    for raw in (
        b"",
        b"[]",
        b"1",
        b"{",
        b"\xff",
        b"[" * 5000,
        b'{"camera": "top", "recipe": 7}',
        b'{"camera": ["top"]}',
    ):
        assert call("POST", "/product", raw=raw).status == 400
    long = {"camera": "top", "recipe": "x" * 65}
    assert call("POST", "/product", long).status == 400
    assert call("POST", "/product", raw=b'{"camera": "' + b"x" * 10_000).status == 413
    assert call("POST", "/product", raw=b"x" * 1_000_000).status == 413
    assert desk.asked == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "CONNECT"])
def test_other_methods_are_refused(page: tuple[Page, Caller], method: str) -> None:
    _, call = page
    for path in ("/", "/line", "/product"):
        assert call(method, path).status in (400, 403, 404, 405)
    assert call("GET", "/product").status == 405


def test_head_is_answered_without_content(page: tuple[Page, Caller]) -> None:
    _, call = page
    answer = call("HEAD", "/")
    assert answer.status == 200 and answer.content == b"" and int(answer.headers["content-length"]) > 1000


def test_ids_and_numbers_from_outside_find_nothing_else(tmp_path: Path, desk: FakeDesk) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    with served(tmp_path, desk, evidence=folder) as (page, call):
        page.send(inspection(1))
        for id in ("../secret.jpg", "%2e%2e%2fsecret.jpg", "/etc/passwd", "a/b/c", "\0", "x" * 5000, "", "é"):
            for size in ("large", "small"):
                answer = call("GET", f"/rejects/picture?id={quote(id)}&size={size}")
                assert answer.status in (404, 409) and b"secret" not in answer.content
        for number in ("-1", "9", "1e3", "²", "9" * 99, "", "../1"):
            assert call("GET", f"/picture?camera=top&number={quote(number)}").status == 404
        for path in ("/../page.py", "/browser/page.html", "//etc/passwd", "/%2e%2e/site.py", "/page.html"):
            assert call("GET", path).status == 404


def test_pictures_are_drawn_once_and_only_for_parts_that_were_announced(page: tuple[Page, Caller]) -> None:
    receiver, call = page
    receiver.send(good(3, size=(480, 2000, 3)))
    shown = call("GET", "/line").json["cameras"][0]["shown"]
    assert (shown["verdict"], shown["gate"], shown["number"]) == ("good", "pass", 3)
    path = f"/picture?camera=top&number={shown['picture']}"
    plain, heat = call("GET", f"{path}&heat=0"), call("GET", f"{path}&heat=1")
    assert plain.content[:2] == heat.content[:2] == b"\xff\xd8" and plain.content != heat.content
    picture = cv2.imdecode(np.frombuffer(plain.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (230, 960, 3)
    assert call("GET", f"{path}&heat=1", If_None_Match=heat.headers["etag"]).status == 304
    assert call("GET", "/picture?camera=side&number=1").status == 404


def test_hostile_names_stay_text(page: tuple[Page, Caller], desk: FakeDesk) -> None:
    receiver, call = page
    name = "<script>alert(1)</script>\"'&\x00\u202e"
    receiver.send(inspection(1, id=name, reason=name))
    answer = call("GET", "/line")
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json["cameras"][0]["shown"]["trigger"] == name
    assert call("GET", "/rejects").json[0]["reason"] == name


def test_numbers_that_json_cannot_hold_become_null(page: tuple[Page, Caller]) -> None:
    receiver, call = page
    receiver.send(inspection(1, score=float("inf"), p=0.5, milliseconds=float("nan")))
    shown = json.loads(call("GET", "/line").content)["cameras"][0]["shown"]
    assert shown["milliseconds"] is None and shown["share"] is None and shown["score"] == "infinite"


def test_health_tells_load_balancers(page: tuple[Page, Caller], desk: FakeDesk) -> None:
    _, call = page
    assert call("GET", "/health").json == {
        "state": "well",
        "line": "press-3",
        "cameras": {"top": "well", "side": "well"},
    }
    for state in (TROUBLED, HUNG):
        desk.now = line_state(state=state)
        answer = call("GET", "/health")
        assert answer.status == 503 and answer.json["state"] == state


def test_a_service_without_signs_of_life_is_told(tmp_path: Path, desk: FakeDesk) -> None:
    now = 100.0
    with served(tmp_path, desk, clock=lambda: now) as (page, call):
        page.beat(desk.now)
        assert call("GET", "/health").status == 200
        now += 60
        assert call("GET", "/health").json["state"] == "silent"
        until(lambda: call("GET", "/line").json["silent"])
        assert call("GET", "/line").json["troubles"][0]["level"] == "bad"


def test_a_desk_that_fails_is_an_answer_without_a_traceback(page: tuple[Page, Caller], desk: FakeDesk) -> None:
    _, call = page
    desk.now = replace(desk.now, cameras=None)  # type: ignore[arg-type]
    answer = call("GET", "/health")
    assert answer.status == 500 and not any(word in answer.content for word in (b"Traceback", b"TypeError", b"None"))
    assert answer.headers["content-security-policy"]


def test_slow_and_silent_clients_are_closed_and_others_are_served(
    page: tuple[Page, Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, call = page
    monkeypatch.setattr(serving, "LASTS", 0.3)
    slow = socket.create_connection(("127.0.0.1", call.port), timeout=30)
    slow.sendall(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Le")
    silent = socket.create_connection(("127.0.0.1", call.port), timeout=30)
    for connection in (slow, silent):
        with connection, suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    monkeypatch.setattr(serving, "LASTS", 60)
    assert call("GET", "/line").status == 200


def test_too_many_connections_do_not_take_more_files(
    page: tuple[Page, Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, call = page
    monkeypatch.setattr(serving, "LASTS", 600)
    held = [socket.create_connection(("127.0.0.1", call.port), timeout=30) for _ in range(100)]
    try:

        def open_ones() -> int:
            count = 0
            for connection in held:
                connection.setblocking(False)
                try:
                    count += connection.recv(1, socket.MSG_PEEK) != b""
                except BlockingIOError:
                    count += 1
                except ConnectionError:
                    pass
            return count

        until(lambda: open_ones() <= serving.OF_ONE)
    finally:
        for connection in held:
            connection.close()

    def answers() -> bool:
        try:
            return call("GET", "/line").status == 200
        except (ConnectionError, OSError):
            return False

    until(answers)


@pytest.mark.parametrize(
    "raw", [b"\0" * 200, b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000]
)
def test_what_is_no_request_does_no_harm(page: tuple[Page, Caller], raw: bytes) -> None:
    _, call = page
    with socket.create_connection(("127.0.0.1", call.port), timeout=30) as connection:
        try:
            connection.sendall(raw + b"\r\n\r\n")
            assert b" 200 " not in connection.recv(100)
        except ConnectionError:
            pass
    assert call("GET", "/line").status == 200


def test_a_taken_port_is_an_output_error_and_the_next_try_works(tmp_path: Path, desk: FakeDesk) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        page = Page(PageOptions(listen=f"127.0.0.1:{port}"), desk=desk, evidence=None)
        with pytest.raises(OutputError):
            page.open()
        page.close()
    page.open()
    assert Caller(page.port)("GET", "/health").status == 200
    page.close()
    page.close()
    page.open()
    assert page.port == port
    page.close()


def test_a_server_that_has_stopped_is_told_to_the_courier(tmp_path: Path, desk: FakeDesk) -> None:
    page = Page(PageOptions(listen="127.0.0.1:0"), desk=desk, evidence=None)
    with pytest.raises(OutputError):
        page.beat(desk.now)
    page.open()
    assert page._serving is not None
    page._serving.stop()
    with pytest.raises(OutputError):
        page.send(inspection(1))
    page.close()
    assert not [one for one in threading.enumerate() if one.name == "page"]


def test_https_and_its_cookie(tmp_path: Path, desk: FakeDesk) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("page")
    with served(tmp_path, desk, cert_file=certificate, key_file=key) as (page, _):
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        body = json.dumps({"token": TOKEN}).encode()
        with (
            socket.create_connection(("127.0.0.1", page.port), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            origin = f"https://127.0.0.1:{page.port}"
            secure.sendall(
                f"POST /login HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nOrigin: {origin}\r\nConnection: close\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            answer = b""
            while block := secure.recv(4096):
                answer += block
        assert answer.startswith(b"HTTP/1.1 200") and b"secure" in answer.lower()
    (tmp_path / "broken.pem").write_text("no certificate", encoding="utf-8")
    broken = Page(
        PageOptions(listen="127.0.0.1:0", cert_file=tmp_path / "broken.pem", key_file=key), desk=desk, evidence=None
    )
    with pytest.raises(OutputError):
        broken.open()
    broken.close()


def test_a_dead_disk_stops_the_rejects_and_nothing_else(
    tmp_path: Path, desk: FakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spade_edge.tools.line.page import worker
    from spade_edge.tools.line.page.rejects import Kept

    dead = threading.Event()
    monkeypatch.setattr(Kept, "newest", lambda self: dead.wait(60))
    monkeypatch.setattr(worker.Worker.do, "__kwdefaults__", {"patience": 0.2})
    with served(tmp_path, desk, evidence=tmp_path) as (page, call):
        began = time.monotonic()
        assert call("GET", "/rejects").status == 503
        assert call("GET", "/line").status == 200 and call("GET", "/health").status == 200
        page.send(inspection(1))
        assert time.monotonic() - began < 60
        dead.set()
