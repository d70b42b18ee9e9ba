"""The OPC UA server, with asyncua's own client and with bytes on a socket.

A server needs seconds for its standard nodes, so most tests share two: one without security, and one with everything.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import math
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from controllers import Asked, configuration, decision, state
from fake_line import LONG, Clock, until

from spade_edge.runtime import UsageError
from spade_edge.tools.line.configuration.options import OpcUaOptions
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.state import HUNG, TROUBLED, WELL, Health, LineState

pytest.importorskip("asyncua")
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from spade_edge.tools.line.outputs import opc_ua as module
from spade_edge.tools.line.outputs.opc_ua import OpcUaOutput
from spade_edge.tools.line.outputs.vision_nodes import CAMERA, LINE, METHODS, NAMESPACE, RESULT

RESULT_OF_TOP = "hall3.top.ResultManagement.Result"


class Server:
    """An open server, and what is needed to reach it."""

    def __init__(self, options: OpcUaOptions, *, asked: Asked | None = None) -> None:
        self.clock, self.asked, self.options = Clock(), asked, options
        self.output = OpcUaOutput(
            options,
            name="scada",
            line="hall3",
            configuration=configuration(options, cameras=("top", "back", "side")),
            requests=asked,
            clock=self.clock,
        )
        self.output.open()
        self.output.beat(state())

    @property
    def port(self) -> int:
        return self.output.address.port

    def client(self) -> Client:
        return Client(f"opc.tcp://127.0.0.1:{self.port}/spade-edge", timeout=LONG)

    async def secured(self, *, user: str | None = "plc", password: str = "secret") -> Client:  # noqa: S107
        client = self.client()
        if user is not None:
            client.set_user(user)
            client.set_password(password)
        assert self.options.cert_file is not None
        assert self.options.key_file is not None
        await client.set_security(SecurityPolicyBasic256Sha256, str(self.options.cert_file), str(self.options.key_file))
        return client


def certify(folder: Path) -> dict[str, Path]:
    """A certificate and its key."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hall3")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:spade-edge:hall3")]), False)
        .sign(key, hashes.SHA256())
    )
    files = {"cert_file": folder / "cert.pem", "key_file": folder / "key.pem"}
    files["cert_file"].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files["key_file"].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    server = Server(OpcUaOptions(listen="127.0.0.1:0", cameras=("side", "top")))
    yield server
    server.output.close()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("keys")
    password = folder / "password"
    password.write_bytes(b"secret\r\nnot this\n")
    options = OpcUaOptions(
        listen="127.0.0.1:0", username="plc", password_file=password, commands=True, **certify(folder)
    )
    server = Server(options, asked=Asked())
    yield server
    server.output.close()


def ask(server: Server, question: Callable[[Client, Callable[[str], Any]], Awaitable[Any]]) -> Any:
    """What a client learns; it is given a function from a path to a node."""

    async def run() -> Any:
        client = await server.secured() if server.options.cert_file else server.client()
        async with client:
            index = await client.get_namespace_index(NAMESPACE)
            return await question(client, lambda path: client.get_node(ua.NodeId(path, index)))

    return asyncio.run(asyncio.wait_for(run(), LONG))


def read(server: Server, *paths: str) -> list[ua.DataValue]:
    async def question(client: Client, node: Callable[[str], Any]) -> list[ua.DataValue]:
        return await client.uaclient.read_attributes([node(path).nodeid for path in paths], ua.AttributeIds.Value)

    return ask(server, question)


def values(server: Server, *paths: str) -> list[Any]:
    return [each.Value.Value for each in read(server, *paths)]


def test_before_the_first_decision_there_is_no_result(plain: Server) -> None:
    (result,) = read(plain, "hall3.side.ResultManagement.Result.ResultId")
    assert result.StatusCode.name == "BadWaitingForInitialData"
    assert result.Value.Value is None


