"""A Modbus/TCP server: decisions, counts and signs of life for a PLC, and its commands. registers.py is its map."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable

from pymodbus import ModbusDeviceIdentification
from pymodbus.client import ModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusException
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from spade_edge import __version__
from spade_edge.runtime import UsageError
from spade_edge.tools.line.configuration.options import LineConfiguration, ModbusOptions
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.outputs.listening import Address
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.outputs.own_loop import OwnLoop, accepted
from spade_edge.tools.line.outputs.registers import (
    ANSWERS,
    BLOCK_SIZE,
    CAMERA,
    COMMAND_SIZE,
    COMMANDS,
    GATES,
    HEADER_SIZE,
    MOST_CAMERAS,
    NOTED,
    REFUSED,
    TAKEN,
    VERDICTS,
    RegisterMap,
    recipe_numbers,
)
from spade_edge.tools.line.requests import Requests
from spade_edge.tools.line.state import LineState

log = logging.getLogger(__name__)
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # else anyone who can connect fills the log

MOST_CONNECTIONS = 32  # then the one that has been silent for longest is closed for the next
KEEP_ALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # seconds, seconds, tries

READ_COILS, READ_BITS, READ_HOLDING, READ_INPUT = 1, 2, 3, 4  # function codes
COILS = (READ_COILS, 5, 15)


class ModbusOutput:
    """Shows decisions to Modbus clients, and takes their commands.

    The server runs in a thread of its own. Decisions do not wait for it: they make a new image of the registers, and
    each request is answered from one image. Without signs of life of the service, requests are answered with exception
    4, so that nobody takes old values for new ones.

    Args:
        options: of this output.
        name: of this output.
        line: name of the line.
        configuration: of the line.
        requests: what clients may ask; None for nothing.
        clock: returns seconds.

    Raises:
        UsageError: the address is none, or there are too many cameras.
    """

    def __init__(
        self,
        options: ModbusOptions,
        *,
        name: str,
        line: str,
        configuration: LineConfiguration,
        requests: Requests | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = Address.parse(options.listen)
        self._name, self._configuration, self._clock = name, configuration, clock
        self._cameras = tuple(
            camera for camera in configuration.cameras if camera in options.cameras or not options.cameras
        )
        if len(self._cameras) > MOST_CAMERAS:
            raise UsageError(f"output {name}: expected at most {MOST_CAMERAS} cameras, found {len(self._cameras)}")
        self._commands = None if requests is None else _Commands(self._cameras, configuration, requests, output=name)
        self._patience = configuration.line.silence_s
        self._identity = ModbusDeviceIdentification(
            info_name={"VendorName": "spade-edge", "ProductCode": line, "MajorMinorRevision": __version__}
        )
        self._map = self._new_map()
        self._loop: OwnLoop | None = None
        self._server: _Server | None = None

    @property
    def address(self) -> Address:
        """Where it listens."""
        sockets = getattr(self._server and self._server.transport, "sockets", ())
        return Address(self._address.host, sockets[0].getsockname()[1]) if sockets else self._address

    def open(self) -> None:
        """See `Output.open`."""
        self._address.check_free()
        self._map = self._new_map()
        self._loop = OwnLoop(f"modbus {self._name}")
        try:
            self._server = self._loop.run(self._serve())
        except RuntimeError as problem:  # what pymodbus raises if it cannot listen
            raise OutputError(f"expected to listen on {self._address}, found: {problem}") from None

    def send(self, decision: Decision) -> None:
        """See `Output.send`."""
        self._check()
        self._map.decide(decision)

    def stale(self, decision: Decision) -> bool:
        """Never: the registers show what was decided last, and the slots what was decided before."""
        return False

    def beat(self, state: LineState) -> None:
        """See `Output.beat`."""
        self._check()
        self._map.beat(state)

    def close(self) -> None:
        """See `Output.close`. All connections are closed, so that clients see it at once."""
        loop, server, self._loop, self._server = self._loop, self._server, None, None
        if loop is None:
            return
        try:
            if server is not None:
                loop.run(server.end())
        except Exception as problem:  # it must not raise
            log.warning("output %s: closing: %s", self._name, problem)
        finally:
            loop.end()

    def test(self, decision: Decision, state: LineState) -> str:
        """See `Output.test`: a client reads back what the server shows."""
        self.open()
        try:
            self.beat(state)
            self.send(decision)
            place = self._cameras.index(decision.trigger.camera) if decision.trigger.camera in self._cameras else 0
            first = HEADER_SIZE + place * BLOCK_SIZE
            address = self.address.nearby()
            client = ModbusTcpClient(address.host, port=address.port, timeout=5, retries=0)
            try:
                if not client.connect():
                    raise OutputError(f"expected a connection to {address}, found none; see the firewall")
                answer = client.read_input_registers(first, count=BLOCK_SIZE)
            except ModbusException as problem:
                raise OutputError(f"expected an answer from {address}, found: {problem}") from None
            finally:
                client.close()
            if answer.isError():
                raise OutputError(f"expected registers from {address}, found exception {answer.exception_code}")
            read = {r.name: answer.registers[r.at] for r in CAMERA if r.kind == "uint16"}
            if (read["verdict"], read["gate"]) != (VERDICTS[decision.verdict], GATES[decision.gate]):
                raise OutputError(f"expected the test decision in the registers from {first}, found another one")
            return (
                f"a client on this machine read input registers {first} to {first + BLOCK_SIZE - 1} of {address}: "
                f"verdict {read['verdict']}, gate {read['gate']}"
            )
        finally:
            self.close()

    def _new_map(self) -> RegisterMap:
        return RegisterMap(self._configuration, cameras=self._cameras, clock=self._clock)

    def _check(self) -> None:
        if self._loop is None or not self._loop.runs:
            raise OutputError("expected a server that runs, found one that has ended")

    async def _serve(self) -> _Server:
        """Begin to listen. pymodbus needs the loop already for this."""
        image = self._map.image
        device = SimDevice(
            id=0,  # any unit identifier
            simdata=(
                [SimData(0, values=[False] * 16, datatype=DataType.BITS)],  # no coils, but the list must not be empty
                [SimData(0, values=[False] * 16 * len(image.bits), datatype=DataType.BITS)],
                [SimData(0, count=max(1, len(self._cameras)) * COMMAND_SIZE, datatype=DataType.REGISTERS)],
                [SimData(0, count=len(image.registers), datatype=DataType.REGISTERS)],
            ),
            action=self._answer,
        )
        host = self._address.host or "0.0.0.0"  # noqa: S104 - as configured
        server = _Server(device, identity=self._identity, address=(host, self._address.port))
        await server.serve_forever(background=True)
        return server

    async def _answer(  # noqa: PLR0917 - as pymodbus calls it
        self,
        function: int,
        first: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Answer a request from one image; pymodbus calls this before it reads or writes.

        Args:
            function: code of the function.
            first: address of the first register of `registers`.
            address: of the first register that is asked for.
            count: how many.
            registers: of this kind; what is written here is what clients read.
            values: to write; None to read.
        """
        image = self._map.image
        if image.beaten is None or self._clock() - image.beaten > self._patience:
            return ExcCodes.DEVICE_FAILURE
        if function == READ_INPUT:
            registers[: len(image.registers)] = image.registers
        elif function == READ_BITS:
            registers[: len(image.bits)] = image.bits
        elif self._commands is None or function in COILS:
            return ExcCodes.ILLEGAL_ADDRESS
        elif values is not None:
            return self._commands.take(address, [int(value) for value in values], registers)
        return None


