"""Give a line many triggers while everything around it fails: `python tests/soak/triggers.py [--triggers 100000]`.

Two cameras, one whose frames are triggers and one that is triggered by messages. Frames are lost, damaged and late;
cameras stop, hang and are opened again; scoring stalls and fails; outputs crash, hang, and write to a slow disk; a real
mosquitto is killed and started again, if one is installed; the bundle gets new generations and the configuration is
read again. In the end everything has to add up: one decision for each trigger, in order, none missing, none twice, and
every decision that was made at its deadline or after it marked late. Prints one JSON object; exit code 1 if something
does not add up.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import SystemRandom

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries import build, set_threshold
from spade_edge.runtime import DataError, DeviceError, FrameResult, Scorer
from spade_edge.tools.line.configuration.options import (
    CameraOptions,
    FileOptions,
    LineConfiguration,
    LineOptions,
    MqttOptions,
    OutputOptions,
    RecipeOptions,
)
from spade_edge.tools.line.decision import LATE, Decision
from spade_edge.tools.line.outputs.opening import make_output
from spade_edge.tools.line.outputs.output import Output, OutputError
from spade_edge.tools.line.service import Service
from spade_edge.tools.line.state import LineState
from spade_edge.tools.line.systemd import Systemd
from spade_edge.tools.scoring.durations import Durations
from spade_edge.tools.sources import SourceOptions, open_source
from spade_edge.tools.sources.cameras.camera import Grab
from spade_edge.tools.sources.source import Source

sys.path.insert(0, str(Path(__file__).parents[1]))

from soak.memory import GROWTH, early_and_late, resident

FRAMES, MESSAGES = "frames", "messages"  # the cameras
DEADLINE = 60  # milliseconds
ENOUGH = 30  # readings of memory: a few, of a short trial, say more about what was loaded than about what grows


@dataclass
class Done:
    """What was done to the line."""

    delivered: int = 0  # frames that the first camera gave, whole or damaged
    lost: int = 0  # frames that it counted and did not give
    asked: int = 0  # messages
    mischief: Counter[str] = field(default_factory=Counter)


class UnreliableCamera:
    """Numbers its frames; loses, damages and delays them, stops, and is opened again."""

    def __init__(self, done: Done, *, seed: int, pace: float, wanted: int, ending: threading.Event) -> None:
        self._done, self._pace, self._wanted, self._ending = done, pace, wanted, ending
        self._random = np.random.default_rng(seed)
        self._frames = self._random.integers(0, 256, (8, 96, 80, 3), np.uint8)
        self._number = 0

    def connect(self) -> UnreliableCamera:
        if self._random.random() < 0.2:
            raise DeviceError("unreliable camera: expected an answer, found none")
        return self

    def read(self) -> Grab | None:
        luck = self._random.random()
        if self._done.delivered + self._done.lost >= self._wanted or self._ending.is_set():
            time.sleep(0.01)
            return None
        time.sleep(self._pace * self._random.exponential())
        if luck < 0.0005:
            self._done.mischief["camera stops"] += 1
            raise DeviceError("unreliable camera: expected a frame, found none")
        if luck < 0.0008:
            self._done.mischief["camera hangs"] += 1
            time.sleep(0.3)
        self._number += 1
        if luck > 0.999:
            gap = int(self._random.integers(1, 4))
            self._number += gap
            self._done.lost += gap
            self._done.mischief["frames lost"] += gap
        self._done.delivered += 1
        if 0.5 < luck < 0.503:
            self._done.mischief["frames damaged"] += 1
            raise DataError("a packet was lost")
        return Grab(self._frames[self._number % 8], part=str(self._number))

    def close(self) -> None:
        pass


class FreeCamera:
    """Gives frames all the time, whether anyone asks or not."""

    def __init__(self, *, seed: int, pace: float) -> None:
        self._frames = np.random.default_rng(seed).integers(0, 256, (8, 96, 80, 3), np.uint8)
        self._number, self._pace = 0, pace

    def read(self) -> NDArray[np.uint8]:
        time.sleep(self._pace)
        self._number += 1
        return self._frames[self._number % 8]

    def close(self) -> None:
        pass


class Recorder:
    """An output that takes everything."""

    def open(self) -> None: ...
    def send(self, decision: Decision) -> None: ...
    def beat(self, state: LineState) -> None: ...
    def close(self) -> None: ...

    def stale(self, decision: Decision) -> bool:
        return False

    def test(self, decision: Decision, state: LineState) -> str:
        return ""


class Auditor(Recorder):
    """An output that holds every decision against what has to come next, and keeps none.

    Attributes:
        failures: what does not add up.
        verdicts: number of decisions by verdict.
        last: number of the last decision of each camera.
        behind: milliseconds from the deadline of a trigger to its decision's arrival here, where it was late.
        memory: of this process, in bytes, now and then.
    """

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.verdicts: Counter[str] = Counter()
        self.last: Counter[str] = Counter()
        self.behind = Durations()
        self.memory: list[int] = []

    def send(self, decision: Decision) -> None:
        now, camera, number = time.monotonic(), decision.trigger.camera, decision.trigger.number
        if number != self.last[camera] + 1:
            self._fail(f"{camera}: expected decision {self.last[camera] + 1}, found {number}")
        self.last[camera] = number
        if camera == MESSAGES and decision.trigger.id != asked(number):
            self._fail(f"{camera}: expected {asked(number)}, found {decision.trigger.id}")
        if (decision.verdict == LATE) != (decision.milliseconds >= DEADLINE):
            self._fail(f"{camera} {number}: {decision.verdict} after {decision.milliseconds} ms")
        self.verdicts[decision.verdict] += 1
        if decision.verdict == LATE:
            self.behind.add(1000 * (now - decision.trigger.deadline))
        if self.verdicts.total() % 100 == 0:
            self.memory.append(resident())

    def _fail(self, what: str) -> None:
        if len(self.failures) < 20:
            self.failures.append(what)


def asked(number: int) -> str:
    """The id of a message."""
    return f"part {number}"


class Unreliable(Recorder):
    """An output that crashes, hangs and refuses."""

    def __init__(self, done: Done, *, seed: int) -> None:
        self._done, self._random = done, np.random.default_rng(seed)

    def open(self) -> None:
        if self._random.random() < 0.3:
            raise OutputError("not there")

    def send(self, decision: Decision) -> None:
        luck = self._random.random()
        if luck < 0.0003:
            self._done.mischief["output hangs"] += 1
            time.sleep(1.0)
        if luck > 0.999:
            self._done.mischief["output crashes"] += 1
            raise ZeroDivisionError("a fault in an output")


class SlowDisk(Recorder):
    """An output for which each write takes long."""

    def send(self, decision: Decision) -> None:
        time.sleep(0.05)


def free_port() -> int:
    """A port of this machine that nobody listens on, below those that the system gives to connections meanwhile."""
    chance = SystemRandom()
    while True:
        port = chance.randrange(15_000, 32_000)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def mosquitto(
    folder: Path, *, ending: threading.Event, every: float | None = None, done: Done | None = None
) -> Iterator[int | None]:
    """A broker that is killed and started again every so many seconds; gives its port, None if it is not installed."""
    program = shutil.which("mosquitto", path=os.defpath + ":/usr/sbin:/usr/local/sbin")
    if program is None:
        yield None
        return
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([program, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    broker = [start()]

    def restart() -> None:
        while not ending.wait(every):
            broker[0].kill()
            broker[0].wait()
            if done is not None:
                done.mischief["broker killed"] += 1
            ending.wait(1.0)
            broker[0] = start()

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        yield port
    finally:
        ending.set()
        thread.join()
        broker[0].terminate()
        broker[0].wait()


def trial(
    bundle: Path, folder: Path, *, triggers: int, seed: int, say: Callable[[str], None] = lambda _: None
) -> dict[str, object]:
    """Run it; `failures` of what is returned says what does not add up, and should be empty."""
    done, ending, over = Done(), threading.Event(), threading.Event()
    random = np.random.default_rng(seed)
    auditor = Auditor()
    half = triggers // 2
    unreliable = UnreliableCamera(done, seed=seed, pace=0.006, wanted=half, ending=ending)
    free = FreeCamera(seed=seed, pace=0.004)
    sources = {FRAMES: unreliable.connect, MESSAGES: lambda: free}

    def open_camera(options: CameraOptions) -> Source:
        return open_source(sources[options.source], options=SourceOptions(reopen=float("inf"), frozen=0))

    def make(name: str, *, configuration: LineConfiguration, requests: object) -> Output:
        match name:
            case "auditor":
                return auditor
            case "unreliable":
                return Unreliable(done, seed=seed)
            case "slow":
                return SlowDisk()
        return make_output(name, configuration=configuration, requests=requests)  # type: ignore[arg-type]

    original = Scorer.__call__

    def score(self: Scorer, frame: NDArray[np.uint8], **options: str) -> FrameResult:
        luck = random.random()
        if luck < 0.001:
            done.mischief["scoring stalls"] += 1
            time.sleep(3 * DEADLINE / 1000)
        if luck > 0.9995:
            done.mischief["scoring fails"] += 1
            raise RuntimeError("the driver is gone")
        return original(self, frame, **options)

    camera = CameraOptions(source=FRAMES, recipe="part", deadline_ms=DEADLINE)
    outputs: dict[str, OutputOptions] = {
        "auditor": FileOptions(path=folder / "a.jsonl", queue=1_000_000),
        "unreliable": FileOptions(path=folder / "b.jsonl"),
        "slow": FileOptions(path=folder / "c.jsonl", queue=10),
        "record": FileOptions(path=folder / "record.jsonl", rotate=20_000_000, keep=100, queue=100_000),
    }
    Scorer.__call__ = score  # type: ignore[method-assign]
    began = time.monotonic()
    try:
        with mosquitto(folder, ending=over, every=5.0, done=done) as port:
            if port is not None:
                outputs["broker"] = MqttOptions(host="127.0.0.1", port=port, queue=100_000)
            configuration = LineConfiguration(
                line=LineOptions(heartbeat_ms=100, watchdog_s=0.5, threads=1),
                recipes={"part": RecipeOptions(bundle=bundle)},
                cameras={FRAMES: camera, MESSAGES: replace(camera, source=MESSAGES, trigger="message")},
                outputs=outputs,
            )
            service = Service(configuration, open_camera=open_camera, make=make, systemd=Systemd({}))
            with service:
                _disturb(service, bundle, done, half=half, random=np.random.default_rng(seed + 1), say=say)
                ending.set()
                _wait_for_the_last(auditor, done)
                state = service.state()
    finally:
        Scorer.__call__ = original  # type: ignore[method-assign]

    failures = auditor.failures
    for name, wanted in ((FRAMES, done.delivered + done.lost), (MESSAGES, done.asked)):
        if auditor.last[name] != wanted:
            failures.append(f"{name}: expected {wanted} decisions, found {auditor.last[name]}")
    lines = sum(len(path.read_bytes().splitlines()) for path in folder.glob("record*"))
    if lines != auditor.verdicts.total():
        failures.append(f"record: expected {auditor.verdicts.total()} lines, found {lines}")
    early, late = early_and_late(auditor.memory)
    if len(auditor.memory) >= ENOUGH and late - early > GROWTH:
        failures.append(f"expected memory to stay, found {(late - early) / 1e6:.1f} MB more")
    some = len(auditor.behind) > 0
    return {
        "triggers": auditor.verdicts.total(),
        "verdicts": dict(auditor.verdicts),
        "mischief": dict(done.mischief),
        "late_milliseconds_after_the_deadline": {
            "p50": auditor.behind.percentile(0.5) if some else None,
            "p99": auditor.behind.percentile(0.99) if some else None,
            "longest": auditor.behind.largest if some else None,
        },
        "memory_megabytes": {"early": early / 1e6, "late": late / 1e6},
        "outputs": {output.name: [output.sent, output.lost, output.waiting] for output in state.outputs},
        "seconds": round(time.monotonic() - began, 1),
        "failures": failures,
    }


def _wait_for_the_last(auditor: Auditor, done: Done) -> None:
    """Wait until every trigger has its decision, within a bound: what is missing then is told."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if auditor.last[FRAMES] >= done.delivered + done.lost and auditor.last[MESSAGES] >= done.asked:
            return
        time.sleep(0.01)


