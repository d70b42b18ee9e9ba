"""Show that a device needs nothing but the wheel, numpy and onnxruntime: `make lean`.

Here, where everything is installed, a small network is exported, a bundle of each profile and one with tiles and a mask
are built and frames are scored. Then the wheel goes into environments of its own, once beside the newest numpy and
onnxruntime (those of constraints.txt) and once beside the oldest that the wheel claims to work with. There the same
frames must give the same scores and anomaly maps, and what cannot work must say in one line which package is missing.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from email.parser import Parser
from pathlib import Path

import cv2
import numpy as np
import torch
from environments import CONSTRAINTS, ENVIRONMENT, ROOT, find_python
from packaging.requirements import Requirement

from spade_edge.export import build_pyramid, export_pyramid
from spade_edge.galleries import BuildOptions, Views, build
from spade_edge.runtime import Scorer
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.matching.config import Matching
from spade_edge.tools.demo.parts import render_defect, render_good

SCORE = Path(__file__).with_name("score.py")
PROFILES = ("edge", "paper")


def main() -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="spade-edge-lean-") as temporary:
        folder = Path(temporary)
        say("building the sdist, and the wheel from it")
        wheel = build_wheel(folder / "dist")
        say("drawing parts, exporting a small network, building bundles, scoring frames")
        prepare(folder)
        newest = [f"{wheel}[cpu]", "--constraint", str(CONSTRAINTS)]
        oldest = [f"{wheel}[cpu]", *lowest(wheel)]
        results = [check(folder, "newest", sys.executable, newest)]
        python = find_python("3.10", "3.11")
        if python is None:
            sys.exit("lean: the oldest versions need python3.10 or python3.11, found neither; install one of them")
        results.append(check(folder, "oldest", python, oldest))
    largest = max(result["largest"] for result in results)
    print(
        f"lean: {len(results)} environments, {results[0]['frames']} scores and anomaly maps in each, identical to 1e-5 "
        f"(largest difference {largest:.1e}), {time.monotonic() - started:.0f} s"
    )


def build_wheel(folder: Path) -> Path:
    """The wheel, built from the unpacked sdist as a stranger would."""
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT], within=folder.parent)
    (wheel,) = folder.glob("*.whl")
    return wheel


def prepare(folder: Path) -> None:
    """Write the bundles, the frames and, in expected.npz, what this environment makes of them."""
    torch.manual_seed(0)
    view = View(resize=(64, 96), size=(64, 96))
    model = folder / "model.onnx"
    export_pyramid(build_pyramid("resnet18"), model, view=view, weights_note={"source": "random"})
    (folder / "good").mkdir()
    for seed in range(12):
        np.save(folder / "good" / f"{seed}.npy", render_good(seed, size=160))
    for profile in PROFILES:
        build(folder / "good", model=model, output=folder / f"{profile}.spade", options=BuildOptions(profile=profile))
    mask = np.full((160, 160), 255, np.uint8)
    mask[:30] = mask[70:90, 60:110] = 0  # above the part and inside it
    np.save(folder / "mask.npy", mask)
    tiled = Views(tile=(96, 96), overlap=24, mask=folder / "mask.npy")
    build(
        folder / "good",
        model=model,
        output=folder / "tiled.spade",
        options=BuildOptions(matching=Matching(gallery="per-view"), views=tiled),
    )

    scratch, crack = (render_defect(kind, 100, size=480)[0] for kind in ("scratch", "crack"))
    stills = {
        "colour": render_good(101, size=320),
        "colour-scratch": scratch,
        "colour-wide": crack[100:380],
        "colour-odd": np.ascontiguousarray(scratch[7:218, 3:100]),
        "colour-tiny": render_good(102, size=160)[:3, :5].copy(),
        "grey": cv2.cvtColor(render_good(103, size=320), cv2.COLOR_BGR2GRAY),
        "grey-crack": cv2.cvtColor(crack, cv2.COLOR_BGR2GRAY)[:, 10:401],
        "noise": np.random.default_rng(0).integers(0, 256, (251, 333, 3), np.uint8),
    }
    (folder / "frames").mkdir()
    for name, frame in stills.items():
        np.save(folder / "frames" / f"{name}.npy", frame)
    grey = stills["grey"]
    (folder / "frames" / "grey-again.pgm").write_bytes(b"P5 %d %d 255\n" % grey.shape[::-1] + grey.tobytes())
    (folder / "photo.png").write_bytes(cv2.imencode(".png", scratch)[1].tobytes())

    expected = {}
    for profile in PROFILES:
        scorer = Scorer.open(folder / f"{profile}.spade", even_so=True)  # frames of many shapes
        for name, frame in stills.items():
            result = scorer(frame)
            expected[f"{profile}/{name}/score"] = np.float64(result.score)
            expected[f"{profile}/{name}/heatmap"] = result.heatmap
            expected[f"{profile}/{name}/verdict"] = np.str_(result.verdict)
    (folder / "strips").mkdir()
    strips = {
        "good": render_good(104, size=160),
        "scratch": render_defect("scratch", 105, size=160)[0],
        "grey-crack": cv2.cvtColor(render_defect("crack", 106, size=160)[0], cv2.COLOR_BGR2GRAY),
        "noise": np.random.default_rng(1).integers(0, 256, (160, 160, 3), np.uint8),
    }
    scorer = Scorer.open(folder / "tiled.spade", even_so=True)
    for name, frame in strips.items():
        np.save(folder / "strips" / f"{name}.npy", frame)
        result = scorer(frame)
        expected[f"tiled/{name}/score"] = np.float64(result.score)
        expected[f"tiled/{name}/heatmap"] = result.heatmap
        expected[f"tiled/{name}/verdict"] = np.str_(result.verdict)
    verdicts = {str(value) for key, value in expected.items() if key.endswith("verdict")}
    if verdicts != {"good", "defect", "cannot_judge"}:
        sys.exit(f"lean: expected frames of all three verdicts, found {verdicts}")
    np.savez(folder / "expected.npz", **expected)


def lowest(wheel: Path) -> list[str]:
    """The oldest numpy and onnxruntime that the wheel claims to work with, as pip wants them."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    bounds = {}
    for requirement in map(Requirement, metadata.get_all("Requires-Dist")):
        if requirement.name in {"numpy", "onnxruntime"}:
            bounds.setdefault(requirement.name, set()).add(str(requirement.specifier))
    pins = [f"{name}=={bound[2:]}" for name, (bound,) in sorted(bounds.items()) if bound.startswith(">=")]
    if len(pins) != 2:
        sys.exit(f"lean: expected one numpy>=… and one onnxruntime>=… in the wheel's metadata, found {bounds}")
    return pins


