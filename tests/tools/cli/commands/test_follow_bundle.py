"""`score --follow-bundle`: a process that scores while its bundle changes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built, set_threshold
from spade_edge.runtime.bundle.manifest import FILE

Frames = Callable[..., NDArray[np.uint8]]
LONG = 60  # seconds; no test waits so long unless something is wrong


class Running:
    """`spade-edge score` on raw frames from stdin."""

    def __init__(self, *arguments: object) -> None:
        line = [sys.executable, "-m", "spade_edge", "score", "--raw", "80x96", "-", *map(str, arguments)]
        self.process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.said: Queue[str] = Queue()
        self._thread = Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.put(line.rstrip("\n"))

    def scored(self, frame: NDArray[np.uint8]) -> dict[str, Any]:
        """The line of one frame."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.buffer.write(frame.tobytes())
        self.process.stdin.buffer.flush()
        value: dict[str, Any] = json.loads(self.process.stdout.readline())
        return value

    def until(self, frame: NDArray[np.uint8], bundle: str) -> list[dict[str, Any]]:
        """The lines of a frame again and again, up to the first one of a generation."""
        end, lines = time.monotonic() + LONG, [self.scored(frame)]
        while lines[-1]["bundle"] != bundle:
            assert time.monotonic() < end, f"never judged by {bundle}"
            lines.append(self.scored(frame))
        return lines

    def ended(self) -> tuple[int, list[str]]:
        """Exit code, and what has been said on stderr and not been taken yet."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(LONG)
        self._thread.join(LONG)
        said = []
        while True:
            try:
                said.append(self.said.get_nowait())
            except Empty:
                return code, said


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def begin(*arguments: object) -> Running:
        running.append(Running(*arguments))
        return running[-1]

    yield begin
    for one in running:
        one.process.kill()
        one.process.wait()


@pytest.fixture
def bundle(edge: Built, tmp_path: Path) -> Path:
    return shutil.copytree(edge.path, tmp_path / "part.spade")


def named(bundle: Path) -> str:
    return sha256((bundle / FILE).read_bytes()).hexdigest()[:16]


def test_a_new_generation_judges_from_one_line_to_the_next(
    bundle: Path, part: Frames, start: Callable[..., Running]
) -> None:
    running, frame, first = start("--bundle", bundle, "--follow-bundle"), part(20), named(bundle)
    before = running.scored(frame)
    assert before["bundle"] == first and before["verdict"] == "good"
    set_threshold(bundle, score=before["score"] - 1, reason="a test")
    second = named(bundle)
    lines = running.until(frame, second)
    assert [line["frame"] for line in lines] == list(range(1, len(lines) + 1))
    assert {(line["bundle"], line["verdict"], line["threshold"]) for line in (before, *lines[:-1])} == {
        (first, "good", before["threshold"])
    }
    assert (lines[-1]["verdict"], lines[-1]["threshold"]) == ("defect", before["score"] - 1)
    code, said = running.ended()
    assert code == 1 and len(said) == 2 and second in said[0] and f"threshold {before['score'] - 1:.4g}" in said[1]


def test_without_the_option_a_run_keeps_its_bundle(bundle: Path, part: Frames, start: Callable[..., Running]) -> None:
    running, frame, first = start("--bundle", bundle), part(20), named(bundle)
    assert running.scored(frame)["bundle"] == first
    set_threshold(bundle, score=1e-9, reason="a test")
    time.sleep(0.5)
    assert [running.scored(frame)["bundle"] for _ in range(3)] == [first] * 3
    assert running.ended()[0] == 0


def test_only_signed_generations_are_taken_and_a_signature_may_come_later(
    bundle: Path, part: Frames, start: Callable[..., Running], tmp_path: Path
) -> None:
    pytest.importorskip("cryptography")
    from spade_edge.tools.signing import new_key, sign

    new_key(tmp_path / "line.key")
    sign(bundle, tmp_path / "line.key")
    running = start("--bundle", bundle, "--follow-bundle", "--require-signature", tmp_path / "line.key.pub")
    frame, first = part(20), named(bundle)
    assert running.scored(frame)["bundle"] == first
    set_threshold(bundle, score=1e9, reason="a test")
    end = time.monotonic() + LONG
    while running.said.empty():
        assert running.scored(frame)["bundle"] == first and time.monotonic() < end
    refused = running.said.get()
    assert "expected a signature" in refused and first in refused and named(bundle) in refused
    sign(bundle, tmp_path / "line.key")
    assert running.until(frame, named(bundle))[-1]["threshold"] == 1e9
    code, said = running.ended()
    assert code == 0 and len(said) == 2 and "from here on" in said[0]
