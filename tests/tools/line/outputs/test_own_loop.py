"""A loop in a thread of its own, and addresses to listen on."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator

import pytest
from fake_line import LONG, until

from spade_edge.tools.line.outputs.listening import Address
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.outputs.own_loop import OwnLoop


@pytest.fixture
def loop() -> Iterator[OwnLoop]:
    own = OwnLoop("test")
    yield own
    own.end()


def test_it_runs_elsewhere_and_answers(loop: OwnLoop) -> None:
    async def where() -> str:
        return threading.current_thread().name

    assert loop.run(where()) == "test"
    assert loop.runs


@pytest.mark.parametrize("problem", [ValueError, TimeoutError, asyncio.TimeoutError])
def test_what_is_raised_there_is_raised_here(loop: OwnLoop, problem: type[Exception]) -> None:
    async def fail() -> None:
        raise problem("theirs")

    with pytest.raises(problem, match="theirs"):
        loop.run(fail())


def test_it_does_not_wait_for_ever_and_cancels(loop: OwnLoop) -> None:
    cancelled = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(OutputError):
        loop.run(hang(), patience=0.01)
    assert cancelled.wait(LONG)


def test_the_end_cancels_what_runs() -> None:
    loop, cancelled = OwnLoop("test"), threading.Event()

    async def hang() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            cancelled.set()

    async def begin() -> None:
        tasks.append(asyncio.get_running_loop().create_task(hang()))

    tasks: list[asyncio.Task[None]] = []
    loop.run(begin())
    loop.end()
    assert cancelled.is_set()
    assert not loop.runs
    loop.end()


def test_a_fault_of_a_library_is_one_line(loop: OwnLoop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def begin() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)

    loop.run(begin())
    until(lambda: "ZeroDivisionError" in caplog.text)
    assert all(record.exc_info is None for record in caplog.records)


@pytest.mark.parametrize(
    ("text", "host", "port", "nearby"),
    [
        ("127.0.0.1:5020", "127.0.0.1", 5020, "127.0.0.1:5020"),
        ("0.0.0.0:502", "0.0.0.0", 502, "127.0.0.1:502"),  # noqa: S104
        (":4840", "", 4840, "127.0.0.1:4840"),
        ("[::]:4840", "::", 4840, "[::1]:4840"),
        ("[fe80::1]:65535", "fe80::1", 65_535, "[fe80::1]:65535"),
        ("plc-gateway:0", "plc-gateway", 0, "plc-gateway:0"),
    ],
)
def test_an_address(text: str, host: str, port: int, nearby: str) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, str(address.nearby())) == (host, port, nearby)


def test_a_free_address_is_left_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = Address("127.0.0.1", server.getsockname()[1])
        with pytest.raises(OutputError):
            address.check_free()
    address.check_free()
    address.check_free()
    with pytest.raises(OutputError):
        Address("no-such-host.invalid", 5020).check_free()
