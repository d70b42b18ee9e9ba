"""Excluding good images from a bundle and including them again, see `gallery_change`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from spade_edge.galleries.assessment import check_parts
from spade_edge.galleries.free_text import storable
from spade_edge.galleries.gallery_change import GalleryChange, change_gallery
from spade_edge.galleries.generation_log import Change
from spade_edge.galleries.images.folder import as_text
from spade_edge.galleries.progress import Progress
from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.good_image import Exclusion
from spade_edge.runtime.bundle.manifest import Manifest

log = logging.getLogger(__name__)


def exclude(
    bundle: str | os.PathLike[str],
    names: Iterable[str],
    *,
    reason: str,
    threads: int | None = None,
    progress: Progress = lambda items, label: items,
) -> GalleryChange:
    """Exclude good images: no frame is matched with them any more, and they are no evidence for the threshold.

    Args:
        bundle: the bundle folder.
        names: of the images, as `manifest.json` and `spade-edge gallery list` have them.
        reason: why. It is required and kept with the image.
        threads: of all steps but the index; None for one per core.
        progress: wraps the items of each long loop, with its label.

    Raises:
        UsageError: no name, no reason, a name that is not in the bundle, or an image that is excluded already.
        DataError: fewer than two parts would be left, or the bundle cannot be written.
        BundleError: there is no bundle, or it is damaged.
        DeviceError: hnswlib is not installed.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    if not reason.strip():
        raise UsageError("expected a reason for the exclusion, found none; give --reason TEXT, which is kept with it")
    exclusion = Exclusion(reason=storable(as_text(reason)), set=now)
    return _change(Path(bundle), tuple(names), exclusion, now=now, threads=threads, progress=progress)


def include(
    bundle: str | os.PathLike[str],
    names: Iterable[str],
    *,
    threads: int | None = None,
    progress: Progress = lambda items, label: items,
) -> GalleryChange:
    """Include images again that were excluded; see `exclude` for arguments and errors."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return _change(Path(bundle), tuple(names), None, now=now, threads=threads, progress=progress)


def _change(
    bundle: Path,
    names: tuple[str, ...],
    exclusion: Exclusion | None,
    *,
    now: str,
    threads: int | None,
    progress: Progress,
) -> GalleryChange:
    bundle = bundle.resolve()  # a link to a bundle stays a link
    opened = Bundle.open(bundle)
    before = opened.manifest
    chosen = _chosen(bundle, before, names, exclude=exclusion is not None)
    images = [replace(image, exclusion=exclusion) if i in chosen else image for i, image in enumerate(before.images)]
    check_parts(bundle, tuple(image.group for image in images), np.array([image.counts for image in images], bool))
    reason = "" if exclusion is None else exclusion.reason
    changed = tuple(before.names[i] for i in sorted(chosen))
    change = change_gallery(
        opened,
        images=images,
        change=Change("include" if exclusion is None else "exclude", reason, changed),
        now=now,
        threads=threads,
        progress=progress,
    )
    log.info("%s %d images of %s", "excluded" if exclusion else "included", len(chosen), bundle)
    return change


def _chosen(bundle: Path, manifest: Manifest, names: tuple[str, ...], *, exclude: bool) -> set[int]:
    """Numbers of the images to change.

    Raises:
        UsageError: see `exclude`.
    """
    if not names:
        raise UsageError("expected the names of good images, found none; 'spade-edge gallery list' shows them")
    place = {name: number for number, name in enumerate(manifest.names)}
    unknown = [name for name in names if name not in place]
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise UsageError(
            f"{bundle}: expected the name of a good image, found {unknown[0]!r}{more}; "
            "'spade-edge gallery list' shows them"
        )
    wrong = [name for name in names if manifest.images[place[name]].included != exclude]
    if wrong:
        found, wanted = ("excluded", "included") if exclude else ("included", "excluded")
        raise UsageError(f"{bundle}: expected an image that is {wanted}, found {wrong[0]!r}, which is {found} already")
    return {place[name] for name in names}