class _Commands:
    """What clients write into the holding registers."""

    def __init__(
        self, cameras: tuple[str, ...], configuration: LineConfiguration, requests: Requests, *, output: str
    ) -> None:
        self._cameras, self._requests, self._output = cameras, requests, output
        self._recipes = {number: name for name, number in recipe_numbers(configuration).items()}
        self._counters: dict[str, int] = {}  # camera to the counter that was written last
        self._refused = ""  # what was last said of a refusal

    def take(self, address: int, values: list[int], registers: list[int]) -> ExcCodes | None:
        """Do what was written.

        Args:
            address: of the first value.
            values: that are written, 0 to 65,535.
            registers: all holding registers as they are; answers are written here.
        """
        written = {address + place: value for place, value in enumerate(values)}
        last = len(COMMANDS) + 1  # the trigger's id has two registers
        places = [(at // COMMAND_SIZE, at % COMMAND_SIZE) for at in written]
        if any(place >= len(self._cameras) or offset >= last for place, offset in places):
            return ExcCodes.ILLEGAL_ADDRESS
        for place in sorted({place for place, _ in places}):
            first = place * COMMAND_SIZE
            block = [written.get(first + at, registers[first + at]) for at in range(COMMAND_SIZE)]
            if written.get(first):
                self._put(first, registers, recipe_answer=self._choose(self._cameras[place], written[first]))
            if first + 4 in written:
                self._trigger(first, block, registers, camera=self._cameras[place])
        return None

    def _choose(self, camera: str, number: int) -> int:
        try:
            self._requests.choose(camera, self._recipe(number))
        except UsageError as problem:
            return self._refuse(problem)
        return TAKEN

    def _trigger(self, first: int, block: list[int], registers: list[int], *, camera: str) -> None:
        counter, former = block[4], self._counters.get(camera)
        if counter == former:
            return
        self._counters[camera] = counter
        answer, number = NOTED, 0  # a controller may go on writing the counter of a part that was decided on long ago
        if former is not None:
            id = block[1] << 16 | block[2]
            try:
                recipe = self._recipe(block[3]) if block[3] else None
                number = self._requests.trigger(camera, id=str(id) if id else None, recipe=recipe)
                answer = TAKEN
            except UsageError as problem:
                answer = self._refuse(problem)
        self._put(first, registers, trigger_answer=answer, trigger_counter_answered=counter, trigger_number=number)

    def _recipe(self, number: int) -> str:
        """Name of the product of a number.

        Raises:
            UsageError: there is none.
        """
        if number not in self._recipes:
            raise UsageError(f"expected the number of a recipe ({', '.join(map(str, self._recipes))}), found {number}")
        return self._recipes[number]

    def _refuse(self, problem: UsageError) -> int:
        """Say why something was refused: once, because controllers write again and again."""
        if str(problem) != self._refused:
            self._refused = str(problem)
            log.warning("output %s: refused: %s", self._output, problem)
        return REFUSED

    def _put(self, first: int, registers: list[int], **answers: int) -> None:
        for register in ANSWERS:
            if register.name in answers:
                words = register.words(answers[register.name])
                registers[first + register.at : first + register.at + len(words)] = words


class _Connection(ServerRequestHandler):
    """A client's connection that ends where the client has gone or does not read."""

    def __init__(self, server: _Server) -> None:
        super().__init__(server, None, None, None)  # type: ignore[no-untyped-call]
        self.heard = self.loop.time()  # when it sent something, in seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEP_ALIVE.items():
            if hasattr(socket, option):  # Linux has all of them
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def data_received(self, data: bytes) -> None:
        self.heard = self.loop.time()
        super().data_received(data)

    def pause_writing(self) -> None:
        """Called where a client asks and does not read the answers, which must not pile up."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()


class _Server(ModbusTcpServer):
    """A server with a bounded number of connections."""

    def callback_new_connection(self) -> ServerRequestHandler:
        """Make room where too many are connected: for a controller that comes again after its cable was pulled."""
        connections = [each for each in self.active_connections.values() if isinstance(each, _Connection)]
        if len(connections) >= MOST_CONNECTIONS:
            min(connections, key=lambda each: each.heard).close()
        return _Connection(self)

    async def end(self) -> None:
        """Close all connections."""
        await accepted()
        await self.shutdown()  # type: ignore[no-untyped-call]
