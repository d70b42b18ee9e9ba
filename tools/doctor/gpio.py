"""GPIO chips: whether the device is there and may be opened, and whether its lines are free.

The two requests to the kernel are those of include/uapi/linux/gpio.h; they need no library and change nothing.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

from spade_edge.tools.doctor.device import may_open
from spade_edge.tools.doctor.finding import OK, PROBLEM, Finding

CHIP_INFO = 0x8044B401  # GPIO_GET_CHIPINFO_IOCTL
CHIP = struct.Struct("=32s32sI")  # name, label, number of lines
LINE_INFO = 0xC100B405  # GPIO_V2_GET_LINEINFO_IOCTL
LINE = struct.Struct("=32s32sIIQ160s16s")  # name, consumer, offset, attributes, flags, the attributes, padding
USED = 1  # flag of a line that a program or driver has


def chip(kind: str, name: str, path: Path, lines: tuple[int, ...]) -> list[Finding]:
    """Whether lines of a chip can be driven."""
    import fcntl  # only on Linux and its like

    if refused := may_open(kind, name, path, group="gpio", lists="gpiodetect"):
        return [refused]
    if not stat.S_ISCHR(path.stat().st_mode):
        return [Finding(kind, name, PROBLEM, f"{path} is no device", "write one that gpiodetect shows")]
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _, label, count = CHIP.unpack(fcntl.ioctl(descriptor, CHIP_INFO, bytes(CHIP.size)))
        for line in lines:
            if line >= count:
                found = f"{path} has lines 0 to {count - 1}, and no line {line}"
                return [Finding(kind, name, PROBLEM, found, f"write one that 'gpioinfo {path}' shows")]
            asked = LINE.pack(b"", b"", line, 0, 0, b"", b"")
            _, consumer, _, _, flags, _, _ = LINE.unpack(fcntl.ioctl(descriptor, LINE_INFO, asked))
            if flags & USED:
                found = f"line {line} of {path} belongs to {_name(consumer) or 'another program'}"
                return [Finding(kind, name, PROBLEM, found, "is the line running already? Else choose another one")]
    except OSError as problem:
        found = f"{path} does not answer as a GPIO chip: {(problem.strerror or str(problem)).lower()}"
        return [Finding(kind, name, PROBLEM, found, "write one that gpiodetect shows")]
    finally:
        os.close(descriptor)
    listed = " and ".join(map(str, lines))
    return [Finding(kind, name, OK, f"{path} {_name(label)}, line{'s' if len(lines) > 1 else ''} {listed} free")]


def _name(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode(errors="replace")
