"""Which views a build lays out, what it says of them, and what it refuses."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_network import write_tiny_model

from spade_edge.galleries import BuildOptions, Built, Plan, Views, build
from spade_edge.galleries.view_selection import OVERLAP, SQUEEZED, Proposal, mask_of_frames, propose, tiles
from spade_edge.runtime import DataError, Scorer, SpadeError, UsageError
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.geometry.layout import MOST_VIEWS, WHOLE, Box, Canvas, Layout
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.matching.config import Matching
from spade_edge.tools.cli.main import main

Frames = Callable[..., NDArray[np.uint8]]
Bundles = Callable[[str], Built]
PAPER_VIEW, SMALL = View(), View((64, 64), (64, 64))
# The names of tests/conftest.py.
CODED = ["shared", "per-view", "regions, per-view", "tiles in regions", "masked", "masked regions, per-view"]
UNCODED = ["shared, no codes", "masked regions, no codes"]


@pytest.mark.parametrize("region", [(0, 0, 200, 150), (7, 5, 64, 64), (3, 0, 65, 64), (0, 0, 1, 1), (2, 9, 500, 30)])
@pytest.mark.parametrize("tile", [(64, 64), (32, 80), (100, 16), (1000, 1000)])
@pytest.mark.parametrize("overlap", [0, 1, 7, 8])
def test_tiles_cover_every_pixel_and_share_as_many_as_asked(region: Box, tile: tuple[int, int], overlap: int) -> None:
    x, y, width, height = region
    found = tiles(region, tile, overlap)
    assert len(set(found)) == len(found)
    seen = np.zeros((height, width), int)
    for left, top, wide, high in found:
        assert (wide, high) == (min(tile[1], width), min(tile[0], height))
        assert x <= left and y <= top and left + wide <= x + width and top + high <= y + height
        seen[top - y : top - y + high, left - x : left - x + wide] += 1
    assert seen.min() == 1 or (seen.min() > 1 and overlap * 2 >= min(tile))
    for axis, length in ((0, width), (1, height)):
        starts = sorted({box[axis] for box in found})
        side = min(tile[1 - axis], length)
        steps = np.diff(starts)
        if len(starts) > 1:
            assert (side - steps >= overlap).all()
            assert np.ptp(steps) <= 1  # evenly spread
        # One fewer would leave a gap or share too little.
        fewer = len(starts) - 1
        assert fewer == 0 or side + (fewer - 1) * (side - overlap) < length
    assert found == tuple(sorted(found, key=lambda box: (box[1], box[0])))  # row by row


def test_half_of_a_tile_may_be_shared() -> None:
    assert tiles((0, 0, 100, 64), (64, 64), 32) == ((0, 0, 64, 64), (18, 0, 64, 64), (36, 0, 64, 64))
    assert tiles((0, 0, 96, 64), (64, 64), 32) == ((0, 0, 64, 64), (32, 0, 64, 64))


def test_a_frame_of_the_largest_size_and_one_with_too_many_tiles() -> None:
    found = tiles((0, 0, 32_766, 32_766), (2048, 2048), 200)
    assert len(found) == 18**2
    assert found[-1] == (32_766 - 2048, 32_766 - 2048, 2048, 2048)
    Canvas(Layout((32_766, 32_766), found), PAPER_VIEW)
    with pytest.raises(UsageError, match="at most 1024"):
        tiles((0, 0, 32_766, 10), (16, 16), 8)
    with pytest.raises(UsageError, match="1 to 1024"):
        Views(tile=(64, 64)).layout((3000, 3000), SMALL, None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"overlap": 8}, "expected an overlap with tiles only"),
        ({"tile": (15, 64)}, "expected tiles of 16 pixels a side or more, found 64x15"),
        ({"tile": (64, 0)}, "expected tiles of 16 pixels"),
        ({"tile": (64, -64)}, "expected tiles of 16 pixels"),
        (
            {"tile": (64, 40), "overlap": 21},
            "expected an overlap of 0 to 20 pixels, half of the shorter side of a tile of 40x64, found 21",
        ),
        ({"tile": (64, 40), "overlap": -1}, "expected an overlap of 0 to 20"),
    ],
)
def test_views_that_cannot_be_are_refused(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Views(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("overlap", [-100, -1, 225, 10_000])
def test_an_overlap_that_does_not_fit_the_tiles_that_are_chosen_is_refused(overlap: int) -> None:
    with pytest.raises(UsageError, match="0 to 224 .* 448x448"):
        Views(auto=True, overlap=overlap).layout((1080, 1920), PAPER_VIEW, None)


def test_layouts() -> None:
    size = (100, 200)
    everything = (0, 0, 200, 100)
    regions: tuple[Box, ...] = ((5, 6, 70, 80), (60, 6, 100, 80))
    mask = np.zeros(size, bool)
    mask[20:50, 90:150] = True
    mask[30, 160] = True
    assert Views().layout(size, SMALL, None) == WHOLE
    # Asked for as a region, or as a tile that is large enough, the whole is fixed in pixels, or not.
    assert Views(regions=(everything,)).layout(size, SMALL, None) == Layout(size, (everything,))
    assert Views(tile=(100, 200)).layout(size, SMALL, None) == WHOLE
    assert Views(regions=regions).layout(size, SMALL, None) == Layout(size, regions)
    assert Views(mask=Path("m")).layout(size, SMALL, mask) == Layout(size, ((90, 20, 71, 30),), masked=True)
    by_tile = Views(tile=(50, 80), overlap=10)
    assert by_tile.layout(size, SMALL, None) == Layout(size, tiles(everything, (50, 80), 10))
    default = Views(tile=(50, 80))
    assert default.layout(size, SMALL, None) == Layout(size, tiles(everything, (50, 80), 50 // OVERLAP))
    # Of tiles in regions, none twice, and none that the mask ignores.
    both = replace(by_tile, regions=(*regions, (60, 6, 80, 50)))  # the last is a tile of the second
    boxes = tuple(dict.fromkeys(box for region in regions for box in tiles(region, (50, 80), 10)))
    assert (60, 6, 80, 50) in boxes
    assert both.layout(size, SMALL, None) == Layout(size, boxes)
    left = tuple((x, y, w, h) for x, y, w, h in boxes if mask[y : y + h, x : x + w].any())
    assert both.layout(size, SMALL, mask) == Layout(size, left, masked=True)
    assert 0 < len(left) < len(boxes)
    with pytest.raises(UsageError, match="expected a mask that leaves part of the regions"):
        Views(regions=((0, 60, 20, 20),)).layout(size, SMALL, mask)
    with pytest.raises(UsageError, match="expected every region once"):
        Views(regions=(regions[0], regions[0])).layout(size, SMALL, None)


@pytest.mark.parametrize("tile", [None, (50, 80)])
@pytest.mark.parametrize("region", [(150, 0, 60, 30), (0, 90, 20, 11), (300, 300, 50, 50), (10, 10, 0, 5)])
def test_a_region_outside_the_frame_is_refused(region: Box, tile: tuple[int, int] | None) -> None:
    with pytest.raises(UsageError, match="200x100"):
        Views(regions=((0, 0, 50, 50), region), tile=tile).layout((100, 200), SMALL, None)


def test_a_region_outside_the_frame_is_refused_beside_a_mask_too() -> None:
    with pytest.raises(UsageError, match="200x100"):
        Views(regions=((0, 0, 50, 50), (300, 0, 50, 50)), mask=Path("m")).layout(
            (100, 200), SMALL, np.ones((100, 200), bool)
        )


def limits(tile: tuple[int, int] | None, frame: tuple[int, int], view: View) -> tuple[float, float]:
    """How much a view shrinks the frame at most, and how much more along one axis than along the other."""
    down, across = ((tile or frame)[axis] / view.size[axis] for axis in (0, 1))
    return max(down, across), max(down, across) / min(down, across)


# Frames (height, width), and how many views they get at 224 x 224.
PROPOSED = {
    (224, 224): 1,
    (640, 640): 1,
    (900, 900): 1,
    (1080, 1920): 15,
    (2048, 2448): 42,
    (256, 4096): 19,
    (4096, 256): 19,
    (100, 100): 1,
    (64, 8192): 69,
    (480, 640): 1,
    (1, 1): 1,
}


@pytest.mark.parametrize("frame", PROPOSED)
def test_what_is_proposed_for_a_frame(frame: tuple[int, int]) -> None:
    found = propose(frame, PAPER_VIEW)
    layout = Views(auto=True).layout(frame, PAPER_VIEW, None)
    assert len(layout) == PROPOSED[frame] <= MOST_VIEWS
    assert (found.tile is None) == (layout == WHOLE)
    assert f"{frame[1]}x{frame[0]}" in found.why and "224x224" in found.why and "\n" not in found.why
    shrunk, squeezed = limits(found.tile, frame, PAPER_VIEW)
    if found.tile is None:
        assert shrunk <= 5 and squeezed <= 2
    else:
        # Small defects stay: no more than two pixels become one.
        assert shrunk <= 2.01
        assert all(side <= whole for side, whole in zip(found.tile, frame, strict=True))
        whole = limits(None, frame, PAPER_VIEW)
        assert whole[0] > 5 or whole[1] > 2
        assert len(layout) > 1
        Canvas(layout, PAPER_VIEW)
        seen = np.zeros(frame, bool)
        for x, y, width, height in layout.boxes:
            seen[y : y + height, x : x + width] = True
        assert seen.all()


@pytest.mark.parametrize(
    "frame",
    [(1080, 1920), (256, 4096), (4096, 256), (64, 8192), (8192, 64), (100, 300)],
)
def test_tiles_that_are_proposed_are_not_squeezed(frame: tuple[int, int]) -> None:
    found = propose(frame, PAPER_VIEW)
    assert found.tile is not None and limits(found.tile, frame, PAPER_VIEW)[1] <= SQUEEZED


@pytest.mark.parametrize(("frame", "view"), [((20_000, 20_000), PAPER_VIEW), ((4000, 4000), SMALL)])
def test_what_is_proposed_for_a_large_frame_can_be_built(frame: tuple[int, int], view: View) -> None:
    assert 1 <= len(Views(auto=True).layout(frame, view, None)) <= MOST_VIEWS


LOW = [(16, 32_766), (8, 20_000), (4, 9000), (1, 32_766), (20_000, 8)]


@pytest.mark.parametrize("frame", LOW)
def test_something_is_proposed_for_a_low_strip(frame: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(size: tuple[int, int], tile: tuple[int, int]) -> int:
        asked.append(tile)
        assert len(asked) < 200, f"still not done after {len(asked)} tiles, the last {tile}"
        return real(size, tile)

    module = sys.modules["spade_edge.galleries.view_selection"]
    real: Callable[..., int] = module._count
    monkeypatch.setattr(module, "_count", counted)
    propose(frame, PAPER_VIEW)
    assert 1 <= len(Views(auto=True).layout(frame, PAPER_VIEW, None)) <= MOST_VIEWS


@pytest.mark.parametrize(
    "frame",
    [
        (1080, 1920),
        (256, 4096),
        (20_000, 20_000),
        (64, 8192),
    ],
)
def test_how_much_tiles_shrink_is_what_they_shrink(frame: tuple[int, int]) -> None:
    found = propose(frame, PAPER_VIEW)
    assert found.why.endswith(f" {limits(found.tile, frame, PAPER_VIEW)[0]:.1f} times")


def small_frames(folder: Path, frames: list[NDArray[np.uint8]]) -> Path:
    folder.mkdir()
    for number, frame in enumerate(frames):
        np.save(folder / f"{number}.npy", frame)
    return folder


def test_large_frames_are_built_as_a_whole(tiny_model: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [np.kron(rng.integers(0, 256, (40, 40), dtype=np.uint8), np.ones((100, 100), np.uint8)) for _ in range(2)]
    built = build(small_frames(tmp_path / "good", frames), model=tiny_model, output=tmp_path / "b.spade")
    assert built.manifest.layout == WHOLE


class StopPlannedError(Exception):
    """Ends a build once its plan is made."""


def planned(images: Path, model: Path, output: Path, views: Views) -> Plan:
    plans: list[Plan] = []

    def stop(plan: Plan) -> None:
        plans.append(plan)
        raise StopPlannedError

    with pytest.raises(StopPlannedError):
        build(images, model=model, output=output, options=BuildOptions(views=views), announce=stop)
    return plans[0]


def test_nothing_is_proposed_that_would_be_refused(tiny_model: Path, tmp_path: Path) -> None:
    """As many views as there may be of a frame, and the largest frames that still have tiles."""
    for size in ((4000, 4000), (600, 6000), (6000, 600)):
        images = small_frames(tmp_path / f"{size[0]}x{size[1]}", [np.zeros(size, np.uint8)] * 2)
        whole = planned(images, tiny_model, tmp_path / "whole.spade", Views())
        auto = planned(images, tiny_model, tmp_path / "auto.spade", Views(auto=True))
        assert whole.proposal is not None and whole.proposal.tile is not None and auto.proposal == whole.proposal
        assert len(auto.layout) == whole.proposed_views <= MOST_VIEWS
        assert not list(tmp_path.glob("*.spade"))


@pytest.mark.parametrize("name", [*CODED, *UNCODED])
def test_a_bundle_is_laid_out_as_asked_and_its_entries_go_view_by_view(
    with_views: Bundles, textures: Path, looked_at: NDArray[np.bool_], name: str
) -> None:
    built = with_views(name)
    bundle = Bundle.open(built.path)
    layout = bundle.manifest.layout
    count, views = len(bundle.manifest.names), len(layout.boxes)
    assert count == 6 and layout.frame == (56, 72) and layout.masked == name.startswith("masked")
    if "regions" not in name:
        assert layout.boxes == tiles((6 if layout.masked else 0, 0, 66 if layout.masked else 72, 56), (32, 32), 8)
    assert bundle.gallery.views == views and len(bundle.gallery) == count
    assert len(bundle.thumbnails) == len(bundle.gallery.descriptors) == count * views
    assert len(bundle.indexes) == (0 if name in UNCODED else views if "per-view" in name else 1)
    for view, (x, y, width, height) in enumerate(layout.boxes):
        for image, path in enumerate(bundle.manifest.names):
            frame = np.load(textures / path)
            frame = np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else frame
            shown = bundle.thumbnails[view * count + image].astype(float)
            cut = frame[y : y + height, x : x + width].astype(np.float32)
            seen = cv2.resize(
                cv2.resize(cut, (32, 32), interpolation=cv2.INTER_LINEAR), (16, 16), interpolation=cv2.INTER_AREA
            )
            if layout.masked:
                keep = cv2.resize(looked_at[y : y + height, x : x + width].astype(np.float32), (16, 16)) > 0.999
                keep = cv2.erode(keep.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
                assert keep.mean() > 0.3
            else:
                keep = np.ones((16, 16), bool)
            assert np.abs(shown - seen)[keep].mean() < 6


@pytest.mark.parametrize("name", ["shared", "masked regions, per-view", "shared, no codes"])
def test_the_size_of_a_bundle_with_views_is_known_beforehand(
    with_views: Bundles, model: Path, textures: Path, tmp_path: Path, looked_at: NDArray[np.bool_], name: str
) -> None:
    before = with_views(name).manifest
    np.save(tmp_path / "mask.npy", looked_at.astype(np.uint8))
    views = Views(regions=before.layout.boxes, mask=tmp_path / "mask.npy" if before.layout.masked else None)
    plans: list[Plan] = []
    built = build(
        textures,
        model=model,
        output=tmp_path / "b.spade",
        options=BuildOptions(views=views, matching=before.matching),
        announce=plans.append,
    )
    (plan,) = plans
    assert plan.layout == built.manifest.layout == before.layout  # a tile is a region
    assert plan.proposal is not None and plan.milliseconds > 0
    assert plan.size == pytest.approx(built.manifest.size, rel=0.01)
    network = built.manifest.files["model"].size
    assert plan.size - network == pytest.approx(built.manifest.size - network, rel=0.02)


@pytest.mark.parametrize("name", ["per-view", "masked regions, no codes"])
def test_a_tile_is_a_region_and_threads_change_nothing(
    with_views: Bundles, tiny_model: Path, textures: Path, tmp_path: Path, looked_at: NDArray[np.bool_], name: str
) -> None:
    before = with_views(name).manifest
    np.save(tmp_path / "mask.npy", looked_at.astype(np.uint8))
    views = Views(regions=before.layout.boxes, mask=tmp_path / "mask.npy" if before.layout.masked else None)
    built = build(
        textures,
        model=tiny_model,
        output=tmp_path / "b.spade",
        options=BuildOptions(views=views, matching=before.matching, place="free", threads=1),
    )
    assert built.manifest.files == before.files and built.manifest.limits == before.limits
    assert replace(built.manifest.threshold, set="") == replace(before.threshold, set="")


def test_views_and_a_gallery_per_view_depart_from_the_paper(with_views: Bundles, edge: Built) -> None:
    said = {name: with_views(name).manifest.deviations for name in ("shared", "per-view", "masked")}
    assert "6 views of a frame (paper: one, of the whole)" in said["shared"]
    assert not any("gallery" in text for text in said["shared"])
    assert "a gallery for each view (paper: one)" in said["per-view"]
    assert "6 views of a frame under a mask (paper: one, of the whole)" in said["masked"]
    assert not any("of a frame" in text for text in edge.manifest.deviations)


def refused(model: Path, images: Path, output: Path, kind: type[SpadeError], says: str, **options: object) -> str:
    """A build that ends with a message and leaves nothing."""
    with pytest.raises(kind, match=says) as caught:
        build(images, model=model, output=output, options=BuildOptions(**options))  # type: ignore[arg-type]
    assert not output.exists() and not list(output.parent.glob(".building*"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_fit_the_frames_is_refused(model: Path, textures: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "b.spade"
    refused(
        model, textures, output, UsageError, "expected regions inside the frame of 72x56 pixels, found 25x25 at \\(50,",
        views=Views(regions=((50, 0, 25, 25),)),
    )  # fmt: skip
    for shape in ((56, 71), (72, 56), (5, 5, 3)):
        path = tmp_path / "mask.npy"
        np.save(path, np.full(shape, 255, np.uint8))
        says = f"mask.npy: expected a mask of the frames' size, 72x56 pixels, found {shape[1]}x{shape[0]}"
        refused(model, textures, output, DataError, says, views=Views(mask=path))
    np.save(path, np.zeros((56, 72), np.uint8))
    says = "mask.npy: expected a mask with pixels over 0, which are inspected, found none"
    refused(model, textures, output, UsageError, says, views=Views(mask=path))
    refused(
        model,
        textures,
        output,
        DataError,
        "absent.png: expected an image file",
        views=Views(mask=tmp_path / "absent.png"),
    )
    write_tiny_model(tmp_path / "crop.onnx", size=(64, 64), resize=(80, 80))
    for views in (Views(tile=(32, 32)), Views(regions=((0, 0, 40, 40),))):
        says = "expected a model that sees all of a region or tile, found one that crops it; export it with --input"
        refused(tmp_path / "crop.onnx", textures, output, UsageError, says, views=views)
    assert build(textures, model=tmp_path / "crop.onnx", output=output).manifest.layout == WHOLE


def test_a_mask_that_leaves_no_pixel_of_a_view_untouched_is_refused_as_what_it_is(
    model: Path, textures: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    grid = np.zeros((56, 72), np.uint8)
    grid[::4, ::4] = 255  # every pixel of a smaller view has an ignored one in it
    np.save(tmp_path / "mask.npy", grid)
    says = "expected a mask that leaves a part of the views"
    refused(model, textures, tmp_path / "out" / "b.spade", UsageError, says, views=Views(mask=tmp_path / "mask.npy"))


@pytest.mark.parametrize("kind", [np.uint8, bool, np.uint16])
def test_masks_as_people_paint_them(tmp_path: Path, kind: type) -> None:
    expected = np.random.default_rng(0).integers(0, 2, (30, 40)).astype(bool)
    colours = np.zeros((30, 40, 3), np.uint8)
    colours[expected, 1] = 200  # green is looked at
    cv2.imwrite(str(tmp_path / "green.png"), colours)
    cv2.imwrite(str(tmp_path / "grey.png"), expected * np.uint8(255))
    cv2.imwrite(str(tmp_path / "faint.png"), expected * np.uint8(1))
    cv2.imwrite(str(tmp_path / "deep.png"), expected * np.uint16(65535))
    for name in ("green", "grey", "faint", "deep"):
        assert np.array_equal(mask_of_frames(tmp_path / f"{name}.png", (30, 40)), expected)
    np.save(
        tmp_path / "m.npy",
        expected.astype(kind) * (kind(1) if kind is bool else kind(65535) if kind is np.uint16 else 255),
    )
    assert np.array_equal(mask_of_frames(tmp_path / "m.npy", (30, 40)), expected)


def test_images_of_another_size_are_refused_or_left_out(
    tiny_model: Path, textures: Path, tmp_path: Path, texture: Frames
) -> None:
    folder = tmp_path / "good"
    shutil.copytree(textures, folder)
    np.save(folder / "3b.npy", texture(9, size=(50, 72)))
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "b.spade"
    says = "expected frames of 72x56 pixels, .*found 72x50; .*leave out with --skip-bad"
    refused(tiny_model, folder, output, DataError, says, views=Views(tile=(32, 32)))
    built = build(
        folder, model=tiny_model, output=output, options=BuildOptions(views=Views(tile=(32, 32)), skip_bad=True)
    )
    assert built.manifest.layout.frame == (56, 72)
    assert built.manifest.names == tuple(f"{i}.npy" for i in range(6))
    assert len(built.skipped) == 1
    # Without tiles any size will do, if it is meant.
    refused(
        tiny_model,
        folder,
        tmp_path / "out" / "whole.spade",
        DataError,
        "1 of 7 is of 72x50 pixels, most of 72x56: 3b.npy; .*--even-so",
    )
    whole = build(folder, model=tiny_model, output=tmp_path / "whole.spade", options=BuildOptions(even_so=True))
    assert len(whole.manifest.names) == 7


def test_an_image_of_another_size_is_named(model: Path, textures: Path, tmp_path: Path, texture: Frames) -> None:
    folder = tmp_path / "good"
    shutil.copytree(textures, folder)
    np.save(folder / "3b.npy", texture(9, size=(50, 72)))
    with pytest.raises(DataError, match="3b.npy"):
        build(folder, model=model, output=tmp_path / "b.spade", options=BuildOptions(views=Views(tile=(32, 32))))


def test_the_usual_size_counts_where_the_first_image_is_the_odd_one(
    tiny_model: Path, textures: Path, tmp_path: Path, texture: Frames
) -> None:
    folder = tmp_path / "good"
    shutil.copytree(textures, folder)
    np.save(folder / "!first.npy", texture(9, size=(50, 72)))
    built = build(
        folder,
        model=tiny_model,
        output=tmp_path / "b.spade",
        options=BuildOptions(views=Views(tile=(32, 32)), skip_bad=True),
    )
    assert built.manifest.layout.frame == (56, 72)


@pytest.mark.parametrize("chosen", ["regions", "mask"])
def test_auto_with_frames_of_different_sizes_does_not_drop_what_was_asked_for(
    tiny_model: Path, textures: Path, tmp_path: Path, texture: Frames, chosen: str
) -> None:
    folder = tmp_path / "good"
    shutil.copytree(textures, folder)
    np.save(folder / "3b.npy", texture(9, size=(50, 72)))
    np.save(tmp_path / "mask.npy", np.full((56, 72), 255, np.uint8))
    views = {
        "regions": Views(auto=True, regions=((0, 0, 32, 32),)),
        "mask": Views(auto=True, mask=tmp_path / "mask.npy"),
    }
    with pytest.raises(DataError, match="72x56"):
        build(folder, model=tiny_model, output=tmp_path / "b.spade", options=BuildOptions(views=views[chosen]))


def test_auto_takes_the_whole_of_frames_that_differ_in_size(model: Path, good_images: Path, tmp_path: Path) -> None:
    plans: list[Plan] = []
    views = Views(auto=True)
    built = build(
        good_images, model=model, output=tmp_path / "b.spade", options=BuildOptions(views=views), announce=plans.append
    )
    assert built.manifest.layout == WHOLE
    assert (plans[0].proposal, plans[0].proposed_views) == (None, 1)


def line(model: Path, images: Path, output: Path, *arguments: str) -> list[str]:
    return ["build", f"--model={model}", f"--images={images}", f"--output={output}", *arguments]


@pytest.fixture(scope="module")
def strips(tmp_path_factory: pytest.TempPathFactory, texture: Frames) -> Path:
    """Frames that are too wide for one view of 64 x 64."""
    return small_frames(
        tmp_path_factory.mktemp("strips") / "good", [texture(seed, size=(64, 280)) for seed in range(3)]
    )


def test_the_command_line_proposes_tiles_says_why_and_takes_them(
    model: Path, strips: Path, textures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], texture: Frames
) -> None:
    assert main(line(model, strips, tmp_path / "whole.spade")) == 0
    said = capsys.readouterr().err.splitlines()
    (cost,) = (text for text in said if text.startswith("1 view per frame: about "))
    assert " ms of network on this machine, " in cost and cost.endswith(" MB per good image")
    (proposed,) = (text for text in said if text.startswith("consider --views auto: "))
    why = "in one view of 64x64, 280x64 pixels shrink 4.4 times, the width 4.4 times as much as the height; "
    why += "in tiles of 64x64"
    assert f"{why} 1.0 times; that is 5 views per frame: about " in proposed
    assert Manifest.read(tmp_path / "whole.spade").layout == WHOLE

    assert main(line(model, strips, tmp_path / "auto.spade", "--views", "auto")) == 0
    said = capsys.readouterr().err.splitlines()
    assert any(text.startswith("5 views per frame: about ") for text in said)
    assert f"--views auto takes tiles: {why} 1.0 times" in said
    assert not any("consider" in text for text in said)
    assert Manifest.read(tmp_path / "auto.spade").layout == Layout((64, 280), tiles((0, 0, 280, 64), (64, 64), 8))

    assert main(line(model, textures, tmp_path / "one.spade", "--views", "auto")) == 0
    said = capsys.readouterr().err.splitlines()
    assert any(
        text == "--views auto takes one view: in one view of 64x64, 72x56 pixels shrink 1.1 times" for text in said
    )
    assert main(line(model, textures, tmp_path / "no.spade")) == 0
    assert "consider" not in capsys.readouterr().err  # nothing better to propose


def test_the_cost_that_is_announced_is_that_of_the_bundle(
    model: Path, strips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(line(model, strips, tmp_path / "whole.spade"))
    proposed = next(text for text in capsys.readouterr().err.splitlines() if text.startswith("consider"))
    main(line(model, strips, tmp_path / "auto.spade", "--views", "auto"))
    taken = next(text for text in capsys.readouterr().err.splitlines() if text.startswith("5 views"))
    manifest = Manifest.read(tmp_path / "auto.spade")
    fixed = [payload.size for role, payload in manifest.files.items() if role.startswith(("model", "golden"))]
    each = (manifest.size - sum(fixed)) / 3 / 1e6
    assert float(taken.rsplit(" MB", 1)[0].rsplit(" ", 1)[1]) == pytest.approx(each, abs=0.06)
    # The proposal takes the cost of one view five times, and with it the key weights, which all views share.
    shared = manifest.files["key_weights"].size / 3 / 1e6
    assert float(proposed.rsplit(" MB", 1)[0].rsplit(" ", 1)[1]) == pytest.approx(each + 4 * shared, abs=0.06)


def test_views_on_the_command_line(
    model: Path, textures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = np.full((56, 72), 255, np.uint8)
    mask[:, 65:] = 0
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    arguments = [
        *("--views", "32x24", "--overlap", "3", "--region", "0,0,35,40", "--region", "30,10,42,45"),
        *("--mask", str(tmp_path / "mask.png"), "--gallery", "per-view", "--json"),
    ]
    assert main(line(model, textures, tmp_path / "b.spade", *arguments)) == 0
    value = json.loads(capsys.readouterr().out)
    manifest = Manifest.read(tmp_path / "b.spade")
    boxes = [*tiles((0, 0, 35, 40), (24, 32), 3), *tiles((30, 10, 42, 45), (24, 32), 3)]
    assert manifest.layout == Layout((56, 72), tuple(boxes), masked=True)
    assert value["views"] == manifest.layout.to_json()
    assert manifest.matching == Matching(gallery="per-view")
    assert Scorer.open(tmp_path / "b.spade")(np.load(textures / "1.npy")).verdict == "good"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--overlap", "8"], 2, "expected an overlap with tiles only"),
        (["--views", "64x64", "--overlap", "40"], 2, "expected an overlap of 0 to 32 pixels"),
        (["--views", "8x8"], 2, "expected tiles of 16 pixels"),
        (["--region", "50,0,25,25"], 2, "expected regions inside the frame of 72x56 pixels, found 25x25 at (50, 0)"),
        (["--region", "0,0,50,50", "--region", "0,0,50,50"], 2, "expected every region once"),
    ],
)
def test_views_that_are_refused_on_the_command_line(
    model: Path,
    textures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    assert main(line(model, textures, tmp_path / "b.spade", *arguments)) == code
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and says in said[0]
    assert not (tmp_path / "b.spade").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--region", "0,0,50"],
        ["--region", "0,0,50,x"],
        ["--region", "-1,0,50,50"],
        ["--region", "0,0,5.0,5"],
        ["--views", "many"],
        ["--views", "64x"],
        ["--views", "0x64"],
        ["--gallery", "mine"],
        ["--mask", ""],
    ],
)
def test_arguments_that_cannot_be_are_refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(line(Path("m"), Path("i"), Path("o"), *arguments))
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_model_that_crops_is_not_proposed_tiles() -> None:
    assert propose((1080, 1920), View((256, 256), (224, 224))) == Proposal(
        None, "the model crops its input, so it cannot be used with tiles"
    )
