"""How a bundle deviates from the paper (Cohen & Hoshen 2020)."""

from __future__ import annotations

from spade_edge.runtime.geometry.layout import WHOLE, Layout
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.matching.config import HNSW, PER_VIEW, PLACE, PROFILES, Matching
from spade_edge.runtime.matching.normalisation import LENGTH, ROOT
from spade_edge.runtime.network.card import ModelCard


def deviations_from_paper(card: ModelCard, matching: Matching, layout: Layout = WHOLE) -> tuple[str, ...]:
    """Deviations of the model, the matching parameters and the views, a short phrase each."""
    return (*_of_model(card), *_of_views(matching, layout), *_of_matching(card, matching))


def _of_model(card: ModelCard) -> list[str]:
    found = []
    if card.backbone != "wide_resnet50_2":
        found.append(f"backbone {card.backbone} (paper: wide_resnet50_2)")
    if [level.number for level in card.levels] != [1, 2, 3]:
        found.append(f"levels {','.join(str(level.number) for level in card.levels)} (paper: 1,2,3)")
    if card.view != View(resize=(256, 256), size=(224, 224)):
        seen = "x".join(map(str, card.view.size))
        whole = f", the middle of {'x'.join(map(str, card.view.resize))}" if card.view.cropped else ", the whole frame"
        found.append(f"view {seen}{whole} (paper: 224x224, the middle of 256x256)")
    return found


def _of_views(matching: Matching, layout: Layout) -> list[str]:
    found = []
    if layout != WHOLE:
        parts = f"{len(layout)} views" if len(layout) > 1 else "a region"
        found.append(f"{parts} of a frame{' under a mask' if layout.masked else ''} (paper: one, of the whole)")
    if matching.gallery == PER_VIEW and len(layout) > 1:
        found.append("a gallery for each view (paper: one)")
    return found


def _of_matching(card: ModelCard, matching: Matching) -> list[str]:
    found, paper = [], PROFILES["paper"]
    if matching.image_score != paper.image_score:
        found.append("image score from the map (paper: from global descriptors)")
    elif card.image_level != 4:
        found.append(f"global descriptor from level {card.image_level} (paper: level 4)")
    if matching.projection != paper.projection:
        found.append("features as 7-bit codes (paper: float32)")
        if matching.normalisation == ROOT:
            found.append("features of each level as square roots of length 1 (paper: as they are)")
        elif matching.normalisation == LENGTH:
            found.append("features of each level brought to length 1 (paper: as they are)")
    if matching.place is not None:
        found.append(f"cells matched at their place, within {matching.place} (paper: positions anywhere)")
    if matching.search == HNSW:
        found.append("HNSW search over cells (paper: exact)")
    elif matching.search == PLACE:
        found.append("search over the cells of a place (paper: exact)")
    for name in ("neighbours", "kappa", "sigma"):
        have, want = getattr(matching, name), getattr(paper, name)
        if have != want:
            found.append(f"{name} {'all' if have is None else f'{have:g}'} (paper: {want:g})")
    return found
