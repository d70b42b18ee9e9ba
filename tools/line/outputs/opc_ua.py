"""An OPC UA server: decisions, counts and signs of life for a PLC or a control system, and commands.

vision_nodes.py has its nodes.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from asyncua import Client, Server, ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import ServiceError
from asyncua.crypto import uacrypto
from asyncua.crypto.permission_rules import SimpleRoleRuleset, User, UserRole
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.server import server as asyncua_server
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession, SessionState

from spade_edge import __version__
from spade_edge.runtime import UsageError
from spade_edge.tools.line.configuration.options import LineConfiguration, OpcUaOptions
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.outputs.listening import Address
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.outputs.own_loop import OwnLoop, accepted
from spade_edge.tools.line.outputs.vision_nodes import (
    ANSWER,
    CAMERA,
    LINE,
    METHODS,
    NAMESPACE,
    RESULT,
    Variable,
    folders,
    moment,
    values_of_camera,
    values_of_line,
    values_of_result,
)
from spade_edge.tools.line.requests import Requests
from spade_edge.tools.line.state import HUNG, TROUBLED, WELL, LineState

log = logging.getLogger(__name__)
logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # else anyone who can connect fills the log

START = 120.0  # seconds within which the server must have begun; its nodes take some seconds on a small computer
MOST_CONNECTIONS = 32
MOST_SESSIONS = 100
MOST_UNREAD = 1_000_000  # bytes that a client may have sent of one message; ours are much shorter
ABANDONED = 60.0  # seconds after which a session that nobody has activated makes room
LONGEST_TEXT = 256  # characters of what a client may give as an id

EMPTY: dict[str, Any] = {
    "Boolean": False,
    "DateTime": moment(0),
    "Double": float("nan"),
    "Int32": 0,
    "LocalizedText": "",
    "String": "",
    "String[]": [],
    "UInt32": 0,
}  # what a variable would be before it has a value; its status says that it has none
WAITING = ua.StatusCodes.BadWaitingForInitialData
STATUS = {
    WELL: ua.StatusCodes.Good,
    TROUBLED: ua.StatusCodes.UncertainLastUsableValue,
    HUNG: ua.StatusCodes.UncertainNoCommunicationLastUsableValue,
}


class OpcUaOutput:
    """Shows decisions to OPC UA clients, and takes their commands.

    The server runs in a thread of its own. Its many standard nodes are made with this object, before the line runs,
    because that keeps Python busy for seconds.

    Args:
        options: of this output.
        name: of this output.
        line: name of the line.
        configuration: of the line.
        requests: what clients may ask; None for nothing.
        clock: returns seconds.

    Raises:
        UsageError: the address is none, or options for who may connect contradict each other.
    """

    def __init__(
        self,
        options: OpcUaOptions,
        *,
        name: str,
        line: str,
        configuration: LineConfiguration,
        requests: Requests | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options, self._name, self._line, self._clock = options, name, line, clock
        self._address = Address.parse(options.listen)
        self._require_both("cert_file", "key_file")
        self._require_both("username", "password_file")
        if requests is not None and not options.username:
            raise UsageError(
                f"output {name}: expected a username and a password_file with commands = true, found none: anyone who "
                "can connect could trigger"
            )
        if options.username and options.cert_file is None:
            log.warning("output %s: without cert_file, clients send the password over the network unencrypted", name)
        self._requests = requests
        self._cameras = tuple(each for each in configuration.cameras if each in options.cameras or not options.cameras)
        self._beat_every = configuration.line.heartbeat_ms / 1000
        self._patience = configuration.line.silence_s
        self._beaten: float | None = None
        self._silent = False  # whether results are marked because there is no sign of life
        self._health = dict.fromkeys(self._cameras, WELL)
        self._ids: dict[str, ua.NodeId] = {}
        self._loop: OwnLoop | None = None
        self._server: Server | None = None
        self._prepared: Server | None = asyncio.run(self._new_server())

    @property
    def address(self) -> Address:
        """Where it listens."""
        sockets = None if self._server is None else self._server.bserver
        return self._address if sockets is None else Address(self._address.host, sockets.port)

    def open(self) -> None:
        """See `Output.open`."""
        self._address.check_free()
        password = self._read("password_file")
        certificate, key = self._read("cert_file"), self._read("key_file")
        self._loop = OwnLoop(f"opc_ua {self._name}")
        self._loop.run(self._begin(password, certificate, key), patience=START)

    def send(self, decision: Decision) -> None:
        """See `Output.send`."""
        if decision.trigger.camera in self._cameras:
            self._working().run(self._show_decision(decision))

    def stale(self, decision: Decision) -> bool:
        """Never: clients may keep what happened."""
        return False

    def beat(self, state: LineState) -> None:
        """See `Output.beat`."""
        self._working().run(self._show_state(state))

    def close(self) -> None:
        """See `Output.close`. All connections are closed, so that clients see it at once."""
        loop, server, self._loop, self._server = self._loop, self._server, None, None
        if loop is None:
            return
        try:
            if server is not None:
                loop.run(self._end(server))
        except Exception as problem:  # it must not raise
            log.warning("output %s: closing: %s", self._name, str(problem) or type(problem).__name__)
        finally:
            loop.end()

    def test(self, decision: Decision, state: LineState) -> str:
        """See `Output.test`: a client reads back what the server shows."""
        self.open()
        try:
            self.beat(state)
            self.send(decision)
            try:
                verdict, identifier = asyncio.run(asyncio.wait_for(self._read_back(decision), 30))
            except (OSError, asyncio.TimeoutError, ua.UaError) as problem:
                said = str(problem) or type(problem).__name__
                raise OutputError(f"expected an answer from {self.address}, found: {said}") from None
            if verdict != decision.verdict:
                raise OutputError(f"expected the test decision from {self.address}, found verdict {verdict}")
            return f"a client on this machine read the result '{identifier}' from {self.address}: verdict {verdict}"
        finally:
            self.close()

    def _require_both(self, one: str, other: str) -> None:
        given = [name for name in (one, other) if getattr(self._options, name)]
        if len(given) == 1:
            raise UsageError(f"output {self._name}: expected {one} and {other} together, found only {given[0]}")

    def _read(self, option: str) -> bytes | None:
        """The content of a file that an option names; None without it.

        Raises:
            OutputError: it cannot be read.
        """
        path: Path | None = getattr(self._options, option)
        if path is None:
            return None
        try:
            return path.read_bytes()
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            raise OutputError(f"{option}: expected {path} to be readable, found: {reason}") from None

    def _working(self) -> OwnLoop:
        if self._loop is None or not self._loop.runs:
            raise OutputError("expected a server that runs, found one that has ended")
        return self._loop

    # All that follows runs in the thread of the server.

    async def _new_server(self) -> Server:
        """A server with its standard nodes, which take long to make."""
        server = Server(iserver=_Inside())
        await server.init()
        return server

    async def _begin(self, password: bytes | None, certificate: bytes | None, key: bytes | None) -> None:
        try:
            known = certificate and await uacrypto.load_certificate(certificate, _format(certificate))
            secret = key and await uacrypto.load_private_key(key, None, _format(key))
        except (ValueError, TypeError):
            raise OutputError("expected a certificate and its key without a password, found others") from None
        server, self._prepared = self._prepared or await self._new_server(), None
        inside = server.iserver
        inside.max_connections = MOST_CONNECTIONS
        inside.set_user_manager(_Users(self._options.username, password, encrypted=certificate is not None))
        server.set_identity_tokens([ua.UserNameIdentityToken if self._options.username else ua.AnonymousIdentityToken])
        server.set_server_name(f"spade-edge {self._line}")
        server.product_uri, server.manufacturer_name = "urn:spade-edge", "spade-edge"
        server.application_type = ua.ApplicationType.Server
        server.limits = TransportLimits(65_535, 65_535, max_chunk_count=16, max_message_size=MOST_UNREAD)
        await server.set_application_uri(f"urn:spade-edge:{self._line}")
        await server.set_build_info("urn:spade-edge", "spade-edge", "spade-edge", __version__, "", datetime.now())
        nearby = self._address.nearby()
        server.set_endpoint(f"opc.tcp://{nearby}/spade-edge")
        server.socket_address = (self._address.host or "0.0.0.0", self._address.port)  # noqa: S104 - as configured
        inside.certificate, inside.private_key = known, secret
        modes = [ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt, ua.SecurityPolicyType.Basic256Sha256_Sign]
        server.set_security_policy(modes if known else [ua.SecurityPolicyType.NoSecurity], SimpleRoleRuleset())
        await self._make_nodes(server)
        try:
            await server.start()
        except OSError as problem:
            raise OutputError(f"expected to listen on {self._address}, found: {problem.strerror or problem}") from None
        self._server = server
        self._beaten, self._silent = None, False
        asyncio.get_running_loop().create_task(self._watch(), name="watch")

    async def _end(self, server: Server) -> None:
        """Close all connections."""
        await accepted()
        server.bserver._server.close()
        await server.stop()

    async def _make_nodes(self, server: Server) -> None:
        index = await server.register_namespace(NAMESPACE)
        self._ids = {}

        def named(path: str) -> tuple[ua.NodeId, ua.QualifiedName]:
            return ua.NodeId(path, index), ua.QualifiedName(path.rpartition(".")[2], index)

        async def add(root: str, variables: Sequence[Variable]) -> None:
            for variable in variables:
                path = f"{root}.{variable.path}"
                self._ids[path] = named(path)[0]
                parent = server.get_node(ua.NodeId(path.rpartition(".")[0], index))
                kind = getattr(ua.VariantType, variable.type.removesuffix("[]"))
                node = await parent.add_variable(*named(path), _variant(EMPTY[variable.type], variable.type), kind)
                if variable.type.endswith("[]"):
                    await node.write_value_rank(ua.ValueRank.OneDimension)
                await node.write_value(_data(EMPTY[variable.type], variable.type, WAITING))

        line = await server.nodes.objects.add_object(*named(self._line))
        await add(self._line, LINE)
        for camera in self._cameras:
            root = f"{self._line}.{camera}"
            await line.add_object(*named(root))
            methods = METHODS if self._requests is not None else ()
            for folder in folders([each.path for each in (*CAMERA, *RESULT)]):
                path = f"{root}.{folder}"
                parent = server.get_node(ua.NodeId(path.rpartition(".")[0], index))
                await parent.add_object(*named(path))
            await add(root, CAMERA)
            await add(root, RESULT)
            for method, takes, gives in methods:
                path = f"{root}.{method}"
                parent = server.get_node(ua.NodeId(path.rpartition(".")[0], index))
                call = self._trigger(camera) if method == "Trigger" else self._select(camera)
                arguments = [[_argument(*each) for each in group] for group in (takes, (*gives, *ANSWER))]
                await parent.add_method(*named(path), call, *arguments)

    def _trigger(self, camera: str) -> Callable[..., Any]:
        """What a client calls to trigger a camera."""

        async def trigger(_: ua.NodeId, part: ua.Variant, recipe: ua.Variant) -> list[ua.Variant] | ua.StatusCode:
            id, name = _text(part), _text(recipe)
            if id is None or name is None:
                return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
            number, error, words = 0, 0, ""
            try:
                assert self._requests is not None  # noqa: S101 - the method is there only then
                number = self._requests.trigger(camera, id=id or None, recipe=name or None)
            except UsageError as problem:
                error, words = 1, self._refused(problem)
            return [ua.Variant(number & 0xFFFFFFFF, ua.VariantType.UInt32), *_answer(error, words)]

        return trigger

    def _select(self, camera: str) -> Callable[..., Any]:
        """What a client calls to choose a product."""

        async def select(_: ua.NodeId, recipe: ua.Variant) -> list[ua.Variant] | ua.StatusCode:
            name = _text(recipe)
            if name is None:
                return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
            try:
                assert self._requests is not None  # noqa: S101 - the method is there only then
                self._requests.choose(camera, name)
            except UsageError as problem:
                return _answer(1, self._refused(problem))
            return _answer(0, "")

        return select

    def _refused(self, problem: UsageError) -> str:
        log.info("output %s: refused: %s", self._name, problem)
        return str(problem)

    async def _show_decision(self, decision: Decision) -> None:
        camera = decision.trigger.camera
        root = f"{self._line}.{camera}"
        await self._write(
            root, RESULT, values_of_result(decision), STATUS[self._health[camera]], moment(decision.decided)
        )

    async def _show_state(self, state: LineState) -> None:
        self._beaten = self._clock()
        at = moment(state.at)
        await self._write(self._line, LINE, values_of_line(state), ua.StatusCodes.Good, at)
        for camera in state.cameras:
            if camera.name not in self._cameras:
                continue
            root = f"{self._line}.{camera.name}"
            await self._write(root, CAMERA, values_of_camera(camera), ua.StatusCodes.Good, at)
            if camera.health.state != self._health[camera.name] or self._silent:
                self._health[camera.name] = camera.health.state
                await self._mark(root, STATUS[camera.health.state])
        self._silent = False

    async def _mark(self, root: str, status: int) -> None:
        """Say how good the last result of a camera still is."""
        for variable in RESULT:
            id = self._ids[f"{root}.{variable.path}"]
            last = self._inside.read_attribute_value(id)
            if last.Value is not None and last.Value.Value is not None:
                marked = ua.DataValue(last.Value, ua.StatusCode(status), last.SourceTimestamp)
                await self._inside.write_attribute_value(id, marked)

    async def _write(
        self, root: str, variables: Sequence[Variable], values: Sequence[Any], status: int, at: datetime
    ) -> None:
        for variable, value in zip(variables, values, strict=True):
            data = _data(value, variable.type, status, at)
            await self._inside.write_attribute_value(self._ids[f"{root}.{variable.path}"], data)

    @property
    def _inside(self) -> InternalServer:
        if self._server is None:
            raise OutputError("expected a server that runs, found one that is being closed")
        return self._server.iserver

    async def _watch(self) -> None:
        """Mark results where the service gives no signs of life, although this thread still runs."""
        while True:
            await asyncio.sleep(min(0.5, self._beat_every))
            if self._beaten is None or self._silent or self._clock() - self._beaten <= self._patience:
                continue
            self._silent = True
            for camera in self._cameras:
                await self._mark(f"{self._line}.{camera}", STATUS[HUNG])
            data = _data(HUNG, "String", ua.StatusCodes.Good, None)
            await self._inside.write_attribute_value(self._ids[f"{self._line}.State"], data)

    async def _read_back(self, decision: Decision) -> tuple[str, str]:
        """The verdict and the id of the last result, as a client sees them."""
        options = self._options
        client = Client(f"opc.tcp://{self.address.nearby()}/spade-edge", timeout=10)
        if options.username:
            client.set_user(options.username)
            client.set_password(_first_line(self._read("password_file")))
        certificate, key = self._read("cert_file"), self._read("key_file")
        if certificate and key:
            await client.set_security(
                SecurityPolicyBasic256Sha256,
                uacrypto.CertProperties(certificate, _format(certificate)),
                uacrypto.CertProperties(key, _format(key)),
                mode=ua.MessageSecurityMode.SignAndEncrypt,
            )
        async with client:
            index = await client.get_namespace_index(NAMESPACE)
            root = f"{self._line}.{decision.trigger.camera}.ResultManagement.Result"
            nodes = [client.get_node(ua.NodeId(f"{root}.{name}", index)) for name in ("Verdict", "ResultId")]
            verdict, identifier = await client.read_values(nodes)
        return str(verdict), str(identifier)


class _Users:
    """Who may connect. asyncua calls `get_user` when a session is activated."""

    def __init__(self, username: str, password: bytes | None, *, encrypted: bool) -> None:
        self._username, self._password, self._encrypted = username, _first_line(password), encrypted

    def get_user(
        self, iserver: Any, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        """The user, who may read and call methods; None for nobody."""
        if self._encrypted and not certificate:  # a channel without security, over which clients ask for endpoints
            return None
        if self._username:
            known = hmac.compare_digest((username or "").encode(), self._username.encode())
            knows = hmac.compare_digest((password or "").encode(), self._password.encode())
            if not (known and knows):
                return None
        return User(role=UserRole.User, name=self._username or None)


class _Inside(InternalServer):  # type: ignore[misc]
    """Keeps what clients can fill within bounds, and sessions where they began."""

    def create_session(self, name: str, user: User | None = None, external: bool = False) -> InternalSession:
        """Make room for a session, unless there are too many."""
        known = self._external_sessions
        for token, session in list(known.items()):
            if session.state == SessionState.Created and time.monotonic() - session._last_activity > ABANDONED:
                del known[token]
        if external and len(known) >= MOST_SESSIONS:
            raise ServiceError(ua.StatusCodes.BadTooManySessions)
        return super().create_session(name, user or User(role=UserRole.Anonymous), external)

    def lookup_external_session(self, auth_token: Any) -> None:
        """Nobody goes on with a session on another connection: asyncua's tokens can be guessed, and whoever guesses one
        has the session, even with a wrong password.
        """

    def register_server(self, server: Any, conf: Any = None) -> None:
        """Refuse: this is no discovery server."""
        raise ServiceError(ua.StatusCodes.BadServiceUnsupported)


class _Connection(OPCUAProtocol):  # type: ignore[misc]
    """A client's connection that ends where the client announces too much or does not read."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if len(self._buffer) > MOST_UNREAD and self.transport is not None:
            self._buffer: bytes = b""
            self.transport.abort()

    def pause_writing(self) -> None:
        """Called where a client asks and does not read the answers, which must not pile up."""
        if self.transport is not None:
            self.transport.abort()


