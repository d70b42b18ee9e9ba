"""Copies of good images are found, good images that are merely alike are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries.calibration import evidence
from spade_edge.galleries.duplicates import ALIKE, groups, near_duplicates
from spade_edge.tools.demo.parts import render_good

Image = NDArray[np.uint8]
PARTS = 10


@pytest.fixture(scope="module")
def parts() -> list[Image]:
    """Different parts, 128x128."""
    return [render_good(seed, size=128) for seed in range(PARTS)]


def thumbnails(images: list[Image]) -> Image:
    """As in a bundle, of half the size."""
    return np.stack([cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for image in images])


def naive(pictures: Image, count: int) -> NDArray[np.bool_]:
    """Pair by pair, in whole numbers."""
    views = pictures.reshape(-1, count, *pictures.shape[1:]).astype(np.int64)
    differences = np.array([[((views[:, i] - views[:, j]) ** 2).sum() for j in range(count)] for i in range(count)])
    usual = np.median([differences[i, j] for i in range(count) for j in range(i)]) if count > 1 else 0
    return np.asarray((differences < ALIKE * usual) | np.eye(count, dtype=bool))


def noisy(image: Image) -> Image:
    return np.clip(image + np.random.default_rng(1).normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def compressed(image: Image) -> Image:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], cv2.IMREAD_COLOR))


def brighter(image: Image) -> Image:
    return np.clip(image * 1.02, 0, 255).astype(np.uint8)


COPIES: dict[str, Callable[[Image], Image]] = {
    "exact": np.copy,
    "noisy": noisy,
    "compressed": compressed,
    "brighter": brighter,
    "all of it": lambda image: compressed(noisy(image)),
}


@pytest.mark.parametrize("copy", COPIES)
def test_copies_are_found(parts: list[Image], copy: str) -> None:
    found = near_duplicates(thumbnails([*parts, COPIES[copy](parts[3]), COPIES[copy](parts[7])]), PARTS + 2)
    expected = np.eye(PARTS + 2, dtype=bool)
    for one, other in ((3, PARTS), (7, PARTS + 1)):
        expected[one, other] = expected[other, one] = True
    assert np.array_equal(found, expected)
    assert groups(found) == ((3, PARTS), (7, PARTS + 1))


def test_every_image_twice_is_found(parts: list[Image]) -> None:
    found = near_duplicates(thumbnails([*parts, *map(noisy, parts)]), 2 * PARTS)
    assert groups(found) == tuple((i, PARTS + i) for i in range(PARTS))


def test_different_parts_are_none(parts: list[Image]) -> None:
    assert np.array_equal(near_duplicates(thumbnails(parts), PARTS), np.eye(PARTS, dtype=bool))


def test_the_same_part_moved_is_none(parts: list[Image]) -> None:
    moved = [np.roll(parts[0], (4 * i, 2 * i), axis=(0, 1)) for i in range(1, 4)]
    assert groups(near_duplicates(thumbnails([*parts, *moved]), PARTS + 3)) == ()


def test_the_fixtures_of_these_tests_are_none(part: Callable[..., Image], texture: Callable[..., Image]) -> None:
    for make, count in ((part, 30), (texture, 6)):
        assert groups(near_duplicates(thumbnails([make(seed) for seed in range(count)]), count)) == ()


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_where_all_images_are_one_none_is_a_duplicate(count: int, part: Callable[..., Image]) -> None:
    same = np.repeat(part(0)[None], count, axis=0)
    for pictures in (same, np.zeros_like(same), np.full_like(same, 255)):
        assert np.array_equal(near_duplicates(pictures, count), np.eye(count, dtype=bool))
    rng = np.random.default_rng(0)
    noise = rng.integers(100, 110, same.shape, dtype=np.uint8)  # one surface, nothing but noise
    assert np.array_equal(near_duplicates(noise, count), np.eye(count, dtype=bool))


def test_two_images_are_never_duplicates_and_three_may_be(parts: list[Image]) -> None:
    one, other = parts[:2]
    assert not near_duplicates(thumbnails([one, noisy(one)]), 2)[0, 1]
    found = near_duplicates(thumbnails([one, other, noisy(one)]), 3)
    assert found[0, 2] and not found[0, 1] and not found[1, 2]


@pytest.mark.parametrize(("count", "views"), [(1, 1), (2, 1), (3, 2), (9, 1), (12, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_naive_sums_say(count: int, views: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (views, count, 40, 45, 3), dtype=np.uint8)  # more numbers than one step takes
    for copy in range(count // 3):  # some from far to near
        share = rng.uniform(0.05, 0.3)
        mixed = (1 - share) * pictures[:, copy] + share * pictures[:, -1 - copy]
        pictures[:, copy + count // 3] = np.rint(mixed)
    pictures = pictures.reshape(-1, *pictures.shape[2:])
    found = near_duplicates(pictures, count)
    assert found.dtype == bool and found.shape == (count, count)
    assert np.array_equal(found, naive(pictures, count))
    assert np.array_equal(found, found.T) and found.diagonal().all()


def test_an_image_is_a_duplicate_by_all_its_views_together(parts: list[Image]) -> None:
    left, right = parts[:5], [part[::-1] for part in parts[5:]]
    alike = [*left, noisy(left[2])]
    assert groups(near_duplicates(thumbnails([*alike, *right, noisy(right[2])]), 6)) == ((2, 5),)
    assert groups(near_duplicates(thumbnails([*alike, *right, parts[0][::-1]]), 6)) == ()  # the other view differs


def test_the_order_does_not_matter(parts: list[Image]) -> None:
    pictures = thumbnails([*parts, noisy(parts[0]), brighter(parts[5]), compressed(parts[0])])
    order = np.random.default_rng(0).permutation(len(pictures))
    found = near_duplicates(pictures, len(pictures))
    assert np.array_equal(near_duplicates(pictures[order], len(pictures)), found[np.ix_(order, order)])
    assert found.sum() == len(pictures) + 2 * 4  # three that are one, and two


def test_from_the_disk(parts: list[Image], tmp_path: Path) -> None:
    pictures = thumbnails([*parts, noisy(parts[4])])
    np.save(tmp_path / "thumbnails.npy", pictures)
    mapped = np.load(tmp_path / "thumbnails.npy", mmap_mode="r")
    assert np.array_equal(near_duplicates(mapped, PARTS + 1), near_duplicates(pictures, PARTS + 1))
    assert np.array_equal(mapped, pictures)


def test_two_kinds_of_part_do_not_make_each_kind_one_image(part: Callable[..., Image]) -> None:
    """A dark and a bright version from one line: within a kind images differ as they always did."""
    bright = [part(seed) for seed in range(10)]
    dark = [(0.15 * part(seed)).astype(np.uint8) for seed in range(10, 20)]
    assert groups(near_duplicates(thumbnails(bright), 10)) == groups(near_duplicates(thumbnails(dark), 10)) == ()
    assert groups(near_duplicates(thumbnails([*bright, *dark]), 20)) == ()


def test_a_part_that_stands_still_is_a_copy_only_under_the_same_light() -> None:
    rng = np.random.default_rng(0)
    still = render_good(0, size=128)
    light = rng.normal(1, 0.05, 40)
    frames = [np.clip(still * gain + rng.normal(0, 0.8, still.shape), 0, 255).astype(np.uint8) for gain in light]
    for group in groups(near_duplicates(thumbnails(frames), 40)):
        assert max(abs(light[image] - light[group[0]]) for image in group) < 0.03


def test_many_pictures_of_one_part_are_one_piece_of_evidence(parts: list[Image]) -> None:
    rng = np.random.default_rng(0)
    repeats = [np.clip(parts[0] + rng.normal(0, 3, parts[0].shape), 0, 255).astype(np.uint8) for _ in range(12)]
    few = near_duplicates(thumbnails([*parts, *repeats[:2]]), PARTS + 2)
    assert groups(few) == ((0, *range(PARTS, PARTS + 2)),)
    # Three quarters of all images: a kind of part, and the rest another, for all that pictures tell.
    assert groups(near_duplicates(thumbnails([*parts[:4], *repeats]), 16)) == ()


def test_an_image_that_resembles_too_many_is_no_duplicate_of_any() -> None:
    """The two that resemble it do not resemble each other: without it, nothing is left of the group."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(40, 216, (8, 16, 16, 3)).astype(np.uint8)
    usual = 2 * 768 * pictures.astype(float).var()
    pattern = rng.choice([-1, 1], (2, 16, 16, 3))  # each as long as 0.7 of what still counts as alike, and unrelated
    pattern = np.rint(pattern * np.sqrt(0.7 * ALIKE * usual / 768)).astype(int)
    pictures[1:3] = pictures[0] + pattern
    alike = near_duplicates(pictures[1:], 7)
    assert groups(near_duplicates(pictures[[0, 1, 3, 4, 5, 6, 7]], 7)) == ((0, 1),) and groups(alike) == ()
    found = near_duplicates(pictures, 8)
    assert np.array_equal(found, found.T) and groups(found) == ()


