"""What else a change of the gallery means."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spade_edge.galleries.gallery_change import GalleryChange


def print_remarks(change: GalleryChange) -> None:
    """Print it on stderr."""
    former = f"the former bundle is kept: {change.former} is its manifest"
    print(f"{former}; 'spade-edge gallery undo' goes back", file=sys.stderr)
    if change.before.frames and not change.manifest.frames:
        print(
            "the held-back frames were scored with the former images and are no evidence any more: "
            "run 'spade-edge calibrate' again",
            file=sys.stderr,
        )
    if change.before.alignment is not None and change.manifest.alignment is None:
        print("these images do not show clearly where the part lies: frames are not aligned any more", file=sys.stderr)
    if caution := change.manifest.threshold.caution():
        print(caution, file=sys.stderr)
