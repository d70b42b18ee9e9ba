"""The time of the parts of a frame that its own result does not tell apart.

They are measured on features of their own, beside the frames, so that no clock is read inside a frame for this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import Scorer
from spade_edge.runtime.matching.config import EXACT
from spade_edge.runtime.matching.distances import match_cells
from spade_edge.runtime.matching.gallery import CodedGallery
from spade_edge.runtime.matching.matcher import Matcher
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN
from spade_edge.runtime.network.pyramid import Pyramid

ALIGNMENT, CODES, CANDIDATES, COMPARISON = "alignment", "codes", "candidates", "comparison"

Parts = Callable[[NDArray[np.uint8]], dict[str, float]]


def parts_of(scorer: Scorer) -> Parts:
    """A function that takes a frame through its stages and gives the milliseconds of their parts.

    alignment    bringing the part back; only of bundles that do this
    codes        the codes of the features, and the keys of the cells
    candidates   the search for the gallery's nearest cells
    comparison   the distances to all embeddings of these cells

    The last three are those of a gallery in codes that is matched on the CPU. Exact search has none of them, and where
    the network's device matches, one graph does all three. The network runs before matching, as in a frame, and leaves
    the caches as it does there.

    Args:
        scorer: whose frames are measured.
    """
    matcher = scorer.matcher
    coded = isinstance(matcher.gallery, CodedGallery) and matcher.matching.search != EXACT and scorer.device is None

    def parts(frame: NDArray[np.uint8]) -> dict[str, float]:
        seconds: dict[str, float] = {}
        views = scorer.preprocessor(frame)
        if scorer.aligner is not None:
            start = perf_counter()
            view, _ = scorer.aligner(views[0])
            seconds[ALIGNMENT] = perf_counter() - start
            views = view[np.newaxis]
        for first in range(0, len(views), VIEWS_PER_RUN) if coded else ():
            pyramids = scorer.session(views[first : first + VIEWS_PER_RUN])
            for part, time in _matching(matcher, pyramids, first).items():
                seconds[part] = seconds.get(part, 0.0) + time
        return {part: 1000 * time for part, time in seconds.items()}

    return parts


def _matching(matcher: Matcher, pyramids: Sequence[Pyramid], first: int) -> dict[str, float]:
    """Seconds of the parts of matching, called as `Matcher.match` calls them.

    Args:
        matcher: with a gallery in codes.
        pyramids: features of some views of a frame.
        first: number of the first of these views.
    """
    gallery, coder = matcher.gallery, matcher._coder
    assert isinstance(gallery, CodedGallery) and coder is not None  # noqa: S101  (the caller has checked)
    started = perf_counter()
    coded = coder(pyramids)
    has_codes = perf_counter()
    views = range(first, first + len(pyramids))
    candidates = matcher.candidates([pyramid.descriptor for pyramid in pyramids], coded.keys, views=views)
    has_candidates = perf_counter()
    for number in range(len(coded)):
        match_cells(
            coded,
            number,
            gallery,
            candidates=candidates[number],
            coder=coder,
            comparison=matcher._comparison,
            kappa=matcher.matching.kappa,
            workers=matcher._workers,
        )
    return {
        CODES: has_codes - started,
        CANDIDATES: has_candidates - has_codes,
        COMPARISON: perf_counter() - has_candidates,
    }