def test_a_decision(plain: Server) -> None:
    plain.output.send(decision(70_001, verdict="late", gate="reject", reason="no frame", score=None, p=None))
    names = [each.path.rpartition(".")[2] for each in RESULT]
    found = dict(zip(names, read(plain, *(f"hall3.top.{each.path}" for each in RESULT)), strict=True))
    decided = datetime.datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=datetime.timezone.utc)
    for each in found.values():
        assert each.StatusCode.is_good()
        assert each.SourceTimestamp.replace(tzinfo=datetime.timezone.utc) == decided
    shown = {name: each.Value.Value for name, each in found.items()}
    assert math.isnan(shown.pop("Score"))
    assert math.isnan(shown.pop("P"))
    content = json.loads(shown.pop("ResultContent"))
    assert (content["number"], content["verdict"], content["score"]) == (70_001, "late", None)
    assert shown.pop("CreationTime").replace(tzinfo=datetime.timezone.utc) == decided
    assert shown == {
        "Number": 70_001,
        "IsPartial": False,
        "IsSimulated": False,
        "ResultState": 4,
        "PartId": "71001",
        "InternalRecipeId": "bolt",
        "InternalConfigurationId": "0123456789abcdef",
        "Verdict": "late",
        "Gate": "reject",
        "Reason": "no frame",
        "Threshold": 0.5,
        "Milliseconds": 31.25,
        "ResultId": "top-70001",
    }


def test_a_heartbeat(plain: Server) -> None:
    plain.output.beat(state(7))
    assert values(plain, *(f"hall3.{each.path}" for each in LINE))[:2] == [7, "well"]
    found = values(plain, *(f"hall3.top.{each.path}" for each in CAMERA))
    assert found[0].Text == "Operational"
    assert found[1:] == ["well", "", "nut", ["bolt", "nut"], 70_012, 5, 3, 2, 70_000, 70_005, 2]


def test_every_variable_has_the_type_of_the_table(plain: Server) -> None:
    async def types(_: Client, node: Callable[[str], Any]) -> list[tuple[str, str]]:
        found = []
        for table, root in ((LINE, "hall3"), (CAMERA, "hall3.side"), (RESULT, "hall3.side")):
            for each in table:
                type = await node(f"{root}.{each.path}").read_data_type_as_variant_type()
                array = await node(f"{root}.{each.path}").read_value_rank() == ua.ValueRank.OneDimension
                found.append((each.type, type.name + ("[]" if array else "")))
        return found

    for wanted, found in ask(plain, types):
        assert wanted == found


def test_nodes_are_found_by_browsing(plain: Server) -> None:
    async def names(client: Client, _: Callable[[str], Any]) -> list[str]:
        index = await client.get_namespace_index(NAMESPACE)
        path = [f"{index}:{name}" for name in ("hall3", "top", "ResultManagement", "Result")]
        result = await client.nodes.objects.get_child(path)
        return [(await each.read_browse_name()).Name for each in await result.get_children()]

    assert sorted(ask(plain, names)) == sorted(each.path.rpartition(".")[2] for each in RESULT)


def test_a_subscription_with_a_queue_misses_no_decision(plain: Server) -> None:
    class Heard:
        def __init__(self) -> None:
            self.numbers: list[int] = []

        def datachange_notification(self, _: Any, value: str, __: Any) -> None:
            if value is not None:
                self.numbers.append(json.loads(value)["number"])

    async def listen(client: Client, node: Callable[[str], Any]) -> list[int]:
        heard = Heard()
        subscription = await client.create_subscription(200, heard)
        await subscription.subscribe_data_change(node(f"{RESULT_OF_TOP}.ResultContent"), queuesize=100)
        for number in range(1, 31):
            await asyncio.to_thread(plain.output.send, decision(number))
        while heard.numbers[-1:] != [30]:
            await asyncio.sleep(0.01)
        return heard.numbers

    assert ask(plain, listen)[-30:] == list(range(1, 31))


def with_health(beat: int, health: str) -> LineState:
    whole = state(beat)
    top = whole.cameras[0].__class__(**{**vars(whole.cameras[0]), "health": Health(health, "dark", 0)})
    return LineState(**{**vars(whole), "cameras": (top, whole.cameras[1])})


