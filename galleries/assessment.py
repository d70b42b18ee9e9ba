"""The good images assessed: what each scores against the others, which belong together, which look untypical.

A build assesses the images it has read; excluding or including an image assesses those of a bundle anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.leave_one_out import leave_one_out
from spade_edge.galleries.progress import Progress
from spade_edge.runtime import DataError
from spade_edge.runtime.anomaly_map.stitching import Stitching
from spade_edge.runtime.bundle.good_image import Exclusion, GoodImage
from spade_edge.runtime.matching.matcher import Matcher


def assess(
    matcher: Matcher,
    stitching: Stitching,
    *,
    groups: tuple[int, ...],
    exclusions: Sequence[Exclusion | None],
    scratch: Path,
    progress: Progress,
) -> tuple[tuple[GoodImage, ...], NDArray[np.float32] | None]:
    """Score every good image against the other parts, and find those that look untypical.

    Args:
        matcher: of the gallery; it matches the included images only.
        stitching: turns distances into an anomaly map.
        groups: for each image, the number of the part that it shows.
        exclusions: for each image, why it is excluded; None if it is included.
        scratch: a file that may hold the maps meanwhile.
        progress: wraps the images still to do, with a label.

    Returns:
        the images, and the baseline, (h, w) float32; None where scores do not need it.
    """
    included = np.array([exclusion is None for exclusion in exclusions], bool)
    left_out = leave_one_out(matcher, stitching, groups=groups, included=included, scratch=scratch, progress=progress)
    images = tuple(
        GoodImage(
            name=name,
            group=groups[i],
            score=left_out.scores[i],
            map_maximum=left_out.map_maxima[i],
            untypical=0.0,
            remark="",
            exclusion=exclusions[i],
        )
        for i, name in enumerate(matcher.gallery.names)
    )
    return images, left_out.baseline


def check_parts(folder: Path, groups: tuple[int, ...], included: NDArray[np.bool_]) -> int:
    """Count the parts of which an image is included, and refuse fewer than two.

    Raises:
        DataError: there are not enough.
    """
    parts = len({group for group, kept in zip(groups, included, strict=True) if kept})
    if parts < 2:
        raise DataError(
            f"{folder}: expected good images of at least 2 different parts, found {int(included.sum())} of {parts}: "
            "for the threshold each part is scored against the others; see --groups and --exclude"
        )
    return parts
