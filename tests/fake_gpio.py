"""A GPIO chip for tests: what spade-edge uses of the package gpiod, strict about everything."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass, field
from typing import Any

from gpiod import LineSettings
from gpiod.exception import RequestReleasedError
from gpiod.line import Direction, Value


@dataclass
class FakeLine:
    """A line, and what was done with it.

    Attributes:
        consumer: who has it; "" for nobody.
        changes: moments in seconds of `time.monotonic`, and whether the line became high. The first is the request.
    """

    consumer: str = ""
    direction: Direction = Direction.INPUT
    active_low: bool = False
    active: bool = False
    changes: list[tuple[float, bool]] = field(default_factory=list)

    @property
    def high(self) -> bool:
        return self.active != self.active_low

    def set(self, value: Value) -> None:
        assert isinstance(value, Value)
        self.active = value == Value.ACTIVE
        self.changes.append((time.monotonic(), self.high))


class FakeGpio:
    """The module gpiod with one chip of eight lines, /dev/gpiochip0."""

    def __init__(self) -> None:
        self.lines = [FakeLine() for _ in range(8)]
        self.broken = False
        outer = self

        class Chip:
            def __init__(self, path: str) -> None:
                outer.check(path)

            def __enter__(self) -> Chip:
                return self

            def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
                pass

            def get_line_info(self, line: int | str) -> Any:
                return Info(outer.line(line), int(line))

        self.Chip = Chip
        self.LineSettings = LineSettings
        self.LineRequest = LineRequest

    def check(self, path: str) -> None:
        if self.broken or path != "/dev/gpiochip0":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def line(self, offset: int | str) -> FakeLine:
        assert isinstance(offset, int)
        if offset >= len(self.lines):
            raise ValueError("line offset of out range")
        return self.lines[offset]

    def request_lines(
        self,
        path: str,
        config: dict[Any, LineSettings | None],
        consumer: str | None = None,
        event_buffer_size: int | None = None,
        output_values: dict[int | str, Value] | None = None,
    ) -> LineRequest:
        self.check(path)
        assert consumer
        assert len(consumer) <= 31
        for offset, settings in config.items():
            line = self.line(offset)
            assert settings is not None
            assert settings.direction == Direction.OUTPUT
            if line.consumer:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            line.consumer, line.direction, line.active_low = consumer, settings.direction, settings.active_low
            line.set(settings.output_value)
        return LineRequest(self, list(config))


class Info:
    def __init__(self, line: FakeLine, offset: int) -> None:
        self.name, self.offset = f"PIN{offset}", offset
        self.consumer, self.direction = line.consumer, line.direction


class LineRequest:
    def __init__(self, gpio: FakeGpio, offsets: list[int]) -> None:
        self._gpio, self.offsets = gpio, offsets
        self._released = False

    def set_value(self, line: int | str, value: Value) -> None:
        self._of(line).set(value)

    def get_value(self, line: int | str) -> Value:
        return Value.ACTIVE if self._of(line).active else Value.INACTIVE

    def release(self) -> None:
        for offset in self.offsets:
            self._gpio.lines[offset].consumer = ""
        self._released = True

    def _of(self, line: int | str) -> FakeLine:
        if self._released:
            raise RequestReleasedError
        assert line in self.offsets
        if self._gpio.broken:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return self._gpio.line(line)
