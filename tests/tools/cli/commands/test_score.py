"""`spade-edge score` on sources that do not end by themselves, or end badly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from command_line import run
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import DataError, DeviceError, Scorer
from spade_edge.tools.cli.main import main
from spade_edge.tools.sources.cameras import opencv_camera
from spade_edge.tools.sources.cameras.camera import Grab

Frames = Callable[..., NDArray[np.uint8]]
LONG = 60  # seconds; no test waits so long unless something is wrong


def score(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[dict[str, Any]], list[str]]:
    """Exit code, JSON lines and lines of stderr."""
    code, out, err = run(capsys, "score", *arguments)
    return code, [json.loads(line) for line in out.splitlines()], err.splitlines()


@pytest.fixture
def cameras(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what "camera 0" delivers: frames, faults and pauses in seconds, and then it is gone for good."""

    def deliver(*steps: Any) -> None:
        left = list(steps)

        class Camera:
            def read(self) -> Grab:
                step = left.pop(0) if left else DeviceError("camera 0: unplugged")
                if isinstance(step, float):
                    time.sleep(step)
                    return self.read()
                if isinstance(step, Exception):
                    raise step
                return step if isinstance(step, Grab) else Grab(step)

            def close(self) -> None:
                pass

        monkeypatch.setattr(opencv_camera, "connector", lambda _: Camera)

    return deliver


def test_a_camera_that_goes_for_good_ends_with_the_summary_and_one_line(
    capsys: pytest.CaptureFixture[str], edge: Built, part: Frames, cameras: Callable[..., None], tmp_path: Path
) -> None:
    cameras(Grab(part(20), part="4711", time=1.7e9), 0.5, DataError("a packet was lost"), 0.5, part(21, flaw=True), 0.5)
    code, lines, err = score(
        capsys, "--bundle", edge.path, "0", "--reopen", 0, "--heatmaps", tmp_path / "maps",
        "--overlays", tmp_path / "pictures", "--explain", tmp_path / "why",
    )  # fmt: skip
    assert code == 4
    assert [line["frame"] for line in lines] == [0, 1, 2, None]
    assert [line["dropped"] for line in lines] == [0, 0, 0, 0]
    assert [line.get("part") for line in lines] == ["4711", None, None, None]
    assert lines[0]["time"] == "2023-11-14T22:13:20.000+00:00"
    assert abs((datetime.fromisoformat(lines[2]["time"]) - datetime.now(timezone.utc)).total_seconds()) < LONG
    assert lines[1]["verdict"] == "cannot_judge" and lines[1]["reason"] == "a packet was lost"
    assert lines[2]["verdict"] == "defect"
    assert lines[3]["verdict"] == "cannot_judge" and lines[3]["reason"] == "stopped: camera 0: unplugged"
    assert err[0] == "stopped: camera 0: unplugged"
    assert err[1].startswith("3 frames: ") and "1 stops or stalls; p50" in err[1] and "0 dropped" in err[1]
    assert err[2:] == ["spade-edge: camera 0: unplugged"]
    for folder, suffix in (("maps", "npy"), ("pictures", "png"), ("why", "png")):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == [f"000000.{suffix}", f"000002.{suffix}"]
    assert cv2.imread(str(tmp_path / "why" / "000002.png")).shape[2] == 3


def test_a_camera_that_freezes_falls_silent_and_sends_nonsense(
    capsys: pytest.CaptureFixture[str], edge: Built, part: Frames, cameras: Callable[..., None]
) -> None:
    still = part(1)
    cameras(still, 0.3, still, 0.3, still, 0.3, part(2).astype(np.float64), 1.5)
    code, lines, err = score(
        capsys, "--bundle", edge.path, "0", "--reopen", 0, "--frozen", 3, "--stall", 0.8
    )  # fmt: skip
    assert code == 4
    reasons = [(line["frame"], line["reason"]) for line in lines if line["verdict"] == "cannot_judge"]
    assert reasons[0] == (2, "3 identical frames: the camera is frozen")
    assert reasons[1][0] == 3 and "expected a uint8 array" in reasons[1][1]
    assert reasons[2:] == [(None, "no frame for 0.8 s"), (None, "stopped: camera 0: unplugged")]
    assert "2 stops or stalls" in err[-2]


