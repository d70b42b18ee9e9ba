"""The way of a frame: view → network → matching → heat map → verdict → result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.bundle import Bundle
from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.heatmap import Smoothing
from spade_edge.runtime.matcher import Matcher
from spade_edge.runtime.matching import Matches
from spade_edge.runtime.regions import Blob, blobs
from spade_edge.runtime.result import DEFECT, GOOD, FrameResult, Match, Region
from spade_edge.runtime.session import CPU, Session


class Scorer:
    """Scores camera frames against a bundle; the result depends on the bundle and the frame alone.

    Use `Scorer.open`; the constructor takes the parts ready-made, for example a session of one's own.

    Args:
        bundle: an open bundle.
        session: the bundle's model on onnxruntime.
        matcher: the bundle's gallery with the way to match.
    """

    def __init__(self, bundle: Bundle, session: Session, matcher: Matcher) -> None:
        if session.card != bundle.manifest.model:
            raise BundleError(f"{bundle.path}: expected the model that the gallery was built with, found another")
        self.bundle = bundle
        self._session = session
        self._matcher = matcher
        self._view = session.card.view
        self._smoothing = Smoothing.between(matcher.gallery.grid, self._view.size, sigma=matcher.matching.sigma)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        providers: Sequence[str] = (CPU,),
        threads: int | None = None,
        search: str | None = None,
        verify: str = "hashes",
    ) -> Scorer:
        """Open a bundle for scoring.

        Args:
            path: the bundle folder.
            providers: onnxruntime execution providers, in order of preference; the first must be obtained.
            threads: onnxruntime's threads; None for one a core.
            search: "exact" scores against every embedding, slowly, as the reference; None as the bundle was built.
            verify: "hashes" or "structure", see `Bundle.open`.

        Raises:
            BundleError: the bundle is incomplete, altered, or of another version.
            ModelError: its model does not run here.
            DeviceError: onnxruntime or the provider is missing on this machine.
        """
        bundle = Bundle.open(Path(path), verify=verify)
        session = Session.open(bundle.model, providers=providers, threads=threads)
        matching = bundle.manifest.matching
        if search is not None:
            matching = replace(matching, search=search)
        matcher = Matcher(bundle.gallery, matching, index=bundle.index, key_projection=bundle.key_projection)
        return cls(bundle, session, matcher)

    def __call__(self, frame: NDArray[np.uint8]) -> FrameResult:
        """Score one frame.

        Args:
            frame: (H, W, 3) uint8 BGR, or (H, W) or (H, W, 1) uint8 grey; any size, any strides.

        Raises:
            FrameError: the frame is of another type or shape, or empty.
            ModelError, BundleError: the features of the frame or of the gallery are not finite.
        """
        times = [perf_counter()]
        view = self._view(frame)
        times.append(perf_counter())
        (pyramid,) = self._session(view[np.newaxis])
        times.append(perf_counter())
        matches = self._matcher.matches(pyramid)  # Eq. 3
        times.append(perf_counter())
        heatmap = self._smoothing(matches.distances)
        score = self._matcher.image_score(pyramid, heatmap)
        if not np.isfinite(heatmap).all():
            raise BundleError(
                f"{self.bundle.path}: expected finite distances, found NaN or infinity; build the bundle again"
            )
        found = blobs(heatmap, self.bundle.manifest.threshold.pixel)
        times.append(perf_counter())

        threshold = self.bundle.manifest.threshold.score
        good = score <= threshold
        stages = dict(zip(("view", "network", "matching", "map"), np.diff(times).tolist(), strict=True))
        stages["total"] = times[-1] - times[0]
        return FrameResult(
            score=score,
            threshold=threshold,
            verdict=GOOD if good else DEFECT,
            reason="" if good else f"score {score:.4g} is over the threshold {threshold:.4g}",
            heatmap=heatmap,
            regions=tuple(self._region(blob, frame.shape) for blob in found),
            nearest=tuple(self._match(blob, matches) for blob in found),
            milliseconds={stage: 1000 * seconds for stage, seconds in stages.items()},
            provider=self._session.provider,
        )

    def _region(self, blob: Blob, frame_shape: tuple[int, ...]) -> Region:
        x, y, width, height = self._view.box_in_frame(blob.box, (frame_shape[0], frame_shape[1]))
        return Region(x=x, y=y, width=width, height=height, score=blob.score)

    def _match(self, blob: Blob, matches: Matches) -> Match:
        grid, size = self._matcher.gallery.grid, self._view.size
        row, column = (peak * positions // side for peak, positions, side in zip(blob.peak, grid, size, strict=True))
        matched_row, matched_column = divmod(int(matches.positions[row, column]), grid[1])
        return Match(
            image=self._matcher.gallery.names[int(matches.images[row, column])],
            x=(matched_column + 0.5) / grid[1],
            y=(matched_row + 0.5) / grid[0],
            distance=float(matches.nearest[row, column]),
        )
