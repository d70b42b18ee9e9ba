"""What a build is going to do, and what that costs, known before the long work starts."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from spade_edge.galleries.golden_frames import golden_bytes
from spade_edge.galleries.images import read_image
from spade_edge.galleries.index_writer import index_bytes
from spade_edge.galleries.keys import DIMENSIONS
from spade_edge.galleries.view_selection import Proposal, Views, mask_of_frames, propose
from spade_edge.runtime import DataError, UsageError
from spade_edge.runtime.geometry.layout import WHOLE, Canvas, Layout
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.matching.config import CODES, FROM_MAP, PER_VIEW, PROFILES, Matching
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.session import Session
from spade_edge.runtime.preprocessing.mask import Mask

SAMPLE = 8  # images whose size is looked at
THUMBNAIL = 2  # a thumbnail has half the view's pixels along each axis


@dataclass(frozen=True)
class Plan:
    """What a build is going to do, known before it starts.

    Attributes:
        images: the good images.
        card: the model's.
        matching: the profile's parameters, as chosen.
        layout: which parts of a frame are looked at.
        proposal: what seems best for what is looked at, the largest region if there are several; None if frames differ
            in size.
        proposed_views: how many views a frame would then have.
        departures: how this departs from the paper.
        size: bytes of the bundle, to within a percent.
        fixed: bytes of it that its model and golden frames take, however many good images there are.
        milliseconds: that the network takes for a view on this machine.
    """

    images: tuple[Path, ...]
    card: ModelCard
    matching: Matching
    layout: Layout
    proposal: Proposal | None
    proposed_views: int
    departures: tuple[str, ...]
    size: int
    fixed: int
    milliseconds: float


def make_plan(
    found: tuple[Path, ...], session: Session, matching: Matching, views: Views, *, model_bytes: int
) -> tuple[Plan, Mask | None]:
    """Look at some of the images, and settle what is going to be done.

    Args:
        found: the good images.
        session: the network.
        matching: how to match.
        views: what of a frame is looked at.
        model_bytes: of the model's file.

    Returns:
        the plan, and the mask that `views` names.

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
    if views.auto and not alike:  # tiles need frames of one size
        views = replace(views, auto=False, overlap=None)
    layout = views.layout(frame_size, card.view, looked_at)
    largest = max(views.places(frame_size, looked_at), key=lambda box: box[2] * box[3])
    proposal, proposed_views = propose((largest[3], largest[2]), card.view) if alike else None, len(layout)
    try:
        proposed_views = len(
            replace(views, auto=True, tile=None, overlap=None).layout(frame_size, card.view, looked_at)
        )
    except UsageError:  # all regions together would have more views than there can be
        proposal = None
    fixed = model_bytes + golden_bytes(card, Canvas(layout, card.view), shapes[0] if shapes else card.view.size)
    plan = Plan(
        images=found,
        card=card,
        matching=matching,
        layout=layout,
        proposal=proposal,
        proposed_views=proposed_views,
        departures=departures(card, matching, layout),
        size=bundle_bytes(card, matching, len(found), fixed, layout=layout),
        fixed=fixed,
        milliseconds=_milliseconds(session),
    )
    return plan, mask


def _shapes(found: tuple[Path, ...]) -> list[tuple[int, ...]]:
    """Shapes of some of the images, evenly spaced. What cannot be read is named later, with all others."""
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


def departures(card: ModelCard, matching: Matching, layout: Layout = WHOLE) -> tuple[str, ...]:
    """How a model, its parameters and the views depart from the paper, a short phrase each."""
    found = []
    if card.backbone != "wide_resnet50_2":
        found.append(f"backbone {card.backbone} (paper: wide_resnet50_2)")
    if [level.number for level in card.levels] != [1, 2, 3]:
        found.append(f"levels {','.join(str(level.number) for level in card.levels)} (paper: 1,2,3)")
    if card.view != View(resize=(256, 256), size=(224, 224)):
        seen = "x".join(map(str, card.view.size))
        whole = f", the middle of {'x'.join(map(str, card.view.resize))}" if card.view.cropped else ", the whole frame"
        found.append(f"view {seen}{whole} (paper: 224x224, the middle of 256x256)")
    if layout != WHOLE:
        parts = f"{len(layout)} views" if len(layout) > 1 else "a region"
        found.append(f"{parts} of a frame{' under a mask' if layout.masked else ''} (paper: one, of the whole)")
    if matching.gallery == PER_VIEW and len(layout) > 1:
        found.append("a gallery for each view (paper: one)")
    paper = PROFILES["paper"]
    if matching.image_score != paper.image_score:
        found.append("image score from the map (paper: from image vectors)")
    elif card.image_level != 4:
        found.append(f"image vector from level {card.image_level} (paper: level 4)")
    if matching.projection != paper.projection:
        found.append("features as 7-bit codes (paper: float32)")
    if matching.search != paper.search:
        found.append("HNSW search over cells (paper: exact)")
    for name in ("neighbours", "kappa", "sigma"):
        have, want = getattr(matching, name), getattr(paper, name)
        if have != want:
            found.append(f"{name} {'all' if have is None else f'{have:g}'} (paper: {want:g})")
    return tuple(found)


def bundle_bytes(card: ModelCard, matching: Matching, count: int, fixed: int, *, layout: Layout = WHOLE) -> int:
    """Size of a bundle of `count` images beside `fixed` bytes, to within a percent."""
    count *= len(layout)
    features = sum(int(np.prod(card.output_shapes()[level.output])) for level in card.levels)
    embeddings = card.positions(card.levels[0])
    thumbnail = 3 * (card.view.size[0] // THUMBNAIL) * (card.view.size[1] // THUMBNAIL)
    coded = matching.projection == CODES
    total = fixed + (int(np.prod(layout.frame)) if layout.masked and layout.frame else 0)
    total += 4 * int(np.prod(Canvas(layout, card.view).size)) if matching.image_score == FROM_MAP else 0
    total += count * (features * (1 if coded else 4) + 4 * (embeddings + card.image_channels) + thumbnail)
    if coded:
        dimensions = min(DIMENSIONS, features // card.cells)
        indexes = matching.indexes(len(layout))
        total += features // card.cells * dimensions
        total += indexes * index_bytes(count * card.cells // indexes, dimensions)
    return total
