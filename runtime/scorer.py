"""The way of a frame: view → network → matching → heat map → verdict → result."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.bundle import Bundle
from spade_edge.runtime.engine import CPU
from spade_edge.runtime.errors import BundleError, UsageError
from spade_edge.runtime.heatmap import Smoothing
from spade_edge.runtime.hnsw import Search, Walk
from spade_edge.runtime.matcher import EXACT, HNSW, Matcher
from spade_edge.runtime.matching import Matches
from spade_edge.runtime.pyramid import Pyramid
from spade_edge.runtime.regions import Blob, blobs
from spade_edge.runtime.result import DEFECT, GOOD, FrameResult, Match, Region
from spade_edge.runtime.session import Session
from spade_edge.runtime.viewer import Viewer


class Scorer:
    """Scores camera frames against a bundle; the result depends on the bundle and the frame alone.

    Use `Scorer.open`; the constructor takes the parts ready-made, for example a session of one's own.

    Args:
        bundle: an open bundle.
        session: the bundle's model on onnxruntime.
        matcher: the bundle's gallery with the way to match.
        threads: of the rest of the work; None for one a core.
    """

    def __init__(self, bundle: Bundle, session: Session, matcher: Matcher, *, threads: int | None = None) -> None:
        if session.card != bundle.manifest.model:
            raise BundleError(f"{bundle.path}: expected the model that the gallery was built with, found another")
        self.bundle = bundle
        self.matcher = matcher
        self.session = session
        self.viewer = Viewer(session.card.view)
        self._smoothing = Smoothing.between(
            matcher.gallery.grid, self.viewer.view.size, sigma=matcher.matching.sigma, threads=threads
        )

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        providers: Sequence[str] = (CPU,),
        threads: int | None = None,
        search: str | Search | None = None,
        verify: str = "hashes",
    ) -> Scorer:
        """Open a bundle for scoring.

        Args:
            path: the bundle folder.
            providers: onnxruntime execution providers, in order of preference; the first must be obtained. They run the
                network; matching stays on the CPU.
            threads: of all work; None for one a core.
            search: "exact" scores against every embedding, slowly, as the reference; a `Search` of one's own finds the
                cells instead of the runtime's walk over the index; None as the bundle was built.
            verify: "hashes" or "structure", see `Bundle.open`.

        Raises:
            BundleError: the bundle is incomplete, altered, or of another version.
            ModelError: its model does not run here.
            DeviceError: onnxruntime or the provider is missing on this machine.
            UsageError: no such search.
        """
        if isinstance(search, str) and search not in (EXACT, HNSW):
            raise UsageError(f"expected search to be {EXACT} or {HNSW}, found {search!r}")
        bundle = Bundle.open(Path(path), verify=verify)
        if bundle.index is None and search not in (None, EXACT):
            raise BundleError(
                f"{path}: expected a bundle with an HNSW index, found one built with --projection none; "
                f"use --search {EXACT}"
            )
        session = Session.open(bundle.model, providers=providers, threads=threads)
        matching = bundle.manifest.matching
        if search is not None:
            matching = replace(matching, search=search if isinstance(search, str) else HNSW)
        find: Search | None = None
        if matching.search == HNSW and bundle.index is not None:
            find = Walk(bundle.index, threads=threads) if search is None or isinstance(search, str) else search
        matcher = Matcher(bundle.gallery, matching, search=find, threads=threads)
        return cls(bundle, session, matcher, threads=threads)

    def __call__(self, frame: NDArray[np.uint8]) -> FrameResult:
        """Score one frame.

        Args:
            frame: (H, W, 3) uint8 BGR, or (H, W) or (H, W, 1) uint8 grey; any size, any strides.

        Raises:
            FrameError: the frame is of another type or shape, or empty.
            ModelError, BundleError: the features of the frame or of the gallery are not finite.
        """
        (result,) = self.batch([frame])
        return result

    def batch(self, frames: Sequence[NDArray[np.uint8]]) -> list[FrameResult]:
        """Score several frames in one go: as good as one by one and faster a frame, but all results come together.

        Args:
            frames: as for one; their sizes may differ. Memory grows with their number.

        Returns:
            a result for each frame, in their order. `milliseconds` are those of the batch, divided among its frames.
        """
        return self._judge(frames, *self._seen(frames)) if len(frames) else []

    def stream(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[FrameResult]:
        """Score frames as they come, the network running on a frame while the one before it is matched.

        This is for a network on a GPU, where it leaves the CPU free; on the CPU both want the same cores. A result
        comes when the next frame has been handed over, so it is for files and buffers, not for one part at a time.
        """
        with ThreadPoolExecutor(max_workers=1) as network:
            before = None
            for given in frames:
                frame = np.array(given)  # a source may use its memory again for the next one
                ahead = network.submit(self._seen, [frame])
                if before is not None:
                    yield from self._judge([before[0]], *before[1].result())
                before = frame, ahead
            if before is not None:
                yield from self._judge([before[0]], *before[1].result())

    def _seen(self, frames: Sequence[NDArray[np.uint8]]) -> tuple[list[Pyramid], dict[str, float]]:
        """What the network says of some frames, and the seconds it took."""
        times = [perf_counter()]
        views = [self.viewer(frame)[np.newaxis] for frame in frames]
        times.append(perf_counter())
        pyramids = self.session(views[0] if len(views) == 1 else np.concatenate(views))
        times.append(perf_counter())
        return pyramids, dict(zip(("view", "network"), np.diff(times).tolist(), strict=True))

    def _judge(
        self, frames: Sequence[NDArray[np.uint8]], pyramids: list[Pyramid], seconds: dict[str, float]
    ) -> list[FrameResult]:
        """From features to results."""
        start = perf_counter()
        matches = self.matcher.matches(pyramids)  # Eq. 3
        seconds = seconds | {"matching": perf_counter() - start}
        share = {stage: 1000 * time / len(frames) for stage, time in seconds.items()}
        return [self._result(*each, share) for each in zip(frames, pyramids, matches, strict=True)]

    def _result(
        self, frame: NDArray[np.uint8], pyramid: Pyramid, matches: Matches, milliseconds: dict[str, float]
    ) -> FrameResult:
        start = perf_counter()
        heatmap = self._smoothing(matches.distances)
        score = self.matcher.image_score(pyramid, heatmap)
        if not np.isfinite(heatmap).all():
            raise BundleError(
                f"{self.bundle.path}: expected finite distances, found NaN or infinity; build the bundle again"
            )
        found = blobs(heatmap, self.bundle.manifest.threshold.pixel)
        threshold = self.bundle.manifest.threshold.score
        good = score <= threshold
        regions = tuple(self._region(blob, frame.shape) for blob in found)
        nearest = tuple(self._match(blob, matches) for blob in found)
        milliseconds = milliseconds | {"map": 1000 * (perf_counter() - start)}
        return FrameResult(
            score=score,
            threshold=threshold,
            verdict=GOOD if good else DEFECT,
            reason="" if good else f"score {score:.4g} is over the threshold {threshold:.4g}",
            heatmap=heatmap,
            regions=regions,
            nearest=nearest,
            milliseconds=milliseconds | {"total": sum(milliseconds.values())},
            provider=self.session.provider,
        )

    def _region(self, blob: Blob, frame_shape: tuple[int, ...]) -> Region:
        x, y, width, height = self.viewer.view.box_in_frame(blob.box, (frame_shape[0], frame_shape[1]))
        return Region(x=x, y=y, width=width, height=height, score=blob.score)

    def _match(self, blob: Blob, matches: Matches) -> Match:
        grid, size = self.matcher.gallery.grid, self.viewer.view.size
        row, column = (peak * positions // side for peak, positions, side in zip(blob.peak, grid, size, strict=True))
        place = matches.nearest(row, column)
        matched_row, matched_column = divmod(place.position, grid[1])
        return Match(
            image=self.matcher.gallery.names[place.image],
            x=(matched_column + 0.5) / grid[1],
            y=(matched_row + 0.5) / grid[0],
            distance=place.distance,
        )
