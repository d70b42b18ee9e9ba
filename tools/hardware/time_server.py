"""Whether a time server sets the clock of this machine, as the kernel knows it."""

from __future__ import annotations

import ctypes
import struct
import sys

SIZE = 512  # bytes; struct timex of the kernel has 208
MAXIMUM_ERROR = 24  # offset of `maxerror` on 64-bit systems, in bytes
UNSET = 16_000_000  # microseconds that the maximum error grows to if nobody sets the clock


def clock_is_set() -> bool | None:
    """What adjtimex(2) says, without changing anything; None where it cannot be asked.

    Programs that set the clock keep the maximum error small (systemd's timedatectl decides by the same limit).
    """
    if not sys.platform.startswith("linux") or sys.maxsize < 2**32:
        return None
    kernel = getattr(ctypes.CDLL(None), "adjtimex", None)
    if kernel is None:
        return None
    answer = ctypes.create_string_buffer(SIZE)  # all zero: change nothing
    if kernel(answer) < 0:
        return None
    (error,) = struct.unpack_from("=q", answer.raw, MAXIMUM_ERROR)
    return bool(error < UNSET)
