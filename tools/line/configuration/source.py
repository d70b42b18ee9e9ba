"""Opens the source that a camera's table describes."""

from __future__ import annotations

from dataclasses import replace

from spade_edge.tools.line.configuration.options import CameraOptions
from spade_edge.tools.sources import Source, SourceOptions, open_source
from spade_edge.tools.sources.cameras import network, opencv_camera
from spade_edge.tools.sources.source import GENICAM, WATCH


def open_camera(camera: CameraOptions, *, reopen: float, stall: float | None = None) -> Source:
    """The source of a camera.

    Args:
        camera: its table.
        reopen: how often a camera or watched folder that has stopped is opened again; math.inf for ever.
        stall: seconds after which it is told that a camera or watched folder is silent; None as usual.

    Raises:
        SpadeError: as for `spade_edge.tools.sources.open_source`.
    """
    options = SourceOptions(
        frozen=camera.frozen,
        linescan=camera.linescan,
        line_overlap=camera.line_overlap,
        bits=camera.bits,
        channels=camera.channels,
    )
    if goes_on(camera.source):
        options = replace(options, reopen=reopen, stall=stall)
    return open_source(camera.source, options=options)


def goes_on(source: str) -> bool:
    """Whether a source is a camera or a watched folder, and not files or stdin."""
    if source.startswith((WATCH, GENICAM)):
        return True
    return opencv_camera.is_camera(source) or network.is_network_address(source)
