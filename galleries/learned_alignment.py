"""Where parts lie in the good images, and whether they have a place at all.

The good images are laid over each other until their mean does not change much: each is registered against the mean of
all, and the mean is made anew from what was found. Then each part is registered against the mean of the others. A part
has a place if nearly every good image resembles the others clearly more at one place than at every other: textures,
periodic patterns, parts that lie in all directions and mixed products do not.

Everything is learned from the thumbnails, which a bundle holds anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.staging import Staging
from spade_edge.runtime.geometry.layout import Canvas
from spade_edge.runtime.geometry.motion import Motion, pixel_centres
from spade_edge.runtime.kernels.sampling import BILINEAR, EDGE, Sampler
from spade_edge.runtime.matching.config import FROM_MAP, Matching
from spade_edge.runtime.preprocessing.alignment import Alignment, Ends, summary
from spade_edge.runtime.preprocessing.condition import APART, FEW, LEAST_APART, usual_range
from spade_edge.runtime.preprocessing.frame_format import Size
from spade_edge.runtime.preprocessing.registration import Registered, Registration, Relief

AUTO, OFF = "auto", "off"
LEAST_IMAGES = 5  # of different parts: fewer do not tell how far parts wander
MOST_IMAGES = 200  # evenly spaced; more would only take longer
ROUNDS = 3  # of registering and averaging
LIKENESS, LEAD = 0.5, 0.05  # of a good image that has a place
NEARLY_ALL = 0.9  # of the good images must have one
ALIKE = 1.02  # ratio of the largest aspect to the smallest at which a turn is the same in all images

MOST_SHIFT, MOST_ANGLE = 0.1, 10.0  # fraction of the view, degrees: what can be brought back
MARGIN_SHIFT, MARGIN_ANGLE = 0.005, 0.5  # around the good parts: twice what the registration is uncertain by
UNLIKE = 0.5  # of what good images lack of a likeness of 1: so much less likeness may a frame have
LEAST_UNLIKE, LEAST_LIKENESS = 0.1, 0.4
LEAD_KEPT = 0.5  # of the good images' lead, as a frame whose part is out of sight in part has less


@dataclass(frozen=True)
class LearnedAlignment:
    """What is known of where parts lie.

    Attributes:
        alignment: where good parts lie; None if frames are not aligned.
        reference: (rows, columns, 3) float32 BGR, the mean of the good parts in their middle place; None likewise.
        remark: one line that says what was found, or why frames are not aligned.
    """

    alignment: Alignment | None
    reference: NDArray[np.float32] | None
    remark: str


def learn_alignment(
    stage: Staging,
    thumbnails: NDArray[np.uint8],
    *,
    align: str,
    matching: Matching,
    canvas: Canvas,
    included: NDArray[np.bool_],
    groups: Sequence[int],
    sizes: Sequence[Size],
) -> LearnedAlignment:
    """Learn where parts lie from the good images. The mean of the good parts becomes a file of the bundle.

    Args:
        stage: the bundle.
        thumbnails: (views * N, rows, columns, 3) uint8 BGR, of every view of the good images.
        align: AUTO, or OFF to learn nothing.
        matching: how frames are matched.
        canvas: the views.
        included: (N,) bool, the images to learn from.
        groups: for each image, the number of the part that it shows.
        sizes: of each image, (height, width).
    """
    if align == OFF:
        return LearnedAlignment(None, None, "")
    if reason := _never(canvas, matching):
        return _not(reason)
    kept = np.flatnonzero(included)
    extents = [canvas.extent(sizes[i]) for i in kept.tolist()]
    aspects = [width / height for _, _, width, height in extents]
    if max(aspects) > ALIKE * min(aspects):
        return _not("the good images have different shapes")
    parts = np.array(groups)[kept]
    if len(np.unique(parts)) < LEAST_IMAGES:
        return _not(f"fewer than {LEAST_IMAGES} different parts do not tell how far parts wander")
    some = np.unique(np.linspace(0, len(kept) - 1, min(len(kept), MOST_IMAGES)).round().astype(int))
    pictures = np.asarray(thumbnails[kept[some]], np.float32)
    reason = ""
    for turns in (True, False):
        stack = _Stack(pictures, parts[some], aspect=float(np.median(aspects)), turns=turns)
        alignment, why = _learned(stack)
        if alignment is not None:
            stage.add_array("reference", stack.reference)
            return LearnedAlignment(alignment, stack.reference, summary(alignment, extents[0]))
        reason = why
    return _not(reason)


def _never(canvas: Canvas, matching: Matching) -> str:
    """Why the frames of a bundle are not aligned, whatever the good images show; empty if they may be."""
    if canvas.layout.masked:
        return "a mask stays where it is, while the part under it would move"
    if canvas.layout.boxes:
        return "regions and tiles stay where they are; only a view of the whole frame is aligned"
    if canvas.view.cropped or matching.image_score != FROM_MAP:
        return "the paper's method judges frames as they are"
    return ""


def _not(reason: str) -> LearnedAlignment:
    return LearnedAlignment(None, None, f"frames are not aligned: {reason}")


class _Stack:
    """Good images laid over each other.

    Attributes:
        reference: (rows, columns, 3) float32, their mean.
        found: for each image, where it lies against the mean of the other parts.
        rivals: for each image, its likeness at the best other place.
    """

    def __init__(self, pictures: NDArray[np.float32], parts: NDArray[np.int_], *, aspect: float, turns: bool) -> None:
        self.aspect, self.turns = aspect, turns
        self._pictures = pictures
        self._relief = Relief((pictures.shape[1], pictures.shape[2]))
        self._sampler = Sampler(mode=BILINEAR, beyond=EDGE)
        self._centres = pixel_centres((pictures.shape[1], pictures.shape[2]))
        self._reliefs = [self._relief(picture) for picture in pictures]
        self.reference = pictures[self._most_central()]
        for _ in range(ROUNDS):
            registration = self._registration(self.reference)
            self.found = [registration(relief) for relief in self._reliefs]
            laid = self._laid()
            self.reference = np.asarray(laid.mean(axis=0), np.float32)
        self.found, self.rivals = self._against_others(laid, parts)

    def _most_central(self) -> int:
        flat = np.stack([relief.ravel() for relief in self._reliefs])
        flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
        return int(np.median(flat @ flat.T, axis=1).argmax())

    def _registration(self, reference: NDArray[np.float32]) -> Registration:
        return Registration(self._relief(reference), aspect=self.aspect, turns=self.turns)

    def _laid(self) -> NDArray[np.float32]:
        """The images brought to their middle place; those that resemble the mean least stay out."""
        likeness = np.array([one.likeness for one in self.found])
        near = [max(abs(one.motion.right), abs(one.motion.down)) <= MOST_SHIFT for one in self.found]
        usable = (likeness >= 0.7 * np.median(likeness)) & np.array(near)
        self._laid_over = np.flatnonzero(usable) if usable.any() else np.arange(len(likeness))
        values = np.array([[m.right, m.down, m.angle] for m in (self.found[i].motion for i in self._laid_over)])
        laid = []
        for image, value in zip(self._laid_over.tolist(), values - np.median(values, axis=0), strict=True):
            right, down, angle = map(float, value)
            points = Motion(right=right, down=down, angle=angle).moved(*self._centres, self.aspect)
            laid.append(self._sampler(self._pictures[image], *points))
        return np.stack(laid)

    def _against_others(
        self, laid: NDArray[np.float32], parts: NDArray[np.int_]
    ) -> tuple[list[Registered], list[float]]:
        """Where each image lies against the mean of the other parts; a mean resembles each of its own images."""
        total = laid.sum(axis=0, dtype=np.float64)
        found, rivals = list(self.found), [1.0] * len(self.found)
        for part in np.unique(parts).tolist():
            own = parts[self._laid_over] == part
            others = len(laid) - int(own.sum())
            if not others:
                continue
            mean = (total - laid[own].sum(axis=0, dtype=np.float64)) / others
            registration = self._registration(mean.astype(np.float32))
            for image in np.flatnonzero(parts == part).tolist():
                found[image] = registration(self._reliefs[image])
                rivals[image] = registration.rival(self._reliefs[image])
        return found, rivals


def _learned(stack: _Stack) -> tuple[Alignment | None, str]:
    """Where the parts of a stack lie, or why that cannot be told."""
    clear = [
        one
        for one, rival in zip(stack.found, stack.rivals, strict=True)
        if one.likeness >= LIKENESS and one.lead >= LEAD and one.likeness - rival >= LEAD
    ]
    if len(clear) < NEARLY_ALL * len(stack.found):
        some = f"only {len(clear)} of {len(stack.found)} good images show" if clear else "no good image shows"
        return None, f"{some} clearly where the part lies"
    right, down, angle = (
        _usual(np.array([getattr(one.motion, axis) for one in clear]), least)
        for axis, least in (("right", MARGIN_SHIFT), ("down", MARGIN_SHIFT), ("angle", MARGIN_ANGLE))
    )
    if max(np.abs(right).max(), np.abs(down).max()) > MOST_SHIFT:
        return None, f"good parts lie up to {max(np.abs(right).max(), np.abs(down).max()):.0%} of the frame off"
    if np.abs(angle).max() > MOST_ANGLE:
        return None, f"good parts are turned by up to {np.abs(angle).max():.0f} degrees"
    likeness, lead = (
        float(np.sort(values)[len(clear) // FEW])
        for values in (np.array([one.likeness for one in clear]), np.array([one.lead for one in clear]))
    )
    alignment = Alignment(
        right=_ends(right, MARGIN_SHIFT, MOST_SHIFT),
        down=_ends(down, MARGIN_SHIFT, MOST_SHIFT),
        angle=_ends(angle, MARGIN_ANGLE, MOST_ANGLE) if stack.turns else (0.0, 0.0),
        most_shift=MOST_SHIFT,
        most_angle=MOST_ANGLE,
        turns=stack.turns,
        aspect=stack.aspect,
        likeness=max(likeness - max(UNLIKE * (1 - likeness), LEAST_UNLIKE), LEAST_LIKENESS),
        lead=max(LEAD_KEPT * lead, LEAD),
    )
    return alignment, ""


def _usual(values: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """The values without the few that are far from all others."""
    low, high = usual_range(values, apart=APART, least=2 * LEAST_APART * margin)
    return values[(values >= low) & (values <= high)]


def _ends(usual: NDArray[np.float64], margin: float, most: float) -> Ends:
    """The range of good parts with its margin; never beyond what is brought back.

    It is narrow on purpose: a good part that lies a little outside is brought back, and scores no higher for that.
    """
    return max(float(usual.min()) - margin, -most), min(float(usual.max()) + margin, most)