@pytest.mark.parametrize(
    ("health", "status"),
    [(TROUBLED, "UncertainLastUsableValue"), (HUNG, "UncertainNoCommunicationLastUsableValue"), (WELL, "Good")],
)
def test_the_status_of_a_result_says_how_the_camera_is(plain: Server, health: str, status: str) -> None:
    plain.output.send(decision(4))
    plain.output.beat(with_health(2, health))
    marked, current = read(plain, f"{RESULT_OF_TOP}.Verdict", "hall3.top.VisionStateMachine.CurrentState")
    assert (marked.StatusCode.name, marked.Value.Value) == (status, "good")
    assert current.Value.Value.Text == ("Operational" if health == WELL else "Error")
    plain.output.send(decision(5))
    assert read(plain, f"{RESULT_OF_TOP}.Number")[0].StatusCode.name == status


def test_without_a_heartbeat_results_are_marked(plain: Server) -> None:
    plain.output.beat(state(3))
    plain.output.send(decision(6))
    plain.clock.now += 0.99
    assert read(plain, f"{RESULT_OF_TOP}.Verdict")[0].StatusCode.is_good()
    plain.clock.now += 0.02
    until(lambda: values(plain, "hall3.State") == [HUNG])
    (marked,) = read(plain, f"{RESULT_OF_TOP}.Verdict")
    assert marked.StatusCode.name == "UncertainNoCommunicationLastUsableValue"
    plain.output.beat(state(4))
    assert read(plain, f"{RESULT_OF_TOP}.Verdict")[0].StatusCode.is_good()
    assert values(plain, "hall3.State") == [WELL]


def test_without_commands_there_are_no_methods_and_nothing_can_be_written(plain: Server) -> None:
    async def attempt(_: Client, node: Callable[[str], Any]) -> None:
        for path in ("hall3.top.Trigger", "hall3.top.RecipeManagement.SelectRecipe"):
            with pytest.raises(ua.UaStatusCodeError):
                await node(path).read_browse_name()
        for path, value in ((f"{RESULT_OF_TOP}.Verdict", "good"), ("hall3.top.RecipeManagement.ActiveRecipe", "bolt")):
            with pytest.raises(ua.uaerrors.BadUserAccessDenied):
                await node(path).write_value(value)
        with pytest.raises(ua.UaError):
            await node("hall3").add_object(ua.NodeId("mine", 2), ua.QualifiedName("mine", 2))
        with pytest.raises(ua.UaError):
            await node("hall3.top").delete()

    ask(plain, attempt)


def test_trigger_and_select_a_product(locked: Server) -> None:
    async def call(_: Client, node: Callable[[str], Any]) -> list[Any]:
        top, side = node("hall3.top"), node("hall3.side")
        trigger, select = node("hall3.top.Trigger"), node("hall3.top.RecipeManagement.SelectRecipe")
        return [
            await top.call_method(trigger, "part-7", "nut"),
            await top.call_method(trigger, "", ""),
            await node("hall3.top.RecipeManagement").call_method(select, "bolt"),
            await side.call_method(node("hall3.side.Trigger"), "", ""),
        ]

    assert locked.asked is not None
    first, second, chosen, refused = ask(locked, call)
    assert locked.asked.triggers == [("top", "part-7", "nut"), ("top", None, None)]
    assert locked.asked.choices == [("top", "bolt")]
    assert (first, second, chosen) == ([70_001, 0, ""], [70_002, 0, ""], [0, ""])
    assert refused[:2] == [0, 1]
    assert "messages" in refused[2]


@pytest.mark.parametrize("given", [("x" * 257, ""), (7, ""), ("", None, ""), ("",), ("a\nb", ""), (["a"], "")])
def test_arguments_that_are_none(locked: Server, given: tuple[Any, ...]) -> None:
    async def call(_: Client, node: Callable[[str], Any]) -> None:
        with pytest.raises(ua.UaError):
            await node("hall3.top").call_method(node("hall3.top.Trigger"), *given)

    assert locked.asked is not None
    before = list(locked.asked.triggers)
    ask(locked, call)
    assert locked.asked.triggers == before


def test_methods_are_described(locked: Server) -> None:
    async def arguments(_: Client, node: Callable[[str], Any]) -> list[str]:
        found = []
        for path, _, _ in METHODS:
            for each in ("InputArguments", "OutputArguments"):
                property = await node(f"hall3.top.{path}").get_child(f"0:{each}")
                found += [argument.Name for argument in await property.read_value()]
        return found

    assert ask(locked, arguments) == [
        "PartId",
        "RecipeName",
        "Number",
        "Error",
        "Message",
        *("RecipeName", "Error", "Message"),
    ]