class _Sockets(BinaryServer):  # type: ignore[misc]
    """Makes such connections."""

    def _make_protocol(self) -> OPCUAProtocol:
        return _Connection(
            iserver=self.iserver,
            policies=self._policies,
            clients=self.clients,
            closing_tasks=self.closing_tasks,
            limits=self.limits,
        )


asyncua_server.BinaryServer = _Sockets  # asyncua has no other way to choose it


def _data(value: Any, type: str, status: int, at: datetime | None = None) -> ua.DataValue:
    return ua.DataValue(_variant(value, type), ua.StatusCode(status), at)


def _variant(value: Any, type: str) -> ua.Variant:
    """A value as OPC UA has it."""
    kind = getattr(ua.VariantType, type.removesuffix("[]"))
    if type == "LocalizedText":
        value = ua.LocalizedText(value, "en")
    return ua.Variant(value, kind, is_array=type.endswith("[]") or None)


def _argument(name: str, type: str, about: str) -> ua.Argument:
    return ua.Argument(
        Name=name,
        DataType=ua.NodeId(getattr(ua.ObjectIds, type)),
        ValueRank=-1,
        ArrayDimensions=[],
        Description=ua.LocalizedText(about, "en"),
    )


def _answer(error: int, words: str) -> list[ua.Variant]:
    return [ua.Variant(error, ua.VariantType.Int32), ua.Variant(words, ua.VariantType.String)]


def _text(given: ua.Variant) -> str | None:
    """A text that a client gave; None if it is none, or too long."""
    value = "" if given.Value is None else given.Value
    return value if isinstance(value, str) and len(value) <= LONGEST_TEXT and value.isprintable() else None


def _first_line(content: bytes | None) -> str:
    """The first line of a file, without the end of the line."""
    return (content or b"").split(b"\n", 1)[0].rstrip(b"\r").decode(errors="surrogateescape")


def _format(content: bytes) -> str:
    return "pem" if content.lstrip().startswith(b"-----BEGIN") else "der"
