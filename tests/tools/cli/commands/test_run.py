"""`spade-edge run` as a process: from a file to decisions, a new configuration on SIGHUP, an end on SIGTERM."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from command_line import run
from fake_line import LONG, until
from numpy.typing import NDArray

from spade_edge.galleries import Built

Part = Callable[..., NDArray[np.uint8]]

LINE = """\
[line]
name = "line-3"
heartbeat_ms = 100
{line}
[recipe.bolt]
bundle = "{bundle}"

[camera.top]
source = "{source}"
recipe = "bolt"
deadline_ms = 60000
stall_s = 0
{camera}
[output.log]
kind = "file"
path = "decisions.jsonl"
"""


@pytest.fixture
def written(tmp_path: Path, edge: Built) -> Callable[..., Path]:
    """Writes the configuration of a line."""

    def write(*, source: str, line: str = "", camera: str = "", more: str = "", bundle: Path = edge.path) -> Path:
        path = tmp_path / "line.toml"
        path.write_text(LINE.format(bundle=bundle, source=source, line=line, camera=camera) + more)
        return path

    return write


Written = Callable[..., Path]


def decisions(folder: Path) -> list[dict[str, Any]]:
    path = folder / "decisions.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [found for found in map(json.loads, lines) if "number" in found]


def test_a_trial_on_images(tmp_path: Path, part: Part, written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    for seed in range(3):
        np.save(tmp_path / "images" / f"{seed}.npy", part(20 + seed, flaw=seed == 1))
    code, out, err = run(capsys, "run", "--config", written(source="images"))
    assert code == 0 and out == ""
    assert "3 triggers: 2 good, 1 defect" in err
    assert [(found["trigger"], found["gate"]) for found in decisions(tmp_path)] == [
        ("0.npy", "pass"),
        ("1.npy", "reject"),
        ("2.npy", "pass"),
    ]


def test_check_and_schema(tmp_path: Path, written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    config = written(source="0")
    code, out, err = run(capsys, "run", "--config", config, "--check")
    assert (code, err) == (0, "") and "no mistake" in out
    config = written(source="0", line="nonsense = 1", camera="frozen = -1")
    code, out, err = run(capsys, "run", "--config", config, "--check")
    assert code == 2 and [line.partition(",")[0] for line in out.splitlines()] == ["line 4", "line 13"]
    for arguments in (["--config", config], ["--config", tmp_path / "none.toml"], ["--config", tmp_path], []):
        code, out, err = run(capsys, "run", *arguments)
        assert code in (2, 3) and out == "" and len(err.splitlines()) == 1
    code, out, err = run(capsys, "run", "--schema")
    assert (code, err) == (0, "") and json.loads(out)["$schema"].startswith("https://json-schema.org/")


def test_a_bundle_that_is_missing(tmp_path: Path, written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "run", "--config", written(source="0", bundle=tmp_path / "none"))
    assert (code, out) == (3, "") and len(err.splitlines()) == 1


def test_files_that_are_missing(tmp_path: Path, written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "run", "--config", written(source="nothing here"))
    assert (code, out) == (3, "") and len(err.splitlines()) == 1


@pytest.fixture
def posted() -> Iterator[tuple[str, list[Any]]]:
    """A web server that remembers what is posted to it."""
    found: list[Any] = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/part", found
        server.shutdown()
        thread.join()


def test_a_test_message(written: Written, posted: tuple[str, list[Any]], capsys: pytest.CaptureFixture[str]) -> None:
    address, found = posted
    more = f'[output.web]\nkind = "webhook"\nurl = "{address}"\ntimeout_s = 5\n'
    config = written(source="0", more=more)
    code, out, err = run(capsys, "run", "--config", config, "--test", "web")
    assert (code, err) == (0, "") and len(out.splitlines()) == 1
    assert [(message["test"], message["verdict"], message["gate"]) for message in found] == [(True, "good", "pass")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/"
        config = written(source="0", more=more.replace(address, nobody))
        code, out, err = run(capsys, "run", "--config", config, "--test", "web")
    assert (code, out) == (4, "") and len(err.splitlines()) == 1
    code, out, err = run(capsys, "run", "--config", config, "--test", "nobody")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1


def test_a_running_line_reads_its_file_again_and_ends_when_told(tmp_path: Path, part: Part, written: Written) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    config = written(source="watch:incoming")
    errors = tmp_path / "stderr"

    def see(seed: int) -> None:
        np.save(tmp_path / "next.npy", part(20, flaw=True) if seed else part(20))
        (tmp_path / "next.npy").rename(incoming / f"{seed}.npy")

    with errors.open("wb") as stderr:
        line = subprocess.Popen([sys.executable, "-m", "spade_edge", "run", "--config", str(config)], stderr=stderr)
    try:
        until(lambda: "line line-3" in errors.read_text())
        see(0)
        until(lambda: len(decisions(tmp_path)) == 1)
        config.write_text(config.read_text().replace("deadline_ms = 60000", "deadline_ms = 0"))
        line.send_signal(signal.SIGHUP)
        until(lambda: "not in force" in errors.read_text())
        see(1)
        until(lambda: len(decisions(tmp_path)) == 2)
        config.write_text(config.read_text().replace("deadline_ms = 0", "deadline_ms = 50000"))
        line.send_signal(signal.SIGHUP)
        until(lambda: "was read again" in errors.read_text())
        line.send_signal(signal.SIGTERM)
        assert line.wait(LONG) == 0
    finally:
        line.kill()
        line.wait()
    found = decisions(tmp_path)
    assert [(decision["number"], decision["verdict"]) for decision in found] == [(1, "good"), (2, "defect")]
    assert "2 triggers: 1 good, 1 defect" in errors.read_text() and "Traceback" not in errors.read_text()


def test_a_second_signal_ends_it_at_once(tmp_path: Path, written: Written) -> None:
    (tmp_path / "incoming").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes connections and answers nothing
        more = f'[output.web]\nkind = "webhook"\nurl = "http://127.0.0.1:{deaf.getsockname()[1]}/"\ntimeout_s = 60\n'
        config = written(source="watch:incoming", more=more)
        arguments = [sys.executable, "-m", "spade_edge", "run", "--config", str(config)]
        with subprocess.Popen(arguments, stderr=subprocess.PIPE) as line:
            assert line.stderr is not None
            line.stderr.readline()
            ended = False
            while not ended:
                line.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    ended = line.wait(0.5) is not None
            assert line.returncode in (0, -signal.SIGINT)
