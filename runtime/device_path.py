"""A frame's way where the network runs: it goes there as it is, and distances come back.

preprocessing/device_preprocessor.py    frame, uint8 → views, on the device; a copy comes back to the host, which looks
                                        at light, focus and where the part lies
network/session.py                      views → features, which stay on the device
matching/device_matcher.py              features → distances and winners, which come back
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import DeviceError, UsageError
from spade_edge.runtime.geometry.layout import Canvas
from spade_edge.runtime.kernels.device_kernel import Value
from spade_edge.runtime.kernels.ort import onnxruntime
from spade_edge.runtime.matching.device_matcher import DeviceMatcher, DeviceMatches
from spade_edge.runtime.matching.matcher import Matcher
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN, Network
from spade_edge.runtime.network.provider import CPU, CUDA
from spade_edge.runtime.network.quiet import quiet
from spade_edge.runtime.network.resident import ResidentPyramids
from spade_edge.runtime.network.session import Session
from spade_edge.runtime.preprocessing.device_preprocessor import DevicePreprocessor
from spade_edge.runtime.preprocessing.mask import Mask

AUTO, DEVICE = "auto", "device"  # where cells are matched, beside CPU
CHOICES = (AUTO, CPU, DEVICE)


class DevicePath:
    """Views, features and distances of frames on the device of a session.

    Use `DevicePath.open`.

    Args:
        session: the network.
        matcher: matches its features.
        preprocessor: resamples frames there; None where they are resampled on the host.
    """

    def __init__(self, session: Session, matcher: DeviceMatcher, preprocessor: DevicePreprocessor | None) -> None:
        self.session = session
        self.matcher = matcher
        self._preprocessor = preprocessor

    @classmethod
    def open(
        cls, session: Network, matcher: Matcher, *, canvas: Canvas, mask: Mask | None, threads: int | None
    ) -> DevicePath:
        """Bring the gallery to the device that runs the network.

        Args:
            session: the network.
            matcher: what to match with, and how.
            canvas: the views of a frame.
            mask: the pixels of a frame that are ignored; None for none.
            threads: threads for what runs on the CPU; None for one per core.

        Raises:
            UsageError: this network, or matching of this kind, cannot be used there.
            DeviceError: the gallery does not fit there, or the device fails.
        """
        if not isinstance(session, Session):
            raise UsageError(
                "expected a session of onnxruntime to match where the network runs, found a network of another kind; "
                "use match='cpu'"
            )
        gallery, searches = matcher.device_searches()
        version, placement = str(onnxruntime().__version__), session.placement
        with quiet() if session.device == CUDA else nullcontext():
            levels = session.resident(np.zeros((1, *canvas.view.size, 3), np.float32)).levels
            matching = DeviceMatcher(
                gallery,
                matcher.matching,
                searches,
                placement=placement,
                onnxruntime=version,
                threads=threads,
                fixed=None if session.takes_values else levels,
            )
            matching.prove(levels)
        preprocessor = None
        if session.takes_values:
            beside = placement.beside(onnxruntime=version)
            preprocessor = DevicePreprocessor(canvas, mask=mask, **beside, threads=threads)
        return cls(session, matching, preprocessor)

    @property
    def views_per_run(self) -> int:
        """Largest number of views that the network takes at once; of a CUDA graph, which has one shape, 1."""
        return VIEWS_PER_RUN if self.session.takes_values else 1

    def views(self, frame: NDArray[np.uint8]) -> tuple[Value, NDArray[np.float32]] | None:
        """The views of a frame on the device, and a copy of them on the host.

        Returns:
            None if the frame has more views than one run of the network takes, or the network takes none from there.

        Raises:
            FrameError: as `Preprocessor.__call__`.
            DeviceError: the device fails.
        """
        if self._preprocessor is None or len(self._preprocessor.canvas.boxes) > VIEWS_PER_RUN:
            return None
        views = self._preprocessor(frame)
        return views, np.array(views.numpy())

    def match(self, pyramids: ResidentPyramids, views: Sequence[int]) -> list[DeviceMatches]:
        """Match the features of some views.

        Args:
            pyramids: their features.
            views: number of each in the layout.

        Raises:
            ModelError: a feature is not finite.
            DeviceError: the device fails.
        """
        return self.matcher.match(pyramids.levels, count=len(pyramids), views=views)


def device_path(
    match: str, session: Network, matcher: Matcher, *, canvas: Canvas, mask: Mask | None, threads: int | None
) -> tuple[DevicePath | None, str]:
    """The way on the device, as asked for, or None for matching on the CPU, and the reason if "auto" has to do without.

    Args:
        match: "auto", on a GPU if the network runs there, and matching can; "cpu"; or "device", where the network runs.
        session: the network.
        matcher: what to match with, and how.
        canvas: the views of a frame.
        mask: the pixels of a frame that are ignored; None for none.
        threads: threads for what runs on the CPU; None for one per core.

    Raises:
        UsageError: another `match`, or "device" with a network or matching that cannot be used there.
        DeviceError: "device", and the gallery does not fit there, or the device fails.
    """
    if match not in CHOICES:
        raise UsageError(f"expected match to be {', '.join(CHOICES)}, found {match!r}")
    on_gpu = isinstance(session, Session) and session.device == CUDA
    if match == CPU or (match == AUTO and not on_gpu):
        return None, ""
    try:
        return DevicePath.open(session, matcher, canvas=canvas, mask=mask, threads=threads), ""
    except (UsageError, DeviceError) as problem:
        if match == DEVICE:
            raise
        return None, str(problem)
