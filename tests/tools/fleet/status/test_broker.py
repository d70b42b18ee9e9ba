"""What lines say at a real broker: heartbeats of the service's own output, and who is offline."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from brokers import MOSQUITTO, Mosquitto, free_port
from plant_reports import state
from sample_decisions import configuration

pytest.importorskip("paho")

from spade_edge.runtime import DataError, DeviceError, UsageError
from spade_edge.tools.fleet.status import LineReport, Skipped
from spade_edge.tools.fleet.status import broker as module
from spade_edge.tools.fleet.status.broker import Login, heard
from spade_edge.tools.fleet.status.place import Place, is_broker, place_of
from spade_edge.tools.fleet.status.report import LONGEST
from spade_edge.tools.line.configuration.options import MqttOptions
from spade_edge.tools.line.outputs.mqtt import MqttOutput

needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    started = Mosquitto(tmp_path_factory.mktemp("broker"))
    yield started
    started.stop(signal.SIGKILL)


def output(port: int, line: str, **options: Any) -> MqttOutput:
    chosen = MqttOptions(host="127.0.0.1", port=port, **options)
    return MqttOutput(chosen, name="broker", line=line, configuration=configuration(), requests=None)


@contextmanager
def beating(*outputs: tuple[MqttOutput, str]) -> Iterator[None]:
    """Lines that give signs of life all the time."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.05):
            for each, line in outputs:
                each.beat(state(line, good=7))

    for each, _ in outputs:
        each.open()
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for each, _ in outputs:
            each.close()


def lasting(place: Place, login: Login, enough: Callable[[list[LineReport | Skipped]], bool]) -> list[Any]:
    """Listen for longer and longer, until enough was heard: a busy machine needs its time."""
    for seconds in (0.3, 2.0, 10.0, 30.0):
        found = heard(place, login, seconds=seconds)
        if enough(found):
            break
    return found


def test_heartbeats_are_heard_and_lines_that_are_offline_are_known(broker: Mosquitto) -> None:
    gone = output(broker.port, "line-3", topic="plant/hall")
    gone.open()
    gone.close()
    lines = [(output(broker.port, name, topic="plant/hall"), name) for name in ("line-1", "line-2")]
    other = (output(broker.port, "line-4", topic="elsewhere"), "line-4")
    place = place_of(f"mqtt://127.0.0.1:{broker.port}/plant/hall")
    with beating(*lines, other):
        found = lasting(place, Login(), lambda found: len(found) == 3)
    assert [(each.line, each.offline) for each in found] == [("line-1", False), ("line-2", False), ("line-3", True)]
    assert found[0].cameras[0].good == 7 and found[0].at > 1_700_000_000 and found[2].cameras == ()


def test_hostile_messages_are_one_line_each(broker: Mosquitto) -> None:
    for line, payload in (("a", "hello"), ("b", "[" * 3000), ("c", '{"version": 1}')):
        broker.publish(f"hostile/{line}/heartbeat", payload, "-r")
    broker.publish("hostile/d/status", '{"state": "offline', "-r")
    broker.publish("hostile/e/status", '{"state": "online"}', "-r")
    broker.publish("hostile/f/g/heartbeat", "not ours", "-r")
    place = place_of(f"mqtt://127.0.0.1:{broker.port}/hostile")
    found = lasting(place, Login(), lambda found: len(found) >= 3)
    assert [type(each) for each in found] == [Skipped] * len(found) and len(found) in (3, 4)
    assert all(len(each.problem.splitlines()) == 1 for each in found)


