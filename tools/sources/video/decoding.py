"""Videos and network streams through PyAV, which tells more about damage than OpenCV. No other module imports av.

What is known of a frame:

    packet.is_corrupt            the container misses a part: a counter of MPEG-TS jumps, a file ends within a packet
    an exception of decode()     the decoder could not use the packet
    frame.is_corrupt             the decoder has filled in something (H.264, MPEG-1, -2 and -4)
    a frame without a packet     the decoder has invented one for a number that is missing (H.264)
    zeros in a packet            a part that was never written (H.264, H.265)
    a line of the decoder's log  all that other decoders tell: checksums (FFV1), missing references (H.265)

`Prediction` draws the conclusions for the frames that are built on it.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import DataError
from spade_edge.tools.sources.video.motion_jpeg import frame_of
from spade_edge.tools.sources.video.nal_units import has_impossible_zeros, length_bytes
from spade_edge.tools.sources.video.prediction import DAMAGED, Prediction

if TYPE_CHECKING:
    import av

MARKING = {"h264", "mpeg1video", "mpeg2video", "mpeg4", "h263", "flv"}  # codecs whose decoders mark damaged frames
UNITS = {"h264", "hevc"}  # codecs of NAL units
SLOTS = {"avi"}  # containers in which each frame has its slot
SINGLE = (
    "image2",
    "jpeg_pipe",
    "png_pipe",
    "webp_pipe",
    "bmp_pipe",
    "gif_pipe",
    "tiff_pipe",
    "svg_pipe",
    "jpegls_pipe",
)


class OpeningError(Exception):
    """PyAV cannot open it; the text says why, without the address.

    Attributes:
        status: of a server that refuses, such as 401; None if it is another reason.
    """

    def __init__(self, why: str, *, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


class ReadingError(Exception):
    """Reading ended by an error, and not by the end; the text says why, without the address."""


class DecodedVideo:
    """The frames of a video file or stream, in the order of display.

    Args:
        target: a path or an address.
        timeouts: seconds to open it, and to read a packet; None waits without end.
        options: of FFmpeg's format.
        live: whether it is a stream that was joined while it runs: frames before its first key frame are left out.

    Raises:
        ModuleNotFoundError: PyAV is not installed.
        OpeningError: it cannot be opened, or has no frames.
    """

    def __init__(
        self,
        target: str,
        *,
        timeouts: tuple[float, float] | None = None,
        options: Mapping[str, str] | None = None,
        live: bool = False,
    ) -> None:
        import av

        try:
            self.container = av.open(target, timeout=timeouts, options=dict(options or {}), metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as problem:
            raise OpeningError(_reason(problem), status=_status(problem)) from None
        self.live = live
        self.format = str(self.container.format.name)
        self.single = self.format in SINGLE
        if not self.container.streams.video:
            self.container.close()
            raise OpeningError("no video in it")
        self.stream = self.container.streams.video[0]
        self.codec = str(self.stream.codec_context.name)
        if self.codec != "mjpeg":
            decoder = self.stream.codec_context
            decoder.copy_opaque = True  # each frame bears the number of its packet
            self.lengths = length_bytes(self.codec, decoder.extradata) if self.codec in UNITS else 0
            decoder.thread_count = 1  # several return frames late and errors at the wrong packet, or mark no damage

    def __iter__(self) -> Iterator[NDArray[np.uint8] | str]:
        """Every frame, (H, W, 3) uint8 BGR, or the fault of one that is not whole.

        Raises:
            ReadingError: an error ended it.
        """
        prediction: Prediction[Any] = Prediction(slots=self.format in SLOTS)
        begun = not self.live
        for packet in self._packets():
            if self.codec != "mjpeg":
                self._take(packet, prediction)
            elif packet is not None:
                self._take_jpeg(packet, prediction)
            if packet is None:
                prediction.end()
            for found in prediction.ready():
                begun = begun or not isinstance(found, str)
                if begun:
                    yield found if isinstance(found, (str, np.ndarray)) else _pixels(found)

    def close(self) -> None:
        """Close it; may be called twice."""
        self.container.close()

    def _packets(self) -> Iterator[av.Packet | None]:
        """The packets with data, and None at the end.

        Raises:
            ReadingError: as for `__iter__`.
        """
        import av

        try:
            for packet in self.container.demux(self.stream):
                if packet.size:
                    yield packet
        except av.EOFError:
            pass
        except (av.FFmpegError, OSError, ValueError) as problem:
            raise ReadingError(_reason(problem)) from None
        yield None

    def _take(self, packet: av.Packet | None, prediction: Prediction[Any]) -> None:
        """Decode a packet; None brings out the frames that the decoder has kept back."""
        import av

        decoder = self.stream.codec_context
        if packet is not None:
            number = prediction.send(packet.pts, entry=packet.is_keyframe, damaged=packet.is_corrupt)
            if self.codec in UNITS and has_impossible_zeros(bytes(packet), self.lengths):
                prediction.fail()
            packet.opaque = [number]  # a new object each time: PyAV finds it again by its address
        frames: list[av.VideoFrame] = []
        listening: AbstractContextManager[list[Any]] = nullcontext([]) if self.codec in MARKING else _complaints()
        with listening as complaints:
            try:
                frames = decoder.decode(packet)
            except av.EOFError:
                pass
            except (av.FFmpegError, ValueError):
                prediction.fail()
        if complaints:
            prediction.fail()
        for frame in frames:
            prediction.come(
                frame,
                number=frame.opaque[0] if frame.opaque else None,
                stamp=frame.pts,
                key=bool(frame.key_frame),
                fault=DAMAGED if frame.is_corrupt else "",
            )

    def _take_jpeg(self, packet: av.Packet, prediction: Prediction[Any]) -> None:
        number = prediction.send(packet.pts, entry=True, damaged=packet.is_corrupt)
        frame, fault = None, ""
        try:
            frame = frame_of(bytes(packet), height=self.stream.codec_context.height)
        except DataError as problem:
            fault = str(problem)
        prediction.come(frame, number=number, stamp=packet.pts, key=True, fault=fault)


def is_installed() -> bool:
    """Whether PyAV can be imported."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def _complaints() -> Iterator[list[Any]]:
    """Collect the errors that a decoder logs in this thread. They are never printed."""
    from av import logging as log

    quiet = logging.getLogger("libav")
    quiet.propagate = False
    if not quiet.handlers:
        quiet.addHandler(logging.NullHandler())
    before = log.get_level()
    log.set_level(log.ERROR)
    try:
        with log.Capture() as complaints:
            yield complaints
    finally:
        log.set_level(before)


