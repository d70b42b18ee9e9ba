"""The plan of a build: what it is going to do and what that costs, known before the long work starts."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.deviations import deviations_from_paper
from spade_edge.galleries.golden_frames import golden_bytes
from spade_edge.galleries.images import read_image
from spade_edge.galleries.index_writer import index_bytes
from spade_edge.galleries.keys import DIMENSIONS
from spade_edge.galleries.left_out import can_be_kept
from spade_edge.galleries.view_selection import Proposal, Views, mask_of_frames, propose
from spade_edge.runtime import DataError, UsageError
from spade_edge.runtime.geometry.layout import WHOLE, Canvas, Layout
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.matching.config import CODES, FROM_MAP, Matching
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.session import Session
from spade_edge.runtime.preprocessing.mask import Mask

SAMPLE = 8  # images that are read to learn the frame size
THUMBNAIL = 2  # a thumbnail has half the view's pixels along each axis


@dataclass(frozen=True)
class Plan:
    """What a build is going to do, known before it starts.

    Attributes:
        images: the good images.
        card: of the model.
        matching: parameters of the matching.
        layout: the parts of a frame that are inspected.
        proposal: the views that suit the frames best, or the largest region where there are several; None if the
            frames differ in size.
        proposed_views: how many views a frame would then have.
        deviations: from the paper, a phrase each.
        size: of the bundle, in bytes, to within a percent; less by a few percent if cells turn out to be matched by
            place, which needs no index.
        fixed: the part of it that does not depend on the number of good images: model and golden frames, in bytes.
        milliseconds: that the network takes for a view on this machine.
    """

    images: tuple[Path, ...]
    card: ModelCard
    matching: Matching
    layout: Layout
    proposal: Proposal | None
    proposed_views: int
    deviations: tuple[str, ...]
    size: int
    fixed: int
    milliseconds: float


def make_plan(
    found: tuple[Path, ...], session: Session, matching: Matching, views: Views, *, model_bytes: int
) -> tuple[Plan, Mask | None]:
    """Read some of the images and settle what the build is going to do.

    Args:
        found: the good images.
        session: the network.
        matching: how to match.
        views: the parts of a frame that are inspected.
        model_bytes: size of the model file.

    Returns:
        the plan, and the mask of `views`, if any.

    Raises:
        DataError: the mask cannot be read or does not fit, or no image can be read.
        UsageError: the views do not fit the frames.
    """
    card = session.card
    shapes = [shape for shape, _ in Counter(_shapes(found)).most_common()]
    sizes = list(dict.fromkeys((shape[0], shape[1]) for shape in shapes))
    alike = len(sizes) == 1
    if views != Views() and not sizes:
        raise DataError(f"{found[0]}: expected images that can be read, found none among {len(found)}")
    frame_size = sizes[0] if sizes else card.view.size
    mask = None if views.mask is None else Mask(mask_of_frames(views.mask, frame_size))
    looked_at = None if mask is None else mask.looked_at
    if views.auto and not alike:  # tiles need frames of the same size
        views = replace(views, auto=False, overlap=None)
    layout = views.layout(frame_size, card.view, looked_at)
    proposal, proposed_views = None, len(layout)
    if alike:
        with suppress(UsageError):  # all regions together would have too many views
            proposal, proposed_views = _proposed(views, frame_size, card.view, looked_at)
    fixed = model_bytes + golden_bytes(card, Canvas(layout, card.view), shapes[0] if shapes else card.view.size)
    plan = Plan(
        images=found,
        card=card,
        matching=matching,
        layout=layout,
        proposal=proposal,
        proposed_views=proposed_views,
        deviations=deviations_from_paper(card, matching, layout),
        size=bundle_bytes(card, matching, len(found), fixed, layout=layout),
        fixed=fixed,
        milliseconds=_milliseconds(session),
    )
    return plan, mask


def _proposed(
    views: Views, frame_size: tuple[int, int], view: View, looked_at: NDArray[np.bool_] | None
) -> tuple[Proposal, int]:
    """The proposal for the largest region, and the number of views of a frame if all regions are treated like that."""
    largest = max(views.places(frame_size, looked_at), key=lambda box: box[2] * box[3])
    auto = replace(views, auto=True, tile=None, overlap=None)
    return propose((largest[3], largest[2]), view), len(auto.layout(frame_size, view, looked_at))


def _shapes(found: tuple[Path, ...]) -> list[tuple[int, ...]]:
    """Shapes of some images, evenly spaced. Those that cannot be read are reported later, together with all others."""
    shapes = []
    for i in np.unique(np.linspace(0, len(found) - 1, SAMPLE).round().astype(int)):
        with suppress(DataError):
            shapes.append(read_image(found[i]).shape)
    return shapes


def _milliseconds(session: Session) -> float:
    blank = np.zeros((1, *session.card.view.size, 3), np.float32)
    times = []
    for _ in range(4):
        start = perf_counter()
        session(blank)
        times.append(1000 * (perf_counter() - start))
    return min(times)


def bundle_bytes(card: ModelCard, matching: Matching, count: int, fixed: int, *, layout: Layout = WHOLE) -> int:
    """Size of a bundle of `count` images beside `fixed` bytes, to within a percent."""
    count *= len(layout)
    features = sum(int(np.prod(card.output_shapes()[level.output])) for level in card.levels)
    embeddings = card.positions(card.levels[0])
    thumbnail = 3 * (card.view.size[0] // THUMBNAIL) * (card.view.size[1] // THUMBNAIL)
    coded = matching.projection == CODES
    total = fixed + (int(np.prod(layout.frame)) if layout.masked and layout.frame else 0)
    total += 4 * int(np.prod(Canvas(layout, card.view).size)) if matching.image_score == FROM_MAP else 0
    if can_be_kept(matching):
        total += count * card.cells * 4 * (card.side**2 + 1)  # leave-one-out distances, and the reach of each cell
    total += count * (features * (1 if coded else 4) + 4 * (embeddings + card.image_channels) + thumbnail)
    if coded:
        dimensions, cells = min(DIMENSIONS, features // card.cells), count * card.cells
        total += features // card.cells * dimensions
        if indexes := matching.indexes(len(layout)):
            total += 4 * cells + indexes * index_bytes(cells // indexes, dimensions)
        else:  # by place: the keys alone
            total += cells * dimensions
    return total
