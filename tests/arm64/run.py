"""Check that an ARM64 processor gives the results of an x86-64 one; run manually: `python tests/arm64/run.py`.

The same bundle and the same frames are scored here and by an ARM64 Python, numpy and onnxruntime under qemu. They run
in a Debian of their own (`--root DIR` keeps it for the next run) with the wheel, and numpy and onnxruntime in the
versions of this environment. Compared are: the maps by exact search, to within 1e-3 of a map's largest value; the
verdicts of both searches; and everything computed in integers (8-bit products, codes, keys, windows, cells), which must
be the same bit for bit. `spade-edge score` and `spade-edge parity` run there too. The output ends with a table and one
JSON object on the last line; the exit code is 1 if something does not agree.

Needs Linux on x86-64 and the packages qemu-user-static and mmdebstrap (Debian, Ubuntu; there also
debian-archive-keyring), root or user namespaces, and access to Debian's and Python's package servers. Nothing is
registered with the kernel.

    python tests/arm64/run.py                                    two bundles of drawn parts, a small random network
    python tests/arm64/run.py --model model.onnx                 the same parts, a model of yours
    python tests/arm64/run.py --bundle part.spade                your bundle, on its golden frames
    python tests/arm64/run.py --bundle part.spade --frames DIR   your bundle, on your frames
    python tests/arm64/run.py --onnxruntime 1.23.2               another version on the ARM64 side

On two busy cores the first took 22 minutes; a frame of Wide-ResNet50-2 at 224x224 against 20 good images, on one
processor, 29.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from comparison import SHARE, Row, compare
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, Views, build
from spade_edge.galleries.images import find_images, read_image
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.golden import TOLERANCES
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.matching.config import Matching
from spade_edge.tools.demo.parts import render_defect, render_good

Frames = dict[str, NDArray[np.uint8]]
Codes = int | tuple[int, ...]  # exit codes that are expected
Ended = subprocess.CompletedProcess[str]

PROJECT = Path(__file__).resolve().parents[2]
SCORE = Path(__file__).with_name("score.py")
COMMAND = "/opt/spade-edge/bin/spade-edge"
QEMU = "qemu-aarch64-static"
TOOLS = {QEMU: "qemu-user-static", "mmdebstrap": "mmdebstrap"}
# What python3 is made of and what wheels link to; extracted, never run by dpkg.
PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
QUIET = {"ORT_DISABLE_TELEMETRY": "1"}  # onnxruntime 1.29 and newer would call home
CPU_INFO = "processor : {n}\nCPU implementer : 0x41\nCPU architecture: 8\nCPU part : {part}\nCPU revision : 1\n\n"


@dataclass(frozen=True)
class Processor:
    """A processor that qemu emulates.

    Attributes:
        qemu: its name there.
        part: its number in /proc/cpuinfo; onnxruntime chooses its kernels by that and by what qemu says it can do.
        stands_for: the hardware that it stands for, for readers.
    """

    qemu: str
    part: str
    stands_for: str


PROCESSORS = {
    "cortex-a72": Processor("cortex-a72", "0xd08", "Raspberry Pi 4; no 8-bit dot products"),
    "cortex-a76": Processor("cortex-a76", "0xd0b", "Raspberry Pi 5; 8-bit dot products, as on Jetson Orin"),
    "max": Processor("max,pauth-impdef=on", "0xd40", "all that qemu emulates: also SVE, 8-bit matrix products, bf16"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, metavar="DIR", help="where the ARM64 Debian is made, or lies already")
    parser.add_argument("--suite", default="bookworm", help="of Debian: bookworm has Python 3.11 (bookworm)")
    parser.add_argument("--cpu", nargs="+", choices=PROCESSORS, default=list(PROCESSORS), help="processors (all)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", type=Path, metavar="FILE", help="what 'spade-edge export' wrote, for drawn parts")
    what.add_argument("--bundle", type=Path, metavar="DIR", help="a bundle of yours")
    parser.add_argument("--frames", type=Path, metavar="DIR", help="images for --bundle (its golden frames)")
    parser.add_argument("--numpy", default=version("numpy"), metavar="VERSION", help="on the ARM64 side (as here)")
    parser.add_argument("--onnxruntime", default=version("onnxruntime"), metavar="VERSION", help="likewise (as here)")
    chosen = parser.parse_args()
    if chosen.frames and not chosen.bundle:
        parser.error("expected --frames with a --bundle, found none")
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            sys.exit(f"arm64: expected {tool}, found none: apt install {package}")

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="spade-edge-arm64-") as temporary:
        folder = Path(temporary)
        root = Root(chosen.root or folder / "root")
        root.make(suite=chosen.suite)
        wheel = build_wheel(folder / "dist")
        root.install(f"{wheel}[cpu]", f"numpy=={chosen.numpy}", f"onnxruntime=={chosen.onnxruntime}")
        cases = folder / "cases"
        if chosen.bundle:
            frames = read_frames(chosen.frames) if chosen.frames else golden_frames(chosen.bundle)
            write_case(cases / chosen.bundle.resolve().stem, chosen.bundle, frames)
        else:
            draw_cases(cases, folder, model=chosen.model)
        report = prove(root, cases, [PROCESSORS[name] for name in chosen.cpu])
    report["seconds"] = round(time.monotonic() - started)
    print_table(report)
    print(json.dumps(report))
    return 0 if report["passed"] else 1


@dataclass(frozen=True)
class Root:
    """A folder with ARM64's Debian, run under qemu as if it were the whole machine."""

    path: Path

    def make(self, *, suite: str) -> None:
        """Unpack Debian's packages, unless that was done; no script of theirs runs."""
        if not (self.path / "usr/bin/python3").exists():
            say(f"unpacking Debian {suite} for ARM64 into {self.path}")
            include = ",".join(PACKAGES)
            command = ["mmdebstrap", "--variant=extract", "--architectures=arm64", f"--include={include}", suite]
            self.path.mkdir(parents=True, exist_ok=True)
            # By way of an archive, so that all of it belongs to who runs this, root or not.
            with tempfile.TemporaryDirectory() as temporary:
                archive = Path(temporary) / "root.tar"
                run([*command, archive])
                run(["tar", "--extract", "--no-same-owner", "--exclude=./dev", "--file", archive, "-C", self.path])
        if not (self.path / "lib").exists():  # Debian 13 has it by a script that did not run
            (self.path / "lib").symlink_to("usr/lib")
        shutil.copy2(str(shutil.which(QEMU)), self.path / "usr/bin" / QEMU)
        cpu = self.path / "sys/devices/system/cpu"
        cpu.mkdir(parents=True, exist_ok=True)
        for name in ("possible", "present"):
            (cpu / name).write_text("0-1\n")
        (self.path / "proc").mkdir(exist_ok=True)

    def install(self, *requirements: str) -> None:
        """Unpack wheels for ARM64 into an empty folder of the root."""
        say(f"unpacking {', '.join(Path(requirement).name for requirement in requirements)}")
        target = self.path / "opt/spade-edge"
        shutil.rmtree(target, ignore_errors=True)
        python = (self.path / "usr/bin/python3").readlink().name.removeprefix("python")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", target, "--only-binary=:all:"]
        platforms = [option for name in PLATFORMS for option in ("--platform", name)]
        run([*pip, "--implementation=cp", f"--python-version={python}", *platforms, *requirements])

    def python(self, processor: Processor, *arguments: str | Path, code: Codes = 0) -> Ended:
        """Run the root's Python; paths are the root's own."""
        lines = "".join(CPU_INFO.format(n=n, part=processor.part) for n in range(2))
        (self.path / "proc/cpuinfo").write_text(lines)
        enter = ["chroot", self.path] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--root", self.path]
        emulate = [f"/usr/bin/{QEMU}", "-cpu", processor.qemu, "/usr/bin/python3"]
        environment = {"PYTHONPATH": "/opt/spade-edge", "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"} | QUIET
        assigned = [f"{name}={value}" for name, value in environment.items()]
        return run(["env", "-i", f"PATH={os.environ['PATH']}", *assigned, *enter, *emulate, *arguments], code=code)


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout."""
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, PROJECT])
    (wheel,) = folder.glob("*.whl")
    return wheel


def draw_cases(cases: Path, folder: Path, *, model: Path | None) -> None:
    """Two bundles of drawn parts: one view of the whole, and tiles under a mask."""
    say("drawing parts and building bundles")
    (folder / "good").mkdir()
    for seed in range(12):  # exact search under qemu is slow
        np.save(folder / "good" / f"{seed:02}.npy", render_good(seed, size=320))
    scratch, crack = (render_defect(kind, 100, size=480)[0] for kind in ("scratch", "crack"))
    build(folder / "good", model=model or export(folder / "whole.onnx", side=96), output=folder / "whole.spade")
    frames = {
        "good": render_good(101, size=320),
        "scratch": scratch,
        "crack-grey": cv2.cvtColor(crack, cv2.COLOR_BGR2GRAY)[:, 10:401],
        "noise": np.random.default_rng(0).integers(0, 256, (251, 333, 3), np.uint8),
    }
    write_case(cases / "whole", folder / "whole.spade", frames)

    if model is None:
        mask = np.full((320, 320), 255, np.uint8)
        mask[:60] = mask[140:180, 120:220] = 0  # above the part and inside it
        np.save(folder / "mask.npy", mask)
        build(
            folder / "good",
            model=export(folder / "tiles.onnx", side=96),
            output=folder / "tiles.spade",
            options=BuildOptions(
                views=Views(tile=(192, 192), overlap=48, mask=folder / "mask.npy"),
                matching=Matching(gallery="per-view"),
            ),
        )
        tiled = {"good": frames["good"], "scratch": render_defect("scratch", 105, size=320)[0]}
        write_case(cases / "tiles", folder / "tiles.spade", tiled)


def export(path: Path, *, side: int) -> Path:
    """ResNet-18 with random weights, from a fixed seed."""
    import torch

    from spade_edge.export import build_pyramid, export_pyramid

    torch.manual_seed(0)
    view = View(resize=(side, side), size=(side, side))
    export_pyramid(build_pyramid("resnet18"), path, view=view, weights_note={"source": "random"})
    return path


def read_frames(folder: Path) -> Frames:
    return {path.relative_to(folder).as_posix().replace("/", "-"): read_image(path) for path in find_images(folder)}


def golden_frames(bundle: Path) -> Frames:
    """The frames that a bundle brings along to test a device with."""
    golden = Bundle.open(bundle).golden
    if golden is None:
        sys.exit(f"arm64: {bundle}: expected golden frames, found none: build it again, or name --frames")
    return {f"golden-{number}": frame for number, frame in enumerate(golden.frames, start=1)}


def write_case(case: Path, bundle: Path, frames: Frames) -> None:
    """A folder with a bundle and its frames, in the order in which they are to be scored."""
    shutil.copytree(bundle, case / "bundle.spade", ignore=shutil.ignore_patterns("history"))
    (case / "frames").mkdir()
    for name, frame in frames.items():
        np.save(case / "frames" / f"{name}.npy", frame)


def prove(root: Root, cases: Path, processors: Sequence[Processor]) -> dict[str, Any]:
    """Score every case here and on each processor, and compare."""
    copy = root.path / "cases"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(cases, copy)
    shutil.copy2(SCORE, copy)
    report: dict[str, Any] = {"passed": True, "cases": [], "processors": {p.qemu: p.stands_for for p in processors}}
    for case in sorted(path.name for path in cases.iterdir()):
        say(f"{case}: scoring here")
        here, there = copy / case / "here.npz", copy / case / "there.npz"
        ended = run([sys.executable, SCORE, copy / case / "bundle.spade", copy / case / "frames", here])
        report["here"] = json.loads(ended.stdout)
        for processor in processors:
            say(f"{case}: scoring on {processor.qemu}")
            started = time.monotonic()
            seen = Path("/cases", case)
            options = [seen / there.name, "--given", seen / here.name, "--alone"]
            ended = root.python(processor, "/cases/score.py", *inside(case), *options)
            report["there"] = json.loads(ended.stdout)
            with np.load(here) as trusted, np.load(there) as other:
                rows = compare(trusted, other)
                check_scores(root, processor, case, other)
            rows += golden_rows(root, processor, case)
            passed = all(row.passed for row in rows)
            report["passed"] &= passed
            report["cases"].append(
                {
                    "case": case,
                    "cpu": processor.qemu,
                    "seconds": round(time.monotonic() - started),
                    "passed": passed,
                    "rows": [row.to_json() for row in rows],
                }
            )
    return report


def check_scores(root: Root, processor: Processor, case: str, found: Any) -> None:
    """`spade-edge score` has to say of each frame what the library says."""
    names = sorted(name.split("/")[0] for name in found if name.endswith("/hnsw/verdict"))
    verdicts = [str(found[f"{name}/hnsw/verdict"]) for name in names]
    scores = [float(found[f"{name}/hnsw/score"]) for name in names]
    code = 0 if set(verdicts) == {"good"} else 1
    ended = root.python(processor, COMMAND, "score", "--bundle", *inside(case), code=code)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    said = [(Path(line["frame"]).stem, line["verdict"]) for line in lines]
    if said != list(zip(names, verdicts, strict=True)) or not np.allclose(
        [line["score"] for line in lines], scores, rtol=1e-5, atol=0
    ):
        sys.exit(f"arm64: {case}: expected of 'spade-edge score' {names} {verdicts} {scores}, found {ended.stdout}")
    say(f"{case}: 'spade-edge score' says the same of {len(said)} frames, exit code {code}")


def golden_rows(root: Root, processor: Processor, case: str) -> list[Row]:
    """What `spade-edge parity` says of the bundle's golden frames; none if it has none."""
    bundle, _ = inside(case)
    if Bundle.open(root.path / bundle.relative_to("/")).golden is None:
        return []
    ended = root.python(processor, COMMAND, "parity", "--bundle", bundle, "--json", code=(0, 4))
    (stage,) = json.loads(ended.stdout)["stages"]
    found, frames = max(stage["worst"].values()), len(stage["frames"])
    return [Row("golden frames, spade-edge parity", SHARE, found, frames, TOLERANCES[stage["precision"]])]


