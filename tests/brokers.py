"""Brokers for tests: a real mosquitto, and one of a few lines that acknowledges only what a test wants."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import SystemRandom
from threading import Thread

from fake_line import LONG, until

PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
CLIENTS = ("mosquitto_pub", "mosquitto_sub")  # a package of their own on Debian; without them the broker tells nothing
MOSQUITTO = shutil.which("mosquitto", path=PLACES) if all(map(shutil.which, CLIENTS)) else None


def free_port() -> int:
    """A port on which nobody listens, below those that the system gives to connections and to other tests meanwhile."""
    chance = SystemRandom()  # not seeded: tests run in several processes at once
    while True:
        port = chance.randrange(15_000, 32_000)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


class Mosquitto:
    """A broker of its own on loopback, which can be killed and started again on the same port."""

    def __init__(self, folder: Path, *settings: str, login: Sequence[str] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()  # it is kept, also while the broker is stopped
        self._login = list(login)  # for the clients of the tests
        self._file = folder / "mosquitto.conf"
        chosen = settings or ("allow_anonymous true",)
        kept = ("persistence true", f"persistence_location {folder}/", "user root", "max_queued_messages 100000")
        self._file.write_text("\n".join([f"listener {self.port} 127.0.0.1", *chosen, *kept]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._answers)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(LONG)
            self._process = None

    def publish(self, topic: str, payload: str = "", *more: str) -> None:
        """Publish as another client."""
        what = ["-n"] if not payload else ["-m", payload]
        subprocess.run(["mosquitto_pub", *self._to(), "-q", "1", "-t", topic, *what, *more], check=True, timeout=LONG)

    @contextmanager
    def reading(self, *more: str) -> Iterator[Heard]:
        """What another client reads of all topics in this block."""
        self.publish("ready", "yes", "-r")
        process = subprocess.Popen(
            ["mosquitto_sub", *self._to(), "-q", "2", "-t", "#", "-F", "%r %q %t %p", *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        heard = Heard(process)
        try:
            until(lambda: heard.on("ready"))
            yield heard
        finally:
            process.kill()
            process.wait(LONG)

    def _to(self) -> list[str]:
        return ["-V", "mqttv5", "-h", "127.0.0.1", "-p", str(self.port), *self._login]

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "mosquitto has ended"
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


class Heard:
    """Messages that a client of the broker has read, in order: whether retained, QoS, topic, payload."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.messages: list[tuple[bool, int, str, str]] = []
        self._process = process
        Thread(target=self._read, daemon=True).start()

    def on(self, topic: str) -> list[str]:
        """The payloads on a topic."""
        return [payload for _, _, found, payload in self.messages if found == topic]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            retained, qos, topic, payload = line.rstrip("\n").split(" ", 3)
            self.messages.append((retained == "1", int(qos), topic, payload))


class SmallBroker:
    """Speaks as much MQTT 5 as a publisher needs: acknowledges QoS 1 as long as `acknowledges`, and notes what came."""

    def __init__(self, *, answer: Callable[[int], bytes] | None = None) -> None:
        self.acknowledges = True
        self.published: list[tuple[str, bytes]] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._connections: list[socket.socket] = []
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        self.drop()

    def drop(self) -> None:
        """End all connections."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, EOFError), connection, connection.makefile("rb") as stream:
            while True:
                kind = _exactly(stream, 1)[0]
                body = _exactly(stream, _length(stream))
                if self._answer is not None:
                    connection.sendall(self._answer(kind))
                elif kind >> 4 == 1:  # CONNECT
                    connection.sendall(bytes([0x20, 3, 0, 0, 0]))
                elif kind >> 4 == 3:  # PUBLISH
                    size = int.from_bytes(body[:2], "big")
                    topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
                    if kind & 6:
                        number, rest = rest[:2], rest[2:]
                        if self.acknowledges:
                            connection.sendall(bytes([0x40, 2]) + number)
                    self.published.append((topic, rest[1:]))  # without the length of the properties, which is 0
                elif kind >> 4 == 12:  # PINGREQ
                    connection.sendall(bytes([0xD0, 0]))


def _length(stream: object) -> int:
    value = shift = 0
    while True:
        byte = _exactly(stream, 1)[0]
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value


def _exactly(stream: object, size: int) -> bytes:
    found = stream.read(size)  # type: ignore[attr-defined]
    if len(found) < size:
        raise EOFError
    return bytes(found)
