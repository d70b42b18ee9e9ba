"""OCI registries for tests, on loopback: Debian's docker-registry, and one that answers as a test says."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from fake_line import LONG, until
from object_stores import answering

SERVER = shutil.which("docker-registry")


class DockerRegistry:
    """A registry of its own, which keeps its files in a folder, on a port that the system chooses.

    Args:
        folder: for its files and its configuration.
        more: settings of its configuration.

    Attributes:
        port: that it listens on.
    """

    def __init__(self, folder: Path, **more: Any) -> None:
        assert SERVER is not None
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder / "files"
        settings = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder)}},
            **more,
            "http": {"addr": "127.0.0.1:0", "secret": "tests"} | more.get("http", {}),
        }
        file = folder / "config.json"
        file.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
        self._process = subprocess.Popen(
            [SERVER, "serve", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.port = 0
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        until(lambda: self.port or self._process.poll() is not None)
        assert self.port, "docker-registry does not start"

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(LONG)
        self._reader.join(LONG)

    def _read(self) -> None:
        """Read what it tells, to its end, so that it never waits for a reader."""
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", line):
                    self.port = int(found[1])


@contextmanager
def docker_registry(folder: Path, **more: Any) -> Iterator[DockerRegistry]:
    """A registry that runs in this block. Tests are skipped where there is none, or no oras."""
    pytest.importorskip("oras")
    if SERVER is None:
        pytest.skip("docker-registry is not installed")
    registry = DockerRegistry(folder, **more)
    try:
        yield registry
    finally:
        registry.stop()


Answer = tuple[int, dict[str, str], Iterator[bytes] | bytes]


class FalseRegistry:
    """What a registry answers to those who read, by the end of the path; a test changes it.

    Attributes:
        answers: what is told of a path: a function that makes the answer, or an answer.
        asked: the paths that were asked for.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer | Callable[[], Answer]] = {}
        self.asked: list[str] = []
        self.port = 0

    def __call__(self, path: str) -> Answer:
        self.asked.append(path)
        if path == "/v2/" and path not in self.answers:
            return 200, {}, b"{}"
        for end, answer in self.answers.items():
            if path.endswith(end):
                return answer() if callable(answer) else answer
        return 404, {}, b'{"errors":[{"code":"UNKNOWN","message":"not known"}]}'

    def hold(self, content: bytes, *, tag: str = "") -> str:
        """Answer rightly for some content; gives its SHA-256."""
        digest = hashlib.sha256(content).hexdigest()
        self.answers[f"sha256:{digest}"] = (200, {}, content)
        if tag:
            self.answers[f"/manifests/{tag}"] = (200, {}, content)
        return digest


@contextmanager
def false_registry() -> Iterator[FalseRegistry]:
    """A registry that answers as a test says."""
    pytest.importorskip("oras")
    registry = FalseRegistry()
    with answering(registry) as registry.port:
        yield registry


@contextmanager
def closed_port() -> Iterator[int]:
    """A port on which nothing listens, and nothing else can in this block."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])