def test_a_camera_that_is_not_there_is_one_line(
    capsys: pytest.CaptureFixture[str], edge: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise DeviceError("camera 0: not there")

    monkeypatch.setattr(opencv_camera, "connector", lambda _: refuse)
    assert score(capsys, "--bundle", edge.path, "0") == (4, [], ["spade-edge: camera 0: not there"])


def test_strips_of_a_line_scan_camera(
    capsys: pytest.CaptureFixture[str], edge: Built, part: Frames, cameras: Callable[..., None], tmp_path: Path
) -> None:
    whole = part(20, size=(96, 80))
    cameras(*(whole[row : row + 1] for row in range(96)), 1.0)
    code, lines, _ = score(
        capsys, "--bundle", edge.path, "0", "--linescan", 96, "--reopen", 0, "--heatmaps", tmp_path / "maps"
    )
    assert code == 4 and [line["frame"] for line in lines] == [0, None]
    expected = Scorer.open(edge.path)(whole)
    assert lines[0]["score"] == pytest.approx(expected.score, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["0", "--raw", "640x480"], "--raw: expected the source -"),
        (["-", "--raw", "640"], "expected WIDTHxHEIGHT"),
        (["-", "--raw", "640x480x4"], "expected WIDTHxHEIGHT"),
        (["-", "--raw", "0x480"], "expected WIDTHxHEIGHT"),
        (["0", "--reopen", "often"], "expected a whole number of 0 or more, or forever"),
        (["0", "--stall", "nan"], "expected 0 seconds or more"),
        (["0", "--stall", "-1"], "expected 0 seconds or more"),
        (["0", "--frozen", "1"], "at least 2"),
        (["0", "--linescan", "40000"], "at most 32766"),
        (["0", "--linescan", "9", "--line-overlap", "9"], "expected fewer lines"),
        (["0", "--line-overlap", "9"], "--linescan"),
        ([".", "--stall", "1"], "--stall: expected a camera"),
        (["ftp://x"], "expected rtsp://"),
        (["0", "--overlays", "{tmp}/x", "--explain", "{tmp}/x"], "folders of their own"),
        (["watch:{tmp}", "--heatmaps", "{tmp}/maps"], "outside the frames"),
    ],
)
def test_mistakes(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], edge: Built, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    np.save(tmp_path / "a.npy", np.zeros((8, 9), np.uint8))
    monkeypatch.chdir(tmp_path)
    (code, lines, err) = score(capsys, "--bundle", edge.path, *(text.format(tmp=tmp_path) for text in arguments))
    complaint = [line for line in err if line.startswith("spade-edge")]
    assert (code, lines) == (2, []) and len(complaint) == 1 and says in complaint[0]


class Process:
    """A `spade-edge score` of its own, whose lines are read as they come."""

    def __init__(self, *arguments: object, **options: Any) -> None:
        command = [sys.executable, "-m", "spade_edge.tools.cli.main", "score", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1, **options
        )
        self.timer = threading.Timer(LONG, self.process.kill)
        self.timer.start()

    def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        return json.loads(text) if text else {"frame": "the process has ended"}

    def stopped(self, number: int = signal.SIGINT) -> tuple[int, list[dict[str, Any]], str]:
        """Exit code, the lines left and stderr after a signal."""
        self.process.send_signal(number)
        return self.rest()

    def rest(self) -> tuple[int, list[dict[str, Any]], str]:
        out, err = self.process.communicate()
        self.timer.cancel()
        assert "Traceback" not in err
        return self.process.returncode, [json.loads(line) for line in out.splitlines()], err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_watched_folder_is_ended_by_a_signal(edge: Built, good_images: Path, tmp_path: Path, number: int) -> None:
    folder = tmp_path / "line"
    folder.mkdir()
    (folder / "old.png").write_bytes(b"")
    running = Process("--bundle", edge.path, f"watch:{folder}", "--stall", 0, "--overlays", tmp_path / "pictures")
    assert running.process.stderr is not None
    assert "left out 1 images" in running.process.stderr.readline()
    good = np.load(good_images / "0.npy")
    for count in range(2):
        cv2.imwrite(str(folder / f"{count}.png"), good)
        assert (line := running.line())["frame"] == f"{count}.png" and "dropped" not in line
    code, rest, err = running.stopped(number)
    assert rest == [] and code == 0, err
    assert (
        err.startswith("2 frames: 2 good, 0 defect, 0 cannot_judge; 0 stops or stalls; p50 ") and err.count("\n") == 1
    )
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["0.png", "1.png"]


