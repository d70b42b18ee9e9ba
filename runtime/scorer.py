"""A frame from top to bottom: views → network → matching → anomaly map → verdict → result.

Preprocessor   frame                  → views, the network's inputs
Aligner        view                   → the same with the part where good parts lie
Session        views                  → pyramids, the features of each view
Matcher        pyramids               → squared distances to the gallery at each position (Eq. 3)
Stitching      distances of all views → one anomaly map of the frame
Threshold      image score            → verdict
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.anomaly_map.regions import Blob, blobs, worst_blob
from spade_edge.runtime.anomaly_map.stitching import Stitching
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.golden import check
from spade_edge.runtime.bundle.manifest_file import SHORT
from spade_edge.runtime.bundle.observation import REFERENCE_IMAGES, Difference, Observation, sample
from spade_edge.runtime.device_path import AUTO, DevicePath, device_path
from spade_edge.runtime.errors import BundleError, UsageError
from spade_edge.runtime.geometry.frame import BGR, as_bgr, check_channels, checked
from spade_edge.runtime.kernels.device_kernel import Value
from spade_edge.runtime.kernels.ort import CPU
from spade_edge.runtime.location import nearest_match, region_in_frame
from spade_edge.runtime.matching.config import FROM_MAP
from spade_edge.runtime.matching.device_matcher import DeviceMatches
from spade_edge.runtime.matching.distances import Matches
from spade_edge.runtime.matching.graph_search import Search
from spade_edge.runtime.matching.matcher import Matcher, check_search
from spade_edge.runtime.network.protocol import VIEWS_PER_RUN, Network
from spade_edge.runtime.network.provider import Providers
from spade_edge.runtime.network.pyramid import Pyramid
from spade_edge.runtime.network.resident import ResidentPyramids
from spade_edge.runtime.network.session import Session
from spade_edge.runtime.preprocessing.aligner import Aligner, Located
from spade_edge.runtime.preprocessing.alignment import complaint
from spade_edge.runtime.preprocessing.condition import Condition
from spade_edge.runtime.preprocessing.moved import Moved
from spade_edge.runtime.preprocessing.preprocessor import Preprocessor
from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD, FrameResult


class Scorer:
    """Scores camera frames against a bundle. The result depends on the bundle and the frame alone.

    Use `Scorer.open`. The constructor takes ready-made parts, for example a session of your own.

    Args:
        bundle: an open bundle.
        session: the bundle's model on onnxruntime, or another network with the same model card.
        matcher: matches views against the bundle's gallery.
        threads: threads for the anomaly map; None for one per core.
        even_so: judge frames that differ from the good images in colour, channel order or size, see `open`.
        device: the way of a frame on the device that runs the network; None to resample and match on the CPU.

    Attributes:
        on_cpu_because: why cells are matched on the CPU although the network runs on a GPU; empty if they are not.

    Raises:
        BundleError: the session runs another model, or the bundle's mask leaves nothing to look at.
    """

    def __init__(
        self,
        bundle: Bundle,
        session: Network,
        matcher: Matcher,
        *,
        threads: int | None = None,
        even_so: bool = False,
        device: DevicePath | None = None,
    ) -> None:
        if session.card != bundle.manifest.model:
            raise BundleError(f"{bundle.path}: expected the model that the gallery was built with, found another")
        self.bundle = bundle
        self.matcher = matcher
        self.session = session
        self.even_so = even_so
        self.device = device
        self.on_cpu_because = ""
        self.canvas = bundle.manifest.canvas
        self._evidence = bundle.manifest.evidence
        self.preprocessor = Preprocessor(self.canvas, mask=bundle.mask)
        alignment, reference = bundle.manifest.alignment, bundle.reference
        self.aligner = None
        if alignment is not None and reference is not None:
            self.aligner = Aligner(alignment, reference, size=self.canvas.view.size)
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
        search: str | None = None,
        searches: Sequence[Search] = (),
        match: str = AUTO,
        verify: str = "hashes",
        self_test: bool = False,
        even_so: bool = False,
        manifest_sha256: str | None = None,
        network: Network | None = None,
    ) -> Scorer:
        """Open a bundle for scoring.

        Args:
            path: the bundle folder.
            providers: what runs the network, in order of preference; the first must be obtained. Each is "cpu", "cuda",
                "tensorrt", "auto", an execution provider of onnxruntime, or a `Provider` with options. "tensorrt" takes
                long the first time: see `Session.open`, or run `spade-edge prepare`.
            allow_fallback: if a provider is not available, try the next one, and finally the CPU;
                `session.passed_over` gives the reasons.
            threads: threads for all work; None for one per core.
            search: "exact" compares with every embedding: slow, the reference; "hnsw" searches the bundle's index;
                None as the bundle was built.
            searches: search objects of your own that replace the search of the bundle's index: one, or one per view
                if the gallery is per view.
            match: where frames are resampled and cells are matched: "auto", on the GPU if the network runs there and
                the gallery fits; "cpu"; or "device", where the network runs.
            verify: "hashes" or "structure", see `Bundle.open`.
            self_test: score the bundle's golden frames, and refuse a machine that does not reproduce them.
            even_so: judge frames that are grey where the good images are in colour, or the other way round, or have
                other colours, another shape or another size. Otherwise they get the verdict "cannot_judge".
            manifest_sha256: SHA-256 that the bundle's manifest must have, 64 hexadecimal digits; None for any.
                `spade_edge.verify_signature` gives that of a manifest whose signature it has checked.
            network: the bundle's model, if it is open already, in place of a session that is opened with `providers`
                and `allow_fallback`. That it has the bundle's model card is checked; that its file is the same is not.

        Raises:
            BundleError: the bundle is incomplete, altered, of another version, or not the one expected.
            ModelError: its model does not run here.
            DeviceError: onnxruntime or the provider is missing on this machine, or the self test fails.
            UsageError: no such search, another number of `searches` than expected, matching of this kind cannot run
                where the network runs, or `manifest_sha256` without the hashes of the files.
        """
        check_search(search, searches)  # before a large bundle is read
        bundle = Bundle.open(Path(path), verify=verify, manifest_sha256=manifest_sha256)
        matcher = bundle.matcher(search=search, searches=searches, threads=threads)
        session = network
        if session is None:
            session = Session.open(
                bundle.model,
                providers=providers,
                allow_fallback=allow_fallback,
                threads=threads,
                views=len(bundle.manifest.layout),
                most=VIEWS_PER_RUN,
            )
        canvas, mask = bundle.manifest.canvas, bundle.mask
        device, reason = device_path(match, session, matcher, canvas=canvas, mask=mask, threads=threads)
        scorer = cls(bundle, session, matcher, threads=threads, even_so=even_so, device=device)
        scorer.on_cpu_because = reason
        if self_test:
            scorer.self_test()
        return scorer

    def __call__(self, frame: NDArray[np.uint8], *, channels: str = BGR) -> FrameResult:
        """Score one frame.

        Args:
            frame: (H, W, 3) uint8 colour, or (H, W) or (H, W, 1) uint8 grey; any strides. One whose shape, size or
                colours are unlike those of the good images cannot be judged.
            channels: order of the frame's channels: "bgr", as OpenCV and most cameras give them, or "rgb", as Pillow,
                torchvision and imageio do.

        Raises:
            FrameError: the frame has another type or shape, or is empty.
            UsageError: another order of the channels.
            ModelError, BundleError: the features of the frame or of the gallery are not finite.
            BundleError: a file of the bundle was cut while it is open.
        """
        (result,) = self.batch([frame], channels=channels)
        return result

    def batch(self, frames: Sequence[NDArray[np.uint8]], *, channels: str = BGR) -> list[FrameResult]:
        """Score several frames together: faster per frame, but all results come at once.

        Args:
            frames: as for one frame; their sizes may differ. Memory grows with their number.
            channels: as for one frame.

        Returns:
            one result per frame, in the same order. `milliseconds` are those of the batch divided by its frames.
        """
        check_channels(channels)
        if not len(frames):
            return []
        return list(self._results(self._features([[as_bgr(frame, channels) for frame in frames]])))

    def stream(self, frames: Iterable[NDArray[np.uint8]], *, channels: str = BGR) -> Iterator[FrameResult]:
        """Score frames as they come. The network runs on a frame while the previous one is matched.

        Use this with a network on a GPU, which leaves the CPU free; on the CPU both would compete for the same cores.
        The source is read in another thread, so waiting for a frame does not delay the previous result.

        Args:
            frames: as for one frame.
            channels: as for one frame.
        """
        check_channels(channels)
        # The source may reuse its memory for the next frame, so every frame is copied.
        features = self._features([as_bgr(np.array(checked(frame)), channels)] for frame in frames)
        with ThreadPoolExecutor(max_workers=1) as background:
            yield from self._results(_one_ahead(features, background))

    def observe(self, frame: NDArray[np.uint8]) -> Observation:
        """Score a frame, and keep the intermediate values from which machines can be compared.

        Args:
            frame: as for `__call__`.
        """
        middle = len(self.canvas.boxes) // 2
        kept: list[Pyramid] = []
        (result,) = self._results(_keeping(middle, self._features([[frame]]), kept))
        gallery = self.matcher.gallery
        items = middle * len(gallery) + np.arange(min(REFERENCE_IMAGES, len(gallery)))
        return Observation(
            features=tuple(sample(level) for level in kept[0].levels),
            distances=self.matcher.match_exactly(kept[0], items).distances,
            heatmap=result.heatmap,
            score=result.score,
            verdict=result.verdict,
        )

    def self_test(self) -> tuple[Difference, ...]:
        """Score the bundle's golden frames and refuse a machine that does not reproduce them.

        Returns:
            the differences, as `golden_differences` gives them.

        Raises:
            DeviceError: the differences are too large.
            BundleError, UsageError: as for `golden_differences`.
        """
        differences = self.golden_differences()
        check(differences, precision=self.session.card.precision, where=self.session.provider)
        return differences

    def golden_differences(self) -> tuple[Difference, ...]:
        """Score the bundle's golden frames and compare with what the machine that built the bundle found.

        Returns:
            one difference per golden frame.

        Raises:
            BundleError: the bundle has no golden frames.
            UsageError: this scorer uses another search than the golden frames were scored with.
        """
        manifest, golden = self.bundle.manifest, self.bundle.golden
        if golden is None:
            raise BundleError(
                f"{self.bundle.path}: expected golden frames to test this machine with, found none; "
                "build the bundle again"
            )
        if self.matcher.matching != manifest.matching:
            raise UsageError(
                f"expected {manifest.matching.search} search, with which the golden frames were scored, "
                f"found {self.matcher.matching.search}"
            )
        return golden.differences(
            self.observe,
            names=tuple(level.output for level in self.session.card.levels),
            threshold=manifest.threshold.score,
        )

    def _features(self, batches: Iterable[Sequence[NDArray[np.uint8]]]) -> Iterator[_Features]:
        """Frames → views → network. The frames of a batch share runs of the network."""
        for frames in batches:
            start = perf_counter()
            # The frames of a batch share runs of the network, so their views are joined on the host.
            resident = self.device.views(frames[0]) if self.device is not None and len(frames) == 1 else None
            on_device, own = (None, None) if resident is None else resident
            views_of_frames = [self.preprocessor(frame) for frame in frames] if own is None else [own]
            conditions = [Condition.of(views, self.preprocessor.painted) for views in views_of_frames]
            places = [Located(None)] * len(frames)
            if self.aligner is not None:  # there is one view of each frame
                aligned = [self.aligner(views[0]) for views in views_of_frames]
                views_of_frames = [view[np.newaxis] for view, _ in aligned]
                places = [located for _, located in aligned]
                on_device = on_device if all(located.moved is None for located in places) else None
            views = views_of_frames[0] if len(frames) == 1 else np.concatenate(views_of_frames)
            seconds = {"view": perf_counter() - start}
            most = VIEWS_PER_RUN if self.device is None else self.device.views_per_run
            for first in range(0, len(views), most):
                some = views[first : first + most]
                last = first + most >= len(views)
                if self.device is None:
                    pyramids, matches = self._run_on_host(some, seconds)
                else:
                    given = some if on_device is None else on_device
                    pyramids, matches = self._run_on_device(self.device, given, first, seconds)
                yield _Features(frames, conditions, places, first, pyramids, matches, last, seconds)
                seconds = {"view": 0.0}

    def _run_on_host(self, views: NDArray[np.float32], seconds: dict[str, float]) -> _Run:
        """Features of some views. They are matched by who takes them, so that `stream` can run the network ahead."""
        start = perf_counter()
        pyramids = self.session(views)
        seconds["network"] = perf_counter() - start
        return pyramids, None

    def _run_on_device(
        self, device: DevicePath, views: NDArray[np.float32] | Value, first: int, seconds: dict[str, float]
    ) -> _Run:
        """Features of some views, and their matches, as a GPU computes one thing after the other anyway."""
        start = perf_counter()
        pyramids = device.session.resident(views)
        seconds["network"] = perf_counter() - start
        start = perf_counter()
        self.bundle.mapped.check()
        matches = device.match(pyramids, self._numbers(first, len(pyramids)))
        seconds["matching"] = perf_counter() - start
        return pyramids, matches

    def _numbers(self, first: int, count: int) -> list[int]:
        """Numbers in the layout of `count` views of a batch, from its view number `first` on."""
        return [(first + i) % len(self.canvas.boxes) for i in range(count)]

    def _results(self, runs: Iterable[_Features]) -> Iterator[FrameResult]:
        """Network → matching → results. Features are matched run by run, so few of them are in memory at a time."""
        views = len(self.canvas.boxes)
        matched: list[_MatchedView] = []
        seconds = dict.fromkeys(("view", "network", "matching"), 0.0)
        for run in runs:
            start = perf_counter()
            matched += self._match(run)
            own = perf_counter() - start if run.matches is None else 0.0
            for stage, time in (*run.seconds.items(), ("matching", own)):
                seconds[stage] += time
            if run.last:
                milliseconds = {stage: 1000 * time / len(run.frames) for stage, time in seconds.items()}
                for i, frame in enumerate(run.frames):
                    of_frame = matched[i * views : (i + 1) * views]
                    yield self._result(frame, run.conditions[i], run.places[i], of_frame, milliseconds)
                matched, seconds = [], dict.fromkeys(seconds, 0.0)

    def _match(self, run: _Features) -> list[_MatchedView]:
        """Matching (Eq. 3): the distances of each view, and where its nearest embeddings lie."""
        if isinstance(run.pyramids, ResidentPyramids):
            return list(map(_MatchedView, run.matches or (), run.pyramids.descriptors))
        self.bundle.mapped.check()
        matches = self.matcher.match(run.pyramids, views=self._numbers(run.first, len(run.pyramids)))
        return [_MatchedView(found, p.descriptor) for found, p in zip(matches, run.pyramids, strict=True)]

    def _result(
        self,
        frame: NDArray[np.uint8],
        condition: Condition,
        located: Located,
        views: Sequence[_MatchedView],
        milliseconds: dict[str, float],
    ) -> FrameResult:
        """Distances of all views → anomaly map → image score → verdict → result."""
        start = perf_counter()
        heatmap = self._anomaly_map(views, located.moved)
        excess = heatmap if self.bundle.baseline is None else heatmap - self.bundle.baseline
        score = self._image_score(views, excess)
        frame_size = (frame.shape[0], frame.shape[1])
        extent = self.canvas.extent(frame_size)
        pose = located.pose(extent)
        verdict, reason = self._verdict(score, condition, located, views, frame_size)
        looked_at = self.stitching.kept
        if located.moved is not None:
            heatmap, excess, looked_at = self._where_the_camera_sees(located.moved, heatmap, excess)

        threshold = self.bundle.manifest.threshold
        regions, nearest = [], []
        for blob in self._blobs(heatmap, excess, score):
            region = region_in_frame(blob, self.canvas, frame_size)
            if region.area >= threshold.area:
                regions.append(region)
                matches = [view.matches for view in views]
                nearest.append(nearest_match(blob, self.canvas, self.matcher.gallery, matches, moved=located.moved))
        milliseconds = milliseconds | {"map": 1000 * (perf_counter() - start)}
        return FrameResult(
            score=score,
            threshold=threshold.score,
            pixel_threshold=threshold.pixel,
            p=self._evidence.p(score),
            verdict=verdict,
            reason=reason,
            heatmap=heatmap,
            extent=extent,
            looked_at=looked_at,
            regions=tuple(regions),
            nearest=tuple(nearest),
            milliseconds=milliseconds | {"total": sum(milliseconds.values())},
            provider=self.session.provider,
            providers=self.session.node_fractions,
            pose=pose,
            bundle=self.bundle.digest[:SHORT],
            condition=condition.values,
        )

    def _anomaly_map(self, views: Sequence[_MatchedView], moved: Moved | None) -> NDArray[np.float32]:
        distances = [view.matches.distances for view in views]
        if moved is not None:  # what the frame does not show is no evidence against it
            distances = [np.where(moved.unseen(self.matcher.gallery.grid), np.float32(0), distances[0])]
        heatmap = self.stitching(distances)
        if not np.isfinite(heatmap).all():
            raise BundleError(
                f"{self.bundle.path}: expected finite distances, found NaN or infinity; build the bundle again"
            )
        return heatmap

    def _where_the_camera_sees(
        self, moved: Moved, heatmap: NDArray[np.float32], excess: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """The map and the map over its baseline of a frame whose part was brought back, and what was looked at.

        They are carried back to where the part lies in the frame; beyond what was looked at they are 0.
        """
        grid = self.matcher.gallery.grid
        rows, columns = (np.arange(side) * count // side for side, count in zip(heatmap.shape, grid, strict=True))
        seen = ~moved.unseen(grid)[np.ix_(rows, columns)]
        maps = moved.carried_back(np.stack([heatmap, excess, seen.astype(np.float32)], axis=-1))
        looked_at = maps[..., 2] > 0.5
        maps[~looked_at] = 0
        return np.ascontiguousarray(maps[..., 0]), np.ascontiguousarray(maps[..., 1]), looked_at

    def _image_score(self, views: Sequence[_MatchedView], excess: NDArray[np.float32]) -> float:
        """From the map over its baseline, or from the global descriptors: the paper's, of the worst view."""
        if self.matcher.matching.image_score == FROM_MAP:
            return self.stitching.score(excess)
        return max(self.matcher.descriptor_score(each.descriptor, view=view) for view, each in enumerate(views))

    def _verdict(
        self,
        score: float,
        condition: Condition,
        located: Located,
        views: Sequence[_MatchedView],
        frame_size: tuple[int, int],
    ) -> tuple[str, str]:
        """The verdict, and the reason if it is not good. A frame that scores as good must also be like a good image."""
        limits = self.bundle.manifest.limits
        if problem := limits.bad_light(condition) or self._other_format(condition, frame_size):
            return CANNOT_JUDGE, problem
        if displaced := self._displaced(located, frame_size):
            return CANNOT_JUDGE, displaced
        threshold = self.bundle.manifest.threshold
        verdict = threshold.verdict(score)
        if verdict == GOOD and (doubt := limits.doubt(condition) or self._unlike(views)):
            return CANNOT_JUDGE, doubt
        reason = f"score {score:.4g} is over the threshold {threshold.score:.4g}" if verdict == DEFECT else ""
        return verdict, reason

    def _other_format(self, condition: Condition, frame_size: tuple[int, int]) -> str:
        """In what a frame differs from the good images beside what it shows; empty if in nothing that matters."""
        if self.even_so:
            return ""
        manifest = self.bundle.manifest
        form, seen = manifest.format, self.canvas.view.resize
        # Where frames are divided into boxes, they have one size, which has been checked.
        shape = "" if manifest.layout.boxes else form.other_size(frame_size, seen)
        return form.other_colour(condition.colour) or shape or manifest.limits.other_colours(condition)

    def _displaced(self, located: Located, frame_size: tuple[int, int]) -> str:
        """Why the part lies too far from where good parts lie; empty if it does not."""
        extent = self.canvas.extent(frame_size)
        pose = located.pose(extent)
        if self.aligner is None or pose is None or not located.unreachable:
            return ""
        return complaint(pose, self.aligner.alignment, extent)

    def _unlike(self, views: Sequence[_MatchedView]) -> str:
        """Why a frame resembles no good image as a whole, whatever its parts resemble; empty if it does.

        Noise or a covered lens may find something similar for each position in a gallery that varies much. But the mean
        of its features lies far from that of any good image.
        """
        farthest = self.bundle.manifest.farthest
        found = max(self.matcher.unlikeness(each.descriptor, view=view) for view, each in enumerate(views))
        if found <= farthest:
            return ""
        return (
            f"the frame as a whole resembles no good image: it is {found / farthest:.1f} times as far as a good frame "
            "can be; is the lens covered, or is it another product?"
        )

    def _blobs(self, heatmap: NDArray[np.float32], excess: NDArray[np.float32], score: float) -> tuple[Blob, ...]:
        """Parts of the map over the pixel threshold. A defect has one even where no pixel is over it."""
        threshold = self.bundle.manifest.threshold
        found = blobs(heatmap, threshold.pixel)
        if not found and threshold.verdict(score) == DEFECT:
            return worst_blob(heatmap, excess)
        return found


