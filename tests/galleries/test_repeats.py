"""Shots of one part are found, whatever happened to them; parts that are merely alike, or numbered, stay apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries.repeats import ABOVE, ENOUGH, LEAST, SPREADS, _components, _limit, find_repeats
from spade_edge.tools.demo.parts import render_good

Image = NDArray[np.uint8]
BORDERS = {
    "reflected": cv2.BORDER_REFLECT_101,
    "replicated": cv2.BORDER_REPLICATE,
    "black": cv2.BORDER_CONSTANT,
    "real": None,
}
PARTS, SHOTS = 6, 3


def surface(seed: int, height: int = 300, width: int = 300, *, fine: float = 1.2, depth: float = 18) -> Image:
    """A casting: its outline and ribs are those of every part, its grain is its own. (H, W, 3) uint8 BGR."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    shape = 60.0 * ((x - width / 2) ** 2 + (y - height / 2) ** 2 < (0.4 * min(width, height)) ** 2)
    shape += 25 * np.sin(x / 11) * (abs(y - height / 2) < 0.25 * height)
    grain = cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), fine)
    image = (100 + shape + depth * grain / grain.std())[..., None] * [0.8, 0.9, 1.0]
    return np.clip(image, 0, 255).astype(np.uint8)


def plate(seed: int, size: int = 300, *, own: float = 9) -> Image:
    """A plate with one fine engraving on every part, and a weaker grain of its own. (size, size, 3) uint8 BGR."""
    engraved, grain = (
        cv2.GaussianBlur(np.random.default_rng(s).normal(0, 1, (size, size)), (0, 0), 1.2) for s in (10**6, seed)
    )
    plate = 120 + 18 * engraved / engraved.std() + own * grain / grain.std()
    return np.clip(plate, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=-1)


def mesh(seed: int, size: int = 240) -> Image:
    """A woven mesh, laid down at any angle, whose wires wander by half a pixel. (size, size, 3) uint8 BGR."""
    rng = np.random.default_rng(seed)
    turn = np.radians(rng.uniform(-90, 90))
    y, x = np.mgrid[:size, :size] - size / 2
    seen = 100 + rng.normal(0, 3, (size, size))
    for across, bright in ((turn, 90), (turn + np.pi / 2, 70)):
        wander = cv2.GaussianBlur(rng.normal(0, 1, (size, size)), (0, 0), 12)
        place = x * np.cos(across) + y * np.sin(across) + rng.uniform(0, 28) + 0.6 * wander / wander.std()
        seen += bright * np.exp(-((abs(place % 28 - 14) / 2.5) ** 4) / 2)
    return np.clip(seen, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=-1)


def shot(image: Image, seed: int, *, border: int | None, size: int = 224) -> Image:
    """The middle of an image, moved by up to 5 %, turned by up to 3°, in another light, noisy and compressed."""
    rng = np.random.default_rng(seed)
    height, width = image.shape[:2]
    top, left = (height - size) // 2, (width - size) // 2
    if border is not None:
        image, top, left = image[top : top + size, left : left + size], 0, 0
    height, width = image.shape[:2]
    moved = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), rng.uniform(-3, 3), 1)
    moved[:, 2] += rng.uniform(-0.05, 0.05, 2) * size - (left, top)
    taken = cv2.warpAffine(image, moved, (size, size), borderMode=cv2.BORDER_CONSTANT if border is None else border)
    taken = taken * rng.uniform(0.9, 1.1) + rng.normal(0, rng.uniform(0, 4), taken.shape)
    taken = np.clip(np.rint(taken), 0, 255).astype(np.uint8)
    code = cv2.imencode(".jpg", taken, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))])[1]
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))


def groups(images: Iterable[Image], names: list[str] | None = None) -> tuple[int, ...]:
    """As for images of one view; the names say nothing of an order unless they are given."""
    views = np.stack(list(images)).astype(np.float32)[:, None]
    unordered = np.random.default_rng(9).permutation(10**6)[: len(views)]
    return find_repeats(views, names=names or [f"{number:06}.png" for number in unordered])


def numbered(labels: Iterable[int]) -> tuple[int, ...]:
    """Groups in the order in which they appear."""
    order: dict[int, int] = {}
    return tuple(order.setdefault(label, len(order)) for label in labels)


@pytest.fixture(scope="module")
def shots() -> list[Image]:
    """Three shots of each of six parts, shot by shot."""
    return [
        shot(surface(part), 100 * part + n, border=cv2.BORDER_REFLECT_101)
        for n in range(SHOTS)
        for part in range(PARTS)
    ]