def test_a_broker_that_makes_up_lines_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.enums import CallbackAPIVersion

    monkeypatch.setattr(module, "MOST_BYTES", 20_000)
    ear, client = module._Ear(Place("h", 1883, "plant", False)), Client(CallbackAPIVersion.VERSION2)

    def say(line: str, what: str, payload: bytes) -> None:
        message = MQTTMessage(topic=f"plant/{line}/{what}".encode())
        message.payload = payload
        ear.message(client, None, message)

    beat = json.dumps(state("line", good=7).to_json()).encode()
    for _ in range(1000):  # what is replaced does not count
        say("line", "heartbeat", beat)
        say("line", "status", b'{"state": "offline"}')
        say("line", "heartbeat", beat)
        say("line", "status", b'{"state": "online"}')
    for number in range(1000):
        say(f"{number:03}{'x' * 2000}", "heartbeat", beat)
    found = ear.reports()
    assert 4 <= len(found) <= 10 and all(isinstance(each, LineReport) and len(each.line) <= LONGEST for each in found)
    (own,) = (each for each in found if isinstance(each, LineReport) and each.line == "line")
    assert own.cameras[0].good == 7 and not own.offline


@needs_mosquitto
def test_a_login_and_tls(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    from certificates import Authority

    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue("broker")
    mine, my_key = authority.issue("client")
    started = Mosquitto(
        tmp_path / "broker",
        "allow_anonymous true",
        f"certfile {certificate}",
        f"keyfile {key}",
        f"cafile {authority.ca_file}",
        "require_certificate true",
    )
    files = {"ca_file": authority.ca_file, "cert_file": mine, "key_file": my_key}
    try:
        place = place_of(f"mqtts://127.0.0.1:{started.port}")
        with beating((output(started.port, "line-1", tls=True, **files), "line-1")):
            found = lasting(place, Login(**files), bool)
        assert [each.line for each in found] == ["line-1"]
        for login in (Login(ca_file=authority.ca_file), Login(**{**files, "ca_file": None})):
            with pytest.raises(DeviceError):
                heard(place, login, seconds=0)
        with pytest.raises(DataError):
            heard(place, Login(ca_file=tmp_path / "none"), seconds=0)
    finally:
        started.stop()


@needs_mosquitto
def test_a_wrong_password_is_told_and_never_quoted(tmp_path: Path) -> None:
    import subprocess

    users, secret = tmp_path / "users", tmp_path / "secret"
    users.touch()
    users.chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(users), "plant", "right"], check=True, capture_output=True)
    started = Mosquitto(tmp_path / "broker", "allow_anonymous false", f"password_file {users}")
    try:
        place = place_of(f"mqtt://127.0.0.1:{started.port}")
        secret.write_text("wr0ng\n")
        with pytest.raises(DeviceError) as caught:
            heard(place, Login("plant", secret), seconds=0)
        assert "wr0ng" not in str(caught.value)
        with pytest.raises(DataError):
            heard(place, Login("plant", tmp_path / "none"), seconds=0)
        secret.write_text("right\n")
        assert heard(place, Login("plant", secret), seconds=0) == []
    finally:
        started.stop()


def test_no_broker_and_one_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="expected a broker"):
        heard(Place("127.0.0.1", free_port(), "spade-edge", False), Login(), seconds=0)
    monkeypatch.setattr(module, "ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DeviceError, match="does not answer"):
        heard(Place("127.0.0.1", silent.getsockname()[1], "spade-edge", False), Login(), seconds=0)


def test_addresses() -> None:
    assert place_of("mqtt://broker.plant") == Place("broker.plant", 1883, "spade-edge", False)
    assert place_of("MQTTS://broker.plant/a/b/") == Place("broker.plant", 8883, "a/b", True)
    assert str(place_of("mqtt://10.0.0.1:1884/x")) == "mqtt://10.0.0.1:1884/x"
    assert is_broker("mqtts://x") and not is_broker("reports") and not is_broker("s3://x")


@pytest.mark.parametrize(
    "source",
    ["mqtt://", "mqtt://:1883", "mqtt://h:99999", "mqtt://h:0", "mqtt://h/a//b", "mqtt://h/+", "mqtt://h/%23", "mqtt://[::",
     "mqtt://h/$SYS", "mqtt://h/?a=1", "mqtt://user:s3cret@h", "mqtt://user@h"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_and_not_quoted(source: str) -> None:
    with pytest.raises(UsageError) as caught:
        place_of(source)
    assert "s3cret" not in str(caught.value)
