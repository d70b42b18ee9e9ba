"""Let a bad camera run for long into a real scorer: `python tests/soak/run.py [--frames 20000] [--seed 0]`.

The camera stalls, disconnects, freezes and damages frames, at random but from a seed. Its shots go the way that
`spade-edge score` sends them: reopening → frozen → acquisition → Scorer. In the end everything has to add up: no number
twice, every frame scored, dropped or a fault, every stall and every stop told once, memory and open files as at the
beginning. Prints one JSON object; exit code 1 if something does not add up.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from spade_edge.runtime import DataError, DeviceError, Scorer
from spade_edge.tools.scoring.durations import Durations
from spade_edge.tools.sources.acquisition import NEWEST, Acquisition
from spade_edge.tools.sources.cameras.camera import Grab
from spade_edge.tools.sources.cameras.reopening import reopening
from spade_edge.tools.sources.freeze import mark_frozen

sys.path.insert(0, str(Path(__file__).parents[1]))

from soak.memory import GROWTH, early_and_late, resident

STALL = 0.1  # seconds that are reported
ALIKE = 5  # frames that count as frozen
FREEZE = 8  # frames that the camera repeats
TRIES = 3
HURRY = 100  # waits between tries are so many times shorter than on the line


@dataclass
class Mischief:
    """What the camera has done, by the number of the frame before which it did it."""

    grabbed: int = 0
    stalls: set[int] = field(default_factory=set)
    gaps: Counter[int] = field(default_factory=Counter)  # stalls as measured, with those that the machine adds
    stops: set[int] = field(default_factory=set)
    damaged: int = 0
    frozen: int = 0  # frames that should be told as frozen


class BadCamera:
    """Delivers `frames` frames that bear their number, in memory that it uses again, and is then gone for good."""

    def __init__(self, *, frames: int, seed: int) -> None:
        self.frames = frames
        self.done = Mischief()
        self._random = np.random.default_rng(seed)
        self._pictures = self._random.integers(0, 256, (8, 96, 80, 3), np.uint8)
        self._buffer = self._pictures[0].copy()
        self._refusals = 0  # openings that fail before the next that does not
        self._repeats = 0  # frames for which the picture stays as it is
        self._delivered = time.monotonic()

    def connect(self) -> BadCamera:
        if self.done.grabbed == self.frames or self._refusals:
            self._refusals -= 1
            raise DeviceError("bad camera: expected a camera that opens, found none")
        if self.done.grabbed and self._random.random() < 0.3:
            time.sleep(2 * STALL)  # a long outage is no stall
        self._delivered = time.monotonic()
        return self

    def read(self) -> Grab:
        number, luck = self.done.grabbed, self._random.random()
        last = number == self.frames
        if last or (luck < 0.003 and number not in self.done.stops and number and not self._repeats):
            self.done.stops.add(number)
            self._refusals = TRIES if last else int(self._random.integers(0, TRIES))
            raise DeviceError("bad camera: expected a frame, found none")
        if luck > 0.997 and number not in self.done.stops:
            self.done.stalls.add(number)
            time.sleep(self._random.uniform(2, 5) * STALL)
        time.sleep(self._random.uniform(0.001, 0.008))
        now = time.monotonic()
        self.done.gaps[number] += now - self._delivered > 0.8 * STALL
        self._delivered = now
        self.done.grabbed += 1
        if self._repeats:
            self._repeats -= 1
            return Grab(self._buffer)
        if 0.5 < luck < 0.51:
            self.done.damaged += 1
            raise DataError("a packet was lost")
        self._buffer[:] = self._pictures[number % len(self._pictures)]
        self._buffer.reshape(-1)[:4] = np.array([number], "<u4").view(np.uint8)
        if luck < 0.005:
            self._repeats = FREEZE - 1
            self.done.frozen += max(0, min(FREEZE, self.frames - number) - ALIKE + 1)
        return Grab(self._buffer, part=str(number))

    def close(self) -> None:
        pass


def soak(bundle: Path, *, frames: int, seed: int, say: Callable[[str], None] = lambda _: None) -> dict[str, object]:
    """Run it; `failures` of what is returned says what does not add up, and should be empty."""
    scorer = Scorer.open(bundle, threads=1)
    camera = BadCamera(frames=frames, seed=seed)
    ended = threading.Event()
    shots = reopening(camera.connect, label="bad camera", tries=TRIES, pause=lambda wait: ended.wait(wait / HURRY))
    failures: list[str] = []
    emitted: Counter[str] = Counter()
    since: Counter[str] = Counter()  # news since the last frame or fault
    last, began, milliseconds = -1, time.monotonic(), Durations()
    memory, files = [], []

    def expect(what: str, found: object, wanted: object) -> None:
        if found != wanted:
            failures.append(f"{what}: expected {wanted}, found {found}")

    def told(upto: int) -> None:
        """Hold the news since the last shot against what the camera did between that and this one."""
        between = range(last + 1, upto + 1)
        stalls = sum(number in camera.done.stalls for number in between)
        gaps = sum(camera.done.gaps[number] for number in between)
        if not stalls <= since["stall"] <= max(stalls, gaps):
            failures.append(f"before {upto}: expected {stalls} to {gaps} stalls, found {since['stall']}")
        expect(f"stops before {upto}", since["stop"], sum(number in camera.done.stops for number in between))
        since.clear()

    ending = ""
    with Acquisition(mark_frozen(shots, limit=ALIKE), keep=NEWEST, stall=STALL, ended=ended) as acquired:
        try:
            for shot in acquired:
                if not isinstance(shot.name, int):
                    kind = "stop" if shot.fault.startswith("stopped") else "stall"
                    since[kind] += 1
                    emitted[kind] += 1
                    continue
                if shot.name <= last:
                    failures.append(f"expected a number over {last}, found {shot.name}")
                expect(f"dropped before {shot.name}", shot.name - last - 1 >= shot.dropped, True)
                told(shot.name)
                last = shot.name
                if shot.frame is None:
                    emitted["frozen" if "frozen" in shot.fault else "damaged"] += 1
                else:
                    emitted["scored"] += 1
                    result = scorer(shot.frame)
                    milliseconds.add(result.milliseconds["total"])
                    stamp = int(shot.frame.reshape(-1)[:4].view("<u4")[0])
                    expect("the frame's own number", 0 <= shot.name - stamp < FREEZE, True)
                if sum(emitted.values()) % 20 == 0:
                    memory.append(resident())
                    files.append(len(list(Path("/proc/self/fd").iterdir())))
                if sum(emitted.values()) % 1000 == 0:
                    say(f"{camera.done.grabbed} of {frames} frames, {time.monotonic() - began:.0f} s")
        except DeviceError as problem:
            ending = str(problem)
            told(frames)
    done, dropped = camera.done, acquired.dropped
    expect("the end", f"gave up after {TRIES} tries" in ending, True)
    expect("frames", emitted["scored"] + emitted["damaged"] + emitted["frozen"] + dropped, done.grabbed)
    expect("damaged frames", emitted["damaged"], done.damaged)
    expect("frozen frames", emitted["frozen"], done.frozen)
    expect("stops", emitted["stop"], len(done.stops))
    (early, late), (early_files, late_files) = early_and_late(memory), early_and_late(files)
    if late - early > GROWTH:
        failures.append(f"expected memory to stay, found {(late - early) / 1e6:.1f} MB more")
    expect("open files", late_files, early_files)
    return {
        "frames": done.grabbed,
        "scored": emitted["scored"],
        "dropped": dropped,
        "damaged": emitted["damaged"],
        "frozen": emitted["frozen"],
        "stalls": {"made": len(done.stalls), "told": emitted["stall"]},
        "stops": {"made": len(done.stops), "told": emitted["stop"]},
        "milliseconds": {"p50": milliseconds.percentile(0.5), "p99": milliseconds.percentile(0.99)},
        "memory_megabytes": {"early": early / 1e6, "late": late / 1e6},
        "open_files": {"early": early_files, "late": late_files},
        "seconds": round(time.monotonic() - began, 1),
        "failures": failures,
    }


def _bundle(folder: Path) -> Path:
    """A small bundle: ResNet-18 with random weights at 64x64, eight images of noise."""
    import torch

    from spade_edge.export import build_pyramid, export_pyramid
    from spade_edge.galleries import build
    from spade_edge.runtime.geometry.view import View

    torch.manual_seed(0)
    model = folder / "model.onnx"
    view = View(resize=(64, 64), size=(64, 64))
    export_pyramid(build_pyramid("resnet18", levels=(1, 2, 3)), model, view=view, weights_note={"source": "random"})
    (folder / "good").mkdir()
    for seed in range(8):
        np.save(folder / "good" / f"{seed}.npy", np.random.default_rng(seed).integers(0, 256, (96, 80, 3), np.uint8))
    return build(folder / "good", model=model, output=folder / "part.spade").path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000, help="that the camera delivers (20000)")
    parser.add_argument("--seed", type=int, default=0, help="of its mischief (0)")
    parser.add_argument("--line", action="store_true", help="give a line so many triggers instead, see triggers.py")
    chosen = parser.parse_args()
    if chosen.line:
        from triggers import run_trial

        sys.exit(run_trial(triggers=chosen.frames, seed=chosen.seed))
    with tempfile.TemporaryDirectory(prefix="spade-edge-soak-") as temporary:
        summary = soak(
            _bundle(Path(temporary)),
            frames=chosen.frames,
            seed=chosen.seed,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
    print(json.dumps(summary, indent=2))
    sys.exit(1 if summary["failures"] else 0)
