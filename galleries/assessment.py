"""The good images assessed: what each scores against the others, which belong together, which look untypical.

A build assesses the images it has read; excluding or including an image assesses those of a bundle anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.leave_one_out import LeaveOneOut, leave_one_out
from spade_edge.galleries.left_out import Former, LeftOut, can_be_kept, changed, leave_out
from spade_edge.galleries.progress import Progress
from spade_edge.galleries.untypical import untypical
from spade_edge.runtime import DataError
from spade_edge.runtime.anomaly_map.stitching import Stitching
from spade_edge.runtime.bundle.good_image import GoodImage
from spade_edge.runtime.matching.matcher import Matcher
from spade_edge.runtime.preprocessing.condition import Limits, OddImage, odd_images
from spade_edge.runtime.preprocessing.frame_format import FrameFormat

FARTHER, UPPER = 4.0, 0.9  # times the upper decile of the good images' distances
UNCERTAIN = 8  # with so many images twice as far, because the decile of a few is uncertain
SAME = 1e-3  # of the descriptors' squared length: good images that are all the same still differ from a frame
LEAST = 1.01  # untypical value of an image whose condition the limits ignore: it is worth a look


@dataclass(frozen=True)
class Assessment:
    """What is known of the good images.

    Attributes:
        images: in the gallery's order.
        limits: of the condition of a frame, from the images that count; selected ones lie within them.
        format: what the included images have in common.
        farthest: the largest `Matcher.unlikeness` of a view of a frame that can be good.
        baseline: (h, w) float32, the anomaly map expected of a good frame; None where scores do not need it.
        left_out: the leave-one-out distances; None where they cannot be kept.
    """

    images: tuple[GoodImage, ...]
    limits: Limits
    format: FrameFormat
    farthest: float
    baseline: NDArray[np.float32] | None
    left_out: LeftOut | None


def assess(
    matcher: Matcher,
    stitching: Stitching,
    images: Sequence[GoodImage],
    *,
    keys: NDArray[np.uint8] | None,
    former: Former | None = None,
    bits: int | None,
    scratch: Path,
    progress: Progress,
) -> Assessment:
    """Score every good image against the other parts that count, and find those that look untypical.

    Args:
        matcher: of the gallery; it matches the included images only.
        stitching: turns distances into an anomaly map.
        images: in the gallery's order; scores, and what is untypical, are found anew.
        keys: (items * cells, D) uint8, the keys of all cells; None without codes.
        former: what is known of the leave-one-out distances; None for nothing.
        bits: that the camera uses of 16.
        scratch: a file that may hold the maps meanwhile; others are written beside it.
        progress: wraps the images still to do, with a label.
    """
    groups = tuple(image.group for image in images)
    conditions = [image.condition for image in images]
    # Images that were selected by their score are matched with, but nothing is learned from them. So whatever is taught
    # in, scores of good frames only become lower, while the threshold stays.
    included = np.array([image.counts for image in images], bool)
    selected = np.array([image.included and image.selected for image in images], bool)
    kept: LeftOut | None = None
    if keys is not None and can_be_kept(matcher.matching):
        if former is None:
            kept = leave_out(matcher, keys, groups=groups, included=included, progress=progress)
        else:
            kept = former.now(matcher, keys, groups=groups, included=included, progress=progress)

    def scored(against: NDArray[np.bool_], place: Path, work: Progress) -> LeaveOneOut:
        known = kept
        if kept is not None and keys is not None and not np.array_equal(against, kept.included):
            known = changed(kept, matcher, keys, groups=groups, included=against, progress=work)
        return leave_one_out(
            matcher,
            stitching,
            groups=groups,
            included=against,
            left_out=known,
            scratch=place,
            progress=work,
        )

    left_out = scored(included, scratch, progress)
    rounds = iter(range(1, len(groups)))
    ranked = untypical(
        left_out,
        groups=groups,
        included=included,
        canvas=stitching.canvas,
        rescored=lambda against: scored(
            against,
            scratch.with_name(f"{scratch.name}{next(rounds)}"),
            lambda items, label: progress(items, "without suspects"),
        ),
    )
    numbers = np.flatnonzero(included).tolist()
    used = [conditions[i] for i in numbers]
    odd = {numbers[one.number]: one for one in odd_images(used)}
    for i in np.flatnonzero(~included).tolist():  # an excluded image is odd if it would be among the others
        for one in odd_images([*used, conditions[i]]):
            if one.number == len(used):
                odd[i] = one
    assessed = []
    for i, image in enumerate(images):
        value, remarks = ranked[i].value, [ranked[i].reason]
        if selected[i]:  # it is untypical, and a person has called it good
            value, remarks = 0.0, []
        elif i in odd:
            value, remarks = max(value, _times(odd[i])), [odd[i].reason, ranked[i].reason]
        assessed.append(
            replace(
                image,
                score=left_out.scores[i],
                map_maximum=left_out.map_maxima[i],
                untypical=value,
                remark="; ".join(filter(None, remarks)),
            )
        )
    usual = included.copy()
    usual[[i for i in odd if included[i]]] = False
    return Assessment(
        images=tuple(assessed),
        limits=limits_of(images),
        format=format_of(images, bits=bits),
        farthest=_farthest(matcher, np.array(groups), usual),
        baseline=left_out.baseline,
        left_out=kept,
    )


def limits_of(images: Sequence[GoodImage]) -> Limits:
    """The limits of the condition of a frame, from the images that count; no selected one is beyond them."""
    selected = [image.condition for image in images if image.included and image.selected]
    return Limits.learned([image.condition for image in images if image.counts]).including(selected)


def format_of(images: Sequence[GoodImage], *, bits: int | None) -> FrameFormat:
    """What the included images have in common.

    Args:
        images: the good images.
        bits: that the camera uses of 16.
    """
    matched = [image for image in images if image.included]
    counted = [image.condition for image in images if image.counts]
    odd = {one.number for one in odd_images(counted)}
    return FrameFormat.of(
        sizes=[image.size for image in matched],
        depths=[image.depth for image in matched],
        colours=[image.condition.colour for image in matched],
        usual=[condition.colour for i, condition in enumerate(counted) if i not in odd],
        bits=bits,
    )


def _farthest(matcher: Matcher, groups: NDArray[np.int_], usual: NDArray[np.bool_]) -> float:
    """How far a frame may be from the nearest good image: a multiple of what nine tenths of the good images keep.

    A tenth is left aside, so that a few odd images do not matter. On four sets, drawn with 3 to 80 images, fewer than 1
    in 10,000 held-back good images was beyond this limit; frames without content were 1.7 times as far or farther.
    """
    count = len(matcher.gallery)
    found = []
    for image in np.flatnonzero(usual):
        allowed = usual & (groups != groups[image])
        if allowed.any():
            own = matcher.gallery.descriptors[image::count]
            found.append(max(matcher.unlikeness(each, view=view, allowed=allowed) for view, each in enumerate(own)))
    length = float(np.square(matcher.gallery.descriptors[:count][usual]).sum(axis=1).mean())
    upper = float(np.quantile(found, UPPER, method="higher")) if found else length
    return max(FARTHER * (1 + UNCERTAIN / max(len(found), 1)) * upper, SAME * length)


def _times(odd: OddImage) -> float:
    """How far an image is from the range of the others, in widths of the limits' margin; over 1 in any case."""
    (low, high), (lowest, highest) = odd.others, odd.limits
    off, margin = (low - odd.value, low - lowest) if odd.value < low else (odd.value - high, highest - high)
    return max(off / margin if margin > 0 else 0.0, LEAST)


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