@pytest.mark.parametrize(
    ("user", "password"), [("plc", "wrong"), ("plc", ""), ("other", "secret"), ("plc", "secret\r"), (None, "")]
)
def test_who_does_not_know_the_password_is_refused(locked: Server, user: str | None, password: str) -> None:
    async def attempt() -> None:
        client = await locked.secured(user=user, password=password)
        with pytest.raises(ua.UaError):
            async with client:
                pass

    asyncio.run(asyncio.wait_for(attempt(), LONG))


def knowing() -> ua.ActivateSessionParameters:
    """An activation with the right password."""
    return ua.ActivateSessionParameters(
        UserIdentityToken=ua.UserNameIdentityToken(PolicyId="username", UserName="plc", Password=b"secret")
    )


async def nothing_is_allowed(client: Client) -> None:
    with pytest.raises(ua.UaError):
        await client.get_node(ua.NodeId("hall3.State", 2)).read_value()
    with pytest.raises(ua.UaError):
        await client.get_node(ua.NodeId("hall3.top", 2)).call_method(ua.NodeId("hall3.top.Trigger", 2), "spy", "")


def attack(server: Server, attempt: Callable[[Client], Awaitable[None]]) -> None:
    """Try something over a channel without security, on which a client may only ask for endpoints."""

    async def run() -> None:
        client = server.client()
        await client.connect_socket()
        try:
            await client.send_hello()
            await client.open_secure_channel()
            endpoints = await client.get_endpoints()
            assert {each.SecurityMode.name for each in endpoints} == {"Sign", "SignAndEncrypt"}
            await attempt(client)
        finally:
            client.disconnect_socket()

    assert server.asked is not None
    before = list(server.asked.triggers)
    asyncio.run(asyncio.wait_for(run(), LONG))
    assert server.asked.triggers == before


def test_nobody_gets_in_without_encryption(locked: Server) -> None:
    async def attempt(client: Client) -> None:
        await client.uaclient.create_session(ua.CreateSessionParameters())
        await nothing_is_allowed(client)
        with pytest.raises(ua.UaError):
            await client.uaclient.activate_session(knowing())
        await nothing_is_allowed(client)

    attack(locked, attempt)


def test_the_session_of_another_cannot_be_taken_over(locked: Server) -> None:
    async def attempt(client: Client) -> None:
        async with await locked.secured():  # somebody who is allowed in
            assert locked.output._server is not None
            for token in locked.output._server.iserver._external_sessions:
                client.uaclient.protocol.authentication_token = token
                with pytest.raises(ua.UaError):
                    await client.uaclient.activate_session(knowing())
                await nothing_is_allowed(client)

    attack(locked, attempt)


def test_it_is_no_discovery_server(plain: Server) -> None:
    async def attempt(client: Client, _: Callable[[str], Any]) -> int:
        known = ua.RegisteredServer(ServerUri="urn:me", ServerNames=[ua.LocalizedText("me")])
        with pytest.raises(ua.UaError):
            await client.uaclient.register_server(known)
        assert plain.output._server is not None
        return len(plain.output._server.iserver._known_servers)

    assert ask(plain, attempt) == 1


RUBBISH = [
    b"GET / HTTP/1.1\r\nHost: scada\r\n\r\n",
    b"\x00" * 4000,
    b"\xff" * 4000,
    b"HELF" + struct.pack("<I", 4_000_000_000) + b"\x00" * 1000,
    b"HELF" + struct.pack("<IIIIII", 28, 0, 1, 1, 1, 1),
    b"HELF" + struct.pack("<I", 8),
    b"OPNF" + struct.pack("<III", 12, 0, 0),
    b"MSGF" + struct.pack("<II", 4, 7) + b"\x01" * 50,
    b"CLOF" + struct.pack("<II", 16, 0) + b"\x01" * 50,
]


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_does_not_disturb_others(plain: Server, rubbish: bytes) -> None:
    with socket.create_connection(("127.0.0.1", plain.port), timeout=LONG) as connection, suppress(ConnectionError):
        connection.sendall(rubbish)
        with suppress(OSError):  # "not connected", where the server has ended it already
            connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    assert values(plain, "hall3.SoftwareVersion") == ["0"]


