"""The Modbus server, with pymodbus's own client and with bytes on a socket."""

from __future__ import annotations

import math
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from controllers import Asked, configuration, decision, opened, state
from fake_line import LONG, Clock, until

from spade_edge.runtime import UsageError
from spade_edge.tools.line.configuration.options import ModbusOptions
from spade_edge.tools.line.outputs.output import OutputError

pytest.importorskip("pymodbus")
from pymodbus.client import ModbusTcpClient

from spade_edge.tools.line.outputs import modbus as module
from spade_edge.tools.line.outputs import registers
from spade_edge.tools.line.outputs.modbus import ModbusOutput

Asking = Asked | None


def make(asked: Asking = None, *, cameras: tuple[str, ...] = (), **others: Any) -> ModbusOutput:
    options = ModbusOptions(listen="127.0.0.1:0", commands=asked is not None, cameras=cameras)
    whole = configuration(options)
    return ModbusOutput(options, name="plc", line="hall3", configuration=whole, requests=asked, **others)


@contextmanager
def served(asked: Asking = None, **others: Any) -> Iterator[tuple[ModbusOutput, ModbusTcpClient]]:
    """An output that has beaten once, on a clock that stands, and a client."""
    output = make(asked, **{"clock": Clock(), **others})
    with opened(output):
        output.beat(state())
        client = ModbusTcpClient("127.0.0.1", port=output.address.port, timeout=LONG, retries=0)
        assert client.connect()
        try:
            yield output, client
        finally:
            client.close()


def number(read: list[int], at: int) -> int:
    return read[at] << 16 | read[at + 1]


def real(read: list[int], at: int) -> float:
    return struct.unpack(">f", bytes([read[at] >> 8, read[at] & 255, read[at + 1] >> 8, read[at + 1] & 255]))[0]


def test_header_and_first_camera_fit_into_one_request() -> None:
    """The addresses are written out here, because they are a promise to PLC programs."""
    with served() as (output, client):
        output.send(decision(70_001, verdict="defect", gate="reject", id="4294967295", regions=()))
        output.beat(state(65_537 + 4, troubled=("top",)))
        read = client.read_input_registers(0, count=120).registers
        assert read[:4] == [1, 5, 2, 2]
        assert number(read, 4) == 1_699_999_999
        assert read[6:20] == [200, 100, *[0] * 12]
        top = read[20:]
        assert number(top, 0) == number(top, 98) == 70_001
        assert top[2:4] == [2, 2]
        assert number(top, 4) == 0xFFFFFFFF
        assert top[6:8] == [7, 0]
        assert [real(top, at) for at in (8, 10, 12, 14)] == [31.25, 0.375, 0.5, 0.0625]
        assert number(top, 16) == 1_700_000_000
        assert top[18:24] == [500, 0, 0, 0, 2, 12]
        assert [number(top, at) for at in range(24, 36, 2)] == [70_012, 5, 3, 2, 70_000, 70_005]
        assert top[36] == 2
        side = client.read_input_registers(120, count=100).registers
        assert number(side, 0) == number(side, 98) == 0
        assert side[22:24] == [1, 12]
        assert all(math.isnan(real(side, at)) for at in (8, 10, 12, 14))


def test_bits() -> None:
    with served() as (output, client):

        def bits() -> list[bool]:
            return client.read_discrete_inputs(0, count=48).bits

        assert not any(bits()[16:18])  # neither pass nor reject before the first decision
        output.send(decision(3))
        output.send(decision(4, camera="side", verdict="late", gate="reject"))
        output.beat(state(2, troubled=("side",)))
        read = bits()
        assert read[:2] == [False, False]
        assert read[16:20] == [True, False, True, True]
        assert read[32:36] == [False, True, False, False]
        output.beat(state(3))
        assert bits()[:2] == [True, True]
        output.send(decision(5))
        assert bits()[16:20] == [True, False, True, True]


def test_a_controller_that_looks_rarely_misses_none_of_eight_decisions() -> None:
    with served() as (output, client):
        for each in range(100, 111):
            output.send(decision(each, id=str(each + 50), gate="reject" if each % 3 else "pass"))
        block = client.read_input_registers(20, count=100).registers
        for each in range(103, 111):
            slot = 50 + each % 8 * 6
            assert (number(block, slot), number(block, slot + 2)) == (each, each + 50)
            assert block[slot + 4 : slot + 6] == [1, 2 if each % 3 else 1]


