"""The way of a frame: views → network → matching → heat map → verdict → result."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.anomaly_map.regions import Blob, blobs
from spade_edge.runtime.anomaly_map.stitching import Stitching
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.golden import check
from spade_edge.runtime.bundle.observation import FEW, Difference, Observation, difference, sample
from spade_edge.runtime.errors import BundleError, UsageError
from spade_edge.runtime.kernels.ort import CPU
from spade_edge.runtime.matching.config import EXACT, FROM_MAP, HNSW
from spade_edge.runtime.matching.distances import Matches
from spade_edge.runtime.matching.graph_search import GraphSearch, Search
from spade_edge.runtime.matching.matcher import Matcher
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN, Network
from spade_edge.runtime.network.provider import Providers
from spade_edge.runtime.network.pyramid import Pyramid
from spade_edge.runtime.network.session import Session
from spade_edge.runtime.preprocessing.condition import Condition
from spade_edge.runtime.preprocessing.preprocessor import Preprocessor
from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, FrameResult, Match, Region


class Scorer:
    """Scores camera frames against a bundle; the result depends on the bundle and the frame alone.

    Use `Scorer.open`; the constructor takes the parts ready-made, for example a session of one's own.

    Args:
        bundle: an open bundle.
        session: the bundle's model on onnxruntime, or another network of the same card.
        matcher: the bundle's gallery with the way to match.
        threads: of the rest of the work; None for one a core.
    """

    def __init__(self, bundle: Bundle, session: Network, matcher: Matcher, *, threads: int | None = None) -> None:
        if session.card != bundle.manifest.model:
            raise BundleError(f"{bundle.path}: expected the model that the gallery was built with, found another")
        self.bundle = bundle
        self.matcher = matcher
        self.session = session
        self.canvas = bundle.manifest.canvas
        self.preprocessor = Preprocessor(self.canvas, mask=bundle.mask)
        try:
            self.stitching = Stitching(
                self.canvas, matcher.gallery.grid, sigma=matcher.matching.sigma, mask=bundle.mask, threads=threads
            )
        except UsageError as problem:
            raise BundleError(f"{bundle.path}: {problem}; build the bundle again") from None

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        providers: Providers = (CPU,),
        allow_fallback: bool = False,
        threads: int | None = None,
        search: str | Search | Sequence[Search] | None = None,
        verify: str = "hashes",
        self_test: bool = False,
    ) -> Scorer:
        """Open a bundle for scoring.

        Args:
            path: the bundle folder.
            providers: what runs the network, in order of preference; the first must be obtained. Each is "cpu", "cuda",
                "tensorrt", "auto", an execution provider of onnxruntime, or a `Provider` with options. Matching stays
                on the CPU. "tensorrt" takes long the first time: see `Session.open`, or run `spade-edge prepare`.
            allow_fallback: go on with the next of them, and in the end the CPU, where one cannot be had;
                `session.passed_over` says why.
            threads: of all work; None for one a core.
            search: "exact" scores against every embedding, slowly, as the reference; a `Search` of one's own, or one a
                view where the gallery is per view, finds the cells instead of the runtime's walk over the index; None
                as the bundle was built.
            verify: "hashes" or "structure", see `Bundle.open`.
            self_test: score the bundle's golden frames, and refuse a machine that does not reproduce them.

        Raises:
            BundleError: the bundle is incomplete, altered, or of another version.
            ModelError: its model does not run here.
            DeviceError: onnxruntime or the provider is missing on this machine, or it fails the self test.
            UsageError: no such search.
        """
        if isinstance(search, str) and search not in (EXACT, HNSW):
            raise UsageError(f"expected search to be {EXACT} or {HNSW}, found {search!r}")
        bundle = Bundle.open(Path(path), verify=verify)
        if not bundle.indexes and search not in (None, EXACT):
            raise BundleError(
                f"{path}: expected a bundle with an HNSW index, found one built with --projection none; "
                f"use --search {EXACT}"
            )
        session = Session.open(
            bundle.model,
            providers=providers,
            allow_fallback=allow_fallback,
            threads=threads,
            views=len(bundle.manifest.layout),
            most=VIEWS_PER_RUN,
        )
        matching = bundle.manifest.matching
        if search is not None:
            matching = replace(matching, search=search if isinstance(search, str) else HNSW)
        searches: Sequence[Search] = ()
        if matching.search == HNSW:
            if search is None or isinstance(search, str):
                searches = [GraphSearch(index, threads=threads) for index in bundle.indexes]
            else:
                searches = [search] if callable(search) else search
        matcher = Matcher(bundle.gallery, matching, searches=searches, threads=threads)
        scorer = cls(bundle, session, matcher, threads=threads)
        if self_test:
            scorer.self_test()
        return scorer

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
        return list(self._judge(self._see([list(frames)]))) if len(frames) else []

    def stream(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[FrameResult]:
        """Score frames as they come, the network running on a frame while the one before it is matched.

        This is for a network on a GPU, where it leaves the CPU free; on the CPU both want the same cores. The source is
        read in another thread, so waiting for a frame does not hold up the result before it.
        """
        # A source may use its memory again for the next frame.
        parts = self._see([np.array(frame)] for frame in frames)
        with ThreadPoolExecutor(max_workers=1) as ahead:
            yield from self._judge(_one_ahead(parts, ahead))

    def observe(self, frame: NDArray[np.uint8]) -> Observation:
        """Score a frame, and keep what the score comes from, to compare machines.

        Args:
            frame: as for one.
        """
        view = len(self.canvas.boxes) // 2
        (pyramid,) = self.session(self.preprocessor(frame)[view : view + 1])
        gallery = self.matcher.gallery
        entries = view * len(gallery) + np.arange(min(FEW, len(gallery)))
        result = self(frame)
        return Observation(
            features=tuple(sample(level) for level in pyramid.levels),
            distances=self.matcher.match_exactly(pyramid, entries).distances,
            heatmap=result.heatmap,
            score=result.score,
            verdict=result.verdict,
        )

    def self_test(self) -> tuple[Difference, ...]:
        """Score the bundle's golden frames, and refuse a machine that does not reproduce them; gives the differences.

        Raises:
            DeviceError: they are too large.
            BundleError, UsageError: as for `golden_differences`.
        """
        differences = self.golden_differences()
        check(differences, precision=self.session.card.precision, where=self.session.provider)
        return differences

    def golden_differences(self) -> tuple[Difference, ...]:
        """Score the bundle's golden frames; how far each is from what the machine that built the bundle made of it.

        Raises:
            BundleError: the bundle has none.
            UsageError: the search is not the one that they were scored with.
        """
        golden = self.bundle.golden
        if golden is None:
            raise BundleError(
                f"{self.bundle.path}: expected golden frames to test this machine with, found none; "
                "build the bundle again"
            )
        if self.matcher.matching != self.bundle.manifest.matching:
            raise UsageError(
                f"expected {self.bundle.manifest.matching.search} search, with which the golden frames were scored, "
                f"found {self.matcher.matching.search}"
            )
        names = tuple(level.output for level in self.session.card.levels)
        threshold = self.bundle.manifest.threshold.score
        return tuple(
            difference(expected, self.observe(frame), names=names, threshold=threshold)
            for frame, expected in zip(golden.frames, golden.observations, strict=True)
        )

    def _see(self, groups: Iterable[Sequence[NDArray[np.uint8]]]) -> Iterator[_Part]:
        """From groups of frames, whose views may share a run of the network, to features."""
        for frames in groups:
            start = perf_counter()
            seen = [self.preprocessor(frame) for frame in frames]
            conditions = [Condition.of(views, self.preprocessor.painted) for views in seen]
            views = seen[0] if len(seen) == 1 else np.concatenate(seen)
            seconds = {"view": perf_counter() - start}
            for first in range(0, len(views), VIEWS_PER_RUN):
                start = perf_counter()
                pyramids = self.session(views[first : first + VIEWS_PER_RUN])
                seconds["network"] = perf_counter() - start
                last = first + VIEWS_PER_RUN >= len(views)
                yield _Part(frames, conditions, first, pyramids, last, seconds)
                seconds = {"view": 0.0}

    def _judge(self, parts: Iterable[_Part]) -> Iterator[FrameResult]:
        """From features to results."""
        views = len(self.canvas.boxes)
        evidence: list[_Evidence] = []
        seconds = dict.fromkeys(("view", "network", "matching"), 0.0)
        for part in parts:
            start = perf_counter()
            numbers = [(part.first + i) % views for i in range(len(part.pyramids))]
            matches = self.matcher.match(part.pyramids, views=numbers)  # Eq. 3
            evidence += [_Evidence(*each) for each in zip(matches, (p.descriptor for p in part.pyramids), strict=True)]
            for stage, time in (*part.seconds.items(), ("matching", perf_counter() - start)):
                seconds[stage] += time
            if part.last:
                share = {stage: 1000 * time / len(part.frames) for stage, time in seconds.items()}
                for i, frame in enumerate(part.frames):
                    yield self._result(frame, part.conditions[i], evidence[i * views : (i + 1) * views], share)
                evidence, seconds = [], dict.fromkeys(seconds, 0.0)

    def _result(
        self,
        frame: NDArray[np.uint8],
        condition: Condition,
        evidence: Sequence[_Evidence],
        milliseconds: dict[str, float],
    ) -> FrameResult:
        start = perf_counter()
        heatmap = self.stitching([each.matches.distances for each in evidence])
        if not np.isfinite(heatmap).all():
            raise BundleError(
                f"{self.bundle.path}: expected finite distances, found NaN or infinity; build the bundle again"
            )
        excess = heatmap if self.bundle.baseline is None else heatmap - self.bundle.baseline
        if self.matcher.matching.image_score == FROM_MAP:
            score = self.stitching.score(excess)
        else:
            score = max(self.matcher.descriptor_score(each.image, view=view) for view, each in enumerate(evidence))
        threshold = self.bundle.manifest.threshold
        frame_size = (frame.shape[0], frame.shape[1])
        found = blobs(heatmap, threshold.pixel)
        verdict, reason = threshold.verdict(score), ""
        if verdict == DEFECT:
            # A defect is somewhere, even where no distance is over the pixel threshold.
            found = found or _where(excess, heatmap)
            reason = f"score {score:.4g} is over the threshold {threshold.score:.4g}"
        complaint = self.bundle.manifest.limits.complaint(condition)
        if complaint:
            verdict, reason = CANNOT_JUDGE, complaint
        placed = [(self._region(blob, frame_size), blob) for blob in found]
        placed = [(region, blob) for region, blob in placed if region.area >= threshold.area]
        nearest = tuple(self._match(blob, evidence) for _, blob in placed)
        milliseconds = milliseconds | {"map": 1000 * (perf_counter() - start)}
        return FrameResult(
            score=score,
            threshold=threshold.score,
            verdict=verdict,
            reason=reason,
            heatmap=heatmap,
            extent=self.canvas.extent(frame_size),
            looked_at=self.stitching.kept,
            regions=tuple(region for region, _ in placed),
            nearest=nearest,
            milliseconds=milliseconds | {"total": sum(milliseconds.values())},
            provider=self.session.provider,
            providers=self.session.node_fractions,
        )

    def _region(self, blob: Blob, frame_size: tuple[int, int]) -> Region:
        x, y, width, height = self.canvas.box_in_frame(blob.box, frame_size)
        area = blob.area * self.canvas.pixel_area(frame_size)
        return Region(x=x, y=y, width=width, height=height, score=blob.score, mean=blob.mean, area=area)

    def _match(self, blob: Blob, evidence: Sequence[_Evidence]) -> Match:
        gallery = self.matcher.gallery
        row, column = self.canvas.centre_of(blob.peak)
        # Of the views that see the peak, the one that is furthest from its own edge there.
        view = self.canvas.view_of(row, column)
        here = self.canvas.in_view(view, row, column)
        position = (min(int(share * count), count - 1) for share, count in zip(here, gallery.grid, strict=True))
        place = evidence[view].matches.nearest(*position)
        matched_view, image = divmod(place.item, len(gallery))
        matched = divmod(place.position, gallery.grid[1])
        y, x = self.canvas.in_frame(
            matched_view, *((there + 0.5) / count for there, count in zip(matched, gallery.grid, strict=True))
        )
        return Match(image=gallery.names[image], x=x, y=y, distance=place.distance, view=matched_view)


def _where(excess: NDArray[np.float32], heatmap: NDArray[np.float32]) -> tuple[Blob, ...]:
    """The part of a map that is furthest over what is expected there, down to half of that."""
    limit = float(excess.max()) / 2
    found = []
    for blob in blobs(excess, limit)[:1]:
        x, y, width, height = blob.box
        box = slice(y, y + height), slice(x, x + width)
        values = heatmap[box][excess[box] > limit]
        found.append(replace(blob, score=float(values.max()), mean=float(values.mean(dtype=np.float64))))
    return tuple(found)


@dataclass(frozen=True)
class _Part:
    """Features of some of the views of a group of frames.

    Attributes:
        frames: the group.
        conditions: of each frame.
        first: number of the first of these views among all of the group.
        pyramids: their features.
        last: whether these are the last of the group.
        seconds: that they took, by stage.
    """

    frames: Sequence[NDArray[np.uint8]]
    conditions: Sequence[Condition]
    first: int
    pyramids: list[Pyramid]
    last: bool
    seconds: dict[str, float]


@dataclass(frozen=True)
class _Evidence:
    """What is known of a view, once its features are no longer needed."""

    matches: Matches
    image: NDArray[np.float32]


def _one_ahead(parts: Iterator[_Part], ahead: ThreadPoolExecutor) -> Iterator[_Part]:
    """Let another thread make the next part while this one is worked on."""
    coming: Future[_Part | None] = ahead.submit(next, parts, None)
    while (part := coming.result()) is not None:
        coming = ahead.submit(next, parts, None)
        yield part
