"""Matching in one graph against the CPU's matching with exhaustive search: the same bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from cards import CARDS, card_of
from cuda_kernels import left_to_the_cpu
from fake_gpu import CUDA, NO_DRIVER, Machine
from numpy.typing import NDArray

from spade_edge.galleries.index_writer import write_index
from spade_edge.galleries.keys import fit_coding
from spade_edge.runtime import BundleError, DeviceError, ModelError, UsageError
from spade_edge.runtime.kernels import device_kernel
from spade_edge.runtime.kernels.device_kernel import DeviceKernel, put
from spade_edge.runtime.kernels.graph_writer import Graph
from spade_edge.runtime.matching import device_search
from spade_edge.runtime.matching.coding import Coder, Coding
from spade_edge.runtime.matching.config import Matching
from spade_edge.runtime.matching.device_matcher import DeviceMatcher, _add_codes, _add_keys, _graph
from spade_edge.runtime.matching.device_search import EXACT_SUM
from spade_edge.runtime.matching.entries import entries_of
from spade_edge.runtime.matching.gallery import CodedGallery, Gallery, squared_lengths
from spade_edge.runtime.matching.graph_search import GraphSearch
from spade_edge.runtime.matching.hnsw import Index
from spade_edge.runtime.matching.matcher import Matcher
from spade_edge.runtime.matching.taught_search import CANDIDATES
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.provider import Provider
from spade_edge.runtime.network.pyramid import Pyramid

THREE, ONE = CARDS["three levels"], CARDS["the third level alone"]
WIDE = {
    "a record longer than an exact sum": card_of((32, 32), (4, 80), (16, 6)),
    "as many channels as an exact sum": card_of((32, 32), (16, EXACT_SUM)),
}
EVERY_CARD = CARDS | WIDE
PLACES = (None, 0, 1, 9)  # at any place, or cells around; 9 is beyond every grid
VERSION = str(onnxruntime.__version__)


def pyramid_of(card: ModelCard, seed: int, *, signed: bool = False) -> Pyramid:
    rng = np.random.default_rng(seed)
    levels = tuple((rng.gamma(1, 1, (*card.grid(x), x.channels)) - signed).astype(np.float32) for x in card.levels)
    return Pyramid(levels=levels, descriptor=levels[-1].mean(axis=(0, 1)))


def known(card: ModelCard, count: int, *, signed: bool = False) -> list[Pyramid]:
    """Good images, some of them the same, some of them the same at other places."""
    pyramids = [pyramid_of(card, seed, signed=signed) for seed in range(count)]
    for i in range(3, count, 3):
        pyramids[i] = pyramids[i - 3]
    for i in range(4, count, 5):  # the same one cell further to the right
        levels = (np.roll(a, a.shape[1] // card.grid(card.levels[-1])[1], axis=1) for a in pyramids[i - 3].levels)
        pyramids[i] = replace(pyramids[i - 3], levels=tuple(levels))
    return pyramids


def matcher_of(
    pyramids: Sequence[Pyramid],
    card: ModelCard,
    folder: Path,
    *,
    views: int = 1,
    normalisation: str = "root",
    included: NDArray[np.bool_] | None = None,
    selected: NDArray[np.bool_] | None = None,
    threads: int = 1,
    **parameters: object,
) -> Matcher:
    """Matches on the CPU, with a search that compares with every key."""
    coding = fit_coding(pyramids, card, normalisation=normalisation)
    coder = Coder(card, coding, threads=1)
    coded = coder(pyramids)
    gallery = CodedGallery(
        card=card,
        levels=coded.levels,
        descriptors=np.stack([p.descriptor for p in pyramids]),
        names=tuple(f"{i}.png" for i in range(len(pyramids) // views)),
        coding=coding,
        squares=coder.windows(coded).squares,
    )
    place = parameters.get("place")
    search = "hnsw" if place is None else "place"
    matching = Matching(search=search, normalisation=normalisation, **parameters)  # type: ignore[arg-type]
    if place is not None:
        return Matcher(gallery, matching, keys=coded.keys, included=included, selected=selected, threads=threads)
    every = np.ones(len(gallery), bool) if included is None else included
    parts = np.split(coded.keys, matching.indexes(views))
    entries, searches = [], []
    for number, own in enumerate(parts):
        entries.append(entries_of(own, np.repeat(np.tile(every, views // len(parts)), card.cells)))
        labels = np.unique(entries[-1][entries[-1] >= 0]).astype(np.int64)
        write_index(own[labels], folder / f"{number}.hnsw", labels=labels)
        searches.append(GraphSearch(Index.read(folder / f"{number}.hnsw"), threads=1, exhaustive=10**9))
    return Matcher(
        gallery,
        matching,
        searches=searches,
        entries=np.concatenate(entries),
        included=included,
        selected=selected,
        threads=threads,
    )


def on_device(matcher: Matcher) -> DeviceMatcher:
    gallery, searches = matcher.device_searches()
    return DeviceMatcher(gallery, matcher.matching, searches, placement=Provider(), onnxruntime=VERSION, threads=1)


def levels_of(queries: Sequence[Pyramid]) -> list[object]:
    """The features of some views where the network would have left them."""
    return [put(np.stack(levels), "cpu", 0) for levels in zip(*(query.levels for query in queries), strict=True)]


def check_the_same(matcher: Matcher, queries: Sequence[Pyramid], views: Sequence[int] | None = None) -> None:
    views = [0] * len(queries) if views is None else views
    found = on_device(matcher).match(levels_of(queries), count=len(queries), views=views)
    expected = matcher.match(queries, views=views)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.distances.dtype == np.float32
        assert np.array_equal(one.distances, other.distances)
        for at in np.ndindex(*other.distances.shape):
            assert one.nearest(*at) == other.nearest(*at)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", EVERY_CARD)
def test_results_are_those_of_the_cpu_bit_for_bit(name: str, place: int | None, tmp_path: Path) -> None:
    card = EVERY_CARD[name]
    pyramids = known(card, 9)
    matcher = matcher_of(pyramids, card, tmp_path, place=place, candidates=3)
    check_the_same(matcher, [pyramid_of(card, 50), pyramids[1], pyramid_of(card, 51)])


@pytest.mark.parametrize("place", [None, 1])
@pytest.mark.parametrize("part", [0.5, 0.99, -1])
def test_distances_below_zero_are_refused_here_and_on_the_cpu(place: int | None, part: float, tmp_path: Path) -> None:
    pyramids = known(THREE, 4)
    matcher = matcher_of(pyramids, THREE, tmp_path, place=place, candidates=3)
    squares = matcher.gallery.squares.copy()  # type: ignore[attr-defined]
    squares[5, -1] *= part  # of one embedding of the first image
    matcher.gallery = replace(matcher.gallery, squares=squares)  # type: ignore[call-arg]
    with pytest.raises(BundleError, match="distances of zero and more"):
        matcher.match([pyramids[0]])
    with pytest.raises(BundleError, match="distances of zero and more"):
        on_device(matcher).match(levels_of([pyramids[0]]), count=1, views=[0])


@pytest.mark.parametrize("place", [None, 1])
@pytest.mark.parametrize("normalisation", ["root", "length", "none"])
@pytest.mark.parametrize("signed", [False, True])
def test_every_normalisation(normalisation: str, signed: bool, place: int | None, tmp_path: Path) -> None:
    for card in (THREE, ONE):
        pyramids = known(card, 6, signed=signed)
        matcher = matcher_of(pyramids, card, tmp_path, place=place, candidates=4, normalisation=normalisation)
        # Features twice as large as those of any good image, and those that are never seen.
        louder = pyramid_of(card, 50, signed=signed)
        louder = replace(louder, levels=tuple(2 * level for level in louder.levels))
        silent = replace(louder, levels=tuple(np.zeros_like(level) for level in louder.levels))
        check_the_same(matcher, [louder, silent, replace(louder, levels=tuple(-level for level in louder.levels))])


@pytest.mark.parametrize(("gallery", "place"), [("shared", None), ("per-view", None), ("per-view", 0), ("per-view", 1)])
@pytest.mark.parametrize("left_out", [(), (0, 3)])
def test_views_and_excluded_images(gallery: str, place: int | None, left_out: tuple[int, ...], tmp_path: Path) -> None:
    pyramids = known(THREE, 15)  # three views of five images
    included = ~np.isin(np.arange(5), left_out)
    matcher = matcher_of(
        pyramids, THREE, tmp_path, views=3, gallery=gallery, place=place, included=included, candidates=5
    )
    queries = [pyramid_of(THREE, 60), pyramids[3], pyramid_of(THREE, 61), pyramids[12]]
    check_the_same(matcher, queries, views=[2, 0, 1, 2])
    for found in on_device(matcher).match(levels_of(queries[1:2]), count=1, views=[0]):
        items = {found.nearest(*at).item for at in np.ndindex(*found.distances.shape)}
        assert not items & {view * 5 + image for view in range(3) for image in left_out}


@pytest.mark.parametrize(("gallery", "place"), [("shared", None), ("per-view", None), ("per-view", 0), ("per-view", 1)])
@pytest.mark.parametrize("taught", [(4,), (1, 3)])
def test_taught_in_images_come_on_top_of_the_others(
    gallery: str, place: int | None, taught: tuple[int, ...], tmp_path: Path
) -> None:
    pyramids = known(THREE, 15)  # three views of five images
    selected = np.isin(np.arange(5), taught)

    def matcher(included: NDArray[np.bool_], own: NDArray[np.bool_] | None, candidates: int) -> Matcher:
        return matcher_of(
            pyramids, THREE, tmp_path, views=3, gallery=gallery, place=place, included=included, selected=own,
            candidates=candidates,
        )  # fmt: skip

    queries, views = [pyramid_of(THREE, 60), pyramids[taught[0]], pyramid_of(THREE, 61)], [2, 0, 1]
    both = matcher(~selected, selected, 5)
    check_the_same(both, queries, views=views)
    found = both.match(queries, views=views)
    without = matcher(~selected, None, 5).match(queries, views=views)
    alone = matcher(selected, None, CANDIDATES).match(queries, views=views)
    for one, first, second in zip(found, without, alone, strict=True):
        assert np.array_equal(one.distances, np.minimum(first.distances, second.distances))
        items = {one.nearest(*at).item % 5 for at in np.ndindex(*one.distances.shape)}
        assert items & set(taught)
    assert found[1].distances.max() < 1e-5 < without[1].distances.max()
    # Where it is said which images may be matched, taught-in ones are not among them.
    some = both.match(queries, views=views, allowed=~selected)
    assert all(np.array_equal(one.distances, other.distances) for one, other in zip(some, without, strict=True))


@pytest.mark.parametrize("place", PLACES)
def test_fewer_cells_than_candidates(place: int | None, tmp_path: Path) -> None:
    for card in (THREE, CARDS["one cell"]):
        for count in (1, 2):
            pyramids = known(card, count)
            matcher = matcher_of(pyramids, card, tmp_path, place=place, candidates=40)
            check_the_same(matcher, [pyramid_of(card, 50), pyramids[0]])


def test_more_keys_than_are_compared_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyramids = known(THREE, 12)
    matcher = matcher_of(pyramids, THREE, tmp_path, candidates=5)
    monkeypatch.setattr(device_search, "PART", 32)
    monkeypatch.setattr(device_search, "RUN", 4)
    check_the_same(matcher, [pyramid_of(THREE, 50), pyramids[7]])


@pytest.mark.parametrize("place", [None, 1])
def test_an_even_background(place: int | None, tmp_path: Path) -> None:
    """All keys are equal, so all cells are equally near, but fine detail differs."""
    pyramids = [pyramid_of(THREE, seed) for seed in range(5)]
    even = [np.full_like(level, 0.5) for level in pyramids[0].levels]
    pyramids = [replace(p, levels=tuple(even)) for p in pyramids]
    for number, pyramid in enumerate(pyramids[2:]):
        pyramid.levels[0][3 * number : 3 * number + 2] = 0.6
    flat = replace(pyramid_of(THREE, 50), levels=tuple(np.full_like(level, 0.5) for level in even))
    matcher = matcher_of([*pyramids, pyramid_of(THREE, 9)], THREE, tmp_path, place=place, candidates=5)
    check_the_same(matcher, [flat, pyramids[4]])


def test_keys_are_exact_where_their_sums_are_not_in_float32() -> None:
    card = WIDE["a record longer than an exact sum"]
    rng = np.random.default_rng(0)
    weights = rng.integers(120, 128, (16 * 80 + 6, 40)).astype(np.int8)
    levels = tuple(rng.integers(120, 128, (*card.grid(x), x.channels)).astype(np.float32) for x in card.levels)
    first = np.concatenate([levels[0][:4, :4].ravel(), levels[1][0, 0]]).astype(np.int64) @ weights.astype(np.int64)
    assert first.min() > 1 << 24
    one = np.ones(2, np.float32)
    coding = Coding("none", 0 * one, one, weights, np.ones(40, np.float32), (64 - first).astype(np.float32))
    graph = Graph()
    codes, _ = _add_codes(graph, card, coding)
    graph.output("keys", _add_keys(graph, codes, card, coding), np.float32)
    given = {f"level{i}": level[np.newaxis] for i, level in enumerate(levels)}
    (keys,) = DeviceKernel(graph, threads=1)(**given, number=np.zeros(1, np.int64))
    expected = Coder(card, coding, threads=1)([Pyramid(levels=levels, descriptor=levels[1][0, 0])]).keys
    assert np.array_equal(keys.numpy(), expected)
    assert np.abs(expected[0] - 64.0).max() <= 2  # neither end of the range


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(level: int, value: float, tmp_path: Path) -> None:
    matcher = on_device(matcher_of(known(THREE, 3), THREE, tmp_path))
    good, bad = pyramid_of(THREE, 50), pyramid_of(THREE, 51)
    bad.levels[level][-1, -1, -1] = value
    (found,) = matcher.match(levels_of([good, bad]), count=1, views=[0])
    assert np.isfinite(found.distances).all()
    with pytest.raises(ModelError):
        matcher.match(levels_of([good, bad]), count=2, views=[0, 0])


def test_features_at_fixed_addresses_are_matched_as_any_others(tmp_path: Path) -> None:
    """As those of a CUDA graph: the network writes the features of the next view over those of the one before."""
    for card, gallery in ((THREE, "per-view"), (THREE, "shared"), (ONE, "per-view")):
        pyramids = known(card, 8)
        matcher = matcher_of(pyramids, card, tmp_path, views=2, gallery=gallery, candidates=5)
        coded, searches = matcher.device_searches()
        fixed = levels_of([pyramids[0]])
        device = DeviceMatcher(
            coded, matcher.matching, searches, placement=Provider(), onnxruntime=VERSION, threads=1, fixed=fixed
        )
        queries, views, found = [pyramid_of(card, seed) for seed in (50, 51, 52)], [1, 0, 1], []
        for query, view in zip(queries, views, strict=True):
            for value, level in zip(fixed, query.levels, strict=True):
                value.update_inplace(level[np.newaxis])  # type: ignore[attr-defined]
            found += device.match(fixed, count=1, views=[view])
        for one, other in zip(found, matcher.match(queries, views=views), strict=True):
            assert np.array_equal(one.distances, other.distances)
            assert all(one.nearest(*at) == other.nearest(*at) for at in np.ndindex(*other.distances.shape))


def test_what_cannot_be_matched_there_is_refused(tmp_path: Path) -> None:
    pyramids = known(THREE, 4)
    for parameters in ({"neighbours": 2}, {"kappa": 2}, {"kappa": 2, "place": 1}, {"neighbours": 2, "place": 1}):
        matcher = matcher_of(pyramids, THREE, tmp_path, **parameters)  # type: ignore[arg-type]
        with pytest.raises(UsageError):
            matcher.device_searches()
    plain = matcher_of(pyramids, THREE, tmp_path)
    for matcher in (
        Matcher(plain.gallery, replace(plain.matching, search="exact"), threads=1),
        Matcher(plain.gallery, plain.matching, searches=[lambda queries, **_: (queries, queries)], threads=1),  # type: ignore[arg-type, list-item]
    ):
        with pytest.raises(UsageError):
            matcher.device_searches()
    features = Gallery(
        card=THREE,
        levels=tuple(np.stack(levels) for levels in zip(*(p.levels for p in pyramids), strict=True)),
        descriptors=plain.gallery.descriptors,
        names=plain.gallery.names,
        squares=np.stack([squared_lengths(p) for p in pyramids]),
    )
    with pytest.raises(UsageError):
        Matcher(features, Matching(projection="none", search="exact"), threads=1).device_searches()
    wide = card_of((32, 32), (16, EXACT_SUM + 1))
    with pytest.raises(UsageError, match=str(EXACT_SUM)):
        matcher_of(known(wide, 2), wide, tmp_path, place=0).device_searches()


def test_the_gallery_on_the_device_is_codes_lengths_and_keys(tmp_path: Path) -> None:
    matcher = matcher_of([pyramid_of(THREE, seed) for seed in range(4)], THREE, tmp_path, place=0)
    codes, cells, dimensions = 16**2 * 5 + 8**2 * 7 + 4**2 * 9, 4**2, matcher._places[0].keys.shape[1]
    # One byte per code; the squared length of each embedding; each key and its squared length; the first cell.
    assert on_device(matcher).resident == 4 * (codes + 4 * 16**2 + 4 * cells * (dimensions + 1)) + 8


def test_memory_that_is_short_is_told_with_both_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Callable[[Machine], Machine]
) -> None:
    matcher = matcher_of(known(THREE, 4), THREE, tmp_path)
    gallery, searches = matcher.device_searches()
    machine = install(Machine())
    device = DeviceMatcher(
        gallery, matcher.matching, searches, placement=Provider("cuda"), onnxruntime="1.23.2", threads=1
    )
    figures = rf"{device.resident / 1e6:,.0f} MB and about {device.working / 1e6:,.0f} MB.*"
    machine.fails[CUDA] = "Failed to allocate memory for requested buffer of size 253000000"
    with pytest.raises(DeviceError, match=figures + "253000000") as caught:
        device.prove(levels_of([pyramid_of(THREE, 50)]))
    assert "\n" not in str(caught.value)

    def full(array: object, *where: object) -> None:
        raise RuntimeError("CUDA failure 2: out of memory")

    lacking = SimpleNamespace(OrtValue=SimpleNamespace(ortvalue_from_numpy=full))
    monkeypatch.setattr(device_kernel, "onnxruntime", lambda: lacking)
    with pytest.raises(DeviceError, match=figures + "out of memory"):
        DeviceMatcher(gallery, matcher.matching, searches, placement=Provider(), onnxruntime=VERSION, threads=1)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_on_a_gpu_it_runs_on_cuda_beside_the_network_and_never_in_tf32(
    provider: str, tmp_path: Path, install: Callable[[Machine], Machine]
) -> None:
    matcher = matcher_of(known(THREE, 4), THREE, tmp_path, views=2, gallery="per-view", place=1)
    gallery, searches = matcher.device_searches()
    machine = install(Machine())
    placement = Provider(provider, device=1, memory=10**9, tf32=True, cuda_graph=True)
    DeviceMatcher(gallery, matcher.matching, searches, placement=placement, onnxruntime="1.23.2", threads=1)
    (((name, options),),) = machine.asked
    assert name == CUDA
    assert options["device_id"] == "1" and options["use_tf32"] == "0" and options["gpu_mem_limit"] == str(10**9)
    assert "enable_cuda_graph" not in options  # what is not at fixed addresses cannot be captured
    # Codes of three levels and lengths once, and the keys, lengths and first cell of each view.
    assert machine.devices == [("cuda", 1)] * (4 + 2 * 3)
    fixed = levels_of([pyramid_of(THREE, 50)])
    DeviceMatcher(
        gallery, matcher.matching, searches, placement=placement, onnxruntime="1.23.2", threads=1, fixed=fixed
    )
    assert [chosen[0][1] for chosen in machine.asked[1:]] == [options | {"enable_cuda_graph": "1"}] * 2
    machine.raises[CUDA] = NO_DRIVER
    with pytest.raises(DeviceError):
        DeviceMatcher(gallery, matcher.matching, searches, placement=placement, onnxruntime="1.23.2", threads=1)


def test_cuda_runs_every_node(tmp_path: Path) -> None:
    for normalisation in ("root", "length", "none"):
        for signed in (False, True):
            for place in (None, 1):
                for card in (THREE, WIDE["a record longer than an exact sum"]):
                    pyramids = known(card, 6, signed=signed)
                    matcher = matcher_of(
                        pyramids, card, tmp_path, place=place, normalisation=normalisation, candidates=40
                    )
                    gallery, (search,) = matcher.device_searches()
                    assert left_to_the_cpu(_graph(gallery, matcher.matching, search, search.resident())) == []