@pytest.mark.parametrize("id", ["4294967297", "part-7", "٣", "", "-1", "1" * 128])
def test_an_id_that_is_no_number_is_zero(id: str) -> None:
    with served() as (output, client):
        output.send(decision(1, id=id))
        assert number(client.read_input_registers(20, count=100).registers, 4) == 0


def test_values_that_no_register_can_hold() -> None:
    with served() as (output, client):
        output.send(decision(2**32 + 5, score=1e300, threshold=None, p=None, milliseconds=float("inf"), recipe="gone"))
        block = client.read_input_registers(20, count=100).registers
        assert number(block, 0) == 5
        assert block[6] == 0
        assert real(block, 10) == pytest.approx(3.4028234e38)
        assert math.isnan(real(block, 12))
        assert math.isnan(real(block, 14))


def test_a_block_is_of_one_moment() -> None:
    """Every value of a block that is read in one request belongs to the same decision."""
    with served() as (output, client):
        ended = threading.Event()

        def decide() -> None:
            each = 0
            while not ended.is_set():
                each += 1
                output.send(decision(each, id=str(each), score=float(each), gate="pass" if each % 2 else "reject"))

        thread = threading.Thread(target=decide)
        thread.start()
        try:
            seen = set()
            while len(seen) < 50:
                block = client.read_input_registers(20, count=100).registers
                at = number(block, 0)
                seen.add(at)
                if at:
                    assert number(block, 98) == number(block, 4) == at
                    assert real(block, 10) == at
                    assert block[3] == (1 if at % 2 else 2)
                    assert {number(block, 50 + slot * 6) for slot in range(8)} == {max(0, at - d) for d in range(8)}
        finally:
            ended.set()
            thread.join()


def test_only_its_cameras_are_shown() -> None:
    with served(cameras=("side",)) as (output, client):
        output.send(decision(9, camera="side"))
        output.send(decision(8, camera="top"))
        read = client.read_input_registers(0, count=120).registers
        assert read[3] == 1
        assert number(read, 20) == 9
        assert client.read_input_registers(120, count=1).exception_code == 2


def test_without_a_heartbeat_nothing_is_answered() -> None:
    clock = Clock()
    with served(clock=clock) as (output, client):
        output.send(decision(1))
        clock.now += 0.99
        assert not client.read_input_registers(0, count=120).isError()
        clock.now += 0.02  # longer than three heartbeats and a second
        for answer in (
            client.read_input_registers(0, count=120),
            client.read_discrete_inputs(0, count=16),
            client.read_holding_registers(0, count=1),
        ):
            assert answer.exception_code == 4
        output.beat(state(2))
        assert client.read_input_registers(0, count=2).registers == [1, 2]


def test_before_the_first_heartbeat_nothing_is_answered() -> None:
    output = make()
    with opened(output):
        client = ModbusTcpClient("127.0.0.1", port=output.address.port, timeout=LONG, retries=0)
        assert client.connect()
        assert client.read_input_registers(0, count=1).exception_code == 4
        client.close()


def test_after_close_connections_end_and_nothing_old_is_shown_after_a_new_start() -> None:
    output = make()
    with opened(output):
        output.beat(state())
        output.send(decision(5))
        with socket.create_connection(("127.0.0.1", output.address.port), timeout=LONG) as connection:
            output.close()
            assert connection.recv(1) == b""
    with opened(output):
        output.beat(state(2))
        client = ModbusTcpClient("127.0.0.1", port=output.address.port, timeout=LONG, retries=0)
        assert client.connect()
        assert number(client.read_input_registers(20, count=2).registers, 0) == 0
        client.close()
    output.close()


def test_without_commands_nothing_can_be_written() -> None:
    with served() as (_, client):
        for answer in (
            client.write_register(0, 7),
            client.write_registers(0, [7, 0, 1, 0, 1]),
            client.write_coil(0, True),
            client.write_coils(0, [True] * 3),
            client.mask_write_register(address=0, and_mask=1, or_mask=1),
            client.readwrite_registers(read_address=0, read_count=1, address=0, values=[1]),
            client.read_holding_registers(0, count=1),
            client.read_coils(0, count=1),
        ):
            assert answer.exception_code == 2


