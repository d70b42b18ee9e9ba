"""Frames with several views, regions and masks from the bundle to the verdict, against naive matching in torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, Built, Views, build
from spade_edge.galleries.index_writer import HnswlibSearch
from spade_edge.galleries.leave_one_out import FEW
from spade_edge.runtime import BundleError, FrameError, FrameResult, Scorer, UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import FILE
from spade_edge.runtime.geometry.layout import WHOLE
from spade_edge.runtime.matching.config import Matching
from spade_edge.runtime.matching.distances import Matches
from spade_edge.runtime.matching.gallery import CodedGallery, Features
from spade_edge.runtime.network.pyramid import Pyramid

torch = pytest.importorskip("torch")

Frames = Callable[..., NDArray[np.uint8]]
Bundles = Callable[[str], Built]
# The names of tests/conftest.py.
SHARED = ["shared", "shared, 5 neighbours", "shared, exact", "shared, no codes", "tiles in regions", "masked"]
PER_VIEW = ["per-view", "per-view, 2 neighbours", "per-view, no codes", "regions, per-view", "masked regions, per-view"]
MASKED = ["masked", "masked regions, per-view", "masked regions, no codes"]
SWAPPED = "4.npy"
EVERY = [*SHARED, *PER_VIEW, "regions, vectors", "masked regions, no codes"]
FLAWS = [(34, 8), (20, 24), (56, 36), (10, 40)]  # (x, y) of 8 pixels; where tiles meet, in corners, anywhere


def same(have: FrameResult, want: FrameResult) -> None:
    """Equal but for the rounding of onnxruntime, which may differ between batches of other sizes."""
    assert have.score == pytest.approx(want.score, rel=1e-4)
    assert have.verdict == want.verdict and len(have.regions) == len(want.regions)
    np.testing.assert_allclose(have.heatmap, want.heatmap, rtol=1e-3, atol=1e-4 * want.heatmap.max())


def embeddings_of(pyramid: Pyramid) -> torch.Tensor:
    """(positions, C) float64, by torch's own interpolation."""
    grid = pyramid.levels[0].shape[:2]
    parts = [
        torch.nn.functional.interpolate(
            torch.from_numpy(np.array(level)).double().permute(2, 0, 1)[None], size=grid, mode="bilinear"
        )[0]
        for level in pyramid.levels
    ]
    return torch.cat(parts).flatten(1).T


