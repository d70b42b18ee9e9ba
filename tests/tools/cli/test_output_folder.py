"""Folders for pictures, checked before anything is scored: nothing of anybody's is overwritten."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import run
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import UsageError
from spade_edge.tools.cli import output_folder
from spade_edge.tools.cli.output_folder import check_picture_folders
from spade_edge.tools.drawing.png import write_png
from spade_edge.tools.scoring.pictures import Folders
from spade_edge.tools.sources import Source, open_source

Capture = pytest.CaptureFixture[str]
Frames = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def frames(tmp_path: Path, part: Frames) -> Path:
    """Two frames, one in a subfolder. The first was written by spade-edge itself, as an overlay."""
    folder = tmp_path / "frames"
    (folder / "sub").mkdir(parents=True)
    with (folder / "a.png").open("wb") as file:
        write_png(file, part(20))
    cv2.imwrite(str(folder / "sub" / "b.png"), part(21))
    return folder


@pytest.mark.parametrize("name", ["a.png", "sub/b.png"])
@pytest.mark.parametrize("make", [os.symlink, os.link])
@pytest.mark.parametrize("option", ["overlays", "explain"])
def test_a_link_to_a_frame_is_refused_before_anything_is_scored(
    option: str, make: Callable[[Path, Path], None], name: str, frames: Path, edge: Built, tmp_path: Path
) -> None:
    target = tmp_path / "out" / name
    target.parent.mkdir(parents=True)
    make(frames / name, target)
    with pytest.raises(UsageError, match=str(target)):
        check_picture_folders(Folders(**{option: tmp_path / "out"}), open_source(str(frames)), bundle=edge.path)


@pytest.mark.parametrize("option", ["overlays", "heatmaps"])
def test_a_folder_that_is_a_link_to_the_frames(option: str, frames: Path, edge: Built, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(frames)
    (tmp_path / "above").mkdir()
    (tmp_path / "above" / "sub").symlink_to(frames / "sub")
    for folder in (tmp_path / "out", tmp_path / "out" / "new", tmp_path / "above"):
        with pytest.raises(UsageError, match="outside the frames"):
            check_picture_folders(Folders(**{option: folder}), open_source(str(frames)), bundle=edge.path)


def test_a_folder_inside_the_bundle(frames: Path, edge: Built) -> None:
    before = sorted(edge.path.iterdir())
    for folder in (edge.path, edge.path / "maps"):
        with pytest.raises(UsageError, match="outside the bundle"):
            check_picture_folders(Folders(heatmaps=folder), open_source(str(frames)), bundle=edge.path)
    assert sorted(edge.path.iterdir()) == before


def test_only_a_name_that_is_needed_is_refused(
    capsys: Capture, frames: Path, edge: Built, tmp_path: Path, part: Frames
) -> None:
    line = ["score", "--bundle", edge.path, frames, "--overlays", tmp_path / "out", "--heatmaps", tmp_path / "maps"]
    (tmp_path / "out" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    cv2.imwrite(str(tmp_path / "out" / "b.png"), part(1))
    for _ in range(2):  # and a second time
        code, out, _ = run(capsys, *line)
        assert code in (0, 1) and len(out.splitlines()) == 2
    cv2.imwrite(str(tmp_path / "out" / "sub" / "b.png"), part(1))
    before = (tmp_path / "out" / "sub" / "b.png").read_bytes()
    code, out, err = run(capsys, *line)
    assert (code, out) == (2, "") and err.count("\n") == 1 and str(tmp_path / "out" / "sub" / "b.png") in err
    assert (tmp_path / "out" / "sub" / "b.png").read_bytes() == before


def test_numbered_pictures_of_something_else(edge: Built, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    check = [Folders(heatmaps=tmp_path / "out"), Source(())]
    for name in ("12.npy", "000001.png", "000001a.npy"):
        (tmp_path / "out" / name).touch()
        check_picture_folders(check[0], check[1], bundle=edge.path)  # type: ignore[arg-type]
    np.save(tmp_path / "out" / "000001.npy", np.zeros((64, 64), np.float32))
    with pytest.raises(UsageError, match=r"000001\.npy"):
        check_picture_folders(check[0], check[1], bundle=edge.path)  # type: ignore[arg-type]


def test_names_that_differ_in_case_only(edge: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source((), folder=tmp_path, nested=True, names=("Part.png", "part.png"))
    folders = Folders(overlays=tmp_path.parent / f"{tmp_path.name}-out")
    check_picture_folders(folders, source, bundle=edge.path)  # this file system tells them apart
    assert not list(folders.overlays.iterdir())  # type: ignore[union-attr]
    monkeypatch.setattr(output_folder, "_tells_case", lambda folder, names: False)
    with pytest.raises(UsageError, match="the same name"):
        check_picture_folders(folders, source, bundle=edge.path)


def test_pages_of_one_file_have_pictures_of_their_own(edge: Built, tmp_path: Path) -> None:
    names = ("stack.tif#1", "stack.tif#2", "stack.png")
    check_picture_folders(
        Folders(overlays=tmp_path / "out"), Source((), folder=tmp_path / "in", names=names), bundle=edge.path
    )
    with pytest.raises(UsageError, match="the same name"):
        check_picture_folders(
            Folders(overlays=tmp_path / "out"),
            Source((), folder=tmp_path / "in", names=(*names, "stack#2.bmp")),
            bundle=edge.path,
        )


def test_a_full_disk_costs_pictures_and_no_verdicts(
    capsys: Capture, frames: Path, edge: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == "a.png":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    code, out, err = run(capsys, "score", "--bundle", edge.path, frames, "--overlays", tmp_path / "out")
    assert code == 3 and [json.loads(line)["frame"] for line in out.splitlines()] == ["a.png", "sub/b.png"]
    lines = err.splitlines()
    assert len(lines) == 3 and f"{tmp_path / 'out' / 'a.png'}: No space left on device" in lines[0]
    assert "pictures of 1 left out" in lines[1] and "1 could not be written" in lines[2]
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["b.png"]
