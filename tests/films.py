"""Small rendered videos, whole and damaged. PyAV encodes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FRAMES, SIZE = 26, (64, 96)  # height, width
PACKET, DATAGRAM = 188, 7 * 188  # bytes of MPEG-TS
FAST = {"preset": "ultrafast"}


def picture(number: int) -> NDArray[np.uint8]:
    """A texture that moves, under noise that differs from frame to frame, with a grey value that tells the number."""
    height, width = SIZE
    texture = cv2.GaussianBlur(np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8), (0, 0), 1.5)
    moved = np.roll(texture, 3 * number, axis=1).astype(np.int16)
    moved += np.random.default_rng(number).integers(-6, 7, moved.shape, np.int16)
    moved[:12, :] = 8 * number + 20
    return np.clip(moved, 0, 255).astype(np.uint8)


def film(
    path: Path,
    codec: str,
    *,
    frames: int = FRAMES,
    gop: int = 8,
    between: int = 0,
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    stamps: Sequence[int] | None = None,
    container: dict[str, str] | None = None,
    draw: Callable[[int], NDArray[np.uint8]] = picture,
) -> Path:
    """Encode a video: a key frame every `gop` frames, up to `between` frames in between that are predicted from both
    sides. `stamps` are the times of the frames in milliseconds; evenly 25 a second by default.
    """
    import av

    with av.open(str(path), "w", options=container or {}) as file:
        stream: Any = file.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = SIZE
        stream.pix_fmt = pixels
        stream.bit_rate = 1_500_000
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, between
        if stamps is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(draw(number), format="bgr24")
            if stamps is not None:
                frame.pts, frame.time_base = stamps[number], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def without_datagrams(path: Path, lost: Sequence[int]) -> Path:
    """A copy of an MPEG-TS in which datagrams of 7 packets are missing."""
    raw = path.read_bytes()
    parts = [raw[start : start + DATAGRAM] for start in range(0, len(raw), DATAGRAM)]
    damaged = path.with_name(f"damaged-{path.name}")
    damaged.write_bytes(b"".join(part for number, part in enumerate(parts) if number not in lost))
    return damaged


def packets(path: Path) -> list[tuple[int, int]]:
    """Where the data of each frame begin in a file, and how many bytes they are."""
    import av

    with av.open(str(path)) as file:
        return [(packet.pos or 0, packet.size) for packet in file.demux(video=0) if packet.size]


def cut_to_a_fifth(path: Path, numbers: Sequence[int]) -> Path:
    """A copy in which the data of some frames are zeros behind their first fifth."""
    raw = bytearray(path.read_bytes())
    places = packets(path)
    for number in numbers:
        start, size = places[number]
        at = raw.index(b"\xff\xd8", start)
        raw[at + size // 5 : at + size - 8] = bytes(size - 8 - size // 5)
    damaged = path.with_name(f"damaged-{path.name}")
    damaged.write_bytes(raw)
    return damaged