def test_input_registers_and_answers_cannot_be_written() -> None:
    asked = Asked()
    with served(asked) as (_, client):
        before = client.read_holding_registers(0, count=20).registers
        for address, values in ((5, [1]), (3, [0, 1, 1]), (9, [0, 0]), (20, [1]), (65_535, [1]), (0, [7] * 20)):
            assert client.write_registers(address, values).exception_code == 2
        assert client.write_coil(0, True).exception_code == 2
        assert client.read_holding_registers(0, count=20).registers == before
        assert not asked.choices
        assert not asked.triggers


def test_choose_a_product() -> None:
    asked = Asked()
    with served(asked) as (_, client):
        assert not client.write_register(0, 12).isError()
        assert asked.choices == [("top", "nut")]
        assert client.read_holding_registers(0, count=10).registers == [12, 0, 0, 0, 0, 1, 0, 0, 0, 0]
        client.write_register(0, 0)
        assert asked.choices == [("top", "nut")]
        client.write_register(0, 3)  # no product has this number
        assert client.read_holding_registers(5, count=1).registers == [2]
        client.write_register(0, 7)
        assert client.read_holding_registers(5, count=1).registers == [1]
        client.write_register(10, 7)  # a camera for which the line refuses
        assert client.read_holding_registers(10, count=10).registers == [7, 0, 0, 0, 0, 2, 0, 0, 0, 0]
        assert asked.choices == [("top", "nut"), ("top", "bolt")]


def test_trigger() -> None:
    asked = Asked()
    with served(asked) as (_, client):
        client.write_registers(0, [0, 0, 0, 0, 41])  # what a controller writes that has not been switched off
        assert asked.triggers == []
        assert client.read_holding_registers(5, count=5).registers == [0, 3, 41, 0, 0]
        client.write_registers(0, [0, 1, 2, 12, 42])
        client.write_registers(0, [0, 1, 2, 12, 42])  # again, as controllers do in each cycle
        assert asked.triggers == [("top", "65538", "nut")]
        assert client.read_holding_registers(5, count=5).registers == [0, 1, 42, 1, 4465]
        client.write_registers(1, [0, 0, 0, 43])
        assert asked.triggers[1:] == [("top", None, None)]
        client.write_registers(1, [0, 9, 99, 44])  # no product has this number
        assert client.read_holding_registers(6, count=4).registers == [2, 44, 0, 0]
        client.write_registers(3, [0, 0])  # any other value triggers; the id is still there
        assert asked.triggers[2:] == [("top", "9", None)]
        client.write_registers(14, [1])
        client.write_registers(14, [2])  # a camera for which the line refuses
        assert client.read_holding_registers(16, count=2).registers == [2, 2]


def test_the_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = ModbusOptions(listen=f"127.0.0.1:{taken.getsockname()[1]}")
        output = ModbusOutput(options, name="plc", line="h", configuration=configuration(options), requests=None)
        with pytest.raises(OutputError, match="listens"):
            output.open()
        output.close()
        output.close()


@pytest.mark.parametrize("listen", ["", "5020", "localhost:", "::1:5020", "a:b", "127.0.0.1:65536", "127.0.0.1:٣"])
def test_no_address(listen: str) -> None:
    options = ModbusOptions(listen=listen)
    with pytest.raises(UsageError):
        ModbusOutput(options, name="plc", line="h", configuration=configuration(options), requests=None)


def test_an_address_of_another_machine() -> None:
    options = ModbusOptions(listen="192.0.2.1:5020")
    output = ModbusOutput(options, name="plc", line="h", configuration=configuration(options), requests=None)
    with pytest.raises(OutputError, match="interface"):
        output.open()


def test_when_it_is_not_open_nothing_is_taken() -> None:
    output = make()
    with pytest.raises(OutputError):
        output.send(decision(1))
    with pytest.raises(OutputError):
        output.beat(state())
    assert not output.stale(decision(1))


