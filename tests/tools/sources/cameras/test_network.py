"""Network streams on loopback, whole and damaged, and servers that deliver something else; with and without PyAV."""

from __future__ import annotations

import base64
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest
from films import DATAGRAM, film, picture

from spade_edge.runtime import DeviceError
from spade_edge.tools.sources import Shot, SourceOptions, open_source
from spade_edge.tools.sources.cameras import network
from spade_edge.tools.sources.files import recording

LOGIN = "adm@in:z/q?x#y@z:100%"
AUTHORIZATION = "Basic " + base64.b64encode(LOGIN.encode()).decode()
JPEGS = [cv2.imencode(".jpg", picture(number))[1].tobytes() for number in range(12)]
CUT = (3, 7, 8)
ONCE = SourceOptions(reopen=0, frozen=0)


class Pages(BaseHTTPRequestHandler):
    """A server as cameras are: some paths stream, others answer with something else."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/status/"):
            self.answer(int(path.rpartition("/")[2]), "text/html", b"<html>no</html>")
        elif path == "/private" and self.headers.get("Authorization") != AUTHORIZATION:
            self.answer(401, "text/html", b"<html>no</html>")
        elif path in ("/stream", "/private"):
            self.stream()
        elif path == "/private-page" and self.headers.get("Authorization") != AUTHORIZATION:
            self.answer(401, "text/html", b"<html>no</html>")
        elif path in ("/page", "/private-page"):
            self.answer(200, "text/html", b"<!doctype html><html><body>Log in</body></html>" * 9)
        elif path == "/json":
            self.answer(200, "application/json", b'{"error": 7}')
        else:
            self.answer(200, "image/jpeg", JPEGS[0])

    def answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
        self.end_headers()
        self.wfile.write(body)

    def stream(self) -> None:
        """Motion JPEG in which some frames are cut to a fifth of their bytes."""
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        for number, jpeg in enumerate(JPEGS):
            sent = jpeg[: len(jpeg) // 5] if number in CUT else jpeg
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(sent)}\r\n\r\n"
            self.wfile.write(head.encode() + sent + b"\r\n")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["PyAV", "OpenCV"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to read a stream; without PyAV as if it were not installed."""
    if request.param == "PyAV":
        pytest.importorskip("av")
    else:
        for module in (network, recording):
            monkeypatch.setattr(module, "is_installed", lambda: False)
    return str(request.param)


def taken(source: str) -> tuple[list[Shot], str]:
    """Everything up to the end of a source, and what ended it."""
    shots: list[Shot] = []
    with pytest.raises(DeviceError) as end:
        for shot in open_source(source, options=ONCE):
            shots.append(shot)
    return shots, str(end.value)


@pytest.mark.parametrize("login", ["", f"{LOGIN}@"])
def test_frames_of_motion_jpeg_that_are_cut_get_no_verdict(login: str, port: int, backend: str) -> None:
    path = "private?channel=1" if login else "stream"
    *shots, stop = taken(f"http://{login}127.0.0.1:{port}/{path}")[0]
    assert stop.news and [shot.name for shot in shots] == list(range(len(JPEGS)))
    assert tuple(shot.name for shot in shots if shot.fault) == CUT
    for number, shot in enumerate(shots):
        if shot.frame is not None:
            assert np.array_equal(shot.frame, cv2.imdecode(np.frombuffer(JPEGS[number], np.uint8), cv2.IMREAD_COLOR))


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("status/401", "401 Unauthorized: it asks for a user and password"),
        ("status/403", "403 Forbidden: this user may not see the stream"),
        ("status/404", "404 Not Found: nothing is at this path"),
        ("status/503", "503 Service Unavailable"),
        ("private", "401 Unauthorized: it asks for a user and password"),
        ("page", "a web page"),
        ("json", r"text \(application/json\) and no video"),
        ("snapshot.jpg", "a single picture .* watch:DIR"),
    ],
)
def test_a_server_that_delivers_no_stream_is_described_at_once(path: str, says: str, port: int, backend: str) -> None:
    address = f"http://127.0.0.1:{port}/{path}"
    with pytest.raises(DeviceError, match=f"^{address}: expected a camera that opens, found {says}"):
        next(iter(open_source(f"{address}?token=zqx")))  # with ten tries, which are for later


def test_a_page_behind_a_password_is_a_page(port: int, backend: str) -> None:
    shots, end = taken(f"http://{LOGIN}@127.0.0.1:{port}/private-page")
    assert shots == [] and "found a web page" in end


