"""What lines say at an MQTT broker: their heartbeats, and whether the broker knows that they are offline.

The only module of this room that imports paho.
"""

from __future__ import annotations

import re
import secrets
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from spade_edge.runtime.errors import DataError, DeviceError
from spade_edge.runtime.fields import parse
from spade_edge.runtime.legible import legible
from spade_edge.tools.fleet.status.place import Place
from spade_edge.tools.fleet.status.report import LARGEST, LONGEST, LineReport, Skipped, read_report
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.outputs.secret_file import read_secret
from spade_edge.tools.line.outputs.tls import client_context
from spade_edge.tools.tls import fault

HEARTBEAT, STATUS = "heartbeat", "status"
ANSWER = 10.0  # seconds that the broker has to let us in
MOST = 200_000  # lines; a broker that makes up names must not fill the memory
MOST_BYTES = 512 << 20  # of all that is kept; 200,000 lines of three cameras are 360 MB


@dataclass(frozen=True)
class Login:
    """How this client is let in.

    Attributes:
        username, password_file: of the user; empty and None for nobody.
        ca_file: certificates by which the broker is known; None for those of the system.
        cert_file, key_file: of this client; None for none.
    """

    username: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


def heard(place: Place, login: Login, *, seconds: float) -> list[LineReport | Skipped]:
    """Listen for a while, and give what each line has said last.

    A line that the broker knows to be offline, and that gives no sign of life, is given without cameras.

    Args:
        place: where.
        login: how this client is let in.
        seconds: how long; some more than the time between two heartbeats.

    Raises:
        DeviceError: the broker is not there, or does not let us in.
        DataError: a file of the login cannot be read.
    """
    ear = _Ear(place)
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"spade-edge-status-{secrets.token_hex(6)}",
        protocol=paho.MQTTv5,
        reconnect_on_failure=False,
    )
    client.connect_timeout = ANSWER
    try:
        if login.username:
            password = None if login.password_file is None else read_secret(login.password_file)
            client.username_pw_set(login.username, password)
        if place.tls:
            client.tls_set_context(_context(login))
    except OutputError as problem:
        raise DataError(str(problem)) from None
    client.on_connect, client.on_message, client.on_subscribe = ear.connected, ear.message, ear.subscribed
    client.on_disconnect = ear.disconnected
    wanted = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    wanted.MaximumPacketSize = 2 * LARGEST
    try:
        client.connect(place.host, place.port, clean_start=True, properties=wanted)
    except (OSError, ValueError) as problem:
        why = fault(problem) if isinstance(problem, OSError) else str(problem)
        raise DeviceError(f"expected a broker at {place}, found none: {why}") from None
    client.loop_start()
    try:
        if not ear.ready.wait(ANSWER) or ear.trouble:
            raise DeviceError(
                f"expected the broker {place} to let us read, found: {ear.trouble or 'it does not answer'}"
            )
        ear.over.wait(seconds)
        if ear.trouble:
            raise DeviceError(f"expected the broker {place} to deliver heartbeats, found: {ear.trouble}")
    finally:
        client.disconnect()
        client.loop_stop()
    return ear.reports()


class _Ear:
    """Keeps what each line has said last. paho's thread calls it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        # Line to its last heartbeat, and when it came; or to what the broker has kept of one that is offline, and None.
        self._said: dict[str, tuple[bytes, float | None]] = {}
        self._bytes = 0  # of that
        self._pattern = re.compile(rf"{re.escape(place.topic)}/([^/]+)/({HEARTBEAT}|{STATUS})", re.DOTALL)
        self.ready, self.over = threading.Event(), threading.Event()
        self.trouble = ""

    def connected(self, client: paho.Client, _: Any, __: Any, reason: ReasonCode, ___: Any) -> None:
        if reason.is_failure:
            self._give_up(f"{reason}; check --username, --password-file and certificates")
            return
        client.subscribe([(f"{self._place.topic}/+/{what}", 0) for what in (HEARTBEAT, STATUS)])

    def subscribed(self, _: paho.Client, __: Any, ___: int, reasons: list[ReasonCode], ____: Any) -> None:
        failed = [str(reason) for reason in reasons if reason.is_failure]
        if failed:
            self._give_up(f"{failed[0]}; check what the broker allows this user to read")
        self.ready.set()

    def disconnected(self, _: paho.Client, __: Any, flags: Any, reason: ReasonCode, ____: Any) -> None:
        self._give_up(f"the connection was lost: {reason}")

    def message(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        try:
            found = self._pattern.fullmatch(message.topic)
        except UnicodeDecodeError:
            return
        if found is None or len(message.payload) > LARGEST:
            return
        line, payload = found[1], bytes(message.payload)
        before = self._said.pop(line, None)
        if before is not None:
            self._bytes -= len(line) + len(before[0])
        heartbeat = found[2] == HEARTBEAT
        if not heartbeat and b'"offline"' not in payload:  # it is online, and its heartbeat counts if there was one
            if before is None or before[1] is None:
                return
            payload, at = before
        else:
            at = time.time() if heartbeat else None
        size = len(line) + len(payload)
        if len(self._said) < MOST and self._bytes + size <= MOST_BYTES:
            self._said[line] = payload, at
            self._bytes += size

    def reports(self) -> list[LineReport | Skipped]:
        """What the lines have said; ask when the client has ended."""
        said = sorted(self._said.items(), key=lambda one: (one[1][1] is None, one[0]))
        return [_tried(line, payload, at, self._place) for line, (payload, at) in said]

    def _give_up(self, why: str) -> None:
        self.trouble = self.trouble or why
        self.ready.set()
        self.over.set()


def _tried(line: str, payload: bytes, at: float | None, place: Place) -> LineReport | Skipped:
    """A report; the time at which a heartbeat was heard counts, not that of the line's clock."""
    name = legible(line[:LONGEST])
    where = f"{place.topic}/{name}"
    try:
        if at is not None:
            report = read_report(payload, place=where)
            return LineReport(name, report.software, at, report.cameras, report.troubles, report.news, where)
        parse(payload, where=where, error=DataError)
        return LineReport(name, "", 0.0, (), (), "", where, offline=True)
    except DataError as problem:
        return Skipped(str(problem))


def _context(login: Login) -> ssl.SSLContext:
    return client_context(ca_file=login.ca_file, cert_file=login.cert_file, key_file=login.key_file)
