"""Where frames come from: files, a watched folder, stdin or a camera, as one iterator of shots.

    from spade_edge.tools.sources import open_source

    with open_source("rtsp://192.168.0.20/stream").acquire() as shots:      # read in a thread of its own
        for shot in shots:
            print(shot.name, shot.fault or shot.frame.shape, shot.dropped)

A camera of another kind needs an object with `read` and `close`, see `spade_edge.tools.sources.cameras.device`.
"""

from __future__ import annotations

from spade_edge.tools.sources.options import Options
from spade_edge.tools.sources.shot import Shot
from spade_edge.tools.sources.source import Source, open_source

__all__ = ["Options", "Shot", "Source", "open_source"]
