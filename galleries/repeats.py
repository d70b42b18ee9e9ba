"""Repeats among the good images: images that show one and the same part, moved, turned, in another light or noisy.

Two parts of one kind agree in everything that makes up the kind; only the fine marks of its surface tell a part from
the next. So pairs are proposed by local features whose nearest neighbours lie in the same other image and move alike,
and decided by how well the fine texture agrees once the two images are registered, against how well it agrees for pairs
of different images of the same kind. A gallery may hold several kinds of part, sides of a part or lights; images that
look alike are of one kind.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.progress import Progress

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]

SIDE = 224  # pixels, to which a view is resampled; all lengths below refer to it
KEYPOINTS = 60  # of an image
BORDER = 10  # pixels at the rim, in which no keypoint lies
APART = 8  # pixels between two keypoints of an image at least
SIZE = 8  # pixels; a descriptor sees a square of six times this side
CELLS = 7  # along each axis: a keypoint is compared with those of its own and the adjacent cells, so 14 % away at least
NEAREST = 5  # other images that a keypoint votes for; with 3, chance images displaced the three other shots of a part
VOTES = 4  # that move alike, for a pair to be proposed
CANDIDATES = 6  # pairs that an image proposes
REPROJECTION = 2.5  # pixels
MOST_TURN = 8.0  # degrees between two shots that are each turned by up to 3, with a margin
MOST_SCALE = 0.06
PRODUCTS = 2e10  # descriptor products; with more of them, images get fewer keypoints

BLOCK = 14  # pixels
OVERLAP = 0.3  # fraction of the blocks that two registered images share at least
KIND = 16  # images that look most like an image; from them is learned what is usual for its kind of part
PARTNERS = 4  # of an image, drawn at random from those
LOOK, LOOK_TEXTURE = 12, 6  # cells along each side, in which the brightness and the texture of an image are compared
LIKELY = 0.3  # share of the keypoints; a pair that proposes itself so clearly is not taken for usual
SPREADS = 3.5  # from the median to the ninth decile; 3.2 of them are four standard deviations of a normal distribution
LEAST, ENOUGH = 0.45, 2.45  # agreement (Fisher's z) that is always needed, and that nearly always suffices
ABOVE = 0.4  # by which z exceeds the ninth decile of random pairs at least: the residual is then less than half
MOST = 0.25  # fraction of the images that one image may resemble


@dataclass(frozen=True)
class _Keypoints:
    """Keypoints of all images, ordered by image.

    Attributes:
        places: (K, 2) float32, x and y.
        descriptors: (K, 128) float32, of length 1.
        images: (K,) the image of each.
        tiles: (K,) the view of each.
    """

    places: Floats
    descriptors: Floats
    images: Ints
    tiles: Ints

    def of(self, image: int, tile: int) -> tuple[Floats, Floats]:
        """Places and descriptors in one view."""
        start, end = np.searchsorted(self.images, (image, image + 1))
        mine = slice(int(start), int(end))
        chosen = self.tiles[mine] == tile
        return self.places[mine][chosen], self.descriptors[mine][chosen]


@dataclass(frozen=True)
class _Pair:
    """Two images that may show one part.

    Attributes:
        one, other: their numbers.
        tile: the view of `other` that shows what the middle view of `one` shows.
        moved: (2, 3), from places in `one` to places in `other`.
        share: of the keypoints of the poorer image that vote for the other one and move alike.
    """

    one: int
    other: int
    tile: int
    moved: NDArray[np.float64]
    share: float

    @property
    def key(self) -> tuple[int, int]:
        """Both images, the first one first."""
        return min(self.one, self.other), max(self.one, self.other)


def find_repeats(
    views: NDArray[np.float32], *, names: Sequence[str], progress: Progress = lambda items, label: items
) -> tuple[int, ...]:
    """Group the images by the part that they show.

    Found are repeats that were shifted by up to 5 %, turned by up to 3°, made lighter or darker by 10 %, compressed and
    noisy, all at once; and neighbours in the natural order of their names that show the same part further on, as long
    as they share a third of what they show. Of several views, the middle one decides, with its two neighbours on either
    side for parts that have moved on into the next tile.

    A pair is a repeat if its fine texture agrees far better than is usual, after the same registration, for random
    pairs of different parts that look like either of the two. An image that agrees so well with more than a quarter of
    the others shows what all of them show.

    Args:
        views: (N, V, H, W, 3) float32 BGR, 0 to 255; read one image at a time.
        names: of the images.
        progress: wraps the items of each long loop, with its label.

    Returns:
        The group of each image: 0, 1, 2 … in the order in which the groups appear.
    """
    count = len(views)
    if count < 3:
        return tuple(range(count))  # nothing tells what is usual
    middle = views.shape[1] // 2
    near = [tile for tile in range(middle - 2, middle + 3) if 0 <= tile < views.shape[1]]
    keypoints = _keypoints(views, near, progress)
    proposed: dict[tuple[int, int], _Pair] = {}
    for pair in sorted(_proposed(keypoints, middle, whole=len(near) == 1), key=lambda pair: pair.share):
        proposed[pair.key] = pair  # of the views of two images those that share most
    candidates = _best(proposed.values(), count)
    for one, other in _neighbours(names):
        found = _registered(keypoints, one, other, middle, near)
        # A part that moved on further than votes reach may have been proposed with a wrong movement.
        if found and ((one, other) not in candidates or candidates[one, other].share < found.share):
            candidates[one, other] = found

    prepared = lru_cache(maxsize=256)(lambda image, tile: _prepared(views[image, tile]))
    clear = _components([key for key, pair in proposed.items() if pair.share >= LIKELY], count)
    alike = _alike(views, middle, clear)
    usual = {
        (one, other): _agreement(prepared(one, middle), prepared(other, pair.tile), pair.moved)
        for one, other in progress(_random_pairs(alike), "usual difference")
        for pair in [_registered(keypoints, one, other, middle, [middle]) or _unmoved(one, other, middle)]
    }
    agreements = {
        pair.key: _agreement(prepared(pair.one, middle), prepared(pair.other, pair.tile), pair.moved)
        for pair in progress(sorted(candidates.values(), key=lambda pair: pair.key), "finding repeats")
    }
    # Where parts lie in many ways, random pairs cannot be registered; of those that propose themselves, some can.
    unclear = {key: agreements[key] for key, pair in candidates.items() if pair.share < LIKELY}
    usual_of, unclear_of = _by_image(usual, count), _by_image(unclear, count)

    @cache
    def limit(image: int) -> float:
        kind = alike[image].tolist()
        return _limit([z for one in kind for z in usual_of[one]], [z for one in kind for z in unclear_of[one]])

    repeats = [
        (one, other)
        for (one, other), agreement in agreements.items()
        if agreement > LEAST and agreement > max(limit(one), limit(other))
    ]
    return _components(repeats, count)


def _by_image(agreements: Mapping[tuple[int, int], float], count: int) -> list[list[float]]:
    """For each image, the agreements of its pairs; each pair is listed with both of its images."""
    of: list[list[float]] = [[] for _ in range(count)]
    for pair, agreement in agreements.items():
        for image in pair:
            of[image].append(agreement)
    return of


def _limit(usual: Sequence[float], unclear: Sequence[float]) -> float:
    """The agreement above which two images are a repeat, from that of random pairs and of unclear proposals."""
    if not usual:
        return np.inf
    median, high = np.quantile([*usual, *unclear], (0.5, 0.9))
    above = float(np.quantile(usual, 0.9)) + ABOVE
    return float(max(np.clip(median + SPREADS * (high - median), LEAST, ENOUGH), above))


def _grey(view: Floats) -> Floats:
    grey = view.mean(axis=-1, dtype=np.float32)
    if grey.shape == (SIDE, SIDE):
        return grey
    shrinks = min(grey.shape) > SIDE
    return np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def _keypoints(views: NDArray[np.float32], tiles: Sequence[int], progress: Progress) -> _Keypoints:
    most = min(KEYPOINTS, int(np.sqrt(PRODUCTS / len(tiles)) / len(views)) + 1) if len(tiles) > 1 else KEYPOINTS
    descriptor = cv2.SIFT.create()
    places, descriptors = [np.zeros((0, 2), np.float32)], [np.zeros((0, 128), np.float32)]
    images, numbers = [], []
    inside = np.zeros((SIDE, SIDE), np.uint8)
    inside[BORDER:-BORDER, BORDER:-BORDER] = 1
    for image in progress(range(len(views)), "comparing images"):
        for tile in tiles:
            grey = cv2.GaussianBlur(np.clip(_grey(views[image, tile]), 0, 255).astype(np.uint8), (0, 0), 1)
            corners = cv2.goodFeaturesToTrack(grey, most, 0.001, APART, mask=inside, blockSize=5)
            if corners is None:
                continue
            # Turns are small, and descriptors of a fixed direction tell more.
            found = [cv2.KeyPoint(float(x), float(y), SIZE, 0) for x, y in corners.reshape(-1, 2)]
            found, described = descriptor.compute(grey, found)
            places.append(np.array([k.pt for k in found], np.float32))
            # Arandjelović & Zisserman 2012: with square roots, sums of products compare histograms.
            descriptors.append(np.sqrt(described / np.maximum(described.sum(axis=1, keepdims=True), 1e-6)))
            images += [image] * len(found)
            numbers += [tile] * len(found)
    return _Keypoints(
        np.concatenate(places),
        np.concatenate(descriptors).astype(np.float32),
        np.array(images, np.intp),
        np.array(numbers, np.intp),
    )


def _votes(keypoints: _Keypoints, middle: int, *, whole: bool) -> NDArray[np.intp]:
    """(votes, 2): each keypoint of the middle view, and its nearest one in each of the `NEAREST` nearest images."""
    cells = CELLS if whole else 1  # along a strip of tiles, 5 % may be more than a tile
    column, row = np.clip((keypoints.places * (cells / SIDE)).astype(np.intp), 0, cells - 1).T
    votes: list[tuple[int, int]] = []
    for y in range(cells):
        for x in range(cells):
            asking = np.flatnonzero((row == y) & (column == x) & (keypoints.tiles == middle))
            asked = np.flatnonzero((abs(row - y) <= 1) & (abs(column - x) <= 1))
            images = keypoints.images[asked]
            first = np.flatnonzero(np.diff(images, prepend=-1))
            last = np.append(first[1:], len(asked))
            for start in range(0, len(asking), 1000):
                part = asking[start : start + 1000]
                products = keypoints.descriptors[part] @ keypoints.descriptors[asked].T
                best = np.maximum.reduceat(products, first, axis=1)
                best[keypoints.images[part][:, None] == images[first]] = -1  # its own image
                nearest = np.argsort(-best, axis=1)[:, :NEAREST] if best.shape[1] <= NEAREST else _largest(best)
                for keypoint, product, others, values in zip(
                    part, products, nearest, np.take_along_axis(best, nearest, axis=1), strict=True
                ):
                    for other, value in zip(others, values, strict=True):
                        if value > 0:
                            place = first[other] + int(product[first[other] : last[other]].argmax())
                            votes.append((int(keypoint), int(asked[place])))
    return np.array(votes, np.intp).reshape(-1, 2)


def _largest(values: Floats) -> Ints:
    return np.asarray(np.argpartition(-values, NEAREST - 1, axis=1)[:, :NEAREST])


def _proposed(keypoints: _Keypoints, middle: int, *, whole: bool) -> Iterator[_Pair]:
    """The pairs of images with enough votes that move alike."""
    pairs: dict[tuple[int, int, int], set[tuple[int, int]]] = defaultdict(set)
    for vote in _votes(keypoints, middle, whole=whole).tolist():
        here, there = vote
        tile = int(keypoints.tiles[there])
        if tile == middle:
            here, there = sorted(vote)  # keypoints are ordered by image; both directions are one pair
        pairs[int(keypoints.images[here]), int(keypoints.images[there]), tile].add((here, there))
    counts = np.bincount(
        keypoints.images[keypoints.tiles == middle], minlength=int(keypoints.images.max(initial=0)) + 1
    )
    for (one, other, tile), votes in pairs.items():
        if len(votes) >= VOTES:
            here, there = np.array(sorted(votes)).T
            moved, agreeing = _movement(keypoints.places[here], keypoints.places[there])
            if moved is not None and agreeing >= VOTES:
                most = max(1, min(counts[one], counts[other]))
                yield _Pair(one, other, tile, moved, agreeing / most)


def _movement(here: Floats, there: Floats) -> tuple[NDArray[np.float64] | None, int]:
    """The shift, turn and slight change of scale that most votes agree on, and how many do."""
    if len(here) < VOTES:
        return None, 0
    moved, agreeing = cv2.estimateAffinePartial2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=REPROJECTION, maxIters=200
    )
    if moved is None:
        return None, 0
    scale, turn = np.hypot(moved[0, 0], moved[1, 0]), np.degrees(np.arctan2(moved[1, 0], moved[0, 0]))
    if abs(scale - 1) > MOST_SCALE or abs(turn) > MOST_TURN:
        return None, 0
    return moved, int(agreeing.sum())


def _best(pairs: Iterable[_Pair], count: int) -> dict[tuple[int, int], _Pair]:
    """The pairs that one of their images proposes, each image those with the largest shares."""
    of: list[list[_Pair]] = [[] for _ in range(count)]
    for pair in pairs:
        of[pair.one].append(pair)
        of[pair.other].append(pair)
    chosen = (pair for mine in of for pair in sorted(mine, key=lambda pair: -pair.share)[:CANDIDATES])
    return {pair.key: pair for pair in chosen}


def _neighbours(names: Sequence[str]) -> list[tuple[int, int]]:
    """Neighbours in the natural order of the names, in which 10 comes after 9."""
    order = sorted(range(len(names)), key=lambda image: _natural(names[image]))
    return [(min(pair), max(pair)) for pair in pairwise(order)]


def _natural(name: str) -> list[tuple[bool, int, str]]:
    return [(piece.isdecimal(), int(piece) if piece.isdecimal() else 0, piece) for piece in re.split(r"(\d+)", name)]


def _alike(views: NDArray[np.float32], middle: int, clear: Sequence[int]) -> list[Ints]:
    """For each image: itself and the `KIND` others, not clearly of the same part, that look most like it.

    Compared are its brightness, as contrasts within the image, and where its texture is strong; both coarsely enough
    that it does not matter how the part lies.
    """
    looks = []
    for image in range(len(views)):
        grey = _grey(views[image, middle])
        brightness = cv2.resize(grey, (LOOK, LOOK), interpolation=cv2.INTER_AREA)
        texture = abs(grey - cv2.GaussianBlur(grey, (0, 0), 2))
        texture = cv2.resize(texture, (LOOK_TEXTURE, LOOK_TEXTURE), interpolation=cv2.INTER_AREA)
        brightness = (brightness - brightness.mean()) / (brightness.std() + 3) / LOOK
        looks.append(np.concatenate([brightness.ravel(), texture.ravel() / 40]))
    all_looks, parts = np.stack(looks), np.array(clear)
    found = []
    for image, look in enumerate(looks):
        others = np.flatnonzero(parts != parts[image])
        difference = ((all_looks[others] - look) ** 2).sum(axis=1)
        found.append(np.append(image, others[np.argsort(difference, kind="stable")[:KIND]]))
    return found


def _random_pairs(alike: Sequence[Ints]) -> list[tuple[int, int]]:
    """Pairs of different parts that look alike."""
    random = np.random.default_rng(0)
    pairs = set()
    for image, others in enumerate(alike):
        for other in random.choice(others[1:], min(PARTNERS, len(others) - 1), replace=False).tolist():
            pairs.add((min(image, other), max(image, other)))
    return sorted(pairs)


def _registered(keypoints: _Keypoints, one: int, other: int, middle: int, tiles: Sequence[int]) -> _Pair | None:
    """Register two images by their own keypoints, wherever the part has moved."""
    here, described = keypoints.of(one, middle)
    best: _Pair | None = None
    for tile in tiles:
        there, others = keypoints.of(other, tile)
        if min(len(here), len(there)) < VOTES:
            continue
        products = described @ others.T
        nearest, back = products.argmax(axis=1), products.argmax(axis=0)
        mutual = np.flatnonzero(back[nearest] == np.arange(len(here)))
        moved, agreeing = _movement(here[mutual], there[nearest[mutual]])
        share = agreeing / min(len(here), len(there))
        if moved is not None and agreeing >= VOTES and (best is None or share > best.share):
            best = _Pair(one, other, tile, moved, share)
    return best


def _unmoved(one: int, other: int, tile: int) -> _Pair:
    return _Pair(one, other, tile, np.eye(2, 3), 0)


def _prepared(view: Floats) -> tuple[Floats, Floats]:
    """Half-size structure, by which images are registered, and the fine texture, by which they are compared."""
    grey = _grey(view)
    half = cv2.resize(grey, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
    return _band(half, 1, 6, floor=4), _band(grey, 0.7, 2, floor=2)


def _band(grey: Floats, fine: float, coarse: float, *, floor: float) -> Floats:
    """What lies between two scales (σ, pixels), over its own local strength, so that an edge counts like a scratch."""
    band = cv2.GaussianBlur(grey, (0, 0), fine) - cv2.GaussianBlur(grey, (0, 0), coarse)
    return np.asarray(band / np.sqrt(cv2.GaussianBlur(band * band, (0, 0), 8) + floor**2))


def _agreement(one: tuple[Floats, Floats], other: tuple[Floats, Floats], moved: NDArray[np.float64]) -> float:
    """How well the fine texture of two images agrees once they are registered: Fisher's z of the correlation.

    The median over blocks: what a border was filled with, or a speck of dust, does not decide.
    """
    back = cv2.invertAffineTransform(moved)
    half = back.copy()
    half[:, 2] = (back[:, :2].sum(axis=1) / 2 + back[:, 2] - 0.5) / 2  # pixel u of the half size is at 2u + 1/2
    half = half.astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    try:
        # Evangelidis & Psarakis 2008; affine, because views may be squeezed along an axis.
        _, half = cv2.findTransformECC(other[0], one[0], half, cv2.MOTION_AFFINE, stop, None, 1)
    except cv2.error:  # without common structure it does not converge
        return 0.0
    back = half.astype(np.float64)
    back[:, 2] = 2 * back[:, 2] + 0.5 - back[:, :2].sum(axis=1) / 2
    there = other[1]
    inside = np.zeros_like(there)
    inside[4:-4, 4:-4] = 1
    here = cv2.warpAffine(one[1], back, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    common = cv2.warpAffine(inside, back, (SIDE, SIDE), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP) * inside
    blocks = (SIDE // BLOCK, SIDE // BLOCK)
    shared, here_2, there_2, product = (
        cv2.resize(field, blocks, interpolation=cv2.INTER_AREA)
        for field in (common, here * here, there * there, here * there)
    )
    # Blocks of one colour, as under a mask, say nothing.
    chosen = (shared > 0.99) & (np.minimum(here_2, there_2) > 1e-6)
    if chosen.mean() < OVERLAP:
        return 0.0
    correlation = np.median(product[chosen] / np.sqrt(here_2[chosen] * there_2[chosen]))
    return float(np.arctanh(np.clip(correlation, -0.9999, 0.9999)))


def _components(alike: Sequence[tuple[int, int]], count: int) -> tuple[int, ...]:
    """Number the connected components; an image that is like too many is left alone."""
    degree = np.bincount(np.array(alike, np.intp).ravel(), minlength=count)
    many = degree > max(3, MOST * count)
    root = list(range(count))

    def find(image: int) -> int:
        while root[image] != image:
            image = root[image]
        return image

    for one, other in alike:
        if not (many[one] or many[other]):
            first, second = sorted((find(one), find(other)))
            root[second] = first
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(find(image), len(numbers)) for image in range(count))
