"""Decisions, signs of life and commands at an MQTT 5 broker. The only module that imports paho.

<topic>/<line>/status                  retained: {"state": "online"}; "offline" at the end, and as the last will
<topic>/<line>/heartbeat               the state of the line, at each heartbeat
<topic>/<line>/<camera>/decision       each decision
<topic>/<line>/<camera>/state          retained: the camera's recipe, health and drift, when they change
<topic>/<line>/<camera>/trigger        a command: trigger this camera
<topic>/<line>/<camera>/recipe/set     a command: judge the next triggers as another product
<topic>/<line>/<camera>/refused        commands that were not carried out, and why

A line's name is one level of the topic, so a name that has a / or a wildcard is refused.
"""

from __future__ import annotations

import json
import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from threading import Event
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from spade_edge.runtime.errors import UsageError
from spade_edge.tools.line.configuration.options import LineConfiguration, MqttOptions
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.outputs.commands import LARGEST, Allowance, read_recipe, read_trigger
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.outputs.secret_file import read_secret
from spade_edge.tools.line.outputs.tls import client_context
from spade_edge.tools.line.requests import Requests
from spade_edge.tools.line.state import CameraState, LineState
from spade_edge.tools.tls import fault

log = logging.getLogger(__name__)

VERSION = 1  # of the messages that are not decisions
PLAIN_PORT, TLS_PORT = 1883, 8883
ANSWER = 4.0  # seconds that the broker has for each answer; under the 5 s after which an output counts as hung
FAREWELL = 1.0  # seconds that it has at the end
WINDOW = 16  # messages that may wait for an acknowledgement, unless the broker allows fewer
LARGEST_PACKET = 2 * LARGEST  # bytes; the broker keeps larger messages to itself
LONGEST_TOPIC = 1000  # bytes of the topic of an answer
SHORT, MANY = 30.0, 3  # so many connections in a row that are lost within these seconds are remarkable
LOST = "the connection to the broker was lost"
COMPLAINTS = 60.0  # seconds between two lines in the log about the same kind of command
STATUS, HEARTBEAT, DECISION, STATE, REFUSED = "status", "heartbeat", "decision", "state", "refused"
TRIGGER, RECIPE = "trigger", "recipe/set"


@dataclass(frozen=True)
class _Message:
    """What is published, and whether it is published again after a reconnect."""

    topic: str
    payload: bytes
    qos: int
    retain: bool = False
    again: bool = False


@dataclass(frozen=True)
class _Sent:
    """A message on its way; `info` knows whether it was taken."""

    message: _Message
    info: paho.MQTTMessageInfo
    at: float


class _Client(paho.Client):
    """A client for one connection, whose network thread says when and why it has ended.

    Attributes:
        id: by which the broker knows it.
        welcomed: set when the broker has answered, whatever it said.
        ended: set when the network thread has ended, for whatever reason.
        started: whether there was a network thread.
        trouble: why there is no connection; empty as long as nothing is wrong.
        lost: whether it ended without a word from the broker.
        refused: number of a message to why the broker did not take it.
        granted: set when the broker has answered a subscription.
        most_qos: the highest quality of service that the broker offers.
        window: how many messages may wait for an acknowledgement.
    """

    def __init__(self, client_id: str) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,  # the courier does this
        )
        self.id = client_id
        self.welcomed, self.ended, self.granted = Event(), Event(), Event()
        self.started = False
        self.trouble, self.lost = "", False
        self.refused: dict[int, str] = {}
        self.most_qos, self.window = 2, WINDOW
        self.connect_timeout = ANSWER
        self.on_connect = _connected
        self.on_disconnect = _disconnected
        self.on_publish = _published
        self.on_subscribe = _subscribed

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:
        """What paho's network thread runs. Whatever the broker sends, it ends without a traceback."""
        try:
            return super().loop_forever(timeout, retry_first_connection)
        except Exception as problem:
            self.trouble = self.trouble or f"the broker sent what nobody understands ({type(problem).__name__})"
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        finally:
            self.lost = self.lost or not self.trouble
            self.trouble = self.trouble or LOST
            self.ended.set()
            self.welcomed.set()
            self.granted.set()

    def cut(self) -> None:
        """End the connection at once, and the network thread with it."""
        connection = self.socket()
        if isinstance(connection, socket.socket):
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # below TLS, which the thread is using
        if self.started:
            self.ended.wait(ANSWER)
        self.on_connect = self.on_disconnect = self.on_publish = self.on_subscribe = self.on_message = None