def check(folder: Path, label: str, python: str, packages: list[str]) -> dict[str, float]:
    """Make an environment, install into it, and run everything that is promised there."""
    say(f"the {label} versions: making the environment")
    binaries = folder / label / "bin"
    run([python, "-m", "venv", binaries.parent], within=folder)
    run([binaries / "python", "-m", "pip", "install", "--quiet", *packages], within=folder)

    result = json.loads(run([binaries / "python", SCORE, folder], within=folder).stdout)
    say(f"the {label} versions: {result['versions']}: largest difference {result['largest']:.1e}")
    check_command_line(folder, binaries / "spade-edge", folder / f"maps-{label}")
    check_teaching(folder, binaries / "spade-edge", folder / f"taught-{label}")

    run([binaries / "python", "-m", "pip", "uninstall", "--quiet", "--yes", "onnxruntime"], within=folder)
    refused(
        [binaries / "spade-edge", "score", "--bundle", "edge.spade", "frames"],
        ("pip install 'spade-edge[cpu]'", "'spade-edge[gpu]'", "Jetson"),
        within=folder,
    )
    say(f"the {label} versions: every command does its work or says in one line what it lacks")
    return result


def check_teaching(folder: Path, command: Path, home: Path) -> None:
    """A reject is taught in, undone, taught in again and taken out, by place, with indexes and by exact search."""
    home.mkdir()
    rejects = {"edge": "frames/colour-scratch.npy", "tiled": "strips/scratch.npy"}
    for bundle, reject in rejects.items():
        place = home / f"{bundle}.spade"
        shutil.copytree(folder / f"{bundle}.spade", place)
        before = (place / "manifest.json").read_bytes()

        def does(*words: object, code: int = 0) -> str:
            return run([command, *words], within=folder, code=code).stdout

        def score() -> float:
            scored = subprocess.run(
                [command, "score", "--bundle", place, reject, "--even-so"],  # noqa: B023
                cwd=folder, capture_output=True, text=True, check=False,
            )  # fmt: skip
            return float(json.loads(scored.stdout)["score"])

        first = score()
        for _ in range(2):
            does("gallery", "add", "--bundle", place, reject, "--even-so", "--reason", "was good")
            if not score() < first:
                sys.exit(f"lean: {reject}: expected a lower score than {first} after it was taught in")
            does("gallery", "undo", "--bundle", place)
            if (place / "manifest.json").read_bytes() != before:
                sys.exit(f"lean: {bundle}.spade: expected the former manifest after undo, found another")
        does("gallery", "add", "--bundle", place, reject, "--even-so", "--unselected")
        does("gallery", "remove", "--bundle", place, Path(reject).name)
        does("gallery", "exclude", "--bundle", place, "3.npy", "--reason", "x")
        does("parity", "--bundle", place)