def _disturb(
    service: Service, bundle: Path, done: Done, *, half: int, random: np.random.Generator, say: Callable[[str], None]
) -> None:
    """Ask for decisions until there were enough, and change the bundle and the configuration meanwhile."""
    next_change = time.monotonic() + 3
    configurations = [service.configuration, replace(service.configuration, evidence=None)]
    while done.asked < half or done.delivered + done.lost < half:
        if done.asked < half:
            service.trigger(MESSAGES, id=asked(done.asked + 1))
            done.asked += 1
            if done.asked % 5000 == 0:
                say(f"{done.asked} messages, {done.delivered + done.lost} frames")
        time.sleep(0.006 * random.exponential())
        if time.monotonic() > next_change:
            next_change += 7
            set_threshold(bundle, score=float(random.uniform(1, 1000)), reason="another one")
            configuration = configurations[int(random.integers(2))]
            fail_safe = "pass" if random.random() < 0.5 else "reject"
            service.reload(replace(configuration, line=replace(configuration.line, fail_safe=fail_safe)))
            done.mischief["generations and configurations"] += 1


def _bundle(folder: Path) -> Path:
    """A small bundle: a network of three convolutions, eight images of noise."""
    from tiny_network import write_tiny_model

    model = write_tiny_model(folder / "model.onnx", size=(32, 32))
    (folder / "good").mkdir()
    for seed in range(8):
        np.save(folder / "good" / f"{seed}.npy", np.random.default_rng(seed).integers(0, 256, (96, 80, 3), np.uint8))
    return build(folder / "good", model=model, output=folder / "part.spade").path


def run_trial(*, triggers: int, seed: int) -> int:
    """Run the trial, print what came of it, and give the exit code."""
    with tempfile.TemporaryDirectory(prefix="spade-edge-triggers-") as scratch:
        folder = Path(scratch)
        say = partial(print, file=sys.stderr, flush=True)
        found = trial(_bundle(folder), folder, triggers=triggers, seed=seed, say=say)
    print(json.dumps(found, indent=2))
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--triggers", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    sys.exit(run_trial(triggers=chosen.triggers, seed=chosen.seed))
