"""Where frames come from: files, a watched folder, stdin or a camera. Each is one iterator of shots.

    from spade_edge.tools.sources import open_source

    with open_source("rtsp://192.168.0.20/stream").acquire() as shots:      # reads in a thread of its own
        for shot in shots:
            print(shot.name, shot.fault or shot.frame.shape, shot.dropped)

A camera of your own needs two methods, `read` and `close`, see `Camera`:

    for shot in open_source(MyCamera()):
        ...
"""

from __future__ import annotations

from spade_edge.tools.sources.cameras.camera import Camera, Grab
from spade_edge.tools.sources.options import SourceOptions
from spade_edge.tools.sources.shot import Shot
from spade_edge.tools.sources.source import Source, open_source

__all__ = ["Camera", "Grab", "Shot", "Source", "SourceOptions", "open_source"]
