"""What arrives at a real broker, and what happens when it goes away, refuses, or is silent."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import MOSQUITTO, Mosquitto, SmallBroker, free_port
from fake_line import LONG, Clock, until
from sample_decisions import configuration, decision, line_state

pytest.importorskip("paho")

from spade_edge.runtime import UsageError
from spade_edge.tools.line import courier as carrying
from spade_edge.tools.line.configuration.options import MqttOptions
from spade_edge.tools.line.courier import Courier
from spade_edge.tools.line.outputs import mqtt
from spade_edge.tools.line.outputs.mqtt import WINDOW, MqttOutput
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.state import HUNG

BASE = "spade-edge/press-3"
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


class Asked:
    """Notes what is asked of the line."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def trigger(self, camera: str, *, id: str | None = None, recipe: str | None = None) -> int:
        if camera not in ("top", "side"):
            raise UsageError(f"expected a camera among top, side, found '{camera}'")
        self.calls.append(("trigger", camera, id, recipe))
        return len(self.calls)

    def choose(self, camera: str, recipe: str) -> None:
        if recipe not in ("bolt", "nut"):
            raise UsageError(f"expected a recipe among bolt, nut, found '{recipe}'")
        self.calls.append(("choose", camera, recipe))


Make = Callable[..., MqttOutput]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[MqttOutput] = []

    def output(
        port: int,
        *,
        requests: Asked | None = None,
        line: str = "press-3",
        clock: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> MqttOutput:
        chosen = MqttOptions(host="127.0.0.1", port=port, commands=requests is not None, **options)
        made.append(
            MqttOutput(chosen, name="broker", line=line, configuration=configuration(), requests=requests, clock=clock)
        )
        return made[-1]

    yield output
    for one in made:
        one.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    started = Mosquitto(tmp_path / "broker")
    yield started
    started.stop(signal.SIGKILL)


@pytest.fixture
def small() -> Iterator[SmallBroker]:
    started = SmallBroker()
    yield started
    started.close()


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "FAREWELL", 0.1)
    monkeypatch.setattr(carrying, "SOONEST", 0.02)
    monkeypatch.setattr(carrying, "LATEST", 0.1)


