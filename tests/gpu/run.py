"""Measure a machine with an NVIDIA GPU: `python tests/gpu/run.py --bundle part.spade --frames good/ --output DIR`.

Everything that a GPU should show, in order of worth, each step in a process of its own and with a time limit of its
own: machine and golden frames, time per frame of every way, every frame against the CPU, matching as one graph bit by
bit and by the size of the gallery, the frame before the network, streams, what is printed, what is refused, and last
TensorRT, whose engine takes minutes. DIR/report.json and DIR/report.md are written after each step. The exit code is 1
if a step did not end well or something does not hold that has to.

    python tests/gpu/run.py --bundle part.spade --frames good/ --output gpu-report/
    python tests/gpu/run.py --provider cpu --quick --output gpu-report/     the same steps, small and without a GPU
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from processes import DONE, LEFT_OUT, SECONDS, Ended, Step, run_all, write_report
from table import markdown

BUDGET = 18.0  # minutes
CPU, CUDA, TENSORRT = "cpu", "cuda", "tensorrt"
PROVIDERS = (CUDA, TENSORRT, CPU)
DEVICE = "device"
MEASURE = str(Path(__file__).with_name("measure.py"))
PREPARE = "prepare tensorrt"
ENGINE_MINUTES = 5
NO_ENGINE = f"'{PREPARE}' did not end well"


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        bench: number of frames whose time is measured.
        frames: number of frames compared with the CPU.
        features: number of frames whose features are matched on the device and on the CPU.
        repetitions: of what is timed alone.
        images: numbers of images of galleries.
        patience: by which limits of time are multiplied; where little is measured, they are for steps that hang.
    """

    bench: int
    frames: int
    features: int
    repetitions: int
    images: tuple[int, ...]
    patience: int


FULL = Scale(bench=1024, frames=200, features=8, repetitions=200, images=(40, 200, 800, 1600), patience=1)
QUICK = Scale(bench=10, frames=6, features=2, repetitions=3, images=(4, 8), patience=4)