RUBBISH = [
    b"GET / HTTP/1.1\r\nHost: plc\r\n\r\n",
    b"\x00" * 600,
    b"\xff" * 5000,
    struct.pack(">HHHBB", 1, 0, 2, 0, 99),  # a function that there is not
    struct.pack(">HHHBBHH", 1, 0, 6, 0, 4, 0, 0),  # no registers
    struct.pack(">HHHBBHH", 1, 0, 6, 0, 4, 0, 126),  # more than one request may ask for
    struct.pack(">HHHBBHH", 1, 0, 6, 0, 4, 65_535, 125),
    struct.pack(">HHHBBHH", 1, 0, 6, 255, 0x84, 0, 1),  # an answer instead of a question
    struct.pack(">HHHBBHHB", 1, 0, 7, 0, 16, 0, 3, 250),  # values that do not follow
    struct.pack(">HHHBBHHB", 1, 0, 9, 0, 16, 0, 3, 2) + b"\x00\x01",  # fewer values than announced
    struct.pack(">HHH", 1, 0, 65_535) + b"\x01" * 100,
]


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_does_not_disturb_others(rubbish: bytes) -> None:
    asked = Asked()
    with served(asked) as (output, client):
        with socket.create_connection(("127.0.0.1", output.address.port), timeout=LONG) as connection:
            with suppress(OSError):  # it may be ended in the middle
                for at in range(0, len(rubbish), 100):
                    connection.sendall(rubbish[at : at + 100])
                connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                while connection.recv(4096):
                    pass
        assert client.read_input_registers(0, count=2).registers == [1, 1]
        assert not asked.choices
        assert not asked.triggers


def test_more_connections_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that has been silent for longest goes, so that a controller always gets in."""
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 4)
    with served() as (output, client):
        assert output._server is not None
        silent = []
        try:
            for _ in range(12):
                silent.append(socket.create_connection(("127.0.0.1", output.address.port), timeout=LONG))
                assert client.read_input_registers(0, count=1).registers == [1]
                until(lambda: len(output._server.active_connections) <= 4)  # type: ignore[union-attr]
            for each in silent[:8]:
                assert each.recv(1) == b""
        finally:
            for each in silent:
                each.close()


def test_a_client_that_does_not_read_is_dropped() -> None:
    request = struct.pack(">HHHBBHH", 1, 0, 6, 0, 4, 0, 120)
    with served() as (output, client):
        client.close()
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", output.address.port))
        served_connection(output).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

        def dropped() -> bool:
            try:
                connection.sendall(request)
            except ConnectionError:
                return True
            return False

        with connection:
            until(dropped)


def test_dead_connections_are_noticed_by_the_system() -> None:
    with served() as (output, _):
        assert served_connection(output).getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def served_connection(output: ModbusOutput) -> socket.socket:
    """The server's end of the only connection."""
    server = output._server
    assert server is not None
    found: list[socket.socket] = []

    def there() -> bool:
        found[:] = [
            each.transport.get_extra_info("socket")
            for each in list(server.active_connections.values())
            if each.transport is not None
        ]
        return len(found) == 1

    until(there)
    return found[0]


def test_the_test_reads_back_what_it_has_sent() -> None:
    output = make()
    sentence = output.test(decision(0, test=True), state())
    assert "verdict 1" in sentence
    with pytest.raises(OutputError):
        output.send(decision(1))  # it is closed again


def test_the_test_notices_another_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registers.RegisterMap, "decide", lambda *_: None)
    with pytest.raises(OutputError, match="decision"):
        make().test(decision(0, test=True), state())


@pytest.mark.parametrize("unit", [0, 1, 17, 255])
def test_any_unit_identifier(unit: int) -> None:
    with served() as (_, client):
        assert client.read_input_registers(0, count=1, device_id=unit).registers == [1]


def test_the_test_of_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = ModbusOptions(listen=f"127.0.0.1:{taken.getsockname()[1]}")
        output = ModbusOutput(options, name="plc", line="h", configuration=configuration(options), requests=None)
        with pytest.raises(OutputError):
            output.test(decision(0, test=True), state())


def test_tables_do_not_overlap() -> None:
    for tables, size in (
        ((registers.HEADER,), registers.HEADER_SIZE),
        ((registers.CAMERA,), registers.BLOCK_SIZE),
        ((registers.SLOT,), registers.SLOT_SIZE),
        ((registers.COMMANDS, registers.ANSWERS), registers.COMMAND_SIZE),
    ):
        taken = [
            each.at + word for table in tables for each in table for word in range(1 if each.kind == "uint16" else 2)
        ]
        assert len(taken) == len(set(taken))
        assert max(taken) < size
    slots = range(registers.FIRST_SLOT, registers.FIRST_SLOT + registers.SLOTS * registers.SLOT_SIZE)
    assert not {each.at for each in registers.CAMERA} & set(slots)


def test_products_are_numbered_in_the_order_of_the_file() -> None:
    whole = configuration(ModbusOptions())
    plain = {name: replace(options, number=None) for name, options in whole.recipes.items()}
    assert registers.recipe_numbers(replace(whole, recipes=plain)) == {"bolt": 1, "nut": 2}
