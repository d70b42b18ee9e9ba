"""What a frame is: an array of 8 bits, grey or in colour. Everything else is refused with the way to make it one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import FrameError, UsageError
from spade_edge.runtime.geometry.view import LARGEST_SIDE

BGR, RGB = "bgr", "rgb"  # orders of the channels
EXPECTED = "expected a uint8 array of shape (H, W, 3), BGR unless told otherwise, (H, W) or (H, W, 1) grey"


def checked(frame: object) -> NDArray[np.uint8]:
    """Check a frame and return it as (H, W, 3) or (H, W, 1).

    Raises:
        FrameError: not an array, not uint8, not (H, W), (H, W, 1) or (H, W, 3), empty, or too large.
    """
    if not isinstance(frame, np.ndarray):
        raise FrameError(f"{EXPECTED}, found {_named(frame)}; {_as_array(frame)}")
    fits = frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] in (1, 3))
    found = f"{frame.dtype} of shape {frame.shape}"
    if 0 in frame.shape:
        raise FrameError(f"{EXPECTED}, found an empty frame, {found}; did the camera deliver an image?")
    if frame.dtype != np.uint8 or not fits:
        raise FrameError(f"{EXPECTED}, found {found}; {_remedy(frame)}")
    if max(frame.shape[:2]) > LARGEST_SIDE:
        raise FrameError(f"expected sides of at most {LARGEST_SIDE} pixels, found shape {frame.shape}")
    return frame[:, :, np.newaxis] if frame.ndim == 2 else frame


def check_channels(channels: str) -> None:
    """Refuse an unknown order of the channels.

    Raises:
        UsageError: neither "bgr" nor "rgb".
    """
    if channels not in (BGR, RGB):
        raise UsageError(f"expected channels to be {BGR} or {RGB}, found '{channels}'")


def as_bgr(frame: NDArray[np.uint8], channels: str) -> NDArray[np.uint8]:
    """A frame whose channels have that order, as BGR; a view of the same memory. A grey frame stays as it is.

    Raises:
        FrameError: as for `checked`, if red and blue have to change places.
    """
    if channels == BGR:
        return frame
    checked(frame)
    return frame[:, :, ::-1] if frame.ndim == 3 else frame


def _named(frame: object) -> str:
    """What kind of thing it is, in words."""
    if frame is None:
        return "None"
    if isinstance(frame, (list, tuple)):
        return f"a {type(frame).__name__} of {len(frame)}"
    return f"{type(frame).__module__.split('.')[0]} {type(frame).__name__}".removeprefix("builtins ")


def _as_array(frame: object) -> str:
    """How to make an array of something else."""
    package = type(frame).__module__.split(".")[0]
    if frame is None:
        return "did the camera deliver an image? OpenCV gives None for one that it cannot read"
    if package == "PIL":
        return "convert it with numpy.asarray(frame.convert('RGB')), and score it with channels='rgb'"
    if package == "torch":
        return "convert it with frame.cpu().numpy()"
    if isinstance(frame, (list, tuple)) and frame and isinstance(frame[0], np.ndarray) and frame[0].ndim >= 2:
        return "score several frames with scorer.batch(frames)"
    if isinstance(frame, (list, tuple)):
        return "convert it with numpy.array(frame, 'uint8')"
    if isinstance(frame, (bytes, bytearray, memoryview)):
        return "convert raw pixels with numpy.frombuffer(frame, 'uint8').reshape(height, width, 3), and decode files"
    if hasattr(frame, "__fspath__") or isinstance(frame, str):
        return "read files with spade_edge.open_source(frame)"
    return "convert it with numpy.asarray(frame)"


def _remedy(frame: NDArray[np.generic]) -> str:
    """How to make a frame of an array of another type or shape."""
    code, shape = "frame", frame.shape
    if len(shape) == 4 and shape[0] != 1:
        return "score several frames with scorer.batch(frames)"
    if len(shape) == 4:
        code, shape = "frame[0]", shape[1:]
    if len(shape) == 3 and shape[2] not in (1, 3) and shape[0] in (1, 3, 4) and shape[1] > 4:
        code, shape = f"{code}.transpose(1, 2, 0)", (*shape[1:], shape[0])
    if len(shape) == 3 and shape[2] in (2, 4):
        code, shape = f"{code}[:, :, :{shape[2] - 1}]", (*shape[:2], shape[2] - 1)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        return "give one frame, with its channels last"
    return f"{_depth(frame, code)}; an array from Pillow or torch is RGB: score it with channels='rgb'"


def _depth(frame: NDArray[np.generic], code: str) -> str:
    """How to make 8 bits of an array's numbers, after `code`."""
    if frame.dtype == np.uint8:
        return f"take {code}"
    if frame.dtype == np.bool_:
        return f"take {code}.astype('uint8') * 255"
    if frame.dtype.kind not in "uif":
        return "give whole numbers from 0 to 255"
    low, high = float(frame.min()), float(frame.max())
    if frame.dtype.kind == "f":
        if not 0 <= low <= high:
            return "its numbers are negative or not finite: undo the normalisation, and scale them to 0 to 255"
        if high <= 1:
            return f"take ({code} * 255).round().astype('uint8')"
        if high <= 255:
            return f"take {code}.round().astype('uint8')"
    elif low >= 0 and high <= 255:
        return f"take {code}.astype('uint8')"
    elif low >= 0 and high < 1 << 16:
        bits = next(bits for bits in (10, 12, 14, 16) if high < 1 << bits)
        return (
            f"its largest number is {high:.0f}, so the camera has {bits} bits or more: "
            f"take ({code} >> {bits - 8}).astype('uint8'), with the same number in every frame"
        )
    return "scale its numbers to 0 to 255"