def inside(case: str) -> tuple[Path, Path]:
    """A case's bundle and frames, as the root has them."""
    return Path("/cases", case, "bundle.spade"), Path("/cases", case, "frames")


def print_table(report: dict[str, Any]) -> None:
    for side in ("here", "there"):
        found = report[side]
        print(
            f"{side:6} {found['machine']}, Python {found['python']}, numpy {found['numpy']}, "
            f"onnxruntime {found['onnxruntime']}"
        )
    print(f"       installed there: {', '.join(report['there']['packages'])}")
    for case in dict.fromkeys(entry["case"] for entry in report["cases"]):
        entries = [entry for entry in report["cases"] if entry["case"] == case]
        heads = "".join(f"{entry['cpu'].split(',')[0]:>12}" for entry in entries)
        print(f"\n{case:36}{'of':>12}{'allowed':>9}{heads}")
        for rows in zip(*(entry["rows"] for entry in entries), strict=True):
            first = Row(**{name: value for name, value in rows[0].items() if name != "passed"})
            of = f"{first.numbers:,}" if first.measure == "differ" else "largest"
            allowed = "any" if first.limit is None else f"{first.limit:g}"
            values = "".join(f"{shown(row):>12}" for row in rows)
            print(f"{first.stage:36}{of:>12}{allowed:>9}{values}")
        seconds = "".join(f"{entry['seconds']:>12}" for entry in entries)
        print(f"{'seconds under qemu':57}{seconds}")
    outcome = "everything agrees" if report["passed"] else "NOT EVERYTHING AGREES: see !"
    print(f"\narm64: {outcome}, {report['seconds']} s")


def shown(row: dict[str, Any]) -> str:
    text = f"{row['found']:,.0f}" if row["measure"] == "differ" else f"{row['found']:.1e}"
    return text if row["passed"] else f"! {text}"


def run(command: Sequence[str | Path], *, code: Codes = 0) -> Ended:
    """Run a command that must end with an exit code and without a traceback."""
    ended = subprocess.run(
        command, env=os.environ | QUIET, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    codes = code if isinstance(code, tuple) else (code,)
    if ended.returncode not in codes or "Traceback" in ended.stderr:
        shown_command = " ".join(map(str, command))
        sys.exit(f"arm64: {shown_command}: expected exit code {code}, found {ended.returncode}\n{ended.stderr}")
    return ended


def say(text: str) -> None:
    print(f"arm64: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
