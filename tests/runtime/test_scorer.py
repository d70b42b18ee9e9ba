"""Scoring a frame: searches, batches, verdicts and what a result says. test_paper.py holds it against torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from altered import altered
from fake_gpu import CPU, CUDA, TENSORRT, Machine
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, Built, build
from spade_edge.galleries.index_writer import HnswlibSearch
from spade_edge.runtime import BundleError, FrameError, FrameResult, ModelError, Scorer, UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.matching.config import PROFILES, Matching
from spade_edge.runtime.network.protocol import Network
from spade_edge.runtime.network.pyramid import Pyramid

Frames = Callable[..., NDArray[np.uint8]]


def test_the_same_frame_gives_the_same_bits(edge: Built, part: Frames) -> None:
    scorer, again = Scorer.open(edge.path), Scorer.open(edge.path)
    first = scorer(part(50, flaw=True))
    scorer(part(51))
    for other in (scorer(part(50, flaw=True)), again(part(50, flaw=True))):
        assert other.score == first.score
        assert np.array_equal(other.heatmap, first.heatmap)
        assert other.regions == first.regions and other.nearest == first.nearest


def test_a_flaw_is_found_where_it_is(edge: Built, part: Frames) -> None:
    scorer = Scorer.open(edge.path)
    good, bad = scorer(part(60)), scorer(part(60, flaw=True))
    assert bad.score > good.score
    assert bad.verdict == "defect" and "over the threshold" in bad.reason
    worst = bad.regions[0]  # the flaw covers x 20 to 34, y 32 to 46
    assert worst.x <= 27 <= worst.x + worst.width
    assert worst.y <= 39 <= worst.y + worst.height
    assert bad.nearest[0].image in edge.manifest.names
    assert 0 <= bad.nearest[0].x <= 1 and 0 <= bad.nearest[0].y <= 1
    assert len(bad.nearest) == len(bad.regions)


def test_a_region_of_exactly_the_least_area_is_reported(edge: Built, part: Frames, tmp_path: Path) -> None:
    frame = part(60, flaw=True)
    largest = max(region.area for region in Scorer.open(edge.path)(frame).regions)
    for name, area, count in (("least", largest, 1), ("more", np.nextafter(largest, np.inf), 0)):
        path = altered(edge.path, tmp_path / name, "threshold", area=float(area))
        assert sum(region.area == largest for region in Scorer.open(path)(frame).regions) == count


def test_a_good_image_is_good_and_its_map_near_zero(edge: Built, paper: Built, good_images: Path) -> None:
    for built in (edge, paper):
        result = Scorer.open(built.path)(np.load(good_images / "2.npy"))
        assert result.verdict == "good" and result.reason == ""
        assert result.heatmap.max() < 1e-3 * built.manifest.threshold.pixel


def test_the_result_is_what_the_docstring_says(edge: Built, part: Frames) -> None:
    result = Scorer.open(edge.path)(part(70))
    assert result.heatmap.shape == (64, 64) and result.heatmap.dtype == np.float32
    assert set(result.milliseconds) == {"view", "network", "matching", "map", "total"}
    assert result.provider == "CPUExecutionProvider"


def test_a_result_says_how_bright_and_how_red_the_frame_is(edge: Built, part: Frames) -> None:
    frame = part(52, size=(128, 128))  # the view is 64x64, so that averages over 2x2 pixels keep the mean
    condition = Scorer.open(edge.path)(frame).condition
    assert condition["brightness"] == pytest.approx(frame.mean(), rel=1e-5)
    assert condition["darkest"] == condition["brightest"] == condition["brightness"]
    blue, green, red = frame.reshape(-1, 3).mean(axis=0)
    assert condition["red"] == pytest.approx(red / green, rel=0.02)  # of every fourth pixel
    assert condition["blue"] == pytest.approx(blue / green, rel=0.02)


def test_the_score_is_the_mean_of_the_pixels_furthest_over_the_expected(
    edge: Built, paper: Built, part: Frames
) -> None:
    for frame in (part(70), part(71, flaw=True)):
        result = Scorer.open(edge.path)(frame)
        expected = np.load(edge.path / edge.manifest.files["baseline"].name).astype(np.float64)
        over = np.sort((result.heatmap - expected).ravel())[-12:]
        assert result.score == pytest.approx(over.mean(), rel=1e-5) and over.min() < result.score < over.max()
        assert result.heatmap.min() >= 0  # the map itself is not changed
        assert Scorer.open(paper.path)(frame).score != pytest.approx(result.score, rel=0.01)  # from descriptors


def test_exact_search_is_there_for_any_bundle_and_never_farther(edge: Built, wide: Path, part: Frames) -> None:
    for path in (edge.path, wide):
        frame = part(80, flaw=True)
        near, exact = Scorer.open(path)(frame), Scorer.open(path, search="exact")(frame)
        # Exact search takes differences, search over cells products: a hair of rounding is between them.
        assert (exact.heatmap <= near.heatmap * (1 + 1e-4) + 1e-4).all()
        assert near.heatmap.mean() <= exact.heatmap.mean() * 1.1
        assert near.verdict == exact.verdict


def test_a_search_that_leaves_no_cell_out_is_exact(edge: Built, part: Frames, tmp_path: Path) -> None:
    path = altered(edge.path, tmp_path / "all.spade", "matching", candidates=8 * 16)
    for frame in (part(80, flaw=True), part(81)):
        every, exact = Scorer.open(path)(frame), Scorer.open(edge.path, search="exact")(frame)
        np.testing.assert_allclose(every.heatmap, exact.heatmap, rtol=1e-3, atol=1e-4)
        for found, best in zip(every.nearest, exact.nearest, strict=True):
            assert (found.image, found.x, found.y) == (best.image, best.x, best.y)
            assert found.distance == pytest.approx(best.distance, rel=1e-3)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, model: Path, part: Frames) -> Path:
    """A bundle with an index of more than one layer: 60 images, 960 cells, of which a search finds the nearest 48."""
    folder = tmp_path_factory.mktemp("wide")
    (folder / "good").mkdir()
    for seed in range(60):
        np.save(folder / "good" / f"{seed:02d}.npy", part(1000 + seed))
    options = BuildOptions(matching=Matching(candidates=48, ef=96), place="free")
    return build(folder / "good", model=model, output=folder / "part.spade", options=options).path


def test_hnswlib_may_search_instead(wide: Path, part: Frames) -> None:
    own, other = Scorer.open(wide), Scorer.open(wide, searches=[HnswlibSearch(wide)])
    for frame in (part(80), part(81, flaw=True), part(82, size=(300, 200))):
        have, want = own(frame), other(frame)
        assert have.heatmap.mean() == pytest.approx(want.heatmap.mean(), rel=0.01)
        assert have.verdict == want.verdict


def test_both_searches_agree_where_the_list_holds_the_whole_index(wide: Path, part: Frames, tmp_path: Path) -> None:
    path = altered(wide, tmp_path / "ef.spade", "matching", ef=960)
    own, other = Scorer.open(path), Scorer.open(path, searches=[HnswlibSearch(path, threads=1)])
    for frame in (part(80), part(81, flaw=True)):
        # Both find the truth; only which of several equally near cells is the last candidate may differ.
        np.testing.assert_allclose(own(frame).heatmap, other(frame).heatmap, rtol=1e-2)


@dataclass
class Naive:
    """Looks at every key, and keeps what it was asked."""

    keys: NDArray[np.int64]
    asked: list[tuple[tuple[int, ...], int, int]] = field(default_factory=list)

    def __call__(
        self, queries: NDArray[np.uint8], *, count: int, ef: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        assert queries.dtype == np.uint8 and allowed is None
        self.asked.append((queries.shape, count, ef))
        distances = np.array([((self.keys - query) ** 2).sum(axis=1) for query in queries.astype(np.int64)])
        labels = np.argsort(distances, axis=1, kind="stable")[:, :count]
        return labels, np.take_along_axis(distances, labels, axis=1)


def test_a_search_that_is_handed_in_is_used(edge: Built, part: Frames) -> None:
    index = Bundle.open(edge.path).indexes[0]
    search = Naive(index.keys[np.argsort(index.labels)].astype(np.int64))
    scorer, frames = Scorer.open(edge.path, searches=[search]), [part(80), part(81, flaw=True)]
    for frame in frames:
        assert scorer(frame).heatmap.mean() == pytest.approx(Scorer.open(edge.path)(frame).heatmap.mean(), rel=0.01)
    assert search.asked == [((16, 64), PROFILES["edge"].candidates, PROFILES["edge"].ef)] * 2
    scorer.batch(frames)
    assert search.asked[2:] == [((16, 64), PROFILES["edge"].candidates, PROFILES["edge"].ef)] * 2


def test_a_bundle_without_codes_is_searched_exactly_or_not_at_all(paper: Built, edge: Built) -> None:
    with pytest.raises(BundleError, match="--search exact"):
        Scorer.open(paper.path, search="hnsw")
    with pytest.raises(BundleError, match="--search exact"):
        Scorer.open(paper.path, searches=[HnswlibSearch(edge.path)])
    assert Scorer.open(paper.path, search="exact").matcher.matching == PROFILES["paper"]
    with pytest.raises(BundleError, match="--projection none"):
        HnswlibSearch(paper.path)


def test_k_neighbours_are_the_only_images_that_are_matched(
    edge: Built, wide: Path, part: Frames, tmp_path: Path
) -> None:
    for number, path in enumerate((edge.path, wide)):
        bundle = Bundle.open(path)
        few, every = (
            Scorer.open(altered(path, tmp_path / f"{number}.spade", "matching", neighbours=3, candidates=48)),
            Scorer.open(path),
        )
        frame = part(85, flaw=True)
        (pyramid,) = every.session(every.preprocessor(frame))
        order = ((bundle.gallery.descriptors.astype(np.float64) - pyramid.descriptor) ** 2).sum(axis=1).argsort()
        (matches,) = few.matcher.match([pyramid])
        found = {matches.nearest(row, column).item for row in range(16) for column in range(16)}
        assert found <= set(order[:3].tolist())
        ready = replace(few.matcher.matching, search="exact")
        assert ready.neighbours == 3
        exact = Scorer.open(tmp_path / f"{number}.spade", search="exact")(frame)
        np.testing.assert_allclose(few(frame).heatmap, exact.heatmap, rtol=0.05)
        farther = exact.heatmap.mean() - Scorer.open(path, search="exact")(frame).heatmap.mean()
        assert farther >= 0
    assert farther > 0  # of 60 images, the three nearest do not have all of the nearest embeddings


def same(have: FrameResult, want: FrameResult) -> None:
    """Equal but for the rounding of onnxruntime, which may differ between batches of other sizes."""
    assert have.score == pytest.approx(want.score, rel=1e-4)
    assert have.verdict == want.verdict and len(have.regions) == len(want.regions)
    np.testing.assert_allclose(have.heatmap, want.heatmap, rtol=1e-3, atol=1e-4 * want.heatmap.max())


@pytest.fixture
def five(part: Frames) -> list[NDArray[np.uint8]]:
    """Frames that differ in size, colour and goodness."""
    grey = part(34, flaw=True)[:, :, 0]
    return [part(30), part(31, size=(120, 90), flaw=True), part(32, size=(64, 64)), part(33)[::-1], grey]


def test_a_batch_is_as_good_as_one_by_one(edge: Built, paper: Built, five: list[NDArray[np.uint8]]) -> None:
    for built in (edge, paper):
        scorer = Scorer.open(built.path)
        single = [scorer(frame) for frame in five]
        assert len({result.score for result in single}) == 5
        together = scorer.batch(five)
        assert len(together) == 5
        for have, want in zip(together, single, strict=True):
            same(have, want)
        assert scorer.batch([]) == []
        assert scorer.batch(tuple(five[:1]))[0].score == single[0].score
        same(scorer.batch(np.stack([five[0], five[0]]))[1], single[0])


def test_a_batch_shares_its_time_among_its_frames(edge: Built, five: list[NDArray[np.uint8]]) -> None:
    results = Scorer.open(edge.path).batch(five)
    for stage in ("view", "network", "matching"):
        assert len({result.milliseconds[stage] for result in results}) == 1
    for result in results:
        stages = [time for stage, time in result.milliseconds.items() if stage != "total"]
        assert result.milliseconds["total"] == pytest.approx(sum(stages))


def test_a_bad_frame_spoils_a_batch_and_names_itself(edge: Built, five: list[NDArray[np.uint8]]) -> None:
    with pytest.raises(FrameError, match="float32"):
        Scorer.open(edge.path).batch([five[0], five[1].astype(np.float32)])


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_stream_is_one_by_one(edge: Built, five: list[NDArray[np.uint8]], count: int) -> None:
    scorer = Scorer.open(edge.path)
    single = [scorer(frame) for frame in five[:count]]
    streamed = list(scorer.stream(iter(five[:count])))
    assert [result.score for result in streamed] == [result.score for result in single]
    for have, want in zip(streamed, single, strict=True):
        assert np.array_equal(have.heatmap, want.heatmap) and have.regions == want.regions


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_stream_passes_on_what_is_wrong_with_a_frame_and_ends(
    edge: Built, five: list[NDArray[np.uint8]], at: int
) -> None:
    frames: list[NDArray[np.uint8]] = five[:3]
    frames[at] = np.zeros((0, 5), np.uint8)
    results = Scorer.open(edge.path).stream(frames)
    for _ in range(at):
        next(results)
    with pytest.raises(FrameError, match="empty frame"):
        next(results)
    assert list(results) == []


def test_a_stream_passes_on_what_is_wrong_with_its_source_and_may_be_left(
    edge: Built, five: list[NDArray[np.uint8]]
) -> None:
    def source() -> Iterator[NDArray[np.uint8]]:
        yield from five[:2]
        raise OSError("the camera is gone")

    scorer = Scorer.open(edge.path)
    results = scorer.stream(source())
    for frame in five[:2]:  # what was taken before is still judged
        assert next(results).score == scorer(frame).score
    with pytest.raises(OSError, match="the camera is gone"):
        next(results)
    left = scorer.stream(five)
    next(left)
    left.close()  # type: ignore[attr-defined]
    assert scorer(five[0]).score == next(scorer.stream(five)).score


class Broken:
    """A session whose finest level has a number that is none."""

    def __init__(self, session: Network, value: float) -> None:
        self.card, self.provider = session.card, session.provider
        self.node_fractions, self.passed_over = session.node_fractions, session.passed_over
        self._session, self._value = session, value

    def __call__(self, views: NDArray[np.float32]) -> list[Pyramid]:
        (pyramid,) = self._session(views)
        finest = pyramid.levels[0].copy()
        finest[3, 3, 5] = self._value
        return [Pyramid(levels=(finest, *pyramid.levels[1:]), descriptor=pyramid.descriptor)]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("profile", ["paper", "edge"])
def test_features_of_a_frame_that_are_not_finite_are_an_error_and_no_verdict(
    edge: Built, paper: Built, good_images: Path, profile: str, value: float
) -> None:
    scorer = Scorer.open({"edge": edge, "paper": paper}[profile].path)
    scorer = Scorer(scorer.bundle, Broken(scorer.session, value), scorer.matcher)
    with pytest.raises((ModelError, BundleError), match="finite"):
        scorer(np.load(good_images / "1.npy"))


def test_threads_and_structure_check_do_not_change_the_result(edge: Built, part: Frames) -> None:
    frame = part(90, flaw=True)
    expected = Scorer.open(edge.path)(frame)
    for scorer in (Scorer.open(edge.path, threads=1), Scorer.open(str(edge.path), verify="structure")):
        np.testing.assert_allclose(scorer(frame).heatmap, expected.heatmap, rtol=1e-4)


def test_the_number_of_threads_is_not_in_the_verdict(edge: Built, wide: Path, part: Frames) -> None:
    for path in (edge.path, wide):
        one, *others = (Scorer.open(path, threads=threads) for threads in (1, 2, 4))
        for frame in [part(seed, flaw=seed % 2 > 0) for seed in range(91, 99)]:
            expected, again = one(frame), one(frame)
            assert expected.score == again.score and np.array_equal(expected.heatmap, again.heatmap)
            for other in others:
                found = other(frame)
                same(expected, found)
                if abs(expected.score / expected.threshold - 1) > 1e-4:
                    assert found.verdict == expected.verdict


@pytest.mark.parametrize("shape", [(1, 1), (3, 200, 3), (500, 40), (64, 64, 1)])
def test_any_size_of_frame_is_scored(edge: Built, shape: tuple[int, ...]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    result = Scorer.open(edge.path)(frame)
    assert np.isfinite(result.score)
    for region in result.regions:
        assert region.x + region.width <= shape[1] and region.y + region.height <= shape[0]


def test_colour_order_matters_and_is_bgr(edge: Built, good_images: Path) -> None:
    frame = np.load(good_images / "1.npy")
    scorer = Scorer.open(edge.path)
    assert scorer(frame).score < 0.01 * scorer(np.ascontiguousarray(frame[:, :, ::-1])).score


def test_bad_frames_and_options_are_refused(edge: Built) -> None:
    with pytest.raises(FrameError, match="expected a uint8 array"):
        Scorer.open(edge.path)(cv2.UMat(np.zeros((4, 4), np.uint8)))
    with pytest.raises(UsageError, match="expected search to be exact, hnsw or place, found 'quick'"):
        Scorer.open(edge.path, search="quick")
    with pytest.raises(UsageError, match="expected no searches with search exact, found 1"):
        Scorer.open(edge.path, search="exact", searches=[HnswlibSearch(edge.path)])
    with pytest.raises(UsageError, match="verify"):
        Scorer.open(edge.path, verify="no")


def test_a_result_says_which_provider_ran_which_share(
    install: Callable[[Machine], Machine], edge: Built, good_images: Path
) -> None:
    frame = np.load(good_images / "0.npy")
    plain = Scorer.open(edge.path)(frame)
    assert (plain.provider, plain.providers) == (CPU, {CPU: 1.0})
    machine = install(Machine(left=("Gather",)))
    result = Scorer.open(edge.path, providers="tensorrt")(frame)
    assert result.provider == TENSORRT and list(result.providers) == [TENSORRT, CUDA]
    assert sum(result.providers.values()) == pytest.approx(1) and result.score == pytest.approx(plain.score, rel=1e-4)
    assert machine.asked[0][0][1]["trt_profile_max_shapes"] == "frames:4x64x64x3"
    assert Scorer.open(edge.path, providers=[CUDA])(frame).provider == CUDA
    (fallen,) = Scorer.open(edge.path, providers="cuda", allow_fallback=True).batch([frame])
    assert fallen.provider == CUDA


def test_engines_are_tuned_for_the_views_of_the_bundle(
    install: Callable[[Machine], Machine], with_views: Callable[[str], Built]
) -> None:
    machine = install(Machine())
    Scorer.open(with_views("shared").path, providers="tensorrt")  # 6 tiles
    options = machine.asked[0][0][1]
    assert [options[f"trt_profile_{x}_shapes"][:9] for x in ("min", "opt", "max")] == [
        "frames:1x",
        "frames:4x",
        "frames:4x",
    ]