def test_raw_frames_through_a_pipe_ended_by_its_end_and_by_ctrl_c(edge: Built, part: Frames) -> None:
    frames = np.stack([part(20), part(21, flaw=True)])
    for cut in (0, 10):
        running = Process("--bundle", edge.path, "--raw", "80x96", "-", stdin=subprocess.PIPE)
        assert running.process.stdin is not None
        running.process.stdin.buffer.write(frames.tobytes() + bytes(cut))
        running.process.stdin.buffer.flush()
        lines = [running.line(), running.line()]
        assert [line["frame"] for line in lines] == [0, 1] and lines[1]["verdict"] == "defect"
        if cut:  # the pipe ends
            code, rest, err = running.rest()
            assert code == 1 and [line["frame"] for line in rest] == [2] and "found 10 at the end" in rest[0]["reason"]
        else:  # the pipe stays open and silent
            code, rest, err = running.stopped()
            assert code == 1 and rest == []
        assert f"{3 if cut else 2} frames: " in err


def test_ppm_through_a_pipe(edge: Built, part: Frames) -> None:
    stream = b"".join(cv2.imencode(".ppm", part(seed))[1].tobytes() for seed in (20, 21)) + b"garbage"
    running = Process("--bundle", edge.path, "-", stdin=subprocess.PIPE)
    assert running.process.stdin is not None
    running.process.stdin.buffer.write(stream)
    running.process.stdin.close()
    running.process.stdin = None
    code, lines, err = running.rest()
    assert code == 3 and [line["frame"] for line in lines] == [0, 1]
    assert err.splitlines()[-1].startswith("spade-edge: expected the header of a binary PGM or PPM")
    assert err.splitlines()[-2].startswith("2 frames: ")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_files_are_scored_gives_the_summary_and_the_shells_code(
    edge: Built, part: Frames, tmp_path: Path, number: int, code: int
) -> None:
    np.save(tmp_path / "stack.npy", np.repeat(part(20)[np.newaxis], 5000, axis=0))
    running = Process("--bundle", edge.path, tmp_path / "stack.npy")
    assert running.line()["frame"] == 0
    found, rest, err = running.stopped(number)
    assert found == code
    names = [line["frame"] for line in rest]
    assert names == list(range(1, len(names) + 1)) and len(names) < 4999
    assert err.startswith(f"{len(names) + 1} frame{'s' if names else ''}: ")
    assert err.endswith("spade-edge: interrupted\n") == (number == signal.SIGINT)


def test_a_second_signal_ends_at_once(edge: Built, part: Frames, tmp_path: Path) -> None:
    """The process is held until both have been sent."""
    np.save(tmp_path / "stack.npy", np.repeat(part(20)[np.newaxis], 5000, axis=0))
    running = Process("--bundle", edge.path, tmp_path / "stack.npy")
    assert running.line()["frame"] == 0
    os.kill(running.process.pid, signal.SIGSTOP)
    time.sleep(0.1)
    for number in (signal.SIGINT, signal.SIGTERM):
        running.process.send_signal(number)
    os.kill(running.process.pid, signal.SIGCONT)
    code, _, err = running.rest()
    assert code in {-signal.SIGINT, -signal.SIGTERM} and err == ""