def check_command_line(folder: Path, command: Path, maps: Path) -> None:
    expected = np.load(folder / "expected.npz")
    scored = run([command, "score", "--bundle", "edge.spade", "frames", "--heatmaps", maps], within=folder, code=1)
    lines = [json.loads(line) for line in scored.stdout.splitlines()]
    names = sorted(path.name for path in (folder / "frames").iterdir())
    if [line["frame"] for line in lines] != names:
        sys.exit(f"lean: expected a line for each of {names}, found {scored.stdout}")
    for line in lines:
        frame = Path(line["frame"]).stem.removesuffix("-again")  # the .pgm is the grey frame once more
        score, heatmap = expected[f"edge/{frame}/score"], expected[f"edge/{frame}/heatmap"]
        written = np.load((maps / line["frame"]).with_suffix(".npy"))
        if not np.isclose(line["score"], score, rtol=1e-5, atol=0):
            sys.exit(f"lean: {line['frame']}: expected the score {score}, found {line['score']}")
        if not np.allclose(written, heatmap, rtol=0, atol=1e-5 * heatmap.max()):
            sys.exit(f"lean: {line['frame']}: expected the written anomaly map to be the one of the library")

    shown_threshold = json.loads(run([command, "threshold", "--bundle", "edge.spade", "--json"], within=folder).stdout)
    if shown_threshold["score"] != lines[0]["threshold"]:
        sys.exit(f"lean: expected the threshold {lines[0]['threshold']} to be shown, found {shown_threshold['score']}")

    refused(
        [command, "score", "--bundle", "edge.spade", "photo.png"], ("pip install 'spade-edge[camera]'",), within=folder
    )
    (folder / "line.key.pub").touch()
    refused(
        [command, "score", "--bundle", "edge.spade", "frames", "--require-signature", "line.key.pub"],
        ("pip install 'spade-edge[sign]'",),
        within=folder,
    )
    refused([command, "export", "--output", "again.onnx"], ("pip install 'spade-edge[export]'",), within=folder)
    refused(
        [command, "build", "--model", "model.onnx", "--images", "good", "--output", "again.spade"],
        ("pip install 'spade-edge[galleries]'",),
        within=folder,
    )


def refused(command: list[str | Path], phrases: tuple[str, ...], *, within: Path) -> None:
    """Run what must end with exit code 4 and one line that holds the phrases."""
    ended = run(command, within=within, code=4)
    if ended.stdout or len(ended.stderr.splitlines()) != 1 or not all(phrase in ended.stderr for phrase in phrases):
        sys.exit(f"lean: {shown(command)}: expected one line with {phrases}, found {ended.stdout}{ended.stderr}")


def run(command: list[str | Path], *, within: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command that must end with an exit code and without a traceback."""
    ended = subprocess.run(
        command, cwd=within, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if ended.returncode != code or "Traceback" in ended.stderr:
        sys.exit(f"lean: {shown(command)}: expected exit code {code}, found {ended.returncode}\n{ended.stderr}")
    return ended


def shown(command: list[str | Path]) -> str:
    return " ".join(map(str, command))


def say(text: str) -> None:
    print(f"lean: {text}", flush=True)


if __name__ == "__main__":
    main()