@pytest.fixture
def impatient(hurry: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For brokers that give no answer: on a busy machine, one that gives it may need longer."""
    monkeypatch.setattr(mqtt, "ANSWER", 0.3)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_decisions_heartbeats_and_states_arrive(broker: Mosquitto, make: Make, qos: int) -> None:
    output = make(broker.port, qos=qos)
    with broker.reading() as heard:
        output.open()
        for number in (1, 2, 3):
            output.send(decision(number, camera="side" if number == 2 else "top"))
        for beat in (1, 2):
            output.beat(line_state(beat, triggers=beat, since=float(beat)))
        output.beat(line_state(3, recipe="nut", since=5.0))  # well since another time
        assert not output.stale(decision())
        output.close()
        # The handshake of quality 2 lets other messages overtake a decision on its way to the reader.
        wanted = {"status": 2, "top/decision": 2, "side/decision": 1, "heartbeat": 3, "top/state": 2}
        until(lambda: all(len(heard.on(f"{BASE}/{topic}")) >= number for topic, number in wanted.items()))
        assert [json.loads(found) for found in heard.on(f"{BASE}/top/decision")] == [
            decision(1).to_json(),
            decision(3).to_json(),
        ]
        assert json.loads(heard.on(f"{BASE}/side/decision")[0]) == decision(2, camera="side").to_json()
        assert {q for _, q, topic, _ in heard.messages if topic.endswith("/decision")} == {qos}
        assert [json.loads(found)["beat"] for found in heard.on(f"{BASE}/heartbeat")] == [1, 2, 3]
        assert json.loads(heard.on(f"{BASE}/heartbeat")[0]) == line_state(1, triggers=1, since=1.0).to_json()
        states = [json.loads(found) for found in heard.on(f"{BASE}/top/state")]
        assert [found["recipe"] for found in states] == ["bolt", "nut"]
        assert states[0]["recipes"] == ["bolt", "nut"] and states[0]["line"] == "press-3"
        assert [json.loads(found)["state"] for found in heard.on(f"{BASE}/status")] == ["online", "offline"]
    with broker.reading() as later:
        until(lambda: later.on(f"{BASE}/side/state"))
        kept = {topic: payload for retained, _, topic, payload in later.messages if retained}
    assert json.loads(kept[f"{BASE}/status"])["state"] == "offline"
    assert json.loads(kept[f"{BASE}/top/state"])["recipe"] == "nut"
    assert not any(topic.endswith(("/decision", "/heartbeat")) for topic in kept)


def test_a_broker_that_is_stopped_and_started_again_gets_every_decision(
    broker: Mosquitto, make: Make, hurry: None
) -> None:
    courier = Courier(make(broker.port), name="broker", kind="mqtt", queue=1000, patience=LONG)
    with broker.reading("-c", "-i", "reader", "-x", "1000") as heard:
        courier.start()
        for number in range(1, 501):
            courier.hand_over(decision(number))
            if number == 200:
                until(lambda: courier.state.sent > 50)
                broker.stop()
            if number == 400:
                broker.start()
        until(lambda: {f"part {number}" for number in range(1, 501)} == set(_ids(heard.on(f"{BASE}/top/decision"))))
        ids = _ids(heard.on(f"{BASE}/top/decision"))
    assert list(dict.fromkeys(ids)) == [f"part {number}" for number in range(1, 501)]
    assert courier.state.lost == 0
    courier.end()
    courier.join()


def test_what_was_not_acknowledged_is_sent_again_first(
    small: SmallBroker, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = make(small.port)
    small.acknowledges = False
    output.open()
    with monkeypatch.context() as patch:
        patch.setattr(mqtt, "ANSWER", 0.3)
        with pytest.raises(OutputError):
            for number in range(1, 2 * WINDOW):
                output.send(decision(number))
    output.close()
    first = _ids(payload for topic, payload in small.published if topic.endswith("/decision"))
    assert first == [f"part {number}" for number in range(1, len(first) + 1)]
    assert 1 < len(first) <= WINDOW
    small.published.clear()
    small.acknowledges = True
    output.open()
    output.send(decision(len(first) + 1))
    output.close()
    again = _ids(payload for topic, payload in small.published if topic.endswith("/decision"))
    assert again == [*first, f"part {len(first) + 1}"]


def test_a_connection_that_breaks_in_the_middle_loses_nothing(small: SmallBroker, make: Make, hurry: None) -> None:
    courier = Courier(make(small.port), name="broker", kind="mqtt", queue=1000, patience=LONG)
    courier.start()
    for number in range(1, 301, 2):
        courier.hand_over(decision(number))
        if number % 60 != 59:
            courier.hand_over(decision(number + 1))
        else:
            until(lambda: courier.state.waiting == 0)
            small.acknowledges = False
            courier.hand_over(decision(number + 1))
            until(lambda: courier.state.waiting == 0)  # it has been published, and will not be acknowledged
            small.drop()
            small.acknowledges = True
    wanted = [f"part {number}" for number in range(1, 301)]

    def whole() -> bool:
        courier.beat(line_state())  # notices that the connection is gone
        return set(_decided(small)) == set(wanted)

    until(whole)
    assert list(dict.fromkeys(_decided(small))) == wanted
    courier.end()
    courier.join()


def test_a_missing_acknowledgement_is_noticed_at_a_heartbeat(small: SmallBroker, make: Make, clock: Clock) -> None:
    output = make(small.port, clock=clock)
    small.acknowledges = False
    output.open()
    output.send(decision())
    output.beat(line_state(1))
    clock.now += mqtt.ANSWER + 1
    with pytest.raises(OutputError):
        output.beat(line_state(2))


def test_a_fault_in_the_network_thread_is_an_error_without_a_traceback(
    small: SmallBroker, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)

    def fails(*_: object) -> None:
        raise KeyError(17)

    monkeypatch.setattr("paho.mqtt.client.Client.loop_forever", fails)
    with pytest.raises(OutputError):
        make(small.port).open()
    assert raised == []


def test_a_broker_that_never_answers_is_an_error(make: Make, impatient: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        output = make(silent.getsockname()[1])
        with pytest.raises(OutputError):
            output.open()
        output.close()
        with pytest.raises(OutputError):
            output.send(decision())
        with pytest.raises(OutputError):
            output.test(decision(test=True), line_state())


def test_no_broker_is_an_error(make: Make) -> None:
    output = make(free_port())
    output.close()
    for _ in range(2):
        with pytest.raises(OutputError):
            output.open()
    output.close()


@pytest.mark.parametrize(
    "answer", [b"\x20\x7f" + bytes(127), b"\xff" * 9, b"\x20\x03\x00\x00\x00\x30\x02\xff\xff", b"\x00"]
)
def test_a_broker_that_sends_nonsense_is_an_error(
    answer: bytes, make: Make, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    broker = SmallBroker(answer=lambda kind: answer)
    output = make(broker.port)

    def fails() -> bool:
        try:
            output.open()
            output.beat(line_state())
        except OutputError:
            return True
        return False

    until(fails)
    output.close()
    broker.close()
    assert raised == []


@needs_mosquitto
def test_a_wrong_password_is_told_and_never_quoted(tmp_path: Path, make: Make) -> None:
    users = tmp_path / "users"
    users.touch()
    users.chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(users), "line", "right"], check=True, capture_output=True)
    broker = Mosquitto(
        tmp_path / "broker", "allow_anonymous false", f"password_file {users}", login=["-u", "line", "-P", "right"]
    )
    secret = tmp_path / "secret"
    try:
        secret.write_text("wr0ng\n")
        output = make(broker.port, username="line", password_file=secret)
        with pytest.raises(OutputError) as caught:
            output.open()
        assert "wr0ng" not in str(caught.value)
        secret.write_text("right\n")  # is read again
        output.open()
        output.send(decision())
        with pytest.raises(OutputError):
            make(broker.port).open()
    finally:
        output.close()
        broker.stop()


@needs_mosquitto
def test_what_a_user_may_not_publish_is_told_and_kept(tmp_path: Path, make: Make, hurry: None) -> None:
    rights = tmp_path / "rights"
    rights.write_text(f"topic readwrite {BASE}/status\n")
    rights.chmod(0o600)
    broker = Mosquitto(tmp_path / "broker", "allow_anonymous true", f"acl_file {rights}")
    try:
        output = make(broker.port)
        output.open()
        with pytest.raises(OutputError):
            until(lambda: output.send(decision()))
    finally:
        output.close()
        broker.stop()


@needs_mosquitto
def test_tls_with_an_authority_of_ones_own(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography")
    from certificates import Authority

    authority, other = Authority(tmp_path / "authority"), Authority(tmp_path / "other")
    certificate, key = authority.issue("broker")
    mine, my_key = authority.issue("client")
    theirs, their_key = other.issue("stranger")
    broker = Mosquitto(
        tmp_path / "broker",
        "allow_anonymous true",
        f"certfile {certificate}",
        f"keyfile {key}",
        f"cafile {authority.ca_file}",
        "require_certificate true",
        login=["--cafile", str(authority.ca_file), "--cert", str(mine), "--key", str(my_key)],
    )
    try:
        output = make(broker.port, tls=True, ca_file=authority.ca_file, cert_file=mine, key_file=my_key)
        with broker.reading() as heard:
            output.open()
            output.send(decision())
            output.close()
            until(lambda: heard.on(f"{BASE}/top/decision"))
        monkeypatch.setattr(mqtt, "ANSWER", 0.3)
        for options in (
            {"tls": True, "ca_file": other.ca_file, "cert_file": mine, "key_file": my_key},  # an unknown broker
            {"tls": True, "ca_file": authority.ca_file},  # no certificate
            {"tls": True, "ca_file": authority.ca_file, "cert_file": theirs, "key_file": their_key},
            {"tls": True, "ca_file": authority.ca_file, "cert_file": mine, "key_file": their_key},
            {"tls": True, "ca_file": tmp_path / "none.pem"},
            {},  # no encryption
        ):
            with pytest.raises(OutputError):
                make(broker.port, **options).open()
    finally:
        broker.stop()


def test_a_killed_service_is_offline_by_its_last_will(broker: Mosquitto, tmp_path: Path) -> None:
    script = f"""
import time
from sample_decisions import configuration
from spade_edge.tools.line.configuration.options import MqttOptions
from spade_edge.tools.line.outputs.mqtt import MqttOutput
options = MqttOptions(host="127.0.0.1", port={broker.port})
MqttOutput(options, name="broker", line="press-3", configuration=configuration(), requests=None).open()
time.sleep({LONG})
"""
    tests = str(Path(__file__).parents[3])
    path = os.pathsep.join([tests, str(Path(tests).parent / ".dev"), os.environ.get("PYTHONPATH", "")])
    with broker.reading() as heard:
        process = subprocess.Popen([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": path})
        try:
            until(lambda: heard.on(f"{BASE}/status"))
        finally:
            process.kill()
            process.wait(LONG)
        until(lambda: len(heard.on(f"{BASE}/status")) == 2)
        assert [json.loads(found)["state"] for found in heard.on(f"{BASE}/status")] == ["online", "offline"]


def test_two_clients_with_one_id_take_turns_and_say_so(broker: Mosquitto, make: Make) -> None:
    first, second = make(broker.port, client_id="twin"), make(broker.port, client_id="twin")
    first.open()
    for _ in range(6):
        second.open()
        said = _trouble(first)
        first, second = second, first
        second.close()
    assert "'twin'" in said
    first.send(decision())


def test_a_broker_that_says_who_took_over_is_quoted(make: Make) -> None:
    broker = SmallBroker(answer=lambda kind: b"\x20\x03\x00\x00\x00" if kind >> 4 == 1 else b"\xe0\x01\x8e")
    output = make(broker.port, client_id="twin")
    with pytest.raises(OutputError, match="'twin'"):
        output.open()
        raise OutputError(_trouble(output))
    broker.close()


def test_commands_reach_the_line(broker: Mosquitto, make: Make) -> None:
    asked = Asked()
    make(broker.port, requests=asked).open()
    broker.publish(f"{BASE}/top/trigger")
    broker.publish(f"{BASE}/side/trigger", '{"id": "A 17", "recipe": "nut"}')
    broker.publish(f"{BASE}/top/trigger", '{"id": 12}')
    broker.publish(f"{BASE}/top/recipe/set", "nut")
    broker.publish(f"{BASE}/side/recipe/set", '{"recipe": "bolt"}')
    until(lambda: len(asked.calls) == 5)
    assert asked.calls == [
        ("trigger", "top", None, None),
        ("trigger", "side", "A 17", "nut"),
        ("trigger", "top", "12", None),
        ("choose", "top", "nut"),
        ("choose", "side", "bolt"),
    ]


def test_without_commands_nothing_is_carried_out(broker: Mosquitto, make: Make) -> None:
    output = make(broker.port)
    output.open()
    with broker.reading() as heard:
        broker.publish(f"{BASE}/top/trigger")
        until(lambda: f"{BASE}/top/trigger" in [topic for _, _, topic, _ in heard.messages])
    output.beat(line_state())


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("top/trigger", "now"),
        ("top/trigger", "[]"),
        ("top/trigger", '{"id": 1, "part": 2}'),
        ("top/trigger", '{"id": true}'),
        ("top/trigger", '{"id": NaN}'),
        ("top/trigger", '{"id": ""}'),
        ("top/trigger", '{"id": "\\n"}'),
        ("top/trigger", '{"id": "\\ud800"}'),
        ("top/trigger", '{"id": "%s"}' % ("x" * 129)),
        ("top/trigger", '{"recipe": "../nut"}'),
        ("top/trigger", "[" * 4000),
        ("top/trigger", '{"id": 1%s}' % (" " * 4100)),
        ("top/recipe/set", "cog"),
        ("top/recipe/set", ""),
        ("top/recipe/set", '{"recipe": 1}'),
        ("top/recipe/set", "{}"),
    ],
)
def test_a_command_that_is_wrong_is_refused_and_the_next_one_works(
    topic: str, payload: str, broker: Mosquitto, make: Make
) -> None:
    asked = Asked()
    make(broker.port, requests=asked).open()
    with broker.reading() as heard:
        broker.publish(f"{BASE}/{topic}", payload)
        until(lambda: heard.on(f"{BASE}/top/refused"))
        refusal = json.loads(heard.on(f"{BASE}/top/refused")[0])
        assert refusal["reason"] and not refusal["accepted"] and refusal["command"] == topic.partition("/")[2]
        assert asked.calls == []
        broker.publish(f"{BASE}/top/trigger")
        until(lambda: asked.calls)


def test_a_command_is_answered_where_its_sender_listens(broker: Mosquitto, make: Make) -> None:
    asked = Asked()
    make(broker.port, requests=asked).open()

    def ask(topic: str, answer: str, payload: str = "") -> None:
        more = ["-D", "publish", "response-topic", answer, "-D", "publish", "correlation-data", "17"]
        broker.publish(f"{BASE}/{topic}", payload, *more)

    with broker.reading("-F", "0 0 %t %D%p") as heard:
        ask("top/trigger", "answers")
        ask("bottom/trigger", "answers")
        until(lambda: len(heard.on("answers")) == 2)
        assert all("17" in found.partition("{")[0] for found in heard.on("answers"))
        accepted, refused = (json.loads(found[found.index("{") :]) for found in heard.on("answers"))
        assert accepted["accepted"] and accepted["number"] == 1
        assert not refused["accepted"] and refused["camera"] == "bottom"
        ask("top/trigger", f"{BASE}/top/decision")  # not where decisions are expected
        ask("top/trigger", "answers")
        until(lambda: len(heard.on("answers")) == 3)
        assert heard.on(f"{BASE}/top/decision") == [] and heard.on(f"{BASE}/bottom/refused") == []


def test_a_retained_command_is_never_carried_out(
    broker: Mosquitto, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    asked = Asked()
    output = make(broker.port, requests=asked)
    broker.publish(f"{BASE}/top/trigger", '{"id": 1}', "-r")
    with broker.reading() as heard, caplog.at_level(logging.WARNING):
        for _ in range(2):
            output.open()
            broker.publish(f"{BASE}/side/trigger", '{"id": 2}')
            until(lambda: asked.calls)
            asked.calls.clear()
            output.close()
        output.open()
        broker.publish(f"{BASE}/top/trigger", '{"id": 3}', "-r")  # while it listens
        broker.publish(f"{BASE}/side/trigger")
        until(lambda: asked.calls)
        until(lambda: len(heard.on(f"{BASE}/top/refused")) == 4)
    assert asked.calls == [("trigger", "side", None, None)]
    assert len([record for record in caplog.records if "retained" in record.getMessage()]) == 1


def test_a_sender_that_has_gone_wild_is_slowed(
    broker: Mosquitto, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from spade_edge.tools.line.outputs import commands

    monkeypatch.setattr(commands, "BURST", 5.0)
    monkeypatch.setattr(commands, "RATE", 0.0)
    asked = Asked()
    output = make(broker.port, requests=asked)
    output.open()
    with caplog.at_level(logging.WARNING):
        for _ in range(8):
            broker.publish(f"{BASE}/top/trigger")
        until(lambda: [record for record in caplog.records if "more commands" in record.getMessage()])
    assert len(asked.calls) == 5
    output.send(decision())


def test_a_fault_of_ours_does_not_end_the_connection(broker: Mosquitto, make: Make) -> None:
    class Broken(Asked):
        def trigger(self, camera: str, *, id: str | None = None, recipe: str | None = None) -> int:
            self.calls.append(("trigger",))
            if len(self.calls) == 1:
                raise ZeroDivisionError
            return 1

    asked = Broken()
    output = make(broker.port, requests=asked)
    output.open()
    for _ in range(2):
        broker.publish(f"{BASE}/top/trigger")
    until(lambda: len(asked.calls) == 2)
    output.send(decision())


def test_a_test_leaves_the_service_alone(broker: Mosquitto, make: Make) -> None:
    running = make(broker.port)
    running.open()
    with broker.reading() as heard:
        said = make(broker.port).test(decision(7, test=True), line_state())
        assert f"{BASE}/top/decision" in said
        until(lambda: heard.on(f"{BASE}/top/decision"))
        assert json.loads(heard.on(f"{BASE}/top/decision")[0])["test"] is True
        running.beat(line_state())
        running.send(decision(8))
        until(lambda: len(heard.on(f"{BASE}/top/decision")) == 2)
        assert [json.loads(found)["state"] for found in heard.on(f"{BASE}/status")] == ["online"]


def test_a_broker_that_takes_no_more_data_is_not_hung_for_ever(small: SmallBroker, make: Make, impatient: None) -> None:
    small.acknowledges = False
    courier = Courier(make(small.port), name="broker", kind="mqtt", queue=1000, patience=LONG)
    courier.start()
    for number in range(100):
        courier.hand_over(decision(number))
    until(lambda: courier.state.health.words and courier.state.health.words != "not opened yet")
    assert courier.state.health.state != HUNG
    courier.end(patience=0)
    courier.join()
    until(lambda: not [thread for thread in threading.enumerate() if "paho" in thread.name])


@pytest.mark.parametrize("line", ["", "a/b", "a+", "#", "a\nb"])
def test_a_name_that_is_no_level_of_a_topic_is_refused(line: str, make: Make) -> None:
    with pytest.raises(UsageError):
        make(1, line=line)


@pytest.mark.parametrize("topic", ["", "/a", "a/", "a//b", "a/+", "$SYS"])
def test_a_topic_that_is_none_is_refused(topic: str, make: Make) -> None:
    with pytest.raises(UsageError):
        make(1, topic=topic)


def _trouble(output: MqttOutput) -> str:
    """Wait until an output is in trouble."""
    said: list[str] = []

    def beats() -> bool:
        try:
            output.beat(line_state())
        except OutputError as problem:
            said.append(str(problem))
        return bool(said)

    until(beats)
    return said[0]


def _ids(payloads: Any) -> list[str]:
    return [json.loads(payload)["trigger"] for payload in payloads]


def _decided(small: SmallBroker) -> list[str]:
    return _ids(payload for topic, payload in list(small.published) if topic.endswith("/decision"))