@pytest.mark.parametrize("border", BORDERS)
def test_shots_of_a_part_are_one_part(border: str) -> None:
    images = [shot(surface(p), 100 * p + n, border=BORDERS[border]) for n in range(SHOTS) for p in range(PARTS)]
    assert groups(images) == SHOTS * tuple(range(PARTS))


def test_a_few_repeats_among_many_parts_are_found() -> None:
    images = [shot(surface(part), part, border=None) for part in range(14)]
    images += [shot(surface(part), 100 + part, border=None) for part in (4, 11)]
    assert groups(images) == (*range(14), 4, 11)


def test_two_kinds_of_part_in_one_gallery() -> None:
    """Plates agree in their engraving, castings in nothing fine: one limit for both misses repeats."""
    kinds = [[plate(part) for part in range(18)], [surface(500 + part) for part in range(18)]]
    images = [shot(part, number, border=None) for kind in kinds for number, part in enumerate(kind)]
    images += [shot(part, 100 + number, border=None) for kind in kinds for number, part in enumerate(kind[:2])]
    assert groups(images) == (*range(36), 0, 1, 18, 19)


def test_pieces_of_a_mesh_stay_apart_and_their_repeats_are_found() -> None:
    """Random pairs rarely lie at one angle; those that do agree in the mesh, at any of its phases."""
    pieces = [mesh(piece) for piece in range(16)]
    images = [piece[8:232, 8:232] for piece in pieces] + [piece[2:226, 12:236] for piece in pieces[:2]]
    rng = np.random.default_rng(0)
    noisy = [np.clip(image + rng.normal(0, 1, image.shape), 0, 255).astype(np.uint8) for image in images]
    assert groups(noisy) == (*range(16), 0, 1)


def test_two_images_that_share_only_a_rim_say_too_little() -> None:
    """Of 224 pixels along the belt, 84 are shared; of the blocks, 29 % lie in them as a whole."""
    assert groups(video(6, 2, 140), [f"{number}.png" for number in range(12)]) == tuple(range(12))


@pytest.mark.parametrize(
    ("usual", "unclear", "limit"),
    [
        ([], [1.0], np.inf),
        ([0.0] * 20, [], LEAST),
        ([0.0] * 20, [1.5] * 20, ENOUGH),
        ([1.0] * 10 + [1.4] * 10, [], 1.2 + SPREADS * 0.2),
        ([2.3] * 20, [], 2.3 + ABOVE),
        ([3.0] * 20, [], 3.0 + ABOVE),
    ],
)
def test_the_limit_stands_above_what_is_usual(usual: list[float], unclear: list[float], limit: float) -> None:
    assert _limit(usual, unclear) == pytest.approx(limit)


def test_parts_that_hardly_differ_stay_apart() -> None:
    """Any two of them agree better than repeats do elsewhere."""
    assert groups(plate(part, 224, own=1) for part in range(40)) == tuple(range(40))


@pytest.mark.parametrize("depth", [0, 3, 18])
def test_different_parts_in_one_place_stay_apart(depth: float) -> None:
    rng = np.random.default_rng(0)
    images = [surface(part, 224, 224, depth=depth) for part in range(12)]
    noisy = [np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8) for image in images]
    assert groups(noisy) == tuple(range(12))


def test_rendered_parts_stay_apart_and_their_repeats_are_found() -> None:
    parts = [render_good(seed, size=224) for seed in range(10)]
    assert groups(parts) == tuple(range(10))
    again = [shot(part, seed, border=cv2.BORDER_REPLICATE) for seed, part in enumerate(parts[:3])]
    assert groups([*parts, *again]) == (*range(10), *range(3))


def test_the_fixtures_of_these_tests_stay_apart(part: Callable[..., Image], texture: Callable[..., Image]) -> None:
    for make, count in ((part, 14), (texture, 8)):
        for names in (None, [f"{number}.png" for number in range(count)]):
            assert groups([make(seed) for seed in range(count)], names) == tuple(range(count))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
def test_where_all_images_are_one_each_stays_alone(count: int) -> None:
    image = surface(0, 224, 224)
    names = [f"{number}.png" for number in range(count)]
    for same in (image, np.zeros_like(image), np.full_like(image, 255)):
        views = np.zeros((count, 1, 224, 224, 3), np.float32) + same
        assert find_repeats(views, names=names) == tuple(range(count))
    noise = np.random.default_rng(0).integers(100, 110, (count, 1, 224, 224, 3)).astype(np.float32)
    assert find_repeats(noise, names=names) == tuple(range(count))


