"""Spoil bundles and score with them: `python tests/hostile/run.py [--mutations 15000] [--seed 0]`.

Each mutation is opened and scored in a process of its own, bounded in time and memory. It must end in a result or in an
error of `runtime/errors.py`, within ten seconds, without more memory than the intact bundle and four times its files,
and must not let a defect pass, unless the mutation says what is good. Prints one JSON object; exit code 1 if there was
anything else. Mutation number n of a seed is the same in every run: `--only n` repeats it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own modules

from hostile.mutations import FAMILIES, TRUSTED, may_pass, must_be_refused, packed_file

from spade_edge.galleries import generations, set_threshold, take_out, teach_in, undo, unpack
from spade_edge.galleries.generation_log import LOG
from spade_edge.runtime import Scorer
from spade_edge.runtime.bundle.manifest import FILE, Manifest
from spade_edge.runtime.errors import SpadeError
from spade_edge.runtime.result import GOOD
from spade_edge.tools.signing import verify_signature

SECONDS = 10.0
ADDRESSES = 8 << 30  # bytes of address space of a child beyond those of its parent; threads and arenas reserve much
TIMES = 4  # so many times the size of the files may be used beyond what the intact bundle takes
LONGEST = 2000  # characters of a message that somebody can still read
SPARE = 64 << 20  # bytes of memory by which two runs of the same differ

Try = Callable[[Path, Sequence[NDArray[np.uint8]]], list[str]]


def scored(bundle: Path, frames: Sequence[NDArray[np.uint8]]) -> list[str]:
    """The verdicts of some frames."""
    scorer = Scorer.open(bundle, threads=1)
    return [scorer(frame).verdict for frame in frames]


def verified_and_scored(bundle: Path, frames: Sequence[NDArray[np.uint8]]) -> list[str]:
    """The verdicts of some frames, if the bundle is signed."""
    scorer = Scorer.open(bundle, threads=1, manifest_sha256=verify_signature(bundle, bundle / TRUSTED))
    return [scorer(frame).verdict for frame in frames]


def taught_and_scored(bundle: Path, frames: Sequence[NDArray[np.uint8]]) -> list[str]:
    """The verdicts of some frames after another good one was taught in, and after a good image was taken out."""
    image = bundle.with_suffix(".npy")
    np.save(image, part(40))
    teach_in(bundle, [image], selected=False, even_so=True, threads=1)
    take_out(bundle, ["2.npy"], threads=1)
    return scored(bundle, frames)


def changed_and_scored(bundle: Path, frames: Sequence[NDArray[np.uint8]]) -> list[str]:
    """The verdicts of some frames after a change that was undone."""
    generations(bundle)
    set_threshold(bundle, rate=0.3, reason="x")
    undo(bundle)
    return scored(bundle, frames)


def unpacked_and_scored(bundle: Path, frames: Sequence[NDArray[np.uint8]]) -> list[str]:
    """The verdicts of some frames with the packed bundle; nothing may appear beside what was unpacked."""
    place = bundle.with_name("unpacked.spade")
    beside = set(bundle.parent.iterdir())
    try:
        unpack(packed_file(bundle), place)
        return scored(place, frames)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if set(bundle.parent.iterdir()) != beside:
            raise RuntimeError(f"something is left beside {place}")


# For families that are not merely scored.
ATTEMPTS: dict[str, Try] = {
    "signatures": verified_and_scored,
    "taught": taught_and_scored,
    "log": changed_and_scored,
    "packed": unpacked_and_scored,
}


@dataclass(frozen=True)
class Outcome:
    """How a child ended.

    Attributes:
        end: "scored", "refused", "undocumented", "crash" or "hang".
        detail: verdicts, message, exception or signal.
        memory: the most memory that it had, in bytes.
    """

    end: str
    detail: str
    memory: int


def tried(
    bundle: Path, frames: Sequence[NDArray[np.uint8]], *, attempt: Try = scored, seconds: float = SECONDS
) -> Outcome:
    """Open and score in a child."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _in_child(write, bundle, frames, attempt, seconds)
    os.close(write)
    said, end = b"", time.monotonic() + seconds
    hang = False
    while True:
        ready, _, _ = select.select([read], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            hang = True
            os.kill(child, signal.SIGKILL)
            break
        block = os.read(read, 65536)
        if not block:
            break
        said += block
    os.close(read)
    _, status, usage = os.wait4(child, 0)
    memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if hang:
        return Outcome("hang", f"over {seconds} s", memory)
    if os.WIFSIGNALED(status) or not said:
        return Outcome("crash", f"status {status}", memory)
    kind, detail = json.loads(said)
    return Outcome(kind, detail, memory)


def _in_child(write: int, bundle: Path, frames: Sequence[NDArray[np.uint8]], attempt: Try, seconds: float) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (int(2 * seconds) + 1, int(2 * seconds) + 1))
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 2)
        try:
            said = ["scored", " ".join(attempt(bundle, frames))]
        except SpadeError as problem:
            line = f"{type(problem).__name__}: {problem}"
            said = ["refused", line] if len(line) <= LONGEST else ["undocumented", f"a long message: {line[:LONGEST]}"]
        except BaseException as problem:
            said = ["undocumented", f"{type(problem).__name__}: {problem}"[:LONGEST]]
        os.write(write, json.dumps(said).encode())
    finally:
        os._exit(0)