def test_a_refused_password_is_not_told(port: int, backend: str, caplog: pytest.LogCaptureFixture) -> None:
    shots, end = taken(f"http://me:zqx/1@127.0.0.1:{port}/private?pwd=zqx")
    assert shots == [] and "401 Unauthorized: it refuses this user or password" in end
    assert "zqx" not in end + caplog.text


@pytest.mark.parametrize("scheme", ["rtsp", "http", "tcp"])
def test_nothing_that_listens_is_named_without_its_password(scheme: str, backend: str) -> None:
    shots, end = taken(f"{scheme}://me:z/qx@127.0.0.1:1/line?pass=qx")
    assert shots == [] and end.startswith(f"{scheme}://127.0.0.1:1/line: expected a camera that opens, found ")
    assert "qx" not in end and "me" not in end.partition(": ")[0]


def refusing(status: bytes) -> int:
    """The port of a server that answers any request over RTSP with this status."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = server.accept()
            with connection:
                while request := connection.recv(4096):
                    number = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"cseq"))
                    connection.sendall(b"RTSP/1.0 " + status + b"\r\n" + number + b"\r\n\r\n")

    Thread(target=serve, daemon=True).start()
    return int(server.getsockname()[1])


@pytest.mark.parametrize(("status", "says"), [(b"404 Not Found", "404 Not Found"), (b"403 Forbidden", "403 Forbidden")])
def test_a_refusal_over_rtsp_is_described(status: bytes, says: str, backend: str) -> None:
    shots, end = taken(f"rtsp://127.0.0.1:{refusing(status)}/live")
    assert shots == [] and f"expected a camera that opens, found {says}: " in end


def test_a_stream_of_predicted_frames_without_pyav_says_what_it_cannot_notice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("av")
    path = film(tmp_path / "film.avi", "mpeg4")
    jpegs = film(tmp_path / "jpegs.avi", "mjpeg", pixels="yuvj420p")
    monkeypatch.setattr(recording, "is_installed", lambda: False)
    with caplog.at_level(logging.WARNING):
        assert all(shot.frame is not None for shot in open_source(path))
        assert sum("damaged frames cannot be noticed" in message for message in caplog.messages) == 1
        assert "pip install av" in caplog.text and str(path) in caplog.text
        caplog.clear()
        assert all(shot.frame is not None for shot in open_source(jpegs))
        assert caplog.text == ""


def send(raw: bytes, number: int, *, lost: set[int]) -> None:
    """Send an MPEG-TS in datagrams, some of which are lost."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for place, start in enumerate(range(0, len(raw), DATAGRAM)):
            if place not in lost:
                sender.sendto(raw[start : start + DATAGRAM], ("127.0.0.1", number))
            time.sleep(0.0005)


def test_lost_datagrams_spoil_frames_and_no_other_frame_takes_their_place(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = film(tmp_path / "film.ts", "mpeg2video", frames=60)
    whole = {shot.frame.tobytes() for shot in open_source(path) if shot.frame is not None}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    source: Any = open_source(f"udp://127.0.0.1:{number}", options=SourceOptions(reopen=0, frozen=0, stall=0))
    raw = path.read_bytes()
    sender = Thread(target=lambda: (time.sleep(0.3), send(raw, number, lost={60, 61, 90})), daemon=True)  # type: ignore[func-returns-value]
    sender.start()
    shots = []
    for shot in source:  # up to the last group of frames, which the silence behind it would end
        shots.append(shot)
        if shot.name == 50:
            break
    frames = [shot.frame.tobytes() for shot in shots if shot.frame is not None]
    assert len(frames) > 20 and set(frames) <= whole
    assert sum(bool(shot.fault) for shot in shots) >= 2
    sender.join()


def test_no_library_writes_to_stderr_itself(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = film(tmp_path / "film.mkv", "ffv1", options={"level": "3", "slicecrc": "1"})
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    jpegs = film(tmp_path / "jpegs.avi", "mjpeg", pixels="yuvj420p")
    raw = bytearray(jpegs.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 50] = b"\xff" * 50
    jpegs.write_bytes(raw)
    script = (
        "import sys\nfrom spade_edge.runtime import SpadeError\nfrom spade_edge.tools.sources import open_source\n"
        "for source in sys.argv[1:]:\n"
        "    try: print(sum(bool(shot.fault) for shot in open_source(source)))\n"
        "    except SpadeError: print('refused')"
    )
    sources = [str(path), str(jpegs), "rtsp://127.0.0.1:1/x", "http://127.0.0.1:1/x"]
    done = subprocess.run([sys.executable, "-c", script, *sources], capture_output=True, text=True, check=True)
    counts = done.stdout.split()
    assert int(counts[0]) >= 1 and int(counts[1]) >= 1 and counts[2:] == ["refused"] * 2 and done.stderr == ""