def steps(bundle: Path, frames: Path, *, provider: str, scale: Scale) -> list[Step]:
    """All steps in order of worth.

    Args:
        bundle: the bundle folder; made by the first step if it is not there.
        frames: a folder of frames; likewise.
        provider: what runs the network: "cuda", "tensorrt" or "cpu".
        scale: how much is measured.
    """

    def measure(name: str, *options: object, kind: str = "", limit: float, **others: Any) -> Step:
        command = (sys.executable, MEASURE, kind or name, "--bundle", bundle, "--frames", frames, "--seconds", SECONDS)
        return Step(name, tuple(map(str, (*command, *options))), scale.patience * limit, **others)

    def command(name: str, *options: object, limit: float, **others: Any) -> Step:
        line = (sys.executable, "-m", "spade_edge", *options, "--bundle", bundle, "--json")
        return Step(name, tuple(map(str, line)), scale.patience * limit, **others)

    def bench(runs: str, match: str, *options: str, **others: Any) -> Step:
        name = " ".join(("bench", runs, *(option.strip("-") for option in options), f"match {match}"))
        given = ("--provider", runs, "--match", match, "--count", scale.bench, *options)
        return measure(name, *given, kind="bench", limit=110, **others)

    on = ("--provider", provider)
    both = (CPU, DEVICE)
    on_tensorrt = {"after": PREPARE, "because": NO_ENGINE}
    tensorrt = [
        command(
            PREPARE,
            *("prepare", "--provider", TENSORRT, "--time-limit", ENGINE_MINUTES),
            limit=60 * ENGINE_MINUTES + 30,
        ),
        measure(
            "refusals tensorrt",
            *("--provider", TENSORRT),
            kind="refusals",
            limit=45,
            unless=PREPARE,
            because="TensorRT works here",
        ),
        *(bench(TENSORRT, match, **on_tensorrt) for match in both),
    ]
    compared = [match for match in both if (provider, match) != (CPU, CPU)]
    every = [
        measure("material", limit=120),
        measure("facts", limit=45),
        *(tensorrt if provider == TENSORRT else ()),
        command("doctor", "doctor", limit=60, codes=(0, 4)),
        *(command(f"parity match {match}", "parity", *on, "--match", match, limit=60) for match in both),
        *(bench(CUDA, match) for match in both[::-1] if provider != CPU),
        bench(CPU, CPU),
        *(bench(CUDA, match, "--cuda-graph") for match in both[::-1] if provider != CPU),
        *(bench(CPU, match) for match in both[1:] if provider == CPU),
        *(
            measure(
                f"verdicts match {match}", *on, "--match", match, "--count", scale.frames, kind="verdicts", limit=90
            )
            for match in compared
        ),
        measure("graphs", *on, "--count", scale.features, limit=90),
        measure(
            "galleries",
            *(*on, "--images", ",".join(map(str, scale.images)), "--count", scale.repetitions),
            limit=180,
        ),
        measure("preprocessing", *on, "--count", scale.repetitions, limit=60),
        *(
            measure(f"stream match {match}", *on, "--match", match, "--count", scale.frames, kind="stream", limit=45)
            for match in both[::-1]
        ),
        measure("printed", *on, limit=45),
        measure("refusals memory", "--provider", CUDA, kind="refusals", limit=45),
        *(tensorrt if provider == CUDA else ()),
    ]
    if provider == CPU:  # this onnxruntime may offer it or not; without a GPU it has to be refused
        every.append(measure("refusals tensorrt", "--provider", TENSORRT, kind="refusals", limit=45))
    return every


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="the bundle folder (default: one of drawn parts is made)")
    parser.add_argument("--frames", type=Path, help="a folder of frames (default: made from the bundle's thumbnails)")
    parser.add_argument("--output", type=Path, required=True, help="a new or empty folder for the report")
    parser.add_argument("--budget", type=float, default=BUDGET, metavar="MINUTES", help=f"for all steps ({BUDGET:g})")
    parser.add_argument("--provider", choices=PROVIDERS, default=CUDA, help=f"what runs the network ({CUDA})")
    parser.add_argument("--quick", action="store_true", help="a few frames and small galleries")
    chosen = parser.parse_args(arguments)
    for path in (chosen.bundle, chosen.frames):
        if path is not None and not path.is_dir():
            parser.error(f"{path}: expected a folder, found none")
    output: Path = chosen.output
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        parser.error(f"{output}: expected a new or empty folder, found other files")
    signal.signal(signal.SIGTERM, _terminated)  # so that the step that is running ends, too
    (output / "steps").mkdir(parents=True)
    bundle, frames = chosen.bundle or output / "part.spade", chosen.frames or output / "frames"
    facts = {
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "provider": chosen.provider,
        "quick": chosen.quick,
        "budget_minutes": chosen.budget,
    }

    def after_each(ended: Sequence[Ended]) -> None:
        report = write_report(output / "report.json", facts, ended)
        (output / "report.md").write_text(markdown(report), encoding="utf-8")
        last = ended[-1]
        print(f"{last.seconds:6.1f} s  {last.name}: {last.state} {last.because}".rstrip(), file=sys.stderr, flush=True)

    planned = steps(bundle, frames, provider=chosen.provider, scale=QUICK if chosen.quick else FULL)
    ended = run_all(planned, output / "steps", budget=60 * chosen.budget, after_each=after_each)
    print((output / "report.md").read_text(encoding="utf-8"))
    broken = json.loads((output / "report.json").read_text(encoding="utf-8"))["broken"]
    # A machine without TensorRT is no fault.
    ill = [step.name for step in ended if step.state not in (DONE, LEFT_OUT) and step.name != PREPARE]
    return 1 if ill or broken else 0


def _terminated(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