@dataclass
class Tally:
    """What a run gave; the lists are empty if all is well."""

    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def run(
    bundles: Sequence[Path],
    frames: Sequence[NDArray[np.uint8]],
    folder: Path,
    *,
    numbers: Sequence[int],
    seed: int,
    families: Sequence[str] = tuple(FAMILIES),
    seconds: float = SECONDS,
) -> Tally:
    """Spoil copies of bundles and score with them.

    Args:
        bundles: intact bundles.
        frames: a good frame and a defect, in this order.
        folder: for the copies.
        numbers: of the mutations.
        seed: of the mutations.
        families: names of `FAMILIES`.
        seconds: that a child may take.
    """
    tally = Tally()
    intact = {}
    for bundle in bundles:
        found = tried(bundle, frames, seconds=seconds)
        verdicts = found.detail.split()
        if found.end != "scored" or verdicts[0] != GOOD or verdicts[1] == GOOD:
            raise ValueError(f"{bundle}: expected a bundle that tells the frames apart, found {found}")
        intact[bundle] = found.memory + TIMES * Manifest.read(bundle).size + SPARE
    for number in numbers:
        rng = np.random.default_rng([seed, number])
        bundle, name = bundles[number % len(bundles)], families[number // len(bundles) % len(families)]
        copy = copied(bundle, folder / "hostile.spade")
        done = FAMILIES[name](copy, rng)
        found = tried(copy, frames, attempt=ATTEMPTS.get(name, scored), seconds=seconds)
        tally.ends[f"{name}: {found.end}"] += 1
        reason = ""
        if found.end not in ("scored", "refused"):
            reason = found.end
        elif found.memory > intact[bundle]:
            reason = f"memory of {found.memory >> 20} MB"
        elif found.end == "scored" and must_be_refused(name, done):
            reason = "it was not refused"
        elif found.end == "scored" and found.detail.split()[1] == GOOD and not may_pass(name, done):
            reason = "the defect is good"
        if reason:
            tally.faults.append(f"{number} {bundle.name} {name}, {done}: {reason}; {found.detail[:200]}")
        shutil.rmtree(copy)
    return tally


def copied(bundle: Path, copy: Path) -> Path:
    """A copy of a bundle that shares its payload."""
    copy.mkdir()
    for path in bundle.iterdir():
        if path.name == FILE:
            shutil.copyfile(path, copy / FILE)
        elif path.name == LOG:  # it is appended to
            shutil.copyfile(path, copy / LOG)
        elif path.is_file():
            os.link(path, copy / path.name)
        else:
            shutil.copytree(path, copy / path.name)
    return copy


def part(seed: int, *, flaw: bool = False) -> NDArray[np.uint8]:
    """A striped part that varies a little; `flaw` adds a bright spot. (96, 80, 3) uint8 BGR."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :80]
    stripes = 90 + 50 * np.sin(x / 5 + rng.normal(0, 0.2)) * (np.abs(y - 48) < 32)
    image = np.stack([stripes, stripes * 0.8, stripes * 0.6 + 30], axis=-1) + rng.normal(0, 4, (96, 80, 3))
    if flaw:
        image[32:46, 20:34] += 90
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def built(folder: Path) -> tuple[list[Path], list[NDArray[np.uint8]]]:
    """Small bundles of each kind, and a good frame and a defect."""
    from tiny_network import write_tiny_model

    from spade_edge.galleries import BuildOptions, build

    (folder / "good").mkdir()
    for seed in range(8):
        np.save(folder / "good" / f"{seed}.npy", part(seed))
    model = write_tiny_model(folder / "model.onnx", size=(64, 64))
    options = {
        "free": BuildOptions(place="free"),
        "placed": BuildOptions(place=1),
        "paper": BuildOptions(profile="paper"),
    }
    bundles = [
        build(folder / "good", model=model, output=folder / f"{name}.spade", options=own).path
        for name, own in options.items()
    ]
    return bundles, [part(0), part(1, flaw=True)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=15_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", choices=tuple(FAMILIES), action="append", help="only these")
    parser.add_argument("--only", type=int, help="repeat one mutation")
    chosen = parser.parse_args(arguments)
    numbers = range(chosen.mutations) if chosen.only is None else [chosen.only]
    with tempfile.TemporaryDirectory() as name:
        # Built in a child: a process must not fork while onnxruntime has threads.
        folder = Path(name)
        child = os.fork()
        if child == 0:
            built(folder)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            raise SystemExit("the bundles cannot be built")
        bundles = sorted(folder.glob("*.spade"))
        frames = [part(0), part(1, flaw=True)]
        tally = run(
            bundles, frames, folder, numbers=numbers, seed=chosen.seed, families=chosen.family or tuple(FAMILIES)
        )
    print(json.dumps({"ends": dict(sorted(tally.ends.items())), "faults": tally.faults}, indent=1))
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