_Run = tuple[list[Pyramid] | ResidentPyramids, list[DeviceMatches] | None]


@dataclass(frozen=True)
class _Features:
    """What one run of the network gives: the features of some views of a batch of frames.

    Attributes:
        frames: the whole batch.
        conditions: exposure, contrast and focus of each frame.
        places: where the part of each frame lies.
        first: number of the first of these views among all views of the batch.
        pyramids: the features of these views.
        matches: of these views, if they were matched on the device.
        last: whether these are the last views of the batch.
        seconds: time taken since the previous run, by stage.
    """

    frames: Sequence[NDArray[np.uint8]]
    conditions: Sequence[Condition]
    places: Sequence[Located]
    first: int
    pyramids: list[Pyramid] | ResidentPyramids
    matches: list[DeviceMatches] | None
    last: bool
    seconds: dict[str, float]


@dataclass(frozen=True)
class _MatchedView:
    """What is kept of a view when its features are no longer needed."""

    matches: Matches
    descriptor: NDArray[np.float32]


def _keeping(view: int, runs: Iterable[_Features], kept: list[Pyramid]) -> Iterator[_Features]:
    """Pass runs on, and keep the features of one view."""
    for run in runs:
        if run.first <= view < run.first + len(run.pyramids):
            kept.append(run.pyramids[view - run.first])
        yield run


def _one_ahead(runs: Iterator[_Features], background: ThreadPoolExecutor) -> Iterator[_Features]:
    """Let the background thread compute the next run while the caller works on this one."""
    coming: Future[_Features | None] = background.submit(next, runs, None)
    while (run := coming.result()) is not None:
        coming = background.submit(next, runs, None)
        yield run