class MqttOutput:
    """Publishes at a broker.

    A decision counts as taken when it is among the 16 that may wait for the broker's acknowledgement. Those that were
    not acknowledged when the connection ended are published again, first, after a reconnect: each arrives at least
    once, in order, and a reader tells a second copy by camera and number. Any number of cameras, one thread.

    Args:
        options: how to reach the broker.
        name: of the output.
        line: name of the line, a level of every topic.
        configuration: has the cameras.
        requests: what commands are passed to; None if there are none.
        clock: returns seconds.

    Raises:
        UsageError: the topic or the line's name is not fit for a topic.
    """

    def __init__(
        self,
        options: MqttOptions,
        *,
        name: str,
        line: str,
        configuration: LineConfiguration,
        requests: Requests | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for level in options.topic.split("/"):
            _check_level(level, f"[output.{name}] topic")
        if options.topic.startswith("$"):
            raise UsageError(f"[output.{name}] topic: expected one that does not begin with $, which brokers reserve")
        _check_level(line, "[line] name")
        self._options, self._line = options, line
        self._cameras = tuple(configuration.cameras)
        self._requests, self._clock = requests, clock
        self._base = f"{options.topic}/{line}"
        self._client_id = options.client_id or f"spade-edge-{line}-{name}"
        self._client: _Client | None = None
        self._sent: deque[_Sent] = deque()  # on the way, oldest first
        self._owed: deque[_Message] = deque()  # what a former connection did not deliver
        self._told: dict[str, dict[str, Any]] = {}  # camera to what its retained topic says
        self._allowance = Allowance(clock=clock)
        self._complained: dict[str, float] = {}
        self._opened = clock()
        self._short = 0  # connections in a row that were lost soon

    def open(self) -> None:
        """Connect, say that the line is online, send what is still owed, and listen to commands."""
        client = self._connect(self._client_id, will=True)
        self._opened = self._clock()
        self._owed = deque([*(sent.message for sent in self._sent if sent.message.again), *self._owed])
        self._sent.clear()
        self._told.clear()
        online = {"state": "online", "since": _now()}
        self._publish(_Message(f"{self._base}/{STATUS}", self._payload(online), qos=1, retain=True))
        while self._owed:
            self._publish(self._owed[0])
            self._owed.popleft()
        if self._requests is not None:
            self._listen(client, [f"{self._base}/+/{TRIGGER}", f"{self._base}/+/{RECIPE}"])

    def send(self, decision: Decision) -> None:
        """Publish a decision; see `Output.send`."""
        self._publish(self._message(decision))

    def stale(self, decision: Decision) -> bool:
        """Never: decisions are a record."""
        return False

    def beat(self, state: LineState) -> None:
        """Publish the state of the line, and of each camera where it has changed."""
        self._collect()
        beat = json.dumps(state.to_json(), allow_nan=False).encode()
        self._publish(_Message(f"{self._base}/{HEARTBEAT}", beat, qos=0))
        for camera in state.cameras:
            shown = _shown(camera)
            if self._told.get(camera.name) != shown:
                topic = f"{self._base}/{camera.name}/{STATE}"
                fields = {"camera": camera.name, **camera.health.to_json(), **shown}
                self._publish(_Message(topic, self._payload(fields), qos=1, retain=True))
                self._told[camera.name] = shown

    def close(self) -> None:
        """Give what is on its way a moment, say that the line is offline, and disconnect."""
        client, self._client = self._client, None
        if client is None:
            return
        self._short = self._short + 1 if client.lost and self._clock() - self._opened < SHORT else 0
        if client.started and not client.trouble and not self._overdue():
            with suppress(OutputError):
                self._settle(client, FAREWELL)
                offline = self._offline()
                left = client.publish(offline.topic, offline.payload, offline.qos, offline.retain)
                _wait(client, left, FAREWELL)
                client.disconnect()
                client.ended.wait(FAREWELL)
        client.cut()
        missing = sum(sent.message.again and not _taken(client, sent) for sent in self._sent)
        if missing:
            log.warning("%d decisions have no acknowledgement from the broker", missing)

    def test(self, decision: Decision, state: LineState) -> str:
        """Publish a test decision under a client id of its own, and wait until the broker delivers it back."""
        came = Event()
        message = self._message(decision)
        client = self._connect(f"{self._client_id}-test", will=False)  # a service that runs keeps its connection
        try:
            client.on_message = lambda _client, _data, found: came.set() if found.payload == message.payload else None
            began = self._clock()
            back = True
            try:
                self._listen(client, [message.topic])
            except OutputError:  # whoever may publish need not be allowed to read
                back = False
            self._publish(message)
            self._settle(client, ANSWER)
            what = {0: "took", 1: "acknowledged", 2: "acknowledged"}[message.qos]
            said = f"the broker {self._where} {what} a test decision on {message.topic} (QoS {message.qos})"
            if not back:
                return f"{said}; this user may not read it back"
            if not came.wait(ANSWER):
                raise OutputError(f"{said}, but did not deliver it within {ANSWER:g} s to its own reader")
            return f"{said} and delivered it back after {1000 * (self._clock() - began):.0f} ms"
        finally:
            self._client = None
            self._sent.clear()
            client.disconnect()
            client.ended.wait(FAREWELL)
            client.cut()

    # The connection.

    @property
    def _where(self) -> str:
        return f"{self._options.host}:{self._port}"

    @property
    def _port(self) -> int:
        return self._options.port or (TLS_PORT if self._options.tls else PLAIN_PORT)

    def _connect(self, client_id: str, *, will: bool) -> _Client:
        """Connect and wait until the broker has let us in."""
        options = self._options
        client = _Client(client_id)
        if options.username or options.password_file:
            password = None if options.password_file is None else read_secret(options.password_file)
            client.username_pw_set(options.username or None, password)
        if options.tls:
            client.tls_set_context(
                client_context(ca_file=options.ca_file, cert_file=options.cert_file, key_file=options.key_file)
            )
        if will:
            offline = self._offline()
            client.will_set(offline.topic, offline.payload, offline.qos, offline.retain)
        client.on_message = self._command
        wanted = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        wanted.MaximumPacketSize = LARGEST_PACKET
        try:
            client.connect(options.host, self._port, options.keepalive_s, clean_start=True, properties=wanted)
        except TimeoutError:
            raise OutputError(f"expected the broker {self._where} to answer within {ANSWER:g} s, found none") from None
        except OSError as problem:
            raise OutputError(f"expected a broker at {self._where}, found none: {fault(problem)}") from None
        except ValueError as problem:
            raise OutputError(f"expected the address of a broker, found {self._where}: {problem}") from None
        client.started = True
        client.loop_start()
        if not client.welcomed.wait(ANSWER):
            client.trouble = "it does not answer"
        if not client.trouble and client.most_qos < options.qos:
            client.trouble = f"it offers at most QoS {client.most_qos}; set qos = {client.most_qos}"
        if client.trouble:
            client.cut()
            raise OutputError(f"expected the broker {self._where} to let us in, found: {client.trouble}")
        self._client = client
        return client

    def _listen(self, client: _Client, topics: list[str]) -> None:
        """Subscribe, and wait for the answer. A retained message comes marked, so that it can be ignored."""
        client.granted.clear()
        options = SubscribeOptions(qos=min(1, client.most_qos), retainAsPublished=True)
        client.subscribe([(topic, options) for topic in topics])
        if not client.granted.wait(ANSWER) or client.ended.is_set():
            client.trouble = client.trouble or "it does not answer a subscription"
        if client.trouble:
            raise OutputError(f"expected the broker {self._where} to deliver {topics[0]}, found: {client.trouble}")

    # Messages to the broker.

    def _message(self, decision: Decision) -> _Message:
        payload = json.dumps(decision.to_json(), allow_nan=False).encode()
        return _Message(f"{self._base}/{decision.trigger.camera}/{DECISION}", payload, self._options.qos, again=True)

    def _offline(self) -> _Message:
        return _Message(f"{self._base}/{STATUS}", self._payload({"state": "offline"}), qos=1, retain=True)

    def _payload(self, fields: dict[str, Any]) -> bytes:
        return json.dumps({"version": VERSION, "line": self._line} | fields, allow_nan=False).encode()

    def _publish(self, message: _Message) -> None:
        """Publish something, after waiting until it is one of few that are on their way.

        Raises:
            OutputError: there is no connection, or the broker has not acknowledged earlier messages in time. Then this
                one was not published.
        """
        client = self._up()
        self._collect()
        while len(self._sent) >= client.window:
            _wait(client, self._sent[0].info, self._sent[0].at + ANSWER - self._clock())
            self._collect()
        info = client.publish(message.topic, message.payload, message.qos, message.retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            client.ended.wait(FAREWELL)  # then it has said why
            self._up()
            raise OutputError(f"{LOST}; broker {self._where}")
        self._sent.append(_Sent(message, info, self._clock()))

    def _collect(self) -> None:
        """Forget what was taken.

        Raises:
            OutputError: the broker has refused something, or has not answered in time.
        """
        client = self._up()
        while self._sent and self._sent[0].info.is_published():
            sent = self._sent[0]
            if (why := client.refused.pop(sent.info.mid, "")) and sent.message.qos:
                raise OutputError(f"expected the broker {self._where} to take {sent.message.topic}, found: {why}")
            self._sent.popleft()
        if self._overdue():
            raise OutputError(
                f"expected an acknowledgement from the broker {self._where} within {ANSWER:g} s, found none"
            )

    def _settle(self, client: _Client, seconds: float) -> None:
        """Wait until everything was taken."""
        ending = self._clock() + seconds
        while self._sent:
            sent = self._sent[0]
            _wait(client, sent.info, ending - self._clock())
            if why := client.refused.get(sent.info.mid, ""):
                raise OutputError(f"expected the broker {self._where} to take {sent.message.topic}, found: {why}")
            self._sent.popleft()

    def _overdue(self) -> bool:
        return bool(self._sent) and self._clock() - self._sent[0].at > ANSWER

    def _up(self) -> _Client:
        """The client, if it is connected."""
        client = self._client
        if client is None:
            raise OutputError(f"expected a connection to the broker {self._where}, found none")
        if client.trouble:
            # Not every broker says that it did this.
            hint = f"; does another client use the client id '{client.id}' too?" if self._short + 1 >= MANY else ""
            raise OutputError(f"{client.trouble}; broker {self._where}{hint if client.lost else ''}")
        return client

    # Commands. These run in paho's network thread.

    def _command(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        """Carry out a command, and answer where its sender wants an answer."""
        try:
            self._carry_out(client, message)
        except Exception as problem:  # a fault of ours must not end the connection
            self._complain("fault", f"a command could not be carried out: {type(problem).__name__}")

    def _carry_out(self, client: paho.Client, message: paho.MQTTMessage) -> None:
        camera, _, what = message.topic.removeprefix(f"{self._base}/").partition("/")
        if self._requests is None:
            return
        if not self._allowance.take():  # no answers: they would be as many
            self._complain("many", "more commands than any line has parts: some are not carried out")
            return
        try:
            if message.retain:  # the broker would deliver it at every reconnect
                raise UsageError("expected a command that is not retained, found a retained one; it is never executed")
            if what == TRIGGER:
                id, recipe = read_trigger(bytes(message.payload))
                answer: dict[str, Any] = {"number": self._requests.trigger(camera, id=id, recipe=recipe)}
            else:
                recipe = read_recipe(bytes(message.payload))
                self._requests.choose(camera, recipe)
                answer = {"recipe": recipe}
        except UsageError as problem:
            why = str(problem)
            self._complain(f"{what} {message.retain}", f"{what} for camera {camera[:64]!a} refused: {why}")
            refusal = {"camera": camera[:64], "command": what, "accepted": False, "reason": why}
            if camera in self._cameras:
                client.publish(f"{self._base}/{camera}/{REFUSED}", self._payload(refusal), 0)
            self._answer(client, message, refusal)
        else:
            self._answer(client, message, {"camera": camera, "command": what, "accepted": True} | answer)

    def _answer(self, client: paho.Client, message: paho.MQTTMessage, fields: dict[str, Any]) -> None:
        """Answer on the topic that the sender has named, if it is not one of ours or the broker's."""
        topic = getattr(message.properties, "ResponseTopic", "")
        ours = f"{self._base}/"
        if not topic or len(topic.encode()) > LONGEST_TOPIC or topic.startswith(("$", ours)) or set(topic) & set("+#"):
            return
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if (correlation := getattr(message.properties, "CorrelationData", None)) is not None:
            properties.CorrelationData = correlation
        client.publish(topic, self._payload(fields), 0, properties=properties)

    def _complain(self, kind: str, words: str) -> None:
        """Say something in the log, but not again and again."""
        now = self._clock()
        if now - self._complained.get(kind, -COMPLAINTS) >= COMPLAINTS:
            self._complained[kind] = now
            log.warning("broker %s: %s", self._where, words)


def _connected(
    client: paho.Client, _: Any, flags: paho.ConnectFlags, reason: ReasonCode, properties: Properties | None
) -> None:
    assert isinstance(client, _Client)  # noqa: S101
    if reason.is_failure:
        client.trouble = f"{reason}; check username, password and certificate, and what the broker allows"
    client.most_qos = getattr(properties, "MaximumQoS", 2)
    client.window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
    client.welcomed.set()


def _disconnected(
    client: paho.Client, _: Any, flags: paho.DisconnectFlags, reason: ReasonCode, properties: Properties | None
) -> None:
    assert isinstance(client, _Client)  # noqa: S101
    if client.trouble:
        return
    if reason == 0x8E:
        client.trouble = (
            f"another client took over the client id '{client.id}'; give each service a line name or "
            "a client_id of its own"
        )
    elif flags.is_disconnect_packet_from_server:
        client.trouble = f"the broker ended the connection: {reason}"
    else:
        client.trouble, client.lost = LOST, True


def _published(client: paho.Client, _: Any, number: int, reason: ReasonCode, properties: Properties | None) -> None:
    assert isinstance(client, _Client)  # noqa: S101
    if reason.is_failure:
        client.refused[number] = f"{reason}; check what the broker allows this user to publish"


def _subscribed(
    client: paho.Client, _: Any, number: int, reasons: list[ReasonCode], properties: Properties | None
) -> None:
    assert isinstance(client, _Client)  # noqa: S101
    if failed := [reason for reason in reasons if reason.is_failure]:
        client.trouble = f"{failed[0]}; check what the broker allows this user to read"
    client.granted.set()


def _wait(client: _Client, info: paho.MQTTMessageInfo, seconds: float) -> None:
    """Wait until the broker has taken a message."""
    if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
        raise OutputError(client.trouble or LOST)
    ending = time.monotonic() + seconds
    while not info.is_published():
        if client.trouble:
            raise OutputError(client.trouble)
        if time.monotonic() >= ending:
            raise OutputError(f"expected an acknowledgement from the broker within {ANSWER:g} s, found none")
        info.wait_for_publish(0.05)


def _taken(client: _Client, sent: _Sent) -> bool:
    return sent.info.is_published() and sent.info.mid not in client.refused


def _shown(camera: CameraState) -> dict[str, Any]:
    """What the retained topic of a camera says: what changes seldom. A time alone is no change."""
    return {
        "state": camera.health.state,
        "words": camera.health.words,
        "recipe": camera.recipe,
        "recipes": list(camera.recipes),
        "bundle": camera.bundle,
        "threshold": camera.threshold,
        "certificate": camera.certificate,
        "refused": camera.refused,
        "drift": camera.drift,
    }


def _check_level(level: str, what: str) -> None:
    """Refuse what cannot be a level of a topic: it would be another topic, or a pattern."""
    if not level or not level.isprintable() or set(level) & set("/+#"):
        raise UsageError(
            f"{what}: expected printable text without /, + and # for the topics of a broker, found '{level[:64]}'"
        )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
