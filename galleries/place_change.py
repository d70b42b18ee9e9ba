"""Changing where the cells of a bundle are matched, see `gallery_change`."""

from __future__ import annotations

import logging
import os
from datetime import datetime, timezone
from pathlib import Path

from spade_edge.galleries.gallery_change import GalleryChange, change_gallery
from spade_edge.galleries.generation_log import Change
from spade_edge.galleries.progress import Progress
from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.matching.config import parsed_place
from spade_edge.runtime.matching.gallery import CodedGallery

log = logging.getLogger(__name__)


def set_place(
    bundle: str | os.PathLike[str],
    place: str | int,
    *,
    threads: int | None = None,
    progress: Progress = lambda items, label: items,
) -> GalleryChange:
    """Match cells at another place, or at any, without the image files and without extracting features again.

    Scores, baseline, limits and threshold are found anew.

    Args:
        bundle: the bundle folder.
        place: "auto" to choose from the good images; "free" for any place; or a number of cells.
        threads: of all steps but the index; None for one per core.
        progress: wraps the items of each long loop, with its label.

    Raises:
        UsageError: another place, a place for views that share a gallery, or a bundle built with --projection none.
        DataError: the bundle cannot be written.
        BundleError: there is no bundle, or it is damaged.
        DeviceError: hnswlib is not installed.
    """
    wanted = parsed_place(str(place))
    opened = Bundle.open(Path(bundle).resolve())  # a link to a bundle stays a link
    if not isinstance(opened.gallery, CodedGallery):
        raise UsageError(f"{opened.path}: expected a gallery in codes, found one built with --projection none")
    change = change_gallery(
        opened,
        change=Change("place", str(place)),
        place=wanted,
        now=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        threads=threads,
        progress=progress,
    )
    log.info("%s: %s", opened.path, change.manifest.place.reason)
    return change