def test_help_shows_the_forms_of_a_source_and_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for form in ("watch:DIR", "rtsp://", "csi://0", "genicam:SERIAL", "/dev/video0", "stdin", "v4l2src"):
        assert form in text
    for default in ("apart (10)", "without a frame (5)", "bit for bit (5)", "previous one (0)"):
        assert default in text


def test_frames_that_cannot_be_judged_are_lines_with_the_scorers_reason(
    edge: Built, paper: Built, part: Frames, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dark, white = (np.clip(part(40) * factor, 0, 255).astype(np.uint8) for factor in (0.4, 4.0))
    spoilt = {"cap": np.zeros_like(dark), "dark": dark, "white": white}
    for name, frame in spoilt.items():
        np.save(tmp_path / f"{name}.npy", frame)
    for built in (edge, paper):
        code, lines, _ = score(capsys, "--bundle", built.path, tmp_path)
        assert code == 1 and {Path(line["frame"]).stem for line in lines} == set(spoilt)
        scorer = Scorer.open(built.path)
        for line in lines:
            result = scorer(spoilt[Path(line["frame"]).stem])
            assert line["verdict"] == result.verdict == "cannot_judge"
            assert (line["reason"], line["score"]) == (result.reason, result.score)


def test_a_single_frame_under_the_lens_cap_ends_with_1(
    edge: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "cap.npy", np.zeros((96, 80, 3), np.uint8))
    code, (line,), err = score(capsys, "--bundle", edge.path, tmp_path / "cap.npy")
    assert code == 1 and line["verdict"] == "cannot_judge" and "1 cannot_judge" in "".join(err)


def test_drift_is_in_lines_and_summary_only_if_it_is_watched(
    edge: Built, part: Frames, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for number in range(145):
        light = 1.05 if number >= 100 else 1.0
        np.save(folder / f"{number:03d}.npy", (part(number % 8) * light).round().clip(0, 255).astype(np.uint8))
    state = tmp_path / "drift.json"
    for options, watched in (([], False), (["--drift", "on"], True), (["--drift-state", state], True)):
        code, lines, err = score(capsys, "--bundle", edge.path, folder, *options)
        drifted = [line["frame"] for line in lines if "drift" in line]
        assert bool(drifted) == watched == ("parts look different since" in err[-1])
        assert code == (0 if {line["verdict"] for line in lines} == {"good"} else 1)
        if watched:
            assert "100.npy" < drifted[0] < "130.npy" and drifted[-1] == "144.npy"
            assert "brightness +5 %" in lines[-1]["drift"]["words"] and "brightness +5 %" in err[-1]
            first = next(line["time"] for line in lines if line["frame"] == "100.npy")
            assert [c["since"] for c in lines[-1]["drift"]["changes"] if c["quantity"] == "brightness"] == [first]
    _, lines, _ = score(capsys, "--bundle", edge.path, folder / "144.npy", "--drift-state", state)
    assert "brightness +5 %" in lines[0]["drift"]["words"]  # the next run goes on
    code, lines, _ = score(capsys, "--bundle", edge.path, folder, "--drift", "off", "--drift-state", state)
    assert code == 2 and not lines


def test_a_stream_of_frames_is_watched_without_asking(edge: Built, part: Frames, tmp_path: Path) -> None:
    frames = [part(number % 8) * (1.06 if number >= 100 else 1.0) for number in range(125)]
    (tmp_path / "frames").write_bytes(np.stack(frames).clip(0, 255).astype(np.uint8).tobytes())
    for options, watched in (([], True), (["--drift", "off"], False)):
        with (tmp_path / "frames").open("rb") as stream:
            _, lines, err = Process("--bundle", edge.path, "--raw", "80x96", "-", *options, stdin=stream).rest()
        assert any("drift" in line for line in lines) == watched
        assert err.count("parts look different since") == 2 * watched  # when it is heard, and in the summary