def test_an_image_like_more_than_a_quarter_is_nobodys_repeat() -> None:
    others = [surface(part, 224, 224) for part in range(1, 16)]
    repeats = [shot(surface(0), n, border=None) for n in range(4)]
    assert groups([*others, *repeats]) == (*range(15), 15, 15, 15, 15)
    assert _components([(0, other) for other in range(1, 5)], 16) == (0, 0, 0, 0, 0, *range(1, 12))
    assert _components([(0, other) for other in range(1, 6)], 16) == tuple(range(16))


def test_the_order_and_the_storage_do_not_matter(shots: list[Image], tmp_path: Path) -> None:
    shots = shots[: 2 * PARTS]
    order = np.random.default_rng(0).permutation(len(shots))
    assert groups([shots[i] for i in order]) == numbered(order % PARTS)
    views = np.stack(shots).astype(np.float32)[:, None]
    views.tofile(tmp_path / "views")
    names = [f"{i * 7 % 12}.png" for i in range(len(shots))]
    mapped = np.memmap(tmp_path / "views", np.float32, "r", shape=views.shape)
    mirrored = np.ascontiguousarray(views[:, :, :, ::-1])[:, :, :, ::-1]
    assert find_repeats(mapped, names=names) == find_repeats(mirrored, names=names) == 2 * tuple(range(PARTS))


def test_views_that_are_small_squeezed_or_grey(shots: list[Image]) -> None:
    for size in ((128, 112), (192, 320)):
        small = np.stack([cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA) for image in shots])
        small = np.repeat(small[..., 1:2], 3, axis=-1)
        assert groups(small) == SHOTS * tuple(range(PARTS))


@pytest.mark.parametrize("moved", [20, 110, 200])
def test_strips_that_moved_by_less_or_more_than_a_tile(moved: int) -> None:
    """Strips of 2048x128, in tiles of 128 that overlap by 16; 5 % are 102 pixels."""
    starts = np.linspace(0, 2048 - 128, 18).round().astype(int)
    strips = [surface(part, 128, 2300) for part in range(10)]
    taken = [strip[:, 120 : 120 + 2048] for strip in strips]
    taken += [strip[:, 120 + moved : 120 + moved + 2048] for strip in strips[:4]]
    tiles = [[cv2.resize(strip[:, x : x + 128], (224, 224)) for x in starts] for strip in taken]
    names = [f"{i * 5 % 14}.png" for i in range(14)]
    assert find_repeats(np.array(tiles, np.float32), names=names) == (*range(10), *range(4))


def test_the_middle_view_decides() -> None:
    """The other view is one and the same picture in every image."""
    same = surface(99, 224, 224)
    again = [shot(surface(part), part, border=None) for part in range(2)]
    middles = [shot(surface(part), 50 + part, border=None) for part in range(8)] + again
    views = np.stack([np.stack([same, middle]) for middle in middles]).astype(np.float32)
    assert find_repeats(views, names=[f"{i * 3 % 10}.png" for i in range(10)]) == (*range(8), 0, 1)


def video(parts: int, frames: int, step: int) -> list[Image]:
    """Frames of a belt: a window that moves on by `step` pixels a frame, and a new part after so many frames."""
    rng = np.random.default_rng(1)
    seen = []
    for part in range(parts):
        belt = surface(part, 260, 300 + step * frames)
        for frame in range(frames):
            window = belt[frame % 2 : 224 + frame % 2, frame * step : frame * step + 224]
            seen.append(np.clip(window + rng.normal(0, 2, window.shape), 0, 255).astype(np.uint8))
    return seen


@pytest.mark.parametrize("step", [1, 30, 80])
def test_neighbours_in_a_video_are_one_part_until_the_next_enters(step: int) -> None:
    names = [f"frame_{number}.png" for number in range(1, 21)]  # 10 comes after 9
    expected = np.repeat(range(5), 4)
    order = np.random.default_rng(0).permutation(20)
    frames = video(5, 4, step)
    assert groups([frames[i] for i in order], [names[i] for i in order]) == numbered(expected[order])


def test_images_that_are_merely_numbered_stay_apart() -> None:
    images = [shot(surface(part), part, border=None) for part in range(14)]
    assert groups(images, [f"frame_{number:04}.png" for number in range(14)]) == tuple(range(14))


def test_long_loops_report_their_progress(shots: list[Image]) -> None:
    seen: dict[str, int] = {}

    def progress(items: Iterable[object], label: str) -> Iterable[object]:
        for item in items:
            seen[label] = seen.get(label, 0) + 1
            yield item

    views = np.stack(shots[:12]).astype(np.float32)[:, None]
    find_repeats(views, names=[f"{i}.png" for i in range(12)], progress=progress)
    assert seen["comparing images"] == 12 and set(seen) == {"comparing images", "usual difference", "finding repeats"}