def _pixels(frame: av.VideoFrame) -> NDArray[np.uint8] | str:
    """A decoded frame as (H, W, 3) uint8 BGR, turned as the file says; a fault if it cannot be converted.

    The conversion is OpenCV's: range and matrix as the stream states them, colour upscaled with bicubic weights.
    """
    import av

    try:
        pixels = frame.reformat(format="bgr24", interpolation="BICUBIC").to_ndarray()
    except (av.FFmpegError, ValueError) as problem:
        return f"expected a frame that can be converted to 8-bit colour, found {frame.format.name}: {_reason(problem)}"
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            return _turned(pixels, np.frombuffer(bytes(data), np.int32)[[0, 1, 3, 4]])
    return pixels


def _turned(pixels: NDArray[np.uint8], matrix: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Apply a display matrix: a position (x, y) is shown at (a x + c y, b x + d y). Only whole quarters are turned."""
    a, b, c, d = (int(number) for number in matrix)
    if a == d == 0:
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _reason(problem: Exception) -> str:
    """Why FFmpeg failed, in a few words; its own text repeats the address with its password."""
    import av

    if isinstance(problem, av.error.ExitError):
        return "no answer in time"
    if isinstance(problem, av.error.InvalidDataError):
        return "nothing in it that can be read as video"
    if getattr(problem, "errno", None) == errno.EIO:
        return "the connection was closed"
    return str(getattr(problem, "strerror", None) or type(problem).__name__)


def _status(problem: Exception) -> int | None:
    """The status with which a server has refused."""
    import av

    refusals = {
        av.error.HTTPBadRequestError: 400,
        av.error.HTTPUnauthorizedError: 401,
        av.error.HTTPForbiddenError: 403,
        av.error.HTTPNotFoundError: 404,
    }
    return refusals.get(type(problem))