class Naive:
    """Every embedding against every embedding of the items that a view may match."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.gallery = scorer.matcher.gallery
        self.count, self.views = len(self.gallery), len(scorer.canvas.boxes)
        self._known = [embeddings_of(self.gallery.pyramid(item)) for item in range(self.count * self.views)]

    def items(self, view: int, image: NDArray[np.float32], without: int | None = None) -> list[int]:
        """By the meaning of `gallery` and `neighbours`."""
        matching = self.scorer.matcher.matching
        possible = [
            (
                float(((self.gallery.descriptors[v * self.count + i].astype(np.float64) - image) ** 2).sum()),
                v * self.count + i,
            )
            for v in range(self.views)
            for i in range(self.count)
            if i != without and (matching.gallery == "shared" or v == view)
        ]
        return [item for _, item in sorted(possible)[: matching.neighbours]]

    def rounded(self, pyramid: Pyramid) -> Pyramid:
        """What the codes of a view stand for."""
        if not isinstance(self.gallery, CodedGallery):
            return pyramid
        coding = self.gallery.coding
        levels = [
            (np.clip(np.round((level.astype(np.float64) - low) / step), 0, 127) * step + low).astype(np.float32)
            for level, low, step in zip(
                pyramid.levels, coding.lowest.astype(np.float64), coding.steps.astype(np.float64), strict=True
            )
        ]
        return Pyramid(levels=tuple(levels), descriptor=pyramid.descriptor)

    def distances(self, pyramid: Pyramid, view: int, without: int | None = None) -> NDArray[np.float64]:
        """Eq. 3."""
        known = torch.cat([self._known[item] for item in self.items(view, pyramid.descriptor, without)])
        own = embeddings_of(self.rounded(pyramid))
        squared = (own**2).sum(dim=1, keepdim=True) + (known**2).sum(dim=1) - 2 * own @ known.T
        nearest = squared.topk(self.scorer.matcher.matching.kappa, largest=False).values
        return nearest.mean(dim=1).clamp(min=0).reshape(pyramid.grid).numpy()


def matched(scorer: Scorer, frame: NDArray[np.uint8]) -> list[tuple[Pyramid, Matches]]:
    """What is found for each view of a frame."""
    pyramids = [scorer.session(view[np.newaxis])[0] for view in scorer.preprocessor(frame)]
    return list(zip(pyramids, scorer.matcher.match(pyramids, views=range(len(pyramids))), strict=True))


def items_in(matches: Matches) -> set[int]:
    return {matches.nearest(row, column).item for row in range(8) for column in range(8)}


@pytest.mark.parametrize("profile", ["edge", "paper"])
def test_a_region_of_the_whole_frame_is_the_whole_frame(
    edge: Built, paper: Built, part: Frames, tmp_path: Path, profile: str
) -> None:
    built = {"edge": edge, "paper": paper}[profile]
    copy = Path(shutil.copytree(built.path, tmp_path / "b.spade"))
    value = json.loads((copy / FILE).read_text())
    value["layout"] = {"frame": [96, 80], "boxes": [[0, 0, 80, 96]], "masked": False}
    (copy / FILE).write_text(json.dumps(value))
    whole, region = Scorer.open(built.path), Scorer.open(copy)
    assert whole.canvas.layout == WHOLE and len(region.canvas.layout.boxes) == 1
    for frame in (part(50), part(51, flaw=True), part(52, flaw=True)[:, :, 0]):
        want, have = whole(frame), region(frame)
        assert have.score == pytest.approx(want.score, rel=1e-6) and have.verdict == want.verdict
        np.testing.assert_allclose(have.heatmap, want.heatmap, rtol=1e-6)
        assert have.extent == want.extent == (0, 0, 80, 96)
        assert have.looked_at is None and want.looked_at is None
        assert [(r.x, r.y, r.width, r.height) for r in have.regions] == [
            (r.x, r.y, r.width, r.height) for r in want.regions
        ]
        for one, other in zip(have.nearest, want.nearest, strict=True):
            assert (one.image, one.view) == (other.image, 0)
            assert (one.x, one.y, one.distance) == pytest.approx((other.x, other.y, other.distance))
    with pytest.raises(FrameError, match="expected frames of 80x96 pixels.*found 96x80"):
        region(part(50, size=(80, 96)))


@pytest.mark.parametrize("name", EVERY)
def test_a_flaw_is_found_where_it_is_whatever_the_views(with_views: Bundles, texture: Frames, name: str) -> None:
    scorer = Scorer.open(with_views(name).path, threads=1)
    names, boxes = scorer.bundle.manifest.names, scorer.canvas.boxes
    clean = scorer(texture(100))
    for x, y in FLAWS:
        middle = x + 4, y + 4
        if not any(
            left + 4 <= middle[0] <= left + w - 4 and top + 4 <= middle[1] <= top + h - 4 for left, top, w, h in boxes
        ):
            continue
        result = scorer(texture(100, flaw=(x, y)))
        # An image score from vectors hardly sees it.
        if scorer.matcher.matching.image_score == "map":
            assert result.verdict == "defect" and result.score > 1.2 * clean.score
        worst, match = result.regions[0], result.nearest[0]
        assert worst.x <= middle[0] < worst.x + worst.width and worst.y <= middle[1] < worst.y + worst.height
        assert worst.score == result.heatmap.max() > clean.heatmap.max()
        assert len(result.nearest) == len(result.regions)
        # In the frame, as any pixel of the map is.
        left, top, wide, high = result.extent
        row, column = np.unravel_index(result.heatmap.argmax(), result.heatmap.shape)
        peak = (
            left + (column + 0.5) * wide / result.heatmap.shape[1],
            top + (row + 0.5) * high / result.heatmap.shape[0],
        )
        *_, w, h = boxes[scorer.canvas.view_of(middle[1] / 56, middle[0] / 72)]
        assert abs(peak[0] - middle[0]) < w / 2 and abs(peak[1] - middle[1]) < h / 2  # a cell of the coarsest level
        # The good place lies inside the view that it is said to lie in.
        assert match.image in names and match.distance > 0
        x0, y0, w, h = boxes[match.view]
        assert x0 < match.x * 72 < x0 + w and y0 < match.y * 56 < y0 + h
        if "per-view" in name:  # of the view that the peak lies in
            x0, y0, w, h = boxes[match.view]
            assert x0 <= peak[0] <= x0 + w and y0 <= peak[1] <= y0 + h


@pytest.mark.parametrize("name", EVERY)
def test_the_good_images_are_good_and_near_themselves(with_views: Bundles, textures: Path, name: str) -> None:
    built = with_views(name)
    scorer = Scorer.open(built.path)
    for image in built.manifest.names:
        result = scorer(np.load(textures / image))
        # One of the six has red and blue swapped: it is odd, so the limits of colour do not include it.
        assert result.verdict == ("cannot_judge" if image == SWAPPED else "good")
        if "kappa" not in name and scorer.matcher.matching.kappa == 1:
            assert result.heatmap.max() < 1e-3 * built.manifest.threshold.pixel
            for view, (_, matches) in enumerate(matched(scorer, np.load(textures / image))):
                own = view * len(built.manifest.names) + built.manifest.names.index(image)
                near = matches.nearest(5, 5)
                assert near.item == own or (name.startswith("masked") and near.distance < 1e-3)
                assert near.position == 5 * 8 + 5 or near.item != own


@pytest.mark.parametrize(
    "name", ["shared, exact", "shared, no codes", "per-view, no codes", "masked regions, no codes"]
)
def test_exact_search_is_brute_force_over_the_items_a_view_may_match(
    with_views: Bundles, texture: Frames, name: str
) -> None:
    scorer = Scorer.open(with_views(name).path, threads=1)
    naive = Naive(scorer)
    found = matched(scorer, texture(101, flaw=(34, 16)))
    for view, (pyramid, matches) in enumerate(found):
        np.testing.assert_allclose(matches.distances, naive.distances(pyramid, view), rtol=1e-3, atol=1e-3)
        assert items_in(matches) <= set(naive.items(view, pyramid.descriptor))
    # And these distances, stitched, are the map.
    result = scorer(texture(101, flaw=(34, 16)))
    stitched = scorer.stitching(
        [naive.distances(pyramid, v).astype(np.float32) for v, (pyramid, _) in enumerate(found)]
    )
    np.testing.assert_allclose(result.heatmap, stitched, rtol=1e-3, atol=1e-3)
    assert scorer.bundle.baseline is not None
    over = scorer.stitching.score(stitched - scorer.bundle.baseline)
    assert result.score == pytest.approx(over, rel=1e-3)


@pytest.mark.parametrize("name", ["shared", "shared, 5 neighbours", *PER_VIEW, "tiles in regions", "masked"])
def test_exact_search_on_any_bundle_and_graph_search_near_it(with_views: Bundles, texture: Frames, name: str) -> None:
    path = with_views(name).path
    exact, graph = Scorer.open(path, search="exact"), Scorer.open(path)
    naive = Naive(exact)
    frame = texture(102, flaw=(20, 30))
    over = []
    for view, ((pyramid, best), (_, near)) in enumerate(zip(matched(exact, frame), matched(graph, frame), strict=True)):
        truth = naive.distances(pyramid, view)
        np.testing.assert_allclose(best.distances, truth, rtol=1e-3, atol=1e-2)
        assert (near.distances >= truth * (1 - 1e-3) - 1e-2).all()
        over.append((near.distances.mean() - 1e-3) / truth.mean())
        allowed = set(naive.items(view, pyramid.descriptor))
        assert items_in(best) | items_in(near) <= allowed
    assert max(over) <= 1.1 and np.mean(over) <= 1.04


@pytest.mark.parametrize("name", PER_VIEW)
def test_with_a_gallery_per_view_only_the_same_view_is_matched(with_views: Bundles, texture: Frames, name: str) -> None:
    scorer = Scorer.open(with_views(name).path, threads=1)
    count, views = len(scorer.matcher.gallery), len(scorer.canvas.boxes)
    assert scorer.matcher.gallery.views == views >= 2
    # Even where another view would fit far better: each is shown what the next one saw of a good image.
    gallery = scorer.matcher.gallery
    pyramids = [gallery.pyramid(((view + 1) % views) * count) for view in range(views)]
    for search in (None, "exact"):
        matcher = Scorer.open(scorer.bundle.path, search=search).matcher
        for view, matches in enumerate(matcher.match(pyramids, views=range(views))):
            assert {item // count for item in items_in(matches)} == {view}
            (alone,) = matcher.match([pyramids[view]], views=[view])
            np.testing.assert_array_equal(alone.distances, matches.distances)
        again = matcher.match([pyramids[1], pyramids[0], pyramids[1]], views=[1, 0, 1])  # in any order
        np.testing.assert_array_equal(again[0].distances, again[2].distances)
        assert {item // count for item in items_in(again[1])} == {0}


def test_with_a_shared_gallery_any_view_is_matched(with_views: Bundles) -> None:
    for name in ("shared", "shared, no codes"):
        scorer = Scorer.open(with_views(name).path, threads=1)
        gallery, count = scorer.matcher.gallery, len(scorer.matcher.gallery)
        pyramids = [gallery.pyramid(((view + 1) % 6) * count) for view in range(6)]
        for view, matches in enumerate(scorer.matcher.match(pyramids, views=range(6))):
            assert items_in(matches) == {((view + 1) % 6) * count}
            assert matches.distances.max() < 1e-2


@pytest.mark.parametrize("name", EVERY)
def test_no_view_of_an_image_that_is_left_out_is_matched(with_views: Bundles, name: str) -> None:
    scorer = Scorer.open(with_views(name).path, threads=1)
    gallery, matcher = scorer.matcher.gallery, scorer.matcher
    count = len(gallery)
    for image in (0, 3, 5):
        others = np.arange(count) != image
        for view in range(gallery.views):
            pyramid = gallery.pyramid(view * count + image)
            (matches,) = matcher.match([pyramid], views=[view], allowed=others)
            items = items_in(matches)
            assert image not in {item % count for item in items}
            if matcher.matching.gallery == "per-view":
                assert {item // count for item in items} == {view}
            elif gallery.views == 6:
                (free,) = matcher.match([pyramid], views=[view])
                assert image in {item % count for item in items_in(free)}


@pytest.mark.parametrize(
    "name", ["shared, no codes", "per-view, no codes", "shared, exact", "masked regions, no codes"]
)
def test_the_threshold_comes_from_images_that_were_left_out_as_a_whole(with_views: Bundles, name: str) -> None:
    built = with_views(name)
    scorer = Scorer.open(built.path)
    naive = Naive(scorer)
    views, count = naive.views, naive.count
    maps = []
    for image in range(count):
        pyramids = [scorer.matcher.gallery.pyramid(view * count + image) for view in range(views)]
        distances = [
            naive.distances(pyramid, view, without=image).astype(np.float32) for view, pyramid in enumerate(pyramids)
        ]
        maps.append(scorer.stitching(distances).astype(np.float64))
    fraction = count / (count + FEW)
    for image, score in enumerate(built.manifest.evidence.scores):
        expected = fraction * np.mean([maps[other] for other in range(count) if other != image], axis=0)
        assert score == pytest.approx(scorer.stitching.score((maps[image] - expected).astype(np.float32)), rel=1e-3)
    assert built.manifest.evidence.map_maxima == pytest.approx([heatmap.max() for heatmap in maps], rel=1e-3)
    assert built.manifest.threshold.pixel == max(built.manifest.evidence.of_maps.scores)
    assert scorer.bundle.baseline is not None
    np.testing.assert_allclose(scorer.bundle.baseline, fraction * np.mean(maps, axis=0), rtol=1e-3, atol=1e-4)
    assert built.manifest.threshold.score == max(built.manifest.evidence.scores)


def worst_view(
    gallery: Features, vectors: list[NDArray[np.float32]], matching: Matching, without: int | None = None
) -> float:
    """The largest, over two views of six images, of the mean squared distances to the K nearest vectors."""
    scores = []
    for view, vector in enumerate(vectors):
        items = range(view * 6, view * 6 + 6) if matching.gallery == "per-view" else range(12)
        known = [gallery.descriptors[item].astype(np.float64) for item in items if item % 6 != without]
        scores.append(np.sort([((other - vector) ** 2).sum() for other in known])[: matching.neighbours].mean())
    return float(max(scores))


def test_an_image_score_from_vectors_is_that_of_the_worst_view(
    with_views: Bundles, texture: Frames, tiny_model: Path, textures: Path, tmp_path: Path
) -> None:
    name = "regions, vectors"
    matching = Matching(neighbours=2, image_score="descriptors", gallery="per-view")
    other = build(
        textures,
        model=tiny_model,
        output=tmp_path / "b.spade",
        options=BuildOptions(views=Views(regions=((0, 0, 32, 30), (25, 10, 45, 45))), matching=matching, place="free"),
    )
    for built in (with_views(name), other):
        scorer = Scorer.open(built.path)
        gallery, frame = scorer.matcher.gallery, texture(103, flaw=(34, 16))
        vectors = [pyramid.descriptor for pyramid, _ in matched(scorer, frame)]
        assert scorer(frame).score == pytest.approx(worst_view(gallery, vectors, built.manifest.matching), rel=1e-3)
        for image, have in enumerate(built.manifest.evidence.scores):
            kept = [gallery.descriptors[image], gallery.descriptors[6 + image]]
            assert have == pytest.approx(worst_view(gallery, kept, built.manifest.matching, without=image), rel=1e-4)


@pytest.mark.parametrize("name", MASKED)
def test_under_the_mask_anything_may_happen(
    with_views: Bundles, texture: Frames, looked_at: NDArray[np.bool_], name: str
) -> None:
    scorer = Scorer.open(with_views(name).path, threads=1)
    rng = np.random.default_rng(0)
    for frame in (texture(104), texture(104, flaw=(20, 30)), texture(105)[:, :, 0]):
        want = scorer(frame)
        assert want.looked_at is not None and want.looked_at.shape == want.heatmap.shape
        ignored = ~looked_at if frame.ndim == 2 else ~looked_at[..., np.newaxis]
        for garbage in (np.uint8(0), np.uint8(255), rng.integers(0, 256, frame.shape, dtype=np.uint8)):
            have = scorer(np.where(ignored, garbage, frame))
            assert have.score == want.score and have.verdict == want.verdict
            assert np.array_equal(have.heatmap, want.heatmap)
            assert have.regions == want.regions and have.nearest == want.nearest
            assert have.looked_at is not None and np.array_equal(have.looked_at, want.looked_at)
        # The map is 0 there, and looked at is what the mask leaves of what the views cover.
        canvas = scorer.canvas
        for row, y in enumerate(canvas.centres(0)):
            for column, x in enumerate(canvas.centres(1)):
                seen = any(left <= x < left + w and top <= y < top + h for left, top, w, h in canvas.boxes)
                if not (seen and looked_at[int(y), int(x)]):
                    assert want.heatmap[row, column] == 0 and not want.looked_at[row, column]
        assert want.looked_at.mean() > 0.4
    for region in scorer(texture(104, flaw=(20, 30))).regions:
        box = np.s_[region.y : region.y + region.height, region.x : region.x + region.width]
        assert looked_at[box].any()


@pytest.mark.parametrize("name", [*MASKED, "regions, per-view", "tiles in regions"])
def test_what_lies_outside_every_view_changes_nothing(with_views: Bundles, texture: Frames, name: str) -> None:
    scorer = Scorer.open(with_views(name).path, threads=1)
    frame = texture(106)
    inside = np.zeros(frame.shape[:2], bool)
    for x, y, width, height in scorer.canvas.boxes:
        inside[y : y + height, x : x + width] = True
    assert not inside.all()
    want, have = scorer(frame), scorer(np.where(inside[..., None], frame, 255 - frame))
    assert have.score == want.score and np.array_equal(have.heatmap, want.heatmap)


@pytest.mark.parametrize("name", EVERY)
def test_a_batch_and_a_stream_are_one_by_one(with_views: Bundles, texture: Frames, name: str) -> None:
    scorer = Scorer.open(with_views(name).path, threads=1)
    frames = [texture(110), texture(111, flaw=(34, 16)), texture(112)[:, :, 0], texture(113)[::-1]]
    single = [scorer(frame) for frame in frames]
    assert len({result.score for result in single}) == 4
    for have, want in zip(scorer.batch(frames), single, strict=True):
        same(have, want)
        stages = [time for stage, time in have.milliseconds.items() if stage != "total"]
        assert set(have.milliseconds) == {"view", "network", "matching", "map", "total"}
        assert have.milliseconds["total"] == pytest.approx(sum(stages))
    streamed = list(scorer.stream(iter(frames)))
    assert [result.score for result in streamed] == [result.score for result in single]
    for have, want in zip(streamed, single, strict=True):
        assert np.array_equal(have.heatmap, want.heatmap)
        assert have.regions == want.regions and have.nearest == want.nearest


def test_a_stream_may_use_its_memory_again(with_views: Bundles, texture: Frames) -> None:
    scorer = Scorer.open(with_views("shared").path)
    frames = [texture(seed) for seed in (114, 115, 116)]
    buffer = np.empty_like(frames[0])

    def camera() -> object:
        for frame in frames:
            buffer[:] = frame
            yield buffer

    streamed = [result.score for result in scorer.stream(camera())]  # type: ignore[arg-type]
    assert streamed == [scorer(frame).score for frame in frames]


@pytest.mark.parametrize("name", ["shared", "per-view", "shared, no codes", "masked regions, per-view"])
def test_the_number_of_threads_is_not_in_the_verdict(with_views: Bundles, texture: Frames, name: str) -> None:
    one, two = (Scorer.open(with_views(name).path, threads=threads) for threads in (1, 2))
    for frame in (texture(117), texture(118, flaw=(34, 16))):
        same(one(frame), two(frame))
        assert one(frame).score == one(frame).score


def test_hnswlib_may_search_each_view(with_views: Bundles, texture: Frames) -> None:
    for name in ("per-view", "per-view, 2 neighbours", "regions, per-view", "shared"):
        path = with_views(name).path
        opened = Bundle.open(path)
        searches = [HnswlibSearch(path, view=view, threads=1) for view in range(len(opened.indexes))]
        own, theirs = Scorer.open(path), Scorer.open(path, searches=searches)
        for frame in (texture(119), texture(120, flaw=(34, 16))):
            have, want = theirs(frame), own(frame)
            assert have.heatmap.mean() == pytest.approx(want.heatmap.mean(), rel=0.01)
            assert have.verdict == want.verdict
        keys = opened.indexes[-1].keys
        labels, distances = searches[-1](keys[:5], count=1, ef=len(keys))
        assert np.array_equal(labels[:, 0], opened.indexes[-1].labels[:5]) and (distances == 0).all()
        with pytest.raises(UsageError, match=f"expected a view from 0 to {len(searches) - 1}, found {len(searches)}"):
            HnswlibSearch(path, view=len(searches))
        with pytest.raises(UsageError, match="expected a view from 0"):
            HnswlibSearch(path, view=-1)


def test_as_many_searches_as_there_are_indexes(with_views: Bundles) -> None:
    per_view, shared = with_views("per-view").path, with_views("shared").path
    search = HnswlibSearch(per_view)
    with pytest.raises(UsageError, match="expected 6 searches, as the gallery is per-view, found 1"):
        Scorer.open(per_view, searches=[search])
    with pytest.raises(UsageError, match="expected 6 searches, as the gallery is per-view, found 5"):
        Scorer.open(per_view, searches=[search] * 5)
    with pytest.raises(UsageError, match="expected 1 searches, as the gallery is shared, found 6"):
        Scorer.open(shared, searches=[search] * 6)
    with pytest.raises(BundleError, match="built with --projection none"):
        Scorer.open(with_views("per-view, no codes").path, searches=[search])


class Asked:
    """A search over all keys that keeps what it was asked."""

    def __init__(self, keys: NDArray[np.uint8]) -> None:
        self.keys = keys.astype(np.int64)
        self.asked: list[tuple[int, bool]] = []

    def __call__(
        self, queries: NDArray[np.uint8], *, count: int, ef: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        self.asked.append((len(queries), allowed is not None))
        distances = ((self.keys[np.newaxis] - queries.astype(np.int64)[:, np.newaxis]) ** 2).sum(axis=2)
        if allowed is not None:
            distances[:, ~allowed] = np.iinfo(np.int64).max
        labels = np.argsort(distances, axis=1, kind="stable")[:, :count]
        return labels, np.take_along_axis(distances, labels, axis=1)


@pytest.mark.parametrize("name", ["shared", "per-view"])
def test_each_index_is_asked_for_one_view_after_the_other(with_views: Bundles, texture: Frames, name: str) -> None:
    path = with_views(name).path
    indexes = Bundle.open(path).indexes
    searches = [Asked(index.keys[np.argsort(index.labels)]) for index in indexes]
    scorer = Scorer.open(path, searches=searches)
    frame = texture(121, flaw=(34, 16))
    assert scorer(frame).heatmap.mean() == pytest.approx(Scorer.open(path)(frame).heatmap.mean(), rel=0.01)
    sizes = [[queries for queries, _ in search.asked] for search in searches]
    # Six views of 4 cells.
    assert sizes == ([[4] * 6] if name == "shared" else [[4]] * 6)


def test_an_index_per_view_is_asked_without_a_filter(with_views: Bundles, texture: Frames) -> None:
    path = with_views("per-view").path
    searches = [Asked(index.keys[np.argsort(index.labels)]) for index in Bundle.open(path).indexes]
    Scorer.open(path, searches=searches)(texture(121))
    assert not any(filtered for search in searches for _, filtered in search.asked)


@pytest.mark.parametrize("name", ["shared", "masked", "regions, per-view"])
def test_frames_of_another_size_are_refused_in_one_line(with_views: Bundles, texture: Frames, name: str) -> None:
    scorer = Scorer.open(with_views(name).path, threads=1)
    for size in ((72, 56), (56, 73), (28, 36)):
        with pytest.raises(FrameError, match=f"expected frames of 72x56 pixels.*found {size[1]}x{size[0]}; ") as caught:
            scorer(texture(0, size=size))
        assert "\n" not in str(caught.value)
    with pytest.raises(FrameError, match="found 56x72"):
        scorer.batch([texture(0), texture(0, size=(72, 56))])
    results = scorer.stream([texture(0), texture(0, size=(72, 56))])
    next(results)
    with pytest.raises(FrameError, match="found 56x72"):
        next(results)


def test_the_result_says_what_its_map_covers(with_views: Bundles, texture: Frames) -> None:
    tiled, regions, masked = (
        Scorer.open(with_views(n).path)(texture(122)) for n in ("shared", "regions, per-view", "masked")
    )
    assert tiled.extent == (0, 0, 72, 56) and tiled.heatmap.shape == (56, 72) and tiled.looked_at is None
    assert regions.extent == (0, 0, 70, 55) and regions.looked_at is not None
    assert masked.extent == (6, 0, 66, 56) and masked.looked_at is not None
    for result in (regions, masked):
        assert result.looked_at is not None and result.looked_at.dtype == bool
        assert result.looked_at.shape == result.heatmap.shape and result.heatmap.dtype == np.float32
        assert (result.heatmap[~result.looked_at] == 0).all() and not result.looked_at.all()


def test_a_result_that_is_painted_on_does_not_change_the_next(with_views: Bundles, texture: Frames) -> None:
    scorer = Scorer.open(with_views("masked").path)
    before = scorer(texture(123))
    score, seen = before.score, before.looked_at
    assert seen is not None
    with pytest.raises(ValueError, match="read-only"):
        seen[:] = False
    before.heatmap[:] = 0
    assert scorer(texture(123)).score == score
