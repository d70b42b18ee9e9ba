"""Whether cells are matched at their place: what is chosen, and what a bundle does with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from altered import altered, replaced
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, Built, Views, build
from spade_edge.galleries.exclusion import exclude, include
from spade_edge.galleries.place_change import set_place
from spade_edge.runtime import BundleError, Scorer, UsageError
from spade_edge.runtime.bundle.manifest import FILE, LEAVE_ONE_OUT, Manifest
from spade_edge.runtime.matching.config import Matching, parsed_place

Frames = Callable[..., NDArray[np.uint8]]


def always_alike(seed: int) -> NDArray[np.uint8]:
    """A plate with four different marks that always lie alike, and a little noise. (64, 64) uint8."""
    rng = np.random.default_rng(seed)
    plate = np.full((64, 64), 60.0)
    for number, (row, column) in enumerate(((4, 4), (4, 36), (36, 4), (36, 36))):
        y, x = np.mgrid[:24, :24]
        plate[row : row + 24, column : column + 24] += 60 * (
            1 + np.sin((x if number % 2 else y) * (0.3 + 0.25 * number))
        )
    return np.clip(plate + rng.normal(0, 2, plate.shape), 0, 255).astype(np.uint8)


def anywhere(seed: int) -> NDArray[np.uint8]:
    """The same plate, cut at any place from one that repeats itself. (64, 64) uint8."""
    rng = np.random.default_rng(seed)
    return np.roll(always_alike(seed), tuple(rng.integers(0, 64, 2)), axis=(0, 1))


def folder_of(folder: Path, images: list[NDArray[np.uint8]]) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        np.save(folder / f"{number}.npy", image)
    return folder


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("plates") / "good", [always_alike(seed) for seed in range(8)])


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory, plates: Path, model: Path) -> Built:
    return build(plates, model=model, output=tmp_path_factory.mktemp("placed") / "b.spade")


@pytest.fixture
def copy(placed: Built, tmp_path: Path) -> Path:
    return Path(shutil.copytree(placed.path, tmp_path / "copy.spade"))


def test_parts_that_always_lie_alike_are_matched_by_place(placed: Built) -> None:
    matching, choice = placed.manifest.matching, placed.manifest.place
    assert (matching.place, matching.search, matching.candidates) == (1, "place", 6)
    assert choice.auto and choice.images == 8 and choice.rise is not None and choice.most is not None
    assert 1 <= choice.rise <= choice.most
    assert choice.reason in placed.remarks
    assert (
        not placed.manifest.index_roles() and "keys" in placed.manifest.files and "entries" not in placed.manifest.files
    )


def test_parts_that_lie_anywhere_are_matched_anywhere(model: Path, tmp_path: Path) -> None:
    built = build(
        folder_of(tmp_path / "good", [anywhere(seed) for seed in range(8)]), model=model, output=tmp_path / "b.spade"
    )
    assert (built.manifest.matching.place, built.manifest.matching.search) == (None, "hnsw")
    assert built.manifest.matching.candidates == Matching().candidates
    choice = built.manifest.place
    assert choice.auto and choice.rise is not None and choice.most is not None and choice.rise > choice.most


def test_a_few_images_and_views_that_share_a_gallery_are_matched_anywhere(
    plates: Path, model: Path, tiny_model: Path, tmp_path: Path
) -> None:
    few = folder_of(tmp_path / "few", [always_alike(seed) for seed in range(4)])
    for images, network, options in (
        (few, model, BuildOptions()),
        (plates, tiny_model, BuildOptions(views=Views(tile=(32, 32), overlap=0))),
        (plates, model, BuildOptions(matching=Matching(search="exact"))),
    ):
        built = build(images, model=network, output=tmp_path / "b.spade", options=options)
        assert built.manifest.matching.place is None
        assert built.manifest.place.auto and built.manifest.place.rise is None


def test_the_middle_view_decides_for_a_gallery_per_view(model: Path, tmp_path: Path) -> None:
    images = [np.hstack([always_alike(seed), anywhere(seed), always_alike(seed + 20)]) for seed in range(8)]
    options = BuildOptions(views=Views(tile=(64, 64), overlap=0), matching=Matching(gallery="per-view"))
    built = build(folder_of(tmp_path / "good", images), model=model, output=tmp_path / "b.spade", options=options)
    choice = built.manifest.place
    assert built.manifest.matching == options.matching and choice.rise is not None and choice.most is not None
    assert choice.rise > choice.most


def test_images_of_one_part_are_not_compared_with_each_other(model: Path, tmp_path: Path) -> None:
    # Each part was photographed twice: one picture is like the other at its place, whatever the product.
    for part in range(8):
        image = anywhere(part)
        folder_of(tmp_path / f"{part}", [image, image + np.uint8(1)])
    options = BuildOptions(groups="folder")
    built = build(tmp_path, model=model, output=tmp_path.parent / f"{tmp_path.name}.spade", options=options)
    choice = built.manifest.place
    assert built.manifest.threshold.parts == 8 and choice.images == 16
    assert choice.rise is not None and choice.most is not None and choice.rise > choice.most


def test_what_a_user_asks_for_is_done(plates: Path, model: Path, tmp_path: Path) -> None:
    for place, search in (("free", "hnsw"), (0, "place"), (3, "place")):
        built = build(plates, model=model, output=tmp_path / "b.spade", options=BuildOptions(place=place))
        assert built.manifest.matching.search == search
        assert built.manifest.matching.place == (None if place == "free" else place)
        assert built.manifest.matching.candidates == Matching().candidates
        assert not built.manifest.place.auto


def test_tiles_are_matched_by_place_in_a_gallery_of_their_own(plates: Path, tiny_model: Path, tmp_path: Path) -> None:
    tiles = Views(tile=(32, 32), overlap=0)
    with pytest.raises(UsageError):
        build(plates, model=tiny_model, output=tmp_path / "b.spade", options=BuildOptions(views=tiles, place=1))
    assert not (tmp_path / "b.spade").exists()
    options = BuildOptions(views=tiles, matching=Matching(gallery="per-view"), place=1)
    path = build(plates, model=tiny_model, output=tmp_path / "b.spade", options=options).path
    scorer = Scorer.open(path)
    (*views,) = scorer.session(scorer.preprocessor(always_alike(50)))
    for number, matches in enumerate(scorer.matcher.match(views, views=range(len(views)))):
        items = {matches.nearest(row, column).item // 8 for row in range(8) for column in range(8)}
        assert items == {number}


def test_a_defect_that_is_good_elsewhere_is_found_by_place(
    placed: Built, plates: Path, model: Path, tmp_path: Path
) -> None:
    frame = always_alike(60)
    frame[4:28, 4:28], frame[36:60, 36:60] = frame[36:60, 36:60].copy(), frame[4:28, 4:28].copy()  # marks swapped
    free = build(plates, model=model, output=tmp_path / "b.spade", options=BuildOptions(place="free"))
    ratios = []
    for path in (placed.path, free.path):
        scorer = Scorer.open(path)
        assert scorer(always_alike(61)).verdict == "good"
        result = scorer(frame)
        ratios.append(result.heatmap[8:24, 8:24].mean() / scorer(always_alike(61)).heatmap[8:24, 8:24].mean())
    assert ratios[0] > 1.5 * ratios[1]


def test_a_placed_bundle_is_matched_at_its_place_only(placed: Built) -> None:
    scorer, exact = Scorer.open(placed.path), Scorer.open(placed.path, search="exact")
    (pyramid,) = scorer.session(scorer.preprocessor(always_alike(70)))
    (near,), (best,) = scorer.matcher.match([pyramid]), exact.matcher.match([pyramid])
    assert (best.distances <= near.distances * (1 + 1e-3) + 1e-5).all()
    assert near.distances.mean() <= best.distances.mean() * 1.1
    side, (height, width) = scorer.matcher.gallery.side, near.distances.shape
    for matches in (near, best):
        for row, column in np.ndindex(height, width):
            there = divmod(matches.nearest(row, column).position, width)
            assert abs(there[0] // side - row // side) <= 1 and abs(there[1] // side - column // side) <= 1


def test_exact_search_by_place_is_eq_3_of_the_embeddings_there(placed: Built) -> None:
    scorer = Scorer.open(placed.path, search="exact")
    matcher, gallery = scorer.matcher, scorer.matcher.gallery
    (pyramid,) = scorer.session(scorer.preprocessor(always_alike(71)))
    known = matcher._coder.rounded(pyramid).embedding()  # type: ignore[union-attr]
    images = [gallery.pyramid(item).embedding() for item in range(8)]
    (found,) = matcher.match([pyramid])
    side, (height, width) = gallery.side, found.distances.shape
    for row, column in ((0, 0), (5, 9), (height - 1, 3), (height - 1, width - 1)):
        top, left = max(0, row // side - 1) * side, max(0, column // side - 1) * side
        bottom, right = (row // side + 2) * side, (column // side + 2) * side
        around = np.concatenate([image[top:bottom, left:right].reshape(-1, image.shape[2]) for image in images])
        expected = ((around.astype(np.float64) - known[row, column]) ** 2).sum(axis=1).min()
        assert found.distances[row, column] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_another_search_than_a_bundle_has_files_for_is_refused(placed: Built, edge: Built) -> None:
    for path, search in ((placed.path, "hnsw"), (edge.path, "place")):
        with pytest.raises(BundleError):
            Scorer.open(path, search=search)
    assert Scorer.open(placed.path, search="place").matcher.matching == placed.manifest.matching


def test_there_and_back_is_where_it_was(copy: Path) -> None:
    before = Manifest.read(copy)
    free = set_place(copy, "free").manifest
    assert free.matching == Matching() and not free.place.auto and free.threshold.score != before.threshold.score
    assert set(free.files) == {*free.roles(), *LEAVE_ONE_OUT}
    Scorer.open(copy, self_test=True)
    back = set_place(copy, "auto").manifest
    assert (back.matching, back.place, back.files) == (before.matching, before.place, before.files)
    assert back.threshold.score == before.threshold.score
    assert [image.score for image in back.images] == [image.score for image in before.images]
    assert back.golden == before.golden
    Scorer.open(copy, self_test=True)


def test_images_are_excluded_from_a_placed_bundle_and_included_again(copy: Path) -> None:
    before = Manifest.read(copy)
    without = exclude(copy, ["3.npy"], reason="scratched").manifest
    scorer = Scorer.open(copy, self_test=True)
    (pyramid,) = scorer.session(scorer.preprocessor(always_alike(3)))
    (matches,) = scorer.matcher.match([pyramid])
    height, width = matches.distances.shape
    assert 3 not in {matches.nearest(row, column).item for row, column in np.ndindex(height, width)}
    assert without.matching == before.matching
    # An index does not know an image that is excluded; its keys come from its codes.
    assert "keys" not in set_place(copy, "free").manifest.files
    assert set_place(copy, "auto").manifest.files == without.files
    again = include(copy, ["3.npy"]).manifest
    assert again.threshold.score == before.threshold.score and again.files == before.files


def test_an_exact_search_stays_exact_at_any_place(placed: Built, plates: Path, model: Path, tmp_path: Path) -> None:
    exact = Matching(search="exact")
    path = build(plates, model=model, output=tmp_path / "b.spade", options=BuildOptions(matching=exact, place=1)).path
    assert Manifest.read(path).matching == exact.placed(1) and "keys" in Manifest.read(path).files
    frame = always_alike(72)
    found, same = Scorer.open(path)(frame), Scorer.open(placed.path, search="exact")(frame)
    # The baselines differ, as the other bundle was built with its own search.
    assert found.score == pytest.approx(same.score, rel=0.05)
    free = set_place(path, "free").manifest
    assert free.matching == exact and "index" in free.files
    assert Scorer.open(path, self_test=True)(frame).score <= found.score * 1.05


def test_a_bundle_without_codes_has_no_keys_to_place(paper: Built, tmp_path: Path) -> None:
    path = shutil.copytree(paper.path, tmp_path / "copy.spade")
    with pytest.raises(UsageError):
        set_place(path, "auto")


@pytest.mark.parametrize("place", ["", "near", "-1", "65", "1.5", "\u0661", "9" * 5000])
def test_other_places_are_refused(place: str, copy: Path) -> None:
    with pytest.raises(UsageError):
        parsed_place(place)
    before = (copy / FILE).read_bytes()
    with pytest.raises(UsageError):
        set_place(copy, place)
    assert (copy / FILE).read_bytes() == before


def test_keys_that_are_none_are_refused(placed: Built, tmp_path: Path) -> None:
    keys = np.load(placed.path / placed.manifest.files["keys"].name)
    for number, wrong in enumerate((keys[:-1], keys[:, :-1], keys.astype(np.int16), np.full_like(keys, 128))):
        with pytest.raises(BundleError):
            Scorer.open(replaced(placed.path, tmp_path / f"{number}.spade", "keys", wrong))


@pytest.mark.parametrize(
    "changes",
    [
        {"place": None},
        {"place": -1},
        {"place": 65},
        {"place": 1.5},
        {"place": "1"},
        {"search": "hnsw"},
        {"normalisation": "roots"},
        {"normalisation": None},
    ],
)
def test_a_matching_that_lies_is_refused(placed: Built, tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(BundleError):
        Scorer.open(altered(placed.path, tmp_path / "b.spade", "matching", **changes))


@pytest.mark.parametrize("changes", [{"rise": "1"}, {"images": -1}, {"auto": 1}, {"more": 1}, {"reason": None}])
def test_a_choice_that_lies_is_refused(placed: Built, tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(BundleError):
        Scorer.open(altered(placed.path, tmp_path / "b.spade", "place", **changes))


def test_the_choice_stands_in_the_manifest(placed: Built) -> None:
    value = json.loads((placed.path / FILE).read_text())["place"]
    assert value == placed.manifest.place.to_json()
    assert Manifest.read(placed.path).place == placed.manifest.place
