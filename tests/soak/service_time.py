"""What the line service adds to a frame: `python tests/soak/service_time.py --bundle part.spade --images good/`.

Each frame is scored by `Scorer` alone and then by the service, one after the other as fast as they go. The service has
a file, a Modbus server and, if mosquitto is installed, a broker as outputs, keeps evidence, and its page is open: a
client asks for what a browser asks for. Prints milliseconds of both, from the frame to the result and from the trigger
to the decision, and their differences, as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Event
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import Scorer
from spade_edge.tools.line.configuration.options import (
    CameraOptions,
    EvidenceOptions,
    FileOptions,
    LineConfiguration,
    LineOptions,
    ModbusOptions,
    MqttOptions,
    OutputOptions,
    PageOptions,
    RecipeOptions,
)
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.outputs.opening import make_output
from spade_edge.tools.line.service import Service
from spade_edge.tools.line.systemd import Systemd
from spade_edge.tools.sources import Shot, open_source
from spade_edge.tools.sources.source import Source

sys.path.insert(0, str(Path(__file__).parents[1]))

from soak.triggers import Recorder, free_port, mosquitto

Frames = Sequence[NDArray[np.uint8]]


class Belt(Recorder):
    """A camera that delivers a frame when it is asked to, and an output that waits for the decision on it."""

    def __init__(self) -> None:
        self.ended = Event()
        self._frames: Queue[NDArray[np.uint8]] = Queue()
        self._decisions: Queue[Decision] = Queue()

    def source(self, _: CameraOptions) -> Source:
        return Source(self._shots(), live=True, endless=True, ended=self.ended)

    def decide(self, frame: NDArray[np.uint8]) -> Decision:
        """The decision on a frame."""
        self._frames.put(frame)
        return self._decisions.get()

    def send(self, decision: Decision) -> None:
        self._decisions.put(decision)

    def _shots(self) -> Iterator[Shot]:
        while not self.ended.is_set():
            with suppress(Empty):
                yield Shot(0, self._frames.get(timeout=0.1))


def measure(bundle: Path, folder: Path, *, frames: Frames, rounds: int, broker: int | None) -> dict[str, object]:
    """Score in turns."""
    belt = Belt()
    page = free_port()
    outputs: dict[str, OutputOptions] = {
        "belt": FileOptions(path=folder / "none.jsonl"),
        "record": FileOptions(path=folder / "record.jsonl"),
        "plc": ModbusOptions(listen=f"127.0.0.1:{free_port()}"),
    }
    if broker is not None:
        outputs["broker"] = MqttOptions(host="127.0.0.1", port=broker)
    configuration = LineConfiguration(
        line=LineOptions(),
        recipes={"part": RecipeOptions(bundle=bundle)},
        cameras={"top": CameraOptions(source="belt", recipe="part", deadline_ms=600_000, frozen=0)},
        outputs=outputs,
        evidence=EvidenceOptions(folder=folder / "evidence"),
        page=PageOptions(listen=f"127.0.0.1:{page}"),
    )
    alone, serving, outside = list[float](), list[float](), list[float]()
    service = Service(
        configuration,
        open_camera=belt.source,
        make=lambda name, **given: belt if name == "belt" else make_output(name, **given),
        systemd=Systemd({}),
    )
    with service:
        visitor = subprocess.Popen([sys.executable, __file__, "--visit", str(page)])
        scorer = Scorer.open(bundle)
        for turn in range(rounds + 1):
            if turn == 1:  # the first round was to warm up
                alone.clear()
                serving.clear()
                outside.clear()
            for frame in frames:
                began = perf_counter()
                scorer(frame)
                alone.append(1000 * (perf_counter() - began))
                decision = belt.decide(frame)
                serving.append(decision.milliseconds)
                outside.append(decision.milliseconds - decision.stages["total"])
        visitor.kill()
        visitor.wait()
        belt.ended.set()
        state = service.state()
    both = {"scorer": alone, "service": serving, "service_outside_of_scoring": outside}
    found = {
        name: {f"p{share:g}": round(float(np.percentile(times, share)), 2) for share in (50, 99)}
        for name, times in both.items()
    }
    return {
        "frames": len(alone),
        **found,
        "added": {share: round(found["service"][share] - found["scorer"][share], 2) for share in ("p50", "p99")},
        "median_difference_of_a_frame": round(float(np.median(np.subtract(serving, alone))), 2),
        "outputs": {output.name: [output.sent, output.lost, output.health.state] for output in state.outputs},
    }


def visit(port: int) -> None:
    """Ask for what an open page asks for, every second, and for what Prometheus does; for ever."""
    page = f"http://127.0.0.1:{port}"
    while True:
        time.sleep(1.0)
        try:
            (camera,) = json.loads(_read(f"{page}/line"))["cameras"]
            if camera["shown"] is not None:
                _read(f"{page}/picture?camera={camera['name']}&number={camera['shown']['picture']}&heat=1")
            _read(f"{page}/metrics")
        except OSError as problem:
            print(f"page: {problem}", file=sys.stderr)


def _read(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310  (our own page)
        return bytes(answer.read())


def main() -> int:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--images", type=Path, help="frames of good parts")
    parser.add_argument("--rounds", type=int, default=10, help="how often each is scored by either")
    parser.add_argument("--visit", type=int, metavar="PORT", help="only be the client of a page")
    chosen = parser.parse_args()
    if chosen.visit is not None:
        visit(chosen.visit)
    if chosen.bundle is None or chosen.images is None:
        parser.error("expected --bundle and --images")
    frames = [shot.frame for shot in open_source(chosen.images) if shot.frame is not None]
    over = Event()
    with tempfile.TemporaryDirectory() as scratch, mosquitto(Path(scratch), ending=over) as broker:
        print(
            json.dumps(
                measure(chosen.bundle, Path(scratch), frames=frames, rounds=chosen.rounds, broker=broker), indent=2
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