def naive_groups(duplicates: NDArray[np.bool_]) -> tuple[tuple[int, ...], ...]:
    """The first image opens a group; each later one joins the first group whose first image it is like."""
    found: list[list[int]] = []
    for image in range(len(duplicates)):
        for group in found:
            if duplicates[image, group[0]]:
                group.append(image)
                break
        else:
            found.append([image])
    return tuple(tuple(group) for group in found if len(group) > 1)


@pytest.mark.parametrize("seed", range(20))
def test_groups_and_evidence_are_the_naive_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 14))
    upper = np.triu(rng.random((count, count)) < rng.choice([0.05, 0.2, 0.6]), 1)
    duplicates = upper | upper.T | np.eye(count, dtype=bool)
    found = groups(duplicates)
    assert found == naive_groups(duplicates)
    together = [image for group in found for image in group]
    assert len(set(together)) == len(together)
    assert all(duplicates[group[0], image] for group in found for image in group)
    values = rng.integers(0, 9, count).astype(float).tolist()
    expected = [value for image, value in enumerate(values) if image not in together]
    for group in found:
        expected.append(max(values[image] for image in group))
    assert sorted(evidence(values, found)) == sorted(expected)
    assert evidence(values, ()) == tuple(values)


def test_a_chain_of_likeness_does_not_swallow_its_ends() -> None:
    duplicates = np.eye(3, dtype=bool)
    duplicates[0, 1] = duplicates[1, 0] = duplicates[1, 2] = duplicates[2, 1] = True
    assert groups(duplicates) == ((0, 1),)
    assert sorted(evidence((1.0, 5.0, 3.0), ((0, 1),))) == [3.0, 5.0]
