"""Pictures written beside the scoring, with a disk that is slow or full."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import DataError, Scorer, UsageError
from spade_edge.tools.scoring.pictures import WAITING, Folders, Pictures, PictureWriter, ScoredFrame

LONG = 60  # seconds; no test waits so long unless something is wrong


def test_pictures_are_left_out_if_the_disk_is_too_slow_or_full(
    edge: Built, part: Callable[..., NDArray[np.uint8]], caplog: pytest.LogCaptureFixture
) -> None:
    frame, scorer = part(20), Scorer.open(edge.path)
    frames = [ScoredFrame(number, frame, scorer(frame), scorer.bundle) for number in range(WAITING + 22)]
    slow = threading.Event()

    def wait(scored: ScoredFrame) -> None:
        assert slow.wait(LONG)

    with Pictures(wait, wait=False) as pictures:
        for scored in frames[: WAITING + 10]:
            pictures.add(scored)
        assert 9 <= pictures.left_out <= 10
        slow.set()
    assert pictures.failed == 0

    def fail(scored: ScoredFrame) -> None:
        raise OSError(28, "No space left on device")

    with Pictures(fail, wait=True) as pictures:
        for scored in frames[:30]:
            pictures.add(scored)
    assert pictures.left_out == pictures.failed == 30 and caplog.text.count("No space left on device") == 1


def test_a_full_disk_leaves_no_part_of_a_picture_and_what_was_there(
    edge: Built, part: Callable[..., NDArray[np.uint8]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Scorer.open(edge.path)
    folders = Folders(heatmaps=tmp_path / "maps", overlays=tmp_path / "pictures", explain=tmp_path / "why")
    write = PictureWriter(folders)
    frames = (part(seed) for seed in (20, 21))
    first, second = (ScoredFrame("a.png", frame, scorer(frame), scorer.bundle) for frame in frames)
    write(first)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert sorted(path.name for path in before) == ["a.npy", "a.png", "a.png"]

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(DataError, match=r"maps/a\.npy.*No space left"):
            write(second)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before
    write(second)  # a second run replaces what the first has written
    after = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert after.keys() == before.keys() and all(after[path] != before[path] for path in before)
    assert np.array_equal(np.load(tmp_path / "maps" / "a.npy"), second.result.heatmap)


@pytest.mark.parametrize("kind", ["file", "link", "hard link", "link to nothing", "folder"])
@pytest.mark.parametrize("option", ["heatmaps", "overlays", "explain"])
def test_what_something_else_wrote_stays(
    edge: Built, part: Callable[..., NDArray[np.uint8]], tmp_path: Path, kind: str, option: str
) -> None:
    scorer, frame = Scorer.open(edge.path), part(20)
    name = "a.npy" if option == "heatmaps" else "a.png"
    original, target = tmp_path / "originals" / name, tmp_path / option / name
    original.parent.mkdir()
    target.parent.mkdir()
    if option == "heatmaps":
        np.save(original, np.ones((64, 64), np.float32))
    else:
        cv2.imwrite(str(original), frame)
    before = original.read_bytes()
    if kind == "file":
        target.write_bytes(before)
    elif kind == "folder":
        target.mkdir()
    elif kind == "hard link":
        target.hardlink_to(original)
    else:
        target.symlink_to(original if kind == "link" else tmp_path / "nothing")
    write = PictureWriter(Folders(**{option: tmp_path / option}))
    with pytest.raises(UsageError, match=str(target)):
        write(ScoredFrame("a.jpg", frame, scorer(frame), scorer.bundle))
    assert original.read_bytes() == before and not (tmp_path / "nothing").exists()
    assert [path.name for path in target.parent.iterdir()] == [name]
    assert target.is_symlink() == (kind in ("link", "link to nothing"))
