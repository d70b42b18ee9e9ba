"""OCI registries for tests, on loopback: Debian's docker-registry, and one that answers as a test says."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from brokers import free_port
from fake_line import LONG, until
from object_stores import answering

SERVER = shutil.which("docker-registry")
TRIES = 5  # ports; another program may take one that was free


class DockerRegistry:
    """A registry of its own, which keeps its files in a folder.

    Args:
        folder: for its files and its configuration.
        more: settings of its configuration.

    Attributes:
        port: that it listens on.
    """

    def __init__(self, folder: Path, **more: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder / "files"
        self._file, self._more = folder / "config.json", more
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        for _ in range(TRIES):
            self.port = free_port()
            if self.start():
                return
        raise AssertionError("docker-registry does not start")

    def start(self) -> bool:
        """Start it on its port; whether that was free."""
        assert SERVER is not None
        http = {"addr": f"127.0.0.1:{self.port}"} | self._more.get("http", {})
        settings = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder)}},
            **self._more,
            "http": http,
        }
        self._file.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
        process = subprocess.Popen(
            [SERVER, "serve", str(self._file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: process.poll() is not None or self._answers())
        if process.poll() is not None:
            return False
        self._process = process
        return True

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(LONG)
            self._process = None

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


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
