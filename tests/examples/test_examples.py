"""The programs of examples/ run as they are, on small models and images; so does the notebook, cell by cell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray

import spade_edge
from spade_edge.galleries import Built
from spade_edge.runtime.bundle.manifest import Manifest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROGRAMS = sorted(path.name for path in EXAMPLES.glob("*.py"))
Frames = Callable[..., NDArray[np.uint8]]


def example(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program; nothing it prints may be a traceback."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        capture_output=True, text=True, check=False, env=os.environ | {"OPENCV_LOG_LEVEL": "ERROR"},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_short_and_says_how_to_run_it(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert text.startswith('"""') and f"python {name} " in text.split('"""')[1]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_mistake_is_one_line(name: str, tmp_path: Path) -> None:
    arguments = {
        "camera_loop.py": [tmp_path, tmp_path / "no.avi"],
        "change_threshold.py": [tmp_path, 0.1, "why"],
        "export_and_build.py": [tmp_path, tmp_path / "b.spade", "no_such_network"],
        "own_camera.py": [tmp_path],
    }.get(name, [tmp_path, tmp_path])
    done = example(name, *arguments)
    assert done.returncode != 0 and done.stdout == "" and len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_export_and_build(good_images: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "weights.pth")
    done = example("export_and_build.py", good_images, tmp_path / "p.spade", "resnet18", tmp_path / "weights.pth")
    assert done.returncode == 0, done.stderr
    assert "p.onnx: resnet18" in done.stdout and "8 images, threshold" in done.stdout
    assert len(Manifest.read(tmp_path / "p.spade").names) == 8


def test_camera_loop(edge: Built, part: Frames, tmp_path: Path) -> None:
    video = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (80, 96))
    writer.write(part(30, flaw=True))
    writer.release()
    done = example("camera_loop.py", edge.path, video)
    assert done.returncode == 0 and done.stdout.startswith("defect") and "pixels at" in done.stdout
    assert example("camera_loop.py", tmp_path, video).returncode == 3
    assert example("camera_loop.py", edge.path, tmp_path / "no.avi").returncode == 4


def test_evaluate_folder(edge: Built, part: Frames, tmp_path: Path) -> None:
    for name, image in {"good/0": part(0), "good/1": part(50), "spot/2": part(51, flaw=True)}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{name}.npy", image)
    done = example("evaluate_folder.py", edge.path, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "image_auroc        1.0000\n" in done.stdout and "spot               1 images, 0 wrong\n" in done.stdout


def test_change_threshold(edge: Built, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(edge.path, tmp_path / "b.spade"))
    done = example("change_threshold.py", bundle, 0.25, "fewer misses wanted")
    assert done.returncode == 0, done.stderr
    threshold = Manifest.read(bundle).threshold
    assert threshold.rate <= 0.25 and threshold.reason == "fewer misses wanted"
    assert threshold.score < edge.manifest.threshold.score and f"threshold {threshold.score:.6g}" in done.stdout


def test_own_camera(edge: Built) -> None:
    done = example("own_camera.py", edge.path)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("noise camera: stopped")
    *frames, stopped = done.stdout.splitlines()
    assert frames and stopped == "None stopped: noise camera: stopped"
    assert {line.split()[1] for line in frames} <= {"defect", "cannot_judge"}


def test_batch_on_gpu(edge: Built, good_images: Path) -> None:
    done = example("batch_on_gpu.py", edge.path, good_images)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 8
    good = [line for line in done.stdout.splitlines() if ": good, score " in line]
    assert len(good) == 8
    assert done.stderr.startswith("the network runs on ")


def test_the_notebook_runs_from_top_to_bottom(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    notebook = json.loads((EXAMPLES / "maps_and_scores.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook["cells"])
    namespace: dict[str, Any] = {}
    for cell in cells:
        exec(compile(cell.replace("GOOD_PARTS = 24", "GOOD_PARTS = 6"), "notebook", "exec"), namespace)  # noqa: S102
    said = capsys.readouterr().out
    results = namespace["results"]
    assert list(results) == ["good", "scratch", "missing_screw", "stain"]
    assert all(isinstance(result, spade_edge.FrameResult) for result in results.values())
    assert results["missing_screw"].score > results["good"].score
    assert said.count("score ") == 4 and "threshold " in said
    shutil.rmtree(namespace["folder"])