def test_who_announces_much_and_sends_it_is_dropped(plain: Server) -> None:
    connection = socket.create_connection(("127.0.0.1", plain.port), timeout=LONG)
    with connection, pytest.raises(ConnectionError):
        connection.sendall(b"HELF" + struct.pack("<I", 4_000_000_000))
        for _ in range(1000):
            connection.sendall(bytes(65_536))
    assert values(plain, "hall3.SoftwareVersion") == ["0"]


def test_the_number_of_connections_and_sessions_is_bounded(plain: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plain.output._server is not None
    inside = plain.output._server.iserver
    assert inside.max_connections == 32
    monkeypatch.setattr(module, "MOST_SESSIONS", len(inside._external_sessions) + 2)

    async def attempt() -> None:
        client = plain.client()
        await client.connect_socket()
        try:
            await client.send_hello()
            await client.open_secure_channel()
            with pytest.raises(ua.UaError):
                for _ in range(10):
                    await client.create_session()
            monkeypatch.setattr(module, "ABANDONED", -1)  # those that were not activated make room
            await client.create_session()
        finally:
            client.disconnect_socket()

    asyncio.run(asyncio.wait_for(attempt(), LONG))


def test_only_its_cameras_are_shown(plain: Server) -> None:
    plain.output.send(decision(8))
    plain.output.send(decision(9, camera="back"))
    assert values(plain, f"{RESULT_OF_TOP}.Number") == [8]
    assert read(plain, "hall3.back.ResultManagement.Result.Number")[0].StatusCode.name == "BadNodeIdUnknown"


def test_the_test_of_one_with_everything(locked: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of the other tests is taken for the one that is opened."""
    monkeypatch.setattr(locked.output, "open", lambda: None)
    monkeypatch.setattr(locked.output, "close", lambda: None)
    assert "side-0" in locked.output.test(decision(0, camera="side", test=True), state())
    monkeypatch.setattr(locked.output, "_read_back", _other)
    with pytest.raises(OutputError, match="verdict"):
        locked.output.test(decision(0, camera="side", test=True), state())


async def _other(_: Any) -> tuple[str, str]:
    return "late", "side-9"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No nodes, for what comes before them."""

    async def none(_: OpcUaOutput) -> None:
        return None

    monkeypatch.setattr(OpcUaOutput, "_new_server", none)


def make(**options: Any) -> OpcUaOutput:
    chosen = OpcUaOptions(**{"listen": "127.0.0.1:0", **options})
    asked = Asked() if chosen.commands else None
    return OpcUaOutput(chosen, name="scada", line="hall3", configuration=configuration(chosen), requests=asked)


@pytest.mark.parametrize(
    "options",
    [
        {"listen": "4840"},
        {"commands": True},
        {"username": "plc"},
        {"password_file": Path("p")},
        {"cert_file": Path("c")},
        {"key_file": Path("k")},
    ],
)
def test_options_that_contradict_each_other(quick: None, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make(**options)


def test_the_port_is_taken(quick: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        output = make(listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(OutputError, match="listens"):
            output.open()
        output.close()


def test_a_file_that_cannot_be_read(quick: None, tmp_path: Path) -> None:
    output = make(username="plc", password_file=tmp_path / "none")
    with pytest.raises(OutputError, match="password_file"):
        output.open()
    output.close()


def test_a_certificate_that_is_none(quick: None, tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "k.pem").write_bytes(b"nothing")
    output = make(cert_file=tmp_path / "c.pem", key_file=tmp_path / "k.pem")
    with pytest.raises(OutputError, match="certificate"):
        output.open()
    output.close()


def test_it_is_closed_and_opened_again(plain: Server) -> None:
    """The last one, because it closes what the others use."""
    with socket.create_connection(("127.0.0.1", plain.port), timeout=LONG) as connection:
        plain.output.close()
        assert connection.recv(1) == b""
    plain.output.close()
    with pytest.raises(OutputError):
        plain.output.send(decision(3, camera="side"))
    with pytest.raises(OutputError):
        plain.output.beat(state())
    assert "verdict good" in plain.output.test(decision(0, camera="side", test=True), state())
